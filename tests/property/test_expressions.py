"""The compiled expressions against a slow evaluator that reads one line at a time, for any tree and any column."""

from __future__ import annotations

import math
import operator as op
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shipper.batch import MISSING, Columns
from shipper.expressions import compile_predicate, compile_value, label_text
from shipper.route import Router

FIELDS = ("a", "b", "c.d")
Tree = tuple[Any, ...]
ORDER = {"<": lambda x, y: x < y, "<=": lambda x, y: x <= y, ">": lambda x, y: x > y, ">=": lambda x, y: x >= y,
         "==": lambda x, y: x == y, "!=": lambda x, y: x != y}  # fmt: skip


OPERATIONS: dict[str, Any] = {"+": op.add, "-": op.sub, "*": op.mul, "/": op.truediv}


def spell(tree: Tree) -> str:
    """The text of a tree."""
    kind, *parts = tree
    if kind == "field":
        return str(parts[0])
    if kind == "constant":
        return _spell_constant(parts[0])
    if kind == "call":
        return f"{parts[0]}({', '.join(spell(part) for part in parts[1:])})"
    if kind == "not":
        return f"not ({spell(parts[0])})"
    if kind == "in":
        return f"({spell(parts[0])}) in [{', '.join(_spell_constant(item) for item in parts[1])}]"
    return f"({spell(parts[1])}) {parts[0]} ({spell(parts[2])})"


def _spell_constant(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else repr(value)


def number(value: Any) -> float | int | None:
    """The number that a value is or spells."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str):
        if value.isdigit() and value.isascii():
            return int(value)
        try:
            value = float(value) if set(value) <= set("0123456789+-.eE") else None
        except ValueError:
            return None
        if value is not None and math.isinf(value):
            return None
    return None if value is None or value != value else value


def compare(operator: str, left: Any, right: Any) -> bool:
    """One comparison of two values."""
    if isinstance(left, str) and isinstance(right, str):
        return bool(ORDER[operator](left, right))
    if isinstance(left, bool) and isinstance(right, bool):
        return operator in {"==", "!="} and bool(ORDER[operator](left, right))
    if (
        isinstance(left, str) == isinstance(right, str)
        or isinstance(left, int | float)
        or isinstance(right, int | float)
    ):
        first, second = number(left), number(right)
        return first is not None and second is not None and bool(ORDER[operator](first, second))
    return False


def calculate(operator: str, left: Any, right: Any) -> Any:
    """One operation on two values."""
    first, second = number(left), number(right)
    if first is None or second is None:
        return MISSING
    try:
        result = OPERATIONS[operator](first, second)
    except (ZeroDivisionError, OverflowError):
        return MISSING
    return MISSING if result != result else result


def evaluate(tree: Tree, line: dict[str, Any]) -> Any:
    """The value of a tree on one line."""
    kind, *parts = tree
    if kind == "field":
        return line.get(parts[0], MISSING)
    if kind == "constant":
        return parts[0]
    if kind == "not":
        return evaluate(parts[0], line) is not True
    if kind == "in":
        value = evaluate(parts[0], line)
        return any(compare("==", value, item) for item in parts[1])
    if kind == "call":
        return _call(parts[0], [evaluate(part, line) for part in parts[1:]])
    operator, left, right = parts
    if operator == "and":
        return evaluate(left, line) is True and evaluate(right, line) is True
    if operator == "or":
        return evaluate(left, line) is True or evaluate(right, line) is True
    first, second = evaluate(left, line), evaluate(right, line)
    return compare(operator, first, second) if kind == "compare" else calculate(operator, first, second)


def _call(name: str, values: list[Any]) -> Any:
    if name == "exists":
        return values[0] is not MISSING and values[0] is not None
    if name == "coalesce":
        return next((value for value in values if value is not MISSING and value is not None), MISSING)
    if name == "route":
        return Router().route(values[0])
    if name == "length":
        return len(values[0]) if isinstance(values[0], str | list | dict) else MISSING
    return values[0].lower() if isinstance(values[0], str) else MISSING


values = st.one_of(
    st.just(MISSING),
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(),
    st.sampled_from([10**400, -(10**400), 2**63, 0.0, -0.0, math.inf, -math.inf, math.nan]),
    st.floats(),
    st.sampled_from(["", "1", "0", "1.0", "2e0", "abc", "ABC", "/a/1", "1e999", "nan", " 1", "1_0", "\u0661"]),
    st.text(max_size=4),
    st.lists(st.integers(0, 1), max_size=2),
    st.just({"a": 1}),
)
fields = st.sampled_from(FIELDS).map(lambda name: ("field", name))
number_constants = st.sampled_from([0, 1, 2, -1, 0.5, 200, 1e300]).map(lambda value: ("constant", value))
text_constants = st.sampled_from(["", "1", "abc", "ABC", "/a/:id", "2"]).map(lambda value: ("constant", value))
boolean_constants = st.booleans().map(lambda value: ("constant", value))
texts = st.one_of(fields, text_constants, st.tuples(st.just("call"), st.sampled_from(["lower", "route"]), fields))
calculations = st.recursive(
    st.one_of(fields, number_constants, st.tuples(st.just("call"), st.just("length"), fields)),
    lambda inner: st.one_of(
        st.tuples(st.just("calculate"), st.sampled_from("+-*/"), inner, inner),
        st.tuples(st.just("call"), st.just("coalesce"), fields, inner),
    ),
    max_leaves=4,
)
operators = st.sampled_from(list(ORDER))
items = st.lists(st.sampled_from([1, 2, 0.5, "abc", "1", "ABC", True]), min_size=1, max_size=3)
comparisons = st.one_of(
    st.tuples(st.just("compare"), operators, calculations, calculations),
    st.tuples(st.just("compare"), operators, fields, texts),
    st.tuples(st.just("compare"), operators, texts, fields),
    st.tuples(st.just("compare"), st.sampled_from(["==", "!="]), fields, boolean_constants),
    st.tuples(st.just("in"), st.one_of(fields, calculations), items),
    st.tuples(st.just("call"), st.just("exists"), st.one_of(fields, calculations)),
)
conditions = st.recursive(
    st.one_of(fields, comparisons),
    lambda inner: st.one_of(
        st.tuples(st.just("condition"), st.sampled_from(["and", "or"]), inner, inner), st.tuples(st.just("not"), inner)
    ),
    max_leaves=4,
)
lines = st.lists(st.fixed_dictionaries(dict.fromkeys(FIELDS, values)), max_size=6)
plain_lines = st.lists(
    st.fixed_dictionaries(
        {"a": st.integers(-3, 3), "b": st.one_of(st.integers(0, 3), st.floats(0, 3)), "c.d": st.text("abc1")}
    )
)


def _columns(rows: list[dict[str, Any]]) -> Columns:
    return Columns((name, [row[name] for row in rows]) for name in FIELDS)


def _same(left: Any, right: Any) -> bool:
    return left is right or (type(left) is type(right) and (left == right or (left != left and right != right)))


@given(conditions, st.one_of(lines, plain_lines))
def test_conditions_are_true_on_the_lines_that_the_reference_names(tree: Tree, rows: list[dict[str, Any]]) -> None:
    """Positions are those where reading line by line finds the condition true."""
    expected = [position for position, row in enumerate(rows) if evaluate(tree, row) is True]
    assert list(compile_predicate(spell(tree))(_columns(rows), len(rows))) == expected


@given(st.one_of(calculations, texts, conditions), st.one_of(lines, plain_lines))
def test_values_are_those_of_the_reference(tree: Tree, rows: list[dict[str, Any]]) -> None:
    """Values are those that reading line by line finds, in type as well."""
    found = compile_value(spell(tree))(_columns(rows), len(rows))
    expected = [evaluate(tree, row) for row in rows]
    assert len(found) == len(expected)
    assert all(map(_same, found, expected)), (spell(tree), list(found), expected)


@given(st.one_of(calculations, texts, conditions), lines)
def test_what_is_written_otherwise_is_the_same(tree: Tree, rows: list[dict[str, Any]]) -> None:
    """The one spelling of an expression is an expression with the same values, and its own spelling; so it is with a
    status that routes are given, where none are written down."""
    value = compile_value(spell(tree))
    found = value(_columns(rows), len(rows))
    same, told = compile_value(value.canonical), compile_value(value.text, status='coalesce(a, "x,(")')
    assert same.canonical == value.canonical
    assert not told.lacks_status
    for other in (same, told):
        assert all(map(_same, found, other(_columns(rows), len(rows)))), other.text


@given(st.text("\"'\\\n,()[]a1 ", max_size=6), st.sampled_from("\"'"))
def test_quotes_are_spelling(text: str, quote: str) -> None:
    """A text is the same however it is quoted, and what looks like a call within it is none."""
    escaped = text.replace("\\", "\\\\").replace(quote, f"\\{quote}")
    value = compile_value(f"coalesce(a, {quote}{escaped}{quote}, route(b))")
    columns = Columns([("a", [MISSING]), ("b", ["/x"])])
    assert list(value(columns, 1)) == [text]
    assert list(compile_value(value.canonical)(columns, 1)) == [text]
    given = compile_value(value.text, status="c")
    assert given.status is not None
    assert given.status.canonical == "c"


@given(values)
def test_every_value_has_a_label_that_can_be_encoded(value: Any) -> None:
    """Labels are text that UTF-8 can hold, without NUL."""
    assert "\0" not in label_text(value).encode().decode()
