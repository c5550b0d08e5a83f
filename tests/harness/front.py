"""What may stand between the shipper and a server: a reverse proxy with TLS and a path prefix, or a forward proxy.

In threads of the test's own process, over real sockets. It passes requests on as they are and keeps count of them.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
import ssl
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from harness.process import Counterpart

_NOT_PASSED_ON = frozenset({"connection", "host", "keep-alive", "proxy-authorization", "transfer-encoding"})


class Front(Counterpart):
    """Serves from the constructor to `stop()`. `context`, `prefix` and `credentials` may be changed at any time.

    `backend` is the URL that requests go to; without one it is a forward proxy, which plain requests and tunnels tell
    where they want to go. `credentials` (`user:password`) are what a forward proxy asks for.
    """

    def __init__(
        self,
        backend: str = "",
        *,
        host: str = "127.0.0.1",
        context: ssl.SSLContext | None = None,
        prefix: str = "",
        credentials: str = "",
    ) -> None:
        self.backend = backend
        self.context = context
        self.prefix = prefix
        self.credentials = credentials
        self.passed: list[str] = []
        """What was passed on: paths, and `HOST:PORT` of tunnels."""
        self._host = host
        self._port = 0
        self._open: set[socket.socket] = set()  # twins of the connections, ours to close
        self._server: ThreadingHTTPServer | None = None
        self.up()

    @property
    def port(self) -> int:
        """Where it listens; the same one after `down()` and `up()`."""
        return self._port

    def url(self, name: str = "localhost") -> str:
        """The address under which clients know it."""
        return f"http{'s' if self.context else ''}://{name}:{self._port}{self.prefix}"

    def up(self) -> None:
        """Listen."""
        self._server = _FrontServer(self, (self._host, self._port))
        self._port = int(self._server.server_address[1])
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def down(self) -> None:
        """Refuse connections, and cut those there are."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
        self.cut()

    def cut(self) -> None:
        """Cut the connections there are."""
        while self._open:
            with self._open.pop() as connection, contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        """End it; may be repeated."""
        self.down()

    def accepted(self, plain: socket.socket) -> socket.socket:
        """A connection as it is to be read."""
        twin = plain.dup()
        self._open.add(twin)
        if self.context is None:
            return plain
        return self.context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)


class _FrontServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, front: Front, address: tuple[str, int]) -> None:
        class Handler(_Handler):
            _front = front

        self._front = front
        super().__init__(address, Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        plain, address = self.socket.accept()
        return self._front.accepted(plain), address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A handshake that fails and a client that goes away are what some tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    _front: Front

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base class calls it so
        """Nothing."""

    def do_POST(self) -> None:
        """Pass a request on; the shipper's are all of this kind."""
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        origin, path = self._target()
        if not origin:
            self._answer(404, b"<html><body>nothing here</body></html>", "text/html")
            return
        if not self._may_pass():
            return
        sent = {name: value for name, value in self.headers.items() if name.lower() not in _NOT_PASSED_ON}
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(origin).netloc, timeout=60)
        try:
            connection.request(self.command, path, body, sent)
            response = connection.getresponse()
            self._front.passed.append(path.partition("?")[0])
            self._answer(response.status, response.read(), response.headers.get("content-type") or "")
        except (OSError, http.client.HTTPException):
            self._answer(502, b"<html><body>Bad Gateway</body></html>", "text/html")
        finally:
            connection.close()

    def do_CONNECT(self) -> None:
        """A tunnel, until either side ends it."""
        if not self._may_pass():
            return
        host, _, port = self.path.rpartition(":")
        self._front.passed.append(self.path)
        self.close_connection = True
        with contextlib.suppress(OSError), socket.create_connection((host, int(port))) as far:
            self.connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = threading.Thread(target=_copy, args=(far, self.connection), daemon=True)
            back.start()
            _copy(self.connection, far)
            back.join()

    def _target(self) -> tuple[str, str]:
        """Origin and path of a request; no origin if there is nothing under this path."""
        front = self._front
        if not front.backend:
            parts = urllib.parse.urlsplit(self.path)
            return f"{parts.scheme}://{parts.netloc}", f"{parts.path}?{parts.query}"
        if not self.path.startswith(front.prefix):
            return "", ""
        return front.backend, self.path[len(front.prefix) :]

    def _may_pass(self) -> bool:
        wanted = self._front.credentials
        expected = "Basic " + base64.b64encode(wanted.encode()).decode()
        if not wanted or self.headers.get("proxy-authorization") == expected:
            return True
        self._answer(407, b"<html><body>Proxy Authentication Required</body></html>", "text/html")
        return False

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while block := source.recv(65536):
            target.sendall(block)
        target.shutdown(socket.SHUT_WR)
