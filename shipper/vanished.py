"""Files that are gone before anything was read of them: lost, or compressed in the meantime under another name.

Nothing is known of what they held: a rotation may have moved such a file on between the look that found it and the
attempt to open it, and have compressed it before the next look. An archive that was met since then, and that goes
through its rotations by the same name, may hold it. `roster` asks, and counts what is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from shipper.aside import Aside, Why
from shipper.candidate import stem_of
from shipper.contents import Key
from shipper.discover import COMPRESSED, Found


class Vanished:
    """Which archives stand for which of them: each for one, and once. Owned by the roster."""

    def __init__(self) -> None:
        self._spoken_for: set[Key] = set()

    def lost(self, gone: Iterable[Aside], archives: Mapping[Key, Found]) -> list[Aside]:
        """Those of which no archive can hold what nobody has read. `archives`: all that are there and of which it is
        not known that another file held the same.
        """
        self._spoken_for &= archives.keys()
        return [aside for aside in gone if _is_unread(aside) and not self._is_archived(aside, archives)]

    def _is_archived(self, aside: Aside, archives: Mapping[Key, Found]) -> bool:
        name = stem_of(aside.found.real_path)
        met_since = archives.keys() - aside.archives_then - self._spoken_for
        found = next((key for key in sorted(met_since) if stem_of(archives[key].real_path) == name), None)
        if found is not None:
            self._spoken_for.add(found)
        return found is not None


def _is_unread(aside: Aside) -> bool:
    """Whether nothing was read of a file that had something to read. (How much is in an archive is not known.)"""
    return aside.why in (Why.UNREADABLE, Why.NO_LINE) and not aside.found.path.endswith(COMPRESSED)
