"""Delivers what waits in the spool, by itself, until each index takes its documents; also after a restart.

A thread of its own, so that a blocked index holds up nobody. It reads from `spool`, sends by `exchange`, and keeps dead
letters as `elastic` does.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Sequence

from shipper.deadletter import DeadLetterWriter
from shipper.elastic.bulk import Outcome
from shipper.elastic.exchange import Exchange
from shipper.elastic.items import ASKING_BYTES, Bulk, Item
from shipper.elastic.spool import Spool
from shipper.elastic.triage import Delivered, Round, alone, sort_out

log = logging.getLogger(__name__)

PROBE_BYTES = 64 * 1024
GROUP_BYTES = 512 * 1024
MOST_MISSES = 16
"""So many requests of a file may fail in one pass, where the server answers others."""


class SpoolRunner:
    """Tries each index on its own, after a pause that grows while nothing of it is taken, for ever.

    `run` is a thread's body and ends after `stop`. What it delivered just before a crash is delivered again, and
    answered as known.
    """

    def __init__(
        self,
        *,
        spool: Spool,
        exchange: Exchange,
        dead_letters: DeadLetterWriter,
        delivered: Callable[[Delivered], None],
        backoff: Callable[[int], float],
        monotonic: Callable[[], float],
    ) -> None:
        self._spool = spool
        self._exchange = exchange
        self._dead_letters = dead_letters
        self._delivered = delivered
        self._backoff = backoff
        self._monotonic = monotonic
        self._changed = threading.Condition()  # guards _is_stopped and _due
        self._is_stopped = False
        self._due: dict[str, float] = {}
        self._failures: dict[str, int] = {}
        self._missed_at: dict[str, float] = {}
        """When requests of an index last got no answer for their documents."""

    def added(self, index: str) -> None:
        """Note that something waits for this index."""
        with self._changed:
            if index not in self._due:
                self._due[index] = self._monotonic() + self._backoff(1)
                self._changed.notify()

    def run(self) -> None:
        """Work until stopped."""
        for known in self._spool.indices():
            self.added(known)
        while (index := self._next()) is not None:
            self._try(index)

    def stop(self) -> None:
        """End `run` as soon as its request is answered."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()

    def _next(self) -> str | None:
        with self._changed:
            while not self._is_stopped:
                due, index = min(((due, index) for index, due in self._due.items()), default=(math.inf, ""))
                if due <= (now := self._monotonic()):
                    return index
                self._changed.wait(None if due == math.inf else due - now)
            return None

    def _try(self, index: str) -> None:
        is_better = False
        try:
            found = self._spool.oldest(index)
            if found is None:
                self._forget(index)
                return
            segment, items = found
            known_suspects = sum(item.is_suspect for item in items)
            left = self._deliver(index, items)
            is_better = len(left) < len(items)
            if is_better or sum(item.is_suspect for item in left) > known_suspects:
                self._spool.replace(segment, left)
            if left and all(item.is_suspect for item in left):
                self._spool.set_back(segment)
        except OSError as error:  # what was delivered and is still there will be sent again, and answered as known
            log.warning("the spool of index %r cannot be read or written: %s", index, error.strerror)
            is_better = False
        self._failures[index] = 0 if is_better else self._failures.get(index, 0) + 1
        with self._changed:
            pause = self._backoff(self._failures[index]) if self._failures[index] else 0.0
            self._due[index] = self._monotonic() + pause

    def _forget(self, index: str) -> None:
        with self._changed:
            if self._spool.has(index):  # something came in between
                return
            self._due.pop(index, None)
            self._failures.pop(index, None)
            self._missed_at.pop(index, None)
        log.info("the index %r takes documents again, its spool is empty", index)

    def _deliver(self, index: str, items: list[Item]) -> list[Item]:
        """Send items; return those that must stay. The first request is small, and the last if none of it is taken."""
        suspects = [[item] for item in items if item.is_suspect]  # each alone, after all others
        others = [item for item in items if not item.is_suspect]
        groups = grouped(others, first_bytes=PROBE_BYTES, bytes_each=GROUP_BYTES) + suspects
        left: list[Item] = []
        misses = 0
        missed_at = self._missed_at.get(index)
        while groups and not self._is_stopped:
            bulk = Bulk(items=groups.pop(0))
            round_ = self._sent(bulk)
            if round_ is None:
                misses += 1
                self._missed_at[index] = self._monotonic()
                others_pass = missed_at is not None and self._exchange.has_answered_since(missed_at)
                if others_pass and bulk.count > 1 and misses < MOST_MISSES:
                    groups[:0] = [list(half.items) for half in bulk.halves()]
                    continue
                left += bulk.items
                if not others_pass or misses >= MOST_MISSES:
                    break
                bulk.items[0].is_suspect = True
                continue
            if isinstance(round_, list):
                groups[:0] = round_
                continue
            self._dead_letters.write([done.letter for done in round_.delivered if done.letter is not None])
            for done in round_.delivered:
                self._delivered(done)
            left += [item for item, _ in round_.waiting]
            if round_.apart:
                groups[:0] = [list(half.items) for half in Bulk(items=round_.apart).halves()]
            groups[:0] = grouped(round_.reduced, first_bytes=ASKING_BYTES, bytes_each=ASKING_BYTES)
            if len(round_.waiting) == bulk.count:
                break
        return left + [item for group in groups for item in group]

    def _sent(self, bulk: Bulk) -> Round | list[list[Item]] | None:
        """What became of the items; or groups to send instead; or None if the server does not answer for them."""
        verdict = self._exchange.send(bulk)
        if verdict.results is not None:
            statuses = verdict.results.statuses or [201] * bulk.count
            errors = verdict.results.errors
            answers = ((item, statuses[i], errors.get(i)) for i, item in enumerate(bulk.items))
            return sort_out(answers, is_alone=bulk.count == 1)
        if verdict.outcome not in (Outcome.TOO_LARGE, Outcome.MALFORMED):
            return None
        if bulk.count > 1:
            return [list(half.items) for half in bulk.halves()]
        return alone(bulk.items, verdict.outcome)


def grouped(items: Sequence[Item], *, first_bytes: int, bytes_each: int) -> list[list[Item]]:
    """Return the items in groups of about so many bytes."""
    groups: list[list[Item]] = []
    size = 0
    for item in items:
        if not groups or size >= (first_bytes if len(groups) == 1 else bytes_each):
            groups.append([])
            size = 0
        groups[-1].append(item)
        size += len(item.form.source)
    return groups
