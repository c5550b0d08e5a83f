"""The vocabulary: what travels between the stages. Imports nothing of ours and is imported by all.

A batch is a piece of one file: the byte range `[start, end)` in decompressed bytes, its lines, and the columns that
were parsed from them. The position travels with the data, so committing is only about positions.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from msgspec import UNSET

MISSING: Final = UNSET
"""Stands in a column where the line has no such field (a field that is null has None)."""

_ABSENT: Final = frozenset({type(MISSING)})

Column = Sequence[Any]
"""One value a line: str, int, float, bool, None, list, dict, or MISSING."""


class Columns(dict[str, Column]):
    """Columns by field name; a dotted name (`user.id`) is a nested field, or a field whose own name has the dots.

    Remembers which types of values each has: several stages ask, and looking costs 20 ns a value.
    """

    __slots__ = ("_types", "absent", "derived")

    def __init__(self, columns: Mapping[str, Column] | Iterable[tuple[str, Column]] = ()) -> None:
        super().__init__(columns)
        self._types: dict[str, frozenset[type]] = {}
        self.derived: dict[str, Column] = {}
        """What was made of columns and may be wanted again, by a name that tells how."""
        self.absent: frozenset[str] = frozenset()
        """Names that are known to be in no line."""

    def __setitem__(self, name: str, column: Column) -> None:
        super().__setitem__(name, column)
        self._types.pop(name, None)
        self.derived.clear()
        if name in self.absent:
            self.absent -= {name}

    def lack(self, names: Iterable[str], count: int) -> None:
        """Gives columns of `count` missing values to names that are in no line."""
        self.absent = frozenset(names)
        self.update(dict.fromkeys(self.absent, (MISSING,) * count))
        self._types.update(dict.fromkeys(self.absent, _ABSENT))

    def types(self, name: str) -> frozenset[type]:
        """The types of a column's values; that of MISSING alone where there is no such column."""
        found = self._types.get(name)
        if found is None:
            found = self._types[name] = frozenset(map(type, self.get(name, (MISSING,))))
        return found


class Problem(NamedTuple):
    """What was wrong with one line; `tag` is what its document carries."""

    tag: str
    reason: str


@dataclass(slots=True)
class Batch:
    """Whole lines of one file, `[start, end)` in decompressed bytes, in file order.

    `lines` are raw, without line ending; a line that was joined from parts (docker, cri) is the text that the
    application wrote, and `offsets` has that of its first part (`raw_lines` has the parts as they stand in the file).
    Blank lines are left out, so `len(lines)` may be less than the newlines in the range.
    """

    source: str
    path: str
    identity: str
    start: int
    end: int
    lines: list[bytes]
    offsets: Sequence[int]
    columns: Columns = field(default_factory=Columns)
    problems: dict[int, list[Problem]] = field(default_factory=dict)
    """By position in `lines`; absent where the line is an ordinary JSON object, empty where it is an empty one."""
    raw_lines: list[bytes] | None = None
    """The lines as they stand in the file, where those differ from `lines`; checksums are made of them."""
    runtime_times: list[str] | None = None
    """What the container runtime wrote as each line's time (docker, cri): used where the line has none of its own."""
    handle: Content | None = None
    """The file's content that this is a piece of; not owned."""
    redactions: dict[str, int] = field(default_factory=dict)
    """How many values were redacted, by rule."""
    checksums: dict[int, int] = field(default_factory=dict)
    """By position in `lines`: those of lines that redaction changed, which stand instead of one made of the line."""

    @property
    def count(self) -> int:
        return len(self.lines)


class Frame(NamedTuple):
    """What an output wants around the parts of a document: `before INDEX middle ID after SOURCE end`."""

    before_index: bytes
    before_id: bytes
    before_source: bytes
    end: bytes


@dataclass(slots=True)
class DeadLetter:
    """A line that could not become the document that it should have been. Written before its batch is done."""

    id: str
    index: str
    source: str
    file: str
    offset: int
    reason: str
    """One word for the metric and for `dead-letter list`: time_in_future, or the server's error type."""
    line: bytes
    server: str = ""
    """What the server said, shortened; may repeat the line's text, so it never goes to our own log."""
    reduced: bool = False
    """True where a reduced document was delivered under the same id."""
    timestamp: str = ""
    """The line's time, where it is one that it has inherited: the line alone does not tell it."""


@dataclass(slots=True)
class Documents:
    """What enrichment made of a batch: `count` framed documents one after another in `body`, in file order.

    Document `i` is of line `batch.lines[line_numbers[i]]`. The output calls `done(documents)` once, from any thread,
    when every document is durable: accepted, set aside or spooled, and synced.
    """

    batch: Batch
    body: bytes
    count: int
    segments: Sequence[tuple[str, int, int]]
    """Index name and byte range `[from, to)` in `body` of documents of one index that stand together."""
    line_numbers: Sequence[int]
    dead_letters: list[DeadLetter]
    done: Callable[[Documents], None]
    results: dict[str, int] = field(default_factory=dict)
    """What became of them, as in `shipper_documents_total`; complete when `done` is called."""
    unwanted: Collection[int] = ()
    """Positions in `batch.lines` of lines that a choice left out: nothing is to be noted of them."""


class Mark(NamedTuple):
    """The hash of the bytes that stand before `position`: says whether a file is still the one that was read."""

    position: int
    digest: int


class Content(Protocol):
    """A file's content, as far as an output's ledger must know it to say what it already has."""

    @property
    def identity(self) -> str: ...

    def has(self, marks: Sequence[Mark]) -> bool | None:
        """True if the content agrees with all marks that lie within it, False if one differs, None if none does."""

    def digests_at(self, position: int) -> Sequence[int] | None:
        """What a mark at `position` must say; nothing if the content does not go so far, None if that is not known."""

    def marks_at(self, position: int) -> Sequence[Mark]:
        """The marks of everything before `position`, which must be where a batch ended; the last is at it."""


class Output(Protocol):
    """Where documents go. Everything but `done` is called by the pipeline's thread alone."""

    frame: Frame
    has_ledger: bool
    """Whether `covered` is the whole truth about what the output has, which the state then follows."""

    def start(self) -> None:
        """Starts threads. Raises InUseError or OutputError where it can never work; waits for nobody."""

    def has_room(self) -> bool:
        """False while enough is under way; the pipeline then reads on for metrics only."""

    def submit(self, documents: Documents) -> None:
        """Takes documents over; never blocks. Also takes those with `count` 0 that carry dead letters."""

    def flush(self) -> None:
        """Sends what was gathered without waiting for more."""

    def covered(self, content: Content) -> Sequence[tuple[int, int]]:
        """Offset ranges `[start, end)` of this content that the output itself knows to have; none for a server."""

    def forget(self, content: Content, position: int) -> None:
        """This content was cut at `position` or behind it: what the output has of it from there on may be of lines
        that are no more. What is left of them comes again.
        """

    def close(self, *, deadline: float) -> bool:
        """Delivers what is under way until `deadline` (monotonic seconds), then stops; True if all was delivered."""

    def status(self) -> OutputStatus:
        """How it goes; cheap, from any thread."""


@dataclass(slots=True, frozen=True)
class OutputStatus:
    """How an output does. Times are monotonic seconds."""

    name: str
    """For people: the hosts without credentials, or the directory."""
    is_up: bool
    error: str
    """The last failure that still stands, '' if none; holds no secrets and no document text."""
    progress_at: float
    """When documents were last accepted or refused one by one (or the output was started)."""
    refused_since: float | None
    """Since when the server has said nothing but 401, or 403 security_exception."""
    pending: int
    """Documents taken over and not done."""
    spooled: int = 0
    """Documents waiting on disk for an index that is blocked."""
