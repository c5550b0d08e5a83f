"""The server says that we may not (401, 403), and then that we may."""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from deliveries import Delivery, access_to, lines_of
from harness.process import wait_until
from harness.servers import Remote, Server
from harness.sink import Fault, Sink


def test_a_mended_key_file_is_taken_up(
    elasticsearch_secure: Remote, index_prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With a wrong API key nothing is lost and the refusal stands in the status; the right key in its file ends it."""
    index = f"{index_prefix}2024.01.15"
    key_file = tmp_path / "key"
    key_file.write_text("d3Jvbmc6c2VjcmV0\n")
    ca_file = str(elasticsearch_secure.ca_file)
    with Delivery(
        tmp_path, elasticsearch_secure.url, api_key_file=str(key_file), ca_file=ca_file, pause_seconds=0.2
    ) as delivery:
        delivery.ship(lines_of(10), index=index)
        wait_until(lambda: delivery.output.status().refused_since is not None, what="a refusal", timeout_seconds=30)
        assert "unauthorized" in delivery.output.status().error
        key = elasticsearch_secure.create_api_key()
        (tmp_path / "new").write_text(key)
        (tmp_path / "new").rename(key_file)
        delivery.wait_done()
        assert delivery.output.status().refused_since is None
    assert elasticsearch_secure.count(index) == 10
    assert [(r.levelname, r.message.count("credentials")) for r in caplog.records if r.levelno > 20] == [("ERROR", 1)]
    assert key not in caplog.text
    assert "d3Jvbmc6c2VjcmV0" not in caplog.text


def test_a_key_without_the_privilege_waits(elasticsearch_secure: Remote, index_prefix: str, tmp_path: Path) -> None:
    """Documents of an index that the key may not write wait in the spool; the others arrive."""
    allowed, forbidden = f"{index_prefix}yes-2024.01.15", f"{index_prefix}no-2024.01.15"
    role = {"index": [{"names": [f"{index_prefix}yes-*"], "privileges": ["create_doc", "auto_configure"]}]}
    key = elasticsearch_secure.create_api_key({"writer": role})
    (tmp_path / "key").write_text(key)
    with Delivery(
        tmp_path,
        elasticsearch_secure.url,
        api_key_file=str(tmp_path / "key"),
        ca_file=str(elasticsearch_secure.ca_file),
    ) as delivery:
        delivery.ship(lines_of(10), index=allowed)
        delivery.ship(lines_of(10, first=10), first=10, index=forbidden)
        wait_until(lambda: delivery.output.status().spooled == 10, what="ten are spooled", timeout_seconds=30)
        delivery.wait_done()
        assert delivery.output.status().refused_since is None
    assert elasticsearch_secure.count(allowed) == 10


def test_a_valid_key_that_is_refused_after_a_restart(start_server: Callable[..., Server], tmp_path: Path) -> None:
    """Killed and started again while documents come in, a secured node loses none of them and doubles none."""
    server = start_server("elasticsearch-8-secure")
    (tmp_path / "key").write_text(server.create_api_key())
    with Delivery(
        tmp_path, server.url, api_key_file=str(tmp_path / "key"), ca_file=str(server.ca_file), bulk_bytes=64 * 1024
    ) as delivery:
        delivery.ship(lines_of(500))
        server.kill()
        delivery.ship(lines_of(100, first=500), first=500)
        server.restart()
        delivery.ship(lines_of(1400, first=600), first=600)
        delivery.wait_done(timeout_seconds=90)
    delivery.assert_exact(server.search_all("logs-*"), 2000)


def test_a_certificate_of_a_new_authority_is_taken_up(
    elasticsearch_secure: Remote, index_prefix: str, tmp_path: Path
) -> None:
    """With the wrong authority nothing is sent; when the file holds the right one, everything is."""
    ca_file = tmp_path / "ca.pem"
    ca_file.write_text(ssl.DER_cert_to_PEM_cert(_other_authority()))
    access = {**access_to(elasticsearch_secure), "ca_file": str(ca_file)}
    with Delivery(tmp_path, elasticsearch_secure.url, pause_seconds=0.1, **access) as delivery:
        delivery.ship(lines_of(10), index=f"{index_prefix}2024.01.15")
        wait_until(
            lambda: delivery.metric("bulk_requests_total", {"result": "tls"}) >= 2,
            what="refused by us",
            timeout_seconds=30,
        )
        assert elasticsearch_secure.ca_file is not None
        ca_file.write_bytes(elasticsearch_secure.ca_file.read_bytes())
        delivery.wait_done()
    assert elasticsearch_secure.count(f"{index_prefix}2024.01.15") == 10


@pytest.mark.parametrize(
    ("fault", "is_refusal"),
    [
        (Fault("status", status=401), True),
        (Fault("status", status=403), True),
        (Fault("html", status=401), True),
        (Fault("html", status=403), False),
        (Fault("status", status=403, type="cluster_block_exception"), False),
        (Fault("status", status=503), False),
    ],
)
def test_only_a_refusal_of_ourselves_counts_as_one(sink: Sink, tmp_path: Path, fault: Fault, is_refusal: bool) -> None:
    """`refused_since` tells who waits for a person to mend credentials from who waits for a server."""
    sink.fault(fault)
    with Delivery(tmp_path, sink.url) as delivery:
        delivery.ship(lines_of(10))
        wait_until(lambda: sink.fired()[0] >= 3, what="three refusals", timeout_seconds=30)
        assert is_refusal == (delivery.output.status().refused_since is not None)
        sink.fault()
        delivery.wait_done()
    assert len(sink.docs()) == 10


def _other_authority() -> bytes:
    return ssl.PEM_cert_to_DER_cert(trustme.CA().cert_pem.bytes().decode())
