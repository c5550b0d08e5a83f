"""The dashboards under conf/: whole, readable, and about what is exported."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from alerting import CONF, DASHBOARDS, ROOT, known, queries
from harness.prometheus import promtool
from tools.promql import groupings, uses


def load(path: Path) -> dict[str, Any]:
    """A dashboard."""
    loaded = json.loads(path.read_text())
    assert isinstance(loaded, dict)
    return loaded


def panels(path: Path) -> Iterator[dict[str, Any]]:
    """Its panels, without the rows."""
    return (panel for panel in load(path)["panels"] if panel["type"] != "row")


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_names_only_what_is_exported(path: Path) -> None:
    """Each metric exists and has the labels that are asked of it, or that it is grouped by."""
    for query in queries(load(path)):
        found = list(uses(query))
        assert found
        assert [use.metric for use in found if use.metric not in known()] == [], query
        assert [use for use in found if not use.labels <= known()[use.metric]] == [], query
        assert groupings(query) <= frozenset().union(*(known()[use.metric] for use in found)), query


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_promtool_can_read_its_queries(path: Path, tmp_path: Path) -> None:
    """Every expression is PromQL."""
    rules = [{"record": f"r{number}", "expr": query} for number, query in enumerate(queries(load(path)))]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": rules}]}))
    done = promtool("check", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_each_panel_says_what_it_shows(path: Path) -> None:
    """A title, a sentence, a unit, a legend, the chosen data source and job; numbers that are its own."""
    for panel in panels(path):
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"]
        for target in panel["targets"]:
            assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            assert target["legendFormat"]
            assert 'job=~"$job"' in target["expr"]
    numbers = [panel["id"] for panel in load(path)["panels"]]
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_do_not_overlap(path: Path) -> None:
    """Each has its own place within the 24 columns."""
    places = [panel["gridPos"] for panel in load(path)["panels"]]
    assert [place for place in places if place["x"] + place["w"] > 24] == []
    for one, other in combinations(places, 2):
        is_beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        is_below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert is_beside or is_below, (one, other)


def test_dashboards_are_told_apart() -> None:
    """The uid, by which links find one, is the name of the file, and no user may change what is provisioned."""
    assert {path.stem: load(path)["uid"] for path in DASHBOARDS} == {"service": "service", "shipper": "shipper"}
    assert [path for path in DASHBOARDS if load(path)["editable"]] == []


def test_grafana_finds_them() -> None:
    """The compose stack mounts the dashboards where the provisioning looks for them."""
    provisioning = CONF / "grafana" / "provisioning" / "dashboards" / "dashboards.yml"
    (provider,) = yaml.safe_load(provisioning.read_text())["providers"]
    volumes = yaml.safe_load((ROOT / "docker" / "compose.yml").read_text())["services"]["grafana"]["volumes"]
    assert f"../conf/grafana/dashboards:{provider['options']['path']}:ro" in volumes
    assert "../conf/grafana/provisioning/dashboards:/etc/grafana/provisioning/dashboards:ro" in volumes
