"""The HTTP server: one thread for all sockets, a few workers for the answers.

No client can hold a worker: requests are read, and responses written, by the one thread without blocking, and every
connection has a deadline for what it is doing. Past the limit of connections the one that idles longest gives way, or
the one that takes longest over its answer.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec

from exporter.admission import REFUSALS, Admission
from exporter.connection import READ_BYTES, Connection, Wait
from exporter.doorkeeper import Doorkeeper
from exporter.listen import bind, parse_listen
from exporter.messages import (
    MAX_HEAD_BYTES,
    NO_HEADERS,
    BadRequestError,
    Request,
    Response,
    format_response,
    parse_head,
)
from exporter.site import ServerHooks, Site

if TYPE_CHECKING:
    from exporter.guard import Guard

TOLD_SECONDS: Final = 60.0
MAX_TOLD: Final = 256
log: Final = logging.getLogger(__name__)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What one client may take of us. Times are seconds."""

    connections: int = 128
    head_seconds: float = 10.0  # from the first byte of a request, or from connecting, to the end of its head
    idle_seconds: float = 120.0  # between requests
    write_seconds: float = 30.0  # to take the whole response
    close_seconds: float = 1.0  # for answers under way when the server is closed


class Server:
    """Bound and answering between `start` and `close`; may be started once."""

    def __init__(
        self,
        *,
        listen: str,
        hooks: ServerHooks,
        guard: Guard | None = None,
        workers: int = 4,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._listen = listen
        self._port = parse_listen(listen)[1]
        self._site = Site(hooks=hooks)
        self._guard = guard
        self._doorkeeper = Doorkeeper(check=guard.check) if guard is not None else None
        self._limits = limits or Limits()
        self._clock = clock
        self._listeners: list[socket.socket] = []
        self._connections: set[Connection] = set()  # the I/O thread's own
        self._told_until: dict[tuple[str, str], float] = {}  # the I/O thread's own
        self._requests: queue.SimpleQueue[tuple[Connection, Request] | None] = queue.SimpleQueue()
        self._answers: deque[tuple[Connection, Response, bytes]] = deque()
        self._close_at: float | None = None
        self._threads = [threading.Thread(target=self._serve, name="http", daemon=True)]
        self._threads += [
            threading.Thread(target=self._work, name=f"http-{number}", daemon=True) for number in range(workers)
        ]

    @property
    def port(self) -> int:
        """The port that is bound, also where any was asked for."""
        return self._port

    @property
    def scheme(self) -> str:
        """`https` where TLS is served."""
        return "https" if self._guard is not None and self._guard.has_tls else "http"

    def is_alive(self) -> bool:
        """True while every thread of the server runs."""
        keeps_door = self._doorkeeper is None or self._doorkeeper.is_alive()
        return keeps_door and all(thread.is_alive() for thread in self._threads)

    def start(self) -> None:
        """Binds and begins to answer. Raises InUseError if the port is taken, ConfigError if it can never be bound."""
        self._listeners, self._port = bind(self._listen, backlog=self._limits.connections)
        self._selector = selectors.DefaultSelector()
        self._waker, self._wakened = socket.socketpair()
        for listener in self._listeners:
            self._selector.register(listener, selectors.EVENT_READ)
        self._waker.setblocking(False)
        self._wakened.setblocking(False)
        self._selector.register(self._wakened, selectors.EVENT_READ)
        if self._doorkeeper is not None:
            self._doorkeeper.start()
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Ends after the answers that are under way, within a second or so. Nothing happens if it never started."""
        if not self._listeners:
            return
        self._close_at = self._clock() + self._limits.close_seconds
        self._wake()
        if self._doorkeeper is not None:
            self._doorkeeper.close()
        for _ in self._threads[1:]:
            self._requests.put(None)
        for thread in self._threads:
            thread.join()
        for one in [*self._listeners, self._waker, self._wakened, *(item.socket for item in self._connections)]:
            one.close()
        self._selector.close()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._waker.send(b"\0")

    def _work(self) -> None:
        """A worker: makes answers."""
        while (item := self._requests.get()) is not None:
            connection, request = item
            try:
                response = self._response(connection, request)
            except Exception:  # one request that fails must not end the answering of others
                log.exception("cannot answer %s %r", request.method, request.path)
                response = Response(status=HTTPStatus.INTERNAL_SERVER_ERROR, body=b"failed; see the log\n")
            if response is not None:
                self._give(connection, request, response)

    def _response(self, connection: Connection, request: Request) -> Response | None:
        """The answer; None where the doorkeeper will say whether there is one."""
        admission = self._guard.admission(request) if self._guard is not None else Admission.ADMITTED
        if admission is Admission.TO_CHECK and self._doorkeeper is not None:
            is_taken = self._doorkeeper.take(request, lambda is_right: self._checked(connection, request, is_right))
            return None if is_taken else REFUSALS[Admission.LIMITED]
        if admission is Admission.ADMITTED:
            return self._site.answer(request)
        return self._site.probe(request) if admission is Admission.PROBE else REFUSALS[admission]

    def _checked(self, connection: Connection, request: Request, is_right: bool) -> None:
        """The doorkeeper's thread: a login was right, and is known from now on, or wrong."""
        if is_right:
            self._requests.put((connection, request))
        else:
            self._give(connection, request, REFUSALS[Admission.REFUSED])

    def _give(self, connection: Connection, request: Request, response: Response) -> None:
        """Any thread but the I/O thread: hands an answer over to it."""
        is_head = request.method == "HEAD"
        data = format_response(response, is_head=is_head, is_kept_alive=request.is_kept_alive, extra=self._headers())
        self._answers.append((connection, response, data))
        self._wake()

    def _headers(self) -> Mapping[str, str]:
        return self._guard.headers() if self._guard is not None else NO_HEADERS

    def _serve(self) -> None:
        """The I/O thread."""
        while not self._is_done():
            for key, _ in self._selector.select(self._timeout()):
                if key.fileobj is self._wakened:
                    with contextlib.suppress(BlockingIOError):
                        self._wakened.recv(READ_BYTES)
                elif key.data is None:
                    self._accept(key.fileobj)  # type: ignore[arg-type]
                else:
                    self._advance(key.data)
            while self._answers:
                self._begin_writing(*self._answers.popleft())
            self._expire()

    def _is_done(self) -> bool:
        if self._close_at is None:
            return False
        return self._clock() >= self._close_at or all(item.is_reading for item in self._connections)

    def _timeout(self) -> float | None:
        deadlines = [item.deadline for item in self._connections if not item.is_waiting]
        if self._close_at is not None:
            deadlines.append(self._close_at)
        return max(0.0, min(deadlines) - self._clock()) if deadlines else None

    def _expire(self) -> None:
        now = self._clock()
        for connection in [item for item in self._connections if item.deadline <= now and not item.is_waiting]:
            self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        self._connections.discard(connection)
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(connection.socket)
        connection.close()

    def _give_way(self) -> bool:
        """Drops the connection that would expire first, of those that read, else of those that take their answer too
        slowly; False if the workers have all."""
        idle = [item for item in self._connections if item.is_reading]
        idle = idle or [item for item in self._connections if not item.is_waiting]
        if idle:
            self._drop(min(idle, key=lambda item: item.deadline))
        return bool(idle)

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, address = listener.accept()
        except (BlockingIOError, ConnectionError):
            return
        except OSError as error:  # out of descriptors or memory: room is made, or others are given time to make it
            if not self._give_way():
                log.warning("cannot accept connections: %s", error.strerror)
                time.sleep(0.1)
            return
        if len(self._connections) >= self._limits.connections and not self._give_way():
            client.close()
            return
        client.setblocking(False)
        with contextlib.suppress(OSError):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        host = str(address[0]).removeprefix("::ffff:")
        try:
            connection = self._connection(client, host)
        except OSError:  # it is gone already
            client.close()
            return
        self._connections.add(connection)
        self._selector.register(connection.socket, selectors.EVENT_READ, connection)

    def _connection(self, client: socket.socket, host: str) -> Connection:
        """Raises OSError."""
        deadline = self._clock() + self._limits.head_seconds
        context = self._guard.context() if self._guard is not None else None
        if context is None:
            return Connection(client, host, deadline)
        from exporter.encrypted import encrypted  # 4 MB that a plain server does without

        return encrypted(client, host, deadline, context)

    def _advance(self, connection: Connection) -> None:
        if connection not in self._connections:
            return  # dropped by an event before this one
        try:
            if connection.is_shaking:
                self._shake(connection)
            elif connection.is_reading:
                self._read(connection)
            elif connection.response is not None:
                self._write(connection)
        except Wait as wait:
            self._selector.modify(connection.socket, wait.events, connection)
        except BlockingIOError:
            return
        except OSError as error:
            if reason := connection.refusal(error):
                self._tell_refused(connection, reason)
            self._drop(connection)

    def _shake(self, connection: Connection) -> None:
        certificate = connection.shake()
        if self._guard is not None and not self._guard.admits(certificate):
            self._tell_refused(connection, "its certificate has none of client_allowed_sans")
            self._drop(connection)
            return
        self._selector.modify(connection.socket, connection.events, connection)
        self._read(connection)

    def _tell_refused(self, connection: Connection, reason: str) -> None:
        """Logs a handshake that failed, unless it was told lately: strangers must not fill the log."""
        now, key = self._clock(), (connection.address, reason)
        if now < self._told_until.get(key, now):
            return
        if len(self._told_until) >= MAX_TOLD:
            self._told_until.clear()
        self._told_until[key] = now + TOLD_SECONDS
        log.info("no TLS with %s: %s", connection.address, reason)

    def _read(self, connection: Connection) -> None:
        data = connection.receive()
        if not data:
            self._drop(connection)
            return
        if not connection.received:
            connection.deadline = self._clock() + self._limits.head_seconds
        connection.received += data
        self._take_request(connection)

    def _take_request(self, connection: Connection) -> None:
        """Hands the next request to the workers, if its head is there."""
        end = connection.received.find(b"\r\n\r\n")
        try:
            if max(end, len(connection.received) if end < 0 else 0) > MAX_HEAD_BYTES:
                raise BadRequestError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            if end < 0:
                return
            request = parse_head(bytes(connection.received[:end]), address=connection.address)
        except BadRequestError as error:
            response = Response(status=error.status, body=f"{error.status.phrase}\n".encode())
            connection.is_kept_alive = False
            data = format_response(response, is_head=False, is_kept_alive=False, extra=self._headers())
            self._begin_writing(connection, response, data)
            return
        del connection.received[: end + 4]
        connection.is_kept_alive = request.is_kept_alive
        connection.is_waiting = True
        self._selector.unregister(connection.socket)
        self._requests.put((connection, request))

    def _begin_writing(self, connection: Connection, response: Response, data: bytes) -> None:
        if connection.is_waiting:
            connection.is_waiting = False
            self._selector.register(connection.socket, selectors.EVENT_WRITE, connection)
        else:
            self._selector.modify(connection.socket, selectors.EVENT_WRITE, connection)
        connection.response = memoryview(data)
        connection.on_sent = response.on_sent
        connection.deadline = self._clock() + self._limits.write_seconds
        self._advance(connection)

    def _write(self, connection: Connection) -> None:
        if not connection.send():
            return
        connection.response = None
        if connection.on_sent is not None:
            connection.on_sent()
            connection.on_sent = None
        if not connection.is_kept_alive or self._close_at is not None:
            self._drop(connection)
            return
        seconds = self._limits.head_seconds if connection.received else self._limits.idle_seconds
        connection.deadline = self._clock() + seconds
        self._selector.modify(connection.socket, selectors.EVENT_READ, connection)
        if connection.received:
            self._take_request(connection)
