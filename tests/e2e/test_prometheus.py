"""What a real Prometheus, and two of them as a pair, add up is the number of lines that were written."""

from __future__ import annotations

import json
import signal
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from command import Running
from harness.process import free_port, wait_until
from harness.prometheus import Prometheus, Series
from harness.sink import Sink

Start = Callable[..., Prometheus]
Labels = tuple[str, str, str]
NAME = "http_requests_total"


def increase(series: Series) -> float:
    """The positive differences of raw samples, from 0 after a reset. (`increase()` itself extrapolates.)"""
    values = [value for _, value in series.points]
    return sum(after - before if after >= before else after for before, after in pairwise(values))


def increases(server: Prometheus, name: str = NAME) -> dict[Labels, float]:
    """By label set."""
    return {
        (series.labels["method"], series.labels["path"], series.labels["status"]): increase(series)
        for series in server.raw(f"{name}[1h]")
    }


class Story:
    """A daemon that is killed and started again on one port, the lines that are written meanwhile, and who scrapes."""

    def __init__(self, directory: Path, sink: Sink) -> None:
        self._directory = directory
        self.port = free_port()
        self.written: Counter[Labels] = Counter()
        self.log = directory / "logs/app.log"
        self.log.parent.mkdir()
        self.log.touch()
        self.config = directory / "shipper.yml"
        self.config.write_text(
            "state: state\nsources: [{name: app, paths: [logs/app.log*]}]\n"
            f"metrics: {{listen: 127.0.0.1:{self.port}}}\n"
            f"output: {{elasticsearch: {{hosts: [{sink.url}]}}}}\n"
        )

    def start(self, **environ: str) -> Running:
        return Running(
            "-c",
            self.config,
            "--listen",
            f"127.0.0.1:{self.port}",
            directory=self._directory,
            is_ready=False,
            **environ,
        )

    def write(self, count: int, path: str = "/api/patients/{}", *, status: int = 200, method: str = "GET") -> None:
        label = path.replace("{}", ":id")
        with self.log.open("a") as file:
            for _ in range(count):
                number = self.written.total()
                fields = {"method": method, "url": path.format(number), "statusCode": status, "duration": number % 3000}
                file.write(json.dumps({"requestId": f"req-{number}", **fields}) + "\n")
                self.written[method, label, str(status)] += 1

    def rotate(self) -> None:
        self.log.rename(self.log.with_name("app.log.1"))
        self.log.touch()

    def pair(self, prometheus: Start) -> list[Prometheus]:
        """Two servers behind one address, so each has a name."""
        return [prometheus(config=self._scrape_config(name)) for name in ("a", "b")]

    def _scrape_config(self, name: str) -> dict[str, object]:
        targets = [{"targets": [f"127.0.0.1:{self.port}"]}]
        job = {"job_name": "shipper", "params": {"scraper": [name]}, "static_configs": targets}
        return {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": [job]}

    def wait_for_all(self, server: Prometheus) -> None:
        """Until a server has seen as many as were written."""
        for (method, path, status), count in self.written.items():
            selector = f'{NAME}{{method="{method}",path="{path}",status="{status}"}}'
            server.wait_for(f"{selector} >= {count}", timeout_seconds=60)


@pytest.fixture
def story(tmp_path: Path, sink: Sink) -> Story:
    """One whose output is down all the time."""
    sink.down()
    return Story(tmp_path, sink)


def test_a_pair_adds_up_exactly_the_lines_through_everything(story: Story, prometheus: Start) -> None:
    """kill -9, a rotation, a reload, crashes before, within and after a commit; the output down all the time.

    Old label sets go on, and new ones appear in every phase; each of both servers must miss none and count none twice.
    """
    shipper = story.start()
    servers = story.pair(prometheus)
    try:
        for server in servers:
            server.wait_for("up == 1")
        story.write(50)
        story.write(3, "/first", status=500)
        servers[0].wait_for(NAME)
        story.write(20)
        story.write(2, "/killed")
        shipper.kill()

        story.write(40)
        story.write(4, "/while/down", method="PUT")
        for place in ("state.before_commit:4", "state.in_commit:4", "state.after_commit:4"):
            shipper = story.start(SHIPPER_FAILPOINT=place)
            name = f"/{place.partition('.')[2].partition('_')[0]}"
            while _is_there(shipper):
                story.write(1, name, status=201)
                story.write(1)
            shipper.kill()
            story.write(5)
            if place.startswith("state.in_commit"):
                story.rotate()

        shipper = story.start()
        shipper.wait_ready()
        story.write(30)
        story.write(1, "/last/before/reload")
        story.config.write_text(story.config.read_text() + "tags: {slow: duration > 1}\n")
        shipper.signal(signal.SIGHUP)
        story.write(30)
        story.write(1, "/during/reload")
        shipper.wait_for(lambda: "configuration reloaded" in shipper.log, "the reload")
        story.write(6, "/after/reload")
        for server in servers:
            story.wait_for_all(server)
            assert increases(server) == dict(story.written)
            assert {series.points[0][1] for series in server.raw(f"{NAME}[1h]")} == {0}
            histogram = increases(server, "http_request_duration_seconds_count")
            assert histogram == dict(story.written)
        assert shipper.metric("shipper_output_up") == 0
    finally:
        shipper.kill()


def _is_there(shipper: Running) -> bool:
    """False once it has ended; looks a few times a second, so that lines come while it lives."""
    try:
        wait_until(lambda: shipper.has_ended, what="its end", timeout_seconds=0.3)
    except TimeoutError:
        return True
    return False


def test_exemplars_lead_from_a_bucket_to_a_line(story: Story, prometheus: Start) -> None:
    """Prometheus keeps the request id that was in the log; what redaction takes out never gets there."""
    with story.start() as shipper:
        (server, _) = story.pair(prometheus)
        server.wait_for("up == 1")
        story.write(5)
        with story.log.open("a") as file:
            file.write(
                '{"method":"GET","url":"/x","statusCode":200,"requestId":"Bearer abcdefghijklmnopqrstuvwxyz012345"}\n'
            )
        story.wait_for_all(server)
        server.wait_for(f'{NAME}{{path="/x"}} == 1')
        found = server.exemplars(NAME, start=0, end=4e9)
        ids = {item["seriesLabels"]["path"]: item["exemplars"][-1]["labels"] for item in found}
        assert ids["/api/patients/:id"] == {"requestId": "req-4"}
        assert "abcdefghijklmnop" not in json.dumps(found)
        assert shipper.stop() == 0


def test_windows_and_gauges_are_read_as_gauges(story: Story, prometheus: Start, tmp_path: Path) -> None:
    """The four types that are about the last minutes arrive; they survive kill -9."""
    (tmp_path / "own.yml").write_text(
        "rules:\n"
        "  - {name: pool_used, type: gauge, value: used}\n"
        "  - {name: good_share, type: ratio, when: exists(statusCode), value: statusCode < 500}\n"
        "  - {name: active_users, type: distinct, value: userId}\n"
        "  - {name: slowest_seconds, type: max, value: duration / 1000, unit: seconds}\n"
    )
    text = story.config.read_text().replace("metrics: {", f"metrics: {{rules: [{tmp_path}/own.yml], ")
    story.config.write_text(text)
    server = prometheus(targets=[f"127.0.0.1:{story.port}"])
    expected = {"pool_used": 7, "good_share": 0.75, "active_users": 2, "slowest_seconds": 2.5}
    shipper = story.start()
    shipper.wait_ready()
    with story.log.open("a") as file:
        for user, status, duration in (("ann", 200, 10), ("bob", 503, 2500), ("ann", 200, 20), (None, 404, 30)):
            file.write(json.dumps({"userId": user, "statusCode": status, "duration": duration, "used": 7}) + "\n")
    for name, value in expected.items():
        server.wait_for(f"{name} == {value}")
    shipper.kill()
    with story.start() as again:
        again.wait_ready()
        assert {name: again.metric(name) for name in expected} == expected
        assert again.stop() == 0
