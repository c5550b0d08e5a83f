"""What Prometheus and Grafana are given under conf/, and the metrics and labels that they may name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from prometheus_client import CollectorRegistry, ProcessCollector
from tools.promql import groupings, made_labels, uses

from exporter.rules import catalogue, load_rules
from shipper.telemetry import Telemetry

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
RULE_FILES = sorted((CONF / "prometheus" / "rules").glob("*.yml"))
TEST_FILES = sorted((CONF / "prometheus" / "tests").glob("*.yml"))
DASHBOARDS = sorted((CONF / "grafana" / "dashboards").glob("*.json"))
TARGET_LABELS = frozenset({"job", "instance"})
"""What Prometheus puts on every series that it scrapes."""
BY_PROMETHEUS: Mapping[str, frozenset[str]] = {"up": TARGET_LABELS}


class PrometheusRule(NamedTuple):
    """A recording or an alerting rule, and the group and file that it stands in."""

    file: str
    group: str
    content: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.content.get("alert") or self.content["record"])

    @property
    def text(self) -> str:
        return str(self.content["expr"])


def _rules() -> Iterator[PrometheusRule]:
    """All rules of all files."""
    for path in RULE_FILES:
        for group in yaml.safe_load(path.read_text())["groups"]:
            for rule in group["rules"]:
                yield PrometheusRule(path.name, group["name"], rule)


RULES = list(_rules())
ALERTS = [rule for rule in RULES if "alert" in rule.content]


@cache
def exported() -> dict[str, frozenset[str]]:
    """Label names by sample: those of the ready rules, of the daemon, of its process, and what Prometheus adds."""
    found = dict(BY_PROMETHEUS)
    for path in (CONF / "rules").iterdir():
        for name, labels in catalogue(load_rules([path])).items():
            found[name] = found.get(name, frozenset()) | TARGET_LABELS | frozenset(labels)
    registry = CollectorRegistry()
    telemetry = Telemetry(registry=registry)
    for metric in vars(telemetry).values():
        if names := getattr(metric, "_labelnames", ()):  # a labelled metric has no sample before its first label set
            metric.labels(*names)
    telemetry.dead_letter_records.set_function(lambda: {"reason": 1})
    for family in (*registry.collect(), *ProcessCollector(registry=None).collect()):
        for sample in family.samples:
            found[sample.name] = TARGET_LABELS | frozenset(sample.labels)
    return found


@cache
def known() -> dict[str, frozenset[str]]:
    """The same and what the recording rules make of it."""
    found = dict(exported())
    for rule in RULES:
        if "record" in rule.content:
            labels = groupings(rule.text) | frozenset(rule.content.get("labels", ()))
            inherited = (found[use.metric] for use in uses(rule.text) if ":" in use.metric)
            found[rule.name] = found.get(rule.name, frozenset()) | labels.union(*inherited) - {"le"}
    return found


def labels_of(rule: PrometheusRule) -> frozenset[str]:
    """All labels that the metrics of a rule have, or that it makes."""
    return made_labels(rule.text).union(*(known()[use.metric] for use in uses(rule.text)))


def queries(dashboard: Mapping[str, Any]) -> list[str]:
    """The expressions of a dashboard's panels, its variables filled in."""
    variables = {"$__rate_interval": "1m", '"$job"': '".+"', '"$instance"': '".+"'}
    found = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    for name, value in variables.items():
        found = [expression.replace(name, value) for expression in found]
    return found
