"""Routes that somebody has written down (`/api/patients/:id`), from the configuration or an OpenAPI file.

`route` asks here first. A segment is a text, a parameter (`:id`, `{id}`), or a text with parameters in it
(`{id}.json`); at the end `*` stands for everything below. Texts go before parameters, whatever the order.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple
from urllib.parse import unquote

MAX_SEGMENTS: Final = 10
ID_CHARACTERS: Final = 8
"""A segment with a digit that is as long as that is an id, unless a pattern has it."""
_PARAMETER: Final = re.compile(r":[A-Za-z_][A-Za-z0-9_-]*|\{[^{}/]+\}")
_BRACED: Final = re.compile(r"\{([^{}/]+)\}")
_TEXT: Final = re.compile(r"[^:{}*;?#][^{}*;?#]*")
_PART: Final = re.compile(r"[^{}*;?#]*")
_DIGIT: Final = re.compile(r"[0-9]")
ZERO_DIGITS: Final = str.maketrans("123456789", "000000000")


class Segment(NamedTuple):
    """One segment of a pattern: `text` as it is shown; `parts` are the texts around parameters."""

    text: str
    parts: tuple[str, ...]

    @property
    def is_parameter(self) -> bool:
        return self.parts == ("", "")


def parse_pattern(text: str) -> tuple[Segment, ...]:
    """The segments of a pattern. Raises ValueError with what is wrong."""
    if not text.startswith("/"):
        raise ValueError("expected a path that begins with /, such as /api/patients/:id")
    names = [name for name in text.split("/") if name]
    if len(names) > MAX_SEGMENTS:
        raise ValueError(f"expected at most {MAX_SEGMENTS} segments")
    if "*" in names[:-1]:
        raise ValueError("* stands for everything below, and so only at the end")
    return tuple(map(_segment, names))


def _segment(name: str) -> Segment:
    if name == "*":
        return Segment(name, ())
    if _PARAMETER.fullmatch(name):
        return Segment(f":{name.strip(':{}')}", ("", ""))
    name = unquote(name)
    parts = tuple(_BRACED.split(name)[::2])
    is_good = _TEXT.fullmatch(name) if len(parts) == 1 else all(map(_PART.fullmatch, parts)) and "" not in parts[1:-1]
    if not is_good:
        raise ValueError(f"{name!r} is neither a text nor a parameter such as :id or {{id}}")
    return Segment(_BRACED.sub(r":\1", name), parts)


class _Node:
    """What may come after a part of a path."""

    __slots__ = ("below", "mixed", "parameter", "route", "texts")

    def __init__(self) -> None:
        self.texts: dict[str, _Node] = {}
        self.mixed: list[tuple[tuple[str, ...], _Node]] = []
        self.parameter: _Node | None = None
        self.route: str | None = None
        self.below: str | None = None


class RoutePatterns:
    """All patterns together. Raises ValueError for one that is none."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._root = _Node()
        self.routes: set[str] = set()
        """What they give: each pattern as it is shown."""
        self.texts_with_digits: set[str] = set()
        """Texts of segments that have digits, these made 0: the route of URLs with such segments depends on which."""
        self.looks_into_ids = False
        """Whether the route may depend on what stands in a segment that is long and has digits."""
        self.has_digits_in_parts = False
        for pattern in patterns:
            self._add(parse_pattern(pattern))

    def __bool__(self) -> bool:
        return bool(self.routes)

    def _add(self, segments: Sequence[Segment]) -> None:
        node = self._root
        route = "/" + "/".join(segment.text for segment in segments)
        for segment in segments:
            if not segment.parts:
                node.below = node.below or route
                self.routes.add(node.below)
                return
            node = self._next(node, segment)
        node.route = node.route or route
        self.routes.add(node.route)

    def _next(self, node: _Node, segment: Segment) -> _Node:
        """The node behind a segment, made if need be."""
        if segment.is_parameter:
            node.parameter = node.parameter or _Node()
            return node.parameter
        if len(segment.parts) == 1:
            if _DIGIT.search(segment.text):
                self.texts_with_digits.add(segment.text.translate(ZERO_DIGITS))
                self.looks_into_ids |= len(segment.text) >= ID_CHARACTERS
            return node.texts.setdefault(segment.text, _Node())
        self.looks_into_ids = True
        self.has_digits_in_parts |= any(map(_DIGIT.search, segment.parts))
        known = next((below for parts, below in node.mixed if parts == segment.parts), None)
        if known is None:
            known = _Node()
            node.mixed.append((segment.parts, known))
        return known

    def match(self, segments: Sequence[str]) -> str | None:
        """The route of a path with these segments; None if no pattern fits."""
        return _match(self._root, segments, 0)


def _fits(parts: Sequence[str], segment: str) -> bool:
    """Whether `segment` is these texts with something between each two.

    Each is taken where it first can be: time linear to the segment, which whoever calls a service may choose. (An
    expression with several `.+?` took minutes for 200 dashes.)
    """
    first, *between, last = parts
    if not segment.startswith(first):
        return False
    position = len(first)
    for part in between:
        found = segment.find(part, position + 1)
        if found < 0:
            return False
        position = found + len(part)
    return segment.endswith(last) and len(segment) - len(last) > position


def _match(node: _Node, segments: Sequence[str], position: int) -> str | None:
    if position == len(segments):
        return node.route
    segment = segments[position]
    text = node.texts.get(segment)
    found = _match(text, segments, position + 1) if text is not None else None
    if found is None:
        for parts, below in node.mixed:
            if found is None and _fits(parts, segment):
                found = _match(below, segments, position + 1)
    if found is None and node.parameter is not None:
        found = _match(node.parameter, segments, position + 1)
    return found or node.below
