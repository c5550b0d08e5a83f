"""A configuration's text as a tree of nodes that know their lines, and what is wrong with it.

`compose` makes it of YAML; `decode` comes next.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from shipper.errors import ConfigError

MAX_TEXT_BYTES: Final = 1 << 20


class Scalar(msgspec.Struct, frozen=True):
    """A single value as it is written; what it means is up to the field that it is for."""

    line: int
    text: str
    is_plain: bool
    """Not quoted: only then can it be null, and only then is it a number where any type is allowed."""
    weight: int = 1


class Items(msgspec.Struct, frozen=True):
    """A list."""

    line: int
    items: tuple[Node, ...]
    weight: int


class Table(msgspec.Struct, frozen=True):
    """A mapping, its keys once each and in their order."""

    line: int
    entries: Mapping[str, Node]
    key_lines: Mapping[str, int]
    weight: int


Node = Scalar | Items | Table


def printable(name: str) -> str:
    """A file's name as it may stand in a message."""
    return name if name.isprintable() else repr(name)


class Problems:
    """What is wrong with one file, gathered so that all of it is said at once."""

    def __init__(self, *, file: str) -> None:
        self.file = printable(file)
        self._found: list[tuple[int, str]] = []

    def add(self, line: int, message: str) -> None:
        if (line, message) not in self._found:
            self._found.append((line, message))

    def __bool__(self) -> bool:
        return bool(self._found)

    def error(self) -> ConfigError:
        """Every problem, in the order of the lines."""
        found = sorted(self._found, key=_line_of)
        return ConfigError([f"{self.file}:{line}: {message}" for line, message in found])

    def raise_any(self) -> None:
        """Raises ConfigError if there is a problem."""
        if self._found:
            raise self.error()

    def fail(self, line: int, message: str) -> ConfigError:
        """The error to raise where nothing after `line` can be understood; holds what was found before, too."""
        self.add(line, message)
        return self.error()


def _line_of(problem: tuple[int, str]) -> int:
    return problem[0]
