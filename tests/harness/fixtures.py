"""Pytest fixtures for the real counterparts, loaded by `tests/conftest.py`; each is started at its first use.

What is missing on this machine skips its tests, and the end of the run says loudly how many; where the environment
variable `CI` is set it fails them, but for what is excused (servers that need a JDK 21 where there is none).
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from harness.flavours import FLAVOURS
from harness.missing import MissingError
from harness.prometheus import Prometheus
from harness.servers import Remote, Server
from harness.sink import Sink
from harness.winston import WinstonWriter

_MISSED = "missed"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    """A fixture that raises MissingError skips the test, or fails it in CI."""
    try:
        return (yield)
    except MissingError as error:
        _absent(item, error)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """The same for a test that raises it itself."""
    try:
        return (yield)
    except MissingError as error:
        _absent(item, error)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what was not tested for want of a counterpart; the reports may come from other processes."""
    reports = [report for kind in ("skipped", "failed", "error") for report in terminalreporter.getreports(kind)]
    missed = Counter(reason for report in reports for name, reason in _properties(report) if name == _MISSED)
    if missed:
        terminalreporter.section("NOT TESTED, counterparts are missing here", sep="!", red=True, bold=True)
        for reason, count in missed.most_common():
            terminalreporter.line(f"{count} tests: {reason}", red=True)


def _properties(report: object) -> list[tuple[str, object]]:
    """Those of a report; one about a file that cannot be imported has none."""
    return getattr(report, "user_properties", [])


def _absent(item: pytest.Item, error: MissingError) -> None:
    item.user_properties.append((_MISSED, error.reason))
    if os.environ.get("CI", "").lower() not in ("", "0", "false") and not error.is_excused:
        pytest.fail(f"a CI run must have it: {error.reason}", pytrace=False)
    pytest.skip(error.reason)


class Servers:
    """The servers that the tests share, by flavour, until the run ends. A test that kills one uses `start_server`."""

    def __init__(self) -> None:
        self.started: dict[str, Remote] = {}

    def get(self, flavour: str) -> Remote:
        """Return the shared server, started at the first call; `ES_URL` names one that stands for `elasticsearch-8`."""
        if flavour not in self.started:
            self.started[flavour] = _external(flavour) or Server(flavour)
        return self.started[flavour]

    def stop(self) -> None:
        """End them all."""
        for server in self.started.values():
            server.stop()


def _external(flavour: str) -> Remote | None:
    url = os.environ.get("ES_URL")
    if flavour != "elasticsearch-8" or not url:
        return None
    ca_file = os.environ.get("ES_CA_FILE")
    return Remote(url, flavour=flavour, ca_file=Path(ca_file) if ca_file else None)


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """All shared servers."""
    shared = Servers()
    yield shared
    shared.stop()


@pytest.fixture(scope="session")
def elasticsearch(servers: Servers) -> Remote:
    """Elasticsearch 8.19, plain HTTP, no security; the server of `ES_URL` if that is set."""
    return servers.get("elasticsearch-8")


@pytest.fixture(scope="session")
def elasticsearch_secure(servers: Servers) -> Remote:
    """Elasticsearch 8.19 with TLS, users, roles and API keys."""
    return servers.get("elasticsearch-8-secure")


@pytest.fixture(scope="session")
def elasticsearch_old(servers: Servers) -> Remote:
    """Elasticsearch 8.14, plain HTTP: refuses what came later, such as unknown parameters and index settings."""
    return servers.get("elasticsearch-8.14")


@pytest.fixture(scope="session")
def elasticsearch9(servers: Servers) -> Remote:
    """Elasticsearch 9.5, plain HTTP; needs a JDK 21."""
    return servers.get("elasticsearch-9")


@pytest.fixture(scope="session")
def opensearch(servers: Servers) -> Remote:
    """OpenSearch 2.19, plain HTTP."""
    return servers.get("opensearch-2")


@pytest.fixture(scope="session")
def opensearch3(servers: Servers) -> Remote:
    """OpenSearch 3.8, plain HTTP; needs a JDK 21."""
    return servers.get("opensearch-3")


@pytest.fixture(params=list(FLAVOURS))
def any_server(request: pytest.FixtureRequest, servers: Servers) -> Remote:
    """Each of the shared servers in turn."""
    return servers.get(request.param)


@pytest.fixture
def start_server() -> Iterator[Callable[..., Server]]:
    """Start servers for this test alone: `start_server("elasticsearch-8", extra_settings={…})`; for those who kill."""
    started: list[Server] = []

    def start(flavour: str, **options: object) -> Server:
        started.append(Server(flavour, **options))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def index_prefix(request: pytest.FixtureRequest, servers: Servers) -> Iterator[str]:
    """A prefix for this test's indices, templates and pipelines; all shared servers delete them afterwards.

    A test that makes data streams starts a server of its own: Elasticsearch's nodes here cannot delete them.
    """
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:60]
    prefix = f"{name}-{os.urandom(3).hex()}-"
    yield prefix
    for server in servers.started.values():
        server.delete_all(prefix)


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A bulk sink of its own for one test, keeping its documents, without faults."""
    with Sink(seed=1) as started:
        yield started


@pytest.fixture
def winston(tmp_path: Path) -> Iterator[Callable[..., WinstonWriter]]:
    """Start real Winston writers, such as `winston(lines=5000, max_size="64k")`, into `tmp_path / "logs"`."""
    started: list[WinstonWriter] = []

    def start(directory: Path = tmp_path / "logs", **options: object) -> WinstonWriter:
        started.append(WinstonWriter(directory, **options))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for writer in started:
        writer.kill()


@pytest.fixture
def prometheus() -> Iterator[Callable[..., Prometheus]]:
    """Start real Prometheus servers: `prometheus(targets=["127.0.0.1:9640"])`."""
    started: list[Prometheus] = []

    def start(**options: object) -> Prometheus:
        started.append(Prometheus(**options))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for server in started:
        server.stop()
