"""Routes that could be written down: which, from how many names, and from which lines they are made."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from shipper.check import Report, check
from shipper.cli import main
from shipper.config import CommandLine, load
from shipper.routing import functions_of
from shipper.settings import MetricsSettings, Settings
from shipper.suggest import SAMPLE_BYTES, Seen, Suggestion, suggested

LETTERS = "abcdefghij"
WORDS = [first + second for first in LETTERS for second in LETTERS]
"""A hundred."""


def below(names: list[str], form: str, lines: int = 1) -> dict[str, int]:
    return {form.format(name): lines for name in names}


CASES = [
    pytest.param({}, [], id="no lines"),
    pytest.param(below(WORDS[:20], "/u/{}"), [Suggestion("/u/:id", 20)], id="few names that do not come again"),
    pytest.param(below(WORDS[:19], "/u/{}"), [], id="too few"),
    pytest.param(below(WORDS[:20], "/u/{}", 3), [], id="few names that come again are pages"),
    pytest.param(below(WORDS, "/u/{}", 9), [Suggestion("/u/:id", 100)], id="many names that come again"),
    pytest.param(below(WORDS[:99], "/u/{}", 9), [], id="not as many"),
    pytest.param(
        {**below(WORDS, "/u/{}"), **below(WORDS, "/u/{}/orders", 2), "/u/:id/orders": 50, "/health": 900},
        [Suggestion("/u/:id/orders", 100), Suggestion("/u/:id", 100)],
        id="what lies below the names, of most lines first",
    ),
    pytest.param(
        {**below(WORDS, "/u/{}"), "/u/login": 50, "/u/logout": 9},
        [Suggestion("/u/:id", 101), Suggestion("/u/login", 0)],
        id="a page among names",
    ),
    pytest.param(
        {f"/u/{first}/f/{second}": 1 for first in WORDS for second in WORDS},
        [Suggestion("/u/:id/f/:id", 100)],
        id="names below names",
    ),
    pytest.param(below(WORDS, "/{}"), [Suggestion("/:id", 100)], id="at the top"),
    pytest.param(below([f":{word}" for word in WORDS], "/u/{}"), [], id="what patterns have made"),
    pytest.param(below(WORDS, "/a/b/c/d/e/f/g/h/i/{}/*"), [], id="deeper than patterns reach"),
    pytest.param({":unmatched": 500, "": 500}, [], id="what has no route"),
    pytest.param(below(WORDS, "/{}/x:y/*z"), [], id="names that mean something in patterns"),
]


@pytest.mark.parametrize(("routes", "expected"), CASES)
def test_many_names_in_one_place_are_one_route(routes: dict[str, int], expected: list[Suggestion]) -> None:
    """Where they are too many to be pages; those of most lines first."""
    assert expected == suggested({Seen(route, is_refused=False): lines for route, lines in routes.items()})


CONFIG = "sources: [{name: a, paths: ['*.log', '*.gz']}]\n"


def checked(directory: Path, config: str = CONFIG) -> Report:
    """What `shipper check` finds in this directory."""
    (directory / "c.yml").write_text(config)
    report = check(load(directory / "c.yml", environ={}, command_line=CommandLine(directory=directory)), ping=None)
    assert report.problems == []
    return report


def suggested_by_check(directory: Path, config: str = CONFIG) -> list[Suggestion]:
    """What it suggests."""
    return checked(directory, config).routes


def requests(urls: Iterable[str], **more: Any) -> str:
    """Lines about requests, two rules of which the default ones count."""
    fields = {"method": "GET", "statusCode": 200, "duration": 1, **more}
    return "".join(json.dumps({**fields, "url": url}) + "\n" for url in urls)


PER_CLINIC = below(WORDS, "/clinics/{}/orders?page=1")


def test_the_sample_is_what_the_rules_would_count(tmp_path: Path) -> None:
    """The same lines in two rules are the same lines; those that none counts, and what was not found, are left out."""
    (tmp_path / "a.log").write_text(
        requests(below(WORDS[:20], "/u/{}"))
        + requests(below(WORDS, "/scanner/{}"), statusCode=404)
        + requests(below(WORDS, "/page/{}"), method=None)
        + "no JSON\n"
        + requests(["/u/17", "/u/login"] * 30)
    )
    assert suggested_by_check(tmp_path) == [Suggestion("/u/:id", 20), Suggestion("/u/login", 0)]


@pytest.mark.parametrize("status", [404, 401])
def test_paths_that_scanners_ask_for_are_warned_of(tmp_path: Path, status: int) -> None:
    """A hundred that were only ever refused take the places of labels, and none is a route to write down."""
    (tmp_path / "a.log").write_text(
        requests(below(WORDS, "/{}.php"), statusCode=status)
        + requests(["/patients/17", "/aa.php"], statusCode=status)
        + requests(["/patients/18"])
    )
    report = checked(tmp_path)
    (warning,) = report.warnings
    assert warning.startswith("100 paths were only ever refused (4xx): a tenth of a label's max_values may be such, ")
    assert report.routes == []


def test_what_was_not_found_beside_written_routes_is_one_label(tmp_path: Path) -> None:
    """And few paths are no noise."""
    (tmp_path / "a.log").write_text(requests(below(WORDS, "/{}.php"), statusCode=404))
    assert checked(tmp_path, CONFIG + "metrics: {routes: [/patients/:id]}\n").warnings == []
    (tmp_path / "a.log").write_text(requests(below(WORDS[1:], "/{}.php"), statusCode=404))
    assert checked(tmp_path).warnings == []


def test_what_is_suggested_makes_one_label(tmp_path: Path) -> None:
    """And is suggested no more; the text of `check` can be copied."""
    (tmp_path / "a.log").write_text(requests(PER_CLINIC))
    assert suggested_by_check(tmp_path) == [Suggestion("/clinics/:id/orders", 100)]
    taken = CONFIG + "metrics: {routes: [/clinics/:id/orders]}\n"
    assert suggested_by_check(tmp_path, taken) == []
    route = functions_of(Settings(sources=(), metrics=MetricsSettings(routes=("/clinics/:id/orders",))))["route"]
    assert route.column is not None
    assert set(route.column(list(PER_CLINIC))) == {"/clinics/:id/orders"}


def test_compressed_and_damaged_files_are_sampled_as_far_as_they_go(tmp_path: Path) -> None:
    """Damage behind the sample, or in it, is no reason to say nothing."""
    packed = gzip.compress(requests(PER_CLINIC).encode())
    (tmp_path / "a.gz").write_bytes(packed + gzip.compress(requests(PER_CLINIC).encode())[:-9] + b"\xff" * 9)
    assert suggested_by_check(tmp_path) == [Suggestion("/clinics/:id/orders", 100)]


def test_the_sample_is_the_beginning_of_the_newest_files(tmp_path: Path) -> None:
    """Three of a source, a megabyte in all: `check` takes no longer for more."""
    (tmp_path / "old.log").write_text(requests(PER_CLINIC))
    os.utime(tmp_path / "old.log", (0, 0))
    for name in ("b.log", "c.log", "d.log"):
        (tmp_path / name).write_text(requests(["/health"]))
    assert suggested_by_check(tmp_path) == []
    (tmp_path / "d.log").write_text(requests(["/health"], filler="x" * 1000) * (SAMPLE_BYTES // 1000))
    with (tmp_path / "d.log").open("a") as file:
        file.write(requests(PER_CLINIC))
    assert suggested_by_check(tmp_path) == []


def test_only_sources_that_feed_a_rule_are_sampled(tmp_path: Path) -> None:
    """By the source's `metrics` and the rule's `source`."""
    (tmp_path / "a.log").write_text(requests(PER_CLINIC))
    assert suggested_by_check(tmp_path, "sources: [{name: a, paths: ['*.log'], metrics: false}]\n") == []
    (tmp_path / "r.yml").write_text("rules: [{name: x_total, type: counter, labels: {path: route(url)}, source: b}]\n")
    sources = "sources: [{name: a, paths: [a.log]}, {name: b, paths: [b.log]}]\nmetrics: {rules: [r.yml]}\n"
    assert suggested_by_check(tmp_path, sources) == []
    (tmp_path / "a.log").rename(tmp_path / "b.log")
    assert suggested_by_check(tmp_path, sources) == [Suggestion("/clinics/:id/orders", 100)]


def test_check_prints_suggestions(tmp_path: Path) -> None:
    """For people with the reason, for programs as objects; no name that is rare is shown."""
    (tmp_path / "a.log").write_text(requests(PER_CLINIC) + requests(["/clinics/new/orders"] * 30))
    text = CliRunner().invoke(main, ["check", str(tmp_path / "a.log"), "--output", str(tmp_path / "out")]).output
    assert [line for line in text.splitlines() if line.startswith("suggestion")] == [
        "suggestion     metrics.routes: /clinics/:id/orders (100 names, one label)",
        "suggestion     metrics.routes: /clinics/new/orders (a page among names: keeps its label)",
    ]
    arguments = ["check", str(tmp_path / "a.log"), "--output", str(tmp_path / "out"), "--json"]
    assert json.loads(CliRunner().invoke(main, arguments).output)["routes"] == [
        {"route": "/clinics/:id/orders", "names": 100},
        {"route": "/clinics/new/orders", "names": 0},
    ]
