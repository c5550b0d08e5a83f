"""Container lines in parts become the same lines whatever the pieces in which a file is read, and whoever reads it."""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest import mock

from harness.world import World
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shipper import grouping, joining, tail
from shipper.identity import checksum
from shipper.parse import Parser
from shipper.reread import Batches, Read
from shipper.settings import Format, SourceSettings
from shipper.tail import Chunk, open_log, reader_for

formats = st.sampled_from([Format.DOCKER, Format.CRI])
limits = st.integers(4, 60)
pieces = st.integers(16, 300)
lengths = st.one_of(st.integers(0, 12), st.integers(0, 12), st.integers(13, 90), st.integers(91, 700))
parts = st.tuples(st.sampled_from(["stdout", "stdout", "stderr"]), st.booleans(), lengths)
odd = st.sampled_from(["", " ", "no frame", "\0" * 9, "\0" * 40 + "x", "\0" * 3 + "{}", " " * 80, "?" * 200, "?" * 900])
contents = st.lists(st.one_of(parts, parts, parts, odd), min_size=1, max_size=20)


def line(line_format: Format, item: tuple[str, bool, int] | str, number: int) -> bytes:
    """One line of a container's file."""
    if isinstance(item, str):
        return item.encode() + b"\n"
    stream, is_open, length = item
    text = chr(ord("a") + number % 26) * length
    if line_format is Format.CRI:
        return f"2024-01-15T10:30:45Z {stream} {'P' if is_open else 'F'} {text}\n".encode()
    frame = {"log": text if is_open else text + "\n", "stream": stream, "time": "2024-01-15T10:30:45Z"}
    return json.dumps(frame, separators=(",", ":")).encode() + b"\n"


def text_of(line_format: Format, items: Sequence[tuple[str, bool, int] | str]) -> bytes:
    """A file that begins with a whole line, so that it has an identity."""
    begin = line(line_format, ("stdout", False, 3), 25)
    return begin + b"".join(line(line_format, item, number) for number, item in enumerate(items))


@contextmanager
def read_in(piece: int) -> Iterator[None]:
    """Files are read so many bytes at once; twice as many where that was full."""
    with ExitStack() as stack:
        for module, name, value in (
            (tail, "CHUNK_BYTES", piece),
            (tail, "FULL_CHUNK_BYTES", piece * 2),
            (tail, "SCAN_BYTES", piece * 3),
            (grouping, "CHUNK_BYTES", piece),
        ):
            stack.enter_context(mock.patch.object(module, name, value))
        yield


def source_of(line_format: Format, max_line_bytes: int) -> SourceSettings:
    return SourceSettings(name="app", paths=("*",), format=line_format, max_line_bytes=max_line_bytes)


def parser_of(source: SourceSettings) -> Parser:
    return Parser(line_format=source.format, fields=("n",), max_line_bytes=source.max_line_bytes)


def reread(path: Path, source: SourceSettings) -> list[Read]:
    """What those make of a file that read it again."""
    descriptor = open_log(path)
    try:
        batches = Batches(
            reader=reader_for(descriptor), parser=parser_of(source), source=source, path="p", identity="i", end=None
        )
        return list(batches)
    finally:
        os.close(descriptor)


def ids(reads: Sequence[Read]) -> list[str]:
    """Offset and checksum of each line, as they stand in its id."""
    return [
        f"{offset:010d}-{checksum(raw):08x}"
        for read in reads
        for offset, raw in zip(read.batch.offsets, read.batch.raw_lines or read.batch.lines, strict=True)
    ]


def texts(reads: Sequence[Read]) -> list[tuple[bytes, object]]:
    """What is shipped of each line, and what is said to be wrong with it."""
    return [(text, read.batch.problems.get(number)) for read in reads for number, text in enumerate(read.batch.lines)]


@example(  # a last line that one turn does not read to its end
    items=[("stdout", False, 0), ("stdout", False, 0), ("stdout", True, 13)],
    line_format=Format.DOCKER,
    piece=16,
    limit=10,
    longest=71,
    end=1,
)
@given(items=contents, line_format=formats, piece=pieces, limit=limits, longest=st.integers(20, 600), end=st.integers())
def test_lines_are_the_same_whatever_the_pieces(
    items: list[tuple[str, bool, int] | str], line_format: Format, piece: int, limit: int, longest: int, end: int
) -> None:
    """Of a plain file and of an archive, whether its last line has an end or not: what the whole is, taken at once."""
    content = text_of(line_format, items)
    if end % 3 == 0:
        content = content[: -(end % 40)] or content
    source = source_of(line_format, limit)
    with tempfile.TemporaryDirectory() as directory, mock.patch.object(joining, "LEAST_RAW_BYTES", longest):
        whole = content[: content.rfind(b"\n") + 1]
        batch = parser_of(source).parse(
            Chunk(0, len(whole), whole), source="app", path="p", identity="i", content=None, is_final=True
        )
        assert batch is not None
        at_once = [Read(batch, Chunk(0, len(whole), whole), is_tail=False)]
        for name, data in (("plain", content), ("gz", gzip.compress(content))):
            path = Path(directory, name)
            path.write_bytes(data)
            with read_in(piece):
                reads = reread(path, source)
            if whole == content:
                assert ids(at_once) == ids(reads)
                assert texts(at_once) == texts(reads)
            with read_in(1 << 16):
                assert ids(reread(path, source)) == ids(reads)


@settings(max_examples=60)
@given(
    items=contents, line_format=formats, piece=pieces, limit=limits, longest=st.integers(20, 600), growth=pieces,
    is_archive=st.booleans(),
)  # fmt: skip
def test_the_daemon_and_those_that_read_again_make_the_same_ids(
    items: list[tuple[str, bool, int] | str],
    line_format: Format,
    piece: int,
    limit: int,
    longest: int,
    growth: int,
    is_archive: bool,
) -> None:
    """Also where the file grows while the daemon reads it. (What is open at the end of a plain file waits.)"""
    content = text_of(line_format, items)
    with tempfile.TemporaryDirectory() as directory, mock.patch.object(joining, "LEAST_RAW_BYTES", longest):
        world = World(Path(directory), format=line_format, max_line_bytes=limit, reads_once=is_archive)
        with read_in(piece), world:
            if is_archive:
                world.append("app.log.gz", gzip.compress(content))
                world.clock_offset = 60.0
                world.run_once()
            else:
                for start in range(0, len(content), growth * 8):
                    world.append("app.log", content[start : start + growth * 8])
                    world.run(1.0)
                world.run()
        path = world.path("app.log.gz" if is_archive else "app.log")
        reads = reread(path, source_of(line_format, limit))
        expected = ids([read for read in reads if is_archive or not read.is_tail])
        assert expected == sorted(key.partition("-")[2] for key in world.receiver.documents())
        assert len(expected) == world.tally.counts.total()
