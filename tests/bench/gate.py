"""Holds a run against the recorded one: by the ratio to the reference loop of the same run, never by seconds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

RECORDED = Path(__file__).with_name("recorded.json")
TOLERANCE = 1.3
"""What a ratio may be worse by; machines differ in what they are good at, and others work on them."""


def worse(now: Mapping[str, float], recorded: Mapping[str, float], *, tolerance: float = TOLERANCE) -> list[str]:
    """What is worse than it may be, in words; what was not recorded is not judged."""
    return [
        f"{title}: {ratio:.2f} times the reference loop, {recorded[title]:.2f} was recorded"
        for title, ratio in now.items()
        if title in recorded and ratio > recorded[title] * tolerance
    ]


def recorded() -> dict[str, float]:
    """The ratios by case of a quick run."""
    found: dict[str, float] = json.loads(RECORDED.read_text())
    return found


def record(ratios: Mapping[str, float]) -> None:
    """Makes these the ones to be held against."""
    RECORDED.write_text(json.dumps({title: round(ratio, 2) for title, ratio in ratios.items()}, indent=2) + "\n")
