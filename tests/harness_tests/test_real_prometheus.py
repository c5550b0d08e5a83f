"""The Prometheus of the tests scrapes, evaluates and keeps what it is shown."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness.process import DiedError, wait_until
from harness.prometheus import Prometheus, promtool

Start = Callable[..., Prometheus]

EXEMPLAR = '# {request_id="req-1"} 1.0'


class Exporter:
    """A counter that is one higher at each scrape, beginning with 0, and the header lines of the last scrape."""

    def __init__(self) -> None:
        self.scrapes = 0
        self.headers: dict[str, str] = {}
        exporter = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                exporter.headers = {name.lower(): value for name, value in self.headers.items()}
                text = f"# TYPE scrapes counter\nscrapes_total {exporter.scrapes} {EXEMPLAR}\n# EOF\n"
                exporter.scrapes += 1
                self.send_response(200)
                self.send_header("content-type", "application/openmetrics-text; version=1.0.0; charset=utf-8")
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class has it so
                """Nothing on the terminal."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.target = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Refuse connections from now on."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    """Something to scrape, for one test."""
    started = Exporter()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def scraped() -> Iterator[Exporter]:
    """What `scraping` scrapes."""
    started = Exporter()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def scraping(scraped: Exporter, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A server with a target and a rule, for all tests that only look."""
    rules = tmp_path_factory.mktemp("rules") / "rules.yml"
    rules.write_text("groups: [{name: g, rules: [{alert: Scraped, expr: scrapes_total > 0}]}]")
    with Prometheus(targets=[scraped.target], rules=[rules]) as started:
        yield started


def test_every_scrape_is_stored(scraping: Prometheus, scraped: Exporter) -> None:
    """Soon there are several samples, in the order in which they were served; the scraper names its timeout."""
    scraping.wait_for("scrapes_total >= 3")
    (series,) = scraping.raw("scrapes_total[1m]")
    values = [value for _, value in series.points]
    assert values == [float(number) for number in range(len(values))]
    assert series.labels["instance"] == scraped.target
    assert scraped.headers["x-prometheus-scrape-timeout-seconds"] == "1"
    assert [target["health"] for target in scraping.targets()] == ["up"]


def test_queries_are_evaluated(scraping: Prometheus) -> None:
    """An instant query gives samples, one value where there is one series, and Prometheus's message if it is wrong."""
    assert [sample.labels["job"] for sample in scraping.wait_for("up == 1")] == ["test"]
    assert scraping.value("vector(41) + 1") == 42
    assert scraping.value("scalar(vector(7))") == 7
    assert scraping.value("no_such_series") is None
    with pytest.raises(ValueError, match="parse error"):
        scraping.query("sum(")


def test_rules_are_evaluated(scraping: Prometheus) -> None:
    """An alert of a rule file fires, and is visible as Prometheus shows it."""
    wait_until(lambda: bool(scraping.alerts()), what="the alert", timeout_seconds=30)
    assert scraping.alerts()[0]["labels"]["alertname"] == "Scraped"


def test_exemplars_are_kept(scraping: Prometheus) -> None:
    """The exemplar of a counter can be asked for."""
    scraping.wait_for("scrapes_total")
    (found,) = scraping.exemplars("scrapes_total", start=time.time() - 60, end=time.time() + 60)
    assert found["exemplars"][0]["labels"] == {"request_id": "req-1"}


def test_a_target_that_is_gone_is_down(prometheus: Start, exporter: Exporter) -> None:
    """When nobody answers any more, `up` is 0."""
    started = prometheus(targets=[exporter.target])
    started.wait_for("up == 1")
    exporter.stop()
    assert started.wait_for("up == 0")


def test_history_is_there_from_blocks(prometheus: Start, tmp_path: Path) -> None:
    """Blocks that promtool made of OpenMetrics text are queried years later."""
    text = tmp_path / "history.om"
    text.write_text("# TYPE old counter\nold_total 1 1705314645\nold_total 2 1705314660\n# EOF\n")
    done = promtool("tsdb", "create-blocks-from", "openmetrics", text, tmp_path / "blocks")
    assert done.returncode == 0, done.stderr
    started = prometheus(blocks=tmp_path / "blocks")
    assert started.raw("old_total[1m]", 1705314670)[0].points == [(1705314645, 1), (1705314660, 2)]


def test_a_restart_keeps_what_was_stored(prometheus: Start, exporter: Exporter) -> None:
    """After a restart on the same data the earlier samples are still there."""
    started = prometheus(targets=[exporter.target])
    started.wait_for("scrapes_total >= 1")
    url = started.url
    started.restart()
    assert started.url == url
    assert started.raw("scrapes_total[1m]")[0].points[0][1] == 0


def test_a_configuration_can_be_changed_or_refused(prometheus: Start, exporter: Exporter) -> None:
    """A reload takes another target; a wrong configuration is an error with Prometheus's message."""
    started = prometheus()
    job = {"job_name": "new", "scrape_interval": "1s", "scrape_timeout": "1s"}
    started.reload({"scrape_configs": [{**job, "static_configs": [{"targets": [exporter.target]}]}]})
    started.wait_for('up{job="new"} == 1')
    with pytest.raises(ValueError, match="job_nome"):
        started.reload({"scrape_configs": [{"job_nome": "new"}]})


def test_one_that_cannot_start_shows_why() -> None:
    """The error of a wrong configuration carries what Prometheus printed."""
    with pytest.raises(DiedError, match="no_such_key"):
        Prometheus(config={"no_such_key": 1})


def test_promtool_lints() -> None:
    """promtool judges metrics that it is given on its standard input."""
    assert promtool("check", "metrics", stdin=b"# HELP a_total A.\n# TYPE a_total counter\na_total 1\n").returncode == 0
    assert promtool("check", "metrics", stdin=b"# HELP a A.\n# TYPE a counter\na 1\n").returncode != 0
