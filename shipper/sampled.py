"""What the rules make of a sample of the lines, for `check`: one that is right in itself can be wrong for them.

Counts as an exporter does, by the first lines of the newest files (`suggest` reads them); commits and shows nothing.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from exporter.rule import Rule
from exporter.series import Exporter
from shipper.discover import Found
from shipper.referred import rules_of
from shipper.settings import Settings
from shipper.suggest import MANY_NAMES, batches_of_sample

Label = tuple[str, str]
"""Names of a metric and of one of its labels."""
_OFTEN: Final = 2
"""A label that has more than one value for so many lines tells single lines apart."""


@dataclass(slots=True)
class Sampled:
    """What came of the sample."""

    lines: int = 0
    unused: list[str] = field(default_factory=list)
    """Metrics whose rules are about none of the lines."""
    warnings: list[str] = field(default_factory=list)


class _Telemetry:
    """Remembers what the rules could not count as asked."""

    def __init__(self) -> None:
        self.errors: Counter[tuple[str, str]] = Counter()
        self.overflow: set[Label] = set()

    def rule_error(self, rule: str, reason: str, count: int) -> None:
        self.errors[rule, reason] += count

    def label_overflow(self, rule: str, label: str, count: int) -> None:  # noqa: ARG002
        self.overflow.add((rule, label))

    def series(self, rule: str, count: int) -> None:
        """Nobody asks."""


def tried_on_sample(settings: Settings, files: Iterable[Found]) -> Sampled:
    """What the rules make of the sample. Raises ConfigError."""
    rules = rules_of(settings)
    telemetry = _Telemetry()
    exporter = Exporter(rules=rules, telemetry=telemetry)
    about: Counter[str] = Counter()
    found = Sampled()
    for batch, wanted in batches_of_sample(settings, files, rules=rules, fields=exporter.fields):
        exporter.observe(batch)
        found.lines += batch.count
        for rule in wanted:
            about[rule.name] += batch.count if rule.when is None else len(rule.when(batch.columns, batch.count))
    values: defaultdict[Label, set[str]] = defaultdict(set)
    for series, _ in exporter.take_changes().snapshots:
        for name, value in zip(series.family.label_names, series.labels, strict=True):
            values[series.family.name, name].add(value)
    firsts = {rule.name: rule for rule in reversed(rules)}
    found.unused = [name for name in firsts if found.lines and not about[name]][::-1]
    found.warnings = [
        *_uncounted(firsts, telemetry.errors, about),
        *_varied(firsts, {label: len(texts) for label, texts in values.items()}, telemetry.overflow, about),
    ]
    return found


def _uncounted(rules: Mapping[str, Rule], errors: Mapping[tuple[str, str], int], about: Mapping[str, int]) -> list[str]:
    return [
        f"{rules[name].where}: rule {name} cannot count {count:,} of the {about[name]:,} lines of the sample that it "
        f"is about: {reason}; `shipper explain` shows which"
        for (name, reason), count in errors.items()
    ]


def _varied(
    rules: Mapping[str, Rule], values: Mapping[Label, int], overflow: Iterable[Label], about: Mapping[str, int]
) -> list[str]:
    """What is to be said of labels that tell single lines apart. (Of routes `suggest` says more.)"""
    return [
        f"{rules[name].where}: rule {name}: the label {label} has {count:,} values in {about[name]:,} lines of the "
        f"sample; what tells single lines apart uses up the budget, and then is __other__: leave it to the documents, "
        f"or count it by type distinct"
        for (name, label), count in values.items()
        if (count >= MANY_NAMES and _OFTEN * count > about[name]) or (name, label) in overflow
        if not _is_route(rules[name], label)
    ]


def _is_route(rule: Rule, label: str) -> bool:
    value = dict(rule.labels)[label]
    return value.status is not None or value.lacks_status
