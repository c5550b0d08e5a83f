"""Strict YAML: text to the nodes of `document`.

Composed here from libyaml's events, not by PyYAML's composer: that one recurses in C (a thousand brackets crash the
process), lets a later key overwrite an earlier one, and follows aliases that expand to gigabytes. `decode` comes next.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import yaml

from shipper.config.document import MAX_TEXT_BYTES, Items, Node, Problems, Scalar, Table

MAX_DEPTH: Final = 50
MAX_NODES: Final = 20_000
# What YAML forbids everywhere (surrogates cannot come of UTF-8), and a byte order mark that is not at the start.
_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff]")


def compose(data: bytes, *, problems: Problems) -> Node | None:
    """The document in `data`, None if there is nothing in it.

    Repeated and unusable keys are added to `problems`. Raises ConfigError for what is not YAML, and for what we refuse:
    tags, several documents, recursion, and more than MAX_DEPTH, MAX_NODES (aliases expanded) or MAX_TEXT_BYTES.
    """
    if len(data) > MAX_TEXT_BYTES:
        raise problems.fail(1, f"is larger than {MAX_TEXT_BYTES} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise problems.fail(data.count(b"\n", 0, error.start) + 1, "is not UTF-8") from None
    composer = _Composer(problems=problems)
    for event in _events(text, problems):
        composer.feed(event)
    return composer.root


def _events(text: str, problems: Problems) -> Iterator[Any]:
    unprintable = _UNPRINTABLE.search(text)
    if unprintable:
        line = text.count("\n", 0, unprintable.start()) + 1
        raise problems.fail(line, f"is not YAML: holds the control character {unprintable[0]!r}")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        yield from yaml.parse(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # libyaml has a limit of its own, which some texts reach before the first event
        is_deep = "nesting depth" in (error.problem or "")
        words = f"is nested deeper than {MAX_DEPTH}" if is_deep else f"is not YAML: {error.problem}"
        raise problems.fail(mark.line + 1 if mark else 1, words) from None


class _Open(msgspec.Struct):
    """A list or mapping whose end has not come yet; a mapping's keys and values take turns in `children`."""

    line: int
    is_table: bool
    anchor: str | None
    children: list[Node] = msgspec.field(default_factory=list)


class _Composer:
    """Builds the tree from events, without recursion. Lives for one text."""

    def __init__(self, *, problems: Problems) -> None:
        self.root: Node | None = None
        self._problems = problems
        self._open: list[_Open] = []
        self._anchors: dict[str, Node | None] = {}
        self._documents = 0

    def feed(self, event: Any) -> None:
        """Takes the next event; raises ConfigError for what is refused."""
        line = event.start_mark.line + 1
        if getattr(event, "tag", None):
            raise self._problems.fail(line, "tags (!) are not supported")
        match event:
            case yaml.ScalarEvent():
                self._place(Scalar(line=line, text=event.value, is_plain=event.implicit[0]), event.anchor)
            case yaml.AliasEvent():
                self._place(self._aliased(event.anchor, line), None)
            case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                self._begin(_Open(line, isinstance(event, yaml.MappingStartEvent), event.anchor))
            case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                self._finish(self._open.pop())
            case yaml.DocumentStartEvent():
                self._documents += 1
                if self._documents > 1:
                    raise self._problems.fail(line, "a second document (---) is not supported")

    def _begin(self, frame: _Open) -> None:
        if len(self._open) >= MAX_DEPTH:
            raise self._problems.fail(frame.line, f"is nested deeper than {MAX_DEPTH}")
        if frame.anchor is not None:
            self._anchors[frame.anchor] = None
        self._open.append(frame)

    def _finish(self, frame: _Open) -> None:
        weight = 1 + sum(child.weight for child in frame.children)
        if weight > MAX_NODES:
            raise self._problems.fail(frame.line, f"has more than {MAX_NODES} values, aliases expanded")
        if frame.is_table:
            self._place(self._table(frame, weight), frame.anchor)
        else:
            self._place(Items(line=frame.line, items=tuple(frame.children), weight=weight), frame.anchor)

    def _table(self, frame: _Open, weight: int) -> Table:
        entries: dict[str, Node] = {}
        lines: dict[str, int] = {}
        for key, value in zip(frame.children[::2], frame.children[1::2], strict=True):
            if not isinstance(key, Scalar):
                self._problems.add(key.line, "a key must be a single value")
            elif key.is_plain and key.text == "<<":
                self._problems.add(key.line, "merge keys (<<) are not supported; write the keys out")
            elif key.text in entries:
                self._problems.add(key.line, f"key {key.text!r} is repeated, first in line {lines[key.text]}")
            else:
                entries[key.text] = value
                lines[key.text] = key.line
        return Table(line=frame.line, entries=entries, key_lines=lines, weight=weight)

    def _aliased(self, anchor: str | None, line: int) -> Node:
        if anchor is None or anchor not in self._anchors:
            raise self._problems.fail(line, f"alias {anchor!r} names nothing before it")
        node = self._anchors[anchor]
        if node is None:
            raise self._problems.fail(line, f"alias {anchor!r} contains itself")
        return node

    def _place(self, node: Node, anchor: str | None) -> None:
        if anchor is not None:
            self._anchors[anchor] = node
        if self._open:
            self._open[-1].children.append(node)
        else:
            self.root = node
