"""What an audit reads: files as the daemon reads them, or, where PATHs were typed, also what only a replay reads.

A compressed file is one log, a tar archive has many. Whether something is either, its bytes say.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec

from shipper.discover import Found
from shipper.replay.entries import Entry, Opener, entries_of
from shipper.replay.streams import Limits
from shipper.reread import Reread, Rereader
from shipper.settings import Settings
from shipper.tail import ByteReader, Damaged, PlainReader, reader_for


class Log(msgspec.Struct, frozen=True):
    """A file, or one within an archive."""

    found: Found
    path: str
    source: str
    entry: Entry | None = None
    """What lies in an archive; None for a file."""


class Logs:
    """Finds and opens logs; `close` it."""

    def __init__(self, *, settings: Settings, rereaders: Mapping[str, Rereader], archived: bool) -> None:
        self._settings = settings
        self._rereaders = rereaders
        self._opener = Opener(limits=Limits())
        self._archived = archived

    def close(self) -> None:
        self._opener.close()

    def within(self, found: Found, left_out: dict[str, str]) -> tuple[Sequence[Log], str]:
        """The logs of a file, and why these are not all; '' if they are. `left_out` gets what of it is no log."""
        itself = Log(found, found.path, found.source.name)
        if not self._archived:
            return [itself], ""
        members = []
        try:
            for entry in entries_of(found, self._settings, self._opener, left_out):
                if entry.start is None:
                    return [itself], ""
                members.append(Log(found, entry.path, entry.source.name, entry))
        except Damaged as error:
            return members, str(error)
        except OSError:
            return [itself], ""  # opening it will say why
        return members, ""

    @contextmanager
    def open(self, log: Log) -> Iterator[Reread]:
        """A log, open. Raises OSError and Damaged."""
        rereader = self._rereaders[log.source]
        if log.entry is None:
            with rereader.open(log.found, reader_of=self._unfolded if self._archived else reader_for) as file:
                yield file
            return
        with self._opener.open(log.entry) as opened:
            name, size = log.entry.name, opened.size_bytes
            yield Reread(rereader, reader=opened.reader, path=log.path, name=name, size=size)

    def _unfolded(self, descriptor: int) -> ByteReader:
        return self._opener.unfolded(PlainReader(descriptor))
