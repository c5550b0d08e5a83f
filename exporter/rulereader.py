"""Reads one rule of a rule file: every key checked, every mistake told with its line. `rules` reads whole files."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

from exporter.rule import BUDGETS, DEFAULT_EXPIRE_SECONDS, DEFAULT_WINDOW_SECONDS, Budget, Rule, RuleType
from exporter.rulefile import Items, Table, Text, Tree
from exporter.statuses import status_text
from shipper.errors import ExpressionError
from shipper.expressions import Function, Kind, Predicate, Value, compile_predicate, compile_value, number_of

DEFAULT_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
MAX_BUCKETS: Final = 100
MAX_LABELS: Final = 30
MAX_SERIES: Final = 100_000
MAX_DURATION_SECONDS: Final = 86_400.0

KEYS: Final = (
    "name", "type", "help", "unit", "when", "value", "labels", "buckets", "window", "expire", "init", "source",
    "max_values", "max_series",
)  # fmt: skip
_TYPES_OF: Final = {
    "buckets": (RuleType.HISTOGRAM,),
    "window": (RuleType.RATIO, RuleType.DISTINCT, RuleType.MAX),
    "expire": (RuleType.GAUGE,),
    "init": (RuleType.COUNTER, RuleType.HISTOGRAM),
}
"""Keys that not every type has."""
_VALUES_NEEDED: Final = {
    RuleType.HISTOGRAM: "the number to observe, such as duration / 1000",
    RuleType.GAUGE: "the number to show, such as pool.used / pool.size",
    RuleType.MAX: "the number of which the greatest is shown, such as duration / 1000",
    RuleType.DISTINCT: "that of which distinct ones are counted, such as userId",
    RuleType.RATIO: "the condition whose share is shown, such as statusCode < 500",
}
_NAME: Final = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OWN_PREFIXES: Final = ("shipper_", "process_")
_PROMETHEUS_NAMES: Final = frozenset({"up", "ALERTS", "ALERTS_FOR_STATE"})
_PROMETHEUS_PREFIX: Final = "scrape_"
_RESERVED_LABELS: Final = {"le": "a histogram has its bounds there", "quantile": "a summary has its quantiles there"}
_RESERVED_ENDINGS: Final = ("_total", "_bucket", "_sum", "_count", "_created", "_info")
_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)(ms|s|m|h|d)?")
_UNIT_SECONDS: Final = {"ms": 0.001, "s": 1.0, None: 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}

Functions = Mapping[str, Function]


class Place(NamedTuple):
    """Where a rule stands; collects what is wrong with it, with its lines."""

    file: str
    name: str
    problems: list[tuple[int, str]]

    def problem(self, line: int, message: str) -> None:
        self.problems.append((line, f"{self.file}:{line}: {self.name}{message}"))


def unknown(what: str, given: str, known: Sequence[str]) -> str:
    """The message about a word that is none of those known."""
    from difflib import get_close_matches  # only a mistake needs it

    near = get_close_matches(given, known, n=1)
    return f"unknown {what} {given!r}; " + (f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}")


def _reason_against_label(name: str) -> str:
    """Why a label cannot be called so; '' if it can."""
    if not _NAME.fullmatch(name):
        return "is no label name, which has letters, digits and _"
    if name.startswith("__"):
        return "is reserved: names that begin with __ are Prometheus' own"
    return f"is reserved: {_RESERVED_LABELS[name]}" if name in _RESERVED_LABELS else ""


def read_rule(item: Tree, file: Place, functions: Functions) -> Rule | None:
    """The rule in a piece of a rule file; None if something is wrong with it, which the place has been told."""
    if not isinstance(item, Table):
        file.problem(item.line, "a rule must be a mapping")
        return None
    name = item.entries.get("name")
    title = f"rule {name.text}: " if isinstance(name, Text) else ""
    place = file._replace(name=title)
    before = len(place.problems)
    for key, line in item.lines.items():
        if key not in KEYS:
            place.problem(line, unknown("key", key, KEYS))
    rule = _RuleReader(item, place, functions).rule()
    return rule if len(place.problems) == before else None


class _RuleReader:
    """Reads the keys of one rule, reporting to its place and going on with a default."""

    def __init__(self, table: Table, place: Place, functions: Functions) -> None:
        self._table = table
        self._place = place
        self._functions = functions

    def rule(self) -> Rule | None:
        kind = self._type()
        name = self._name(kind)
        when = self._expression("when", compile_predicate)
        labels = self._labels(frozenset() if when is None else when.fields)
        if kind is None:
            return None
        self._check_keys(kind)
        return Rule(
            name=name,
            type=kind,
            help=self._text("help"),
            unit=self._unit(name),
            when=when,
            value=self._value(kind),
            truth=self._truth(kind),
            labels=labels,
            buckets=self._buckets(kind),
            window_seconds=self._duration("window", DEFAULT_WINDOW_SECONDS) if kind.has_window else 0.0,
            expire_seconds=self._duration("expire", DEFAULT_EXPIRE_SECONDS) if kind is RuleType.GAUGE else 0.0,
            init=self._init([label for label, _ in labels]),
            sources=self._sources(),
            budget=self._budget(kind),
            where=f"{self._place.file}:{self._table.line}",
        )

    def _problem(self, key: str, message: str, line: int | None = None) -> None:
        self._place.problem(line or self._table.lines.get(key, self._table.line), f"{key}: {message}")

    def _check_keys(self, kind: RuleType) -> None:
        for key, kinds in _TYPES_OF.items():
            if key in self._table.entries and kind not in kinds:
                self._problem(key, f"is for {' and '.join(known.value for known in kinds)} only")
        if kind in _VALUES_NEEDED and "value" not in self._table.entries:
            self._problem("value", f"is missing: {_VALUES_NEEDED[kind]}")

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
            self._problem("type", unknown("type", text, known))
        return None

    def _name(self, kind: RuleType | None) -> str:
        name = self._text("name", is_needed=True)
        if not name:
            return name
        if not _NAME.fullmatch(name) or name.startswith("__"):
            self._problem("name", f"{name!r} is no metric name; use letters, digits and _")
        elif name.startswith(_OWN_PREFIXES):
            self._problem("name", f"{' and '.join(_OWN_PREFIXES)} are for the daemon's own metrics")
        elif name in _PROMETHEUS_NAMES or name.startswith(_PROMETHEUS_PREFIX):
            self._problem("name", f"{name} is a series that Prometheus makes itself")
        elif kind is RuleType.COUNTER:
            if not name.endswith("_total"):
                self._problem("name", f"the name of a counter ends in _total: {name}_total")
        elif kind is not None and name.endswith(_RESERVED_ENDINGS):
            self._problem("name", f"the ending _{name.rpartition('_')[2]} is reserved")
        return name

    def _unit(self, name: str) -> str:
        unit = self._text("unit")
        if unit and not name.removesuffix("_total").endswith(f"_{unit}"):
            self._problem("unit", f"the name must end in _{unit} (before _total)")
        return unit

    def _duration(self, key: str, default: float) -> float:
        text = self._text(key)
        if not text:
            return default
        match = _DURATION.fullmatch(text)
        seconds = float(match[1]) * _UNIT_SECONDS[match[2]] if match else 0.0
        if not 1 <= seconds <= MAX_DURATION_SECONDS:
            self._problem(key, f"{text!r} is no duration from 1s to 1d, such as 90s, 5m or 1h")
        return seconds

    def _budget(self, kind: RuleType) -> Budget:
        default = BUDGETS[kind]
        return Budget(self._count("max_values", default.max_values), self._count("max_series", default.max_series))

    def _count(self, key: str, default: int) -> int:
        text = self._text(key)
        if not text:
            return default
        if text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MAX_SERIES and len(text) < 9:
            return int(text)
        self._problem(key, f"must be a whole number from 1 to {MAX_SERIES:,}")
        return default

    def _expression(self, key: str, compiler: Callable[..., Any], tree: Tree | None = None, title: str = "") -> Any:
        tree = tree or self._table.entries.get(key)
        if tree is None:
            return None
        if not isinstance(tree, Text):
            self._problem(key, f"{title}must be an expression", tree.line)
            return None
        try:
            return compiler(tree.text, functions=self._functions)
        except ExpressionError as error:
            is_cut = tree.text.count("(") > tree.text.count(")")
            hint = "; within {...} an expression that has commas stands in quotes" if is_cut else ""
            self._problem(key, f"{title}column {error.column}: {error.message}{hint}", tree.line)
            return None

    def _value(self, kind: RuleType) -> Value | None:
        if kind is RuleType.RATIO:
            return None
        value: Value | None = self._expression("value", compile_value)
        if kind is not RuleType.DISTINCT and value is not None and value.kind in {Kind.BOOLEAN, Kind.STRING}:
            self._problem("value", f"must be a number, this is a {value.kind.value}")
        return value

    def _truth(self, kind: RuleType) -> Predicate | None:
        if kind is not RuleType.RATIO:
            return None
        value: Value | None = self._expression("value", compile_value)
        if value is None:
            return None
        if value.kind in {Kind.NUMBER, Kind.STRING}:
            kinds = f"must be a condition, whose share of the lines is shown; this is a {value.kind.value}"
            self._problem("value", f"{kinds}: compare it with something, or show it as it is by type gauge")
            return None
        found: Predicate | None = self._expression("value", compile_predicate)
        return found

    def _labels(self, asked: frozenset[str]) -> tuple[tuple[str, Value], ...]:
        """The labels; a route without a status gets the one that the rule names. `asked`: the fields of `when`."""
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
            reason = _reason_against_label(name)
            if reason:
                self._problem("labels", f"{name!r} {reason}; choose another", tree.lines[name])
            value = self._expression("labels", compile_value, expression, f"{name}: ")
            if value is not None:
                labels.append((name, value))
        status = status_text(labels, asked) if any(value.lacks_status for _, value in labels) else ""
        return tuple((name, self._told(value, status) if status else value) for name, value in labels)

    def _told(self, value: Value, status: str) -> Value:
        """A value whose routes know the status; as it is if it has none, or if it would be too long then."""
        try:
            return compile_value(value.text, functions=self._functions, status=status)
        except ExpressionError:
            return value

    def _buckets(self, kind: RuleType) -> tuple[float, ...]:
        tree = self._table.entries.get("buckets")
        if kind is not RuleType.HISTOGRAM:
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
