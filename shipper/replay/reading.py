"""One entry that is read from where an earlier run stopped: its batches, and the marks that say which content it is.

`worker` sends what is read, `history` counts it. A file that is written anew meanwhile is noticed (`ChangedError`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from shipper.batch import Mark
from shipper.contents import content_agrees, digests_at
from shipper.identity import MARK_BYTES, Trail, fits, mark_of, window
from shipper.parse import Parser
from shipper.replay.entries import STANDARD_INPUT, Entry, Opener, identity_in
from shipper.replay.records import FileRecord
from shipper.reread import Batches, Read
from shipper.rotated import is_settled_rotation
from shipper.tail import Damaged


class ChangedError(Exception):
    """Other bytes stand where some were read: the file was emptied, or written anew."""


class Reading:
    """An open entry; a context manager. Of a batch the `Content`: a local output asks it what it is."""

    def __init__(
        self,
        *,
        entry: Entry,
        opener: Opener,
        parser: Parser,
        scope: str,
        stem_name: str,
        identity_line: Callable[[bytes], bytes],
    ) -> None:
        """Raises OSError and Damaged."""
        self.entry = entry
        self._opener = opener
        self._parser = parser
        self.opened = opener.open(entry)
        try:
            self._head = self.opened.reader.read(0, MARK_BYTES)
            self.identity = identity_in(self.opened, scope=scope, stem_name=stem_name, identity_line=identity_line)
        except BaseException:
            self.close()
            raise
        self._trail = Trail()
        self._batches: Iterator[Read] = iter(())
        self.mark_before = 0
        """What `mark` was before the last batch."""

    def close(self) -> None:
        self.opened.__exit__()

    @property
    def position(self) -> int:
        return self._trail.position

    @property
    def mark(self) -> int:
        """The hash of the bytes before the position."""
        return mark_of(self._trail.position, self._trail.tail).digest

    @property
    def knows_all_marks(self) -> bool:
        """Whether `has` can look anywhere in the file; else it knows only what was read."""
        return self.entry.file != STANDARD_INPUT and not self.entry.is_folded

    def begin(self, known: Sequence[FileRecord]) -> FileRecord | None:
        """Goes to where the farthest of the records stopped that is of this content, which is returned; else to 0.

        Raises OSError and Damaged.
        """
        usable = [one for one in known if one.identity == self.identity and self.entry.file != STANDARD_INPUT]
        found = None
        for record in sorted(usable, key=lambda one: one.position, reverse=True):
            if self._stands_at(record):
                found = record
                break
        if found is None:
            self._trail = Trail()
        self._batches = iter(
            Batches(
                reader=self.opened.reader,
                parser=self._parser,
                source=self.entry.source,
                path=self.entry.path,
                identity=self.identity,
                end=self.opened.end,
                position=self._trail.position,
                content=self,
            )
            if self.identity
            else ()
        )
        return found

    def _stands_at(self, record: FileRecord) -> bool:
        trail = Trail()
        try:
            trail.extend_by(self.opened.reader.read, record.position)
        except Damaged:
            return False
        self._trail = trail
        return len(trail.tail) == window(record.position) and fits(Mark(record.position, record.mark), trail.tail)

    def next(self) -> Read | None:
        """The next batch; None at the end, where a last line may stand that nobody has finished.

        Raises OSError, Damaged and ChangedError; the position is then where it was.
        """
        read = next(self._batches, None)
        self._verify()
        if read is None or self._is_open(read):
            self._verify_end()
            return None
        chunk, self.mark_before = read.chunk, self.mark
        if chunk.is_cut or chunk.leading_nuls:
            self._trail.extend_by(self.opened.reader.read, chunk.end)
        else:
            self._trail.extend(chunk.start, chunk.data)
        return read

    def _verify(self) -> None:
        """Asked after each read: a file that only grows still has what was read before."""
        if not self.opened.is_plain:
            return
        expected = self._trail.tail if self._trail.position else self._head
        start = self._trail.position - len(expected) if self._trail.position else 0
        if self.opened.reader.read(start, len(expected)) != expected:
            raise ChangedError

    def _is_open(self, read: Read) -> bool:
        if read.is_closed or self.opened.reader.is_complete:
            return False
        is_file = self.opened.is_plain and self.entry.start is None
        return not (is_file and is_settled_rotation(self.entry.file))

    def _verify_end(self) -> None:
        """Asked where nothing more comes: of a file that was cut, lines may be missing."""
        end = self.opened.end
        if end and not self.opened.reader.read(end - 1, 1):
            raise ChangedError

    # Content

    def has(self, marks: Sequence[Mark]) -> bool | None:
        if self.opened.is_plain:
            return content_agrees(self.opened.reader, marks, self.opened.size_bytes)
        if self.knows_all_marks:
            with self._opener.open(self.entry, alone=True) as again:
                return content_agrees(again.reader, marks, again.size_bytes)
        known = {mark.position: mark.digest for mark in self._trail.known_marks()}
        compared = [known[mark.position] == mark.digest for mark in marks if mark.position in known]
        return all(compared) if compared else None

    def digests_at(self, position: int) -> Sequence[int] | None:
        if self.opened.is_plain:
            return digests_at(self.opened.reader, position)
        if self.knows_all_marks:
            with self._opener.open(self.entry, alone=True) as again:
                return digests_at(again.reader, position)
        return None

    def marks_at(self, position: int) -> Sequence[Mark]:
        return [mark for mark in self._trail.known_marks() if mark.position <= position]
