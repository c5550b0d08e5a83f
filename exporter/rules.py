"""Reads rule files and checks the rules, one by one and together.

Several rules may feed one metric (one name) if they agree on its type, labels and buckets.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Final

import msgspec

from exporter.rule import Rule, RuleType
from exporter.rulefile import Items, Table, read_tree
from exporter.rulereader import Functions, Place, read_rule, unknown
from shipper.errors import ConfigError
from shipper.expressions import FUNCTIONS

TARGET_LABELS: Final = ("job", "instance")
"""Those that Prometheus gives to every series that it scrapes."""

_SAMPLE_ENDINGS: Final = {
    RuleType.COUNTER: ("_total", "_created"),
    RuleType.HISTOGRAM: ("_bucket", "_sum", "_count", "_created"),
}
DEFAULT_RULES: Final = """\
rules:
  - name: http_requests_total
    type: counter
    help: Requests served.
    when: exists(method)
    labels: {method: method, path: "route(url, statusCode)", status: statusCode}
  - name: http_request_duration_seconds
    type: histogram
    help: Time that requests took.
    unit: seconds
    when: exists(method) and exists(duration)
    value: duration / 1000
    labels: {method: method, path: "route(url, statusCode)", status: statusCode}
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5]
"""


def load_rules(paths: Iterable[Path], *, functions: Functions = FUNCTIONS) -> list[Rule]:
    """The rules of all files, checked one by one and together. Raises ConfigError with every problem of every file."""
    reader = _Reader(functions)
    for path in paths:
        try:
            reader.read(path.read_bytes(), file=str(path))
        except OSError as error:
            reader.problems.append(f"{str(path)!r}: cannot be read: {error.strerror}")
    return reader.finish()


def parse_rules(text: str, *, file: str, functions: Functions = FUNCTIONS) -> list[Rule]:
    """The rules in a text; `file` is its name in messages. Raises ConfigError with every problem."""
    reader = _Reader(functions)
    reader.read(text.encode("utf-8", "surrogatepass"), file=file)
    return reader.finish()


def default_rules(*, functions: Functions = FUNCTIONS) -> list[Rule]:
    """The two HTTP rules that are in force where no rule file is named."""
    return parse_rules(DEFAULT_RULES, file="default rules", functions=functions)


def label_warnings(rules: Iterable[Rule]) -> list[str]:
    """What is odd about the names of labels that can be used."""
    return [
        f"{rule.where}: rule {rule.name}: Prometheus has a label {name} of its own, that of the target, and calls "
        f"this one exported_{name}; choose another name, lest rules and alerts by {name} mean the wrong one"
        for rule in rules
        for name in TARGET_LABELS
        if name in rule.label_names
    ]


def catalogue(rules: Iterable[Rule]) -> Mapping[str, tuple[str, ...]]:
    """Label names by the name of each sample that the rules export (three for a histogram)."""
    found: dict[str, tuple[str, ...]] = {}
    for rule in rules:
        if rule.type is RuleType.HISTOGRAM:
            found[f"{rule.name}_bucket"] = (*rule.label_names, "le")
            found[f"{rule.name}_sum"] = found[f"{rule.name}_count"] = rule.label_names
        else:
            found[rule.name] = rule.label_names
    return found


class _Reader:
    """Gathers rules and problems over several files."""

    def __init__(self, functions: Functions) -> None:
        self.problems: list[str] = []
        self._functions = functions
        self._rules: list[Rule] = []

    def read(self, data: bytes, *, file: str) -> None:
        place = Place(file if file.isprintable() else repr(file), "", [])
        self._read(data, place)
        self.problems += [message for _, message in sorted(place.problems, key=itemgetter(0))]

    def _read(self, data: bytes, place: Place) -> None:
        tree = read_tree(data, place.problem)
        if not isinstance(tree, Table):
            if tree is not None:
                place.problem(tree.line, "must be a mapping with the key rules")
            elif not place.problems:  # somebody is saving it, and a reload now would reset every counter
                place.problem(1, "is empty; `rules: []` says that there are none")
            return
        for key in tree.entries:
            if key != "rules":
                place.problem(tree.lines[key], unknown("key", key, ["rules"]))
        rules = tree.entries.get("rules")
        if not isinstance(rules, Items):
            place.problem(rules.line if rules else tree.line, "rules must be a list of rules")
            return
        for item in rules.items:
            rule = read_rule(item, place, self._functions)
            if rule is not None:
                self._rules.append(rule)

    def finish(self) -> list[Rule]:
        rules = _agreeing(self._rules, self.problems)
        self.problems += _clashes(rules)
        if self.problems:
            raise ConfigError(self.problems)
        return rules


def _agreeing(rules: Sequence[Rule], problems: list[str]) -> list[Rule]:
    """The rules, labels in the order of the first of their metric; adds a problem for each that contradicts another."""
    first_of: dict[str, Rule] = {}
    found: list[Rule] = []
    for rule in rules:
        first = first_of.setdefault(rule.name, rule)
        base = rule.name.removesuffix("_total")
        other = first_of.setdefault(base, rule) if base != rule.name else first
        title = f"{rule.where}: rule {rule.name}: "
        if other.name != rule.name:
            problems.append(f"{title}OpenMetrics calls it {base} as well, like the rule in {other.where}")
        elif first.type is not rule.type:
            problems.append(f"{title}is a {first.type.value} in {first.where}")
        elif set(first.label_names) != set(rule.label_names):
            problems.append(f"{title}has the labels {', '.join(first.label_names) or 'none'} in {first.where}")
        elif first.buckets != rule.buckets:
            problems.append(f"{title}has other buckets in {first.where}")
        elif (first.window_seconds, first.expire_seconds) != (rule.window_seconds, rule.expire_seconds):
            problems.append(f"{title}has another window or expire in {first.where}")
        elif any(rule.meaning == known.meaning for known in found):
            problems.append(f"{title}stands twice, also in {first.where}; its lines would be counted twice")
        else:
            found.append(rule if rule is first else _reordered(rule, first.label_names))
    return found


def _clashes(rules: Sequence[Rule]) -> list[str]:
    """A problem for each metric that OpenMetrics would call as it calls a sample of another one."""
    sample_of: dict[str, Rule] = {}
    for rule in rules:
        ends = _SAMPLE_ENDINGS.get(rule.type, ())
        sample_of.update({f"{rule.name.removesuffix('_total')}{end}": rule for end in ends})
    return [
        f"{rule.where}: rule {rule.name}: OpenMetrics calls it {rule.name.removesuffix('_total')}, "
        f"like a sample of {other.name} in {other.where}"
        for rule in {rule.name: rule for rule in reversed(rules)}.values()
        if (other := sample_of.get(rule.name.removesuffix("_total"))) is not None
    ]


def _reordered(rule: Rule, names: Sequence[str]) -> Rule:
    order = [rule.label_names.index(name) for name in names]
    return msgspec.structs.replace(
        rule,
        labels=tuple(rule.labels[position] for position in order),
        init=tuple(tuple(values[position] for position in order) for values in rule.init),
    )
