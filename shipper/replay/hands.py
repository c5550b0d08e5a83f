"""A worker where it runs: in this process, or in one of its own. `crew` drives either kind.

A process of its own ends when its parent does (the pipe closes), and leaves signals to it. It is forked, which is safe
while the parent has one thread, and costs nothing: a second of imports for each would be a second of work lost.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Protocol

import msgspec

from shipper.batch import Output
from shipper.errors import ShipperError, UndeliveredError
from shipper.interpreter import tune
from shipper.replay.messages import Command, Message, Stop, Wish
from shipper.replay.outputs import CountingOutput, make_output
from shipper.replay.pacing import Pace
from shipper.replay.worker import Repairer, Worker
from shipper.settings import Settings

_CRASHED = 70


class Orders(msgspec.Struct, frozen=True):
    """What every worker of a replay is started with."""

    settings: Settings
    wish: Wish
    directory: Path
    """For dead letters and spools."""
    lines_per_second: float
    clock: Path | None
    """A file that all workers share, to keep that rate together."""
    is_dry: bool
    repairs: bool = False
    log_level: int = logging.INFO
    lock: int = -1
    """The descriptor that keeps others from the same replay, -1 for none: the parent's alone, whoever inherits it."""

    def output(self, number: int, on_crash: Callable[[], None]) -> Output:
        """Raises OutputError."""
        if self.is_dry:
            return CountingOutput()
        return make_output(self.settings, directory=self.directory, number=number, on_crash=on_crash)

    def preload(self) -> None:
        """Imports what the outputs of all workers need, once."""
        if self.settings.output.elasticsearch is not None and not self.is_dry:
            importlib.import_module("shipper.elastic.output")

    def repairer(self) -> Repairer | None:
        """Raises OutputError."""
        server = self.settings.output.elasticsearch
        if not self.repairs or server is None or self.is_dry:
            return None
        from shipper.replay import repair  # what only a server needs

        return repair.Repairer(server)

    def pace(self) -> Pace:
        """Raises OSError."""
        return Pace(lines_per_second=self.lines_per_second, clock=self.clock)


class Hand(Protocol):
    """One worker, as `crew` sees it."""

    number: int

    def tell(self, command: Command) -> None:
        """Raises UndeliveredError if the worker is gone."""

    def hear(self) -> list[Message]:
        """What it has said since; waits but for moments. Raises UndeliveredError if it is gone."""

    def stop_soon(self, stop: Stop) -> None:
        """Called by a signal handler."""

    def end(self) -> None:
        """Ends it at once if it has not ended."""


class OwnHand:
    """A worker in this process; it works while it is listened to."""

    number = 0

    def __init__(self, orders: Orders) -> None:
        """Raises InUseError and OutputError."""
        self._messages: deque[Message] = deque()
        self._has_crashed = False
        output = orders.output(0, self._crash)
        output.start()
        self._output = output
        self._worker = Worker(
            settings=orders.settings,
            wish=orders.wish,
            output=output,
            pace=orders.pace(),
            send=self._messages.append,
            repairer=orders.repairer(),
        )

    def _crash(self) -> None:
        self._has_crashed = True

    def tell(self, command: Command) -> None:
        self._worker.take(command)

    def stop_soon(self, stop: Stop) -> None:
        self._worker.take(stop)

    def hear(self) -> list[Message]:
        until = time.monotonic() + 0.1
        while not (self._messages or self._worker.is_closed) and time.monotonic() < until:
            if self._has_crashed:
                raise UndeliveredError("the output has ended; the log says why")
            pause = self._worker.step()
            if pause > 0 and not self._messages:
                self._worker.wait(pause)
        messages = list(self._messages)
        self._messages.clear()
        return messages

    def end(self) -> None:
        if not self._worker.is_closed:
            self._output.close(deadline=time.monotonic())


class ProcessHand:
    """A worker in a process of its own."""

    def __init__(self, orders: Orders, *, number: int, earlier: Sequence[ProcessHand]) -> None:
        """`earlier`: those that were started before, whose ends of pipes a fork has as well."""
        context = multiprocessing.get_context("fork")
        self.number = number
        self.connection, theirs = context.Pipe()
        inherited = [self.connection, *(hand.connection for hand in earlier)]
        self._process = context.Process(
            target=_work, args=(theirs, inherited, orders, number), name=f"replay-{number}", daemon=True
        )
        self._process.start()
        theirs.close()

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def tell(self, command: Command) -> None:
        try:
            self.connection.send(command)
        except OSError:
            raise self._gone() from None

    def stop_soon(self, stop: Stop) -> None:
        """Nothing: `tell` follows, and it waits for nothing that only a signal ends."""

    def hear(self) -> list[Message]:
        messages: list[Message] = []
        try:
            while self.connection.poll():
                message = self.connection.recv()
                if isinstance(message, ShipperError):
                    raise message
                if isinstance(message, Said):
                    logging.getLogger(message.logger).log(message.level, "worker %d: %s", self.number, message.text)
                else:
                    messages.append(message)
        except (EOFError, OSError):
            if not messages:
                raise self._gone() from None
        return messages

    def _gone(self) -> UndeliveredError:
        self._process.join(5)
        return UndeliveredError(f"worker {self.number} (process {self.pid}) ended with {self._process.exitcode}")

    def end(self) -> None:
        self.connection.close()
        self._process.join(2)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def hands_of(orders: Orders, *, count: int, is_alone: bool) -> Sequence[Hand]:
    """So many workers; in this process if there is to be but one. Raises InUseError and OutputError."""
    if is_alone or count < 2:
        return [OwnHand(orders)]
    orders.preload()
    hands: list[ProcessHand] = []
    for number in range(count):
        hands.append(ProcessHand(orders, number=number, earlier=hands))
    return hands


class Said(msgspec.Struct, frozen=True):
    """What a worker's process logs; its parent writes it where its own messages go."""

    logger: str
    level: int
    text: str


class _Relay(logging.Handler):
    def __init__(self, send: Callable[[object], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):  # the parent has ended, and so will this process
            self._send(Said(record.name, record.levelno, self.format(record)))


def _relaying(connection: Connection, *, level: int) -> Callable[[object], None]:
    """How to send to the parent, from any thread; what is logged goes the same way."""
    lock = threading.Lock()

    def send(message: object) -> None:
        with lock:
            connection.send(message)

    logging.basicConfig(level=level, format="%(message)s", handlers=[_Relay(send)], force=True)
    return send


# In the worker's process --------------------------------------------------------------------------------------------


def _work(connection: Connection, inherited: Sequence[Connection], orders: Orders, number: int) -> None:
    for other in inherited:  # else a worker would keep another's pipe open when the parent has ended
        other.close()
    if orders.lock >= 0:
        os.close(orders.lock)
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, signal.SIG_IGN)  # the parent says when to stop
    send = _relaying(connection, level=orders.log_level)
    try:
        output = orders.output(number, lambda: os._exit(_CRASHED))
        output.start()
    except ShipperError as error:
        send(error)
        return
    worker = Worker(
        settings=orders.settings,
        wish=orders.wish,
        output=output,
        pace=orders.pace(),
        send=send,
        repairer=orders.repairer(),
    )
    tune()
    try:
        while not worker.is_closed:
            while connection.poll():
                worker.take(connection.recv())
            pause = worker.step()
            if pause > 0 and worker.is_idle:
                connection.poll(pause)  # the next file is there in less than a moment
            elif pause > 0:
                worker.wait(pause)
    except ShipperError as error:
        send(error)
        os._exit(_CRASHED)
    except (EOFError, BrokenPipeError, ConnectionResetError):  # the parent has ended
        os._exit(_CRASHED)
