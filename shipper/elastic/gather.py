"""What is under way to a server: documents wait for company, become bulk requests, and come back if they have to.

One queue between the pipeline's thread, which only puts in, and the senders, which take. It decides when and how much
is sent; what an answer means is `bulk`'s, sending is `elastic`'s.
"""

from __future__ import annotations

import heapq
import itertools
import math
import threading
from collections import deque
from collections.abc import Callable, Iterable

from shipper.batch import Documents
from shipper.elastic.bulk import LIGHT_BYTES
from shipper.elastic.items import ASKING_BYTES, ASKING_COUNT, Bulk, Item, Pending, Settled
from shipper.elastic.reduce import Stage

MIN_BULK_BYTES = LIGHT_BYTES
CLOSING_PAUSE_SECONDS = 0.25
GROWTH = 1.25
ACCEPTED_BEFORE_MORE = 4
RETRY_UNSETTLED_SECONDS = 1.0


class Pace:
    """How much at once: gives way when the server says that it is too much, and comes back in steps."""

    def __init__(self, *, bulk_bytes: int, concurrency: int) -> None:
        self._most_bytes = bulk_bytes
        self._most_in_flight = concurrency
        self._accepted = 0
        self.rejections = 0
        """How often in a row the server was busy."""
        self.bulk_bytes = bulk_bytes
        self.in_flight = concurrency

    def accepted(self) -> None:
        """A bulk was taken: a little more of each, up to what is configured."""
        self.bulk_bytes = min(int(self.bulk_bytes * GROWTH), self._most_bytes)
        self._accepted += 1
        self.rejections = 0
        if self._accepted >= ACCEPTED_BEFORE_MORE:
            self._accepted = 0
            self.in_flight = min(self.in_flight + 1, self._most_in_flight)

    def rejected(self) -> None:
        """The server was busy (429): half as much, and one less at once."""
        self.bulk_bytes = max(self.bulk_bytes // 2, min(MIN_BULK_BYTES, self._most_bytes))
        self.in_flight = max(self.in_flight - 1, 1)
        self._accepted = 0
        self.rejections += 1

    def too_large(self, size: int) -> None:
        """A request of this size is beyond a limit (413) that does not go away: never as much again."""
        self._most_bytes = max(min(self._most_bytes, size // 2), min(MIN_BULK_BYTES, self._most_bytes))
        self.bulk_bytes = min(self.bulk_bytes, self._most_bytes)


class Queue:
    """All that is under way. `put`, `flush` and `has_room` never block; `take` does.

    A bulk that was taken must be ended with `release`, before or after its parts have come back or were settled.
    """

    def __init__(self, *, pace: Pace, linger_seconds: float, room_bytes: int, monotonic: Callable[[], float]) -> None:
        self.pace = pace
        self._linger_seconds = linger_seconds
        self._room_bytes = room_bytes
        self._monotonic = monotonic
        self._changed = threading.Condition()  # its lock guards everything below
        self._fresh: deque[Pending] = deque()
        self._fresh_bytes = 0
        self._flushed = 0
        self._numbers = itertools.count(1)
        self._last_number = 0
        self._returned: deque[Bulk] = deque()
        self._is_turn_of_others = False  # before what was returned
        self._again: dict[bool, list[tuple[float, int, Item]]] = {True: [], False: []}  # heaps, by is_asking
        self._unsettled: list[tuple[float, Settled]] = []
        self._in_flight = 0
        self._pause_until: float | None = None
        self._is_stopped = False
        self._under_way: set[Pending] = set()
        self._bytes_under_way = 0
        self.is_closing = False

    def has_room(self) -> bool:
        """False while what is under way is enough."""
        return self._bytes_under_way < self._room_bytes and not self.is_closing

    @property
    def documents_under_way(self) -> int:
        """Documents that were taken over and are not done."""
        with self._changed:
            return sum(pending.documents.count for pending in self._under_way)

    def put(self, documents: Documents) -> None:
        """Take documents over."""
        pending = Pending(documents, documents.count, list(documents.dead_letters))
        with self._changed:
            self._under_way.add(pending)
            self._bytes_under_way += pending.size
            pending.since = self._monotonic()
            if not pending.left:
                self._unsettled.append((pending.since, Settled([pending])))
                self._changed.notify()
                return
            pending.number = self._last_number = next(self._numbers)
            self._fresh.append(pending)
            self._fresh_bytes += pending.size
            if len(self._fresh) == 1 or self._fresh_bytes >= self.pace.bulk_bytes:
                self._changed.notify()

    def flush(self) -> None:
        """Let what was put in so far wait no longer for company."""
        with self._changed:
            self._flushed = self._last_number
            self._changed.notify_all()

    def take(self) -> Bulk | Settled | None:
        """Wait for work and return it; None when there will be none any more."""
        with self._changed:
            while not self._is_stopped:
                now = self._monotonic()
                if (work := self._next(now)) is not None:
                    self._in_flight += isinstance(work, Bulk)
                    return work
                if self.is_closing and not self._under_way:
                    break
                self._changed.wait(self._wait_seconds(now))
            return None

    def release(self) -> None:
        """End a bulk that was taken."""
        with self._changed:
            self._in_flight -= 1
            self._changed.notify_all()

    def give_back(self, bulks: Iterable[Bulk]) -> None:
        """Let these go before all others, as soon as requests are sent again."""
        with self._changed:
            self._returned.extendleft(reversed(list(bulks)))
            self._changed.notify_all()

    def set_back(self, bulks: Iterable[Bulk]) -> None:
        """Let these go when others have had a turn."""
        with self._changed:
            self._returned.extend(bulks)
            self._is_turn_of_others = True
            self._changed.notify_all()

    def again(self, items: Iterable[Item], *, seconds: float) -> None:
        """Let single documents go again after a while."""
        with self._changed:
            due = self._after(seconds)
            for item in items:
                heapq.heappush(self._again[item.form.stage >= Stage.ASKED], (due, next(self._numbers), item))
            self._changed.notify_all()

    def pause(self, seconds: float) -> None:
        """Send nothing for a while, and then one request at a time until `resume`."""
        with self._changed:
            self._pause_until = self._after(seconds)
            self._changed.notify_all()

    def resume(self) -> None:
        """The server answers: go on at full width."""
        with self._changed:
            if self._pause_until is not None:
                self._pause_until = None
                self._changed.notify_all()

    def settle(self, counts: Iterable[tuple[Pending, int]]) -> Settled:
        """Note how many documents of each have become durable; return those of which none is left."""
        with self._changed:
            ready = []
            for pending, count in counts:
                pending.left -= count
                if count and not pending.left:
                    ready.append(pending)
            return Settled(ready)

    def unsettled(self, settled: Settled) -> None:
        """Try later what could not be finished because the disk refused it."""
        with self._changed:
            self._unsettled.append((self._after(RETRY_UNSETTLED_SECONDS), settled))
            self._changed.notify_all()

    def forget(self, pendings: Iterable[Pending]) -> None:
        """These are done."""
        with self._changed:
            for pending in pendings:
                self._under_way.discard(pending)
                self._bytes_under_way -= pending.size
            self._changed.notify_all()

    def close(self) -> None:
        """End all waiting; take nothing over any more."""
        with self._changed:
            self.is_closing = True
            self._flushed = self._last_number
            self._pause_until = None if self._pause_until is None else self._monotonic()
            self._unsettled = [(0.0, settled) for _, settled in self._unsettled]
            for heap in self._again.values():
                heap[:] = [(0.0, number, item) for _, number, item in heap]
                heapq.heapify(heap)
            self._changed.notify_all()

    def wait_empty(self, deadline: float) -> bool:
        """Wait until nothing is under way; False if that lasts beyond `deadline` (monotonic seconds)."""
        with self._changed:
            while self._under_way and (left := deadline - self._monotonic()) > 0:
                self._changed.wait(left)
            return not self._under_way

    def stop(self) -> None:
        """Give out no more work."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    # Decisions; the lock is held

    def _after(self, seconds: float) -> float:
        return self._monotonic() + (min(seconds, CLOSING_PAUSE_SECONDS) if self.is_closing else seconds)

    def _next(self, now: float) -> Bulk | Settled | None:
        for i, (due, settled) in enumerate(self._unsettled):
            if due <= now:
                del self._unsettled[i]
                return settled
        if self._in_flight >= self._width() or (self._pause_until or now) > now:
            return None
        if self._returned and not self._is_turn_of_others:
            return self._returned.popleft()
        self._is_turn_of_others = False
        for is_asking in (False, True):
            if items := self._due_items(is_asking, now):
                return Bulk(items=items)
        if self._ripe_at(now) <= now:
            return Bulk(parts=self._gathered())
        return self._returned.popleft() if self._returned else None

    def _width(self) -> int:
        return self.pace.in_flight if self._pause_until is None else 1

    def _ripe_at(self, now: float) -> float:
        """When the gathered documents go at the latest."""
        if not self._fresh:
            return math.inf
        first = self._fresh[0]
        if self._fresh_bytes >= self.pace.bulk_bytes or first.number <= self._flushed:
            return now
        return first.since + self._linger_seconds

    def _gathered(self) -> list[Pending]:
        parts: list[Pending] = []
        size = 0
        while self._fresh and (not parts or size + self._fresh[0].size <= self.pace.bulk_bytes):
            part = self._fresh.popleft()
            size += part.size
            parts.append(part)
        self._fresh_bytes -= size
        return parts

    def _due_items(self, is_asking: bool, now: float) -> list[Item]:
        heap = self._again[is_asking]
        most_bytes = min(ASKING_BYTES, self.pace.bulk_bytes) if is_asking else self.pace.bulk_bytes
        most_count = ASKING_COUNT if is_asking else len(heap)
        items: list[Item] = []
        size = 0
        while heap and heap[0][0] <= now and len(items) < most_count and size < most_bytes:
            item = heapq.heappop(heap)[2]
            size += len(item.form.source)
            items.append(item)
        return items

    def _wait_seconds(self, now: float) -> float | None:
        """How long nothing becomes due by itself; None: until somebody says so."""
        dues = [due for due, _ in self._unsettled]
        if self._in_flight < self._width():
            work = min((heap[0][0] for heap in self._again.values() if heap), default=math.inf)
            work = min(work, self._ripe_at(now), now if self._returned else math.inf)
            dues.append(max(work, self._pause_until or work))
        earliest = min(dues, default=math.inf)
        return None if earliest == math.inf else max(earliest - now, 0.0)
