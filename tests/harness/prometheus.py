"""A real Prometheus that scrapes what a test serves, and promtool. Both are found on PATH, never installed from here.

Debian and Ubuntu: `apt-get install --no-install-recommends prometheus`, as root; where systemd runs, that starts a
service of its own, which `systemctl disable --now prometheus` ends.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from harness.calls import call
from harness.missing import MissingError, tool
from harness.process import Counterpart, DiedError, Process, free_port, scratch, wait_until

_HINT = "Debian and Ubuntu: apt-get install --no-install-recommends prometheus"


class Sample(NamedTuple):
    """One value of an instant query."""

    labels: dict[str, str]
    value: float
    time: float


class Series(NamedTuple):
    """The samples of one series as they were stored: (time, value), seconds since 1970."""

    labels: dict[str, str]
    points: list[tuple[float, float]]


def missing() -> str | None:
    """Return why Prometheus or promtool cannot be had here, or None."""
    try:
        for name in ("prometheus", "promtool"):
            tool(name, _HINT)
    except MissingError as error:
        return error.reason
    return None


def promtool(*arguments: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
    """Return what promtool did with these arguments: `returncode`, `stdout`, `stderr`."""
    command = [tool("promtool", _HINT), *map(str, arguments)]
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=300, check=False)
    return subprocess.CompletedProcess(command, done.returncode, done.stdout.decode(), done.stderr.decode())


class Prometheus(Counterpart):
    """A server: started by the constructor, ready when that returns, ended by `stop()` and its data with it.

    It scrapes `targets` ("host:port") every second, or does what `config` says, a configuration as a mapping. `rules`
    are rule files, evaluated every second; `blocks` a directory of TSDB blocks that it begins with. It keeps all
    history. Its own first look at its targets comes 5 seconds after the start; that is not to be configured.
    """

    def __init__(
        self,
        *,
        targets: Sequence[str] = (),
        config: Mapping[str, Any] | None = None,
        rules: Sequence[Path] = (),
        blocks: Path | None = None,
        scrape_interval: str = "1s",
    ) -> None:
        self._program = tool("prometheus", _HINT)
        self._directory = root = scratch("prometheus")
        if blocks is not None:
            shutil.copytree(blocks, root / "data")
        settings = config or {
            "global": {
                "scrape_interval": scrape_interval,
                "scrape_timeout": scrape_interval,
                "evaluation_interval": "1s",
            },
            "scrape_configs": [{"job_name": "test", "static_configs": [{"targets": list(targets)}]}],
            "rule_files": [str(path.resolve()) for path in rules],
        }
        self._config = root / "prometheus.yml"
        self._config.write_text(json.dumps(settings))  # JSON is YAML
        self._port = free_port()
        self._process = self._started()

    @property
    def url(self) -> str:
        """Where its API and its pages are."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def stop(self) -> None:
        """End it and delete its data; may be repeated."""
        self._process.stop()
        shutil.rmtree(self._directory, ignore_errors=True)

    def restart(self) -> None:
        """End it and start it again on the same port and data, as after a deployment of its own."""
        self._process.stop()
        self._process = self._started()

    def reload(self, config: Mapping[str, Any]) -> None:
        """Put another configuration in force; raise ValueError with Prometheus's message if it refuses it."""
        self._config.write_text(json.dumps(config))
        status, answer = call(self.url, "POST", "/-/reload")
        if status != 200:
            raise ValueError(f"reload: {status} {answer}")

    def query(self, expression: str, *, time: float | None = None) -> list[Sample]:
        """Return the value of each series of an instant query, now or at a time; a scalar has no labels."""
        data = self._query(expression, time)
        if data["resultType"] == "scalar":
            return [Sample({}, float(data["result"][1]), data["result"][0])]
        return [Sample(row["metric"], float(row["value"][1]), row["value"][0]) for row in data["result"]]

    def value(self, expression: str, *, time: float | None = None) -> float | None:
        """Return the value of a query that has one series, None if it has none; raise ValueError if it has more."""
        found = self.query(expression, time=time)
        if len(found) > 1:
            raise ValueError(f"{expression}: {len(found)} series")
        return found[0].value if found else None

    def raw(self, selector: str, time: float | None = None) -> list[Series]:
        """Return the stored samples of a range selector such as `http_requests_total[5m]`, up to now or to a time."""
        rows = self._query(selector, time)["result"]
        return [Series(row["metric"], [(at, float(value)) for at, value in row["values"]]) for row in rows]

    def exemplars(self, expression: str, *, start: float, end: float) -> list[dict[str, Any]]:
        """Return `{"seriesLabels", "exemplars"}` of the series in the expression, between two times."""
        found: list[dict[str, Any]] = self._get("query_exemplars", query=expression, start=str(start), end=str(end))
        return found

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that are pending or firing."""
        found: list[dict[str, Any]] = self._get("alerts")["alerts"]
        return found

    def targets(self) -> list[dict[str, Any]]:
        """Return what it scrapes, with `health` and `lastError`."""
        found: list[dict[str, Any]] = self._get("targets")["activeTargets"]
        return found

    def wait_for(self, expression: str, *, timeout_seconds: float = 30.0) -> list[Sample]:
        """Return the samples of a query such as `up == 1` once it has any; raise TimeoutError if that takes longer."""
        found: list[Sample] = []

        def has_any() -> bool:
            found[:] = self.query(expression)
            return bool(found)

        wait_until(has_any, what=expression, timeout_seconds=timeout_seconds, poll_seconds=0.1)
        return found

    def _query(self, expression: str, time: float | None) -> dict[str, Any]:
        at = {} if time is None else {"time": str(time)}
        data: dict[str, Any] = self._get("query", query=expression, **at)
        return data

    def _get(self, what: str, **parameters: str) -> Any:
        status, answer = call(self.url, "GET", f"/api/v1/{what}?{urllib.parse.urlencode(parameters)}")
        if status != 200:
            raise ValueError(f"{what} {parameters}: {status} {answer}")
        return answer["data"]

    def _started(self) -> Process:
        root = self._directory
        guard = shutil.which("setpriv")  # it does not watch its standard input as our own children do
        process = Process(
            [
                *([guard, "--pdeathsig", "TERM"] if guard else []),
                self._program,
                f"--config.file={self._config}",
                f"--storage.tsdb.path={root / 'data'}",
                "--storage.tsdb.retention.time=100y",
                f"--web.listen-address=127.0.0.1:{self._port}",
                "--web.enable-lifecycle",
                "--enable-feature=exemplar-storage",
            ],
            log=root / "log",
        )
        try:
            wait_until(_is_ready(process, self.url), what="Prometheus is ready", timeout_seconds=60)
        except (DiedError, TimeoutError):
            process.kill()
            shutil.rmtree(root, ignore_errors=True)
            raise
        return process


def _is_ready(process: Process, url: str) -> Callable[[], bool]:
    def is_ready() -> bool:
        if process.returncode is not None:
            raise DiedError(f"Prometheus ended with status {process.returncode}\n{process.output()[-4000:]}")
        try:
            return call(url, "GET", "/-/ready")[0] == 200
        except OSError:
            return False

    return is_ready
