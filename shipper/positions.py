"""How far each file was read and shipped, as a running daemon says over its control socket, or as its state says.

The daemon's side gives what is followed and what is remembered; the asking side gets the same from a state at rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from shipper.control import NoAnswerError, ask
from shipper.escaping import printable
from shipper.state import FileRecord

if TYPE_CHECKING:
    from shipper.engine import Engine
    from shipper.followed import Followed

QUESTION = "files"
_AT_ONCE = 256
_UNSIGNED = (1 << 64) - 1


class FilePosition(msgspec.Struct, frozen=True, kw_only=True):
    """One content of one file. Offsets are decompressed bytes; those of a cursor that takes no part are negative, or
    `followed.NEVER` or beyond.
    """

    path: str
    """For people: what cannot be printed is escaped."""
    source: str
    identity: str
    device: int
    inode: int
    size: int
    """On disk, as last seen."""
    observed_from: int
    observed: int
    shipped_from: int
    shipped: int
    is_followed: bool = False
    is_gone: bool = False


class _Answer(msgspec.Struct):
    files: list[FilePosition] = []
    error: str = ""


class Positions(msgspec.Struct, frozen=True):
    """What is known of all files."""

    is_running: bool
    """Whether a daemon said so; else it is what the last one has committed."""
    files: Sequence[FilePosition]


# The daemon's side


def positions_of(engine: Engine) -> Iterator[bytes]:
    """The answer to QUESTION in pieces. From any thread: it takes copies of lists that the pipeline's thread owns."""
    roster = engine.pipeline.roster
    files = [*map(_of_followed, roster.all()), *map(_of_record, roster.remembered())]
    yield b'{"files":['
    separator = b""
    rest = iter(files)
    while some := list(islice(rest, _AT_ONCE)):
        yield separator + msgspec.json.encode(some)[1:-1]
        separator = b","
    yield b"]}"


def _of_followed(followed: Followed) -> FilePosition:
    return FilePosition(
        path=printable(followed.path),
        source=followed.source.name,
        identity=followed.identity,
        device=followed.device,
        inode=followed.inode,
        size=followed.size,
        observed_from=followed.observed_from,
        observed=followed.observe_position,
        shipped_from=followed.shipped_from,
        shipped=followed.shipped,
        is_followed=True,
        is_gone=followed.is_gone,
    )


def _of_record(record: FileRecord) -> FilePosition:
    return FilePosition(
        path=printable(record.path),
        source=record.source,
        identity=record.identity,
        device=record.device,
        inode=record.inode,
        size=record.size,
        observed_from=record.observed_from,
        observed=record.observed,
        shipped_from=record.shipped_from,
        shipped=record.shipped,
        is_gone=record.is_gone,
    )


# The asking side


def positions_at(directory: Path) -> Positions | None:
    """What the daemon says whose state is in `directory`, else what that state says; None if there is no state.

    Raises NoAnswerError and StateError.
    """
    line = ask(directory, QUESTION)
    if line is not None:
        return Positions(is_running=True, files=_decoded(line))
    try:
        return Positions(is_running=False, files=list(positions_in(directory / "state.db")))
    except FileNotFoundError:
        return None


def _decoded(line: bytes) -> list[FilePosition]:
    try:
        answer = msgspec.json.decode(line, type=_Answer)
    except msgspec.MsgspecError as error:
        raise NoAnswerError(f"the daemon answers with something else: {error}") from None
    if answer.error:
        raise NoAnswerError(f"the daemon says: {answer.error}")
    return answer.files


def positions_in(path: Path) -> Iterator[FilePosition]:
    """What a state file says. Raises FileNotFoundError and StateError."""
    question = (
        "SELECT path, source, identity, device, inode, size, observed_from, observed, shipped_from, shipped, is_gone "
        "FROM files ORDER BY id"
    )
    from shipper.copied import copied  # what a daemon does without

    with copied(path) as connection:
        for row in connection.execute(question):
            names = FilePosition.__struct_fields__
            values = dict(zip((*names[:-2], "is_gone"), row, strict=True))
            values["path"] = printable(row[0].decode("utf-8", "surrogateescape"))
            values |= {"device": row[3] & _UNSIGNED, "inode": row[4] & _UNSIGNED}  # SQLite's integers are signed
            values["is_gone"] = bool(row[-1])
            yield FilePosition(**values)


def by_identity(files: Iterable[FilePosition], identities: frozenset[str]) -> dict[str, list[FilePosition]]:
    """Those of the given identities only."""
    found: dict[str, list[FilePosition]] = {}
    for file in files:
        if file.identity in identities:
            found.setdefault(file.identity, []).append(file)
    return found
