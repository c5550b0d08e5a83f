"""A client that speaks TLS. Loaded only where TLS is served: it brings 4 MB of code with it."""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from exporter.connection import READ_BYTES, Connection, Wait

Result = TypeVar("Result")
_PLAIN_TEXT: Final = b"this port speaks HTTPS\n"
_PLAIN_ANSWER: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
    % (len(_PLAIN_TEXT), _PLAIN_TEXT)
)


class EncryptedConnection(Connection, eq=False):
    """One client over TLS; `encrypted` makes it, about to shake hands."""

    def shake(self) -> Mapping[str, object] | None:
        tls = self.socket
        if not isinstance(tls, ssl.SSLSocket):
            return None
        try:
            _step(tls.do_handshake)
        except ssl.SSLError as error:
            if error.reason == "HTTP_REQUEST":  # whoever typed http:// is told
                with contextlib.suppress(OSError):
                    socket.socket.recv(tls, READ_BYTES)  # what is left unread would take the answer with it
                    socket.socket.send(tls, _PLAIN_ANSWER)
            raise
        self.is_shaking = False
        return tls.getpeercert()

    def refusal(self, error: OSError) -> str:
        if not self.is_shaking or isinstance(error, ssl.SSLEOFError):  # which is a probe of the port
            return ""
        return str(getattr(error, "reason", None) or error)

    def receive(self) -> bytes:
        return _step(super().receive)

    def send(self) -> bool:
        return _step(super().send)

    def close(self) -> None:
        """Ends it as TLS wants it; nobody is waited for."""
        if isinstance(self.socket, ssl.SSLSocket) and not self.is_shaking:
            with contextlib.suppress(OSError, ValueError):
                self.socket.unwrap()
        super().close()


def _step(step: Callable[[], Result]) -> Result:
    try:
        return step()
    except ssl.SSLWantWriteError:
        raise Wait(selectors.EVENT_WRITE) from None
    except ssl.SSLWantReadError:
        raise Wait(selectors.EVENT_READ) from None


def encrypted(client: socket.socket, address: str, deadline: float, context: ssl.SSLContext) -> EncryptedConnection:
    """The server's side of TLS with a client; the handshake is still to come. Raises OSError."""
    tls = context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
    return EncryptedConnection(tls, address, deadline, is_shaking=True)
