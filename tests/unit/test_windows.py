"""Gauges, ratios, distinct values and greatest values: by event time, over a window, gone when their lines are old."""

from __future__ import annotations

import random

import pytest
from counted import ANN, Bench
from hypothesis import given
from hypothesis import strategies as st

from exporter.families import OTHER
from exporter.sampling import MAX_KEPT, DistinctSample, text_hash
from exporter.series import EXPIRE_SECONDS
from exporter.windows import SLOTS
from shipper.batch import MISSING

GAUGE = "  - {name: pool, type: gauge, value: v, labels: {x: x}}\n"
RATIO = "  - {name: hit_rate, type: ratio, when: exists(hit), value: hit == true}\n"
DISTINCT = "  - {name: active_users, type: distinct, value: user}\n"
MAX = "  - {name: slowest_seconds, type: max, value: v, window: 5m}\n"
WINDOW, WIDTH = 300, 300 / SLOTS


def test_a_gauge_is_the_newest_line_by_event_time() -> None:
    """The tail of a rotated file, read late, never moves it back; of two at one time the later read one counts."""
    bench = Bench(GAUGE)
    bench.observe(x=["a", "a", "a", "b"], v=[1, 3, 2, -0.5], at=[900.0, 950.0, 940.0, 960.0])
    bench.observe(x=["a", "b"], v=[7, 8], at=[910.0, 960.0])
    bench.commit()
    assert bench.shown() == {'pool{x="a"}': 3, 'pool{x="b"}': 8}


def test_a_line_without_a_time_happened_when_it_was_read() -> None:
    """And so did one that claims to be of the future, which would else hide all that comes after it."""
    bench = Bench(GAUGE)
    bench.observe(x=["a", "a", "a"], v=[1, 2, 3], at=[5_000.0, MISSING, 999.0])
    bench.commit()
    assert bench.shown() == {'pool{x="a"}': 2}
    bench.now += 10
    bench.observe(x=["a"], v=[4], at=[1_005.0])
    bench.commit()
    assert bench.shown() == {'pool{x="a"}': 4}


def test_a_gauge_without_new_lines_goes_away() -> None:
    """After `expire` it is not shown, and a little later its row and its place in the budgets are free."""
    bench = Bench("  - {name: pool, type: gauge, value: v, labels: {x: x}, expire: 60s, max_values: 2}\n")
    bench.observe(x=["a", "b"], v=[1, 2], at=[1_000.0, 999.0])
    bench.commit()
    assert len(bench.state) == 2
    bench.now += 59
    assert bench.shown() == {'pool{x="a"}': 1}
    bench.now += 1
    assert bench.shown() == {}
    bench.commit()
    assert bench.state == {}
    assert bench.telemetry.counts == {"pool": 0}
    bench.observe(x=["c", "d", "e"], v=[3, 4, 5])
    bench.commit()
    assert bench.shown() == {'pool{x="c"}': 3, 'pool{x="d"}': 4, f'pool{{x="{OTHER}"}}': 5}


def test_a_series_that_went_and_came_back_is_shown() -> None:
    """Also if its going could not be committed at once."""
    bench = Bench(GAUGE)
    bench.observe(x=["a"], v=[1])
    bench.commit()
    bench.now += 2_000
    bench.exporter.put_back(bench.exporter.take_changes())
    bench.observe(x=["a"], v=[2])
    bench.commit()
    assert bench.shown() == {'pool{x="a"}': 2}
    bench.restart()
    assert bench.shown() == {'pool{x="a"}': 2}
    assert bench.exporter.series_count == 1


def test_changes_of_a_series_that_has_gone_since_are_not_put_back() -> None:
    """A take that fails, and is put back after its series has expired, does not bring it back."""
    bench = Bench(GAUGE)
    bench.observe(x=["a"], v=[1])
    taken = bench.exporter.take_changes()
    bench.now += 2_000
    gone = bench.exporter.take_changes()
    bench.exporter.put_back(gone)
    bench.exporter.put_back(taken)
    bench.commit()
    assert (bench.shown(), bench.state) == ({}, {})


def test_a_gauge_is_no_counter_that_is_born_at_0() -> None:
    """A scraper gets its value at once."""
    bench = Bench(GAUGE)
    bench.observe(x=["a"], v=[5])
    bench.commit()
    assert bench.see(ANN) == {("pool", "a"): 5}


def test_a_ratio_is_the_share_of_the_lines_that_take_part() -> None:
    """Lines for which `when` is false are in neither number."""
    bench = Bench(RATIO)
    bench.observe(hit=[True, True, False, MISSING], at=[990.0] * 4)
    bench.observe(hit=[False, True], at=[995.0] * 2)
    bench.commit()
    assert bench.shown() == {"hit_rate": 0.6}


def test_a_ratio_without_lines_in_its_window_is_not_there() -> None:
    """No traffic is not 0 %, and not NaN."""
    bench = Bench(RATIO)
    bench.observe(hit=[True], at=[1_000.0])
    bench.commit()
    bench.now += WINDOW
    assert bench.shown() == {"hit_rate": 1}
    bench.now += WIDTH
    assert bench.shown() == {}


def test_the_greatest_value_is_that_of_the_window_by_event_time() -> None:
    """A line that is read late counts where it happened; what leaves the window is forgotten."""
    bench = Bench(MAX)
    bench.observe(v=[5, 2, 1], at=[990.0, 960.0, 1_000.0])
    bench.observe(v=[9, 4], at=[1_000 - WINDOW - 2 * WIDTH, 1_000 - WINDOW])
    bench.commit()
    assert bench.shown() == {"slowest_seconds": 5}
    bench.now += WINDOW - 10
    assert bench.shown() == {"slowest_seconds": 5}
    bench.now += WIDTH
    bench.observe(v=[-3], at=[bench.now])
    bench.commit()
    assert bench.shown() == {"slowest_seconds": 1}
    bench.now += 10
    assert bench.shown() == {"slowest_seconds": -3}


def test_distinct_values_are_counted_once() -> None:
    """Numbers and texts that look alike are one value; lines without any are no value, and no error."""
    bench = Bench(DISTINCT)
    bench.observe(user=["ann", "bob", "ann", 5, "5", None, MISSING, ["x"]])
    bench.commit()
    bench.now += WINDOW / 2
    bench.observe(user=["ann", "eve"])
    bench.commit()
    assert bench.shown() == {"active_users": 5}
    assert bench.telemetry.errors == {}
    bench.now += WINDOW / 2 + WIDTH
    assert bench.shown() == {"active_users": 2}


def test_a_clock_that_was_ahead_does_not_hide_what_comes_after() -> None:
    """What was counted while the clock was wrong goes, and counting begins anew."""
    bench = Bench(GAUGE + RATIO + DISTINCT + MAX)
    bench.now = 10_000.0
    bench.observe(x=["a"], v=[1], hit=[True], user=["ann"])
    bench.commit()
    bench.now = 1_000.0
    bench.commit()
    assert bench.shown() == {}
    bench.observe(x=["a", "a"], v=[2, 3], hit=[False, True], user=["ann", "bob"])
    bench.commit()
    assert bench.shown() == {'pool{x="a"}': 3, "hit_rate": 0.5, "active_users": 2, "slowest_seconds": 3}


def test_all_of_them_survive_a_restart() -> None:
    """What was committed of the windows is there again."""
    bench = Bench(GAUGE + RATIO + DISTINCT + MAX)
    bench.observe(x=["a", "a"], v=[2, 1], hit=[True, False], user=["ann", "bob"], at=[990.0, 991.0])
    bench.commit()
    before = bench.shown()
    assert before == {'pool{x="a"}': 1, "hit_rate": 0.5, "active_users": 2, "slowest_seconds": 2}
    bench.restart()
    assert bench.shown() == before
    bench.observe(x=["a"], v=[7], hit=[True], user=["eve"], at=[992.0])
    bench.commit()
    assert bench.shown() == {'pool{x="a"}': 7, "hit_rate": 2 / 3, "active_users": 3, "slowest_seconds": 7}


@pytest.mark.parametrize("text", [GAUGE, MAX, RATIO, DISTINCT])
@pytest.mark.parametrize("stored", [b"5", b'"x"', b"[1]", b'[["x","y","z"]]', b"[[1,2,3,4]]", b"[true,true]"])
def test_a_row_that_is_no_window_is_left_out(text: str, stored: bytes) -> None:
    """A damaged row ends nothing; counting begins anew."""
    bench = Bench(text)
    bench.observe(x=["a"], v=[2], hit=[True], user=["ann"])
    bench.commit()
    (key,) = bench.state
    meaning = bench.state[key].split(b",")[0]
    bench.state[key] = meaning + b",1,1," + stored + b"]"
    bench.restart()
    assert bench.shown() == {}
    bench.commit()
    assert bench.state == {}


def test_a_value_that_is_no_number_skips_its_line_only() -> None:
    """As for counters, but negative numbers are as good as others."""
    bench = Bench(MAX)
    bench.observe(v=[-5, "abc", MISSING, float("nan"), "-7"])
    bench.commit()
    assert bench.shown() == {"slowest_seconds": -5}
    assert bench.telemetry.errors == {
        ("slowest_seconds", "not_a_number"): 1,
        ("slowest_seconds", "missing"): 1,
        ("slowest_seconds", "not_finite"): 1,
    }


def test_slots_do_not_grow_with_the_variety_of_times() -> None:
    """Lines with random times of many years take no more memory than a window's slots."""
    bench = Bench(RATIO + MAX + DISTINCT)
    bench.now = 2e9
    source = random.Random(1)
    for _ in range(20):
        times = [source.uniform(1e9, 2e9) for _ in range(100)]
        bench.observe(hit=[True] * 100, v=[1] * 100, user=[str(at) for at in times], at=times)
        bench.commit()
    for series in bench.exporter._changed or [*bench.exporter._families["hit_rate"].series.values()]:
        assert len(series.working) <= SLOTS + 1
    (users,) = bench.exporter._families["active_users"].series.values()
    assert len(users.working._levels) <= 2 * SLOTS


def test_old_series_are_looked_for_now_and_then() -> None:
    """Not at each commit, which would cost with the number of series."""
    bench = Bench(GAUGE)
    bench.observe(x=["a"], v=[1], at=[1_000 - 900 + EXPIRE_SECONDS - 1])
    bench.commit()
    bench.now += EXPIRE_SECONDS - 1
    bench.commit()
    assert len(bench.state) == 1
    bench.now += 1
    bench.commit()
    assert bench.state == {}


# The sample of distinct values ---------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 50))), st.integers(0, 60))
def test_few_distinct_values_are_counted_exactly(values: list[tuple[int, int]], oldest: int) -> None:
    """In whatever order they come: those whose last slot the window reaches, as a set would say."""
    sample = DistinctSample(reach=SLOTS)
    newest = -1
    last: dict[int, int] = {}
    for slot, value in values:
        newest = max(newest, slot)
        sample.add(slot, text_hash(str(value)))
        if slot >= newest - SLOTS:
            last[value] = max(last.get(value, -1), slot)
    first = max(oldest, newest - SLOTS)
    expected = sum(1 for slot in last.values() if slot >= first)
    assert sample.count(first) == expected
    assert DistinctSample.of_rows(sample.rows(), reach=SLOTS).count(first) == expected
    assert sample.copy().count(first) == expected


@pytest.mark.parametrize("users", [MAX_KEPT, 20_000, 300_000])
def test_many_distinct_values_are_estimated_in_bounded_memory(users: int) -> None:
    """Exact as long as they fit, then within 6 % (three standard errors) here, for every size of what is kept."""
    sample = DistinctSample(reach=SLOTS)
    for number in range(users):
        sample.add(number * SLOTS // users, text_hash(f"user-{number}"))
        assert len(sample._last) <= MAX_KEPT
    found = sample.count(0)
    assert found == pytest.approx(users, rel=0.06)
    assert users > MAX_KEPT or found == users


def test_the_number_is_exact_again_when_there_are_few() -> None:
    """After a flood the sample becomes finer from slot to slot, until it holds everything."""
    sample = DistinctSample(reach=SLOTS)
    for number in range(100_000):
        sample.add(0, text_hash(str(number)))
    for slot in range(1, 3 * SLOTS):
        for number in range(7):
            sample.add(slot, text_hash(str(number)))
    assert sample.count(2 * SLOTS - 1) == 7
