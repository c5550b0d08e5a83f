"""Reads rule files: YAML to a tree whose parts know their lines, each key once. What they mean is for `rules`.

Nesting is counted before PyYAML composes, because its composer recurses in C.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any, Final

import msgspec
import yaml

MAX_FILE_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 20
MAX_NODES: Final = 20_000
"""Values in a file with its aliases written out: ten lines of them can stand for billions."""
Problem = Callable[[int, str], None]
"""Takes a line and what is wrong there."""


class Text(msgspec.Struct, frozen=True):
    """A scalar as it is written, without its quotes."""

    line: int
    text: str


class Items(msgspec.Struct, frozen=True):
    line: int
    items: tuple[Tree, ...]


class Table(msgspec.Struct, frozen=True):
    line: int
    entries: dict[str, Tree]
    lines: dict[str, int]


Tree = Text | Items | Table


def read_tree(data: bytes, problem: Problem) -> Tree | None:
    """The document in `data`; None if it is empty or unusable, which `problem` has been told."""
    if len(data) > MAX_FILE_BYTES:
        problem(1, f"is larger than {MAX_FILE_BYTES:,} bytes")
        return None
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        text = data.decode("utf-8-sig")
        line = _too_deep(text, loader)
        if line:
            problem(line, f"is nested deeper than {MAX_DEPTH}")
            return None
        node = yaml.compose(text, Loader=loader)
    except UnicodeDecodeError as error:
        problem(data.count(b"\n", 0, error.start) + 1, "is not UTF-8")
        return None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem(mark.line + 1 if mark else 1, f"is not YAML: {error.problem}")
        return None
    except yaml.YAMLError as error:
        problem(1, f"is not YAML: {str(error).splitlines()[0]}")
        return None
    if node is None:
        return None
    line = _line_within_itself(node, {})
    if line:
        problem(line, "contains itself")
        return None
    if _size(node, {}) > MAX_NODES:
        problem(node.start_mark.line + 1, f"has more than {MAX_NODES:,} values, aliases expanded")
        return None
    return _tree(node, problem)


def _too_deep(text: str, loader: Any) -> int:
    """The line where the nesting passes MAX_DEPTH, 0 if it never does."""
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                return int(getattr(event.start_mark, "line", 0)) + 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return 0


def _parts(node: Any) -> Iterable[Any]:
    if isinstance(node, yaml.MappingNode):
        return chain.from_iterable(node.value)
    return node.value if isinstance(node, yaml.SequenceNode) else ()


def _line_within_itself(node: Any, is_open: dict[int, bool]) -> int:
    """The line of an anchor whose content refers to it, 0 if there is none. Each node is looked into once."""
    if id(node) in is_open:
        return int(node.start_mark.line) + 1 if is_open[id(node)] else 0
    is_open[id(node)] = True
    line = next(filter(None, (_line_within_itself(part, is_open) for part in _parts(node))), 0)
    is_open[id(node)] = False
    return line


def _size(node: Any, known: dict[int, int]) -> int:
    """How many values a node stands for that does not contain itself."""
    size = known.get(id(node))
    if size is None:
        size = known[id(node)] = 1 + sum(_size(part, known) for part in _parts(node))
    return size


def _tree(node: Any, problem: Problem, depth: int = 0) -> Tree:
    line = node.start_mark.line + 1
    if depth > MAX_DEPTH:  # aliases within what aliases stand for
        problem(line, f"is nested deeper than {MAX_DEPTH}")
        return Text(line, "")
    if isinstance(node, yaml.SequenceNode):
        return Items(line, tuple(_tree(item, problem, depth + 1) for item in node.value))
    if not isinstance(node, yaml.MappingNode):
        return Text(line, str(node.value))
    entries: dict[str, Tree] = {}
    lines: dict[str, int] = {}
    for key_node, value_node in node.value:
        key_line = key_node.start_mark.line + 1
        if not isinstance(key_node, yaml.ScalarNode):
            problem(key_line, "a key must be a plain name")
        elif key_node.value in entries:
            problem(key_line, f"{key_node.value!r} is given twice, first in line {lines[key_node.value]}")
        else:
            entries[key_node.value] = _tree(value_node, problem, depth + 1)
            lines[key_node.value] = key_line
    return Table(line, entries, lines)
