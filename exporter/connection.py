"""One client of the server: bytes in, bytes out, with or without TLS, never blocking.

A step that cannot go on raises `Wait`, for the server's loop. Handshakes are steps like reading and writing, so an idle
or slow client holds up nobody.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Final, TypeVar

import msgspec

Result = TypeVar("Result")
READ_BYTES: Final = 64 << 10
_PLAIN_TEXT: Final = b"this port speaks HTTPS\n"
_PLAIN_ANSWER: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
    % (len(_PLAIN_TEXT), _PLAIN_TEXT)
)


class Wait(Exception):  # noqa: N818 - no error: there is nothing to do until the socket is ready
    """The step goes on once the socket can be read or written."""

    def __init__(self, events: int) -> None:
        super().__init__(events)
        self.events = events


class Connection(msgspec.Struct, eq=False):
    """One client. It shakes hands if it speaks TLS, reads, waits for its answer, writes; never two at a time."""

    socket: socket.socket
    address: str
    deadline: float
    is_shaking: bool = False
    received: bytearray = msgspec.field(default_factory=bytearray)
    response: memoryview | None = None
    is_waiting: bool = False
    is_kept_alive: bool = True
    on_sent: Callable[[], None] | None = None

    @property
    def is_reading(self) -> bool:
        return self.response is None and not self.is_waiting

    @property
    def events(self) -> int:
        """What it waits for as a rule; a TLS step may ask for the other."""
        return selectors.EVENT_READ if self.response is None else selectors.EVENT_WRITE

    def shake(self) -> Mapping[str, object] | None:
        """Goes on with the handshake; a verified client's certificate once it is done. Raises Wait, OSError."""
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

    def receive(self) -> bytes:
        """What has come, b"" at the end. Raises Wait, OSError."""
        return _step(lambda: self.socket.recv(READ_BYTES))

    def send(self) -> bool:
        """Sends what the socket takes of the response; True once that was all. Raises Wait, OSError."""
        if self.response:
            data = self.response
            self.response = data[_step(lambda: self.socket.send(data)) :]
        return not self.response

    def close(self) -> None:
        """Ends it, as TLS wants it if it is one; nobody is waited for."""
        if isinstance(self.socket, ssl.SSLSocket) and not self.is_shaking:
            with contextlib.suppress(OSError, ValueError):
                self.socket.unwrap()
        self.socket.close()


def _step(step: Callable[[], Result]) -> Result:
    try:
        return step()
    except ssl.SSLWantWriteError:
        raise Wait(selectors.EVENT_WRITE) from None
    except ssl.SSLWantReadError:
        raise Wait(selectors.EVENT_READ) from None


def encrypted(client: socket.socket, context: ssl.SSLContext) -> ssl.SSLSocket:
    """The socket as the server's side of TLS; the handshake is still to come."""
    return context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
