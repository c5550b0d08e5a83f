"""Compiles the text of an expression to a function over the columns of a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any, Final

import msgspec
from msgspec import UnsetType

from shipper.batch import Columns
from shipper.errors import ExpressionError
from shipper.expressions import syntax, tokens, tree
from shipper.expressions.emitter import Emitter, kind_of, value_program
from shipper.expressions.functions import FUNCTIONS, Function
from shipper.expressions.program import Program
from shipper.expressions.values import Kind, Number

_FACTORS: Final = (1e-12, 1e12)

_ABSENT: Final = frozenset({NoneType, UnsetType})


class Predicate:
    """A condition. Called with the columns of a batch and its number of lines, it gives the positions, ascending, of
    the lines where it is true: `range(count)` if those are all."""

    __slots__ = ("_present", "_program", "canonical", "fields", "text")

    def __init__(
        self, *, text: str, canonical: str, fields: frozenset[str], program: Program, present: frozenset[str]
    ) -> None:
        """`present`: fields that are all that the condition asks for; empty where it asks for more."""
        self.text = text
        self.canonical = canonical
        self.fields = fields
        self._program = program
        self._present = present

    def __call__(self, columns: Columns, count: int) -> Sequence[int]:
        if self._present and all(_ABSENT.isdisjoint(columns.types(name)) for name in self._present):
            return range(count)
        positions = self._program.run(columns, count)
        return range(count) if len(positions) == count else positions


class Multiple(msgspec.Struct, frozen=True):
    """A field's number multiplied or divided by a constant, so that sums and limits can be had of the numbers as they
    are."""

    field: str
    factor: Number
    """Between 1e-12 and 1e12."""
    is_divided: bool

    def of(self, number: Number) -> Number:
        """The value where the field is this number; never less for a greater one."""
        return number / self.factor if self.is_divided else number * self.factor


class Value:
    """A value a line, MISSING where it is undefined. The column of a bare field is returned itself, not a copy.

    `field`: its name where the value is a bare field, else "".
    `status`: where the value names what a client asked for, the HTTP status that says whether it is there;
    `lacks_status`: such a value without one; `needs_status`: it had better have one. `known`: values that are there
    whatever the status. `multiple`: what the value is where it is no more than that.
    """

    __slots__ = (
        "_program",
        "canonical",
        "field",
        "fields",
        "kind",
        "known",
        "lacks_status",
        "multiple",
        "needs_status",
        "status",
        "text",
    )

    def __init__(
        self,
        *,
        text: str,
        canonical: str,
        fields: frozenset[str],
        kind: Kind,
        program: Program,
        status: Value | None = None,
        lacks_status: bool = False,
        needs_status: bool = False,
        known: frozenset[str] = frozenset(),
        multiple: Multiple | None = None,
    ) -> None:
        self.text = text
        self.canonical = canonical
        self.fields = fields
        self.field = program.field
        self.kind = kind
        self.status = status
        self.lacks_status = lacks_status
        self.needs_status = needs_status
        self.known = known
        self.multiple = multiple
        self._program = program

    def __call__(self, columns: Columns, count: int) -> Sequence[Any]:
        return self._program.run(columns, count)


def compile_predicate(text: str, *, functions: Mapping[str, Function] = FUNCTIONS) -> Predicate:
    """Compiles a condition. Raises ExpressionError with the column of what is wrong."""
    node, canonical = syntax.parse(text)
    emitter = Emitter(functions)
    kind = kind_of(node)
    if kind not in {Kind.BOOLEAN, Kind.ANY}:
        raise ExpressionError(f"a condition is needed, this is a {kind.value}; compare it with something", column=1)
    program = emitter.program(lambda: emitter.truth(node), is_predicate=True)
    fields = frozenset(emitter.fields)
    return Predicate(text=text, canonical=canonical, fields=fields, program=program, present=_present(node))


def _present(node: tree.Node) -> frozenset[str]:
    """The fields that must be there for a condition that asks for nothing else; else none."""
    match node:
        case tree.Call(name="exists", arguments=(tree.Field(name=name),)):
            return frozenset({name})
        case tree.All(items=items):
            fields = [_present(item) for item in items]
            return frozenset().union(*fields) if all(fields) else frozenset()
    return frozenset()


def compile_value(text: str, *, functions: Mapping[str, Function] = FUNCTIONS, status: str = "") -> Value:
    """Compiles an expression that yields a value. Raises ExpressionError with the column of what is wrong.

    `status`: the expression of an HTTP status, for calls that could be given one and are not.
    """
    node, canonical = syntax.parse(text)
    if status and _without_status(text, functions):
        return compile_value(with_status(text, status, functions=functions), functions=functions)
    kind = kind_of(node)
    emitter = Emitter(functions)
    program = value_program(emitter, node)
    statuses = [call.arguments[at] for at, call in _asked(text, functions) if at < len(call.arguments)]
    return Value(
        text=text,
        canonical=canonical,
        fields=frozenset(emitter.fields),
        kind=kind,
        program=program,
        status=compile_value(statuses[0], functions=functions) if statuses else None,
        lacks_status=bool(_without_status(text, functions)),
        needs_status=bool(_without_status(text, {name: one for name, one in functions.items() if one.needs_status})),
        known=frozenset().union(
            *(one.known for name, one in functions.items() if one.known and tokens.calls_of(text, name))
        ),
        multiple=_multiple(node),
    )


def _multiple(node: tree.Node) -> Multiple | None:
    match node:
        case tree.Field(name=name):
            return Multiple(name, 1, is_divided=False)
        case tree.Arithmetic(operator="*" | "/" as sign, left=tree.Field() as left, right=tree.Literal() as right):
            factor = right.value
            if not isinstance(factor, bool | str) and _FACTORS[0] <= factor <= _FACTORS[1]:
                return Multiple(left.name, factor, is_divided=sign == "/")
    return None


def _asked(text: str, functions: Mapping[str, Function]) -> list[tuple[int, tokens.Called]]:
    """The calls that give what a client asked for, each with the number of the argument that would be the status."""
    return [
        (function.status_at, call)
        for name, function in functions.items()
        if function.status_at is not None
        for call in tokens.calls_of(text, name)
    ]


def _without_status(text: str, functions: Mapping[str, Function]) -> list[int]:
    """Where the closing brackets of those calls stand that are given no status."""
    return [call.end for at, call in _asked(text, functions) if len(call.arguments) == at]


def with_status(text: str, status: str, *, functions: Mapping[str, Function] = FUNCTIONS) -> str:
    """The text of an expression in which the calls that could be given an HTTP status and are not have this one."""
    for end in sorted(_without_status(text, functions), reverse=True):
        text = f"{text[: end - 1]}, {status}{text[end - 1 :]}"
    return text
