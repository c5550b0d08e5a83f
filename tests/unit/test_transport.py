"""Requests to a cluster over real sockets: hosts in turn, TLS, proxies, credentials that change."""

import base64
import contextlib
import hashlib
import http.client
import logging
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme

from shipper.elastic.credentials import SecretSource, authorization, fingerprint_of, parse_address
from shipper.elastic.transport import Cluster, NotAnsweredError
from shipper.errors import OutputError
from shipper.settings import ElasticsearchSettings, Secret


@dataclass
class Request:
    """What a server got."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Web:
    """A server on loopback that answers each request by `status` and remembers it; over TLS if it has a context."""

    context: ssl.SSLContext | None = None
    status: int = 200
    requests: list[Request] = field(default_factory=list)
    accepted: list[socket.socket] = field(default_factory=list)

    def __post_init__(self) -> None:
        web = self

        class Handler(socketserver.StreamRequestHandler):
            disable_nagle_algorithm = True

            def handle(self) -> None:
                while line := self.rfile.readline():
                    method, target, _ = line.decode().split(" ", 2)
                    headers = {k.lower(): v for k, v in http.client.parse_headers(self.rfile).items()}
                    if method == "CONNECT":
                        web.requests.append(Request(method, target, headers, b""))
                        self._tunnel(target)
                        return
                    body = self.rfile.read(int(headers.get("content-length", "0")))
                    web.requests.append(Request(method, target, headers, body))
                    self.wfile.write(b"HTTP/1.1 %d X\r\ncontent-length: 2\r\n\r\n{}" % web.status)

            def _tunnel(self, target: str) -> None:
                host, _, port = target.rpartition(":")
                with socket.create_connection((host, int(port))) as far:
                    self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                    back = threading.Thread(target=_copy, args=(far, self.request), daemon=True)
                    back.start()
                    _copy(self.request, far)
                    back.join()

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

            def get_request(self) -> tuple[socket.socket, Any]:
                plain, address = self.socket.accept()
                web.accepted.append(plain.dup())
                if web.context is None:
                    return plain, address
                return web.context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False), address

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that ends the handshake is what some tests are about."""

        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http{'s' if self.context else ''}://localhost:{self.port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        for connection in self.accepted:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while block := source.recv(65536):
            target.sendall(block)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


@pytest.fixture
def start() -> Iterator[Callable[..., Web]]:
    """Start servers for one test."""
    started: list[Web] = []

    def one(**options: Any) -> Web:
        started.append(Web(**options))
        return started[-1]

    yield one
    for web in started:
        web.stop()


@pytest.fixture
def authority() -> trustme.CA:
    """An authority that nobody else trusts."""
    return trustme.CA()


def _tls(authority: trustme.CA, *, clients: trustme.CA | None = None, name: str = "localhost") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    if clients is not None:
        clients.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _cluster(*hosts: str, monotonic: Callable[[], float] = time.monotonic, **settings: Any) -> Cluster:
    settings.setdefault("request_seconds", 5.0)
    return Cluster(
        settings=ElasticsearchSettings(hosts=hosts, **settings),
        user_agent="shipper/1",
        opaque_id="shipper/1 here",
        monotonic=monotonic,
    )


def _pem(authority: trustme.CA, path: Path) -> str:
    authority.cert_pem.write_to_path(path)
    return str(path)


def test_a_request_says_who_we_are(start: Callable[..., Web]) -> None:
    """Path prefix, body in pieces, our headers and the configured ones, credentials from the URL."""
    web = start()
    url = f"http://us%40er:p%3Ass@localhost:{web.port}/prefix/"
    cluster = _cluster(url, headers={"X-Tenant": "t", "Accept": "x/y"})
    answer = cluster.request("POST", "/_bulk?a=b,c*", [b"one", b"two"], headers={"content-type": "x/z"})
    assert answer.status == 200
    [request] = web.requests
    assert ("POST", "/prefix/_bulk?a=b,c*", b"onetwo") == (request.method, request.target, request.body)
    expected = {
        "user-agent": "shipper/1",
        "x-opaque-id": "shipper/1 here",
        "x-tenant": "t",
        "accept": "x/y",
        "content-type": "x/z",
        "content-length": "6",
        "authorization": "Basic " + base64.b64encode(b"us@er:p:ss").decode(),
    }
    assert expected == {name: request.headers.get(name) for name in expected}
    assert "p:ss" not in f"{cluster}{vars(cluster)!r}"
    assert f"http://localhost:{web.port}/prefix" == str(cluster)


def test_hosts_in_turn_and_the_dead_left_alone(start: Callable[..., Web]) -> None:
    """Requests go round; a host that refuses or answers 503 is left out for a while; 429 and 413 are no reason."""
    now = [0.0]
    first, second = start(), start()
    cluster = _cluster(first.url, second.url, monotonic=lambda: now[0])

    def seen(count: int = 4) -> tuple[int, int]:
        first.requests.clear()
        second.requests.clear()
        for _ in range(count):
            cluster.request("GET", "/")
        return len(first.requests), len(second.requests)

    assert seen() == (2, 2)
    for status in (429, 413, 400, 401):
        first.status = status
        assert seen() == (2, 2)
    first.status = 503
    assert sum(seen()) == 4
    first.status = 200
    assert seen() == (0, 4)
    now[0] += 1.1
    assert seen() == (2, 2)
    first.stop()
    assert seen()[1] == 4
    now[0] += 3600.0
    second.stop()
    with pytest.raises(NotAnsweredError) as raised:
        cluster.request("GET", "/")
    assert ("network", False) == (raised.value.reason, raised.value.may_be_applied)


def test_a_silent_server_may_have_applied_it() -> None:
    """No answer in time, or a connection closed after the request: it may have arrived."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        with pytest.raises(NotAnsweredError) as raised:
            _cluster(url, request_seconds=0.2).request("GET", "/")
        assert ("timeout", True) == (raised.value.reason, raised.value.may_be_applied)

        def cut() -> None:
            listening.settimeout(5.0)
            for _ in range(2):  # the first is that of the request above
                connection, _ = listening.accept()
                connection.recv(1)
                connection.close()

        thread = threading.Thread(target=cut)
        thread.start()
        with pytest.raises(NotAnsweredError) as raised:
            _cluster(url).request("GET", "/")
        thread.join()
    assert ("network", True) == (raised.value.reason, raised.value.may_be_applied)


def test_what_we_send_is_told_to_no_logger(start: Callable[..., Web], caplog: pytest.LogCaptureFixture) -> None:
    """Even with all loggers at their most talkative neither documents nor credentials are said."""
    caplog.set_level("DEBUG")
    logger = logging.getLogger("elastic_transport.node")
    logger.addHandler(caplog.handler)
    logger.setLevel("DEBUG")
    try:
        _cluster(start().url, api_key=Secret("c2VjcmV0")).request("POST", "/", [b"a patient's name"])
    finally:
        logger.removeHandler(caplog.handler)
        logger.setLevel("NOTSET")
    assert "patient" not in caplog.text
    assert "c2VjcmV0" not in caplog.text


def test_tls_by_authority(start: Callable[..., Web], authority: trustme.CA, tmp_path: Path) -> None:
    """The server's certificate is checked against ca_file, and nothing else is trusted; its name is checked too."""
    web = start(context=_tls(authority))
    other = start(context=_tls(authority, name="elsewhere.example"))
    ca_file = _pem(authority, tmp_path / "ca.pem")
    assert _cluster(web.url, ca_file=ca_file).request("GET", "/").status == 200
    for cluster in (
        _cluster(web.url),
        _cluster(web.url, ca_file=_pem(trustme.CA(), tmp_path / "other.pem")),
        _cluster(other.url, ca_file=ca_file),
    ):
        with pytest.raises(NotAnsweredError) as raised:
            cluster.request("GET", "/")
        assert ("tls", False) == (raised.value.reason, raised.value.may_be_applied)


def test_tls_by_fingerprint(start: Callable[..., Web], authority: trustme.CA) -> None:
    """The fingerprint of the server's certificate is enough, with colons or without, whatever its name."""
    certificate = authority.issue_cert("elsewhere.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    web = start(context=context)
    der = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
    digest = hashlib.sha256(der).hexdigest().upper()
    with_colons = ":".join(digest[i : i + 2] for i in range(0, 64, 2))
    assert _cluster(web.url, fingerprint=with_colons).request("GET", "/").status == 200
    with pytest.raises(NotAnsweredError) as raised:
        _cluster(web.url, fingerprint="0" * 64).request("GET", "/")
    assert raised.value.reason == "tls"


def test_tls_unchecked_is_said(
    start: Callable[..., Web], authority: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    """`verify: false` takes any certificate, and warns at each start."""
    web = start(context=_tls(authority, name="elsewhere.example"))
    assert _cluster(web.url, verify=False).request("GET", "/").status == 200
    assert ["WARNING"] == [record.levelname for record in caplog.records]


def test_no_old_tls(start: Callable[..., Web], authority: trustme.CA, tmp_path: Path) -> None:
    """A server that speaks nothing newer than TLS 1.1 is not spoken to."""
    context = _tls(authority)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="deprecated"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(NotAnsweredError) as raised:
        _cluster(start(context=context).url, ca_file=_pem(authority, tmp_path / "ca.pem")).request("GET", "/")
    assert raised.value.reason in ("tls", "network")


def test_our_own_certificate(start: Callable[..., Web], authority: trustme.CA, tmp_path: Path) -> None:
    """A server that asks for a certificate gets ours, with an authority and with a fingerprint."""
    web = start(context=_tls(authority, clients=authority))
    ours = authority.issue_cert("shipper@example.com")
    ours.private_key_pem.write_to_path(tmp_path / "key.pem")
    ours.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
    files: dict[str, Any] = {"client_certificate": str(tmp_path / "cert.pem"), "client_key": str(tmp_path / "key.pem")}
    ca_file = _pem(authority, tmp_path / "ca.pem")
    assert _cluster(web.url, ca_file=ca_file, **files).request("GET", "/").status == 200
    with socket.create_connection(("127.0.0.1", web.port)) as plain:
        unchecked = ssl.create_default_context(cafile=ca_file)
        unchecked.load_cert_chain(files["client_certificate"], files["client_key"])
        with unchecked.wrap_socket(plain, server_hostname="localhost") as secure:
            digest = hashlib.sha256(secure.getpeercert(binary_form=True) or b"").hexdigest()
    assert _cluster(web.url, fingerprint=digest, **files).request("GET", "/").status == 200
    with pytest.raises(NotAnsweredError):
        _cluster(web.url, ca_file=ca_file).request("GET", "/")


def test_a_renewed_authority_is_taken_up(start: Callable[..., Web], authority: trustme.CA, tmp_path: Path) -> None:
    """A new ca_file counts from the next request on; one that is unusable changes nothing."""
    ca_file = tmp_path / "ca.pem"
    cluster = _cluster(start(context=_tls(authority)).url, ca_file=_pem(trustme.CA(), ca_file))
    with pytest.raises(NotAnsweredError):
        cluster.request("GET", "/")
    authority.cert_pem.write_to_path(tmp_path / "new.pem")
    (tmp_path / "new.pem").replace(ca_file)
    assert cluster.request("GET", "/").status == 200
    ca_file.write_text("half a certificate")
    assert cluster.request("GET", "/").status == 200


@pytest.mark.parametrize("is_tls", [False, True], ids=["forwarded", "tunnelled"])
def test_through_a_proxy(start: Callable[..., Web], authority: trustme.CA, tmp_path: Path, is_tls: bool) -> None:
    """http is forwarded and https tunnelled, with the proxy's own credentials, which the server never sees."""
    web = start(context=_tls(authority) if is_tls else None)
    proxy = start()
    cluster = _cluster(
        f"{web.url}/prefix",
        proxy=f"http://user:pa%40ss@localhost:{proxy.port}",
        ca_file=_pem(authority, tmp_path / "ca.pem") if is_tls else "",
        api_key=Secret("key"),
    )
    assert cluster.request("POST", "/_bulk?x=y", [b"a", b"b"]).status == 200
    [passed] = proxy.requests
    expected = "Basic " + base64.b64encode(b"user:pa@ss").decode()
    assert expected == passed.headers["proxy-authorization"]
    if not is_tls:
        assert (f"{web.url}/prefix/_bulk?x=y", b"ab") == (passed.target, passed.body)
        assert "ApiKey key" == passed.headers["authorization"]
        return
    assert ("CONNECT", f"localhost:{web.port}") == (passed.method, passed.target)
    assert "authorization" not in passed.headers
    [request] = web.requests
    assert ("/prefix/_bulk?x=y", b"ab", "ApiKey key") == (
        request.target,
        request.body,
        request.headers["authorization"],
    )
    assert "proxy-authorization" not in request.headers


def test_a_proxy_that_is_away() -> None:
    """It is said as what it is, and nothing can have arrived."""
    with pytest.raises(NotAnsweredError) as raised:
        _cluster("http://localhost:1", proxy="http://user:secret@127.0.0.1:9").request("GET", "/")
    assert not raised.value.may_be_applied
    assert "secret" not in str(raised.value)


def test_secrets_in_files_are_read_again(start: Callable[..., Web], tmp_path: Path) -> None:
    """A new key in its file is used by the next request; while the file is away or empty the last one is."""
    key_file = tmp_path / "key"
    key_file.write_text("one\n")
    web = start()
    cluster = _cluster(web.url, api_key_file=str(key_file))

    def used() -> str:
        cluster.request("GET", "/")
        return web.requests[-1].headers["authorization"]

    assert used() == "ApiKey one"
    (tmp_path / "new").write_text("two")
    (tmp_path / "new").replace(key_file)
    assert used() == "ApiKey two"
    key_file.write_text("")
    assert used() == "ApiKey two"
    key_file.unlink()
    assert used() == "ApiKey two"
    key_file.write_text("three")
    assert used() == "ApiKey three"


UNUSABLE: list[tuple[dict[str, Any], str]] = [
    ({"hosts": ()}, "no hosts"),
    ({"hosts": ("localhost:9200",)}, "http"),
    ({"hosts": ("ftp://x",)}, "http"),
    ({"hosts": ("http://x:99999",)}, "not a URL"),
    ({"hosts": ("http://user:secret@x:1/?q",)}, "query"),
    ({"fingerprint": "abc"}, "64"),
    ({"proxy": "nowhere"}, "proxy"),
    ({"ca_file": "/does/not/exist"}, "No such file"),
    ({"api_key_file": "/does/not/exist"}, "No such file"),
    ({"client_certificate": "/does/not/exist"}, "No such file"),
]


@pytest.mark.parametrize(("settings", "words"), UNUSABLE)
def test_what_can_never_work_is_said_at_once(settings: dict[str, Any], words: str) -> None:
    """Before the first request, in words, without secrets."""
    given = {"hosts": ("https://localhost:9200",), **settings}
    with pytest.raises(OutputError, match=words) as raised:
        _cluster(*given.pop("hosts"), **given)
    assert ":secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h", ("http", "h", 9200, "", "", "")),
        ("https://h:443/a/b/", ("https", "h", 443, "/a/b", "", "")),
        ("http://u%3A:p%40@[::1]:9", ("http", "::1", 9, "", "u:", "p@")),
    ],
)
def test_addresses(url: str, expected: tuple[Any, ...]) -> None:
    """The parts of a host's URL; without a port it is 9200."""
    found = parse_address(url)
    assert expected == (*found[:5], found.password.reveal())


def test_small_parts() -> None:
    """The API key goes before a user; a fingerprint is hexadecimal; a secret without a file stays."""
    key = authorization(api_key=Secret("k"), username="u", password=Secret("p"))
    assert key == "ApiKey k"
    assert authorization(api_key=None, username="", password=None) is None
    assert fingerprint_of("AB:" * 31 + "ab") == "ab" * 32
    assert SecretSource(value=Secret("x"), path="").value() == Secret("x")
