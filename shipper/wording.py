"""How numbers are told to people."""

from __future__ import annotations


def number_of(count: int, noun: str) -> str:
    """`1 file`, `2,000 files`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def is_or_are(count: int) -> str:
    """The verb of `number_of`."""
    return "is" if count == 1 else "are"
