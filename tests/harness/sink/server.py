"""The sink's process: sockets and HTTP, a thread a connection. `core` says what is answered; here it is sent or cut.

Plain blocking sockets and one reused buffer a connection, so that a benchmark measures the shipper and not this.
`/_sink/*` is the control interface; it listens on a port of its own, so that faults and `down` never touch it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import struct
import sys
import threading
import urllib.parse

from harness.sink.core import Core
from harness.sink.faults import Fault
from harness.sink.messages import Answer, Head, Wire

_MAX_HEAD_BYTES = 64 * 1024


class Connection:
    """One client's connection, served by one thread until either side ends it."""

    def __init__(self, sock: socket.socket, core: Core) -> None:
        self._sock = sock
        self._core = core
        self._buffer = bytearray(256 * 1024)
        self._filled = 0

    def serve(self) -> None:
        """Answer requests until the connection ends."""
        with contextlib.suppress(ConnectionError, TimeoutError), self._sock:
            while (found := self._head()) is not None and self._serve_one(*found):
                pass

    def _serve_one(self, head: Head, begin: int) -> bool:
        if "transfer-encoding" in head.headers:
            self._sock.sendall(Answer(411, b"", {}).encoded(is_head=False))  # no chunks: they would be read as requests
            return False
        if head.headers.get("expect", "").lower() == "100-continue":
            self._sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        is_control = head.path.startswith("/_sink/")
        with contextlib.nullcontext() if is_control else self._core.statistics.at_work():
            cut = None if is_control else self._core.faults.before_body(head.path, body_bytes=head.length_bytes)
            end = self._fill(begin, min(head.length_bytes, cut.bytes) if cut else head.length_bytes)
            if cut is not None:
                return self._reset(head, cut, Wire(self._buffer, begin, end))
            answer = self._core.answer(head, Wire(self._buffer, begin, end))
            if answer.is_silent:
                self._sock.settimeout(None)
                while self._sock.recv(65536):
                    pass
                return False
            self._sock.sendall(answer.encoded(is_head=head.method == "HEAD"))
        rest = self._filled - end
        self._buffer[:rest] = self._buffer[end : self._filled]
        self._filled = rest
        return not answer.is_cut and head.headers.get("connection", "").lower() != "close"

    def _head(self) -> tuple[Head, int] | None:
        while (end := self._buffer.find(b"\r\n\r\n", 0, self._filled)) < 0:
            if self._filled > _MAX_HEAD_BYTES:
                return None
            if not self._receive():
                return None
        first, *lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        method, _, rest = first.partition(" ")
        target = rest.rpartition(" ")[0]
        path, _, query = target.partition("?")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return Head(method, path, dict(urllib.parse.parse_qsl(query, keep_blank_values=True)), headers), end + 4

    def _fill(self, begin: int, length: int) -> int:
        """Read until `length` bytes from `begin` are there; return where they end."""
        end = begin + length
        if end > len(self._buffer):
            self._buffer.extend(bytes(end - len(self._buffer)))
        while self._filled < end:
            if not self._receive(end):
                raise ConnectionResetError("the client ended in the middle of a body")
        return end

    def _receive(self, end: int | None = None) -> int:
        with memoryview(self._buffer) as view, view[self._filled : end] as rest:
            count = self._sock.recv_into(rest, flags=0 if end is None else socket.MSG_WAITALL)
        self._filled += count
        return count

    def _reset(self, head: Head, fault: Fault, wire: Wire) -> bool:
        self._core.apply_part(head, fault, wire)
        self._core.statistics.count_status(0)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False


class Listener:
    """A listening socket and its connections; `set_open` closes them all and comes back on the same port."""

    def __init__(self, *, host: str, port: int, core: Core) -> None:
        self._core = core
        self._open: set[socket.socket] = set()  # guarded by _lock
        self._lock = threading.Lock()
        self._address: tuple[str, int] = (host, port)
        self._socket: socket.socket | None = None
        self._thread: threading.Thread
        self.set_open(True)

    @property
    def url(self) -> str:
        """Where it listens."""
        return "http://{}:{}".format(*self._address)

    def set_open(self, is_open: bool) -> None:
        """Listen, or refuse all and reset what is connected."""
        if is_open and self._socket is None:
            self._socket = socket.create_server(self._address, backlog=128)
            self._address = (self._address[0], self._socket.getsockname()[1])
            self._thread = threading.Thread(target=self._accept, args=(self._socket,), daemon=True)
            self._thread.start()
        elif not is_open and self._socket is not None:
            listening, self._socket = self._socket, None
            with contextlib.suppress(OSError):
                listening.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept()
            listening.close()
            self._thread.join()  # the port is taken as long as that thread is in accept()
            with self._lock:
                connected = list(self._open)
            for each in connected:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                sock, _ = listening.accept()
            except OSError:
                return  # closed by set_open(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open.add(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        self._core.statistics.count(connections=1)
        try:
            Connection(sock, self._core).serve()
        finally:
            with self._lock:
                self._open.discard(sock)


def main(arguments: list[str]) -> None:
    """Serve until SIGTERM, or until standard input closes if told so; print READY with both addresses as JSON."""
    parser = argparse.ArgumentParser(prog="python -m harness.sink", description="A bulk sink with faults.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--discard", action="store_true", help="count the documents, keep none: for benchmarks")
    parser.add_argument("--ids-only", action="store_true", help="keep no more of a document than its id")
    parser.add_argument("--seed", type=int, default=0, help="of the faults that are drawn by rate")
    parser.add_argument("--until-stdin-closes", action="store_true", help="end with the process that holds our input")
    options = parser.parse_args(arguments)
    core = Core(keep=not options.discard, seed=options.seed, keeps_sources=not options.ids_only)
    listener = Listener(host=options.host, port=options.port, core=core)
    control = Listener(host="127.0.0.1", port=0, core=core)
    core.set_listening = listener.set_open
    print("READY", json.dumps({"url": listener.url, "control": control.url, "pid": os.getpid()}), flush=True)
    if options.until_stdin_closes:
        sys.stdin.read()
    else:
        threading.Event().wait()
