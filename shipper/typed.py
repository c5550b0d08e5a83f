"""Types of options beside click's own; `cli`, `operations` and `replay.command` declare theirs with them."""

from __future__ import annotations

import math
from typing import Any, Final

import click


class FiniteRange(click.FloatRange):
    """A number between bounds; click's own type lets `nan` pass, which lies between any, and `inf`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is no finite number.", param, ctx)
        return number


COUNT: Final = click.IntRange(0, 1 << 31)
"""How many to show at most."""
