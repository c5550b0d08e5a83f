"""The server is reached by a forward proxy, or stands behind a reverse proxy with a path of its own."""

import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme
from deliveries import Delivery, lines_of
from harness.front import Front
from harness.process import wait_until
from harness.sink import Sink


@pytest.mark.parametrize("is_tls", [False, True], ids=["forwarded", "tunnelled"])
def test_a_proxy_that_wants_a_password_and_goes_away(
    sink: Sink, tmp_path: Path, caplog: pytest.LogCaptureFixture, is_tls: bool
) -> None:
    """A proxy that refuses us, is mended, ends, and is there again: everything arrives by way of it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    server = Front(sink.url, context=context if is_tls else None)
    proxy = Front(credentials="user:right")
    access: dict[str, Any] = {"proxy": f"http://user:pass@localhost:{proxy.port}", "ca_file": str(tmp_path / "ca.pem")}
    with server, proxy, Delivery(tmp_path, server.url(), **access) as delivery:
        delivery.ship(lines_of(100))
        wait_until(lambda: bool(delivery.output.status().error), what="a refusal", timeout_seconds=30)
        assert server.passed == []
        proxy.credentials = "user:pass"
        delivery.wait_done()
        passed = len(proxy.passed)
        assert passed >= 1
        proxy.down()
        delivery.ship(lines_of(100, first=100), first=100)
        wait_until(lambda: not delivery.output.status().is_up, what="it is down", timeout_seconds=30)
        proxy.up()
        delivery.wait_done()
        assert len(proxy.passed) > passed
    delivery.assert_exact(sink.docs(), 200)
    assert "pass@" not in caplog.text
    assert "user:" not in caplog.text


def test_a_path_prefix(sink: Sink, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Below its path everything arrives; a path where nothing is waits, and a person is told to look at it."""
    with Front(sink.url, prefix="/elastic") as front:
        with Delivery(tmp_path / "right", front.url()) as delivery:
            delivery.ship(lines_of(100))
            delivery.wait_done()
            assert set(front.passed) == {"/_bulk"}
        delivery.assert_exact(sink.docs(), 100)
        wrong = f"http://localhost:{front.port}/elastik"
        with Delivery(tmp_path / "wrong", wrong) as other:
            other.ship(lines_of(100, first=100), first=100)
            wait_until(
                lambda: other.metric("bulk_requests_total", {"result": "not_found"}) >= 3,
                what="three refusals",
                timeout_seconds=30,
            )
            front.prefix = "/elastik"
            other.wait_done()
    assert sorted(hit["_source"]["n"] for hit in sink.docs()) == list(range(200))
    assert ["path in hosts" in record.message for record in caplog.records if record.levelname == "ERROR"] == [True]
