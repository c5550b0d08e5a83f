"""CPU seconds a million lines, from a file to the sink: the cases of docs/performance.md, run by turns.

Every round runs each case once and the reference loop beside them, so that what else the machine does falls on all of
them; ratios are taken within a round.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from bench.lines import Line, cri, hostile, pino, request, with_own_field, write_lines
from bench.measure import Cost, median, reference_seconds, ship_once, spread

NO_REDACTION = "redact: {packs: []}"
PLAIN = "compression: none"


class Case(NamedTuple):
    """One way to run it."""

    title: str
    goal: str = ""
    line: Line = request
    source: str = ""
    output: str = PLAIN
    top: str = NO_REDACTION
    ships: bool = True
    is_pinned: bool = True
    portion: float = 1.0
    """Of the lines: a mix with long ones has as many bytes with fewer."""


BASE = Case("whole pipeline", "at most 4.5")
GZIP = "compression: gzip"
AS_IT_COMES = Case("as it comes: redaction and gzip", top="", output=GZIP)
CASES: Sequence[Case] = (
    BASE,
    Case("with gzip", "at most 1.0 more", output=GZIP),
    Case("with gzip, on both cores", "wall time 1.25 times better", output=GZIP, is_pinned=False),
    Case("with the default redaction", "at most 0.8 more", top=""),
    AS_IT_COMES,
    AS_IT_COMES._replace(title="as it comes, on both cores", goal="wall time 1.25 times better", is_pinned=False),
    Case("metrics only", "at most 2.5", source="ship: false", ships=False),
    Case("a field of ours in a quarter of the lines", "at most 1.5 times", line=with_own_field),
    Case("hostile mix", "at most 2 times", line=hostile, portion=0.5),
    Case("pino-http's lines", line=pino),
    Case("the usual lines in CRI's", line=cri, source="format: cri"),
)
QUICK: Sequence[Case] = (BASE, AS_IT_COMES)


@dataclass
class Result:
    """What the rounds of one case took, a million lines each."""

    case: Case
    cpu_seconds: list[float] = field(default_factory=list)
    wall_seconds: list[float] = field(default_factory=list)
    peaks_mb: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    """CPU seconds by those of the reference loop in the same round."""

    def note(self, cost: Cost, *, lines: int, reference: float) -> None:
        self.cpu_seconds.append(cost.cpu_seconds / lines * 1e6)
        self.wall_seconds.append(cost.wall_seconds / lines * 1e6)
        self.peaks_mb.append(cost.peak_mb)
        self.ratios.append(self.cpu_seconds[-1] / reference)


@dataclass
class Table:
    """All cases, and the reference loop's CPU seconds a million lines."""

    results: list[Result]
    reference: list[float] = field(default_factory=list)

    def rows(self) -> list[tuple[str, ...]]:
        """As HEAD says."""
        rows: list[tuple[str, ...]] = []
        rows.append(("reference loop", f"{median(self.reference):.2f}", spread(self.reference), "1.00", "", "", ""))
        for one in self.results:
            goal = one.case.goal and f"{one.case.goal}: {reached(one, base=self._base_of(one))}"
            cpu = (f"{median(one.cpu_seconds):.2f}", spread(one.cpu_seconds), f"{median(one.ratios):.2f}")
            rate = f"{1e6 / median(one.wall_seconds):,.0f}"
            rows.append((one.case.title, *cpu, rate, f"{max(one.peaks_mb):.0f}", goal))
        return rows

    def ratios(self) -> dict[str, list[float]]:
        """To the reference loop, by case, one of each round."""
        return {result.case.title: result.ratios for result in self.results}

    def _base_of(self, result: Result) -> Result:
        """What a case is compared with: one on both cores with the same on one, all others with the first."""
        same = result.case._replace(is_pinned=True, title="", goal="")
        alike = [one for one in self.results if one.case._replace(title="", goal="") == same]
        return self.results[0] if result.case.is_pinned or not alike else alike[0]


HEAD = ("", "CPU s a million lines", "spread", "of reference", "lines/s", "peak MB", "goal: reached")


def reached(result: Result, *, base: Result) -> str:
    """In the terms of the case's goal; wall times are compared within a round, where they stand side by side."""
    cpu, base_cpu = median(result.cpu_seconds), median(base.cpu_seconds)
    goal = result.case.goal
    if goal.endswith("more"):
        return f"{cpu - base_cpu:.2f} more"
    if goal.startswith("wall"):
        gains = [one / two for one, two in zip(base.wall_seconds, result.wall_seconds, strict=True)]
        return f"{median(gains):.2f} times"
    return f"{cpu / base_cpu:.2f} times" if goal.endswith("times") else f"{cpu:.2f}"


def measure(directory: Path, *, lines: int, runs: int, cases: Sequence[Case], say: Callable[[str], None]) -> Table:
    """Runs all cases, after one round that does not count. Raises RuntimeError if a run fails."""
    core = max(os.sched_getaffinity(0))
    files = {}
    for case in cases:
        name = case.line.__name__
        if name not in files:
            files[name] = directory / f"{name}.log"
            write_lines(files[name], int(lines * case.portion), line=case.line)
    table = Table([Result(case) for case in cases])
    warm_up = directory / "few.log"
    write_lines(warm_up, 1_000)
    ship_once(warm_up, documents=None, core=core)
    for turn in range(runs):
        reference = reference_seconds(files["request"], core=core)
        table.reference.append(reference)
        for result in table.results:
            say(f"round {turn + 1} of {runs}: {result.case.title}")
            count = int(lines * result.case.portion)
            cost = _run(result.case, files[result.case.line.__name__], lines=count, core=core)
            result.note(cost, lines=count, reference=reference)
    return table


def _run(case: Case, path: Path, *, lines: int, core: int) -> Cost:
    documents = lines if case.ships else 0
    where = core if case.is_pinned else None
    return ship_once(path, documents=documents, core=where, source=case.source, output=case.output, top=case.top)
