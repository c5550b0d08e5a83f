"""What a histogram takes of a field's numbers is what it would take of each value made of them."""

from __future__ import annotations

from math import inf, isclose, nextafter

import pytest
from counted import Bench
from hypothesis import given
from hypothesis import strategies as st

from exporter.tallies import HistogramTally, multiples
from shipper.expressions import compile_value

BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2, 2.5, 5, 1e6)
EXPRESSIONS = (
    "ms / 1000", "ms * 0.001", "ms", "ms * 3", "ms / 7", "ms / 1e-12", "ms / 1e12", "ms * 0.1", "ms / 0.3",
)  # fmt: skip

_near_bounds = st.builds(
    lambda bound, factor, steps: max(0.0, nextafter(bound * factor, steps * 1e300)),
    st.sampled_from(BOUNDS),
    st.sampled_from([1000, 0.001, 1 / 3, 7, 10, 0.3, 1e-12, 1e12, 1]),
    st.sampled_from([-1, 0, 1]),
)
_numbers = st.one_of(
    st.integers(0, 10_000),
    st.integers(0, 1 << 40),
    st.floats(0, 1e12, allow_nan=False),
    _near_bounds.filter(lambda number: number < 1e15),
    st.sampled_from([bound * 1000 for bound in BOUNDS]),
)


@pytest.mark.parametrize("text", EXPRESSIONS)
@given(numbers=st.lists(_numbers, min_size=1, max_size=50))
def test_multiples_fall_into_the_buckets_of_their_values(text: str, numbers: list[float]) -> None:
    """Bucket by bucket the same counts, whatever rounding does near a bound; the sum but for its last digits."""
    value = compile_value(text)
    tally = HistogramTally(bounds=BOUNDS)
    assert value.multiple is not None
    by_multiples = multiples(tally, value.multiple)
    assert by_multiples is not None
    found = by_multiples.add(list(tally.zero), numbers)
    expected = tally.add(list(tally.zero), list(map(value.multiple.of, numbers)))
    assert found[:-1] == expected[:-1]
    assert isclose(found[-1], expected[-1], rel_tol=1e-9)


@given(numbers=st.lists(st.integers(0, 1 << 30), min_size=1, max_size=50))
def test_whole_numbers_add_up_exactly(numbers: list[int]) -> None:
    """Their sum is divided once, and so is as near to the truth as a float can be."""
    tally = HistogramTally(bounds=BOUNDS)
    by_multiples = multiples(tally, compile_value("ms / 1000").multiple)
    assert by_multiples is not None
    assert by_multiples.add(list(tally.zero), numbers)[-1] == sum(numbers) / 1000


@pytest.mark.parametrize("bounds", [(1.0, float(1 << 53)), (1e15,)])
def test_a_product_of_whole_numbers_is_compared_as_it_is(bounds: tuple[float, ...]) -> None:
    """Also where no float is equal to it: it is above a bound to which it would be rounded."""
    buckets = ", ".join(map(repr, bounds))
    bench = Bench(f"  - {{name: a_bytes, type: histogram, value: n * 321, buckets: [{buckets}]}}")
    numbers = [((1 << 53) + 1) // 321, 1]
    bench.observe(n=numbers)
    bench.commit()
    tally = HistogramTally(bounds=bounds)
    assert bench.see()["a_bytes",] == tuple(tally.add(list(tally.zero), [number * 321 for number in numbers]))


@pytest.mark.parametrize("text", ["ms / 0", "ms * -1", "ms / 1e300", "1000 / ms", "ms + 1", 'ms * "7"', "lower(ms)"])
def test_what_is_no_multiple_is_made_line_by_line(text: str) -> None:
    """Values that are not in proportion to a field, or in one that has no limits."""
    assert compile_value(text).multiple is None


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-1.0, 1.0), (1e-320, 1.0), (1.0, 1e200)])
def test_bounds_of_no_usual_size_are_compared_with_each_value(bounds: tuple[float, ...]) -> None:
    """Where rounding has no steps of a usual size, none are taken."""
    assert multiples(HistogramTally(bounds=bounds), compile_value("ms / 1000").multiple) is None


_of_many_digits = st.integers(1, 10**9).map(lambda number: number / 9973)


@given(
    st.lists(st.tuples(_of_many_digits, _of_many_digits, st.sampled_from(["*", "/"])), min_size=10, max_size=10),
)
def test_the_last_float_below_a_bound_is_found(cases: list[tuple[float, float, str]]) -> None:
    """Where rounding puts the division of a bound on its wrong side, which is so in one of ten cases, too."""
    for bound, factor, operator in cases:
        multiple = compile_value(f"ms {operator} {factor!r}").multiple
        tally = HistogramTally(bounds=(bound,))
        by_multiples = multiples(tally, multiple)
        assert multiple is not None
        assert by_multiples is not None
        number = bound / factor if operator == "*" else bound * factor
        near = [number, nextafter(number, inf), nextafter(number, 0), nextafter(nextafter(number, inf), inf)]
        expected = sum(multiple.of(each) <= bound for each in near)
        assert by_multiples.add(list(tally.zero), near)[0] == expected
