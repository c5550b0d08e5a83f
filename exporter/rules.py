"""Reads rule files and checks the rules, one by one and together.

Several rules may feed one metric (one name) if they agree on its type, labels and buckets.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

from exporter.rule import Rule, RuleType
from exporter.rulefile import Items, Table, Text, Tree, read_tree
from shipper.errors import ConfigError, ExpressionError
from shipper.expressions import Kind, Value, compile_predicate, compile_value, number_of

DEFAULT_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
DEFAULT_RULES: Final = """\
rules:
  - name: http_requests_total
    type: counter
    help: Requests served.
    when: exists(method)
    labels: {method: method, path: route(url), status: statusCode}
  - name: http_request_duration_seconds
    type: histogram
    help: Time that requests took.
    when: exists(method) and exists(duration)
    value: duration / 1000
    labels: {method: method, path: route(url), status: statusCode}
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 5]
"""
MAX_BUCKETS: Final = 100
MAX_LABELS: Final = 30

_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OWN_PREFIXES: Final = ("shipper_", "process_")
_RESERVED_LABELS: Final = frozenset({"le", "quantile"})
_RESERVED_ENDINGS: Final = ("_total", "_bucket", "_sum", "_count", "_created", "_info")
_KEYS: Final = ("name", "type", "help", "unit", "when", "value", "labels", "buckets", "init", "source")


def load_rules(paths: Iterable[Path]) -> list[Rule]:
    """The rules of all files, checked one by one and together. Raises ConfigError with every problem of every file."""
    reader = _Reader()
    for path in paths:
        try:
            reader.read(path.read_bytes(), file=str(path))
        except OSError as error:
            reader.problems.append(f"{str(path)!r}: cannot be read: {error.strerror}")
    return reader.finish()


def parse_rules(text: str, *, file: str) -> list[Rule]:
    """The rules in a text; `file` is its name in messages. Raises ConfigError with every problem."""
    reader = _Reader()
    reader.read(text.encode("utf-8", "surrogatepass"), file=file)
    return reader.finish()


def default_rules() -> list[Rule]:
    """The two HTTP rules that are in force where no rule file is named."""
    return parse_rules(DEFAULT_RULES, file="default rules")


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


class _Place(NamedTuple):
    """Where a rule stands; collects what is wrong with it."""

    file: str
    name: str
    problems: list[str]

    def problem(self, line: int, message: str) -> None:
        self.problems.append(f"{self.file}:{line}: {self.name}{message}")


class _Reader:
    """Gathers rules and problems over several files."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._rules: list[Rule] = []

    def read(self, data: bytes, *, file: str) -> None:
        place = _Place(file if file.isprintable() else repr(file), "", self.problems)
        tree = read_tree(data, place.problem)
        if not isinstance(tree, Table):
            if tree is not None:
                place.problem(tree.line, "must be a mapping with the key rules")
            return
        for key in tree.entries:
            if key != "rules":
                place.problem(tree.lines[key], _unknown("key", key, ["rules"]))
        rules = tree.entries.get("rules")
        if not isinstance(rules, Items):
            place.problem(rules.line if rules else tree.line, "rules must be a list of rules")
            return
        for item in rules.items:
            rule = _rule(item, place)
            if rule is not None:
                self._rules.append(rule)

    def finish(self) -> list[Rule]:
        rules = _agreeing(self._rules, self.problems)
        if self.problems:
            raise ConfigError(self.problems)
        return rules


def _unknown(what: str, given: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(given, known, n=1)
    return f"unknown {what} {given!r}; " + (f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}")


def _rule(item: Tree, file: _Place) -> Rule | None:
    if not isinstance(item, Table):
        file.problem(item.line, "a rule must be a mapping")
        return None
    name = item.entries.get("name")
    title = f"rule {name.text}: " if isinstance(name, Text) else ""
    place = file._replace(name=title)
    before = len(place.problems)
    for key, line in item.lines.items():
        if key not in _KEYS:
            place.problem(line, _unknown("key", key, _KEYS))
    rule = _RuleReader(item, place).rule()
    return rule if len(place.problems) == before else None


class _RuleReader:
    """Reads the keys of one rule, reporting to its place and going on with a default."""

    def __init__(self, table: Table, place: _Place) -> None:
        self._table = table
        self._place = place

    def rule(self) -> Rule | None:
        kind = self._type()
        name = self._name(kind)
        labels = self._labels()
        when = self._expression("when", compile_predicate)
        if kind is None:
            return None
        return Rule(
            name=name,
            type=kind,
            help=self._text("help"),
            unit=self._unit(name),
            when=when,
            value=self._value(kind),
            labels=labels,
            buckets=self._buckets(kind),
            init=self._init([label for label, _ in labels]),
            sources=self._sources(),
            where=f"{self._place.file}:{self._table.line}",
        )

    def _problem(self, key: str, message: str, line: int | None = None) -> None:
        self._place.problem(line or self._table.lines.get(key, self._table.line), f"{key}: {message}")

    def _text(self, key: str, *, is_needed: bool = False) -> str:
        tree = self._table.entries.get(key)
        if tree is None:
            if is_needed:
                self._problem(key, "is missing")
            return ""
        if isinstance(tree, Text):
            return tree.text
        self._problem(key, "must be a text")
        return ""

    def _type(self) -> RuleType | None:
        text = self._text("type", is_needed=True)
        known = [kind.value for kind in RuleType]
        if text in known:
            return RuleType(text)
        if text:
            self._problem("type", _unknown("type", text, known))
        return None

    def _name(self, kind: RuleType | None) -> str:
        name = self._text("name", is_needed=True)
        if not name:
            return name
        if not _NAME.fullmatch(name) or name.startswith("__"):
            self._problem("name", f"{name!r} is no metric name; use letters, digits and _")
        elif name.startswith(_OWN_PREFIXES):
            self._problem("name", f"{' and '.join(_OWN_PREFIXES)} are for the daemon's own metrics")
        elif kind is RuleType.COUNTER and not name.endswith("_total"):
            self._problem("name", f"the name of a counter ends in _total: {name}_total")
        elif kind is RuleType.HISTOGRAM and name.endswith(_RESERVED_ENDINGS):
            self._problem("name", f"the ending _{name.rpartition('_')[2]} is reserved")
        return name

    def _unit(self, name: str) -> str:
        unit = self._text("unit")
        if unit and not name.removesuffix("_total").endswith(f"_{unit}"):
            self._problem("unit", f"the name must end in _{unit} (before _total)")
        return unit

    def _expression(self, key: str, compiler: Any, tree: Tree | None = None, title: str = "") -> Any:
        tree = tree or self._table.entries.get(key)
        if tree is None:
            return None
        if not isinstance(tree, Text):
            self._problem(key, f"{title}must be an expression", tree.line)
            return None
        try:
            return compiler(tree.text)
        except ExpressionError as error:
            self._problem(key, f"{title}column {error.column}: {error.message}", tree.line)
            return None

    def _value(self, kind: RuleType) -> Value | None:
        if "value" not in self._table.entries:
            if kind is RuleType.HISTOGRAM:
                self._problem("value", "is missing: the number to observe, such as duration / 1000")
            return None
        value: Value | None = self._expression("value", compile_value)
        if value is not None and value.kind in {Kind.BOOLEAN, Kind.STRING}:
            self._problem("value", f"must be a number, this is a {value.kind.value}")
        return value

    def _labels(self) -> tuple[tuple[str, Value], ...]:
        tree = self._table.entries.get("labels")
        if tree is None:
            return ()
        if not isinstance(tree, Table):
            self._problem("labels", "must be a mapping of label names to expressions")
            return ()
        if len(tree.entries) > MAX_LABELS:
            self._problem("labels", f"are more than {MAX_LABELS}")
        labels = []
        for name, expression in tree.entries.items():
            if not _NAME.fullmatch(name) or name.startswith("__") or name in _RESERVED_LABELS:
                reason = "is reserved" if name in _RESERVED_LABELS or name.startswith("__") else "is no label name"
                self._problem("labels", f"{name!r} {reason}; choose another", tree.lines[name])
            value = self._expression("labels", compile_value, expression, f"{name}: ")
            if value is not None:
                labels.append((name, value))
        return tuple(labels)

    def _buckets(self, kind: RuleType) -> tuple[float, ...]:
        tree = self._table.entries.get("buckets")
        if kind is not RuleType.HISTOGRAM:
            if tree is not None:
                self._problem("buckets", "are for histograms only")
            return ()
        if tree is None:
            return DEFAULT_BUCKETS
        items = tree.items if isinstance(tree, Items) else ()
        bounds = tuple(float(number_of(item.text)) if isinstance(item, Text) else math.nan for item in items)
        if not bounds or len(bounds) > MAX_BUCKETS or any(math.isnan(bound) for bound in bounds):
            self._problem("buckets", f"must be a list of 1 to {MAX_BUCKETS} finite numbers; +Inf is added by itself")
        elif any(not first < second for first, second in pairwise(bounds)):
            self._problem("buckets", "must be ascending, each once")
        return bounds

    def _init(self, names: list[str]) -> tuple[tuple[str, ...], ...]:
        tree = self._table.entries.get("init")
        if tree is None:
            return ()
        sets = []
        for item in tree.items if isinstance(tree, Items) else (tree,):
            texts = item.entries if isinstance(item, Table) else {}
            values = [text.text for name in names if isinstance(text := texts.get(name), Text)]
            if not isinstance(tree, Items) or len(values) != len(names) or set(texts) != set(names):
                self._problem("init", f"must be a list of mappings with the labels {', '.join(names)}", item.line)
            else:
                sets.append(tuple(values))
        return tuple(sets)

    def _sources(self) -> frozenset[str]:
        tree = self._table.entries.get("source")
        if tree is None:
            return frozenset()
        items = tree.items if isinstance(tree, Items) else (tree,)
        names = [item.text for item in items if isinstance(item, Text) and item.text]
        if not names or len(names) != len(items):
            self._problem("source", "must be the name of a source, or a list of names")
        return frozenset(names)


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
        elif any(rule.meaning == known.meaning for known in found):
            problems.append(f"{title}stands twice, also in {first.where}; its lines would be counted twice")
        else:
            found.append(rule if rule is first else _reordered(rule, first.label_names))
    return found


def _reordered(rule: Rule, names: Sequence[str]) -> Rule:
    order = [rule.label_names.index(name) for name in names]
    return replace(
        rule,
        labels=tuple(rule.labels[position] for position in order),
        init=tuple(tuple(values[position] for position in order) for values in rule.init),
    )
