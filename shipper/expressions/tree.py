"""What an expression is once it has been read: a tree of these nodes. `syntax` makes it, `emitter` makes code of it."""

from __future__ import annotations

import msgspec


class Node(msgspec.Struct, frozen=True, eq=False):
    """A piece of the expression; two are equal if they mean the same, wherever they stand."""

    column: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and type(self) is type(other) and self._meaning() == other._meaning()

    def __hash__(self) -> int:
        return hash(self._meaning())

    def _meaning(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__struct_fields__ if name != "column")


class Field(Node, frozen=True, eq=False):
    name: str


class Literal(Node, frozen=True, eq=False):
    value: str | int | float | bool

    @property
    def type(self) -> str:
        return type(self.value).__name__

    def _meaning(self) -> tuple[object, ...]:
        return self.type, self.value  # keeps 1 and true apart, which are equal in Python


class Constants(Node, frozen=True, eq=False):
    items: tuple[Literal, ...]


class Call(Node, frozen=True, eq=False):
    name: str
    arguments: tuple[Node, ...]


class Arithmetic(Node, frozen=True, eq=False):
    operator: str
    left: Node
    right: Node


class Compare(Node, frozen=True, eq=False):
    operator: str
    left: Node
    right: Node


class In(Node, frozen=True, eq=False):
    value: Node
    items: Constants


class Matches(Node, frozen=True, eq=False):
    value: Node
    pattern: Literal


class All(Node, frozen=True, eq=False):
    items: tuple[Node, ...]


class Some(Node, frozen=True, eq=False):
    items: tuple[Node, ...]


class Not(Node, frozen=True, eq=False):
    item: Node
