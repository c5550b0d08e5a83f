"""A rule: what is counted, from which lines, under which labels. `rules` reads them, `counting` obeys them."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any, Final

import msgspec

from shipper.blake2 import blake2b
from shipper.expressions import Predicate, Value

DEFAULT_WINDOW_SECONDS: Final = 300.0
DEFAULT_EXPIRE_SECONDS: Final = 900.0


class RuleType(Enum):
    """How lines become a value. A counter and a histogram add up for ever; the others are about the last minutes."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"
    RATIO = "ratio"
    DISTINCT = "distinct"
    MAX = "max"

    @property
    def is_timed(self) -> bool:
        """Whether the value depends on when lines happened, and goes away without new ones."""
        return self not in {RuleType.COUNTER, RuleType.HISTOGRAM}

    @property
    def has_window(self) -> bool:
        return self.is_timed and self is not RuleType.GAUGE

    @property
    def exposed(self) -> str:
        """The type that the exposition names."""
        return "gauge" if self.is_timed else self.value


class Budget(msgspec.Struct, frozen=True):
    """How far a metric may grow: distinct values of one label, and label sets in all."""

    max_values: int
    max_series: int


BUDGETS: Final = {
    RuleType.COUNTER: Budget(1_000, 10_000),
    RuleType.HISTOGRAM: Budget(1_000, 10_000),
    RuleType.GAUGE: Budget(1_000, 10_000),
    RuleType.RATIO: Budget(1_000, 1_000),
    RuleType.MAX: Budget(1_000, 1_000),
    RuleType.DISTINCT: Budget(100, 100),
}
"""What a rule may have that says nothing else; the less, the more a series of its type takes."""


class Rule(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One checked rule. `labels` are in the order of the metric; `init` has the values of label sets in that order."""

    name: str
    type: RuleType
    help: str = ""
    unit: str = ""
    when: Predicate | None = None
    value: Value | None = None
    truth: Predicate | None = None
    """What `value` is in a ratio."""
    labels: tuple[tuple[str, Value], ...] = ()
    buckets: tuple[float, ...] = ()
    window_seconds: float = 0.0
    """0 where the type has none."""
    expire_seconds: float = 0.0
    """0 where the type does not expire by itself."""
    init: tuple[tuple[str, ...], ...] = ()
    sources: frozenset[str] = frozenset()
    """Names of the sources whose lines it counts; empty: all."""
    budget: Budget = BUDGETS[RuleType.COUNTER]
    where: str = ""
    """`file:line`, for messages about it."""

    @property
    def label_names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.labels)

    @property
    def fields(self) -> frozenset[str]:
        """The columns that it needs."""
        parts = [self.when, self.value, self.truth, *(value for _, value in self.labels)]
        return frozenset().union(*(part.fields for part in parts if part is not None))

    @property
    def meaning(self) -> str:
        """The same for two rules exactly if they count the same; help, unit, budgets, spelling, order do not enter."""
        value = self.truth or self.value
        parts: list[Any] = [
            self.name,
            self.type.value,
            self.when.canonical if self.when else None,
            value.canonical if value else None,
            sorted((name, value.canonical) for name, value in self.labels),
            self.buckets,
            sorted(self.sources),
        ]
        if self.window_seconds:
            parts.append(self.window_seconds)
        return blake2b(json.dumps(parts).encode(), digest_size=8).hexdigest()
