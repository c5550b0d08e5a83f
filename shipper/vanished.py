"""Files that are gone before anything was read of them: lost, or compressed in the meantime under another name.

Nothing is known of what they held: a rotation may have moved such a file on between the look that found it and the
attempt to open it, and have compressed it before the next look. An archive that was met since then, and that goes
through its rotations by the same name, may hold it. `roster` asks, and counts what is lost.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from shipper.aside import Aside, Why
from shipper.candidate import stem_of
from shipper.contents import Key, key_of
from shipper.discover import COMPRESSED, Found
from shipper.tail import open_log

MOST_KEPT_OPEN = 64


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


class KeptOpen:
    """Plain files that hold text and no line yet: open, so that it can be read as their last line after they were
    deleted. Owned by the intake; beyond `most` they are not kept, and what is deleted is lost.
    """

    def __init__(self, *, most: int) -> None:
        self._most = most
        self._descriptors: dict[Key, int] = {}

    def keep(self, found: Found) -> None:
        """Opens it, if it is there and may be read."""
        key = found.device, found.inode
        is_wanted = found.size > 0 and not found.path.endswith(COMPRESSED)
        if not is_wanted or key in self._descriptors or len(self._descriptors) >= self._most:
            return
        try:
            descriptor = open_log(found.path)
        except OSError:
            return
        try:
            is_it = key_of(os.fstat(descriptor)) == key
            if is_it and found.confinement is not None:
                found.confinement.check(descriptor, found.path)
        except OSError:
            is_it = False
        if is_it:
            self._descriptors[key] = descriptor
        else:
            os.close(descriptor)

    def take(self, key: Key) -> int | None:
        """The descriptor, the caller's from now on."""
        return self._descriptors.pop(key, None)

    def let_go(self, key: Key) -> None:
        descriptor = self.take(key)
        if descriptor is not None:
            os.close(descriptor)

    def close(self) -> None:
        for key in list(self._descriptors):
            self.let_go(key)


def _is_unread(aside: Aside) -> bool:
    """Whether nothing was read of a file that had something to read. (How much is in an archive is not known.)"""
    return aside.why in (Why.UNREADABLE, Why.NO_LINE) and not aside.found.path.endswith(COMPRESSED)
