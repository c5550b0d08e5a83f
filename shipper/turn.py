"""Which cursor of a file reads next: both together as a rule, metrics alone while shipping stands still.

A pure decision; `feeding` does it.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from shipper.cursor import NEVER


class Read(NamedTuple):
    """One batch, read by the cursor that is behind (by both where they stand together)."""

    ships: bool
    observes: bool
    limit: int | None = None
    """Not beyond this, where the other cursor stands, so that they join."""


class Hold(Enum):
    """Nothing to read now."""

    NO_ROOM = "no room"
    """Until the output has room, or shipping has stood still for long."""
    NOTHING = "nothing"
    """Neither ships nor feeds metrics."""


def choose(*, observed: int | None, shipped: int | None, has_room: bool, is_stalled: bool) -> Read | Hold:
    """What a file reads next. A cursor that does not take part is None; one that is to read nothing stands at NEVER.

    `is_stalled`: shipping has stood still for long enough to part the cursors. Once they are apart the metrics wait for
    nothing: shipping will read that piece again in any case.
    """
    has_metrics = observed is not None and observed < NEVER
    if shipped is None or shipped >= NEVER:
        return Read(ships=False, observes=True) if has_metrics else Hold.NOTHING
    if observed is None or not has_metrics:
        return Read(ships=True, observes=False) if has_room else Hold.NO_ROOM
    if observed < shipped:
        return Read(ships=False, observes=True, limit=shipped)
    if has_room:
        return Read(ships=True, observes=observed == shipped, limit=observed if shipped < observed else None)
    return Read(ships=False, observes=True) if is_stalled or shipped < observed else Hold.NO_ROOM
