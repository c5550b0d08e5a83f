"""The HTTP server on real sockets: its answers, its limits, and that no client can keep others from theirs."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any

import pytest

from exporter.births import Scraper
from exporter.listen import parse_listen
from exporter.messages import MAX_HEAD_BYTES, BadRequestError, Response, http_date, parse_head
from exporter.page import page_headers, render_page
from exporter.scrape import ScrapeRequest
from exporter.server import Limits, Server
from exporter.site import ServerHooks, is_own_name
from shipper.errors import ConfigError, InUseError

DEADLINE_SECONDS = 10.0
STATUS: dict[str, Any] = {
    "version": "1.2.3",
    "started": "2024-01-15T10:30:45Z",
    "uptime_seconds": 90.5,
    "output": {"name": "https://es:9200", "is_up": False, "error": "<refused>", "pending": 3, "spooled": 0},
    "sources": [
        {
            "name": "app",
            "files": 2,
            "lines": 1234567,
            "bytes": 98765432,
            "lag_bytes": {"observed": 0, "shipped": 5000},
            "lag_seconds": {"observed": 0, "shipped": 7300.0},
        }
    ],
    "files": [
        {
            "path": "/var/log/<script>.log",
            "source": "app",
            "size": 100,
            "observed": 100,
            "shipped": 40,
            "behind_bytes": {"observed": 0, "shipped": 60},
            "state": "open",
        }
    ],
    "metrics": [{"name": "a_total", "series": 1042, "not_counted": {"missing": 2100, "negative": 1}, "overflow": {}}],
    "totals": {"lines": 1234567, "documents": {"created": 1234000, "dead_letter": 1}},
    "errors": [{"time": "10:30", "message": "a & b"}, "plain"],
    "series": 42,
    "commit_age_seconds": 0.4,
}


@dataclass
class Daemon:
    """Stands for the daemon behind the hooks; what it says can be changed."""

    health: tuple[bool, str] = (True, "")
    readiness: tuple[bool, str] = (True, "")
    is_committed: bool = True
    body: bytes = b"metrics\n"
    on_metrics: Callable[[], object] | None = None
    asked: list[ScrapeRequest] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)

    def hooks(self) -> ServerHooks:
        return ServerHooks(
            metrics=self._metrics,
            healthy=lambda: self.health,
            ready=lambda: self.readiness,
            status=lambda: STATUS,
            committed_recently=lambda: self.is_committed,
        )

    def _metrics(self, request: ScrapeRequest) -> Response:
        self.asked.append(request)
        if self.on_metrics:
            self.on_metrics()
        return Response(body=self.body, content_type=request.form.value, on_sent=lambda: self.sent.append(1))


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


@pytest.fixture
def server(daemon: Daemon) -> Iterator[Server]:
    one = Server(listen="127.0.0.1:0", hooks=daemon.hooks())
    one.start()
    yield one
    one.close()


def _get(server: Server, path: str, method: str = "GET", **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_SECONDS)) as connection:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response, response.read()


def _connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_SECONDS)


def _read_to_end(client: socket.socket) -> bytes:
    data = b""
    while chunk := client.recv(65_536):
        data += chunk
    return data


def _wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def test_a_scrape_is_answered(server: Server, daemon: Daemon) -> None:
    """The hook gets what the request asks for, and hears that the answer was sent."""
    response, body = _get(
        server, "/metrics?collect=rules", user_agent="Prometheus/3", x_prometheus_scrape_timeout_seconds="10"
    )
    assert (response.status, body) == (200, b"metrics\n")
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert daemon.asked == [ScrapeRequest(parts=["rules"], scraper=Scraper("127.0.0.1", "Prometheus/3"))]
    _wait_for(lambda: daemon.sent)


def test_metrics_fail_only_if_the_state_cannot_be_committed(server: Server, daemon: Daemon) -> None:
    """503 then, so that somebody is paged; health and readiness have no part in it."""
    daemon.health = daemon.readiness = (False, "x")
    assert _get(server, "/metrics")[0].status == 200
    daemon.is_committed = False
    assert _get(server, "/metrics")[0].status == 503


def test_health_and_readiness_say_why_not(server: Server, daemon: Daemon) -> None:
    """200 and ok, or 503 and the reason."""
    assert [(r.status, b) for r, b in (_get(server, "/healthz"), _get(server, "/readyz"))] == [(200, b"ok\n")] * 2
    daemon.health = (False, "the pipeline has ended")
    daemon.readiness = (False, "first scan under way")
    assert [(r.status, b) for r, b in (_get(server, "/healthz"), _get(server, "/readyz"))] == [
        (503, b"the pipeline has ended\n"),
        (503, b"first scan under way\n"),
    ]


def test_the_status_is_json(server: Server) -> None:
    """What the hook says comes back as it is."""
    response, body = _get(server, "/status.json")
    assert response.headers["Content-Type"] == "application/json"
    assert json.loads(body) == STATUS


def test_the_page_shows_the_status_escaped(server: Server) -> None:
    """Names and errors appear as text, never as markup, with headers that forbid everything from elsewhere."""
    response, body = _get(server, "/")
    html = body.decode()
    for text in ("1.2.3", "https://es:9200", "&lt;refused&gt;", "/var/log/&lt;script&gt;.log", "1,234,567", "98.8 MB",
                 "5.0 kB, 2 h", "a &amp; b", ">42<", 'class="down"',
                 "<td>a_total</td><td>1,042</td><td>missing 2,100, negative 1</td><td></td>",
                 "<td>all</td><td>40 B</td>"):  # fmt: skip
        assert text in html
    assert "<!--" not in html
    assert "http://" not in html
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_a_page_without_status_still_shows() -> None:
    """Whatever is missing is left out, odd values are shown as text, and markup in them stays text."""
    statuses: list[dict[str, Any]] = [
        {},
        {"output": None, "files": "x", "sources": [{}], "totals": {"lines": "<b>"}, "series": None},
    ]
    for status in statuses:
        html = render_page(status).decode()
        assert "<!--" not in html
        assert "<b>" not in html


def test_a_placeholder_in_a_name_is_not_filled_in() -> None:
    """A file called like a place of the template shows its own name."""
    html = render_page({"version": "<!--files-->", "files": [{"path": "<!--series-->"}], "series": 99}).decode()
    assert "&lt;!--files--&gt;" in html
    assert "&lt;!--series--&gt;" in html


def test_the_policy_allows_the_pages_own_script_and_style() -> None:
    """The hashes are those of the elements as they are served, so that the browser runs them."""
    import base64
    import hashlib

    html = render_page(STATUS).decode()
    for element in ("script", "style"):
        content = html.partition(f"<{element}>")[2].partition(f"</{element}>")[0]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in page_headers()["Content-Security-Policy"]


NAMES = [
    ("127.0.0.1:9640", True),
    ("[::1]:9640", True),
    ("10.1.2.3", True),
    ("localhost:9640", True),
    ("LOCALHOST", True),
    ("app.localhost", True),
    ("shipper:9640", True),
    ("web.example.org:80", True),
    ("Web.Example.Org.", True),
    ("", True),
    ("evil.example.com", False),
    ("127.0.0.1.evil.com", False),
    ("localhost.evil.com:9640", False),
]


@pytest.mark.parametrize(("host", "expected"), NAMES)
def test_the_page_is_for_own_names_only(host: str, expected: bool) -> None:
    """A public name that somebody made to point here is refused."""
    assert is_own_name(host, host_name="web.example.org") is expected


def test_a_foreign_name_is_refused_for_page_and_status_only(server: Server) -> None:
    """Scrapes and probes may come by any name."""
    paths = ["/", "/status.json", "/metrics", "/healthz", "/readyz"]
    statuses = [_get(server, path, host="evil.example.com")[0].status for path in paths]
    assert statuses == [403, 403, 200, 200, 200]


def test_unknown_paths_and_methods_are_refused(server: Server) -> None:
    """404 names what there is; 405 says what is allowed; a body is not taken."""
    response, body = _get(server, "/nothing")
    assert (response.status, b"/metrics" in body) == (404, True)
    response, _ = _get(server, "/metrics", "DELETE")
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")
    assert _get(server, "/metrics?collect=nothing")[0].status == 400
    assert _get(server, "/metrics", "POST", content_length="5")[0].status == 413


def test_head_has_the_headers_and_no_body(server: Server, daemon: Daemon) -> None:
    """The length is that of the GET; a scraper's HEAD is not a scrape."""
    response, body = _get(server, "/metrics", "HEAD", x_prometheus_scrape_timeout_seconds="10")
    assert (response.status, response.headers["Content-Length"], body) == (200, "8", b"")
    assert daemon.asked[0].scraper is None


def test_a_connection_is_kept_for_the_next_request(server: Server) -> None:
    """Several requests, also sent at once, are answered in order over one connection."""
    with closing(_connect(server)) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 2 + b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnec")
        client.sendall(b"tion: close\r\n\r\n")
        data = _read_to_end(client)
    assert re.findall(rb"HTTP/1.1 (\d+)", data) == [b"200", b"200", b"404"]


def test_http_1_0_is_answered_and_closed(server: Server) -> None:
    """Without a Host header and without keep-alive, as old probes do."""
    with closing(_connect(server)) as client:
        client.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert _read_to_end(client).endswith(b"\r\n\r\nok\n")


def test_a_large_answer_arrives_whole(server: Server, daemon: Daemon) -> None:
    """More than the socket takes at once is written bit by bit."""
    daemon.body = b"0123456789abcdef" * 500_000
    assert _get(server, "/metrics")[1] == daemon.body


BAD_HEADS = [
    (b"nonsense", 400),
    (b"GET  /metrics HTTP/1.1", 400),
    (b"GET metrics HTTP/1.1\r\nHost: x", 400),
    (b"GET /metrics HTTP/1.1", 400),
    (b"GET /metrics HTTP/2.0\r\nHost: x", 505),
    (b"G\xffT /metrics HTTP/1.1\r\nHost: x", 400),
    (b"GET /metrics HTTP/1.1\r\nHost: x\r\nHost: y", 400),
    (b"GET /metrics HTTP/1.1\r\nHost: x\r\nno colon", 400),
    (b"GET /metrics HTTP/1.1\r\nHost: x\r\n folded: y", 400),
    (b"GET /metrics HTTP/1.1\r\nHost: x\r\nname : y", 400),
    (b"GET /metrics HTTP/1.1\r\nHost: x\nX: y", 400),
    (b"GET /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked", 413),
    (b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1", 413),
]


@pytest.mark.parametrize(("head", "status"), BAD_HEADS)
def test_a_bad_request_is_refused_and_ends_the_connection(server: Server, head: bytes, status: int) -> None:
    """The answer says so, and nothing after it is read as another request."""
    with pytest.raises(BadRequestError):
        parse_head(head)
    with closing(_connect(server)) as client:
        client.sendall(head + b"\r\n\r\n")
        assert _read_to_end(client).startswith(f"HTTP/1.1 {status} ".encode())


def test_an_endless_head_is_refused(server: Server) -> None:
    """Beyond the limit no more is kept."""
    with closing(_connect(server)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nX: " + b"x" * MAX_HEAD_BYTES)
        assert client.recv(100).startswith(b"HTTP/1.1 431 ")


def _server(daemon: Daemon, **limits: float) -> Server:
    server = Server(listen="127.0.0.1:0", hooks=daemon.hooks(), limits=Limits(**limits))  # type: ignore[arg-type]
    server.start()
    return server


def test_idle_and_slow_clients_do_not_keep_others_waiting(daemon: Daemon) -> None:
    """More silent clients than there are workers, and clients that never take their answer, cost nobody an answer."""
    daemon.body = b"x" * 20_000_000
    with closing(_server(daemon)) as server:
        clients = [_connect(server) for _ in range(40)]
        for client in clients[:20]:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        for client in clients[20:30]:
            client.sendall(b"GET /metr")
        _wait_for(lambda: len(daemon.asked) == 20)
        start = time.monotonic()
        assert _get(server, "/healthz")[0].status == 200
        assert time.monotonic() - start < 2
        for client in clients:
            client.close()


@pytest.mark.parametrize("sent", [b"", b"GET /metr", b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_a_client_that_does_nothing_is_dropped(daemon: Daemon, sent: bytes) -> None:
    """Saying nothing, stopping in the middle, or not taking the answer ends at the deadline."""
    daemon.body = b"x" * 20_000_000
    with (
        closing(_server(daemon, head_seconds=0.1, idle_seconds=0.1, write_seconds=0.1)) as server,
        closing(_connect(server)) as client,
    ):
        client.sendall(sent)
        _wait_for(lambda: not server._connections)
        assert not daemon.sent


def test_the_longest_idle_connection_gives_way(daemon: Daemon) -> None:
    """At the limit of connections a new client is served all the same."""
    with closing(_server(daemon, connections=4)) as server:
        clients = [_connect(server) for _ in range(10)]
        assert _get(server, "/healthz")[0].status == 200
        assert len(server._connections) <= 4
        assert clients[0].recv(1) == b""
        for client in clients:
            client.close()


def test_clients_that_take_no_answer_give_way_too(daemon: Daemon) -> None:
    """As many as there may be connections, each with an answer that it does not read: the oldest of them ends."""
    daemon.body = b"x" * 20_000_000
    with closing(_server(daemon, connections=4)) as server:
        clients = [_connect(server) for _ in range(4)]
        for client in clients:
            client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        _wait_for(lambda: sum(item.response is not None for item in server._connections.copy()) == 4)
        assert _get(server, "/healthz")[0].status == 200
        assert len(server._connections) <= 4
        for client in clients:
            client.close()


def test_a_client_that_goes_away_while_its_answer_is_made(daemon: Daemon) -> None:
    """The answer is dropped, and was not sent."""
    gate = threading.Event()
    daemon.on_metrics = lambda: gate.wait(DEADLINE_SECONDS)
    daemon.body = b"x" * 20_000_000
    with closing(_server(daemon)) as server:
        client = _connect(server)
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        _wait_for(lambda: daemon.asked)
        client.close()
        gate.set()
        _wait_for(lambda: not server._connections)
        assert _get(server, "/healthz")[0].status == 200
    assert not daemon.sent


def test_a_failing_hook_is_a_500_and_no_more(server: Server, daemon: Daemon, caplog: pytest.LogCaptureFixture) -> None:
    """The defect is logged; the next request is answered."""

    def fail() -> None:
        raise RuntimeError("defect")

    daemon.on_metrics = fail
    assert _get(server, "/metrics")[0].status == 500
    assert "defect" in caplog.text
    assert _get(server, "/healthz")[0].status == 200


def test_a_taken_port_is_named(server: Server, daemon: Daemon) -> None:
    """The error says which address is in use."""
    second = Server(listen=f"127.0.0.1:{server.port}", hooks=daemon.hooks())
    with closing(second), pytest.raises(InUseError, match=f"127.0.0.1:{server.port} is in use"):
        second.start()


def test_an_address_that_is_not_ours_cannot_be_bound(daemon: Daemon) -> None:
    """It is a mistake in the configuration."""
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1:9640"):
        Server(listen="192.0.2.1:9640", hooks=daemon.hooks()).start()


def test_ipv6_is_served(daemon: Daemon) -> None:
    """An address in brackets is bound as such."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    server = Server(listen="[::1]:0", hooks=daemon.hooks())
    server.start()
    with closing(server), closing(http.client.HTTPConnection("::1", server.port, timeout=DEADLINE_SECONDS)) as client:
        client.request("GET", "/")
        assert client.getresponse().status == 200


LISTENS = [
    ("127.0.0.1:9640", ("127.0.0.1", 9640)),
    ("[::1]:9640", ("::1", 9640)),
    ("localhost:0", ("localhost", 0)),
    (":9640", ("", 9640)),
]


@pytest.mark.parametrize(("listen", "expected"), LISTENS)
def test_an_address_to_listen_on(listen: str, expected: tuple[str, int]) -> None:
    """Host and port, IPv6 in brackets, every address without a host."""
    assert parse_listen(listen) == expected


@pytest.mark.parametrize(
    "listen", ["", "9640", "host", "host:", "host:x", "host:70000", "::1:9640", "host:-1", "host:\u0661"]
)
def test_an_address_that_cannot_be_listened_on(listen: str) -> None:
    """The message says how it must be written."""
    with pytest.raises(ConfigError, match="HOST:PORT"):
        parse_listen(listen)


def test_close_lets_the_answers_under_way_finish(daemon: Daemon) -> None:
    """An answer that is being made when the server is closed still arrives; then nobody listens."""
    gate = threading.Event()
    daemon.on_metrics = lambda: gate.wait(DEADLINE_SECONDS)
    server = _server(daemon, close_seconds=DEADLINE_SECONDS)
    with closing(_connect(server)) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        _wait_for(lambda: daemon.asked)
        closer = threading.Thread(target=server.close)
        closer.start()
        gate.set()
        assert _read_to_end(client).endswith(b"metrics\n")
        closer.join()
    assert not server.is_alive()
    with pytest.raises(ConnectionRefusedError):
        _connect(server)


@pytest.mark.parametrize(
    "moment", [0.0, 951_827_696.9, 1_705_314_645.0, *(1.7e9 + 31.5 * 86_400 * n for n in range(12))]
)
def test_dates_are_written_as_mail_has_them(moment: float) -> None:
    """Days and months by their English names, the day with two digits."""
    assert formatdate(moment, usegmt=True) == http_date(moment)


def test_the_page_tells_how_far_files_were_read_and_which_are_not() -> None:
    """An offset in a compressed file is no part of its size: `all` is what nothing is behind of."""
    archive = {"path": "/a.gz", "source": "app", "size": 10, "observed": None, "shipped": 70}
    files = [archive | {"behind_bytes": {"observed": 0, "shipped": 10}, "state": "followed"}]
    unread = {
        "unreadable": [{"path": "/b.log", "reason": "Permission denied"}],
        "not_followed": [{"path": "/c.zip", "reason": "an archive"}],
        "files_left_out": 1031,
    }

    html = render_page(STATUS | unread | {"files": files}).decode()

    assert "<td>10 B</td><td>\N{EN DASH}</td><td>70 B</td><td>followed</td>" in html
    assert '<ul id="unread"><li>/b.log: Permission denied</li><li>/c.zip: an archive</li></ul>' in html
    assert "Not shown: 1,031 more." in html
