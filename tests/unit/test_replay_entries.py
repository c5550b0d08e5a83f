"""What PATHs hold, and the readers of it: compressed in every way, within archives, within limits, from a stream."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from shipper.discover import Found
from shipper.errors import ConfigError
from shipper.replay.codecs import archive_codec_of
from shipper.replay.entries import Entry, Opener, entries_of, standard_input
from shipper.replay.streams import FREE_BYTES, AsFile, Limits, Raw, Section, Stream, Unfolded
from shipper.settings import Settings, SourceSettings
from shipper.tail import ByteReader, Damaged, PlainReader, open_log

TEXT = b"".join(b'{"n":%d}\n' % n for n in range(50_000))
SOURCE = SourceSettings(name="app", paths=("/logs/*.log*",))
SETTINGS = Settings(sources=(SOURCE,))
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "zst": zstandard.ZstdCompressor().compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}


def found(path: Path) -> Found:
    facts = path.stat()
    return Found(SOURCE, str(path), str(path), facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns)


def entries(path: Path, left_out: dict[str, str] | None = None, *, settings: Settings = SETTINGS) -> list[Entry]:
    left_out = {} if left_out is None else left_out
    read = []
    try:
        for entry in entries_of(found(path), settings, Opener(limits=Limits()), left_out):
            read.append(entry)  # noqa: PERF402 - what came before the damage counts
    except Damaged as error:
        left_out[str(path)] = str(error)
    return read


def whole(reader: ByteReader, *, size: int = 70_000) -> bytes:
    pieces = []
    position = 0
    while piece := reader.read(position, size):
        pieces.append(piece)
        position += len(piece)
    return b"".join(pieces)


def tar_at(path: Path, members: dict[str, bytes], *, compression: str = "") -> Path:
    with tarfile.open(path, f"w:{compression}") as archive:  # type: ignore[call-overload]
        for name, text in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
    return path


@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize("members", [1, 3])
def test_a_compressed_file_is_read_whole(tmp_path: Path, kind: str, members: int) -> None:
    """Whatever its name says; several streams one after another are one."""
    third = len(TEXT) // members
    parts = [TEXT[i * third : (i + 1) * third if i < members - 1 else None] for i in range(members)]
    path = tmp_path / "app.log"
    path.write_bytes(b"".join(COMPRESS[kind](part) for part in parts))
    opener = Opener(limits=Limits())

    with opener.open(entries(path)[0]) as opened:
        assert whole(opened.reader) == TEXT
        assert opened.problem == ""
        assert opened.reader.read(1000, 10) == TEXT[1000:1010]
        assert opened.consumed_bytes(len(TEXT)) <= path.stat().st_size


@pytest.mark.parametrize("kind", COMPRESS)
def test_a_truncated_file_gives_what_it_has_and_says_so(tmp_path: Path, kind: str) -> None:
    """Everything before the end that is missing, as far as it was written in whole blocks."""
    path = tmp_path / "app.log"
    folded = COMPRESS[kind](TEXT) + COMPRESS[kind](TEXT)
    path.write_bytes(folded[: len(folded) * 3 // 4])
    opener = Opener(limits=Limits())

    with opener.open(entries(path)[0]) as opened:
        text = whole(opened.reader)
        assert (TEXT + TEXT).startswith(text)
        assert len(text) >= len(TEXT)
        assert opened.problem != ""


@pytest.mark.parametrize("compression", ["", "gz", "bz2", "xz"])
def test_an_archive_has_an_entry_for_each_log(tmp_path: Path, compression: str) -> None:
    """Compressed members are unfolded, what is no log is named, and members are read in any order."""
    members = {
        "./logs/app.log": TEXT,
        "logs/app.log.1.gz": gzip.compress(TEXT[::-1]),
        "logs/empty.log": b"",
        "logs/.hidden.log": b"{}\n",
        "logs/readme.txt": b"text",
        f"logs/{'x' * 200}.log": b'{"long":"name"}\n',
    }
    path = tar_at(tmp_path / "backup.tar", members, compression=compression)
    left_out: dict[str, str] = {}
    opener = Opener(limits=Limits())

    found_entries = entries(path, left_out)

    assert [entry.name for entry in found_entries] == ["app.log", "app.log.1.gz", "empty.log", f"{'x' * 200}.log"]
    assert found_entries[0].path == f"{path}/logs/app.log"
    assert sorted(Path(name).name for name in left_out) == [".hidden.log", "readme.txt"]
    for entry, text in zip(found_entries[::-1], [b'{"long":"name"}\n', b"", TEXT[::-1], TEXT], strict=True):
        with opener.open(entry) as opened:
            assert whole(opened.reader) == text
    opener.close()


def test_a_truncated_archive_says_within_which_log(tmp_path: Path) -> None:
    """The member that is cut is damaged; those before it are not."""
    path = tar_at(tmp_path / "backup.tar", {"a.log": TEXT, "b.log": TEXT})
    path.write_bytes(path.read_bytes()[: len(TEXT) + len(TEXT) // 2])
    opener = Opener(limits=Limits())
    left_out: dict[str, str] = {}
    first, second = entries(path, left_out)

    assert "not to be read on" in left_out[str(path)]
    with opener.open(first) as opened:
        assert whole(opened.reader) == TEXT
    with opener.open(second) as opened, pytest.raises(Damaged, match="ends within"):
        whole(opened.reader)


def test_each_member_has_its_own_source(tmp_path: Path) -> None:
    """By the patterns' names; a log that belongs to none is left out, with the reason."""
    settings = Settings(
        sources=(
            SourceSettings(name="one", paths=("/logs/one-*.log*",)),
            SourceSettings(name="two", paths=("/logs/two-*.log*",)),
        )
    )
    path = tar_at(tmp_path / "all.tar", dict.fromkeys(("two-1.log", "one-1.log", "three-1.log"), b"{}\n"))
    left_out: dict[str, str] = {}

    found_entries = entries(path, left_out, settings=settings)

    assert [(entry.name, entry.source.name) for entry in found_entries] == [("two-1.log", "two"), ("one-1.log", "one")]
    assert list(left_out) == [f"{path}/three-1.log"]


BOMB = b"\n".join([b" " * 1_000_000] * 80)


@pytest.mark.parametrize("kind", COMPRESS)
@pytest.mark.parametrize("limits", [Limits(ratio=100), Limits(ratio=0, size_bytes=FREE_BYTES // 2)])
def test_a_bomb_is_read_only_to_the_limit(kind: str, limits: Limits) -> None:
    """By ratio, or by size; without limits it is read whole."""
    folded = COMPRESS[kind](BOMB)
    codec = archive_codec_of(folded[:6])
    assert codec is not None
    limited = Unfolded(Raw(lambda position, size: folded[position : position + size]), codec, limits)

    with pytest.raises(Damaged, match="--max-"):
        whole(limited, size=1 << 20)

    assert limited.damage != ""
    free = Unfolded(Raw(lambda position, size: folded[position : position + size]), codec, Limits(0, 0))
    assert len(whole(free, size=1 << 20)) == len(BOMB)


def test_short_files_of_equal_lines_are_no_bombs() -> None:
    """Health checks compress a thousand times; that much is free."""
    folded = lzma.compress(b'{"url":"/health"}\n' * 500_000)
    codec = archive_codec_of(folded[:6])
    assert codec is not None
    reader = Unfolded(Raw(lambda position, size: folded[position : position + size]), codec, Limits())

    assert len(whole(reader)) == 9_000_000
    assert len(folded) * 1000 < 9_000_000


def test_a_stream_keeps_its_beginning() -> None:
    """Who looks at it first can read it again; a compressed one too. Far back there is nothing any more."""
    read, write = os.pipe()
    stream = Stream(read, is_stopping=lambda: False)
    with os.fdopen(write, "wb", buffering=0) as writer:
        writer.write(b"a" * 60_000)
        assert stream.read(0, 6) == b"aaaaaa"
        assert stream.read(59_990, 10) == b"a" * 10
        assert stream.read(0, 6) == b"aaaaaa"
    assert stream.read(60_000, 10) == b""
    assert stream.is_complete
    os.close(read)


def test_a_stream_that_gives_nothing_ends_when_it_is_told_to() -> None:
    """Nobody writes and nobody closes: a stop is not waited for in vain."""
    read, write = os.pipe()
    stream = Stream(read, is_stopping=lambda: True)

    assert stream.read(0, 10) == b""
    assert not stream.is_complete
    os.close(read)
    os.close(write)


def test_a_stream_forgets_what_has_passed() -> None:
    """Memory does not grow with the input."""
    read, write = os.pipe()
    if os.fork() == 0:  # the writer; a pipe holds but 64 KiB
        for _ in range(160):
            os.write(write, b"b" * (64 << 10))
        os._exit(0)
    os.close(write)
    stream = Stream(read, is_stopping=lambda: False)

    assert len(whole(stream)) == 10 << 20
    with pytest.raises(OSError, match="cannot go back"):
        stream.read(0, 1)
    os.close(read)
    os.wait()


def test_standard_input_needs_a_name() -> None:
    """The stem is part of every id, and it says the source."""
    assert standard_input(SETTINGS, stem_name="app.log", source_name="").source is SOURCE
    with pytest.raises(ConfigError, match="--stem"):
        standard_input(SETTINGS, stem_name="", source_name="")


def test_sections_and_files_of_readers(tmp_path: Path) -> None:
    """A part of a reader ends where it ends; as a file it can be read piece by piece."""
    path = tmp_path / "x"
    path.write_bytes(b"0123456789")
    descriptor = open_log(path)
    section = Section(PlainReader(descriptor), start=2, size=5)

    assert (section.read(0, 3), section.read(3, 10), section.is_complete) == (b"234", b"56", False)
    assert (section.read(5, 10), section.is_complete) == (b"", True)
    file = AsFile(section)
    assert (file.read(2), file.tell(), file.seek(1), file.read(3), file.seek(1, io.SEEK_CUR)) == (
        b"23",
        2,
        1,
        b"345",
        5,
    )
    os.close(descriptor)
