"""Alerts under conf/: promtool and amtool accept them, they name only what is exported, and each has its runbook."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from alerting import ALERTS, CONF, ROOT, RULE_FILES, RULES, TEST_FILES, PrometheusRule, known, labels_of
from harness.alertmanager import HINT
from harness.missing import tool
from harness.prometheus import promtool
from tools.promql import groupings, uses

ALERTMANAGER = CONF / "alertmanager" / "alertmanager.yml"
SEVERITIES = {"critical", "warning", "info"}


NAMES = sorted({alert.name for alert in ALERTS})


@cache
def alert_cases() -> list[dict[str, Any]]:
    """What the files of promtool's tests expect of alerts."""
    tests = [test for path in TEST_FILES for test in yaml.safe_load(path.read_text())["tests"]]
    return [case for test in tests for case in test["alert_rule_test"]]


def test_promtool_accepts_the_configuration_and_its_rules() -> None:
    """The real Prometheus reads prometheus.yml, and through it every rule file."""
    done = promtool("check", "config", CONF / "prometheus" / "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"SUCCESS: {len(RULE_FILES)} rule files found" in done.stdout


def test_promtool_has_no_complaint_about_the_rules() -> None:
    """No duplicates, nothing that its linter warns of."""
    done = promtool("check", "rules", "--lint=all", "--lint-fatal", *RULE_FILES)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_rules_mean_the_same_to_prometheus_2_and_3(rule: PrometheusRule) -> None:
    """They use no function that 3 has under another name, and no range of less than four scrapes: 3 leaves out what
    lies at its left end."""
    assert not re.search(r"\b(holt_winters|double_exponential_smoothing)\b", rule.text)
    minutes = {"m": 1, "h": 60, "d": 1440, "w": 10080}
    ranges = [int(number) * minutes[unit] for number, unit in re.findall(r"\[([0-9]+)([mhdw])\]", rule.text)]
    assert all(minutes >= 1 for minutes in ranges), "four scrapes of 15 s"


@pytest.mark.parametrize("name", NAMES)
def test_each_alert_has_a_case_that_fires_and_one_that_does_not(name: str) -> None:
    """No alert is without both; of one with several windows, each fires in some case."""
    cases = [case for case in alert_cases() if case["alertname"] == name]
    fired = [alert["exp_labels"] for case in cases for alert in case["exp_alerts"]]
    assert any(not case["exp_alerts"] for case in cases)
    for alert in ALERTS:
        if alert.name == name:
            assert any(alert.content["labels"].items() <= labels.items() for labels in fired), alert.content["labels"]


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.stem)
def test_what_is_recorded_is_there_before_it_is_asked_for(path: Path) -> None:
    """promtool evaluates groups in random order, but for those that the test's file puts in one: a group that takes
    what another records must stand behind it, or the alert comes an interval late now and then."""
    content = yaml.safe_load(path.read_text())
    files = {Path(name).name for name in content["rule_files"]}
    loaded = [rule for rule in RULES if rule.file in files]
    recorded_in = {rule.name: rule.group for rule in loaded if "record" in rule.content}
    order = content.get("group_eval_order", [])
    pairs = {
        (recorded_in[use.metric], rule.group) for rule in loaded for use in uses(rule.text) if use.metric in recorded_in
    }
    late = [
        (first, then) for first, then in sorted(pairs) if first != then and order.index(first) >= _place(order, then)
    ]
    assert late == []


def _place(order: list[str], group: str) -> int:
    """Where promtool evaluates a group; -1 where anywhere."""
    return order.index(group) if group in order else -1


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: f"{rule.file}-{rule.name}")
def test_rules_name_only_what_is_exported(rule: PrometheusRule) -> None:
    """Each metric comes from a ready rule, the daemon or a recording rule, and has the labels that are asked of it."""
    found = list(uses(rule.text))
    unknown = [use.metric for use in found if use.metric not in known()]
    assert unknown == []
    assert [use for use in found if not use.labels <= known()[use.metric]] == []
    assert groupings(rule.text) <= labels_of(rule)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: f"{alert.name}-{alert.content['labels']}")
def test_an_alert_says_what_it_must(alert: PrometheusRule) -> None:
    """A severity, a sentence, the value, a runbook; its texts use only labels that the alert can have."""
    labels, texts = alert.content["labels"], alert.content["annotations"]
    assert labels["severity"] in SEVERITIES
    assert {"summary", "description", "runbook_url"} == set(texts)
    assert texts["summary"].endswith(".")
    assert "$value" not in str(labels)
    assert "$value" in texts["description"]
    assert set(re.findall(r"\$labels\.(\w+)", texts["description"])) <= labels_of(alert)
    assert texts["runbook_url"] == f"docs/runbooks.md#{alert.name.lower()}"


def test_there_are_more_than_twenty_alerts() -> None:
    """The service's alone are more than twenty, and the shipper has its own."""
    by_file = {path.name: {alert.name for alert in ALERTS if alert.file == path.name} for path in RULE_FILES}
    assert len(by_file["caredroid.yml"]) >= 20
    assert len(by_file["shipper.yml"]) >= 15


def test_each_alert_has_its_runbook_and_each_runbook_its_alert() -> None:
    """docs/runbooks.md has a section a alert, and no section of an alert that is gone."""
    text = (ROOT / "docs" / "runbooks.md").read_text()
    assert sorted(re.findall(r"^### (.+)$", text, flags=re.MULTILINE)) == NAMES


def test_the_runbooks_say_what_to_do() -> None:
    """Each section has the four parts, and every link within the document leads to a heading."""
    text = (ROOT / "docs" / "runbooks.md").read_text()
    for section in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        words = re.findall(r"\*\*([^*]+)\.\*\*", section)
        parts = {part.strip().capitalize() for word in words for part in word.split(",")}
        assert {"Means", "Look", "Cause", "Mend"} <= parts, section[:40]
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors


def runbook_queries() -> list[str]:
    """The queries of docs/runbooks.md: rows of their own, and texts in backquotes."""
    text = (ROOT / "docs" / "runbooks.md").read_text()
    rows = re.findall(r"^    (.+)$", text, flags=re.MULTILINE)
    found = [row.strip() for row in rows if re.match(r"\w+(\(| by|\{)", row)]
    found += re.findall(r"`((?:sum|topk|histogram_quantile|rate|deriv|[a-z_:]+\{|shipper_)[^`]*)`", text)
    return [query for query in found if "METRIC" not in query]


def test_the_runbooks_queries_are_good(tmp_path: Path) -> None:
    """Each query that is shown names only what is exported, and promtool can read it."""
    queries = runbook_queries()
    assert len(queries) >= 30
    unknown = [use.metric for query in queries for use in uses(query) if use.metric not in known()]
    assert unknown == []
    recorded = [{"record": f"r{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": recorded}]}))
    done = promtool("check", "rules", file)
    assert done.returncode == 0, done.stdout + done.stderr


def amtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    """What amtool did with these arguments."""
    return subprocess.run([tool("amtool", HINT), *arguments], capture_output=True, text=True, timeout=60, check=False)


def test_amtool_accepts_the_routes() -> None:
    """The real Alertmanager reads alertmanager.yml."""
    done = amtool("check-config", str(ALERTMANAGER))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 receivers" in done.stdout


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        (("severity=critical", "alertname=HighErrorRate"), "on-call"),
        (("severity=critical", "alertname=EmergencyDetected"), "on-call"),
        (("severity=warning", "alertname=HighLatency"), "channel"),
        (("severity=info", "alertname=CacheMisses"), "mailbox"),
        (("alertname=SomebodyElses",), "channel"),
    ],
)
def test_alerts_reach_whom_they_must(labels: tuple[str, ...], receiver: str) -> None:
    """Critical ones wake somebody, others do not, and one without a severity is not lost."""
    options = (f"--config.file={ALERTMANAGER}", f"--verify.receivers={receiver}")
    done = amtool("config", "routes", "test", *options, *labels)
    assert (done.returncode, done.stdout.strip()) == (0, receiver), done.stderr


def test_receivers_are_email_slack_and_pagerduty() -> None:
    """Each of the three is used, on call by two ways."""
    receivers = {receiver["name"]: receiver.keys() - {"name"} for receiver in alertmanager()["receivers"]}
    assert receivers == {
        "on-call": {"pagerduty_configs", "slack_configs"},
        "channel": {"slack_configs"},
        "mailbox": {"email_configs"},
    }


def test_no_secret_stands_in_the_routes() -> None:
    """Every secret is read from a file."""
    pattern = r"^\s*(?:- )?(\w*(?:password|api_url|routing_key|secret)\w*):"
    secrets = re.findall(pattern, ALERTMANAGER.read_text(), flags=re.MULTILINE)
    assert secrets
    assert [name for name in secrets if not name.endswith("_file")] == []


def test_inhibition_names_alerts_that_exist() -> None:
    """Both sides of each rule are alerts of ours, and what must be equal is a label of both."""
    for rule in alertmanager()["inhibit_rules"]:
        for side in (rule["source_matchers"], rule["target_matchers"]):
            (matched,) = re.findall(r'alertname=~?"([^"]+)"', str(side))
            for name in matched.split("|"):
                alerts = [alert for alert in ALERTS if alert.name == name]
                assert alerts, name
                assert set(rule["equal"]) <= labels_of(alerts[0]), (name, rule["equal"])


def alertmanager() -> dict[str, Any]:
    """alertmanager.yml."""
    loaded = yaml.safe_load(ALERTMANAGER.read_text())
    assert isinstance(loaded, dict)
    return loaded
