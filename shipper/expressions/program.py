"""Compiled code and the columns that it runs over; `emitter` makes programs, `compiler` wraps them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from shipper.batch import MISSING, Columns
from shipper.expressions.functions import Function
from shipper.expressions.values import NAN, Number, defined, numbers

_NUMERIC_FAILURES: Final = (ZeroDivisionError, OverflowError)
Run = Callable[..., list[Any]]


class Input(msgspec.Struct, frozen=True):
    """One column that the comprehension runs over: a field, as it is or as numbers, or what a column function made."""

    field: str = ""
    is_number: bool = False
    function: Function | None = None
    arguments: tuple[Program, ...] = ()
    key: str = ""

    def read(self, columns: Columns, count: int) -> Sequence[Any]:
        if self.function is not None and self.function.column is not None:
            given = [program.run(columns, count) for program in self.arguments]
            return self.function.column(*given)  # type: ignore[no-any-return]
        column = columns.get(self.field)
        if column is None:
            return [NAN if self.is_number else MISSING] * count
        if not self.is_number:
            return column
        found = columns.derived.get(self.key)
        if found is None:
            found = columns.derived[self.key] = numbers(column, columns.types(self.field))
        return found


class Program(msgspec.Struct, frozen=True):
    """Compiled code and the columns that it runs over."""

    inputs: tuple[Input, ...]
    fast: Run | None  # None: the value is its only input
    careful: Run | None
    is_number: bool

    @property
    def field(self) -> str:
        """The field of which the value is the bare column; "" if it is none."""
        return self.inputs[0].field if self.fast is None else ""

    def run(self, columns: Columns, count: int) -> Sequence[Any]:
        inputs = [item.read(columns, count) for item in self.inputs]
        if self.fast is None or self.careful is None:
            return inputs[0]
        try:
            result = self.fast(count, *inputs)
            if not self.is_number:
                return result
            total: Number = sum(result)
        except _NUMERIC_FAILURES:
            result = self.careful(count, *inputs)
            total = NAN if self.is_number else 0
        return [defined(number) for number in result] if total != total else result
