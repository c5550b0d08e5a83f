"""Shares files out to workers, the largest first, and keeps their records; ends when all is read or cannot go on.

Decides nothing about lines. What it hears goes into the book, and to whoever shows progress.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from typing import Protocol

from shipper.batch import OutputStatus
from shipper.endings import cannot_deliver
from shipper.replay.hands import Hand, ProcessHand
from shipper.replay.messages import Closed, Message, NoMore, Report, Standing, Stop, Task, Wants
from shipper.replay.records import FileRecord

_LISTEN_SECONDS = 0.2


class Book(Protocol):
    """Where records are kept."""

    def put(self, number: int, record: FileRecord) -> None: ...

    def commit_if_due(self) -> None: ...


class Crew:
    """One replay's workers. `run` returns why it did not finish; '' if it did."""

    def __init__(
        self,
        *,
        hands: Sequence[Hand],
        tasks: Sequence[Task],
        book: Book,
        drain_seconds: float,
        advanced: Callable[[int], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`advanced` is told how many more bytes on disk were read."""
        self._hands = {hand.number: hand for hand in hands}
        self._bundles = shared_out(tasks, is_alone=len(hands) == 1)[::-1]
        self._book = book
        self._drain_seconds = drain_seconds
        self._advanced = advanced
        self._monotonic = monotonic
        self._started = monotonic()
        self._consumed: dict[int, int] = {}
        self._status: dict[int, OutputStatus] = {}
        self._closed: dict[int, bool] = {}
        self._why = ""
        self._is_told = False
        self.spooled = 0

    def interrupt(self) -> None:
        """Called by a signal handler: everything stops soon."""
        self._why = self._why or "interrupted"
        for hand in self._hands.values():
            hand.stop_soon(Stop(self._monotonic() + self._drain_seconds))

    def run(self) -> str:
        """Raises ShipperError where a worker cannot begin, or ends by itself."""
        try:
            while len(self._closed) < len(self._hands):
                self._listen()
                self._advanced(0)  # also says that nothing moves, where a server does not answer
                self._book.commit_if_due()
                self._why = self._why or self._cannot_deliver()
                if self._why and not self._is_told:
                    self._tell_stop()
        finally:
            for hand in self._hands.values():
                hand.end()
        if not self._why and not all(self._closed.values()):
            return self._undelivered()
        return self._why

    def _tell_stop(self) -> None:
        self._is_told = True
        seconds = self._drain_seconds if self._why == "interrupted" else 1.0
        for number, hand in self._hands.items():
            if number not in self._closed:
                hand.tell(Stop(self._monotonic() + seconds))

    def _undelivered(self) -> str:
        statuses = list(self._status.values())
        self.spooled = sum(status.spooled for status in statuses)
        if self.spooled:
            return f"{self.spooled} documents wait on disk for an index that is blocked"
        return "not everything was delivered"

    def _listen(self) -> None:
        open_hands = [hand for number, hand in self._hands.items() if number not in self._closed]
        connections = [hand.connection for hand in open_hands if isinstance(hand, ProcessHand)]
        if connections:
            wait(connections, _LISTEN_SECONDS)
        for hand in open_hands:
            for message in hand.hear():
                self._take(hand, message)

    def _take(self, hand: Hand, message: Message) -> None:
        match message:
            case Wants():
                for command in self._bundles.pop() if self._bundles and not self._why else [NoMore()]:
                    hand.tell(command)
            case Report():
                self._book.put(message.number, message.record)
                before = self._consumed.get(message.number, 0)
                self._consumed[message.number] = max(before, message.consumed_bytes)
                self._advanced(max(0, message.consumed_bytes - before))
            case Standing():
                self._status[hand.number] = message.status
            case Closed():
                self._closed[hand.number] = message.is_delivered
                self._status[hand.number] = message.status

    def _cannot_deliver(self) -> str:
        """Why it is in vain to go on: all that have something to deliver cannot."""
        now = self._monotonic()
        reasons = [
            cannot_deliver(status, now=now, started=self._started)
            for number, status in self._status.items()
            if number not in self._closed
        ]
        return next(iter(reasons), "") if reasons and all(reasons) else ""


def shared_out(tasks: Sequence[Task], *, is_alone: bool) -> list[list[Task]]:
    """What is given out at once, in order: as planned (the oldest first), or among several workers the largest first.

    What lies in one compressed archive stays together and in its order, because it is unfolded only forwards.
    """
    bundles: dict[object, list[Task]] = {}
    for task in tasks:
        entry = task.entry
        bundles.setdefault(entry.file if entry.is_folded else task.number, []).append(task)
    found = [sorted(bundle, key=lambda task: task.entry.start or 0) for bundle in bundles.values()]
    return found if is_alone else sorted(found, key=lambda bundle: -sum(task.entry.size_bytes for task in bundle))
