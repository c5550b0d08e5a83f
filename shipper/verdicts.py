"""What an audit found: how many lines of each file are where, and which are missing first."""

from __future__ import annotations

from bisect import insort
from enum import Enum
from typing import Any

import msgspec

from shipper.escaping import printable
from shipper.reread import Line
from shipper.wording import is_or_are, number_of


class Place(Enum):
    """Where a line is. Each line is in one."""

    PRESENT = "present"
    REDUCED = "reduced"
    """Present in a reduced form, with a dead letter."""
    DROPPED = "dropped"
    """A rule says that it is not shipped."""
    SET_ASIDE = "set aside"
    """In the dead letters, and nowhere else."""
    WAITING = "not shipped yet"
    """Behind the shipped cursor, or on disk for an index that is blocked."""
    SKIPPED = "before the start"
    """It lay there at the very first start, and shipping began behind it (`start: end`)."""
    UNCHOSEN = "not chosen"
    """Not asked about (`--since`, `--until`, `--where`)."""
    EXPIRED = "expired"
    """Delivered, and deleted since, by keep_days or max_bytes of the local output."""
    UNFINISHED = "unfinished"
    """The last line, without its newline, which the daemon does not take as long as it may go on."""
    UNKNOWN = "unknown"
    """The output could not say."""
    MISSING = "missing"


COLUMNS = (Place.DROPPED, Place.SET_ASIDE, Place.MISSING)
_NOTES = (
    Place.REDUCED,
    Place.WAITING,
    Place.SKIPPED,
    Place.UNCHOSEN,
    Place.EXPIRED,
    Place.UNFINISHED,
    Place.UNKNOWN,
)


class FileReport(msgspec.Struct):
    """One file."""

    path: str
    source: str
    identity: str = ""
    counts: dict[Place, int] = msgspec.field(default_factory=lambda: dict.fromkeys(Place, 0))
    first_missing: list[Line] = msgspec.field(default_factory=list)
    problem: str = ""
    """Why it could not be read, or not to its end."""

    @property
    def lines(self) -> int:
        """All that were read, blank ones left out."""
        return sum(self.counts.values())

    @property
    def present(self) -> int:
        """Whole or reduced."""
        return self.counts[Place.PRESENT] + self.counts[Place.REDUCED]

    def note_missing(self, line: Line, *, most: int) -> None:
        """Keep the first ones, by offset."""
        insort(self.first_missing, line)
        del self.first_missing[most:]

    def as_data(self) -> dict[str, Any]:
        """For programs."""
        missing = [{"offset": line.offset, "index": line.index_name, "id": line.id} for line in self.first_missing]
        return {
            "path": printable(self.path),
            "source": self.source,
            "identity": self.identity,
            **_as_data(self.counts),
            "problem": self.problem,
            "first_missing": missing,
        }


def _as_data(counts: dict[Place, int]) -> dict[str, int]:
    named = {place.name.lower(): count for place, count in counts.items()}
    return {"lines": sum(counts.values()), **named, "present": counts[Place.PRESENT] + counts[Place.REDUCED]}


class Report(msgspec.Struct):
    """All files."""

    output: str
    is_running: bool
    """Whether a daemon is at work, so that what waits will come."""
    files: list[FileReport] = msgspec.field(default_factory=list)
    left_out: dict[str, str] = msgspec.field(default_factory=dict)
    problems: dict[str, str] = msgspec.field(default_factory=dict)
    repeated: int = 0
    """Documents that a directory has twice."""

    def total(self, place: Place) -> int:
        """Over all files."""
        return sum(file.counts[place] for file in self.files)

    @property
    def is_good(self) -> bool:
        """Whether every line is accounted for, and nothing waits for a daemon that is not running."""
        bad = self.total(Place.MISSING) + self.total(Place.UNKNOWN) + self.repeated
        stuck = 0 if self.is_running else self.total(Place.WAITING)
        return not (bad or stuck or self.problems or any(file.problem for file in self.files))

    def as_data(self) -> dict[str, Any]:
        """For programs."""
        totals = {place: self.total(place) for place in Place}
        return {
            "output": self.output,
            "is_running": self.is_running,
            "is_good": self.is_good,
            "totals": {**_as_data(totals), "repeated": self.repeated},
            "files": [file.as_data() for file in self.files],
            "left_out": {printable(path): why for path, why in self.left_out.items()},
            "problems": {printable(path): why for path, why in self.problems.items()},
        }

    def as_text(self) -> str:
        """For people."""
        names = [printable(file.path) for file in self.files]
        width = max(map(len, [*names, "in all"]))
        heads = ["lines", "present", *(place.value for place in COLUMNS)]
        rows = [" " * width + "".join(f"{head:>12}" for head in heads)]
        for name, file in zip(names, self.files, strict=True):
            rows.append(f"{name:<{width}}" + _cells(file.counts))
            rows += [f"    {note}" for note in _file_notes(file)]
        totals = {place: self.total(place) for place in Place}
        if len(self.files) > 1:
            rows.append(f"{'in all':<{width}}" + _cells(totals))
            rows += [f"    {note}" for note in _notes(totals)]
        rows += [f"{printable(path)} is not followed: {why}" for path, why in self.left_out.items()]
        rows += [f"{printable(path)}: {why}" for path, why in self.problems.items()]
        rows += ["", *self._verdict(totals)]
        return "\n".join(rows)

    def _verdict(self, totals: dict[Place, int]) -> list[str]:
        said = []
        if totals[Place.MISSING]:
            missing = totals[Place.MISSING]
            said.append(f"{number_of(missing, 'line')} {is_or_are(missing)} missing in {self.output}")
        if totals[Place.UNKNOWN]:
            said.append(
                f"of {number_of(totals[Place.UNKNOWN], 'line')} {self.output} could not say whether it is there"
            )
        if self.repeated:
            said.append(f"{number_of(self.repeated, 'document')} {is_or_are(self.repeated)} there twice")
        if totals[Place.WAITING] and not self.is_running:
            waiting = number_of(totals[Place.WAITING], "line")
            said.append(f"{waiting} not shipped yet, and no daemon is running that would do it")
        if any(file.problem for file in self.files):
            said.append("not every file could be read to its end")
        return said or ["nothing is missing" if not self.problems else "not everything could be looked at"]


def _cells(counts: dict[Place, int]) -> str:
    present = counts[Place.PRESENT] + counts[Place.REDUCED]
    numbers = [sum(counts.values()), present, *(counts[place] for place in COLUMNS)]
    return "".join(f"{number:>12}" for number in numbers)


def _notes(counts: dict[Place, int]) -> list[str]:
    return [f"{counts[place]} {place.value}" for place in _NOTES if counts[place]]


def _file_notes(file: FileReport) -> list[str]:
    notes = _notes(file.counts)
    if file.first_missing:
        offsets = ", ".join(f"{line.offset} ({line.index_name})" for line in file.first_missing)
        notes.append(f"missing first: offset {offsets}")
    return notes + ([file.problem] if file.problem else [])
