"""The name of the server stands for another address from some moment on (DNS), as after a failover."""

import socket
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from deliveries import Delivery, lines_of
from harness.process import wait_until
from harness.sink import Sink

NAME = "es.example"


class Names:
    """Resolves one name to an address that can be changed."""

    def __init__(self, address: str, resolve: Callable[..., Any]) -> None:
        self.address = address
        self._resolve = resolve

    def getaddrinfo(self, host: str, *rest: Any, **named: Any) -> Any:
        if host != NAME:
            return self._resolve(host, *rest, **named)
        if not self.address:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self._resolve(self.address, *rest, **named)


def test_the_new_address_is_used_without_a_restart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old server goes away, the name is unknown for a while, then it is another server's: everything arrives."""
    names = Names("127.0.0.2", socket.getaddrinfo)
    monkeypatch.setattr(socket, "getaddrinfo", names.getaddrinfo)
    with Sink(host="127.0.0.2") as old:
        port = urllib.parse.urlsplit(old.url).port
        with Sink(host="127.0.0.3", port=port) as new, Delivery(tmp_path, f"http://{NAME}:{port}") as delivery:
            delivery.ship(lines_of(300))
            delivery.wait_done()
            names.address = ""
            old.down()
            delivery.ship(lines_of(300, first=300), first=300)
            wait_until(lambda: "resolve" in delivery.output.status().error, what="unknown", timeout_seconds=30)
            names.address = "127.0.0.3"
            delivery.wait_done()
            assert len(old.docs()) == len(new.docs()) == 300
            delivery.assert_exact(old.docs() + new.docs(), 600)
