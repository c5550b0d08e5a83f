"""Lines cut from any content, however it grows and is read, are the lines of the content: plain, gzip and zstd."""

from __future__ import annotations

import gzip
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import zstandard
from hypothesis import assume, given
from hypothesis import strategies as st

from shipper import tail
from shipper.compression import codec_of
from shipper.tail import ByteReader, Chunk, LineReader, first_line, open_log, reader_for

MAX_LINE_BYTES = 20


class Line(NamedTuple):
    """One line as it stands in a file: where, its text without NULs before it, and whether that is only a prefix."""

    start: int
    end: int
    text: bytes
    is_cut: bool


def naive_lines(content: bytes) -> list[Line]:
    """The complete lines of a content."""
    lines, start = [], 0
    for line in content.split(b"\n")[:-1]:
        lines.append(shortened(start, start + len(line) + 1, line))
        start += len(line) + 1
    return lines


def shortened(start: int, end: int, line: bytes) -> Line:
    """A line whose text may be too long."""
    text = line.lstrip(b"\0")
    is_cut = len(text.removesuffix(b"\r")) > MAX_LINE_BYTES
    return Line(start, end, text[:MAX_LINE_BYTES] if is_cut else text, is_cut)


def lines_of(chunk: Chunk) -> Iterator[Line]:
    """The lines that a chunk stands for."""
    if chunk.is_cut:
        yield Line(chunk.start, chunk.end, chunk.data, True)
        return
    assert chunk.is_tail != chunk.data.endswith(b"\n")
    start, nuls = chunk.start, chunk.leading_nuls
    for line in chunk.data.removesuffix(b"\n").split(b"\n"):
        end = min(start + nuls + len(line) + 1, chunk.end)
        yield shortened(start, end, line)
        start, nuls = end, 0


@contextmanager
def growing_file() -> Iterator[Path]:
    """An empty file."""
    with tempfile.TemporaryDirectory(prefix="shipper-property-") as directory:
        path = Path(directory) / "app.log"
        path.touch()
        yield path


@contextmanager
def reading(path: Path) -> Iterator[ByteReader]:
    """A reader of an open file."""
    descriptor = open_log(path)
    try:
        yield reader_for(descriptor)
    finally:
        os.close(descriptor)


def read_while_growing(pieces: list[bytes], sizes: list[int], restarts: list[bool]) -> tuple[list[Line], Line | None]:
    """Writes the pieces of a file and reads after each as far as possible; all lines, and the unterminated last one.

    `sizes`: how much is asked for, in turn. `restarts`: whether reading begins anew, with another descriptor, in turn.
    """
    found: list[Line] = []
    position, turn = 0, 0
    lines: LineReader | None = None
    with ExitStack() as opened, growing_file() as path, path.open("ab", buffering=0) as file:
        for piece in [*pieces, b""]:
            file.write(piece)
            if lines is None or restarts[turn % len(restarts)]:
                reader = opened.enter_context(reading(path))
                lines = LineReader(reader, position=position, max_line_bytes=MAX_LINE_BYTES)
            while True:
                turn += 1
                chunk = lines.next_chunk(size=sizes[turn % len(sizes)])
                if chunk is None:
                    if not (lines.scanned > lines.position and lines.reader.read(lines.scanned, 1)):
                        break
                    continue
                found += lines_of(chunk)
                position = chunk.end
                assert lines.position == position
        assert lines is not None
        last = lines.tail_chunk()
        assert lines.position == position
        return found, None if last is None else next(lines_of(last))


contents = st.lists(
    st.one_of(
        st.sampled_from([b"\n", b"\r\n", b"\r", b"\0", b"\0\0\0", b"{}", b'{"a":1}\n', b"\xff", b" "]),
        st.binary(max_size=8),
        st.integers(1, 60).map(lambda count: b"x" * count),
        st.integers(18, 22).map(lambda count: b"y" * count + b"\r\n"),
    ),
    max_size=12,
).map(b"".join)
sizes = st.lists(st.integers(1, 40), min_size=1, max_size=4)
restarts = st.lists(st.booleans(), min_size=1, max_size=5)


@st.composite
def cut_somewhere(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """The data in pieces."""
    places = sorted(draw(st.lists(st.integers(0, len(data)), max_size=5)))
    return [data[start:end] for start, end in zip([0, *places], [*places, len(data)], strict=True)]


def check(content: bytes, written: list[bytes], asked: list[int], anew: list[bool]) -> None:
    """Reading what is written gives the lines of `content`."""
    with mock.patch.object(tail, "CHUNK_BYTES", 1), mock.patch.object(tail, "SCAN_BYTES", 10):
        found, last = read_while_growing(written, asked, anew)
    assert naive_lines(content) == found
    rest_start = content.rfind(b"\n") + 1
    rest = content[rest_start:]
    if rest.lstrip(b"\0"):
        assert shortened(rest_start, len(content), rest) == last
    else:
        assert last is None


@given(data=st.data(), content=contents, asked=sizes, anew=restarts)
def test_a_plain_file_in_any_pieces_gives_its_lines(
    data: st.DataObject, content: bytes, asked: list[int], anew: list[bool]
) -> None:
    """However a file grows, and however much is read at once, with restarts: its lines, with their places."""
    assume(codec_of(content[:4]) is None)
    check(content, data.draw(cut_somewhere(content)), asked, anew)


@given(data=st.data(), content=contents, asked=sizes, anew=restarts)
def test_a_gzip_file_of_several_members_in_any_pieces_gives_its_lines(
    data: st.DataObject, content: bytes, asked: list[int], anew: list[bool]
) -> None:
    """An archive of several members, padding behind them, is one content, also while it is being written."""
    members = data.draw(cut_somewhere(content))
    padding = b"\0" * data.draw(st.integers(0, 3))
    archive = b"".join(gzip.compress(member, 1) + padding for member in members)
    check(content, [archive[:10], *data.draw(cut_somewhere(archive[10:]))], asked, anew)


@given(content=contents, asked=sizes)
def test_a_gzip_file_that_grows_by_bytes_gives_its_lines(content: bytes, asked: list[int]) -> None:
    """An archive that comes byte by byte."""
    archive = gzip.compress(content[: len(content) // 2]) + gzip.compress(content[len(content) // 2 :])
    check(content, [archive[:2], *(archive[i : i + 1] for i in range(2, len(archive)))], asked, [False])


@given(data=st.data(), content=contents, asked=sizes, anew=restarts)
def test_a_zstd_file_of_several_frames_in_any_pieces_gives_its_lines(
    data: st.DataObject, content: bytes, asked: list[int], anew: list[bool]
) -> None:
    """Frames behind one another, with frames to be skipped between them, are one content."""
    skipped = b"\x53\x2a\x4d\x18\x02\0\0\0xy" if data.draw(st.booleans()) else b""
    frames = [zstandard.ZstdCompressor().compress(member) for member in data.draw(cut_somewhere(content))]
    archive = b"".join(skipped + frame for frame in frames)
    check(content, [archive[:4], *data.draw(cut_somewhere(archive[4:]))], asked, anew)


@given(content=contents, is_final=st.booleans(), piece=st.integers(1, 9))
def test_the_first_line_is_the_first_that_is_not_blank(content: bytes, is_final: bool, piece: int) -> None:
    """Whatever is read at once; and a line that is longer than the limit gives what its prefix gives."""
    assume(codec_of(content[:4]) is None)
    texts = [line.lstrip(b"\0").removesuffix(b"\r") for line in content.split(b"\n")]
    complete = texts if is_final else texts[:-1]
    limit = 30
    expected = next((text[:limit] for text in complete if text.strip() or len(text) > limit), None)
    if expected is None and len(texts[-1]) > limit:
        expected = texts[-1][:limit]
    with (
        growing_file() as path,
        mock.patch.object(tail, "CHUNK_BYTES", piece),
        mock.patch.object(tail, "FIRST_LINE_BYTES", limit),
    ):
        path.write_bytes(content)
        with reading(path) as reader:
            assert expected == first_line(reader, is_final=is_final)
