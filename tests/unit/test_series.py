"""Counting: what batches add up to, what scrapes see of it and when, and that neither lines nor labels can break it."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from counted import ANN, BOB, Bench
from hypothesis import given
from hypothesis import strategies as st

from exporter.births import BIRTH_SECONDS, KEPT_SECONDS, MAX_SCRAPERS, Scraper
from exporter.counting import FLUSH_BYTES
from exporter.families import OTHER, UNPROVEN_SHARE
from exporter.rule import BUDGETS, RuleType
from exporter.rules import parse_rules
from shipper.batch import MISSING
from shipper.expressions import UNMATCHED

MAX_VALUES = BUDGETS[RuleType.COUNTER].max_values
MAX_SERIES = BUDGETS[RuleType.COUNTER].max_series

COUNTER = "  - {name: a_total, type: counter, labels: {x: x}}\n"
SUM = "  - {name: a_total, type: counter, value: v, labels: {x: x}}\n"
HISTOGRAM = "  - {name: a_seconds, type: histogram, value: v, labels: {x: x}, buckets: [1, 2]}\n"


def test_the_default_rules_count_and_time_requests() -> None:
    """Lines with a method are counted by method, route and status; those with a duration are timed."""
    bench = Bench()
    bench.observe(
        method=["GET", "GET", "PUT", MISSING],
        url=["/a/1", "/a/2", "/b", "/a/3"],
        statusCode=[200, "200", 404, 200],
        duration=[5, 145.0, MISSING, 3],
    )
    bench.commit()
    seen = bench.see()
    assert seen["http_requests_total", "GET", "/a/:id", "200"] == 2
    assert seen["http_requests_total", "PUT", "/b", "404"] == 1
    assert seen["http_request_duration_seconds", "GET", "/a/:id", "200"] == (1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0.15)
    assert len(seen) == 3
    assert bench.telemetry.counts == {"http_requests_total": 2, "http_request_duration_seconds": 1}


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([1, True, 1.0, "1"], {"1": 3, "true": 1}),
        ([None, MISSING, ""], {"": 3}),
        ([[1], {"a": 1}, [1]], {"[1]": 2, '{"a":1}': 1}),
        (["\ud800", "a\0"], {"\ufffd": 1, "a\ufffd": 1}),
        ([float("nan"), float("nan")], {"NaN": 2}),
        (["x" * 300, "x" * 200, "x" * 1_000_000], {"x" * 200: 3}),
    ],
)
def test_labels_are_texts_of_values(values: list[Any], texts: dict[str, int]) -> None:
    """Equal texts are one series, whatever the types; different texts are never mixed up."""
    bench = Bench(COUNTER)
    bench.observe(x=values)
    bench.commit()
    assert bench.see() == {("a_total", text): count for text, count in texts.items()}


def test_a_rule_without_labels_has_one_series() -> None:
    """No labels, one number; with a value it is a sum."""
    bench = Bench("  - {name: n_total, type: counter}\n  - {name: v_total, type: counter, value: v * 2}\n")
    bench.observe(v=[1, 2.5])
    bench.observe(v=[3])
    bench.commit()
    assert bench.see() == {("n_total",): 3, ("v_total",): 13.0}


def test_buckets_hold_what_is_not_above_their_bound() -> None:
    """A value equal to a bound is in its bucket; what is above all is in +Inf."""
    bench = Bench(HISTOGRAM)
    bench.observe(x=["a"] * 5, v=[0, 1, 1.5, 2, 9])
    bench.commit()
    assert bench.see() == {("a_seconds", "a"): (2, 2, 1, 13.5)}


def test_batches_of_numbers_and_batches_of_anything_are_one_sum() -> None:
    """Where every line has a number, the values are not made one by one; that shows nowhere."""
    bench = Bench("  - {name: a_seconds, type: histogram, value: ms / 1000, labels: {x: x}, buckets: [1, 2]}\n")
    bench.observe(x=["a"] * 4, ms=[1000, 1001, 2000.0, 9000])
    bench.observe(x=["a"] * 4, ms=["1500", -1, 500, MISSING])
    bench.observe(x=["a"] * 2, ms=[1 << 60, 3])
    bench.commit()
    assert bench.see() == {("a_seconds", "a"): (3, 3, 2, 13.001 + 2.0 + (1 << 60) / 1000 + 0.003)}
    assert sorted(bench.telemetry.errors) == [("a_seconds", "missing"), ("a_seconds", "negative")]


BAD_VALUES = [
    (MISSING, "missing"),
    (None, "missing"),
    ("abc", "not_a_number"),
    (True, "not_a_number"),
    ([1], "not_a_number"),
    (float("nan"), "not_finite"),
    (float("inf"), "not_finite"),
    (10**400, "not_finite"),
    (1e250, "not_finite"),
    (-1, "negative"),
    (-0.5, "negative"),
]


@pytest.mark.parametrize(("value", "reason"), BAD_VALUES)
@pytest.mark.parametrize("text", [SUM, HISTOGRAM])
def test_a_value_that_cannot_be_counted_skips_its_line_only(text: str, value: Any, reason: str) -> None:
    """The other lines are counted, and the reason is."""
    bench = Bench(text)
    bench.observe(x=["a", "a", "a"], v=[1, value, 2])
    bench.commit()
    (found,) = bench.see().values()
    assert found in (3, (1, 1, 0, 3))
    assert bench.telemetry.errors == {(bench.rules[0].name, reason): 1}


def test_arithmetic_on_what_is_no_number_is_told_from_a_missing_field() -> None:
    """The reason names what is wrong with the line, not with the sum."""
    bench = Bench("  - {name: a_total, type: counter, value: v / 1000}\n")
    bench.observe(v=["abc", MISSING, "500"])
    bench.commit()
    assert bench.see() == {("a_total",): 0.5}
    assert bench.telemetry.errors == {("a_total", "not_a_number"): 1, ("a_total", "missing"): 1}


def test_sums_beyond_what_a_row_can_hold_go_on_as_floats() -> None:
    """Huge integers lose digits, never the daemon."""
    bench = Bench(SUM)
    for _ in range(3):
        bench.observe(x=["a"], v=[2**62])
    bench.commit()
    bench.restart()
    assert bench.see() == {("a_total", "a"): 3.0 * 2**62}


def test_a_rule_with_sources_counts_those_only() -> None:
    """Lines of other sources are none of its business."""
    bench = Bench("  - {name: a_total, type: counter, source: [app, cron]}\n")
    bench.observe(source="app", x=[1])
    bench.observe(source="other", x=[1])
    bench.commit()
    assert bench.see() == {("a_total",): 1}


def test_several_rules_add_up_in_one_metric() -> None:
    """Two rules of one name count into the same series."""
    bench = Bench(
        "  - {name: a_total, type: counter, when: exists(x), labels: {x: x}}\n"
        "  - {name: a_total, type: counter, when: exists(y), labels: {x: y}}\n"
    )
    bench.observe(x=["k", MISSING], y=["k", "l"])
    bench.commit()
    assert bench.see() == {("a_total", "k"): 2, ("a_total", "l"): 1}


def test_a_failing_rule_leaves_the_others_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A defect in one rule is counted; the other rules count the batch."""
    bench = Bench("  - {name: a_total, type: counter}\n  - {name: b_total, type: counter}\n")

    def fail(*_: object) -> None:
        raise RuntimeError("defect")

    monkeypatch.setattr(bench.exporter._counters[0], "observe", fail)
    bench.observe(x=[1, 2])
    bench.commit()
    assert bench.see() == {("b_total",): 2}
    assert bench.telemetry.errors == {("a_total", "internal"): 2}
    assert "defect" in caplog.text


def test_a_rule_that_fails_on_a_line_loses_that_line_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong with it: the other lines of its batch are counted, and the reason says that it is a bug."""
    bench = Bench(COUNTER + HISTOGRAM)
    counter = bench.exporter._counters[0]
    observe = counter.observe

    def fail(batch: Any, columns: Any) -> None:
        if "bad" in batch.columns["x"]:
            raise RuntimeError("defect")
        observe(batch, columns)

    monkeypatch.setattr(counter, "observe", fail)
    bench.observe(x=["a", "bad", "b", "a"], v=[1, 1, 1, 1])
    bench.commit()
    assert bench.see()["a_total", "a"] == 2
    assert bench.see()["a_total", "b"] == 1
    assert sum(bench.see()["a_seconds", "bad"][:-1]) == 1
    assert bench.telemetry.errors == {("a_total", "internal"): 1}


def test_scrapes_see_what_is_published_and_nothing_before() -> None:
    """Observed and even taken values stay hidden until the state has them."""
    bench = Bench(COUNTER)
    bench.observe(x=["a"])
    assert bench.see() == {}
    bench.commit(is_published=False)
    assert bench.see() == {}
    bench.observe(x=["a"])
    bench.commit()
    assert bench.see() == {("a_total", "a"): 2}


def test_a_scrape_that_is_being_answered_holds_nobody_up() -> None:
    """What it was given is of one moment; lines are counted and published meanwhile, and change nothing in it."""
    bench = Bench(COUNTER + HISTOGRAM)
    bench.observe(x=["a"], v=[1])
    bench.commit()
    snapshots, _ = bench.exporter.read(None)
    bench.observe(x=["a", "b"], v=[1, 5])
    bench.commit()
    assert [item.values for item in snapshots] == [[1], [(1, 0, 0, 1)]]
    assert len(bench.see()) == 4


def test_rows_are_written_for_what_changed_only() -> None:
    """The cost of a commit grows with what changed, not with what there is."""
    bench = Bench(COUNTER)
    assert not bench.exporter.has_changes
    assert not bench.exporter.take_changes()
    bench.observe(x=[str(number) for number in range(50)])
    assert bench.exporter.has_changes
    bench.commit()
    assert not bench.exporter.has_changes
    bench.observe(x=["7"])
    assert len(bench.exporter.take_changes().rows) == 1


def test_changes_that_could_not_be_committed_come_again() -> None:
    """A take that is put back is part of the next, with the values of then."""
    bench = Bench(COUNTER)
    bench.observe(x=["a", "b"])
    bench.exporter.put_back(bench.exporter.take_changes())
    assert bench.exporter.has_changes
    bench.observe(x=["a"])
    bench.commit()
    assert bench.see() == {("a_total", "a"): 2, ("a_total", "b"): 1}
    bench.restart()
    assert bench.see() == {("a_total", "a"): 2, ("a_total", "b"): 1}


def test_long_raw_values_are_not_kept_until_the_next_commit() -> None:
    """Gathered values are turned into series when the lines that they came from add up."""
    bench = Bench(COUNTER)
    bench.observe(x=["a"], size=FLUSH_BYTES)
    assert not bench.exporter._counters[0]._counts
    bench.commit()
    assert bench.see() == {("a_total", "a"): 1}


def test_a_restart_goes_on_where_the_state_was() -> None:
    """Values, also of histograms, are those committed; counting goes on from them."""
    bench = Bench(COUNTER + HISTOGRAM)
    bench.observe(x=["a", "b"], v=[0.1, 3])
    bench.commit()
    before = bench.see()
    bench.observe(x=["a"], v=[1])  # not committed: lost with the crash, read again by the daemon
    bench.restart()
    assert bench.see() == before
    assert bench.telemetry.counts == {"a_total": 2, "a_seconds": 2}
    bench.observe(x=["a"], v=[0.2])
    bench.commit()
    assert bench.see()["a_total", "a"] == 2
    assert bench.see()["a_seconds", "a"] == (2, 0, 0, pytest.approx(0.3))


def test_the_order_of_labels_means_nothing() -> None:
    """Whoever writes them in another order loses no value, and none comes under another label."""
    bench = Bench("  - {name: a_total, type: counter, labels: {y: y, x: x, z: z}}\n")
    bench.observe(x=["1", "1"], y=["2", "3"], z=["0", "0"])
    bench.commit()
    bench.rules = Bench("  - {name: a_total, type: counter, labels: {z: z, x: x, y: y}}\n").rules
    bench.restart()
    assert bench.see() == {("a_total", "0", "1", "2"): 1, ("a_total", "0", "1", "3"): 1}
    bench.observe(x=["1"], y=["2"], z=["0"])
    bench.commit()
    bench.restart()
    assert bench.see() == {("a_total", "0", "1", "2"): 2, ("a_total", "0", "1", "3"): 1}


def test_a_rule_that_means_something_else_starts_anew() -> None:
    """Values under another condition are not mixed; their rows are deleted, and other rules keep theirs."""
    bench = Bench(COUNTER + HISTOGRAM)
    bench.observe(x=["a"], v=[1])
    bench.commit()
    changed = COUNTER.replace("type: counter", "type: counter, when: exists(x)")
    bench.rules = parse_rules(f"rules:\n{changed}{HISTOGRAM}", file="r.yml")
    bench.restart()
    assert bench.see() == {("a_seconds", "a"): (1, 0, 0, 1)}
    assert bench.exporter.has_changes
    bench.commit()
    assert len(bench.state) == 1


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"", b""),
        (b"[]", b"[]"),
        (b"5", b"[]"),
        (b'["a_total","a"]', b"[1]"),
        (b'["a_total","a","b"]', b'["",1,1,1]'),
        (b'["","scraper","a"]', b"[1,2]"),
        (b'["","other","a","b"]', b"[1,2]"),
        (b'["","scraper","a","b","c","d"]', b"[1,2]"),
        (b'["unknown","a"]', b'["",1,1,1]'),
    ],
)
def test_rows_that_are_not_understood_are_left_out_and_deleted(key: bytes, value: bytes) -> None:
    """A row of another version or a damaged one never ends the start."""
    bench = Bench(COUNTER)
    bench.state = {key: value}
    bench.restart()
    assert bench.see() == {}
    bench.commit()
    assert bench.state == {}


def test_a_histogram_row_of_other_buckets_is_left_out() -> None:
    """The number of counts in a row must be that of the rule's buckets."""
    bench = Bench(HISTOGRAM)
    bench.observe(x=["a"], v=[1])
    bench.commit()
    (key,) = bench.state
    for wrong in (b"[1,1]", b'[1,1,1,"x"]', b"5", b"[true,1,1,1]"):
        bench.state[key] = bench.state[key].rpartition(b",[")[0] + b"," + wrong + b"]"
        bench.restart()
        assert bench.see() == {}


def test_label_sets_of_init_are_there_at_zero() -> None:
    """They are seen as 0 before the first line, and a restart does not reset them."""
    bench = Bench("  - {name: a_total, type: counter, labels: {x: x}, init: [{x: up}, {x: down}]}\n")
    bench.commit()
    assert bench.see() == {("a_total", "up"): 0, ("a_total", "down"): 0}
    bench.observe(x=["up"])
    bench.commit()
    bench.restart()
    assert bench.see() == {("a_total", "up"): 1, ("a_total", "down"): 0}
    assert not bench.exporter.has_changes


def test_label_sets_of_init_are_those_that_lines_make() -> None:
    """Cut and cleaned as these, so that the line counts where the 0 stands."""
    bench = Bench('  - {name: a_total, type: counter, labels: {x: x}, init: [{x: "%s"}, {x: "\\0"}]}\n' % ("y" * 300))
    bench.observe(x=["y" * 300, "\0"])
    bench.commit()
    assert bench.see() == {("a_total", "y" * 200): 1, ("a_total", "\ufffd"): 1}


def test_a_new_series_is_zero_once_for_each_scraper() -> None:
    """Each of two scrapers gets the 0 first and the value then; others get the value at once and use nothing up."""
    bench = Bench(COUNTER)
    bench.observe(x=["a"] * 5)
    bench.commit()
    assert bench.see() == {("a_total", "a"): 5}
    assert bench.see(ANN) == {("a_total", "a"): 0}
    assert bench.exporter.has_changes
    bench.commit()
    assert bench.see(ANN) == {("a_total", "a"): 5}
    assert bench.see(BOB) == {("a_total", "a"): 0}
    bench.commit()
    assert bench.see(BOB) == {("a_total", "a"): 5}
    bench.observe(x=["b"])
    bench.commit()
    assert bench.see(ANN) == {("a_total", "a"): 5, ("a_total", "b"): 0}


def test_a_new_histogram_is_zero_in_every_bucket() -> None:
    """Its buckets, sum and count are all 0 at first."""
    bench = Bench(HISTOGRAM)
    bench.observe(x=["a"], v=[1])
    bench.commit()
    assert bench.see(ANN) == {("a_seconds", "a"): (0, 0, 0, 0)}


def test_the_zero_counts_only_when_it_was_sent_and_committed() -> None:
    """Until both are so, the scraper gets the 0 again."""
    bench = Bench(COUNTER)
    bench.observe(x=["a"])
    bench.commit()
    bench.exporter.read(ANN)  # the answer never arrived
    bench.commit()
    assert bench.see(ANN) == {("a_total", "a"): 0}
    assert bench.see(ANN) == {("a_total", "a"): 0}
    bench.commit()
    assert bench.see(ANN) == {("a_total", "a"): 1}


def test_a_crash_never_takes_a_value_back_to_zero() -> None:
    """After a crash a scraper that has had the value gets it; one that has had nothing gets the 0 first."""
    bench = Bench(COUNTER)
    bench.observe(x=["a"])
    bench.commit()
    bench.see(ANN)
    bench.commit()
    assert bench.see(ANN) == {("a_total", "a"): 1}
    bench.restart()
    assert bench.see(ANN) == {("a_total", "a"): 1}
    assert bench.see(BOB) == {("a_total", "a"): 0}
    bench.observe(x=["b"])
    bench.commit()
    assert bench.see(ANN) == {("a_total", "a"): 1, ("a_total", "b"): 0}


def test_what_a_scraper_has_seen_survives_a_failed_commit() -> None:
    """It comes again with the next changes."""
    bench = Bench(COUNTER)
    bench.observe(x=["a"])
    bench.commit()
    bench.see(ANN)
    bench.exporter.put_back(bench.exporter.take_changes())
    bench.commit()
    assert bench.see(ANN) == {("a_total", "a"): 1}


def test_after_two_minutes_everybody_gets_the_value() -> None:
    """A scraper that comes late gets the value at once, also after a restart."""
    bench = Bench(COUNTER)
    bench.observe(x=["a"])
    bench.commit()
    bench.now += BIRTH_SECONDS
    assert bench.see(ANN) == {("a_total", "a"): 1}
    bench.restart()
    assert bench.see(ANN) == {("a_total", "a"): 1}


def test_scrapers_are_forgotten_when_no_birth_can_need_them() -> None:
    """Their rows go, so that neither memory nor state grows with addresses."""
    bench = Bench(COUNTER)
    bench.observe(x=["a"])
    bench.commit()
    bench.see(ANN)
    bench.commit()
    assert len(bench.state) == 2
    bench.now += KEPT_SECONDS
    bench.commit()
    assert len(bench.state) == 1


def test_a_known_scraper_gets_its_zero_after_a_long_time_down() -> None:
    """A series that was born just before, and committed, was never shown to it; whoever is new gets the value."""
    bench = Bench(COUNTER)
    bench.see(ANN)
    bench.observe(x=["a"])
    bench.commit()
    bench.now += 5_000
    bench.restart()
    assert bench.see(BOB) == {("a_total", "a"): 1}
    assert bench.see(ANN) == {("a_total", "a"): 0}
    bench.commit()
    assert bench.see(ANN) == {("a_total", "a"): 1}
    bench.restart()
    assert bench.see(ANN) == {("a_total", "a"): 1}


def test_a_scraper_that_goes_on_scraping_stays_known() -> None:
    """Also when nothing new is born for long, at the cost of a commit a minute."""
    bench = Bench(COUNTER)
    bench.see(ANN)
    bench.commit()
    commits = 0
    for _ in range(100):
        bench.now += 15
        bench.see(ANN)
        commits += bench.exporter.has_changes
        bench.commit()
    assert commits == 25
    bench.observe(x=["a"])
    bench.commit()
    bench.now += 5_000
    bench.restart()
    assert bench.see(ANN) == {("a_total", "a"): 0}


def test_scrapers_beyond_the_limit_get_values_at_once() -> None:
    """Invented user agents neither fill the memory nor take anything from the scrapers that are known."""
    bench = Bench(COUNTER)
    bench.observe(x=["a"])
    bench.commit()
    bench.see(ANN)
    for number in range(MAX_SCRAPERS * 2):
        bench.see(Scraper("10.0.0.9", f"agent {number}"))
    bench.commit()
    assert len(bench.state) == 1 + MAX_SCRAPERS
    assert bench.see(ANN) == {("a_total", "a"): 1}
    assert bench.see(BOB) == {("a_total", "a"): 1}


def test_a_label_past_its_budget_becomes_other_and_the_rest_stays() -> None:
    """Only the wild label gives way; every line is counted, and how many gave way is, too."""
    bench = Bench("  - {name: a_total, type: counter, labels: {user: user, status: status}}\n")
    count = MAX_VALUES + 500
    bench.observe(user=[f"u{number}" for number in range(count)], status=[200, 500] * (count // 2))
    bench.commit()
    seen = bench.see()
    assert sum(seen.values()) == count
    assert seen["a_total", OTHER, "200"] == seen["a_total", OTHER, "500"] == 250
    assert len(seen) == MAX_VALUES + 2
    assert bench.telemetry.overflow == {("a_total", "user"): 500}


def test_labels_after_a_restart_are_those_of_before() -> None:
    """What was admitted stays so, and what was not is not admitted now."""
    bench = Bench(COUNTER)
    bench.observe(x=[f"u{number}" for number in range(MAX_VALUES + 1)])
    bench.commit()
    bench.restart()
    bench.observe(x=["u0", f"u{MAX_VALUES}", "new"])
    bench.commit()
    seen = bench.see()
    assert (seen["a_total", "u0"], seen["a_total", OTHER]) == (2, 3)
    assert len(seen) == MAX_VALUES + 1


def test_the_series_of_one_rule_are_bounded() -> None:
    """Many labels with few values each cannot multiply without end; the label of most variety gives way first."""
    bench = Bench("  - {name: a_total, type: counter, labels: {x: x, y: y, z: z}}\n")
    source = random.Random(3)
    total = 0
    for _ in range(40):
        columns: dict[str, Any] = {
            name: [source.randrange(most) for _ in range(1_000)] for name, most in {"x": 900, "y": 90, "z": 3}.items()
        }
        bench.observe(**columns)
        total += 1_000
    bench.commit()
    seen = bench.see()
    assert sum(seen.values()) == total
    assert MAX_SERIES < len(seen) <= MAX_SERIES + MAX_SERIES // 10 + 1
    assert set(bench.telemetry.overflow) == {("a_total", "x")}


def _words(count: int, *, seed: int) -> list[str]:
    """Random paths that look like names."""
    source = random.Random(seed)
    return ["/" + "".join(source.choices("abcdefghijklmno", k=7)) for _ in range(count)]


def _requests(bench: Bench, urls: list[str], status: Any) -> None:
    count = len(urls)
    bench.observe(method=["GET"] * count, url=urls, statusCode=[status] * count, duration=[1] * count)


def test_hostile_urls_leave_the_number_of_series_flat() -> None:
    """Random paths end in the budget of the label, however many come."""
    bench = Bench()
    for seed in range(30):
        _requests(bench, _words(200, seed=seed), 200)
    bench.commit()
    assert bench.exporter.series_count == 2 * (MAX_VALUES + 1)
    assert bench.telemetry.overflow["http_requests_total", "path"] == 6_000 - MAX_VALUES


_PAIR = {
    "counter": "  - {name: a_total, type: counter, when: exists(m), labels: {x: x, m: m}}\n",
    "histogram": "  - {name: a_seconds, type: histogram, when: exists(m) and exists(v), value: v / 2,"
    " labels: {x: x, m: m}, buckets: [1, 2]}\n",
    "other": "  - {name: b_total, type: counter, when: exists(m), labels: {x: x}}\n",
}
_lines = st.lists(
    st.tuples(st.sampled_from(["a", "b", 1, MISSING]), st.sampled_from(["m", MISSING]), st.sampled_from([1, 3.5, 9])),
    min_size=1,
    max_size=6,
)
_odd_values = st.dictionaries(st.integers(0, 5), st.sampled_from([MISSING, None, -1, "x", float("inf")]), max_size=1)


@given(order=st.permutations(list(_PAIR)), batches=st.lists(st.tuples(_lines, _odd_values, st.booleans()), max_size=6))
def test_rules_together_count_what_each_counts_alone(
    order: list[str], batches: list[tuple[list[tuple[Any, ...]], dict[int, Any], bool]]
) -> None:
    """A counter and a histogram with the same labels share their work; nothing may be shared that is not the same."""
    together = Bench("".join(_PAIR[name] for name in order))
    alone = [Bench(_PAIR[name]) for name in order]
    for lines, odd, is_end in batches:
        x, m, values = ([line[number] for line in lines] for number in range(3))
        v = [odd.get(number, value) for number, value in enumerate(values)]
        for bench in (together, *alone):
            bench.observe(x=x, m=m, v=v)
            if is_end:
                bench.commit()
    for bench in (together, *alone):
        bench.commit()
    seen: dict[Any, Any] = {}
    errors: Counter[Any] = Counter()
    for bench in alone:
        seen |= bench.see()
        errors.update(bench.telemetry.errors)
    assert together.see() == seen
    assert together.telemetry.errors == errors


@pytest.mark.parametrize("status", [404, "404", 401, 403.0])
def test_scanners_leave_room_for_real_routes(status: Any) -> None:
    """Paths that were only ever refused have a tenth of the budget, the others are one value, which is no overflow;
    a route that answers has its label, also one that was refused before, and then its refusals have it too."""
    bench = Bench()
    most = MAX_VALUES // UNPROVEN_SHARE
    noise = _words(3_000, seed=4)
    _requests(bench, noise, status)
    real = _words(MAX_VALUES - most, seed=5)
    _requests(bench, [noise[-1], *real], 200)
    bench.commit()
    _requests(bench, [real[0], noise[-1], noise[-2]], status)
    bench.commit()
    seen = {labels[2:]: value for labels, value in bench.see().items() if labels[0] == "http_requests_total"}
    text = str(int(status))
    assert seen[UNMATCHED, text] == 3_000 - most + 1
    assert seen[noise[0], text] == seen[noise[most - 1], text] == 1
    assert [path for path in real[:-1] if seen.get((path, "200")) != 1] == []
    assert seen[real[0], text] == seen[noise[-1], text] == 1
    assert seen[OTHER, "200"] == 1  # the last of the real routes, for which there is no room any more
    assert bench.telemetry.overflow == {
        ("http_requests_total", "path"): 1,
        ("http_request_duration_seconds", "path"): 1,
    }
    assert bench.exporter.series_count == 2 * len(seen)


def test_the_status_decides_also_where_it_is_no_label() -> None:
    """As of sizes, which have method and path alone."""
    bench = Bench('  - {name: a_total, type: counter, labels: {path: "route(url, status)"}, max_values: 20}\n')
    bench.observe(url=["/a", "/b", "/c", "/d", "/d", "/c"], status=[404, 404, 404, 404, 200, 404])
    bench.commit()
    assert bench.see() == {("a_total", "/a"): 1, ("a_total", "/b"): 1, ("a_total", UNMATCHED): 3, ("a_total", "/d"): 1}
    bench.observe(url=["/d", "/a", "/e"], status=[404, 200, 404])
    bench.commit()
    assert bench.see()["a_total", "/d"] == bench.see()["a_total", "/a"] == 2
    assert bench.see()["a_total", "/e"] == 1  # /a has an answer now, and leaves its place


def test_after_a_restart_routes_are_believed_once_they_answer() -> None:
    """Those of the state keep their labels; they leave no room to more noise than before."""
    bench = Bench('  - {name: a_total, type: counter, labels: {path: "route(url, status)"}, max_values: 20}\n')
    bench.observe(url=["/a", "/b", "/real", "/c"], status=[404, 404, 200, 404])
    bench.commit()
    bench.restart()
    bench.observe(url=["/a", "/d", "/real", "/new", "/e"], status=[404, 404, 404, 200, 404])
    bench.commit()
    counts = {"/a": 2, "/b": 1, "/real": 2, "/new": 1, UNMATCHED: 3}
    assert bench.see() == {("a_total", path): count for path, count in counts.items()}


def test_gauges_that_are_over_leave_their_place_among_the_unproven() -> None:
    """As everywhere in the budgets."""
    rule = '  - {name: a, type: gauge, value: v, labels: {path: "route(url, status)"}, max_values: 10, expire: 60s}\n'
    bench = Bench(rule)
    bench.observe(url=["/a", "/b"], status=[404, 404], v=[1, 2], at=[1_000, 1_000])
    bench.commit()
    assert set(bench.see()) == {("a", "/a"), ("a", UNMATCHED)}
    bench.now += 100
    bench.commit()
    bench.observe(url=["/b"], status=[404], v=[3], at=[bench.now])
    bench.commit()
    assert set(bench.see()) == {("a", "/b")}


_steps = st.lists(
    st.one_of(
        st.tuples(st.just("observe"), st.lists(st.sampled_from("abcd"), min_size=1, max_size=4)),
        st.tuples(st.just("commit"), st.none()),
        st.tuples(st.just("fail"), st.none()),
        st.tuples(st.just("crash"), st.none()),
        st.tuples(st.just("scrape"), st.sampled_from([ANN, BOB])),
        st.tuples(st.just("wait"), st.sampled_from([-2.0, 1.0, 30.0])),
        st.tuples(st.just("down"), st.sampled_from([1.0, 200.0, 100_000.0])),
    ),
    max_size=40,
)


@given(_steps)
def test_the_increases_that_a_scraper_sees_add_up_to_the_lines(steps: list[tuple[str, Any]]) -> None:
    """Whatever the order of lines, commits, failures, crashes and scrapes: differences, from 0, are the lines exactly.

    A crash takes back what was not committed, and the daemon reads those lines again, however long it was down. The
    clock may be set back a little. Scrapers come every minute, and have come before.
    """
    bench = Bench(COUNTER)
    pending: list[list[str]] = []
    lines: Counter[str] = Counter()
    samples: dict[Scraper, dict[str, list[int]]] = {ANN: {}, BOB: {}}

    def scrape(scraper: Scraper) -> None:
        for (_, label), value in bench.see(scraper).items():
            samples[scraper].setdefault(label, []).append(value)

    def run(step: str, what: Any) -> None:
        if step == "observe":
            lines.update(what)
            pending.append(what)
            bench.observe(x=what)
        elif step == "commit":
            bench.commit()
            pending.clear()
        elif step == "fail":
            bench.exporter.put_back(bench.exporter.take_changes())
        elif step in {"crash", "down"}:
            bench.now += what or 0.0
            bench.restart()
            for batch in pending:
                bench.observe(x=batch)
        elif step == "scrape":
            scrape(what)
        else:
            bench.now += what
            scrape(ANN)
            scrape(BOB)

    for step, what in [
        ("scrape", ANN),
        ("scrape", BOB),
        ("commit", None),
        *steps,
        ("commit", None),
        ("scrape", ANN),
        ("scrape", BOB),
        ("commit", None),
        ("crash", None),
    ]:
        run(step, what)
    for scraper, seen in samples.items():
        scrape(scraper)
        for values in seen.values():
            assert values[0] == 0
            assert values == sorted(values)
        assert {label: values[-1] for label, values in seen.items()} == dict(lines)
