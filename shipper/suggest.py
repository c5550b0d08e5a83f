"""Routes that could be written down: where a sample of the lines has many names in one place of its URLs.

`route` knows identifiers by how they look, and learns nothing; names of customers or files look like any other word. So
`check` looks at what the rules would count, and says which patterns would make one label of them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import msgspec

from exporter.rule import Rule
from shipper.batch import Batch
from shipper.discover import Found
from shipper.expressions import Function, number_of
from shipper.parse import Parser
from shipper.redact.stage import redactor
from shipper.referred import rules_of
from shipper.route import ID
from shipper.routepatterns import parse_pattern
from shipper.routing import functions_of
from shipper.settings import Settings, SourceSettings
from shipper.tail import Chunk, Damaged, LineReader, open_log, reader_for

SAMPLE_BYTES: Final = 1 << 20
"""Of each source, from the beginnings of its newest files."""
SAMPLE_FILES: Final = 3
MANY_NAMES: Final = 100
FEW_NAMES: Final = 20
"""So many names are many if most of them hardly ever come again."""
RARE_LINES: Final = 2
KEPT_LINES: Final = 10
KEPT_SHARE: Final = 0.05
"""A name that has that share of the lines is a page of its own, not one of many."""
MOST_SUGGESTIONS: Final = 20


@dataclass(frozen=True, slots=True, order=True)
class Suggestion:
    """One pattern for `metrics.routes`."""

    route: str
    names: int
    """How many names would become one label; 0 for a page that keeps its own beside them."""


class Seen(NamedTuple):
    """A route in a label, and whether the line says that the request was refused (4xx)."""

    route: str
    is_refused: bool


@dataclass(slots=True)
class _Node:
    """What lies below a part of a path."""

    lines: int = 0
    ends: int = 0
    below: dict[str, _Node] = field(default_factory=dict)

    def add(self, segments: Sequence[str], lines: int) -> None:
        self.lines += lines
        if not segments:
            self.ends += lines
            return
        self.below.setdefault(segments[0], _Node()).add(segments[1:], lines)

    def merge(self, other: _Node) -> None:
        self.lines += other.lines
        self.ends += other.ends
        for name, node in other.below.items():
            self.below.setdefault(name, _Node()).merge(node)


def suggested(sample: Mapping[Seen, int]) -> list[Suggestion]:
    """The patterns that make few labels of many, of routes with their numbers of lines; those of most lines first."""
    root = _Node()
    for (route, is_refused), lines in sample.items():
        if route.startswith("/") and not is_refused:
            root.add(route[1:].split("/"), lines)
    found = [(lines, suggestion) for lines, suggestion in _varied(root, "", 0, is_new=False) if _fits(suggestion.route)]
    found.sort(key=lambda one: (-one[0], one[1]))
    return [suggestion for _, suggestion in found[:MOST_SUGGESTIONS]]


def _fits(route: str) -> bool:
    try:
        parse_pattern(route)
    except ValueError:  # too deep, or a name that has a meaning in patterns
        return False
    return "*" not in route


def _varied(node: _Node, path: str, names: int, *, is_new: bool) -> Iterator[tuple[int, Suggestion]]:
    """The routes at and below a node that nobody has written down, with their lines."""
    if is_new and node.ends:
        yield node.ends, Suggestion(path, names)
    alike = _many_alike(node)
    merged = _Node()
    for name in alike:
        merged.merge(node.below[name])
    for name, below in node.below.items():
        if alike and name == ID:
            merged.merge(below)
        elif name not in alike:
            yield from _varied(below, f"{path}/{name}", names, is_new=is_new or bool(alike))
    if alike:
        yield from _varied(merged, f"{path}/{ID}", max(names, len(alike)), is_new=True)


def _many_alike(node: _Node) -> set[str]:
    """The names right below a node that are too many to be pages, each of its own."""
    named = {name: below.lines for name, below in node.below.items() if name and name[0] not in ":*"}
    least = max(KEPT_LINES, KEPT_SHARE * sum(named.values()))
    alike = {name for name, lines in named.items() if lines < least}
    rare = sum(lines <= RARE_LINES for lines in named.values())
    is_many = len(alike) >= MANY_NAMES or (len(alike) >= FEW_NAMES and 2 * rare > len(alike))
    return alike if is_many else set()


def noise(sample: Mapping[Seen, int]) -> int:
    """How many routes were only ever refused and would each be a label: scanners' wishes. (`:unmatched` is one.)"""
    found = {seen.route for seen in sample if not seen.is_refused}
    return len({seen.route for seen in sample if seen.is_refused and seen.route.startswith("/")} - found)


def routes_of_sample(settings: Settings, files: Iterable[Found]) -> Counter[Seen]:
    """Routes that labels would have, by how many of the first lines of the newest files. Raises ConfigError."""
    noted: list[Sequence[Seen]] = []
    functions = functions_of(settings)
    rules = rules_of(settings, functions={**functions, "route": _noting(functions["route"], noted)})
    fields = frozenset[str]().union(*(rule.fields for rule in rules))
    found: Counter[Seen] = Counter()
    for batch, wanted in batches_of_sample(settings, files, rules=rules, fields=fields):
        lines: Counter[Seen] = Counter()
        for rule in wanted:
            lines |= _routes(rule, batch, noted)  # rules that ask for the same see the same lines
        found.update(lines)
    return found


def batches_of_sample(
    settings: Settings, files: Iterable[Found], *, rules: Iterable[Rule], fields: frozenset[str]
) -> Iterator[tuple[Batch, Sequence[Rule]]]:
    """The first lines of the newest files of each source that feeds rules, with these."""
    newest = sorted(files, key=lambda found: found.mtime_ns, reverse=True)
    for source in settings.sources:
        wanted = [rule for rule in rules if source.metrics and (not rule.sources or source.name in rule.sources)]
        own = [file for file in newest if file.source.name == source.name][:SAMPLE_FILES]
        for batch in _batches(settings, source, own, fields) if wanted else ():
            yield batch, wanted


def _noting(route: Function, noted: list[Sequence[Seen]]) -> Function:
    """`route`, which notes what it gives."""
    column = route.column
    if column is None:
        raise AssertionError("route works on columns")

    def routes(urls: Sequence[Any], statuses: Sequence[Any] | None = None) -> Sequence[Any]:
        given: Sequence[Any] = column(urls, statuses)
        refused = [False] * len(urls) if statuses is None else [400 <= number_of(one) < 500 for one in statuses]
        noted.append([Seen(*one) for one in zip(given, refused, strict=True)])
        return given

    return msgspec.structs.replace(route, column=routes)


def _routes(rule: Rule, batch: Batch, noted: list[Sequence[Seen]]) -> Counter[Seen]:
    """The routes in a rule's labels, with its lines."""
    positions = range(batch.count) if rule.when is None else rule.when(batch.columns, batch.count)
    noted.clear()
    for _, value in rule.labels:
        value(batch.columns, batch.count)
    routes = [column[position] for column in noted if len(column) == batch.count for position in positions]
    return Counter([seen for seen in routes if seen.route.__class__ is str])


def _batches(
    settings: Settings, source: SourceSettings, files: Iterable[Found], fields: frozenset[str]
) -> Iterator[Batch]:
    """The first lines of files, redacted as everywhere; of a file that cannot be read, as many as there are."""
    parser = Parser(
        line_format=source.format,
        fields=fields,
        max_line_bytes=source.max_line_bytes,
        redact=redactor(settings).redact,
    )
    left = SAMPLE_BYTES
    for found in files:
        for chunk in _chunks(found, left, max_line_bytes=source.max_line_bytes):
            left -= chunk.end - chunk.start
            batch = parser.parse(chunk, source=source.name, path=found.path, identity="", content=None, is_final=True)
            if batch is not None:
                yield batch


def _chunks(found: Found, limit: int, *, max_line_bytes: int) -> Iterator[Chunk]:
    try:
        descriptor = open_log(found.path)
    except OSError:
        return  # `check` has said so already
    try:
        if found.confinement is not None:
            found.confinement.check(descriptor, found.path)
        lines = LineReader(reader_for(descriptor), position=0, max_line_bytes=max_line_bytes)
        while lines.position < limit and (chunk := lines.next_chunk()):
            yield chunk
    except (OSError, Damaged):
        return
    finally:
        os.close(descriptor)
