"""What a line would do to the series of each type of rule, as `shipper explain` says it."""

from __future__ import annotations

from typing import Any

import pytest
from counted import Times

from exporter.effects import Effect, effects_of, fields_behind
from exporter.rules import parse_rules
from shipper.batch import MISSING, Batch, Columns
from shipper.expressions import functions_with
from shipper.route import Router
from shipper.routepatterns import RoutePatterns

CASES: list[tuple[str, dict[str, Any], list[Effect]]] = [
    ("type: counter, labels: {x: x}", {}, [Effect('a_total{x="k"}', "+1")]),
    ("type: counter, value: v", {"v": 2.5}, [Effect("a_total", "+2.5")]),
    ("type: counter, labels: {x: x}, init: [{x: y}, {x: k}]", {}, [Effect('a_total{x="k"}', "+1")]),
    ("type: counter, when: v > 3", {}, []),
    ("type: histogram, value: v, buckets: [1, 2]", {"v": 2}, [Effect("a", "observes 2 (bucket 2.0)")]),
    ("type: histogram, value: v, buckets: [1, 2]", {"v": 2.5}, [Effect("a", "observes 2.5 (bucket +Inf)")]),
    ("type: gauge, value: v", {"v": -7}, [Effect("a", "= -7")]),
    ("type: max, value: v", {"v": 4}, [Effect("a", "at least 4")]),
    ("type: ratio, value: v > 1", {}, [Effect("a", "takes part, true")]),
    ("type: ratio, value: v > 2", {}, [Effect("a", "takes part, false")]),
    ("type: ratio, when: x == 5, value: v > 2", {}, []),
    ("type: distinct, value: v", {}, [Effect("a", "one of the distinct values")]),
    ("type: distinct, value: v", {"v": MISSING}, []),
]


def _batch(**fields: Any) -> Batch:
    values = {"x": "k", "v": 2, "at": 1_000.0, **fields}
    return Batch("s", "p", "i", 0, 1, [b"{}"], [0], columns=Columns((name, [value]) for name, value in values.items()))


@pytest.mark.parametrize(("rule", "fields", "expected"), CASES)
def test_a_line_does_this(rule: str, fields: dict[str, Any], expected: list[Effect]) -> None:
    """By type: what is added, observed, shown, or taken part in; nothing where the rule is not about it."""
    name = "a_total" if "type: counter" in rule else "a"
    rules = parse_rules(f"rules:\n  - {{name: {name}, {rule}}}\n", file="r.yml")
    assert effects_of(rules, _batch(**fields), event_times=Times(), clock=lambda: 1_000.0) == (expected, [])


@pytest.mark.parametrize(
    ("kind", "does"),
    [
        ("gauge, value: v", "= 2; too long ago to be shown now"),
        ("max, value: v", "at least 2; too long ago to be shown now"),
        ("ratio, value: v > 1", "takes part, true; too long ago to be shown now"),
        ("distinct, value: v", "one of the distinct values; too long ago to be shown now"),
        ("histogram, value: v", "observes 2 (bucket 2.0)"),
    ],
)
def test_an_old_line_is_too_old_for_gauges_and_windows(kind: str, does: str) -> None:
    """Which else would be looked for in vain in the exposition."""
    rules = parse_rules(f"rules:\n  - {{name: a, type: {kind}}}\n", file="r.yml")
    assert effects_of(rules, _batch(), event_times=Times(), clock=lambda: 2_000.0).effects == [Effect("a", does)]


@pytest.mark.parametrize(
    ("status", "does"),
    [
        (404, "+1; the path has only been refused: beyond 100 such it is :unmatched"),
        ("403", "+1; the path has only been refused: beyond 100 such it is :unmatched"),
        (200, "+1"),
        (MISSING, "+1"),
    ],
)
def test_a_path_that_was_refused_may_be_unmatched(status: Any, does: str) -> None:
    """Which depends on what came before, and so is no more than said of one line."""
    rule = "{name: a_total, type: counter, labels: {path: route(url), code: status_class(statusCode)}}"
    rules = parse_rules(f"rules:\n  - {rule}\n", file="r.yml")
    found = effects_of(rules, _batch(url="/x/7", statusCode=status), event_times=Times())
    assert [effect.does for effect in found.effects] == [does]


def test_a_path_that_no_written_route_fits_is_shown_as_it_is_counted() -> None:
    """There the line alone decides."""
    functions = functions_with(Router(patterns=RoutePatterns(["/a"])))
    rule = '{name: a_total, type: counter, labels: {path: "route(url, statusCode)"}}'
    rules = parse_rules(f"rules:\n  - {rule}\n", file="r.yml", functions=functions)
    found = effects_of(rules, _batch(url="/x", statusCode=404), event_times=Times())
    assert found.effects == [Effect('a_total{path=":unmatched"}', "+1")]
    found = effects_of(rules, _batch(url="/a", statusCode=404), event_times=Times())
    assert found.effects == [Effect('a_total{path="/a"}', "+1")]


def test_rules_that_cannot_count_the_line_say_why() -> None:
    """With the reason that `shipper_rule_errors_total` would have."""
    rules = parse_rules(
        "rules:\n  - {name: a_seconds, type: histogram, value: v}\n  - {name: b, type: gauge, value: w}\n", file="r.yml"
    )
    found = effects_of(rules, _batch(v="soon", w=MISSING), event_times=Times())
    assert found == ([], [("a_seconds", "not_a_number"), ("b", "missing")])


def test_the_fields_behind_a_value_are_those_of_the_rules_about_the_line() -> None:
    """So that whoever has misspelled one sees which."""
    rules = parse_rules(
        "rules:\n  - {name: a, type: gauge, when: x == 'k', value: v / w.n}\n"
        "  - {name: a, type: gauge, when: x == 'other', value: v + z}\n"
        "  - {name: b, type: ratio, value: v > 1}\n",
        file="r.yml",
    )
    batch = _batch(v="13ms", **{"w.n": MISSING})
    assert fields_behind(rules, "a", batch) == {"v": "13ms", "w.n": MISSING}
    assert fields_behind(rules, "b", batch) == {}
