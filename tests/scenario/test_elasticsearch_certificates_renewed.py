"""Certificates are renewed while documents flow: the server's, and the one that we show."""

import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from deliveries import Delivery, lines_of
from harness.front import Front
from harness.process import wait_until
from harness.sink import Sink


def server_side(authority: trustme.CA, *, clients: trustme.CA | None = None) -> ssl.SSLContext:
    """What a server with a new certificate of this authority does; `clients` must have signed its clients'."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    if clients is not None:
        clients.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def write_authorities(path: Path, *authorities: trustme.CA) -> None:
    """Replaces a file of authorities as a whole, as tools do that renew certificates."""
    new = path.with_suffix(".new")
    new.write_bytes(b"".join(authority.cert_pem.bytes() for authority in authorities))
    new.replace(path)


def test_the_server_has_a_new_one(sink: Sink, tmp_path: Path) -> None:
    """Of the same authority nobody notices; of a new one that stands in `ca_file` beside the old, neither."""
    old, new = trustme.CA(), trustme.CA()
    write_authorities(tmp_path / "ca.pem", old)
    front = Front(sink.url, context=server_side(old))
    ca_file = str(tmp_path / "ca.pem")
    with front, Delivery(tmp_path, front.url(), ca_file=ca_file, pause_seconds=0.05) as delivery:
        delivery.ship(lines_of(100))
        delivery.wait_done()
        front.context = server_side(old)
        front.cut()
        delivery.ship(lines_of(100, first=100), first=100)
        delivery.wait_done()
        write_authorities(tmp_path / "ca.pem", old, new)
        front.context = server_side(new)
        front.cut()
        delivery.ship(lines_of(100, first=200), first=200)
        delivery.wait_done()
        assert delivery.metric("bulk_requests_total", {"result": "tls"}) == 0
    delivery.assert_exact(sink.docs(), 300)


def test_the_server_s_authority_is_not_known_yet(sink: Sink, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is sent to a server that cannot prove itself; a person is called once; the new file ends it."""
    old, new = trustme.CA(), trustme.CA()
    write_authorities(tmp_path / "ca.pem", old)
    front = Front(sink.url, context=server_side(new))
    ca_file = str(tmp_path / "ca.pem")
    with front, Delivery(tmp_path, front.url(), ca_file=ca_file, pause_seconds=0.05) as delivery:
        delivery.ship(lines_of(100))
        wait_until(
            lambda: delivery.metric("bulk_requests_total", {"result": "tls"}) >= 3,
            what="refused by us",
            timeout_seconds=30,
        )
        assert front.passed == []
        write_authorities(tmp_path / "ca.pem", new)
        delivery.wait_done()
    delivery.assert_exact(sink.docs(), 100)
    assert ["ca_file" in record.message for record in caplog.records if record.levelname == "ERROR"] == [True]


def test_we_have_a_new_one(sink: Sink, tmp_path: Path) -> None:
    """Certificate and key are replaced one after the other: between them the old pair is used, then the new one."""
    authority, old, new = trustme.CA(), trustme.CA(), trustme.CA()
    write_authorities(tmp_path / "ca.pem", authority)
    files = {"client_certificate": tmp_path / "client.pem", "client_key": tmp_path / "client.key"}
    _write_pair(old, *files.values())
    front = Front(sink.url, context=server_side(authority, clients=old))
    settings: dict[str, Any] = {
        "ca_file": str(tmp_path / "ca.pem"),
        **{name: str(path) for name, path in files.items()},
    }
    with front, Delivery(tmp_path, front.url(), pause_seconds=0.05, request_seconds=5.0, **settings) as delivery:
        delivery.ship(lines_of(100))
        delivery.wait_done()
        certificate, key = tmp_path / "new.pem", tmp_path / "new.key"
        _write_pair(new, certificate, key)
        certificate.replace(files["client_certificate"])
        front.cut()
        delivery.ship(lines_of(100, first=100), first=100)
        delivery.wait_done()

        key.replace(files["client_key"])
        front.context = server_side(authority, clients=new)
        front.cut()
        delivery.ship(lines_of(100, first=200), first=200)
        delivery.wait_done()
    delivery.assert_exact(sink.docs(), 300)


def _write_pair(authority: trustme.CA, certificate: Path, key: Path) -> None:
    issued = authority.issue_cert("shipper@example.com")
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
