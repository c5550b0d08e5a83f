"""The account of a replay: by file and by index, as a table and as JSON; and several of them added up.

`book` keeps it beside the records; `shipper replay --summary DIR` reads those of all shards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from shipper.errors import StateError
from shipper.escaping import printable
from shipper.replay.book import LEDGER
from shipper.replay.records import RESULTS, FileRecord, add_counts
from shipper.wording import is_or_are, number_of

_MOST_FILES = 40


class Ledger(msgspec.Struct, kw_only=True):
    """One replay, or one shard of it."""

    job: str
    """The same for all shards of one command."""
    shard: str = "0/1"
    output: str = ""
    command: str = ""
    is_finished: bool = False
    why: str = ""
    """Why it is not finished."""
    is_dry: bool = False
    seconds: float = 0.0
    files: list[FileRecord] = []
    left_out: dict[str, str] = {}
    notes: list[str] = []
    metrics: dict[str, Any] = {}

    def indices(self) -> dict[str, dict[str, int]]:
        """Documents by index and result, over all files."""
        totals: dict[str, dict[str, int]] = {}
        for file in self.files:
            add_counts(totals, file.indices)
        return dict(sorted(totals.items()))

    def totals(self) -> dict[str, int]:
        """Over all files."""
        totals = {"files": len(self.files), "lines": 0, "unwanted": 0, "dropped": 0, **dict.fromkeys(RESULTS, 0)}
        for file in self.files:
            for name in ("lines", "unwanted", "dropped"):
                totals[name] += getattr(file, name)
            for name, count in file.results().items():
                totals[name] += count
        totals["unfinished"] = sum(not file.is_done for file in self.files)
        return totals

    @property
    def has_dead_letters(self) -> bool:
        return has_dead_letters(self.totals())

    def as_data(self) -> dict[str, Any]:
        """For `--json`, and what is kept."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        return data | {"totals": self.totals(), "indices": self.indices()}


def has_dead_letters(totals: Mapping[str, int]) -> bool:
    """Whether something was set aside, or stands reduced in the output."""
    return any(totals.get(name) for name in ("dead_letter", "reduced", "reduced_before"))


# As text ------------------------------------------------------------------------------------------------------------

_DRY_TITLES = ("lines", "would send", "would be set aside", "dropped", "not chosen")
"""Nobody is asked what is there already."""
_TITLES = ("lines", "new", "already there", "reduced", "set aside", "dropped", "not chosen")


def as_text(ledger: Ledger) -> str:
    """A table by file, one by index, what was left out, and the metrics."""
    shipped = [*_by_file(ledger), "", *_by_index(ledger)] if ledger.files else []
    return "\n".join([*shipped, *_rest(ledger), *_metrics(ledger.metrics)])


def _metrics(metrics: dict[str, Any]) -> Iterator[str]:
    if not metrics:
        return
    lines, days = number_of(metrics.get("counted", 0), "line"), number_of(len(metrics["files"]), "day file")
    yield (
        f"metrics: {lines}, {metrics['series']:,} series, {metrics['samples']:,} samples, "
        f"{days} in {metrics['directory']}"
    )
    if metrics["blocks"]:
        yield f"blocks: {metrics['blocks']}; Prometheus takes them when they lie in its data directory"
    for name, said in (("undated", "have no time"), ("future", "are of the future")):
        if metrics.get(name):
            yield f"metrics: {metrics[name]:,} lines {said}, and have no place in history"
    for name in metrics["without_history"]:
        yield f"metrics: rule {name} is about the last minutes, and has no history"
    for path, problem in metrics["problems"].items():
        yield f"metrics: {printable(path)}: {problem}"


def _numbers(file: FileRecord, *, is_dry: bool) -> tuple[int, ...]:
    results = file.results()
    if is_dry:
        return (file.lines, results["created"], results["dead_letter"], file.dropped, file.unwanted)
    named = (results["created"], results["duplicate"], results["reduced"], results["dead_letter"])
    return (file.lines, *named, file.dropped, file.unwanted)


def _by_file(ledger: Ledger) -> Iterator[str]:
    titles = _DRY_TITLES if ledger.is_dry else _TITLES
    shown = sorted(ledger.files, key=lambda file: (file.is_done, file.first_time or "~", file.path))
    numbers = {id(file): _numbers(file, is_dry=ledger.is_dry) for file in ledger.files}
    rows = [(printable(file.path), numbers[id(file)], _said_of(file)) for file in shown[:_MOST_FILES]]
    if len(shown) > _MOST_FILES:
        rest = shown[_MOST_FILES:]
        sums = tuple(map(sum, zip(*(numbers[id(file)] for file in rest), strict=True)))
        rows.append((f"{len(rest)} more (all with --json)", sums, ""))
    totals = tuple(map(sum, zip(*numbers.values(), strict=True))) if ledger.files else (0,) * len(titles)
    rows.append((number_of(len(ledger.files), "file"), totals, ""))
    yield from table(("file", *titles), rows)


def _said_of(file: FileRecord) -> str:
    if file.problem:
        return file.problem
    return "" if file.is_done else f"stopped at offset {file.position}"


def _by_index(ledger: Ledger) -> Iterator[str]:
    titles = ("would send",) if ledger.is_dry else ("new", "already there", "reduced", "set aside")
    names = RESULTS[: len(titles)]
    rows = [(index, tuple(counts.get(name, 0) for name in names), "") for index, counts in ledger.indices().items()]
    if rows:
        yield from table(("index", *titles), rows)
    first = min((file.first_time for file in ledger.files if file.first_time), default="")
    last = max((file.end_time for file in ledger.files), default="")
    if first:
        yield f"event times: {first} to {last}"


def _rest(ledger: Ledger) -> Iterator[str]:
    for path, why in list(ledger.left_out.items())[:_MOST_FILES]:
        yield f"not read: {printable(path)}: {why}"
    if len(ledger.left_out) > _MOST_FILES:
        yield f"not read: {len(ledger.left_out) - _MOST_FILES} more (all with --json)"
    totals = ledger.totals()
    if repaired := totals["repaired"]:
        yield f"{number_of(repaired, 'reduced document')} {is_or_are(repaired)} whole again"
    if refused := totals["reduced_before"]:
        yield f"{number_of(refused, 'document')} of those already there stayed reduced: each has a dead letter"
    yield from ledger.notes


def table(titles: Sequence[str], rows: Sequence[tuple[str, Sequence[int], str]]) -> Iterator[str]:
    """Lines of a table: a name, numbers, and a remark."""
    cells = [tuple(titles), *((name, *(f"{number:,}" for number in numbers)) for name, numbers, _ in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(titles))]
    remarks = ["", *(remark for _, _, remark in rows)]
    for row, remark in zip(cells, remarks, strict=True):
        numbers = "  ".join(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        yield f"{row[0]:<{widths[0]}}  {numbers}  {remark}".rstrip()


# Several ------------------------------------------------------------------------------------------------------------


def ledgers_in(directory: Path) -> list[Ledger]:
    """All ledgers below a directory. Raises StateError."""
    found = []
    for path in sorted(directory.glob(f"**/{LEDGER}")):
        try:
            found.append(msgspec.json.decode(path.read_bytes(), type=Ledger))
        except (OSError, msgspec.MsgspecError) as error:
            raise StateError(f"{str(path)!r} cannot be read: {error}") from None
    return found


class Summary(msgspec.Struct):
    """The shards of one command, added up."""

    job: str
    command: str
    shards: int
    missing: list[int]
    unfinished: dict[str, str]
    """By shard: why."""
    totals: dict[str, int]
    indices: dict[str, dict[str, int]]
    problems: dict[str, str]
    """By file."""

    @property
    def is_finished(self) -> bool:
        return not (self.missing or self.unfinished)

    @property
    def has_dead_letters(self) -> bool:
        return has_dead_letters(self.totals)

    def as_text(self) -> str:
        shown = ("files", "lines", "created", "duplicate", "reduced", "dead_letter", "dropped", "unwanted")
        titles = ("files", "lines", "new", "already there", "reduced", "set aside", "dropped", "not chosen")
        rows = [(number_of(self.shards, "shard"), [self.totals.get(name, 0) for name in shown], "")]
        lines = [f"{self.command}", *table(("", *titles), rows)]
        indices = [(index, [counts.get(name, 0) for name in RESULTS[:4]], "") for index, counts in self.indices.items()]
        lines += table(("index", *titles[2:6]), indices) if indices else []
        lines += [
            f"shard {number} has no ledger here: it has not run, or its state lies elsewhere" for number in self.missing
        ]
        lines += [f"shard {shard} is not finished: {why}" for shard, why in self.unfinished.items()]
        lines += [f"{printable(path)}: {problem}" for path, problem in self.problems.items()]
        return "\n".join(lines)


def summaries(ledgers: Iterable[Ledger]) -> list[Summary]:
    """One for each command; of ledgers of a dry run none."""
    by_job: dict[str, list[Ledger]] = {}
    for ledger in ledgers:
        by_job.setdefault(ledger.job, []).append(ledger)
    return [_summary(job, parts) for job, parts in by_job.items()]


def _summary(job: str, parts: Sequence[Ledger]) -> Summary:
    count = max(int(part.shard.partition("/")[2]) for part in parts)
    there = {int(part.shard.partition("/")[0]) for part in parts}
    totals: dict[str, int] = {}
    indices: dict[str, dict[str, int]] = {}
    problems: dict[str, str] = {}
    for part in parts:
        for name, number in part.totals().items():
            totals[name] = totals.get(name, 0) + number
        add_counts(indices, part.indices())
        problems |= {file.path: file.problem for file in part.files if file.problem}
    return Summary(
        job=job,
        command=parts[0].command,
        shards=count,
        missing=sorted(set(range(count)) - there),
        unfinished={part.shard: part.why for part in parts if not part.is_finished},
        totals=totals,
        indices=dict(sorted(indices.items())),
        problems=problems,
    )
