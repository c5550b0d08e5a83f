"""How both expositions write numbers, bounds and labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

_MAX_WHOLE_FLOAT: Final = 1e15


def number_text(value: float) -> str:
    """A sample's value as both formats write it."""
    if isinstance(value, float):
        if value != value:
            return "NaN"
        if value in {float("inf"), float("-inf")}:
            return "+Inf" if value > 0 else "-Inf"
        if abs(value) < _MAX_WHOLE_FLOAT and value == int(value):
            return str(int(value))
        return repr(value)
    return str(value)


def bound_text(bound: float) -> str:
    """A bucket's bound in the one spelling that OpenMetrics wants: 1.0, not 1."""
    return "+Inf" if bound == float("inf") else repr(float(bound))


def label_pairs(names: Sequence[str], values: Sequence[str]) -> str:
    """`a="x",b="y"` with backslash, quote and newline escaped, as both expositions want it."""
    return ",".join(
        [
            '{}="{}"'.format(name, value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"'))
            for name, value in zip(names, values, strict=True)
        ]
    )
