"""How values add up: a `Tally` for each type of metric, of which the two that add up for ever are here.

`windows` has those that are about the last minutes. Next comes `families`, which keeps a value for each label set.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from math import inf, nextafter
from typing import Any, Final, Protocol

from shipper.expressions import Multiple, number_of

MAX_VALUE: Final = 1e200  # beyond it sums would soon be infinite
_MAX_EXACT: Final = 1 << 62
_USUAL_BOUNDS: Final = (1e-100, 1e15)  # so that what a product of integers is rounded to lies on the same side

Number = int | float


class Tally(Protocol):
    """How a type of metric adds up. A snapshot is immutable, or a copy that nobody changes."""

    @property
    def is_timed(self) -> bool:
        """Whether values come with their times, and a series goes away when they are old."""

    @property
    def zero(self) -> Any:
        """The snapshot of a series without values."""

    def add(self, working: Any, values: Iterable[Any]) -> Any:
        """The working value with more values in it; may change it in place."""

    def snapshot(self, working: Any) -> Any: ...

    def stored(self, snapshot: Any) -> Any:
        """A snapshot as plain data, for a row."""

    def working(self, snapshot: Any) -> Any:
        """The working value of what `stored` gave, or of `zero`. Raises TypeError or ValueError if it is neither."""

    def shown(self, snapshot: Any, now: float) -> Any:
        """What the exposition shows at a time; None for nothing."""

    def is_over(self, working: Any, now: float) -> bool:
        """Whether it shows nothing any more, and would not without new values."""


class _SumTally:
    """What the tallies that add up for ever share."""

    is_timed: Final = False

    def stored(self, snapshot: Any) -> Any:
        return snapshot

    def shown(self, snapshot: Any, now: float) -> Any:  # noqa: ARG002 - the same at all times
        return snapshot

    def is_over(self, working: Any, now: float) -> bool:  # noqa: ARG002 - never: who comes back must not begin at 0
        return False


class CounterTally(_SumTally):
    """A sum. It stays an integer, which is exact, as long as it can be stored as one."""

    zero: Final = 0

    def add(self, working: Number, values: Iterable[Number]) -> Number:
        return _storable(working + sum(values))

    def snapshot(self, working: Number) -> Number:
        return working

    def working(self, snapshot: Any) -> Number:
        return checked_number(snapshot)


class HistogramTally(_SumTally):
    """Counts by bucket, not cumulated, the last for what is above all bounds; then the sum."""

    def __init__(self, *, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self.zero = (0,) * (len(bounds) + 2)

    def add(self, working: list[Number], values: Iterable[Number]) -> list[Number]:
        ascending = sorted(values)
        return self.add_sorted(working, ascending, self.bounds, sum(ascending))

    def add_sorted(
        self, working: list[Number], ascending: Sequence[Number], bounds: Sequence[float], total: Number
    ) -> list[Number]:
        """Adds so many values to the buckets as these numbers lie between bounds of theirs, and the sum of them all."""
        below = 0
        for bucket, bound in enumerate(bounds):
            up_to = bisect_right(ascending, bound, below)
            working[bucket] += up_to - below
            below = up_to
            if below == len(ascending):
                break
        working[len(bounds)] += len(ascending) - below
        working[-1] = _storable(working[-1] + total)
        return working

    def snapshot(self, working: list[Number]) -> tuple[Number, ...]:
        return tuple(working)

    def working(self, snapshot: Any) -> list[Number]:
        if len(snapshot) != len(self.zero):
            raise ValueError("another number of buckets")
        return [checked_number(number) for number in snapshot]


class Multiples:
    """Adds to a histogram what is a multiple of a field, from the field's numbers: each is compared with bounds that
    were divided instead of being multiplied, and their sum is multiplied once.
    """

    def __init__(self, tally: HistogramTally, multiple: Multiple) -> None:
        self._tally = tally
        self._bounds = [_greatest_below(bound, multiple) for bound in tally.bounds]
        self.field = multiple.field
        self.value_of = multiple.of

    def add(self, working: list[Number], numbers: Iterable[Number]) -> list[Number]:
        """The working value with those multiples in it. The numbers are exact as floats."""
        ascending = sorted(numbers)
        return self._tally.add_sorted(working, ascending, self._bounds, self.value_of(sum(ascending)))


def multiples(tally: Tally, multiple: Multiple | None) -> Multiples | None:
    """None where values have to be made one by one."""
    if multiple is None or not isinstance(tally, HistogramTally):
        return None
    is_usual = all(_USUAL_BOUNDS[0] <= bound <= _USUAL_BOUNDS[1] for bound in tally.bounds)
    return Multiples(tally, multiple) if is_usual else None


def _greatest_below(bound: float, multiple: Multiple) -> float:
    """The greatest number whose multiple is not above a bound: a few steps from where it were without rounding."""
    number = bound * multiple.factor if multiple.is_divided else bound / multiple.factor
    while multiple.of(number) > bound:
        number = nextafter(number, -inf)
    while multiple.of(above := nextafter(number, inf)) <= bound:
        number = above
    return number


def checked_number(value: Any) -> Number:
    """The value itself. Raises TypeError if it is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("not a number")
    return value


def _storable(value: Number) -> Number:
    return value if isinstance(value, float) or value < _MAX_EXACT else float(value)


def reason_against(value: Any, *, may_be_negative: bool) -> str:
    """Why a value that is there cannot be counted: not_a_number, not_finite or negative; "" if it can."""
    number = number_of(value)
    if number != number:
        return "not_finite" if value.__class__ is float else "not_a_number"
    if abs(number) >= MAX_VALUE:
        return "not_finite"
    return "negative" if number < 0 and not may_be_negative else ""
