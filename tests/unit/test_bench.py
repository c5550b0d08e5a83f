"""What the benches decide by: held against the recorded run, delays, and places in the document."""

from __future__ import annotations

import pytest
from bench import gate
from bench.__main__ import hold
from bench.gate import recorded_for, records, worse
from bench.latency import delays_of
from bench.measure import Cost
from bench.replay import Run, verdict
from bench.report import DOCUMENT, as_markdown, as_text, between
from bench.throughput import AS_IT_COMES, BASE, CASES, QUICK, Result, Table, reached


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ({"a": [4.0]}, []),
        ({"a": [9.0, 5.2, 6.0]}, []),
        ({"a": [5.3, 9.0]}, ["a: 5.30 times the reference loop at best, 4.00 was recorded"]),
        ({"b": [99.0]}, []),
    ],
    ids=["equal", "one round within the tolerance", "every round worse", "not recorded"],
)
def test_a_run_is_held_against_the_recorded_ratios(now: dict[str, list[float]], expected: list[str]) -> None:
    assert expected == worse(now, {"a": 4.0})


def test_every_case_of_a_quick_run_is_recorded_for_every_processor() -> None:
    for ratios in records().values():
        assert {case.title for case in QUICK} == set(ratios)


def test_a_processor_without_a_record_is_held_against_the_greatest_of_all() -> None:
    known = {"one": {"a": 2.0, "b": 5.0}, "two": {"a": 3.0}}

    assert {"a": 2.0, "b": 5.0} == recorded_for("one", known)
    assert {"a": 3.0, "b": 5.0} == recorded_for("three", known)


def _table(*ratios: float) -> Table:
    return Table([Result(BASE, ratios=[*ratios])], [1.0])


def test_a_disturbed_run_is_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "records", lambda: {"any": {BASE.title: 3.0}})
    later = iter([_table(5.0), _table(3.5)])

    hold(_table(4.5, 4.2), lambda: next(later))

    assert [] == list(later)


def test_a_run_that_stays_worse_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(gate, "records", lambda: {"any": {BASE.title: 3.0}})

    with pytest.raises(SystemExit) as ended:
        hold(_table(4.5), lambda: _table(4.0))

    assert 1 == ended.value.code
    assert (
        "worse: whole pipeline: 4.00 times the reference loop at best, 3.00 was recorded\n" == capsys.readouterr().err
    )


def test_a_delay_ends_with_the_first_sample_that_has_all_lines() -> None:
    written = [(10.0, 5), (10.1, 10)]
    seen = [(10.05, 0), (10.5, 5), (11.0, 9), (11.1, 12)]

    assert [0.5, pytest.approx(1.0)] == delays_of(written, seen)


def test_a_line_that_never_arrives_is_said() -> None:
    with pytest.raises(RuntimeError, match="line 10 did not arrive; the last sample has 9"):
        delays_of([(10.0, 10)], [(11.0, 9)])


def test_a_goal_is_answered_in_its_own_terms() -> None:
    def result(goal: str, cpu: float, wall: float) -> Result:
        made = Result(BASE._replace(goal=goal))
        made.note(Cost(cpu, wall, 50.0), lines=1_000_000, reference=1.0)
        return made

    base = result("at most 4.5", 4.0, 8.0)

    assert "4.00" == reached(base, base=base)
    assert "0.50 more" == reached(result("at most 1.0 more", 4.5, 8.0), base=base)
    assert "1.50 times" == reached(result("at most 2 times", 6.0, 8.0), base=base)
    assert "2.00 times" == reached(result("wall time 1.25 times better", 4.0, 4.0), base=base)


def test_both_cores_are_held_against_one_and_all_else_against_the_first() -> None:
    """The same case on one core; another case is no measure of what a second core gives."""
    results = [
        Result(case, cpu_seconds=[number + 4.0], wall_seconds=[number + 8.0], peaks_mb=[50.0], ratios=[1.0])
        for number, case in enumerate(CASES)
    ]
    goals = {row[0]: row[-1] for row in Table(results, [1.0]).rows()}
    places = {case.title: place for place, case in enumerate(CASES)}
    assert goals["with gzip"].endswith(f"{places['with gzip']:.2f} more")
    for alone, title in (("with gzip", "with gzip"), (AS_IT_COMES.title, "as it comes")):
        one, both = places[alone], places[f"{title}, on both cores"]
        assert goals[f"{title}, on both cores"].endswith(f"{(one + 8) / (both + 8):.2f} times")


def test_wall_times_are_compared_within_a_round() -> None:
    """A round in which everything takes twice as long says as much as another."""
    alone, both = Result(BASE), Result(BASE._replace(goal="wall time 1.25 times better", is_pinned=False))
    for pace, wall in ((1.0, 3.0), (2.0, 6.0), (1.0, 4.0)):
        alone.note(Cost(4.0, 6.0 * pace, 50.0), lines=1_000_000, reference=1.0)
        both.note(Cost(4.0, wall, 50.0), lines=1_000_000, reference=1.0)

    assert "2.00 times" == reached(both, base=alone)


def test_titles_of_cases_are_unique() -> None:
    assert len(CASES) == len({case.title for case in CASES})


@pytest.mark.parametrize("name", ["throughput", "standing", "peers", "losses"])
def test_the_document_has_a_place_for_each_table(name: str) -> None:
    text = between(DOCUMENT.read_text(), name, "what was measured")

    assert f"<!-- {name}: measured -->\n\nwhat was measured\n\n<!-- {name}: end -->" in text


def test_a_document_without_a_place_is_refused() -> None:
    with pytest.raises(ValueError, match="has no place for throughput"):
        between("nothing here", "throughput", "")


def test_a_table_is_the_same_in_both_forms() -> None:
    head, rows = ("", "seconds"), [("gzip", "5.25"), ("none", "4")]

    assert "      seconds\ngzip     5.25\nnone        4" == as_text(head, rows)
    assert "|  | seconds |\n| --- | --- |\n| gzip | 5.25 |\n| none | 4 |" == as_markdown(head, rows)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (
            Run(5.0, 6.0, 70, 1.0),
            [
                "two workers are 1.25 times as fast as one",
                "they take 0.83 times its CPU seconds",
                (
                    "one, with the sink, keeps 1.40 cores busy: with these CPU seconds, 2 cores that never idle "
                    "would make two 1.67 times as fast"
                ),
            ],
        ),
        (
            Run(8.0, 5.0, 70, 1.0),
            ["two workers are 2.00 times as fast as one", "they take 1.00 times its CPU seconds"],
        ),
    ],
    ids=["busy", "idle"],
)
def test_two_workers_are_judged_by_what_one_leaves_of_the_cores(one: Run, expected: list[str]) -> None:
    assert expected == verdict(one, Run(4.0, 5.0, 60, 1.0), cores=2)
