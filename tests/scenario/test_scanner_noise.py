"""A scanner asks for thousands of paths that are not there, before the service's own come: real routes have labels."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from command import Running

from exporter.families import OTHER, UNPROVEN_SHARE
from exporter.rule import BUDGETS, RuleType
from shipper.expressions import UNMATCHED

MAX_VALUES = BUDGETS[RuleType.COUNTER].max_values
NAME = "http_requests_total"
LETTERS = "abcdefghij"
WORDS = [first + second + third for first in LETTERS for second in LETTERS for third in LETTERS]
NOISE = [f"/{word}/{kind}" for word in WORDS for kind in ("login.php", ".env", "admin")]
ROUTES = [f"/api/{word}" for word in WORDS[:500]]


def _write(log: Path, urls: Iterable[str], status: int) -> None:
    with log.open("a") as file:
        file.writelines(json.dumps({"method": "GET", "url": url, "statusCode": status}) + "\n" for url in urls)


def _labelled(running: Running, urls: Iterable[str], status: int) -> int:
    text = running.get("/metrics?collect=rules")[1]
    return sum(f'{NAME}{{method="GET",path="{url}",status="{status}"}} ' in text for url in urls)


def test_real_routes_have_their_labels_beside_a_scanner(tmp_path: Path) -> None:
    """With the default rules and no routes written down; also after a kill -9, when the scanner comes again."""
    log = tmp_path / "app.log"
    log.touch()
    arguments = (log, "--output", "out", "--state", "state")
    with Running(*arguments, directory=tmp_path) as running:
        _write(log, NOISE, 404)
        running.wait_for(lambda: running.metric(NAME) == len(NOISE), "the noise")
        _write(log, ROUTES, 200)
        running.wait_for(lambda: running.metric(NAME) == len(NOISE) + len(ROUTES), "the routes")
        assert _labelled(running, ROUTES, 200) == len(ROUTES)
        assert _labelled(running, NOISE, 404) == MAX_VALUES // UNPROVEN_SHARE
    with Running(*arguments, directory=tmp_path) as running:
        _write(log, (f"{url}.bak" for url in NOISE), 404)
        _write(log, (f"{url}/list" for url in ROUTES[:300]), 200)
        _write(log, ROUTES, 404)
        lines = 2 * len(NOISE) + 2 * len(ROUTES) + 300
        running.wait_for(lambda: running.metric(NAME) == lines, "what came after the restart")
        assert _labelled(running, (f"{url}/list" for url in ROUTES[:300]), 200) == 300
        assert _labelled(running, ROUTES, 404) == len(ROUTES)
        assert running.metric(NAME, path=UNMATCHED) == 2 * len(NOISE) - MAX_VALUES // UNPROVEN_SHARE
        assert running.metric(NAME, path=OTHER) == running.metric("shipper_label_overflow_total") == 0
