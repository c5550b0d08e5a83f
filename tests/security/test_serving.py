"""Page and metrics behind a web config, on real sockets: TLS, logins, client certificates, limits, changed files."""

from __future__ import annotations

import base64
import contextlib
import http.client
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import bcrypt
import pytest
import trustme
from harness.process import wait_until
from harness.prometheus import Prometheus

from exporter.guard import Guard
from exporter.messages import Request, Response
from exporter.scrape import ScrapeRequest
from exporter.server import Limits, Server
from exporter.site import ServerHooks
from shipper.errors import ConfigError

DEADLINE_SECONDS = 10.0
SECRET = "correct horse"
HASHED = bcrypt.hashpw(SECRET.encode(), bcrypt.gensalt(4)).decode()
LOGIN = "Basic " + base64.b64encode(f"prometheus:{SECRET}".encode()).decode()
WRONG = "Basic " + base64.b64encode(b"prometheus:battery staple").decode()
STRANGER = "Basic " + base64.b64encode(f"nobody:{SECRET}".encode()).decode()
TLS = "tls_server_config: {cert_file: web.crt, key_file: web.key%s}\n"
USERS = f"basic_auth_users: {{prometheus: {HASHED}}}\n"


class Clock:
    """A time that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Site:
    """A server with a web config in `directory`, and an authority that signs for it."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self.authority = trustme.CA()
        self.clock = Clock()
        self.scraped = 0
        self.body = b"lines_total 7\n"
        self.health = (True, "fine")
        self._stack = stack
        self.renew()
        self.authority.cert_pem.write_to_path(directory / "ca.pem")

    def renew(self) -> bytes:
        """Puts another certificate in place; returns it as DER."""
        certificate = self.authority.issue_cert("localhost", "127.0.0.1")
        for path, pem in (("web.crt", certificate.cert_chain_pems[0]), ("web.key", certificate.private_key_pem)):
            pem.write_to_path(self.directory / f"{path}.new")
            (self.directory / f"{path}.new").replace(self.directory / path)
        return ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())

    def write(self, text: str) -> Path:
        """Puts another web config in place."""
        path = self.directory / "web.yml"
        (self.directory / "web.yml.new").write_text(text)
        (self.directory / "web.yml.new").replace(path)
        return path

    def start(self, text: str, **limits: Any) -> Server:
        guard = Guard(path=self.write(text), clock=self.clock)
        self.server = Server(listen="127.0.0.1:0", hooks=self._hooks(), guard=guard, limits=Limits(**limits))
        self.server.start()
        self._stack.callback(self.server.close)
        return self.server

    def _hooks(self) -> ServerHooks:
        return ServerHooks(
            metrics=self._metrics,
            healthy=lambda: self.health,
            ready=lambda: (True, "ready: /var/lib/shipper"),
            status=dict,
            committed_recently=lambda: True,
        )

    def _metrics(self, request: ScrapeRequest) -> Response:
        self.scraped += 1
        return Response(body=self.body, content_type=request.form.value)

    def trusting(self, client: trustme.LeafCert | None = None) -> ssl.SSLContext:
        """What a client has that trusts the authority."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        if client is not None:
            client.configure_cert(context)
        return context

    def connect(self, context: ssl.SSLContext | None = None) -> http.client.HTTPConnection:
        if context is None:
            return http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=DEADLINE_SECONDS)
        return http.client.HTTPSConnection("localhost", self.server.port, timeout=DEADLINE_SECONDS, context=context)

    def get(self, path: str = "/metrics", login: str = "", context: ssl.SSLContext | None = None) -> tuple[int, bytes]:
        response, body = self.ask(path, login, context)
        return response.status, body

    def ask(
        self, path: str, login: str = "", context: ssl.SSLContext | None = None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        with closing(self.connect(context)) as connection:
            connection.request("GET", path, headers={"Authorization": login} if login else {})
            response = connection.getresponse()
            return response, response.read()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(tmp_path, stack)


def _wait_for(condition: Callable[[], object]) -> None:
    wait_until(lambda: bool(condition()), what="the condition", timeout_seconds=DEADLINE_SECONDS, poll_seconds=0.005)


# TLS ----------------------------------------------------------------------------------------------------------------


def test_a_scrape_over_tls(site: Site) -> None:
    """A client that trusts the authority gets its answer; large ones and several on one connection, too."""
    server = site.start(TLS % "")
    site.body = b"0123456789abcdef" * 300_000
    assert server.scheme == "https"
    with closing(site.connect(site.trusting())) as connection:
        for _ in range(3):
            connection.request("GET", "/metrics")
            assert connection.getresponse().read() == site.body


def test_a_client_without_trust_ends_the_handshake_and_no_more(site: Site) -> None:
    """The next one is served."""
    site.start(TLS % "")
    with pytest.raises(ssl.SSLCertVerificationError):
        site.get(context=ssl.create_default_context())
    assert site.get(context=site.trusting())[0] == 200


def test_plain_http_to_a_tls_port_is_told(site: Site) -> None:
    """Whoever forgot the s reads it."""
    site.start(TLS % "")
    assert site.get() == (400, b"this port speaks HTTPS\n")


def test_what_is_no_tls_ends_the_connection(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Bytes of any kind where a handshake is due."""
    caplog.set_level(logging.INFO)
    server = site.start(TLS % "")
    for data in (b"\0" * 50, b"\x16\x03\x01\xff\xff" + b"x" * 100, b"\xff" * 5):
        with closing(socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_SECONDS)) as client:
            client.sendall(data)
            with contextlib.suppress(OSError):  # the server may be gone already
                client.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                while client.recv(1000):
                    pass
    assert "no TLS with 127.0.0.1" in caplog.text
    assert site.get(context=site.trusting())[0] == 200


def test_who_tries_again_and_again_does_not_fill_the_log(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """A handshake that fails is told once a minute for each client and reason."""
    caplog.set_level(logging.INFO)
    site.start(TLS % "")
    for _ in range(5):
        assert site.get() == (400, b"this port speaks HTTPS\n")
    with pytest.raises(ssl.SSLCertVerificationError):
        site.get(context=ssl.create_default_context())
    assert site.get(context=site.trusting())[0] == 200
    assert [text.count("HTTP_REQUEST") for text in caplog.messages] == [1, 0]


def test_a_probe_of_the_port_is_not_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """Load balancers connect and go away every second."""
    caplog.set_level(logging.INFO)
    server = site.start(TLS % "")
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_SECONDS)) as client:
        client.shutdown(socket.SHUT_WR)
        while client.recv(1000):
            pass
    assert "no TLS" not in caplog.text


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"])
def test_clients_that_never_shake_hands_keep_nobody_waiting(site: Site, sent: bytes) -> None:
    """More of them than there are workers: a scrape over TLS is answered meanwhile, and they are dropped in time."""
    server = site.start(TLS % "", head_seconds=1.5)
    silent = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(40)]
    for client in silent:
        client.sendall(sent)
    _wait_for(lambda: len(server._connections) == 40)
    assert site.get(context=site.trusting())[0] == 200
    _wait_for(lambda: not server._connections)
    for client in silent:
        client.close()


def test_versions_and_suites_are_those_of_the_file(site: Site) -> None:
    """Nothing below TLS 1.2 by default; what the file forbids is not served."""
    site.start(TLS % ", max_version: TLS12, cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]")
    with closing(site.connect(site.trusting())) as connection:
        connection.connect()
        assert isinstance(connection.sock, ssl.SSLSocket)
        assert connection.sock.cipher() == ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLSv1.2", 256)
    newer = site.trusting()
    newer.minimum_version = ssl.TLSVersion.TLSv1_3
    with pytest.raises(ssl.SSLError):
        site.get(context=newer)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_no_tls_below_1_2(site: Site) -> None:
    """Even a client that would is refused."""
    site.start(TLS % "")
    old = site.trusting()
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError):
        site.get(context=old)


# Client certificates ------------------------------------------------------------------------------------------------

CLIENTS = [
    ("RequireAndVerifyClientCert", "ours", True),
    ("RequireAndVerifyClientCert", "theirs", False),
    ("RequireAndVerifyClientCert", "none", False),
    ("VerifyClientCertIfGiven", "ours", True),
    ("VerifyClientCertIfGiven", "theirs", False),
    ("VerifyClientCertIfGiven", "none", True),
    ("RequestClientCert", "ours", True),
    ("RequestClientCert", "theirs", True),
    ("RequestClientCert", "none", True),
]


@pytest.mark.parametrize(("kind", "who", "is_served"), CLIENTS)
def test_client_certificates(site: Site, kind: str, who: str, is_served: bool) -> None:
    """Each type takes whom exporter-toolkit's takes."""
    site.start(TLS % f", client_ca_file: ca.pem, client_auth_type: {kind}")
    clients = {"ours": site.authority, "theirs": trustme.CA()}
    client = clients[who].issue_cert("prometheus.example.org") if who in clients else None
    if is_served:
        assert site.get(context=site.trusting(client))[0] == 200
    else:
        with pytest.raises(OSError, match=r"(?i)certificate|unknown ca|reset|eof|closed"):
            site.get(context=site.trusting(client))
    assert site.scraped == int(is_served)


def test_only_clients_whose_name_is_allowed(site: Site) -> None:
    """A certificate of the same authority with another name is sent away."""
    only = ", client_ca_file: ca.pem, client_auth_type: RequireAndVerifyClientCert, client_allowed_sans: [10.1.2.3]"
    site.start(TLS % only)
    assert site.get(context=site.trusting(site.authority.issue_cert("a", "10.1.2.3")))[0] == 200
    with pytest.raises((OSError, http.client.RemoteDisconnected)):
        site.get(context=site.trusting(site.authority.issue_cert("10.1.2.3.example.org")))
    assert site.scraped == 1


# Logins -------------------------------------------------------------------------------------------------------------


def test_only_those_who_log_in_are_answered(site: Site) -> None:
    """Metrics, page, status and paths that are not there; with a wrong password, user or scheme, or none: 401."""
    site.start(USERS)
    for login in ("", WRONG, STRANGER, "Bearer x", "Basic !", f"Digest {LOGIN}"):
        for path in ("/metrics", "/", "/status.json", "/nothing"):
            response, body = site.ask(path, login)
            assert (response.status, body) == (401, b"user and password, please\n")
            assert response.headers["WWW-Authenticate"].startswith("Basic ")
    assert site.scraped == 0
    assert [site.get(path, LOGIN)[0] for path in ("/metrics", "/", "/status.json", "/nothing")] == [200, 200, 200, 404]


def test_probes_are_answered_without_a_login_in_one_word(site: Site) -> None:
    """A kubelet has no secret to send; what it need not know it does not get."""
    site.start(USERS)
    assert site.get("/metrics", LOGIN)[0] == 200
    site.health = (False, "the pipeline of /var/log/patients has ended")
    assert [site.get("/healthz"), site.get("/readyz")] == [(503, b"not ok\n"), (200, b"ok\n")]
    assert site.get("/healthz", WRONG) == (503, b"not ok\n")
    assert site.get("/healthz", LOGIN) == (503, b"the pipeline of /var/log/patients has ended\n")


def test_a_password_is_hashed_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was right is known, and what is kept of it is no password; what was wrong is hashed each time."""
    hashed = []
    check = bcrypt.checkpw

    def counted(password: bytes, hash_: bytes) -> bool:
        hashed.append(password)
        return check(password, hash_)

    monkeypatch.setattr(bcrypt, "checkpw", counted)
    site.start(USERS)
    assert [site.get(login=LOGIN)[0] for _ in range(5)] == [200] * 5
    assert hashed == [SECRET.encode()]
    assert [site.get(login=WRONG)[0] for _ in range(2)] == [401] * 2
    assert len(hashed) == 3
    guard = site.server._guard
    assert guard is not None
    assert SECRET not in repr(vars(guard.passwords))


def test_those_who_guess_keep_nobody_waiting(site: Site) -> None:
    """While one password is being hashed: a known scraper is answered, the next of that address wait, more get 429."""
    server = site.start(USERS)
    guard, gate, checked = server._guard, threading.Event(), []
    assert guard is not None
    assert site.get(login=LOGIN)[0] == 200
    doorkeeper = server._doorkeeper
    assert doorkeeper is not None

    def slow(request: Request) -> bool:
        checked.append(request)
        gate.wait(DEADLINE_SECONDS)
        return guard.check(request)

    doorkeeper._check = slow
    statuses: list[int] = []
    guessing = [threading.Thread(target=lambda: statuses.append(site.get(login=WRONG)[0])) for _ in range(10)]
    for thread in guessing:
        thread.start()
    _wait_for(lambda: len(statuses) == 6)
    assert statuses == [429] * 6
    assert site.get(login=LOGIN)[0] == 200
    gate.set()
    for thread in guessing:
        thread.join()
    assert sorted(statuses) == [401] * 4 + [429] * 6
    assert len(checked) == 4


def test_a_client_that_leaves_while_its_password_is_hashed(site: Site) -> None:
    """Nothing is sent to nobody, and the next one is checked."""
    server = site.start(USERS)
    with closing(socket.create_connection(("127.0.0.1", server.port))) as client:
        client.sendall(f"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: {WRONG}\r\n\r\n".encode())
    _wait_for(lambda: not server._connections)
    assert site.get(login=LOGIN)[0] == 200


# Headers and limits -------------------------------------------------------------------------------------------------


def test_headers_of_the_file_are_sent_with_every_answer(site: Site) -> None:
    """Refusals and bad requests, too; they stand in place of ours."""
    site.start("http_server_config: {headers: {Strict-Transport-Security: max-age=9, X-Frame-Options: sameorigin}}\n")
    for path in ("/", "/metrics", "/nothing"):
        headers = site.ask(path)[0].headers
        assert (headers["Strict-Transport-Security"], headers["X-Frame-Options"]) == ("max-age=9", "sameorigin")
        assert len(headers.get_all("X-Frame-Options", [])) == 1
    with closing(socket.create_connection(("127.0.0.1", site.server.port))) as client:
        client.sendall(b"bad\r\n\r\n")
        assert b"Strict-Transport-Security: max-age=9\r\n" in client.recv(1000)


def test_no_answer_invites_other_origins(site: Site) -> None:
    """No CORS header, no credentials, no sniffing, no embedding; OPTIONS is no method here."""
    site.start("")
    for path in ("/", "/metrics", "/status.json", "/healthz"):
        with closing(site.connect()) as connection:
            connection.request("GET", path, headers={"Origin": "https://evil.example"})
            headers = connection.getresponse().headers
        assert [name for name in headers if name.lower().startswith("access-control")] == []
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    with closing(site.connect()) as connection:
        connection.request("OPTIONS", "/metrics", headers={"Origin": "https://evil.example"})
        assert connection.getresponse().status == 405


def test_requests_are_limited_and_probes_are_not(site: Site) -> None:
    """A burst is answered, then one for each interval."""
    site.start("rate_limit: {interval: 10s, burst: 3}\n")
    assert [site.get()[0] for _ in range(5)] == [200, 200, 200, 429, 429]
    assert site.get("/healthz")[0] == 200
    site.clock.now += 10
    assert [site.get()[0] for _ in range(2)] == [200, 429]


# Files that change --------------------------------------------------------------------------------------------------


def _served_certificate(site: Site) -> bytes:
    with closing(site.connect(site.trusting())) as connection:
        connection.connect()
        assert isinstance(connection.sock, ssl.SSLSocket)
        return connection.sock.getpeercert(binary_form=True) or b""


def test_a_renewed_certificate_is_served_without_a_restart(site: Site) -> None:
    """By new connections; a pair that does not fit leaves the old one in force until it does."""
    site.start(TLS % "")
    first = _served_certificate(site)
    second = site.renew()
    site.clock.now += 1
    assert _served_certificate(site) == second != first
    trustme.CA().issue_cert("x").private_key_pem.write_to_path(site.directory / "web.key")
    site.clock.now += 1
    assert _served_certificate(site) == second
    third = site.renew()
    site.clock.now += 1
    assert _served_certificate(site) == third


def test_changed_users_count_at_once(site: Site) -> None:
    """Also for a connection that is open, and a password that was right before."""
    site.start(USERS)
    with closing(site.connect()) as connection:

        def ask() -> int:
            connection.request("GET", "/metrics", headers={"Authorization": LOGIN})
            response = connection.getresponse()
            response.read()
            return response.status

        assert ask() == 200
        other = bcrypt.hashpw(b"another", bcrypt.gensalt(4)).decode()
        site.write(f"basic_auth_users: {{prometheus: {other}}}\n")
        site.clock.now += 1
        assert ask() == 401
    site.write(USERS)
    site.clock.now += 1
    assert site.get(login=LOGIN)[0] == 200


LESS = [
    ("", "tls_server_config is gone, basic_auth_users are gone; restart"),
    ("basic_auth_users: {a: [\n", "is not YAML"),
    (USERS, "tls_server_config is gone"),
    (TLS % ", client_ca_file: ca.pem, client_auth_type: RequireAndVerifyClientCert", "basic_auth_users are gone"),
    (USERS + TLS % "", "client certificates are not verified any more"),
]


@pytest.mark.parametrize(("text", "expected"), LESS, ids=[expected for _, expected in LESS])
def test_a_file_that_would_open_the_door_is_not_taken_up(
    site: Site, caplog: pytest.LogCaptureFixture, text: str, expected: str
) -> None:
    """Emptied, half written, without TLS or users: the former one stays in force, said once, until a restart."""
    site.start(USERS + TLS % ", client_ca_file: ca.pem, client_auth_type: RequireAndVerifyClientCert")
    site.write(text)
    context = site.trusting(site.authority.issue_cert("client"))
    for _ in range(3):
        site.clock.now += 1
        assert site.get(context=context)[0] == 401
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(said) == 1
    assert expected in said[0]


def test_a_file_that_is_gone_stays_in_force(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    """As between the two halves of somebody's `mv`."""
    site.start(USERS)
    (site.directory / "web.yml").unlink()
    site.clock.now += 1
    assert site.get()[0] == 401
    assert "web.yml' cannot be read: No such file" in caplog.text


def test_secrets_that_everybody_can_read_are_said(site: Site) -> None:
    """The key and the file with the hashes; not what only its owner can read."""
    path = site.write(USERS + TLS % "")
    (site.directory / "web.key").chmod(0o644)
    path.chmod(0o640)
    assert Guard(path=path).warnings() == [
        f"{site.directory}/web.key: can be read by everybody on this machine; chmod o-r"
    ]


def test_a_file_that_cannot_be_used_ends_the_start(site: Site) -> None:
    """All problems are said."""
    with pytest.raises(ConfigError) as caught:
        Guard(path=site.write("tls_server_config: {cert_file: a, key_file: b}\n"))
    assert len(caught.value.problems) == 2


# Slow clients -------------------------------------------------------------------------------------------------------


def _is_sent_away(client: socket.socket) -> bool:
    """Sends one more byte; whether the server had enough."""
    try:
        client.sendall(b"x")
        return client.recv(1) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


def test_a_head_that_comes_byte_by_byte_ends_at_its_deadline(site: Site) -> None:
    """However steadily it trickles (slowloris): the time is counted from the first byte, not from the last."""
    server = site.start("", head_seconds=0.5)
    with closing(socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE_SECONDS)) as client:
        client.settimeout(0.01)  # the pace of the attack
        _wait_for(lambda: _is_sent_away(client))
    assert site.get()[0] == 200


# A real Prometheus --------------------------------------------------------------------------------------------------


def test_a_real_prometheus_scrapes_over_tls_with_a_login(site: Site, prometheus: Callable[..., Prometheus]) -> None:
    """With a client certificate, too; one with a wrong password says so about its target."""
    server = site.start(USERS + TLS % ", client_ca_file: ca.pem, client_auth_type: RequireAndVerifyClientCert")
    site.body += b"# EOF\n"
    client = site.authority.issue_cert("prometheus")
    client.cert_chain_pems[0].write_to_path(site.directory / "client.crt")
    client.private_key_pem.write_to_path(site.directory / "client.key")

    def job(name: str, password: str) -> dict[str, Any]:
        tls = {"ca_file": "ca.pem", "cert_file": "client.crt", "key_file": "client.key"}
        return {
            "job_name": name,
            "scheme": "https",
            "tls_config": {key: str(site.directory / file) for key, file in tls.items()},
            "basic_auth": {"username": "prometheus", "password": password},
            "static_configs": [{"targets": [f"localhost:{server.port}"]}],
        }

    times = {"scrape_interval": "1s", "scrape_timeout": "1s"}
    scraper = prometheus(config={"global": times, "scrape_configs": [job("good", SECRET), job("bad", "guess")]})
    [sample] = scraper.wait_for('lines_total{job="good"}')
    assert sample.value == 7
    scraper.wait_for('up{job="bad"} == 0')

    errors = {target["labels"]["job"]: target["lastError"] for target in scraper.targets()}
    assert errors == {"good": "", "bad": "server returned HTTP status 401 Unauthorized"}
