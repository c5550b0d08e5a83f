"""What a PromQL expression names: its metrics, with the labels that are asked of each, and the labels it groups by.

No parser (promtool is one): takes the words of an expression apart, as far as the files under conf/ need it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_NOISE = re.compile(r'"(?:[^"\\]|\\.)*"|\[[^\]]*\]|\boffset\s+\w+|(?<![\w.])[0-9][\w.]*')
_SELECTOR = re.compile(r"(?P<name>[a-zA-Z_:][\w:]*)\s*(?:\{(?P<matchers>[^}]*)\})?(?P<call>\s*\()?")
_GROUPING = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_KEYWORDS = frozenset(
    {"and", "or", "unless", "bool", "by", "without", "on", "ignoring", "group_left", "group_right", "offset"}
)


class Use(NamedTuple):
    """A metric of an expression and the labels that its selector asks for."""

    metric: str
    labels: frozenset[str]


def uses(expression: str) -> Iterator[Use]:
    """Every selector of an expression."""
    for match in _SELECTOR.finditer(_GROUPING.sub(" ", _NOISE.sub("", expression))):
        if match["call"] is None and match["name"] not in _KEYWORDS:
            yield Use(match["name"], frozenset(_LABEL.findall(match["matchers"] or "")))


def groupings(expression: str) -> frozenset[str]:
    """Every label that an expression groups or matches by."""
    lists = _GROUPING.findall(_NOISE.sub("", expression))
    return frozenset(label.strip() for text in lists for label in text.split(",") if label.strip())


def made_labels(expression: str) -> frozenset[str]:
    """The labels that `label_replace` makes."""
    return frozenset(re.findall(r',\s*"(\w+)",\s*"\$1",', expression))
