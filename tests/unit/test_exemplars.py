"""Exemplars: the id of a line beside what it has counted, in OpenMetrics, newest and few."""

from __future__ import annotations

import re
from typing import Any

import pytest
from counted import ANN, Bench
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from exporter.exemplars import LINES_A_BATCH, MAX_EXEMPLARS, MAX_LINE_BYTES, exemplar_name
from exporter.exposition import EOF_LINE, Format
from shipper.batch import MISSING

parse: Any = text_string_to_metric_families
COUNTER = "  - {name: a_total, type: counter, labels: {x: x}}\n"
HISTOGRAM = "  - {name: a_seconds, type: histogram, value: v, buckets: [1, 2]}\n"


def _found(bench: Bench) -> dict[tuple[str, str], tuple[dict[str, str], float, float]]:
    """Exemplars by name and `x` or `le`, as the library's parser reads them."""
    text = bench.text(Format.OPENMETRICS) + EOF_LINE
    return {
        (sample.name, sample.labels.get("le") or sample.labels.get("x", "")): (
            dict(sample.exemplar.labels),
            sample.exemplar.value,
            float(sample.exemplar.timestamp or 0),
        )
        for family in parse(text)
        for sample in family.samples
        if sample.exemplar
    }


def test_a_counter_shows_the_newest_line() -> None:
    """One for each series, with the time at which it was counted; a line without an id leaves what there was."""
    bench = Bench(COUNTER, exemplar="requestId")
    bench.observe(x=["a", "a", "b", "c"], requestId=["r1", "r2", 7, MISSING])
    bench.commit()
    first = {("a_total", "a"): ({"requestId": "r2"}, 1, 1_000), ("a_total", "b"): ({"requestId": "7"}, 1, 1_000)}
    assert _found(bench) == first
    bench.now += 1.5
    bench.observe(x=["a", "b"], requestId=["r3", None])
    bench.commit()
    assert _found(bench) == {**first, ("a_total", "a"): ({"requestId": "r3"}, 1, 1_001.5)}


def test_a_line_that_is_too_long_to_be_kept_shows_none() -> None:
    """Lines wait until the next commit, so long ones are let go."""
    bench = Bench(COUNTER, exemplar="requestId")
    bench.observe(x=["a", "b"], requestId=["r1", "r2"], filler=["x" * MAX_LINE_BYTES, "x"])
    bench.commit()
    assert _found(bench) == {("a_total", "b"): ({"requestId": "r2"}, 1, 1_000)}


@pytest.mark.parametrize("last", [MISSING, None, ""])
def test_a_line_without_an_id_leaves_the_one_before(last: Any) -> None:
    """In the same batch or a later one; so does an id that cannot be shown, of a later commit."""
    bench = Bench(COUNTER + HISTOGRAM, exemplar="requestId")
    bench.observe(x=["a", "a"], v=[1, 1], requestId=["r1", last])
    bench.observe(x=["a"], v=[1], requestId=[last])
    bench.commit()
    bench.observe(x=["a"], v=[1], requestId=['"'])
    bench.observe(x=["a"], v=[1], requestId=[last])
    bench.commit()
    assert {place: found[0] for place, found in _found(bench).items()} == {
        ("a_total", "a"): {"requestId": "r1"},
        ("a_seconds_bucket", "1.0"): {"requestId": "r1"},
    }


def test_a_histogram_shows_one_for_each_bucket() -> None:
    """With the value that was observed; a value that cannot be counted shows nothing."""
    bench = Bench(HISTOGRAM, exemplar="requestId")
    bench.observe(v=[0.5, 1.5, 0.75, 9], requestId=["r1", "r2", "r3", "r4"])
    bench.observe(v=["x", -1], requestId=["r5", "r6"])
    bench.commit()
    assert {place[1]: found[:2] for place, found in _found(bench).items()} == {
        "1.0": ({"requestId": "r3"}, 0.75),
        "2.0": ({"requestId": "r2"}, 1.5),
        "+Inf": ({"requestId": "r4"}, 9),
    }


def test_a_value_that_cannot_be_counted_takes_no_others_exemplar() -> None:
    """In one batch with good ones, with labels and without."""
    bench = Bench(HISTOGRAM + "  - {name: v_total, type: counter, value: v, labels: {x: x}}\n", exemplar="requestId")
    bench.observe(x=["a", "b", "a"], v=[0.5, 1.5, -1], requestId=["r1", "r2", "r3"])
    bench.commit()
    assert {place: found[:2] for place, found in _found(bench).items()} == {
        ("a_seconds_bucket", "1.0"): ({"requestId": "r1"}, 0.5),
        ("a_seconds_bucket", "2.0"): ({"requestId": "r2"}, 1.5),
        ("v_total", "a"): ({"requestId": "r1"}, 0.5),
        ("v_total", "b"): ({"requestId": "r2"}, 1.5),
    }


def test_the_text_format_has_none() -> None:
    """It knows no exemplars."""
    bench = Bench(COUNTER + HISTOGRAM, exemplar="requestId")
    bench.observe(x=["a"], v=[1], requestId=["r1"])
    bench.commit()
    assert "r1" in bench.text(Format.OPENMETRICS)
    assert "r1" not in bench.text(Format.TEXT)


def test_exemplars_can_be_switched_off() -> None:
    """A line is read for them alone, and only where one is shown."""
    bench = Bench(COUNTER)
    assert bench.exporter.fields == {"x"}
    bench.observe(x=["a"])
    bench.commit()
    assert _found(bench) == {}
    assert Bench(COUNTER, exemplar="trace.id").exporter.fields == {"x"}
    gauge = Bench("  - {name: a, type: gauge, value: v}\n", exemplar="requestId")
    assert gauge.exporter.fields == {"v", "at"}


def test_scrapes_see_exemplars_of_committed_lines_only() -> None:
    """And none beside the 0 that a scraper gets first."""
    bench = Bench(COUNTER, exemplar="requestId")
    bench.observe(x=["a"], requestId=["r1"])
    bench.commit()
    bench.observe(x=["a"], requestId=["r2"])
    bench.commit(is_published=False)
    assert _found(bench)["a_total", "a"][0] == {"requestId": "r1"}
    assert bench.text(Format.OPENMETRICS, ANN).splitlines()[-1] == 'a_total{x="a"} 0'


@pytest.mark.parametrize(
    ("line_id", "is_shown"),
    [
        ("x" * (128 - len("requestId")), True),
        ("x" * (129 - len("requestId")), False),
        ("é" * (128 - len("requestId")), True),
        ("a b,é", True),
        ('q"', False),
        ("back\\slash", False),
        ("line\nbreak", False),
        ("\ud800", True),
        ("", False),
        (None, False),
        ([1], True),
    ],
)
def test_ids_of_any_kind(line_id: Any, is_shown: bool) -> None:
    """An id is shown whole or not at all: a part of one finds nothing. Name and id have 128 characters at most.

    Ids with quotes, backslashes or newlines are left out: not every parser reads them in an exemplar.
    """
    bench = Bench(COUNTER, exemplar="requestId")
    bench.observe(x=["a"], requestId=[line_id])
    bench.commit()
    assert bool(_found(bench)) == is_shown


def test_their_number_is_bounded() -> None:
    """The first label sets have them, and go on having new ones; of a batch only the last lines are looked at."""
    bench = Bench(COUNTER, exemplar="requestId")
    for number in range(MAX_EXEMPLARS // LINES_A_BATCH + 2):
        lines = range(number * LINES_A_BATCH, (number + 1) * LINES_A_BATCH)
        bench.observe(x=[f"v{line % 990}" for line in lines], requestId=[f"r{line}" for line in lines])
        bench.commit()
    bench.observe(x=["late"] * 100, requestId=[f"l{line}" for line in range(100)])
    bench.commit()
    found = _found(bench)
    assert len(found) == 991
    assert found["a_total", "late"][0] == {"requestId": "l99"}


@pytest.mark.parametrize(
    ("field", "name"), [("requestId", "requestId"), ("trace.id", "trace_id"), ("@id", "_id"), ("7id", "_7id")]
)
def test_the_label_is_named_like_the_field(field: str, name: str) -> None:
    """As far as Prometheus allows."""
    assert exemplar_name(field) == name


def test_since_when_a_series_counts_is_shown_if_asked_for() -> None:
    """Behind each series of counters and histograms, in OpenMetrics only; a restart changes nothing."""
    gauge = "  - {name: b, type: gauge, value: v}\n"
    bench = Bench(COUNTER + HISTOGRAM + gauge, shows_created=True)
    bench.observe(x=["a"], v=[1])
    bench.now += 5.25
    bench.observe(x=["b"], v=[1])
    bench.commit()
    bench.now += 100
    bench.restart()
    text = bench.text(Format.OPENMETRICS)
    assert re.findall(r".*_created.*", text) == [
        'a_created{x="a"} 1005.250',
        'a_created{x="b"} 1005.250',
        "a_seconds_created 1005.250",
    ]
    families = {family.name: family for family in parse(text + EOF_LINE)}
    assert len(families["a"].samples) == 4
    assert "_created" not in bench.text(Format.TEXT)
