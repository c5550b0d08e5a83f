"""Holds a run against the recorded one: by the ratio to the reference loop of the same run, never by seconds.

Processors differ in what they are good at, so each kind has its own record, and one without is held against the
greatest of all. What else a machine does makes a round worse, rarely better: the least ratio of the rounds is judged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

RECORDED = Path(__file__).with_name("recorded.json")
TOLERANCE = 1.3
"""What a ratio may be worse by."""
ATTEMPTS = 3
"""So often the rounds are run before a ratio counts as worse."""

Records = Mapping[str, Mapping[str, float]]
"""The ratios by case, by kind of processor."""


def worse(now: Mapping[str, Sequence[float]], recorded: Mapping[str, float]) -> list[str]:
    """What is worse than it may be, in words; what was not recorded is not judged.

    `now`: by case, a ratio of each round.
    """
    return [
        f"{title}: {min(ratios):.2f} times the reference loop at best, {recorded[title]:.2f} was recorded"
        for title, ratios in now.items()
        if title in recorded and min(ratios) > recorded[title] * TOLERANCE
    ]


def records() -> dict[str, dict[str, float]]:
    """What quick runs were recorded as."""
    found: dict[str, dict[str, float]] = json.loads(RECORDED.read_text())
    return found


def recorded_for(processor: str, known: Records) -> dict[str, float]:
    """The ratios by case that a run on this processor is held against."""
    if processor in known:
        return dict(known[processor])
    titles = {title for ratios in known.values() for title in ratios}
    return {title: max(ratios[title] for ratios in known.values() if title in ratios) for title in titles}


def record(ratios: Mapping[str, float], *, processor: str) -> None:
    """Makes these the ones that later runs on such a processor are held against."""
    kept = {**records(), processor: {title: round(ratio, 2) for title, ratio in ratios.items()}}
    RECORDED.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n")
