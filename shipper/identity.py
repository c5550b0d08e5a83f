"""Who a file is: which lines are the same line (identity, checksum, id), and whether it is still the one that was read.

Pure functions over facts; `discover` and `pipeline` gather the facts and act. Nothing here knows of hosts, paths or the
order of discovery, so that a copied archive gives the same ids on any machine.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from functools import cache
from itertools import chain
from typing import NamedTuple

from xxhash import xxh3_64_digest, xxh3_64_intdigest

from shipper.batch import Mark
from shipper.blake2 import blake2b

COMPRESSION_SUFFIXES = (".gz", ".zst", ".bz2", ".xz")
FIRST_LINE_BYTES = 1 << 20
"""A first line longer than this enters the identity with its prefix; a constant, so that no setting changes ids."""

MARK_BYTES = 256
"""A mark is made of so many bytes before its position; in the first kilobyte, of all of them."""
FIRST_POWER = 1024
MOST_LINE_ENDS = 24
"""Of the first kilobyte so many lines are known one by one."""

_DATE = (
    r"(?:\d{4}[-._]\d{2}[-._]\d{2}(?:[-T_]\d{2}(?:[-:._]?\d{2}){0,2}(?:[.,]\d{1,9})?Z?)?"  # 2024-01-15, …T10-30-45.123
    r"|\d{2}[-._]\d{2}[-._]\d{4}"  # 15-01-2024, 01-15-2024
    r"|\d{8}(?:[-T_]?\d{2}(?:\d{2}){0,2}Z?)?"  # 20240115, 20240115-103045, 2024011510
    r"|1\d{9})"  # seconds since 1970, as logrotate's -%s
)
_NUMBERED = rf"{_DATE}(?:[-_]\d{{1,4}})?"
_TOKEN = re.compile(rf"(?:[-._]+{_NUMBERED}|\.\d{{1,9}})$")
_ONLY_DATE = re.compile(rf"^{_NUMBERED}$")
_EXTENSION = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,7}$")
_WINSTON_NUMBER = re.compile(r"(?<=[A-Za-z_])\d{1,4}$")


def stem(name: str) -> str:
    """The base name without compression suffix and rotation tokens: `combined-2024-01-15.log.1.gz` → `combined.log`.

    Tokens stand at the end (`app.log.1`, `app.log-20240115`) or before the extension (`app-2024-01-15.log`,
    `app.1.log`, `app-2024-01-15-1.log`, and `app1.log` as Winston's File transport writes).
    """
    name = _without_tokens(name)
    extension = _EXTENSION.search(name)
    if extension is None:
        return name
    base = _without_tokens(name[: extension.start()])
    return _WINSTON_NUMBER.sub("", base) + extension.group()


def unrotated(name: str) -> str:
    """The name that a file had before it was rotated, as far as its end says: `app.log.1` → `app.log`."""
    return _without_tokens(name)


def without_compression(name: str) -> str:
    for suffix in COMPRESSION_SUFFIXES:
        if name.endswith(suffix):
            return name[: -len(suffix)]
    return name


def _without_tokens(name: str) -> str:
    while (shorter := _TOKEN.sub("", without_compression(name))) not in ("", name):
        name = shorter
    return "" if _ONLY_DATE.match(name) else name


def identity_of(*, scope: str, stem_name: str, first_line: bytes) -> str:
    """12 hex digits for a file's lines; `first_line` without its line ending and leading NULs."""
    digest = blake2b(digest_size=6, person=b"shipper-file-1")
    for part in (scope.encode(), stem_name.encode(errors="surrogateescape"), first_line[:FIRST_LINE_BYTES]):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()


def checksum(line: bytes) -> int:
    """32 bits of a line without its line ending; the last part of its id."""
    return xxh3_64_intdigest(line) >> 32


def checksums(lines: Iterable[bytes]) -> list[bytes]:
    """Of each line its checksum, as 8 hexadecimal digits. `lines` must not be empty."""
    halves = memoryview(b"".join(map(xxh3_64_digest, lines))).cast("I")
    return halves[::2].tobytes().hex("\n", 4).encode().split(b"\n")


def line_id(identity: str, offset: int, line: bytes) -> str:
    """The `_id`: identity, offset in decompressed bytes, checksum."""
    return f"{identity}-{offset:010d}-{checksum(line):08x}"


# Marks -----------------------------------------------------------------------------------------------


def window(position: int) -> int:
    """How many bytes before `position` its mark is made of.

    Contents that begin with the same header often differ early in their lines and end them alike (a time, then a stack
    trace): in the first kilobyte nothing of that may be left out.
    """
    return position if position <= FIRST_POWER else MARK_BYTES


def tail_of(data: bytes, position: int) -> bytes:
    """The end of `data` of which the mark at `position` is made; `data` ends there."""
    return data[-window(position) :] if position else b""


def mark_of(position: int, before: bytes) -> Mark:
    """The mark at `position`; `before` ends there and has at least what `window` says."""
    return Mark(position, xxh3_64_intdigest(tail_of(before, position)))


def digests(position: int, before: bytes) -> Sequence[int]:
    """What the mark at `position` may say of a content of which `before` stands there.

    What was noted when all marks were made of the last MARK_BYTES stays valid.
    """
    digest = xxh3_64_intdigest(tail_of(before, position))
    is_early = MARK_BYTES < position <= FIRST_POWER
    return (digest, xxh3_64_intdigest(before[-MARK_BYTES:])) if is_early else (digest,)


def fits(mark: Mark, before: bytes) -> bool:
    """Whether `mark` is of a content of which `before` stands before its position."""
    return mark.digest in digests(mark.position, before)


def power_positions(start: int, end: int) -> list[int]:
    """The positions 1, 2, 4, 8 KiB … in `(start, end]` at which marks are kept."""
    positions = []
    position = FIRST_POWER
    while position <= end:
        if position > start:
            positions.append(position)
        position *= 2
    return positions


def pack_marks(marks: Sequence[Mark]) -> bytes:
    return _packer(len(marks)).pack(*chain.from_iterable(marks))


@cache
def _packer(count: int) -> struct.Struct:
    return struct.Struct(f"<{2 * count}Q")


def unpack_marks(packed: bytes) -> list[Mark]:
    return [Mark(*pair) for pair in struct.iter_unpack("<QQ", packed[: len(packed) // 16 * 16])]


class Trail:
    """The marks of one content as far as it has been read without a gap, made from the bytes that pass.

    A piece that lies before `position` has passed already. One that lies beyond it is for `extend_by`: marks that are
    made of too few bytes would call the content another one.
    """

    __slots__ = ("_next_power", "line_ends", "position", "powers", "tail")

    def __init__(
        self, *, position: int = 0, tail: bytes = b"", powers: Sequence[Mark] = (), line_ends: bytes = b""
    ) -> None:
        self.position = position
        self.powers: list[Mark] = list(powers)
        self.line_ends = line_ends
        """Packed marks where lines end in the first kilobyte, from the second on: the first may be a header."""
        self.tail = tail_of(tail, position)
        """The bytes before `position`, as many as its mark is made of."""
        self._next_power = _power_above(position)

    @classmethod
    def of_marks(cls, marks: Sequence[Mark], position: int, tail: bytes, *, line_ends: bytes = b"") -> Trail:
        """The trail of a content of which `marks` and `line_ends` are known; `tail` stands before `position`."""
        powers = [mark for mark in marks if mark.position <= position and _is_power(mark.position)]
        ends = pack_marks([mark for mark in unpack_marks(line_ends) if mark.position <= position])
        return cls(position=position, tail=tail, powers=powers, line_ends=ends)

    def extend(self, start: int, data: bytes) -> None:
        """Takes note of `data`, which stands at `[start, start + len(data))`; not if there is a gap before it."""
        end = start + len(data)
        if end <= self.position or start > self.position:
            return
        if start != self.position:
            data = data[self.position - start :]
        if self.position < FIRST_POWER:
            self.line_ends += _line_ends(self.tail + data[:FIRST_POWER], self.position - len(self.tail), len(self.tail))
            self.line_ends = self.line_ends[: 16 * MOST_LINE_ENDS]
        if end >= self._next_power or end <= FIRST_POWER or len(data) < MARK_BYTES:
            passed = self.tail + data
            base = end - len(passed)
            self._add_powers(end, lambda at, size: passed[at - base : at - base + size])
            self.tail = tail_of(passed, end)
        else:
            self.tail = data[-MARK_BYTES:]
        self.position = end

    def extend_by(self, read: Callable[[int, int], bytes], end: int) -> None:
        """Takes note of everything up to `end`, reading only what marks need."""
        if self.position < FIRST_POWER:
            self.line_ends = _line_ends(read(0, min(end, FIRST_POWER)), 0, 0)[: 16 * MOST_LINE_ENDS]
        self._add_powers(end, read)
        start = end - window(end)
        self.tail = read(start, end - start)
        self.position = end

    def _add_powers(self, end: int, read: Callable[[int, int], bytes]) -> None:
        while self._next_power <= end:
            start = self._next_power - window(self._next_power)
            self.powers.append(mark_of(self._next_power, read(start, self._next_power - start)))
            self._next_power *= 2

    def known_marks(self) -> list[Mark]:
        """The powers and the mark at the farthest place that was read."""
        return [*self.powers, mark_of(self.position, self.tail)] if self.position else []


def _line_ends(data: bytes, base: int, passed: int) -> bytes:
    """The packed marks where lines end in `data[passed:]`, within the first kilobyte; `data` stands at `base`."""
    marks = []
    is_first = b"\n" not in data[:passed]
    at = data.find(b"\n", passed)
    while at >= 0 and base + at + 1 < FIRST_POWER:
        if not is_first:
            marks.append(mark_of(base + at + 1, data[: at + 1]))
        is_first = False
        at = data.find(b"\n", at + 1)
    return pack_marks(marks)


def _is_power(position: int) -> bool:
    return position >= FIRST_POWER and position & (position - 1) == 0


def _power_above(position: int) -> int:
    power = FIRST_POWER
    while power <= position:
        power *= 2
    return power


def agrees(marks: Sequence[Mark], size: int, has: Callable[[Mark], bool | None]) -> bool | None:
    """Whether a content of `size` bytes fits `marks`; None if it is too short to say.

    `has` says whether the content has a mark, or None where it cannot be read. Looks at the highest first: files that
    only append agree everywhere below it. Of the first kilobyte, the highest is made of all that stands before it.
    """
    within = sorted((mark for mark in marks if mark.position <= size), reverse=True)
    early = [mark for mark in within[3:] if mark.position <= FIRST_POWER]
    for mark in (*within[:3], *early[:1]):
        answer = has(mark)
        if not answer:
            return answer
    return True if within else None


# Attachment ------------------------------------------------------------------------------------------


class Verdict(Enum):
    """What a file is to what is known of an earlier one."""

    SAME = "same"
    """Go on at the cursors."""
    OTHER = "other"
    """Another content: from the beginning, as a file of its own."""
    TRUNCATED = "truncated"
    """The same file, emptied and perhaps written again: from the beginning; what was unread is lost."""
    TWIN = "twin"
    """A copy of a file that is being read: not read as long as that one lives."""
    WAIT = "wait"
    """A copy or archive in progress: too short yet, but equal as far as it goes."""


class Known(NamedTuple):
    """What is known of a content: where it was last seen and how far it was read."""

    device: int
    inode: int
    identity: str
    cursor: int
    """The farther of both cursors: everything before it was read."""
    is_alive: bool
    """Its file was seen elsewhere in this scan (and is not the file in question)."""


class Seen(NamedTuple):
    """A file as it lies there now. `size` is in decompressed bytes as far as they can be read."""

    device: int
    inode: int
    identity: str
    """'' while it has no complete first line."""
    size: int


def compare(known: Known, seen: Seen, marks_agree: bool | None) -> Verdict:
    """What `seen` is to `known`. `marks_agree` as `agrees` says of the known marks in the seen file.

    Where nothing was read yet there is no mark, so the first line decides: inodes are reused.
    """
    if (known.device, known.inode) == (seen.device, seen.inode):
        is_equal = seen.identity == known.identity if marks_agree is None else marks_agree
        return Verdict.SAME if seen.size >= known.cursor and is_equal else Verdict.TRUNCATED
    if not seen.identity or seen.identity != known.identity or marks_agree is False:
        return Verdict.OTHER
    if seen.size < known.cursor:
        return Verdict.WAIT
    return Verdict.TWIN if known.is_alive else Verdict.SAME
