"""What is read from a file: lines of any length, chunks, tails, damage, and what is no log at all."""

from __future__ import annotations

import bz2
import gzip
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zstandard

from shipper.compression import GzipCodec, ZstdCodec, codec_of
from shipper.identity import FIRST_LINE_BYTES, FIRST_POWER, MARK_BYTES
from shipper.tail import (
    CHUNK_BYTES,
    FULL_CHUNK_BYTES,
    SCAN_BYTES,
    Chunk,
    CompressedReader,
    Damaged,
    EndlessError,
    LineReader,
    PlainReader,
    bytes_before,
    first_line,
    open_log,
    reader_for,
    told_by,
)

MAX_LINE_BYTES = 1 << 20
LINE = b'{"message":"' + b"x" * 80 + b'"}\n'


@contextmanager
def reading(path: Path, *, position: int = 0, max_line_bytes: int = MAX_LINE_BYTES) -> Iterator[LineReader]:
    """The lines of a file from a position."""
    descriptor = open_log(path)
    try:
        yield LineReader(reader_for(descriptor), position=position, max_line_bytes=max_line_bytes)
    finally:
        os.close(descriptor)


def chunks_of(lines: LineReader) -> list[Chunk]:
    """All chunks, with as many turns as they need."""
    chunks = []
    while True:
        chunk = lines.next_chunk()
        if chunk is not None:
            chunks.append(chunk)
        elif not (lines.scanned > lines.position and lines.reader.read(lines.scanned, 1)):
            return chunks


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


# What is opened


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def make_loop(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("make", [Path.mkdir, make_fifo, make_socket, make_loop])
def test_only_regular_files_are_opened(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """Nothing waits for a writer, and nothing is left open."""
    make(tmp_path / "x")
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match="x"):
        open_log(tmp_path / "x")
    assert before == len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\x1f\x8b\x08\x00", GzipCodec),
        (b"\x1f\x8b", GzipCodec),
        (b"\x1f", type(None)),
        (b"\x28\xb5\x2f\xfd", ZstdCodec),
        (b"\x50\x2a\x4d\x18", ZstdCodec),
        (b"\x5f\x2a\x4d\x18", ZstdCodec),
        (b"\x60\x2a\x4d\x18", type(None)),
        (b"\x28\xb5\x2f", type(None)),
        (b'{"a"', type(None)),
        (b"BZh9", type(None)),
        (b"", type(None)),
    ],
)
def test_the_first_bytes_tell_the_codec(head: bytes, expected: type) -> None:
    """Not the name; too few bytes tell nothing yet."""
    assert expected is type(codec_of(head))


# Chunks


def test_a_chunk_is_whole_lines_of_a_batch_size(tmp_path: Path) -> None:
    """As many as fit, none torn; together they are the file."""
    content = LINE * 6000
    with reading(written(tmp_path / "a.log", content)) as lines:
        chunks = chunks_of(lines)
    assert content == b"".join(chunk.data for chunk in chunks)
    sizes = [CHUNK_BYTES, *[FULL_CHUNK_BYTES] * (len(chunks) - 2)]
    assert all(most - len(LINE) < len(chunk.data) <= most for most, chunk in zip(sizes, chunks[:-1], strict=True))
    assert len(chunks) > 3
    assert [chunk.start for chunk in chunks[1:]] == [chunk.end for chunk in chunks[:-1]]


def test_a_chunk_does_not_go_beyond_the_limit(tmp_path: Path) -> None:
    """Where the other cursor stands, so that they join."""
    with reading(written(tmp_path / "a.log", LINE * 10), position=len(LINE)) as lines:
        chunk = lines.next_chunk(limit=3 * len(LINE))
        assert chunk is not None
        assert (len(LINE), 3 * len(LINE)) == (chunk.start, chunk.end)
        assert lines.next_chunk(limit=3 * len(LINE)) is None
        assert lines.next_chunk(limit=len(LINE)) is None


@pytest.mark.parametrize("length", [CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES * 5, MAX_LINE_BYTES])
def test_a_line_longer_than_a_chunk(tmp_path: Path, length: int) -> None:
    """One chunk of its own, whole."""
    long = b"x" * length + b"\n"
    with reading(written(tmp_path / "a.log", LINE + long + LINE)) as lines:
        data = [chunk.data for chunk in chunks_of(lines)]
    assert LINE + long + LINE == b"".join(data)


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_line_of_ten_megabytes_is_its_prefix(tmp_path: Path, ending: bytes, pack: Callable[[bytes], bytes]) -> None:
    """Its neighbours are unharmed, and the place behind it is right."""
    content = LINE + b"x" * (10 << 20) + ending + LINE
    with reading(written(tmp_path / "a.log", pack(content))) as lines:
        first, long, last = chunks_of(lines)
    assert (LINE, LINE) == (first.data, last.data)
    assert (b"x" * MAX_LINE_BYTES, True) == (long.data, long.is_cut)
    assert (len(LINE), len(content) - len(LINE)) == (long.start, long.end)
    assert len(content) == last.end


@pytest.mark.parametrize(
    ("length", "ending", "is_cut"),
    [(20, b"\n", False), (20, b"\r\n", False), (21, b"\n", True), (21, b"\r\n", True), (19, b"\r\n", False)],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_the_limit_counts_no_line_ending(
    tmp_path: Path, length: int, ending: bytes, is_cut: bool, pack: Callable[[bytes], bytes]
) -> None:
    """The longest line is as long with a carriage return as without."""
    line = b"x" * length + ending
    with reading(written(tmp_path / "a.log", pack(b"\0" + line)), max_line_bytes=20) as lines:
        [chunk] = chunks_of(lines)
    assert (is_cut, b"x" * 20 if is_cut else line, 1) == (chunk.is_cut, chunk.data, chunk.leading_nuls)


def test_a_turn_looks_only_so_far(tmp_path: Path) -> None:
    """Other files get theirs while the end of a very long line is looked for."""
    path = tmp_path / "a.log"
    with path.open("wb") as file:
        file.write(bytes(SCAN_BYTES * 3) + b"{}\n")
    with reading(path) as lines:
        turns = 0
        while (chunk := lines.next_chunk()) is None:
            turns += 1
    assert 3 == turns
    assert (0, SCAN_BYTES * 3 + 3, SCAN_BYTES * 3, b"{}\n") == (chunk.start, chunk.end, chunk.leading_nuls, chunk.data)


def test_leading_nuls_are_no_text(tmp_path: Path) -> None:
    """What copytruncate leaves is passed over at no cost to the line's length, as soon as the line is whole."""
    path = written(tmp_path / "a.log", bytes(3_000_000))
    with reading(path) as lines, path.open("ab", buffering=0) as file:
        assert lines.next_chunk() is None
        file.write(b'{"a"')
        assert lines.next_chunk() is None
        assert lines.position == 0
        file.write(b":1}\n" + LINE)
        [first, second] = chunks_of(lines)
    assert (b'{"a":1}\n', 3_000_000, False) == (first.data, first.leading_nuls, first.is_cut)
    assert (LINE, 3_000_008) == (second.data, second.start)


def test_going_on_elsewhere(tmp_path: Path) -> None:
    """Forwards, and backwards in an archive too, whatever was looked at before."""
    path = written(tmp_path / "a.log.gz", gzip.compress(LINE * 5000 + b"x" * 300_000 + b"\n"))
    with reading(path) as lines:
        chunks_of(lines)
        for line in (4999, 0, 2500, 2501):
            lines.jump(line * len(LINE))
            chunk = lines.next_chunk(size=len(LINE))
            assert chunk is not None
            assert (LINE, (line + 1) * len(LINE)) == (chunk.data, lines.position)


# Tails


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", None),
        (b"a\n", None),
        (b"a\nb", b"b"),
        (b"a\nb\r", b"b\r"),
        (b"\0\0", None),
        (b"a\n\0\0b", b"b"),
        (b"a\n" + b"x" * 300_000, b"x" * 300_000),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_the_unterminated_last_line(
    tmp_path: Path, content: bytes, expected: bytes | None, pack: Callable[[bytes], bytes]
) -> None:
    """It is given without being passed over."""
    with reading(written(tmp_path / "a.log", pack(content))) as lines:
        chunks_of(lines)
        position = lines.position
        tail = lines.tail_chunk()
        assert position == lines.position
        assert lines.tail_chunk() == tail
    assert expected == (None if tail is None else tail.data)
    assert tail is None or (tail.is_tail, tail.start, tail.end) == (True, position, len(content))


def test_an_unterminated_line_that_is_too_long(tmp_path: Path) -> None:
    """Its prefix, as for every line."""
    with reading(written(tmp_path / "a.log", b"x" * 50), max_line_bytes=20) as lines:
        assert lines.next_chunk() is None
        assert Chunk(0, 50, b"x" * 20, is_cut=True, is_tail=True) == lines.tail_chunk()


def test_a_last_line_that_is_completed_meanwhile_is_no_tail(tmp_path: Path) -> None:
    """Between two looks it got its newline: it is read as a line, not lost and not read twice."""
    path = written(tmp_path / "a.log", LINE + b'{"a":')
    with reading(path) as lines, path.open("ab", buffering=0) as file:
        assert LINE == (lines.next_chunk() or Chunk(0, 0, b"")).data
        assert lines.next_chunk() is None
        file.write(b"1}\n" + LINE)
        assert lines.tail_chunk() is None
        assert b'{"a":1}\n' + LINE == b"".join(chunk.data for chunk in chunks_of(lines))
        assert lines.tail_chunk() is None


# Archives


def test_a_growing_archive_is_not_complete(tmp_path: Path) -> None:
    """Until its footer is there; and again when another member begins."""
    archive = gzip.compress(LINE * 100)
    path = written(tmp_path / "a.log.gz", archive[:-1])
    with reading(path) as lines, path.open("ab", buffering=0) as file:
        assert LINE * 100 == b"".join(chunk.data for chunk in chunks_of(lines))
        assert not lines.reader.is_complete
        file.write(archive[-1:])
        assert lines.next_chunk() is None
        assert lines.reader.is_complete
        file.write(gzip.compress(LINE)[:-4])
        assert LINE == b"".join(chunk.data for chunk in chunks_of(lines))
        assert not lines.reader.is_complete


def damaged_header(compress: Callable[[bytes], bytes]) -> bytes:
    """A good member, and one whose header is broken behind its magic."""
    return compress(LINE * 20_000) + compress(LINE)[:4] + b"\xff" * 100


def damaged_checksum(compress: Callable[[bytes], bytes]) -> bytes:
    """One member whose content is good."""
    archive = bytearray(compress(LINE * 20_000))
    archive[-5 if archive[0] == 0x1F else -1] ^= 1
    return bytes(archive)


@pytest.mark.parametrize("damage", [damaged_header, damaged_checksum])
@pytest.mark.parametrize("compress", [gzip.compress, zstandard.ZstdCompressor(write_checksum=True).compress])
def test_what_stands_before_the_damage_is_read(
    tmp_path: Path, compress: Callable[[bytes], bytes], damage: Callable[..., bytes]
) -> None:
    """All lines that can be had, then the damage is said, each time anew."""
    with reading(written(tmp_path / "a.log", damage(compress))) as lines:
        content = b""
        while len(content) < len(LINE) * 20_000:
            chunk = lines.next_chunk()
            assert chunk is not None
            content += chunk.data
        assert LINE * 20_000 == content
        for _ in range(2):
            with pytest.raises(Damaged, match=r"\w"):
                lines.next_chunk()
            assert lines.tail_chunk() is None


def test_a_line_that_is_torn_by_damage_is_no_line(tmp_path: Path) -> None:
    """Neither a line nor an unterminated last one: nobody knows how it goes on."""
    archive = gzip.compress(LINE * 3 + LINE[:20]) + gzip.compress(LINE[20:])[:2] + b"\xff" * 20
    with reading(written(tmp_path / "a.log", archive)) as lines:
        chunk = lines.next_chunk()
        assert chunk is not None
        assert LINE * 3 == chunk.data
        for _ in range(2):
            with pytest.raises(Damaged):
                lines.next_chunk()
            assert lines.tail_chunk() is None
        assert len(LINE) * 3 == lines.position


@pytest.mark.parametrize(
    "garbage", [b"garbage", b"\0\0\0", b"\0\0garbage", b"\x1f", b"x" * 50_000, gzip.compress(b"y", mtime=0)[1:]]
)
def test_what_stands_behind_an_archive_is_no_line(tmp_path: Path, garbage: bytes) -> None:
    """As gzip does: NULs are padding, anything else is ignored."""
    with reading(written(tmp_path / "a.log", gzip.compress(LINE * 3) + garbage)) as lines:
        assert LINE * 3 == b"".join(chunk.data for chunk in chunks_of(lines))
        assert lines.next_chunk() is None
        assert lines.tail_chunk() is None
        assert lines.reader.is_complete


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.ZstdCompressor(level=19).compress])
def test_a_stream_that_unfolds_to_gigabytes_needs_no_memory(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    """Only what was asked for is unfolded, and a piece more."""
    path = written(tmp_path / "a.log", compress(bytes(200 << 20)))
    descriptor = open_log(path)
    reader = reader_for(descriptor)
    assert isinstance(reader, CompressedReader)
    assert bytes(1000) == reader.read(0, 1000)
    assert len(reader._ready) <= 40 << 20
    os.close(descriptor)


def test_what_an_archive_says_of_its_length(tmp_path: Path) -> None:
    """By its last or first bytes; nothing where it does not say, is too short to, or says what cannot be."""
    zstd = zstandard.ZstdCompressor().compress(LINE)
    streamed = zstandard.ZstdCompressor().compressobj()
    told = {
        "whole": (gzip.compress(LINE * 1000), 1000 * len(LINE)),
        "members": (gzip.compress(LINE * 1000) + gzip.compress(LINE), len(LINE)),
        "impossible": (gzip.compress(LINE)[:-4] + b"\xff\xff\xff\xff", 0),
        "begun": (gzip.compress(LINE)[:3], 0),
        "zstd": (zstd, len(LINE)),
        "zstd, begun": (zstd[:4], 0),
        "zstd, streamed": (streamed.compress(LINE) + streamed.flush(), 0),
        "plain": (LINE, 0),
        "empty": (b"", 0),
    }
    answers = {}
    for name, (content, _) in told.items():
        descriptor = open_log(written(tmp_path / name, content))
        answers[name] = told_by(descriptor)
        os.close(descriptor)
    assert {name: expected for name, (_, expected) in told.items()} == answers


def test_other_archives_are_not_unfolded(tmp_path: Path) -> None:
    """They are read as they stand; discovery does not choose them."""
    descriptor = open_log(written(tmp_path / "a.log", bz2.compress(LINE)))
    assert isinstance(reader_for(descriptor), PlainReader)
    os.close(descriptor)


# First lines


@pytest.mark.parametrize(
    ("content", "complete", "final"),
    [
        (b"", None, None),
        (b"a", None, b"a"),
        (b"a\r", None, b"a"),
        (b"a\r\r", None, b"a\r"),
        (b"a\n", b"a", b"a"),
        (b"a\r\nb\n", b"a", b"a"),
        (b"\n\r\n \nb\n", b"b", b"b"),
        (b"\n\n", None, None),
        (b"\n\nb", None, b"b"),
        (b"\0\0\0a\n", b"a", b"a"),
        (b"\0\0\0", None, None),
        (bytes(70_000) + b"a\n", b"a", b"a"),
        (bytes(70_000) + b"\n\0a\n", b"a", b"a"),
        (b"\xef\xbb\xbfa\n", b"\xef\xbb\xbfa", b"\xef\xbb\xbfa"),
        (b"x" * FIRST_LINE_BYTES + b"\n", b"x" * FIRST_LINE_BYTES, b"x" * FIRST_LINE_BYTES),
        (b"x" * FIRST_LINE_BYTES + b"yz", b"x" * FIRST_LINE_BYTES, b"x" * FIRST_LINE_BYTES),
        (b"x" * FIRST_LINE_BYTES + b"yz\n", b"x" * FIRST_LINE_BYTES, b"x" * FIRST_LINE_BYTES),
        (b"x" * FIRST_LINE_BYTES + b"\r\n", b"x" * FIRST_LINE_BYTES, b"x" * FIRST_LINE_BYTES),
    ],
)
@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_the_first_line(
    tmp_path: Path, content: bytes, complete: bytes | None, final: bytes | None, pack: Callable[[bytes], bytes]
) -> None:
    """The first that is not blank, once it is whole, or once nothing will follow."""
    descriptor = open_log(written(tmp_path / "a.log", pack(content)))
    assert complete == first_line(reader_for(descriptor))
    assert final == first_line(reader_for(descriptor), is_final=True)
    os.close(descriptor)


@pytest.mark.parametrize("size", [0, 1, MARK_BYTES, MARK_BYTES + 1, FIRST_POWER, FIRST_POWER + 1, 5000])
def test_the_bytes_before_a_place(tmp_path: Path, size: int) -> None:
    """As many as a mark needs, fewer at the beginning and beyond the end."""
    content = os.urandom(5000)
    descriptor = open_log(written(tmp_path / "a.log", content))
    start = 0 if size <= FIRST_POWER else size - MARK_BYTES
    assert content[start:size] == bytes_before(reader_for(descriptor), size)
    assert b"" == bytes_before(reader_for(descriptor), 6000)
    os.close(descriptor)


def test_a_first_line_behind_a_hole(tmp_path: Path) -> None:
    """What copytruncate leaves: gigabytes of NULs that are not there, and then the lines."""
    path = tmp_path / "x.log"
    with path.open("wb") as file:
        file.seek(8 << 30)
        file.write(b"\n\n{}\n")
    descriptor = open_log(path)
    try:
        assert first_line(reader_for(descriptor)) == b"{}"
        os.truncate(path, 8 << 30)
        assert first_line(reader_for(descriptor)) is None
    finally:
        os.close(descriptor)


class Blank:
    """A content that begins with so many bytes of a pattern, and then has a line."""

    damage = ""
    is_complete = False
    is_seekable = True

    def __init__(self, pattern: bytes, length: int) -> None:
        self._pattern = pattern * CHUNK_BYTES
        self._length = length

    def read(self, position: int, size: int) -> bytes:
        if position >= self._length:
            return b"{}\n"[position - self._length :][:size]
        return self._pattern[: min(size, self._length - position)]


@pytest.mark.parametrize("pattern", [b"\n", b"\0", b"\0 \r\n"])
def test_blanks_without_end_are_given_up(pattern: bytes) -> None:
    """NULs, blank lines or both, beyond any log; up to the limit the first line is found."""
    assert first_line(Blank(pattern, (1 << 20) + 4096)) == b"{}"
    with pytest.raises(EndlessError, match="begins with more than 256 MiB without a line"):
        first_line(Blank(pattern, 1 << 40))
