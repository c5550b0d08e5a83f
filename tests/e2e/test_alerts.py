"""From a line in a log to the person on call: the shipper, Prometheus and Alertmanager, with the files under conf/."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from command import Running
from harness.alertmanager import Alertmanager
from harness.process import wait_until
from harness.prometheus import Prometheus, promtool

CONF = Path(__file__).parents[2] / "conf"
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


def append(log: Path, *lines: dict[str, Any]) -> None:
    """What the service writes now."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    with log.open("a") as file:
        file.writelines(json.dumps({"timestamp": now, "level": "info", **line}) + "\n" for line in lines)


def watching(running: Running, alertmanager: Alertmanager) -> dict[str, Any]:
    """conf/prometheus/prometheus.yml as it is for this test: every second, and at these addresses."""
    return {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(path) for path in sorted((CONF / "prometheus" / "rules").glob("*.yml"))],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager.target]}]}]},
        "scrape_configs": [
            {"job_name": "shipper", "static_configs": [{"targets": [running.url.removeprefix("http://")]}]}
        ],
    }


@pytest.mark.parametrize("path", sorted((CONF / "prometheus" / "tests").glob("*.yml")), ids=lambda path: path.stem)
def test_alerts_fire_and_stay_silent(path: Path) -> None:
    """promtool evaluates the alerts over given series: they fire with their texts where they must, else they do not."""
    done = promtool("test", "rules", path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_emergency_in_a_log_reaches_who_is_on_call(
    tmp_path: Path, prometheus: Callable[..., Prometheus], alertmanager: Alertmanager
) -> None:
    """One line fires one alert of all that there are, and Alertmanager sends it, with its texts, where it must go."""
    log = tmp_path / "logs" / "combined-2024-01-15.log"
    log.parent.mkdir()
    append(log, REQUEST)
    config = tmp_path / "shipper.yml"
    config.write_text(SHIPPER_CONFIG)
    with Running("-c", config, directory=tmp_path) as running:
        server = prometheus(config=watching(running, alertmanager))
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
