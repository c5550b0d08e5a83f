"""Writes a tree as one list comprehension over columns, after checking functions and types.

The source is put together from our own tree only: fields become numbered row variables, constants and functions are
passed by reference. Numeric work runs on columns that were made numbers first (NaN where there is none), so that the
comparison itself is the bare operator. Where an operator raises on some line (a division by zero), that batch runs once
more through `careful` code, in which the same operators are functions that yield NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Final

from shipper.batch import MISSING
from shipper.errors import ExpressionError
from shipper.expressions import tree
from shipper.expressions.functions import FUNCTIONS, Function
from shipper.expressions.patterns import compile_pattern
from shipper.expressions.program import Input, Program, Run
from shipper.expressions.tree import Node
from shipper.expressions.values import (
    ARITHMETIC,
    COMPARISONS,
    NAN,
    Kind,
    defined,
    has_value,
    number_of,
)

_FLIPPED: Final = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def kind_of(node: Node) -> Kind:
    """What a tree yields, as far as it is known without lines. Raises ExpressionError for an unknown function."""
    match node:
        case tree.Literal(value=bool()) | tree.Compare() | tree.In() | tree.Matches():
            return Kind.BOOLEAN
        case tree.All() | tree.Some() | tree.Not():
            return Kind.BOOLEAN
        case tree.Literal(value=str()):
            return Kind.STRING
        case tree.Literal() | tree.Arithmetic():
            return Kind.NUMBER
        case tree.Call():
            function = _function(node)
            kinds = {kind_of(argument) for argument in node.arguments} if function.name == "coalesce" else set()
            return kinds.pop() if len(kinds) == 1 else function.kind
    return Kind.ANY


def _function(call: tree.Call) -> Function:
    function = FUNCTIONS.get(call.name)
    if function is None:
        from difflib import get_close_matches  # only a mistake needs it

        near = get_close_matches(call.name.lower(), FUNCTIONS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(FUNCTIONS)}"
        raise ExpressionError(f"unknown function {call.name!r}; {hint}", column=call.column)
    return function


def value_program(emitter: Emitter, node: Node) -> Program:
    if kind_of(node) is Kind.NUMBER:
        return emitter.program(lambda: emitter.number(node), is_number=True)
    return emitter.program(lambda: emitter.value(node), is_plain=emitter.is_column(node))


class Emitter:
    """Writes the source of one comprehension. `careful` is switched on for the second of the two versions."""

    def __init__(self, functions: Mapping[str, Function], fields: set[str] | None = None) -> None:
        self.fields: set[str] = set() if fields is None else fields
        self._functions = functions
        self._careful = False
        self._inputs: list[Input] = []
        self._made: dict[Node, Any] = {}
        self._namespace: dict[str, Any] = {"MISSING": MISSING, "has_value": has_value, "number_of": number_of,
                                           "defined": defined, "NAN": NAN}  # fmt: skip

    def program(self, emit: Callable[[], str], *, is_predicate: bool = False, is_number: bool = False,
                is_plain: bool = False) -> Program:  # fmt: skip
        """The program of the row expression that `emit` writes."""
        fast_source = emit()
        if is_plain:
            return Program(tuple(self._inputs), None, None, is_number=False)
        self._careful = True
        careful_source = emit()
        fast = self._function_of(fast_source, is_predicate=is_predicate)
        careful = (
            fast if careful_source == fast_source else self._function_of(careful_source, is_predicate=is_predicate)
        )
        return Program(tuple(self._inputs), fast, careful, is_number)

    def _function_of(self, row: str, *, is_predicate: bool) -> Run:
        columns = [f"column{number}" for number in range(len(self._inputs))]
        names = [f"row{number}" for number in range(len(self._inputs))]
        if is_predicate:
            loop = (
                f"for i, {', '.join(names)} in zip(range(count), {', '.join(columns)})"
                if names
                else "for i in range(count)"
            )
            body = f"[i {loop} if {row}]"
        elif len(names) == 1:
            body = f"[{row} for {names[0]} in {columns[0]}]"
        else:
            loop = f"for {', '.join(names)} in zip({', '.join(columns)})" if names else "for i in range(count)"
            body = f"[{row} {loop}]"
        source = f"def run({', '.join(['count', *columns])}):\n    return {body}\n"
        try:
            code = compile(source, "<expression>", "exec")
            exec(code, self._namespace)  # noqa: S102 - our own text  # nosec B102
        except (SyntaxError, RecursionError, MemoryError) as error:
            raise ExpressionError("the expression is nested too deeply", column=1) from error
        return self._namespace["run"]  # type: ignore[no-any-return]

    def _bind(self, value: Any) -> str:
        for name, bound in self._namespace.items():
            if bound is value:
                return name
        name = f"bound{len(self._namespace)}"
        self._namespace[name] = value
        return name

    def _once(self, node: Node, make: Callable[[], Any]) -> Any:
        """What was made for a node, so that both versions of the code refer to the same object."""
        if node not in self._made:
            self._made[node] = make()
        return self._made[node]

    def _input(self, item: Input) -> str:
        for number, known in enumerate(self._inputs):
            if known.key == item.key:
                return f"row{number}"
        self._inputs.append(item)
        return f"row{len(self._inputs) - 1}"

    def is_column(self, node: Node) -> bool:
        """True if the value is a column that is there without running over rows."""
        return isinstance(node, tree.Field) or (isinstance(node, tree.Call) and _function(node).column is not None)

    def value(self, node: Node) -> str:
        """Source of the value of a row, MISSING where undefined."""
        kind = kind_of(node)
        match node:
            case tree.Field(name=name):
                self.fields.add(name)
                return self._input(Input(field=name, key=f"value {name}"))
            case tree.Literal(value=constant):
                return self._bind(constant)
            case tree.Call() if kind is not Kind.NUMBER or node.name == "coalesce":
                return self._call(node)
        return f"defined({self.number(node)})" if kind is Kind.NUMBER else f"({self.truth(node)})"

    def number(self, node: Node) -> str:
        """Source of the number of a row, NaN where there is none."""
        kind = kind_of(node)
        if kind is Kind.BOOLEAN:
            raise ExpressionError("a number is needed here, this is true or false", column=node.column)
        match node:
            case tree.Field(name=name):
                self.fields.add(name)
                return self._input(Input(field=name, is_number=True, key=f"number {name}"))
            case tree.Literal(value=str() as text):
                number = number_of(text)
                if number != number:
                    raise ExpressionError(f"a number is needed here, {text!r} is none", column=node.column)
                return self._bind(number)
            case tree.Literal(value=constant):
                return self._bind(constant)
            case tree.Arithmetic(operator=operator, left=left, right=right):
                first, second = self.number(left), self.number(right)
                if self._careful:
                    return f"{self._bind(ARITHMETIC[operator])}({first}, {second})"
                return f"({first} {operator} {second})"
            case tree.Call() if kind is Kind.NUMBER and node.name != "coalesce":
                return self._call(node)
        return f"number_of({self.value(node)})"

    def truth(self, node: Node) -> str:
        """Source of the truth of a row: what is not a condition by itself is true only if its value is `true`."""
        match node:
            case tree.All(items=items):
                return "(" + " and ".join(self.truth(item) for item in items) + ")"
            case tree.Some(items=items):
                return "(" + " or ".join(self.truth(item) for item in items) + ")"
            case tree.Not(item=item):
                return f"(not {self.truth(item)})"
            case tree.Compare():
                return self._compare(node.operator, node.left, node.right, node.column)
            case tree.In(value=value, items=items):
                return self._in(node, value, items)
            case tree.Matches(value=value, pattern=pattern):
                test = self._once(node, lambda: compile_pattern(str(pattern.value), column=pattern.column))
                return f"{self._bind(test)}({self.value(value)})"
        kind = kind_of(node)
        if kind is Kind.BOOLEAN and isinstance(node, tree.Call):
            return self._call(node)
        if kind in {Kind.BOOLEAN, Kind.ANY}:
            return f"({self.value(node)} is True)"
        raise ExpressionError(f"a condition is needed here, this is a {kind.value}", column=node.column)

    def _compare(self, operator: str, left: Node, right: Node, column: int) -> str:
        if isinstance(left, tree.Literal) and not isinstance(right, tree.Literal):
            return self._compare(_FLIPPED[operator], right, left, column)
        kinds = {kind_of(left), kind_of(right)}
        if Kind.BOOLEAN in kinds:
            return self._compare_booleans(operator, left, right, column)
        if Kind.NUMBER in kinds:
            return self._compare_numbers(operator, left, right)
        if isinstance(right, tree.Literal) and not _is_number(right.value):
            return self._compare_text(operator, left, right)
        return f"{self._bind(COMPARISONS[operator])}({self.value(left)}, {self.value(right)})"

    def _compare_booleans(self, operator: str, left: Node, right: Node, column: int) -> str:
        if {kind_of(left), kind_of(right)} & {Kind.NUMBER, Kind.STRING}:
            raise ExpressionError("true and false compare neither with numbers nor with text", column=column)
        if operator not in {"==", "!="}:
            raise ExpressionError(f"true and false have no order; {operator} cannot compare them", column=column)
        return f"{self._bind(COMPARISONS[operator])}({self.value(left)}, {self.value(right)})"

    def _compare_numbers(self, operator: str, left: Node, right: Node) -> str:
        first, second = self.number(left), self.number(right)
        if operator != "!=":
            return f"{first} {operator} {second}"
        return f"{self._bind(_differs)}({first}, {second})"  # NaN would differ from everything

    def _compare_text(self, operator: str, left: Node, right: tree.Literal) -> str:
        value, constant = self.value(left), self._bind(right.value)
        if operator == "==":
            return f"{value} == {constant}"
        if value.isidentifier():
            return f"({value}.__class__ is str and {value} {operator} {constant})"
        return f"{self._bind(COMPARISONS[operator])}({value}, {constant})"

    def _in(self, node: Node, value: Node, items: tree.Constants) -> str:
        constants = [item.value for item in items.items]
        is_text = all(isinstance(constant, str) and not _is_number(constant) for constant in constants)
        if is_text and isinstance(value, tree.Field):
            row, texts = self.value(value), self._bind(self._once(node, lambda: frozenset(constants)))
            return f"({row}.__class__ is str and {row} in {texts})"
        if all(item.type in {"int", "float"} for item in items.items):
            return f"{self.number(value)} in {self._bind(self._once(node, lambda: frozenset(constants)))}"
        equal = COMPARISONS["=="]
        test = self._once(node, lambda: lambda value: any(equal(value, constant) for constant in constants))
        return f"{self._bind(test)}({self.value(value)})"

    def _call(self, call: tree.Call) -> str:
        function = self._functions[_function(call).name]
        arguments = list(call.arguments)
        extra = [self._bind(self._once(call, lambda: _bounds(function, call)))] if function.has_bounds else []
        if function.has_bounds:
            arguments.pop()
        _check_arguments(function, call, len(arguments))
        if function.column is not None:
            programs = tuple(value_program(Emitter(self._functions, self.fields), argument) for argument in arguments)
            return self._input(Input(function=function, arguments=programs, key=f"{function.name} {arguments!r}"))
        kinds = [*function.parameters, *[function.parameters[-1]] * (len(arguments) - len(function.parameters))]
        given = [
            self.number(argument) if kind is Kind.NUMBER else self.value(argument)
            for argument, kind in zip(arguments, kinds, strict=True)
        ]
        if function.name == "exists" and given[0].isidentifier():
            return f"({given[0]} is not MISSING and {given[0]} is not None)"
        return f"{self._bind(function.call)}({', '.join(given + extra)})"


def _is_number(constant: Any) -> bool:
    return defined(number_of(constant)) is not MISSING


def _differs(left: Any, right: Any) -> bool:
    return bool(left < right or left > right)


def _check_arguments(function: Function, call: tree.Call, given: int) -> None:
    most = len(function.parameters)
    if given < most - function.optional or (given > most and not function.is_variadic):
        raise ExpressionError(f"wrong number of arguments: {function.signature}", column=call.column)
    for argument in call.arguments:
        if isinstance(argument, tree.Constants) and not function.has_bounds:
            raise ExpressionError(f"{function.name} takes no list: {function.signature}", column=argument.column)


def _bounds(function: Function, call: tree.Call) -> tuple[Any, ...]:
    last = call.arguments[-1] if call.arguments else None
    if not isinstance(last, tree.Constants):
        raise ExpressionError(f"a list of bounds is missing: {function.signature}", column=call.column)
    bounds: tuple[Any, ...] = tuple(item.value for item in last.items)
    is_numeric = all(item.type in {"int", "float"} for item in last.items)
    if not is_numeric or any(not first < second for first, second in pairwise(bounds)):
        raise ExpressionError("the bounds must be ascending numbers", column=last.column)
    return bounds
