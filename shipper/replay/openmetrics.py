"""Writes what was counted as OpenMetrics files of a UTC day each, for `promtool tsdb create-blocks-from openmetrics`.

Each series begins with a 0 one step before its first event, and has a sample at each step to the end: so that what
Prometheus computes of it is what was counted. Memory is bounded by series.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import IO

from exporter.exposition import EOF_LINE, Format, head_lines
from exporter.rule import Rule
from exporter.texts import bound_text, label_pairs, number_text
from shipper.durable import sync_directory
from shipper.errors import StateError
from shipper.replay.grid import DAY_MS, Grid, day_of
from shipper.replay.tallies import Tallies, Values

PREFIX = "metrics-"


class DayWriter:
    """Writes all days in order; the sum of each series goes from one to the next."""

    def __init__(
        self,
        *,
        directory: Path,
        tallies: Tallies,
        rules: Sequence[Rule],
        grid: Grid,
        labels: Mapping[str, str],
    ) -> None:
        """`labels` are added to every series: those of the live target, so that it is the same series."""
        self._directory = directory
        self._tallies = tallies
        self._grid = grid
        self._labels = labels
        self._rules: dict[str, Rule] = {}
        for rule in rules:
            self._rules.setdefault(rule.name, rule)
        self._sums: dict[int, Values] = {}
        self._firsts = tallies.first_steps()
        self._series = tallies.series()
        self._last_ms = tallies.facts.get("last_ms", 0)
        self.samples = 0

    def write(self, *, wrote: Callable[[Path], None]) -> list[Path]:
        """The files, oldest first; `wrote` is told of each. Raises StateError, after which no half file is left."""
        busy = set(self._tallies.days(self._grid.step_ms, DAY_MS))
        ahead = {self._grid.day_number(first - 1) for first in self._firsts.values()}
        paths = []
        for day in sorted(busy | ahead):
            path = self._directory / f"{PREFIX}{day_of(day * DAY_MS)}.om"
            self._write_day(path, day, is_busy=day in busy)
            wrote(path)
            paths.append(path)
        return paths

    def _write_day(self, path: Path, day: int, *, is_busy: bool) -> None:
        fresh = path.with_name(f"{path.name}.new")
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with fresh.open("w", encoding="utf-8") as file:
                self._write_families(file, day, is_busy=is_busy)
                file.write(EOF_LINE)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
            sync_directory(self._directory)
        except OSError as error:
            fresh.unlink(missing_ok=True)
            raise StateError(
                f"cannot write {str(path)!r}: {error.strerror}; what was counted is kept: make room, and run it again"
            ) from error

    def _write_families(self, file: IO[str], day: int, *, is_busy: bool) -> None:
        written = ""
        for one, (name, *labels) in self._series:
            steps = self._steps(one, day, is_busy=is_busy)
            if steps is None or name not in self._rules:
                continue
            rule = self._rules[name]
            if name != written:
                written = name
                file.write(
                    head_lines(name.removesuffix("_total"), rule.type.value, rule.help, rule.unit, Format.OPENMETRICS)
                )
            form = _Form(rule, [*labels, *self._labels.values()], [*sorted(rule.label_names), *self._labels])
            for at, values in self._samples(one, *steps):
                file.write(form.sample(values, at))
                self.samples += 1

    def _steps(self, one: int, day: int, *, is_busy: bool) -> tuple[int, int] | None:
        """The first and the last step of a series in a day; None if it has none."""
        first_of_day, last_of_day = self._grid.steps_of_day(day)
        begin = self._firsts[one] - 1
        if not is_busy:  # only for those that begin with the next day
            return (begin, begin) if first_of_day <= begin <= last_of_day else None
        first = max(first_of_day, begin)
        last = min(last_of_day, self._grid.step_of(self._last_ms))
        return (first, last) if first <= last else None

    def _samples(self, one: int, first: int, last: int) -> Iterator[tuple[str, Values]]:
        """Times and sums of a series at each step, ascending."""
        increases = self._tallies.increases(one, first, last)
        at, increase = next(increases, (last + 1, ()))
        sums = self._sums.get(one, ())
        for step in range(first, last + 1):
            while at == step:
                sums = tuple(a + b for a, b in zip(sums, increase, strict=True)) if sums else increase
                at, increase = next(increases, (last + 1, ()))
            yield self._grid.time_text(step, last_ms=self._last_ms), sums
        if sums:
            self._sums[one] = sums


class _Form:
    """How a series' samples are written."""

    def __init__(self, rule: Rule, values: Sequence[str], names: Sequence[str]) -> None:
        pairs = label_pairs(names, values)
        self._is_histogram = rule.type.value == "histogram"
        self._plain = f"{rule.name}{{{pairs}}}" if pairs else rule.name
        comma = "," if pairs else ""
        bounds = [*map(bound_text, rule.buckets), "+Inf"]
        self._buckets = [f'{rule.name}_bucket{{{pairs}{comma}le="{bound}"}}' for bound in bounds]
        self._sum, self._count = (
            f"{rule.name}{end}{{{pairs}}}" if pairs else f"{rule.name}{end}" for end in ("_sum", "_count")
        )

    def sample(self, values: Values, at: str) -> str:
        """The lines of one moment; no values are 0."""
        if not self._is_histogram:
            return f"{self._plain} {number_text(values[0] if values else 0)} {at}\n"
        if not values:
            values = (0,) * (len(self._buckets) + 1)
        counts = list(accumulate(values[:-1]))
        lines = [f"{name} {count} {at}\n" for name, count in zip(self._buckets, counts, strict=True)]
        lines.append(f"{self._sum} {number_text(values[-1])} {at}\n{self._count} {counts[-1]} {at}\n")
        return "".join(lines)
