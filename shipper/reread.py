"""A file read again from its beginning, as the daemon reads it: the same identity, lines, ids, indices and drops.

For commands that look at files that somebody else ships. Nothing is sent or written; what the output has is not asked.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, Self

import msgspec

from shipper.batch import Batch, Content, Frame
from shipper.discover import Found
from shipper.enrich import Choice, Enriched, Enricher
from shipper.grouping import batch_of, is_whole, lines_of, rest_of
from shipper.identity import identity_of, stem
from shipper.parse import Parser
from shipper.redact.stage import redactor
from shipper.routing import functions_of
from shipper.settings import DEFAULT_INDEX, Settings, SourceSettings, host_name
from shipper.tail import ByteReader, Chunk, PlainReader, first_line, open_log, reader_for
from shipper.times import IndexPattern

FRAME = Frame(b"", b"\0", b"\0", b"\n")
"""`INDEX NUL ID NUL SOURCE` a line: neither a name nor JSON has a NUL in it."""


class Line(NamedTuple):
    """What one line became."""

    offset: int
    index_name: str
    id: str


class Piece(msgspec.Struct, frozen=True):
    """Some lines of a file, and what became of them."""

    lines: list[Line]
    """Those that are documents, or were to be set aside."""
    count: int
    dropped: int
    unwanted: int
    end: int
    is_tail: bool
    """The unterminated last line of a file, or what begins with a container's line in parts that is still open."""


def enricher_of(
    settings: Settings,
    source: SourceSettings,
    *,
    frame: Frame = FRAME,
    clock: Callable[[], float] = time.time,
    choice: Choice | None = None,
) -> Enricher:
    """The enricher that the daemon has for a source."""
    chosen = settings.output.elasticsearch or settings.output.local
    return Enricher(
        source=source,
        tags=settings.tags,
        drop=settings.drop,
        host=host_name(settings),
        index=IndexPattern(chosen.index if chosen is not None else DEFAULT_INDEX),
        frame=frame,
        functions=functions_of(settings),
        clock=clock,
        choice=choice,
    )


class Rereader:
    """Reads one source's files again."""

    def __init__(
        self, *, settings: Settings, source: SourceSettings, stem_name: str = "", choice: Choice | None = None
    ) -> None:
        """`stem_name`: what the files were called, if not as they are now. `choice`: which lines are asked about."""
        self.scope = settings.identity_scope
        self.stem_name = stem_name
        self.source = source
        self.enricher = enricher_of(settings, source, choice=choice)
        self.redactor = redactor(settings)
        self.parser = Parser(
            line_format=source.format,
            fields=self.enricher.fields,
            max_line_bytes=source.max_line_bytes,
            redact=self.redactor.redact,
        )

    def open(self, found: Found, *, reader_of: Callable[[int], ByteReader] = reader_for) -> Reread:
        """The file, open; to be used as a context manager. `reader_of` a descriptor. Raises OSError and Damaged."""
        descriptor = open_log(found.path)
        try:
            if found.confinement is not None:
                found.confinement.check(descriptor, found.path)
            facts = os.fstat(descriptor)
            return Reread(
                self,
                reader=reader_of(descriptor),
                path=found.path,
                name=os.path.basename(found.real_path),  # noqa: PTH119 - of any bytes, as the daemon does
                size=facts.st_size,
                place=(facts.st_dev, facts.st_ino),
                descriptor=descriptor,
            )
        except BaseException:
            os.close(descriptor)
            raise


class Reread:
    """One file that is read again. Owns its descriptor. It ends where the file ended when it was opened."""

    def __init__(
        self,
        rereader: Rereader,
        *,
        reader: ByteReader,
        path: str,
        name: str,
        size: int,
        place: tuple[int, int] = (0, 0),
        descriptor: int = -1,
    ) -> None:
        """`place`: device and inode, of which a part of an archive has none. Raises OSError and Damaged."""
        self._rereader = rereader
        self._descriptor = descriptor
        self.path = path
        self.size = size
        self.device, self.inode = place
        self.reader = reader
        self.is_plain = isinstance(reader, PlainReader)
        first = first_line(self.reader)
        if first is None:
            first = first_line(self.reader, is_final=True)
        stem_name = stem(rereader.stem_name or name)
        self.identity = (
            ""
            if first is None
            else identity_of(
                scope=rereader.scope, stem_name=stem_name, first_line=rereader.redactor.identity_line(first)
            )
        )
        """'' while nothing is in it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    @property
    def is_complete(self) -> bool:
        """Whether the end that was reached is the end for good (a compressed file with its footer)."""
        return self.reader.is_complete

    @property
    def problem(self) -> str:
        """Why the end that was reached is not that of a compressed file; '' if it is."""
        if self.is_plain or self.is_complete or not self.size:
            return ""
        return f"damaged, and read only up to there: {self.reader.damage}" if self.reader.damage else "ends too early"

    def pieces(self) -> Iterator[Piece]:
        """All lines, in order, and what they became. Raises OSError and Damaged, after what could be read."""
        if not self.identity:
            return
        batches = Batches(
            reader=self.reader,
            parser=self._rereader.parser,
            source=self._rereader.source,
            path=self.path,
            identity=self.identity,
            end=self.size if self.is_plain else None,
        )
        last_time = ""
        for read in batches:
            piece, last_time = self._piece(read.batch, last_time, is_tail=read.is_tail)
            yield piece

    def _piece(self, batch: Batch, last_time: str, *, is_tail: bool) -> tuple[Piece, str]:
        enriched = self._rereader.enricher.enrich(batch, last_time=last_time, done=lambda _: None)
        piece = Piece(lines_in(enriched), batch.count, enriched.dropped, enriched.unwanted, batch.end, is_tail)
        return piece, enriched.last_time


class Read(NamedTuple):
    """A batch, and the chunk that it was made of."""

    batch: Batch
    chunk: Chunk
    is_tail: bool = False
    """The unterminated last line, or what begins with a container's line in parts that is still open."""
    is_closed: bool = True
    """It can be taken as it is although the file may go on."""


class Batches:
    """The batches of a file from `position` to its end. Iterating raises OSError and Damaged, after what could be read.

    `end`: where a plain file is taken to end (it may go on growing); None: where its reader ends.
    """

    def __init__(
        self,
        *,
        reader: ByteReader,
        parser: Parser,
        source: SourceSettings,
        path: str,
        identity: str,
        end: int | None,
        position: int = 0,
        content: Content | None = None,
    ) -> None:
        self._parser = parser
        self._source = source
        self._path = path
        self._identity = identity
        self._end = end
        self._content = content
        self._lines = lines_of(reader, source=source, position=position)

    def __iter__(self) -> Iterator[Read]:
        while (chunk := self._next()) is not None:
            batch = batch_of(chunk, lines=self._lines, parse=self._parse)
            if batch is None:
                break
            yield Read(batch, chunk)
        while self._is_within(self._lines.position) and (rest := self._rest()) is not None:
            yield self._final(rest)
            self._lines.jump(rest.end)

    def _rest(self) -> Chunk | None:
        return rest_of(self._lines, source=self._source)

    def _next(self) -> Chunk | None:
        return self._lines.patient_chunk() if self._is_within(self._lines.position) else None

    def _is_within(self, position: int) -> bool:
        return self._end is None or position < self._end

    def _final(self, chunk: Chunk) -> Read:
        """What is made of a chunk behind which nothing comes."""
        batch = self._parse(chunk, is_final=False)
        is_closed = is_whole(chunk, batch)
        if batch is None or batch.end < chunk.end:
            batch = self._parse(chunk, is_final=True)
        if batch is None:
            raise AssertionError("nothing that is final waits for more")
        return Read(batch, chunk, is_tail=True, is_closed=is_closed)

    def _parse(self, chunk: Chunk, *, is_final: bool) -> Batch | None:
        return self._parser.parse(
            chunk,
            source=self._source.name,
            path=self._path,
            identity=self._identity,
            content=self._content,
            is_final=is_final,
        )


def lines_in(enriched: Enriched) -> list[Line]:
    """Offset, index and id of each line that is a document, and of each that was set aside."""
    documents = enriched.documents
    lines = [Line(letter.offset, letter.index, letter.id) for letter in documents.dead_letters]
    numbers = documents.line_numbers
    for number, text in zip(numbers, documents.body.split(b"\n")[:-1], strict=True):
        index, line_id, _ = text.split(b"\0", 2)
        lines.append(Line(documents.batch.offsets[number], index.decode(), line_id.decode()))
    return lines
