"""What values mean in an expression: when text is a number, how two values compare, what a value is as a label.

Within numeric code "no number here" is NaN, because NaN already makes comparisons false and spreads through arithmetic;
outside it is MISSING.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from enum import Enum
from typing import Any, Final

import msgspec

from shipper.batch import MISSING

NAN: Final = float("nan")
Number = int | float
Comparison = Callable[[Any, Any], bool]

_NUMBER_TYPES: Final = frozenset({int, float})
_is_number_text = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?").fullmatch
_MAX_NUMBER_CHARACTERS = 400  # longer text is beyond every float; int() of it would take quadratic time
_MAX_WHOLE_FLOAT = 1e15


class Kind(Enum):
    """What an expression is known to yield before any line is seen; `any` is a field, whose lines decide."""

    NUMBER = "number"
    STRING = "string"
    BOOLEAN = "boolean"
    ANY = "any"


def number_of(value: Any) -> Number:
    """The number that a value is or, as text, spells; NaN for everything else, booleans included."""
    kind = value.__class__
    if kind is int or kind is float:
        return value  # type: ignore[no-any-return]
    if kind is not str or len(value) > _MAX_NUMBER_CHARACTERS or not _is_number_text(value):
        return NAN
    if value.isdigit():
        return int(value)
    number = float(value)
    return number if abs(number) != float("inf") else NAN


def numbers(column: Sequence[Any], types: frozenset[type]) -> Sequence[Number]:
    """A column as numbers, NaN where there is none; the column itself where it holds nothing else, as its types say."""
    if types <= _NUMBER_TYPES:
        return column
    if not types & {int, float, str}:
        return [NAN] * len(column)
    if str in types:
        return [value if value.__class__ is int else number_of(value) for value in column]
    return [value if value.__class__ is int or value.__class__ is float else NAN for value in column]


def defined(number: Number) -> Any:
    """A number as a value: MISSING where it is NaN."""
    return MISSING if number != number else number


def has_value(value: Any) -> bool:
    """False for what is missing or null."""
    return value is not MISSING and value is not None


def _comparison(test: Comparison, *, is_for_booleans: bool = False) -> Comparison:
    def compare(left: Any, right: Any) -> bool:
        left_type, right_type = left.__class__, right.__class__
        if left_type is str and right_type is str:
            return test(left, right)
        if left_type is bool and right_type is bool:
            return is_for_booleans and test(left, right)
        if left_type not in _NUMBER_TYPES and right_type not in _NUMBER_TYPES:
            return False
        first, second = number_of(left), number_of(right)
        return first == first and second == second and test(first, second)

    return compare


COMPARISONS: Final[dict[str, Comparison]] = {
    "==": _comparison(operator.eq, is_for_booleans=True),
    "!=": _comparison(operator.ne, is_for_booleans=True),
    "<": _comparison(operator.lt),
    "<=": _comparison(operator.le),
    ">": _comparison(operator.gt),
    ">=": _comparison(operator.ge),
}
"""Any value against any other. Text with text by its characters, a number with a number or text that spells one,
booleans for equality only; everything else cannot be compared, and each comparison of it is false."""


def _arithmetic(test: Callable[[Number, Number], Number]) -> Callable[[Number, Number], Number]:
    def calculate(left: Number, right: Number) -> Number:
        try:
            return test(left, right)
        except (ZeroDivisionError, OverflowError):
            return NAN

    return calculate


ARITHMETIC: Final = {
    "+": _arithmetic(operator.add),
    "-": _arithmetic(operator.sub),
    "*": _arithmetic(operator.mul),
    "/": _arithmetic(operator.truediv),
}
"""As the operators, but NaN where they raise: a division by zero, an integer that no float can hold."""


def label_text(value: Any) -> str:
    """A value as a label: "" if missing or null, whole numbers without a point, true/false, lists and objects as JSON.

    The text can always be encoded: lone surrogates and NUL, which Prometheus cannot read, become U+FFFD.
    """
    kind = value.__class__
    if kind is str:
        return value if value.isascii() and "\0" not in value else _safe(value)
    if value is MISSING or value is None:
        return ""
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return _int_text(value)
    if kind is float:
        return _float_text(value)
    try:
        return _safe(msgspec.json.encode(value).decode())
    except (UnicodeEncodeError, OverflowError, ValueError, TypeError, RecursionError):
        return "?"


def _int_text(value: int) -> str:
    try:
        return str(value)
    except ValueError:  # Python refuses to print more than some thousand digits in decimal
        return hex(value)


def _float_text(value: float) -> str:
    if value != value:
        return "NaN"
    if abs(value) < _MAX_WHOLE_FLOAT:
        return str(int(value)) if value == int(value) else repr(value)
    return repr(value).replace("inf", "Inf")


def _safe(text: str) -> str:
    text = text.replace("\0", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
