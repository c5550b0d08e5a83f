"""Which cursor of a file reads next: both together as a rule, metrics alone while shipping stands still.

A pure decision; `pipeline` does it.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from shipper.followed import NEVER


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

    `is_stalled`: the output has had no room for some seconds.
    """
    if observed is None and shipped is None:
        return Hold.NOTHING
    if shipped is None or shipped >= NEVER:
        return Read(ships=False, observes=True)
    if observed is None or observed >= NEVER:
        return Read(ships=True, observes=False) if has_room else Hold.NO_ROOM
    if observed < shipped:
        return Read(ships=False, observes=True, limit=shipped)
    if has_room:
        return Read(ships=True, observes=observed == shipped, limit=observed if shipped < observed else None)
    return Read(ships=False, observes=True) if is_stalled else Hold.NO_ROOM
