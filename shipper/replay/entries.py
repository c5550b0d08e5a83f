"""What PATHs hold: each log file one entry, each log within a tar archive one too. And how an entry is opened.

Whether something is compressed, or an archive, is told by its bytes; names lie. `plan` says what is done with them.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterator
from typing import Self

import msgspec

from shipper.discover import ARCHIVES, Found, directory_matcher
from shipper.errors import ConfigError
from shipper.identity import identity_of, stem
from shipper.replay.codecs import archive_codec_of
from shipper.replay.streams import AsFile, Limits, Raw, Section, Stream, Unfolded, consumed, is_plain
from shipper.settings import Settings, SourceSettings
from shipper.tail import ByteReader, Damaged, PlainReader, first_line, open_log
from shipper.targets import source_by_name

STANDARD_INPUT = "-"
_HEAD_BYTES = 6
_TAR_BYTES = 512
_TAR_MAGIC = slice(257, 262)


class Entry(msgspec.Struct, frozen=True):
    """One log. `file` is what lies on disk: the log itself, or the archive that has it at `start`."""

    source: SourceSettings
    path: str
    """As its documents name it: within an archive `ARCHIVE/MEMBER`."""
    file: str
    name: str
    """Its base name, which gives the stem."""
    size_bytes: int
    """On disk; of one within a compressed archive, unfolded."""
    mtime: float
    device: int = 0
    inode: int = 0
    start: int | None = None
    """Where it begins in an archive, unfolded; None if it is no member."""
    is_folded: bool = False
    """It lies in a compressed archive, which has to be unfolded up to there."""


class Opened:
    """An entry that is open; a context manager. `shared` descriptors and streams belong to the Opener."""

    def __init__(self, *, entry: Entry, reader: ByteReader, descriptor: int, size_bytes: int) -> None:
        self.entry = entry
        self.reader = reader
        self.size_bytes = size_bytes
        self._descriptor = descriptor
        self.is_plain = is_plain(reader)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    @property
    def end(self) -> int | None:
        """Where a plain file ends; None where only its reader knows."""
        return self.size_bytes if self.is_plain else None

    def consumed_bytes(self, position: int) -> int:
        """How many bytes on disk have been read for all before `position`."""
        read = consumed(self.reader)
        if read is None or self.entry.is_folded:
            return min(position, self.size_bytes)
        return min(read, self.size_bytes)

    @property
    def problem(self) -> str:
        """Why the end that was reached is not that of a compressed file; '' if it is."""
        if self.reader.damage:
            return self.reader.damage
        is_empty = not self.size_bytes and self.entry.file != STANDARD_INPUT
        is_whole = self.is_plain or self.reader.is_complete or is_empty
        return "" if is_whole else "ends too early"


class Opener:
    """Opens entries. Of a compressed archive the stream is kept between its members, so that it is unfolded once."""

    def __init__(self, *, limits: Limits, is_stopping: Callable[[], bool] = lambda: False) -> None:
        """`is_stopping` ends the waiting for standard input."""
        self._limits = limits
        self._is_stopping = is_stopping
        self._stream: ByteReader | None = None
        self._archive: tuple[str, int, ByteReader] | None = None

    def close(self) -> None:
        """Lets go of the archive that is open."""
        if self._archive is not None:
            os.close(self._archive[1])
            self._archive = None

    def open(self, entry: Entry, *, alone: bool = False) -> Opened:
        """The entry, open. `alone`: with a stream of its own, beside one that goes on. Raises OSError and Damaged."""
        if entry.file == STANDARD_INPUT:
            if self._stream is None:
                self._stream = self.unfolded(Stream(0, is_stopping=self._is_stopping))
            return Opened(entry=entry, reader=self._stream, descriptor=-1, size_bytes=0)
        if entry.is_folded and not alone:
            reader: ByteReader = Section(
                self._opened_archive(entry.file), start=entry.start or 0, size=entry.size_bytes
            )
            return Opened(entry=entry, reader=self.unfolded(reader), descriptor=-1, size_bytes=entry.size_bytes)
        descriptor = open_log(entry.file)
        try:
            reader = self.unfolded(PlainReader(descriptor))
            size_bytes = os.fstat(descriptor).st_size
            if entry.start is not None:
                reader = self.unfolded(Section(reader, start=entry.start, size=entry.size_bytes))
                size_bytes = entry.size_bytes
            return Opened(entry=entry, reader=reader, descriptor=descriptor, size_bytes=size_bytes)
        except BaseException:
            os.close(descriptor)
            raise

    def unfolded(self, reader: ByteReader) -> ByteReader:
        """What a stream unfolds to if it is compressed; else itself."""
        codec = archive_codec_of(reader.read(0, _HEAD_BYTES))
        if codec is None:
            return reader
        return Unfolded(Raw(reader.read, is_repeatable=not isinstance(reader, Stream)), codec, self._limits)

    def _opened_archive(self, path: str) -> ByteReader:
        if self._archive is None or self._archive[0] != path:
            self.close()
            descriptor = open_log(path)
            self._archive = (path, descriptor, self.unfolded(PlainReader(descriptor)))
        return self._archive[2]


# What there is ------------------------------------------------------------------------------------------------------


def standard_input(settings: Settings, *, stem_name: str, source_name: str) -> Entry:
    """The entry of `-`. Raises ConfigError if it is not said whose lines they are."""
    if not stem_name:
        raise ConfigError(
            ["-: give --stem NAME, the name of the log that they are of (combined.log): it is part of ids"]
        )
    source = next((one for one in settings.sources if one.name == source_name), None)
    source = source or source_by_name(settings.sources, stem_name)
    if source is None:
        raise ConfigError([f"-: no source's patterns match {stem_name!r}; name one with --source"])
    return Entry(source, stem_name, STANDARD_INPUT, stem_name, 0, 0.0)


def entries_of(found: Found, settings: Settings, opener: Opener, left_out: dict[str, str]) -> Iterator[Entry]:
    """The logs that a file holds: itself, or those in an archive. Raises OSError and Damaged.

    `left_out` gets what of an archive is no log, and why.
    """
    real = os.path.basename(found.real_path)  # noqa: PTH119 - of any bytes, as the daemon does
    mtime = found.mtime_ns / 1e9
    whole = Entry(found.source, found.path, found.real_path, real, found.size, mtime, found.device, found.inode)
    with opener.open(whole) as opened:
        if not _is_archive(opened.reader, found.path):
            yield whole
            return
        members: list[Entry] = []
        problem = _add_members(members, opened.reader, found, left_out)
    repeated = {os.path.dirname(one.path) for one in members if one.name.startswith("combined-")}  # noqa: PTH120
    for member in members:
        source = found.source if len(settings.sources) == 1 else source_by_name(settings.sources, member.name)
        if source is None:
            left_out[member.path] = "no source's patterns match its name"
        elif member.name.startswith("errors-") and not source.errors_too and os.path.dirname(member.path) in repeated:  # noqa: PTH120
            left_out[member.path] = "repeats the combined-* beside it (errors_too: true takes it as well)"
        else:
            yield msgspec.structs.replace(member, source=source)
    if problem:
        raise Damaged(problem)


def _is_archive(reader: ByteReader, path: str) -> bool:
    head = reader.read(0, _TAR_BYTES)
    return head[_TAR_MAGIC] == b"ustar" or (len(head) == _TAR_BYTES and path.endswith(ARCHIVES))


def _add_members(members: list[Entry], reader: ByteReader, found: Found, left_out: dict[str, str]) -> str:
    """Adds the logs in an archive; returns why that are not all, '' if they are."""
    try:
        archive = tarfile.TarFile(fileobj=AsFile(reader))
        while (member := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined]  # it would keep all of them
            _add_member(members, member, found, left_out, is_folded=not is_plain(reader))
    except (tarfile.TarError, Damaged) as error:
        return f"not to be read on as a tar archive: {error}"
    return ""


def _add_member(
    members: list[Entry], member: tarfile.TarInfo, found: Found, left_out: dict[str, str], *, is_folded: bool
) -> None:
    name = os.path.basename(member.name)  # noqa: PTH119
    path = f"{found.path}/{member.name.removeprefix('./')}"
    if member.isdir():
        return
    if not member.isreg() or member.issparse():
        left_out[path] = "not a regular file"
        return
    if name.startswith(".") or not directory_matcher(archived=True).match(name) or name.endswith(ARCHIVES):
        left_out[path] = "not named like a log"
        return
    members.append(
        Entry(
            source=found.source,
            path=path,
            file=found.real_path,
            name=name,
            size_bytes=member.size,
            mtime=float(member.mtime),
            start=member.offset_data,
            is_folded=is_folded,
        )
    )


def identity_in(opened: Opened, *, scope: str, stem_name: str, identity_line: Callable[[bytes], bytes]) -> str:
    """The identity of an open entry; '' while nothing is in it. Raises OSError and Damaged."""
    first = first_line(opened.reader)
    if first is None:
        first = first_line(opened.reader, is_final=True)
    if first is None:
        return ""
    name = stem(stem_name or opened.entry.name)
    return identity_of(scope=scope, stem_name=name, first_line=identity_line(first))
