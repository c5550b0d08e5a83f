"""What `check` says of rules that are right in themselves, from a sample of the lines."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from shipper.cli import main

CONFIG = "sources: [{name: a, paths: [a.log]}]\nmetrics: {rules: [r.yml]}\n"
COUNTER = "name: a_total, type: counter"


def checked(directory: Path, rules: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The report, as programs get it, and its text."""
    (directory / "c.yml").write_text(CONFIG)
    (directory / "r.yml").write_text(f"rules:\n{rules}")
    (directory / "a.log").write_text("".join(json.dumps(line) + "\n" for line in lines))
    arguments = ["check", "-c", str(directory / "c.yml")]
    report: dict[str, Any] = json.loads(CliRunner().invoke(main, [*arguments, "--json"]).output)
    return {**report, "text": CliRunner().invoke(main, arguments).output}


def test_rules_that_no_line_is_about_are_named(tmp_path: Path) -> None:
    """Where a name is misspelled the rule is right in itself, and silent for ever."""
    rules = f"  - {{{COUNTER}, when: evnt == 'x'}}\n  - {{name: b, type: gauge, value: v}}\n"
    report = checked(tmp_path, rules, [{"event": "x", "v": 1}] * 3)
    assert (report["sampled"], report["unused"], report["warnings"]) == (3, ["a_total"], [])
    assert "unused         no line of the sample (3 lines) is about a_total\n" in report["text"]
    assert checked(tmp_path, rules, [])["unused"] == []


def test_lines_that_a_rule_cannot_count_are_warned_of(tmp_path: Path) -> None:
    """With how many, and why."""
    rules = f"  - {{{COUNTER}, when: exists(event), value: ms}}\n"
    lines: list[dict[str, Any]] = [{"event": "x", "ms": "13ms"}, {"event": "x", "ms": 13}, {"event": "x"}, {}]
    place = f"{tmp_path / 'r.yml'}:2: rule a_total cannot count 1 of the 3 lines of the sample that it is about"
    reasons = [f"{place}: {reason}; `shipper explain` shows which" for reason in ("missing", "not_a_number")]
    assert sorted(checked(tmp_path, rules, lines)["warnings"]) == reasons


@pytest.mark.parametrize(
    ("values", "lines", "more", "is_warned"),
    [
        (100, 150, "", True),
        (99, 99, "", False),
        (100, 200, "", False),
        (20, 500, ", max_values: 10", True),
        (10, 500, ", max_values: 10", False),
    ],
)
def test_labels_that_tell_single_lines_apart_are_warned_of(
    tmp_path: Path, values: int, lines: int, more: str, is_warned: bool
) -> None:
    """A hundred, more than one in two lines; or more than the budget has."""
    written = [{"id": f"id-{number % values}", "kind": "k"} for number in range(lines)]
    warnings = checked(tmp_path, f"  - {{{COUNTER}, labels: {{kind: kind, id: id}}{more}}}\n", written)["warnings"]
    assert len(warnings) == is_warned
    if is_warned:
        count = min(values, 11) if more else values
        assert f"the label id has {count} values in {lines} lines of the sample" in warnings[0]


def test_routes_are_left_to_the_suggestions(tmp_path: Path) -> None:
    """Which say what to do about them."""
    rules = f"  - {{{COUNTER}, labels: {{path: route(url), status: statusCode}}}}\n"
    letters = "abcdefghij"
    lines = [{"url": f"/u/{a}{b}", "statusCode": 200} for a in letters for b in letters]
    report = checked(tmp_path, rules, lines)
    assert report["warnings"] == []
    assert report["routes"] == [{"route": "/u/:id", "names": 100}]
