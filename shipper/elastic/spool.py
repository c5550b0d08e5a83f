"""Documents that wait on disk for an index that an operator must unblock: they hold up neither cursor nor others.

Kept in files by index, each synced before its documents count as done. `elastic` puts them in, `unspool` delivers them.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import msgspec
from xxhash import xxh3_64_hexdigest

from shipper.durable import sync_directory, write_all
from shipper.elastic.items import Item
from shipper.elastic.reduce import whole
from shipper.failpoints import failpoint

log = logging.getLogger(__name__)

SEGMENT_BYTES = 4 << 20
MAX_BYTES = 1 << 30
_NAME_CHARS = 120


class _Record(msgspec.Struct, rename={"id": "_id", "index": "_index"}, omit_defaults=True):
    index: str
    id: str
    source: str
    file: str
    offset: int
    line: bytes  # base64 in the file: a line may hold any bytes
    document: msgspec.Raw
    suspect: bool = False


_decoder = msgspec.json.Decoder(_Record)


def record_of(item: Item) -> bytes:
    """Return an item as one line of a spool file: the document as it was first, so that it may become whole again."""
    file = os.fsencode(item.file).decode("utf-8", "replace")
    whole_document = msgspec.Raw(item.whole)
    record = _Record(
        item.index, item.id, item.source, file, item.offset, item.line, whole_document, suspect=item.is_suspect
    )
    return msgspec.json.encode(record) + b"\n"


def items_of_records(text: bytes) -> list[Item]:
    """Return the items of a spool file; a last line that a crash left half-written was never counted on."""
    items = []
    for line in text.split(b"\n")[:-1]:
        record = _decoder.decode(line)
        document = bytes(record.document)
        items.append(
            Item(
                index=record.index,
                id=record.id,
                form=whole(document),
                whole=document,
                line=record.line,
                source=record.source,
                file=record.file,
                offset=record.offset,
                origin=None,
                may_be_applied=True,
                is_suspect=record.suspect,
            )
        )
    return items


@dataclass(slots=True, eq=False)
class Segment:
    """One file of an index. Only an open one is appended to."""

    path: Path
    index: str
    size: int
    count: int
    is_open: bool = False


class Spool:
    """The files. Safe to use from many threads. What `add` returned from is synced; what `replace` drops is gone."""

    def __init__(self, *, directory: Path, max_bytes: int = MAX_BYTES) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._lock = threading.Lock()  # guards everything below, and appending
        self._segments: dict[str, list[Segment]] = {}
        self._last_number = 0

    def open(self) -> None:
        """Find what an earlier process left; what is unreadable is named in the log and left alone."""
        for path in self._directory.glob("*.tmp"):  # of a crash; what it was to replace is still there
            path.unlink()
        for path in sorted(self._directory.glob("*.ndjson")):
            number = path.name.partition("-")[0]
            self._last_number = max(self._last_number, int(number) if number.isdecimal() else 0)
            try:
                segment = _found(path)
            except (OSError, msgspec.MsgspecError):
                log.error("the spool file %r cannot be read: its documents are not shipped", str(path))  # noqa: TRY400
                continue
            if segment is None:
                path.unlink()
            else:
                self._segments.setdefault(segment.index, []).append(segment)

    @property
    def count(self) -> int:
        """Documents that wait."""
        with self._lock:
            return sum(segment.count for segments in self._segments.values() for segment in segments)

    def has(self, index: str) -> bool:
        """Whether documents wait for this index."""
        return index in self._segments

    @property
    def is_in_use(self) -> bool:
        """Whether documents wait for any index."""
        return bool(self._segments)

    def indices(self) -> list[str]:
        """Return the indices that documents wait for."""
        with self._lock:
            return list(self._segments)

    def add(self, index: str, items: Sequence[Item]) -> Sequence[Item]:
        """Append items of one index and sync them; return those without room. Raises OSError, with none added."""
        with self._lock:
            room = self._max_bytes - sum(s.size for segments in self._segments.values() for s in segments)
            records = list(takewhile_size((record_of(item) for item in items), room))
            if records:
                self._append(self._segment_for(index, sum(map(len, records))), records)
            return items[len(records) :]

    def _segment_for(self, index: str, size: int) -> Segment:
        last = self._segments.get(index, [None])[-1]
        if last is not None and last.is_open and last.size + size <= SEGMENT_BYTES:
            return last
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._last_number += 1
        name = (
            f"{self._last_number:08d}-{quote(index, safe='')[:_NAME_CHARS]}-{xxh3_64_hexdigest(index.encode())}.ndjson"
        )
        return Segment(self._directory / name, index, 0, 0, is_open=True)

    def oldest(self, index: str) -> tuple[Segment, list[Item]] | None:
        """Return the first file of an index and what it holds, and append no more to it. Raises OSError."""
        while True:
            with self._lock:
                segments = self._segments.get(index)
                if not segments:
                    return None
                segment = segments[0]
                segment.is_open = False
            try:
                return segment, items_of_records(segment.path.read_bytes())
            except msgspec.MsgspecError:
                aside = segment.path.with_suffix(".corrupt")
                log.error("%r is corrupt: its documents are not shipped; kept as %r", str(segment.path), aside.name)  # noqa: TRY400
                segment.path.rename(aside)
                self._drop(segment)

    def replace(self, segment: Segment, items: Sequence[Item]) -> None:
        """Keep only these of a file that `oldest` returned; raise OSError with the file as it was."""
        failpoint("spool.delivered")
        text = b"".join(record_of(item) for item in items)
        if text:
            _write_anew(segment.path, text)
        else:
            segment.path.unlink()
        failpoint("spool.replaced")
        sync_directory(self._directory)
        if items:
            with self._lock:
                segment.size, segment.count = len(text), len(items)
        else:
            self._drop(segment)

    def set_back(self, segment: Segment) -> None:
        """Let other files of its index be the first."""
        with self._lock:
            segments = self._segments[segment.index]
            segments.remove(segment)
            segments.append(segment)

    def _drop(self, segment: Segment) -> None:
        with self._lock:
            left = self._segments[segment.index]
            left.remove(segment)
            if not left:
                del self._segments[segment.index]

    def _append(self, segment: Segment, records: Sequence[bytes]) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(segment.path, flags, 0o600)
        try:
            failpoint("spool.before_write")
            write_all(descriptor, b"".join(records))
            failpoint("spool.after_write")
            os.fsync(descriptor)
        except OSError:
            os.ftruncate(descriptor, segment.size)
            raise
        finally:
            os.close(descriptor)
        if not segment.size:
            sync_directory(self._directory)
            self._segments.setdefault(segment.index, []).append(segment)
        segment.size += sum(map(len, records))
        segment.count += len(records)
        failpoint("spool.after_sync")


def takewhile_size(records: Iterable[bytes], most_bytes: int) -> Iterator[bytes]:
    """Yield records as long as they fit into so many bytes together."""
    for record in records:
        most_bytes -= len(record)
        if most_bytes < 0:
            return
        yield record


def _found(path: Path) -> Segment | None:
    """A file that is there already; None if it holds nothing that was counted on."""
    with path.open("rb") as file:
        first = file.readline()
        if not first.endswith(b"\n"):
            return None
        count = 1
        while block := file.read(1 << 20):
            count += block.count(b"\n")
        return Segment(path, _decoder.decode(first).index, file.tell(), count)


def _write_anew(path: Path, text: bytes) -> None:
    temporary = path.with_suffix(".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        write_all(descriptor, text)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    failpoint("spool.rewritten")
    temporary.replace(path)
