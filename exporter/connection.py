"""One client of the server: bytes in, bytes out, never blocking. `encrypted` is the same over TLS.

A step that cannot go on raises `Wait`, for the server's loop. Handshakes are steps like reading and writing, so an idle
or slow client holds up nobody.
"""

from __future__ import annotations

import selectors
import socket
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

READ_BYTES: Final = 64 << 10


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
        return None

    def refusal(self, error: OSError) -> str:  # noqa: ARG002 - only a handshake is refused
        """Why a handshake failed, for the log; "" if that is not worth a word."""
        return ""

    def receive(self) -> bytes:
        """What has come, b"" at the end. Raises Wait, OSError."""
        return self.socket.recv(READ_BYTES)

    def send(self) -> bool:
        """Sends what the socket takes of the response; True once that was all. Raises Wait, OSError."""
        if self.response:
            self.response = self.response[self.socket.send(self.response) :]
        return not self.response

    def close(self) -> None:
        """Ends it; nobody is waited for."""
        self.socket.close()
