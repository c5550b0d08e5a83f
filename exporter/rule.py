"""A rule: what is counted, from which lines, under which labels. `rules` reads them, `counting` obeys them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from enum import Enum

from shipper.expressions import Predicate, Value


class RuleType(Enum):
    COUNTER = "counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, kw_only=True, eq=False)
class Rule:
    """One checked rule. `labels` are in the order of the metric; `init` has the values of label sets in that order."""

    name: str
    type: RuleType
    help: str = ""
    unit: str = ""
    when: Predicate | None = None
    value: Value | None = None
    labels: tuple[tuple[str, Value], ...] = ()
    buckets: tuple[float, ...] = ()
    init: tuple[tuple[str, ...], ...] = ()
    sources: frozenset[str] = frozenset()
    """Names of the sources whose lines it counts; empty: all."""
    where: str = ""
    """`file:line`, for messages about it."""

    @property
    def label_names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.labels)

    @property
    def fields(self) -> frozenset[str]:
        """The columns that it needs."""
        parts = [self.when, self.value, *(value for _, value in self.labels)]
        return frozenset().union(*(part.fields for part in parts if part is not None))

    @property
    def meaning(self) -> str:
        """The same for two rules exactly if they count the same; help, unit and spelling do not enter."""
        parts = [
            self.name,
            self.type.value,
            self.when.canonical if self.when else None,
            self.value.canonical if self.value else None,
            [(name, value.canonical) for name, value in self.labels],
            self.buckets,
            sorted(self.sources),
        ]
        return hashlib.blake2b(json.dumps(parts).encode(), digest_size=8).hexdigest()
