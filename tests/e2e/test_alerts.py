"""From a line in a log to the person on call: the shipper, Prometheus and Alertmanager, with the files under conf/."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from alerting import CONF, DASHBOARDS, RULE_FILES, TEST_FILES, queries
from command import Running
from documented_lines import documented
from harness.alertmanager import Alertmanager
from harness.process import wait_until
from harness.prometheus import Prometheus, promtool

SHIPPER_CONFIG = f"""
sources:
  - {{name: caredroid, paths: [logs/combined-*.log*]}}
output: {{local: {{directory: shipped}}}}
metrics: {{rules: ["{CONF}/rules/caredroid.yml"]}}
"""
EMERGENCY = {"event": "emergency_detected", "emergencyType": "cardiac", "severity": "critical", "userId": "user-7"}
REQUEST = {"method": "GET", "url": "/api/patients/17", "statusCode": 200, "duration": 12, "userId": "user-7"}


@pytest.fixture
def alertmanager() -> Iterator[Alertmanager]:
    """With the routes of conf/."""
    with Alertmanager(routes=CONF / "alertmanager" / "alertmanager.yml") as started:
        yield started


def started(directory: Path, *lines: dict[str, Any]) -> tuple[Running, Path]:
    """A shipper that counts by CareDroid's rules, and the log that it follows, which begins with these lines."""
    log = directory / "logs" / "combined-2024-01-15.log"
    log.parent.mkdir()
    append(log, *lines)
    config = directory / "shipper.yml"
    config.write_text(SHIPPER_CONFIG)
    return Running("-c", config, directory=directory), log


def append(log: Path, *lines: dict[str, Any]) -> None:
    """What the service writes now."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    with log.open("a") as file:
        file.writelines(json.dumps({"level": "info", **line, "timestamp": now}) + "\n" for line in lines)


def watching(
    running: Running, alertmanager: str = "127.0.0.1:9", rule_files: Sequence[Path] = RULE_FILES
) -> dict[str, Any]:
    """conf/prometheus/prometheus.yml as it is for this test: every second, and at these addresses."""
    return {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(path) for path in rule_files],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
        "scrape_configs": [
            {"job_name": "shipper", "static_configs": [{"targets": [running.url.removeprefix("http://")]}]}
        ],
    }


@pytest.mark.parametrize("path", TEST_FILES, ids=lambda path: path.stem)
def test_alerts_fire_and_stay_silent(path: Path) -> None:
    """promtool evaluates the alerts over given series: they fire with their texts where they must, else they do not."""
    done = promtool("test", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_emergency_in_a_log_reaches_who_is_on_call(
    tmp_path: Path, prometheus: Callable[..., Prometheus], alertmanager: Alertmanager
) -> None:
    """One line fires one alert of all that there are, and Alertmanager sends it, with its texts, where it must go."""
    running, log = started(tmp_path, REQUEST)
    with running:
        server = prometheus(config=watching(running, alertmanager.target))
        append(log, *[REQUEST] * 20)
        server.wait_for('sum(http_requests_total{path="/api/patients/:id"}) == 20')
        assert server.alerts() == []

        append(log, EMERGENCY)
        wait_until(lambda: bool(server.alerts()), what="an alert", timeout_seconds=30)
        (alert,) = server.alerts()
        assert (alert["labels"]["alertname"], alert["state"]) == ("EmergencyDetected", "firing")
        wait_until(lambda: bool(alertmanager.notified("on-call")), what="a notification", timeout_seconds=30)

    (sent,) = alertmanager.notified("on-call")[0]["alerts"]
    assert sent["status"] == "firing"
    assert sent["labels"] == {
        "alertname": "EmergencyDetected",
        "job": "shipper",
        "emergency_type": "cardiac",
        "emergency_severity": "critical",
        "severity": "critical",
    }
    assert sent["annotations"] == {
        "summary": "An emergency was detected.",
        "description": "shipper: cardiac, severity critical, 1 in five minutes.",
        "runbook_url": "docs/runbooks.md#emergencydetected",
    }
    assert alertmanager.notified("channel") == []


def test_the_recipe_of_the_documents_leads_to_an_alert(tmp_path: Path, prometheus: Callable[..., Prometheus]) -> None:
    """With the files and lines of docs/metrics.md as they stand: a quick print is silent, slow ones fire."""
    recipe = (CONF.parent / "docs" / "metrics.md").read_text().partition("## Types\n")[0]
    rules, config, alerts, _ = map(dedent, re.findall(r"```yaml\n(.*?)```", recipe, re.DOTALL))
    quick, slow = re.findall(r"^ +echo '(\{.*\})' >> labels.log$", recipe, re.MULTILINE)
    log = tmp_path / "labels.log"
    for path, text in ((log, ""), (tmp_path / "labels.yml", rules), (tmp_path / "alerts.yml", alerts)):
        path.write_text(text)
    (tmp_path / "shipper.yml").write_text(config)
    with Running("-c", tmp_path / "shipper.yml", directory=tmp_path) as running:
        server = prometheus(config=watching(running, rule_files=[tmp_path / "alerts.yml"]))
        append(log, json.loads(quick))
        server.wait_for("rate(label_print_seconds_count[5m]) > 0")
        assert server.alerts() == []

        append(log, json.loads(slow))
        wait_until(lambda: bool(server.alerts()), what="the alert", timeout_seconds=30)
        (alert,) = server.alerts()
        assert (alert["labels"]["alertname"], alert["state"]) == ("LabelsSlow", "firing")


NEEDS_ANOTHER_OUTPUT = ("shipper_bulk_duration_seconds", "shipper_bulk_retries")
"""Of panels that a local output leaves empty."""


def test_every_panel_of_the_dashboards_shows_something(tmp_path: Path, prometheus: Callable[..., Prometheus]) -> None:
    """With a line of every documented kind, each query of each dashboard finds series in a real Prometheus."""
    rule_files = [tmp_path / f"rules-{path.name}" for path in RULE_FILES]
    for path, copy in zip(RULE_FILES, rule_files, strict=True):
        copy.write_text(re.sub(r"^ +interval: .*$", "", path.read_text(), flags=re.MULTILINE))  # every second as well
    blocks = [shown for shown in documented() if shown.file.endswith("caredroid.yml")]
    lines = [json.loads(line) for shown in blocks for line in shown.lines]
    wanted = [query for path in DASHBOARDS for query in queries(json.loads(path.read_text()))]
    wanted = [query for query in wanted if not any(name in query for name in NEEDS_ANOTHER_OUTPUT)]
    running, log = started(tmp_path, REQUEST)
    with running:
        server = prometheus(config=watching(running, rule_files=rule_files))
        server.wait_for("up == 1")
        append(log, *lines)
        empty = set(wanted)

        def are_all_shown() -> bool:
            empty.difference_update([query for query in empty if server.query(query)])
            return not empty

        try:
            wait_until(are_all_shown, what="every panel", timeout_seconds=40, poll_seconds=1)
        except TimeoutError:
            assert empty == set()
