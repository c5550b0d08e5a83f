"""An exporter with a clock and a state of its own, for tests of what is counted and shown."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from exporter.births import Scraper
from exporter.exposition import Format, family_text
from exporter.rules import default_rules, parse_rules
from exporter.series import Exporter
from shipper.batch import MISSING, Batch, Columns
from shipper.columns import FieldReader
from shipper.expressions import FUNCTIONS, Function
from shipper.oddlines import without_lone_surrogates

ANN, BOB = Scraper("10.0.0.1", "Prometheus/3"), Scraper("10.0.0.2", "Prometheus/3")


class Noted:
    """Telemetry that remembers."""

    def __init__(self) -> None:
        self.errors: Counter[tuple[str, str]] = Counter()
        self.overflow: Counter[tuple[str, str]] = Counter()
        self.counts: dict[str, int] = {}

    def rule_error(self, rule: str, reason: str, count: int) -> None:
        self.errors[rule, reason] += count

    def label_overflow(self, rule: str, label: str, count: int) -> None:
        self.overflow[rule, label] += count

    def series(self, rule: str, count: int) -> None:
        self.counts[rule] = count


class Times:
    """The field `at` of a line is the time at which it happened."""

    fields = frozenset({"at"})

    def __call__(self, batch: Batch) -> list[float]:
        return [math.nan if at is MISSING else at for at in batch.columns.get("at", [MISSING] * batch.count)]


def _line(columns: dict[str, Any], number: int) -> bytes:
    """What the parser would have made these values of, and have kept of it."""
    values = {name: column[number] for name, column in columns.items() if column[number] is not MISSING}
    return without_lone_surrogates(json.dumps(values, default=repr).encode())


class Bench:
    """An exporter, its clock, and the state that it is committed to."""

    def __init__(
        self,
        text: str = "",
        *,
        exemplar: str = "",
        shows_created: bool = False,
        functions: Mapping[str, Function] = FUNCTIONS,
    ) -> None:
        self._options: Any = {"read_id": FieldReader(exemplar) if exemplar else None, "shows_created": shows_created}
        self.rules = parse_rules(f"rules:\n{text}", file="r.yml", functions=functions) if text else default_rules()
        self.now = 1_000.0
        self.state: dict[bytes, bytes] = {}
        self.telemetry = Noted()
        self.exporter = self._new()

    def _new(self) -> Exporter:
        return Exporter(
            rules=self.rules,
            telemetry=self.telemetry,
            event_times=Times(),
            clock=lambda: self.now,
            **self._options,
        )

    def observe(self, *, source: str = "app", size: int = 100, **columns: Any) -> None:
        count = max(map(len, columns.values()), default=1)
        self.exporter.observe(
            Batch(
                source=source,
                path="p",
                identity="i",
                start=0,
                end=size,
                lines=[_line(columns, number) for number in range(count)],
                offsets=range(count),
                columns=Columns(columns),
            )
        )

    def commit(self, *, is_published: bool = True) -> None:
        changes = self.exporter.take_changes()
        for key, value in changes.rows:
            if value is None:
                self.state.pop(key, None)
            else:
                self.state[key] = value
        if is_published:
            self.exporter.publish(changes)

    def restart(self) -> None:
        self.exporter = self._new()
        self.exporter.restore(list(self.state.items()))

    def shown(self, form: Format = Format.TEXT) -> dict[str, float]:
        """What the exposition says: values by the text before them."""
        lines = [line for line in self.text(form).splitlines() if line[0] != "#"]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    def text(self, form: Format, scraper: Scraper | None = None) -> str:
        """The exposition of the rules, as a request gets it that does not come to its end."""
        return "".join(family_text(item, form) for item in self.exporter.read(scraper)[0])

    def see(self, scraper: Scraper | None = None) -> dict[tuple[str, ...], Any]:
        """What a scrape gets: values by name and labels."""
        snapshots, on_sent = self.exporter.read(scraper)
        if on_sent:
            on_sent()
        return {
            (item.family.name, *series.labels): value
            for item in snapshots
            for series, value in zip(item.family.committed, item.values, strict=True)
        }


def many_counters(count: int) -> Exporter:
    """An exporter with so many series of counters."""
    rules = parse_rules(
        f"rules: [{{name: many_total, type: counter, labels: {{x: x, y: y}}, max_series: {count}}}]", file="r.yml"
    )
    exporter = Exporter(rules=rules, telemetry=Noted())
    columns = Columns([("x", [f"value-{i % 1_000}" for i in range(count)]), ("y", [i // 1_000 for i in range(count)])])
    exporter.observe(Batch("s", "p", "i", 0, 1, [b"{}"] * count, range(count), columns=columns))
    exporter.publish(exporter.take_changes())
    return exporter
