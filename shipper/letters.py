"""The dead letters as `dead-letter` and `audit` read them: files, records and counts.

`deadletter` writes them; `resend` sends the documents of those that may be taken now, and `rewriting` takes them out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from shipper.errors import StateError
from shipper.escaping import printable
from shipper.wording import number_of

DAY_FILES = "[0-9]*.ndjson"
RETRIED = "retried-"


class Letter(msgspec.Struct, rename={"id": "_id", "index": "_index"}, frozen=True, kw_only=True):
    """A record."""

    id: str
    index: str
    source: str
    file: str
    offset: int
    reason: str
    time: str
    line: str
    server: str = ""
    reduced: bool = False
    """A reduced document was delivered under this id."""
    encoding_failure: bool = False
    """Bytes of the line that are no UTF-8 stand as U+FFFD in it."""
    timestamp: str = ""
    """The line's time, where it is one that it has inherited."""
    retried: str = ""
    """When it was last refused again."""


_decoder = msgspec.json.Decoder(Letter)


class Wanted(msgspec.Struct, frozen=True):
    """Which records a command is about; what is empty says nothing."""

    reason: str = ""
    index: str = ""
    source: str = ""
    id: str = ""

    def has(self, letter: Letter) -> bool:
        """Whether it is about this one."""
        return all(
            not wanted or wanted == found
            for wanted, found in (
                (self.reason, letter.reason),
                (self.index, letter.index),
                (self.source, letter.source),
                (self.id, letter.id),
            )
        )


def day_files(directory: Path) -> list[Path]:
    """The files of records that stand, oldest first."""
    return sorted(directory.glob(DAY_FILES))


def records(file: BinaryIO, *, until: int | None = None) -> Iterator[tuple[bytes, Letter | None]]:
    """Each line with the record that it is; None for what is none (a crash can leave half a line, and a blank one)."""
    read = 0
    while (until is None or read < until) and (raw := file.readline()):
        read += len(raw)
        try:
            yield raw, _decoder.decode(raw)
        except (msgspec.MsgspecError, ValueError):
            yield raw, None


def letters_in(directory: Path, wanted: Wanted) -> Iterator[Letter]:
    """The wanted records that stand, oldest first. Raises StateError."""
    for path in day_files(directory):
        try:
            with path.open("rb") as file:
                yield from (letter for _, letter in records(file) if letter is not None and wanted.has(letter))
        except FileNotFoundError:  # emptied by a retry just now
            continue
        except OSError as error:
            raise StateError(f"cannot read {str(path)!r}: {error.strerror}") from None


def count_of(directory: Path) -> int:
    """How many records stand, about (their lines), without a look into them. Raises StateError."""
    count = 0
    for path in day_files(directory):
        try:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    count += block.count(b"\n")
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StateError(f"cannot read {str(path)!r}: {error.strerror}") from None
    return count


# Counts


GROUPS = ("reason", "index", "source")


class FileCount(msgspec.Struct):
    """What a file holds."""

    path: Path
    records: int = 0
    size: int = 0
    first: str = ""
    last: str = ""


class Counts(msgspec.Struct):
    """What the records are, counted."""

    directory: Path
    records: int = 0
    reduced: int = 0
    unreadable: int = 0
    by: dict[str, Counter[str]] = msgspec.field(default_factory=lambda: {name: Counter() for name in GROUPS})
    files: list[FileCount] = msgspec.field(default_factory=list)

    def as_data(self) -> dict[str, Any]:
        """For programs."""
        return {
            "directory": str(self.directory),
            "records": self.records,
            "reduced": self.reduced,
            "unreadable": self.unreadable,
            **{f"by_{name}": dict(counter.most_common()) for name, counter in self.by.items()},
            "files": [
                {"path": str(f.path), "records": f.records, "bytes": f.size, "first": f.first, "last": f.last}
                for f in self.files
            ],
        }

    def as_text(self) -> str:
        """For people."""
        if not self.records:
            return f"no dead letters in {printable(str(self.directory))}"
        where = printable(str(self.directory))
        lines = [f"{number_of(self.records, 'dead letter')} in {where}; of {self.reduced} a reduced document is there"]
        for name, counter in self.by.items():
            lines += ["", f"{name:<50} records"]
            lines += [f"  {printable(key):<48} {count:>7}" for key, count in counter.most_common()]
        lines += ["", f"{'file':<50} records"]
        lines += [f"  {f.path.name:<48} {f.records:>7}  {f.first} to {f.last}" for f in self.files]
        if self.unreadable:
            unreadable = number_of(self.unreadable, "line")
            lines += ["", f"of {unreadable} nothing can be read (a crash can leave half a record)"]
        return "\n".join(lines)


def counted(directory: Path, wanted: Wanted) -> Counts:
    """How many records there are of what. Raises StateError."""
    counts = Counts(directory)
    for path in day_files(directory):
        found = FileCount(path)
        try:
            with path.open("rb") as file:
                for raw, letter in records(file):
                    found.size += len(raw)
                    if raw.strip():
                        _count(counts, found, letter, wanted)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise StateError(f"cannot read {str(path)!r}: {error.strerror}") from None
        if found.records:
            counts.files.append(found)
    return counts


def _count(counts: Counts, found: FileCount, letter: Letter | None, wanted: Wanted) -> None:
    if letter is None:
        counts.unreadable += 1
        return
    if not wanted.has(letter):
        return
    counts.records += 1
    counts.reduced += letter.reduced
    for name, counter in counts.by.items():
        counter[getattr(letter, name)] += 1
    found.records += 1
    found.first = found.first or letter.time
    found.last = letter.time


def as_text(letter: Letter) -> str:
    """A record for people."""
    rows = [
        ("id", letter.id),
        ("index", letter.index),
        ("from", f"{letter.file} (source {letter.source}), offset {letter.offset}"),
        ("reason", letter.reason + (" (a reduced document is there)" if letter.reduced else "")),
        ("server", letter.server),
        ("time", letter.time + (f", refused again {letter.retried}" if letter.retried else "")),
        ("line", letter.line),
    ]
    return "".join(f"{name:<8}{printable(text)}\n" for name, text in rows if text)
