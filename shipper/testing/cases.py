"""Reads test files: strict YAML to cases, every mistake told with its line. `trial` runs them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET

from shipper.config.compose import compose
from shipper.config.decode import Check, Decoder, Section
from shipper.config.document import MAX_TEXT_BYTES, Items, Node, Problems, Table, printable
from shipper.errors import ConfigError
from shipper.settings import Config, Field, Kind, Name
from shipper.testing.samples import ABSENT, parse_sample
from shipper.times import event_time

Json = Annotated[Any, Kind.JSON]
_ONE_OR_MORE: Final = ("lines", "expect")
"""Keys whose list may be left away around a single one."""


class Expected(Config, frozen=True, kw_only=True):
    """What is to become of a line; what is not given is not looked at."""

    outcome: Literal["shipped", "dropped", "set aside", "not shipped"] | None = None
    reason: str = ""  # of a drop its expression, of what is set aside the word of its dead letter
    index: str = ""
    id: str = ""
    time: str = ""
    tags: tuple[str, ...] | None = None  # all of them, in their order
    problems: tuple[str, ...] | None = None  # all of them: not_json, encoding …
    redacted: dict[str, int] | None = None  # all of them: how many values, by rule
    document: Json = UNSET  # a part of the document
    whole: Json = UNSET  # all of it
    absent: tuple[Field, ...] = ()  # fields that it must not have


class CaseSettings(Config, frozen=True, kw_only=True):
    """One case as it is written."""

    name: Name
    source: str = ""
    file: str = ""
    now: str = ""
    lines: tuple[Json, ...]
    expect: tuple[Expected, ...] = ()
    metrics: dict[str, Any] = {}  # by sample: its value, or `absent`
    rule_errors: dict[str, str] | None = None  # all of them: the reason, by rule


class FileSettings(Config, frozen=True, kw_only=True):
    """One test file."""

    now: str = ""
    tests: tuple[CaseSettings, ...]


class Case(msgspec.Struct, frozen=True):
    """A case and where its parts stand."""

    file: str
    line: int
    settings: CaseSettings
    now: str
    """Of the case or its file; '' if neither says."""
    is_for_each: bool
    """The one expectation is that of every line."""
    expect_lines: Sequence[Mapping[str, int]]
    """The line of each key of each expectation; of the expectation itself under ''."""
    key_lines: Mapping[str, int]
    metric_lines: Mapping[str, int]


def read_cases(paths: Sequence[str], *, directory: Path) -> list[Case]:
    """The cases of all files, relative ones from `directory`. Raises ConfigError with every problem of every file."""
    found: list[Case] = []
    problems: list[str] = []
    for path in paths:
        try:
            found += _cases_in(_read(directory / path, path), file=path)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return found


def _read(path: Path, shown: str) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_TEXT_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else "not a file name"
        raise ConfigError([f"{printable(shown)}: cannot be read: {reason}"]) from None


def _cases_in(data: bytes, *, file: str) -> list[Case]:
    problems = Problems(file=file)
    tree = compose(data, problems=problems)
    if tree is None:
        raise problems.fail(1, "is empty; it needs `tests`")
    tree = _with_lists(tree)
    decoder = Decoder(problems=problems, environ=None, directory=Path(), checks=_checks(), root=FileSettings)
    settings = decoder.section(FileSettings, tree, "")
    problems.raise_any()
    if settings is None or not isinstance(tree, Table):
        raise AssertionError("cases that cannot be built have a problem")
    tests = tree.entries["tests"]
    nodes = tests.items if isinstance(tests, Items) else ()
    return [
        _case(node, one, file=problems.file, now=one.now or settings.now)
        for node, one in zip(nodes, settings.tests, strict=True)
        if isinstance(node, _Single)
    ]


def _with_lists(tree: Node) -> Node:
    """The tree with a list around what may stand alone."""
    tests = tree.entries.get("tests") if isinstance(tree, Table) else None
    if not isinstance(tree, Table) or not isinstance(tests, Items):
        return tree
    items = tuple(_with_lists_in(item) for item in tests.items)
    return msgspec.structs.replace(tree, entries={**tree.entries, "tests": msgspec.structs.replace(tests, items=items)})


def _with_lists_in(case: Node) -> Node:
    if not isinstance(case, Table):
        return case
    single = {
        key: Items(node.line, (node,), node.weight + 1)
        for key, node in case.entries.items()
        if key in _ONE_OR_MORE and not isinstance(node, Items)
    }
    return _Single(case.line, {**case.entries, **single}, case.key_lines, case.weight, frozenset(single))


class _Single(Table, frozen=True):
    """A case of which some keys had no list."""

    single: frozenset[str] = frozenset()


def _case(node: _Single, settings: CaseSettings, *, file: str, now: str) -> Case:
    expect, metrics = node.entries.get("expect"), node.entries.get("metrics")
    expected = expect.items if isinstance(expect, Items) else ()
    return Case(
        file=file,
        line=node.line,
        settings=settings,
        now=now,
        is_for_each="expect" in node.single,
        expect_lines=[{"": one.line, **(one.key_lines if isinstance(one, Table) else {})} for one in expected],
        key_lines=node.key_lines,
        metric_lines=metrics.key_lines if isinstance(metrics, Table) else {},
    )


# What must hold within a section


def _checks() -> Mapping[type[Config], Check]:
    """The checks for one file (they remember the cases' names)."""
    names: dict[str, int] = {}

    def case(section: Section) -> None:
        name = section.values.get("name")
        if name in names:
            section.problem("name", f"{name!r} is the name of another case, in line {names[name]}")
        elif name is not None:
            names[name] = section.line("name")
        _check_case(section)

    return {FileSettings: _check_file, CaseSettings: case, Expected: _check_expected}


def _check_file(section: Section) -> None:
    _check_time(section, "now")
    if section.is_empty("tests"):
        section.problem("tests", "is empty")


def _check_case(section: Section) -> None:
    _check_time(section, "now")
    if section.is_empty("lines"):
        section.problem("lines", "is empty")
    for position, line in enumerate(section.values.get("lines", ())):
        if not isinstance(line, str | dict):
            section.problem("lines", f"[{position}]: expected a text, or keys and values; put it in quotes")
    asks = any(section.is_given(key) and not section.is_empty(key) for key in ("expect", "metrics"))
    if not asks and not section.is_given("rule_errors"):
        message = "this case expects nothing: give expect, metrics or rule_errors"
        section.problem("name", message, line=section.table.line)
    for sample, value in section.values.get("metrics", {}).items():
        line = section.entry_line("metrics", sample)
        try:
            parse_sample(sample)
        except ValueError as error:
            section.problem("metrics", f"{sample}: {error}", line=line)
        if value != ABSENT and (isinstance(value, bool) or not isinstance(value, int | float)):
            section.problem("metrics", f"{sample}: expected a number, or {ABSENT}", line=line)


def _check_expected(section: Section) -> None:
    _check_time(section, "time")
    for key in ("reason", "index", "id", "time"):
        if section.is_given(key) and section.values.get(key) == "":
            section.problem(key, "is empty")
    for key in ("document", "whole"):
        if not isinstance(section.values.get(key, {}), dict):
            section.problem(key, "expected keys and values")


def _check_time(section: Section, key: str) -> None:
    text = section.values.get(key)
    if text is not None and event_time(text) is None:
        section.problem(key, "expected a time of 2000 to 2099, such as 2024-01-15T10:30:45Z")
