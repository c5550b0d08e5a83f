"""Does what a server's answer says of each document: sends it again, spools it, keeps a dead letter, tells `done`.

`elastic` hands it the answers, `triage` decides. A batch is done once all of its documents are durable, and not before
its dead letters are synced.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter as Tallies
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from exporter.registry import Counter
from shipper.deadletter import DeadLetterWriter
from shipper.elastic.bulk import ItemError, Results, Verdict
from shipper.elastic.gather import Queue
from shipper.elastic.items import Bulk, Item, Pending, Settled, items_of
from shipper.elastic.spool import Spool
from shipper.elastic.triage import Delivered, Round, Tally, sort_out, tally
from shipper.failpoints import failpoint
from shipper.telemetry import Telemetry

log = logging.getLogger(__name__)

BUSY_SHARE = 0.2
"""Of the documents of a request that the server has no time for: above that, less is sent at once."""


class Patience(NamedTuple):
    """How long documents wait in memory before they go to the spool."""

    hold_seconds: float = 5.0
    """Those of an index that an operator must unblock."""
    busy_seconds: float = 60.0
    """Those that the server cannot take just now, while it takes others."""


class Counts:
    """What became of documents, in the metrics. Safe to use from many threads."""

    def __init__(self, *, telemetry: Telemetry, monotonic: Callable[[], float]) -> None:
        self._documents = cache(telemetry.documents.labels)
        self._unexpected_conflicts = telemetry.unexpected_conflicts
        self._monotonic = monotonic
        self._lock = threading.Lock()  # guards the results of all documents
        self.accepted_at = 0.0
        """When the server last took a document, or said that it has it."""

    def part(self, part: Pending, judged: Tally) -> None:
        """Count documents that were sent together."""
        source = part.documents.batch.source
        if judged.created or judged.duplicates:
            self.accepted_at = self._monotonic()
        if judged.created:
            self._documents(source, "created").inc(judged.created)
            self._note(part, "created", judged.created)
        if judged.duplicates:
            self._documents(source, "duplicate").inc(judged.duplicates)
            self._note(part, "duplicate", judged.duplicates)
            if not part.may_be_applied:
                self._unexpected_conflicts.inc(judged.duplicates)

    def single(self, done: Delivered) -> None:
        """Count a document that was sent on its own."""
        self._documents(done.item.source, done.result).inc()
        if done.item.origin is not None:
            self._note(done.item.origin, done.result, 1)
            if done.result == "duplicate" and done.letter is not None:
                self._note(done.item.origin, "reduced_before", 1)
        if done.result == "duplicate" and not done.item.may_be_applied:
            self._unexpected_conflicts.inc()
        if done.result in ("created", "duplicate"):
            self.accepted_at = self._monotonic()

    def _note(self, part: Pending, result: str, count: int) -> None:
        results = part.documents.results
        with self._lock:
            results[result] = results.get(result, 0) + count


class Settler:
    """Safe to use from many threads. After `abandon` nothing is told to be done any more.

    `retries` gives the counter of documents sent again for a reason; `spooled` is told which index something waits for.
    """

    def __init__(
        self,
        *,
        queue: Queue,
        spool: Spool,
        dead_letters: DeadLetterWriter,
        counts: Counts,
        retries: Callable[[str], Counter],
        spooled: Callable[[str], None],
        backoff: Callable[[int], float],
        patience: Patience,
        monotonic: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._spool = spool
        self._dead_letters = dead_letters
        self._counts = counts
        self._retries = retries
        self._spooled = spooled
        self._backoff = backoff
        self._patience = patience
        self._monotonic = monotonic
        self._finishing = threading.Lock()  # held while `done` is called; guards _is_abandoned
        self._is_abandoned = False
        self._saying = threading.Lock()  # guards _is_spool_refusing
        self._is_spool_refusing = False

    def abandon(self) -> None:
        """Call `done` no more; returns once no call is under way."""
        with self._finishing:
            self._is_abandoned = True

    def settle_bulk(self, bulk: Bulk, results: Results) -> None:
        """Do what the answer says of each document."""
        self._keep_pace(results)
        answers = [(item, *_answer(results, i)) for i, item in enumerate(bulk.items)]
        settled: list[tuple[Pending, int]] = []
        position = 0
        for part in bulk.parts:
            count = part.documents.count
            judged = tally(results, position, count)
            self._counts.part(part, judged)
            settled.append((part, judged.created + judged.duplicates))
            if judged.others:
                items = items_of(part, [number - position for number in judged.others])
                answers += [(item, *_answer(results, i)) for item, i in zip(items, judged.others, strict=True)]
            position += count
        self.finish(self._queue.settle(settled))
        if answers:
            self.settle_round(sort_out(answers, is_alone=bulk.count == 1))

    def _keep_pace(self, results: Results) -> None:
        busy = sum(
            results.statuses[i] == 429 and error.type != "cluster_block_exception"
            for i, error in results.errors.items()
        )
        if busy > BUSY_SHARE * results.documents:
            self._queue.pace.rejected()
        elif not busy:
            self._queue.pace.accepted()

    def settle_round(self, result: Round) -> None:
        """Do what was decided about single documents."""
        settled: Tallies[Pending] = Tallies()
        for done in result.delivered:
            self._counts.single(done)
            if done.item.origin is not None:
                if done.letter is not None:
                    done.item.origin.letters.append(done.letter)
                settled[done.item.origin] += 1
        self.finish(self._queue.settle(settled.items()))
        if result.reduced:
            self._retries("refused").inc(len(result.reduced))
            self._queue.again(result.reduced, seconds=0.0)
        if result.apart:
            self._retries("refused").inc(len(result.apart))
            self._queue.give_back(Bulk(items=result.apart).halves())
        self.put_off(result.waiting)

    def put_off(self, waiting: Sequence[tuple[Item, Verdict]]) -> None:
        """Send these later, from memory or from the spool."""
        now = self._monotonic()
        later: list[Item] = []
        for_spool: dict[str, list[Item]] = {}
        for item, verdict in waiting:
            item.attempts += 1
            item.waiting_since = now if item.waiting_since is None else item.waiting_since
            is_for_spool = self._is_for_spool(item, verdict, now)
            (for_spool.setdefault(item.index, []) if is_for_spool else later).append(item)
        for index, items in for_spool.items():
            later += self._put_into_spool(index, items)
        if later:
            reasons = Tallies(verdict is Verdict.HOLD for _, verdict in waiting)
            self._retries("blocked").inc(reasons[True])
            self._retries("busy").inc(reasons[False])
            self._queue.again(later, seconds=self._backoff(max(item.attempts for item in later)))

    def _is_for_spool(self, item: Item, verdict: Verdict, now: float) -> bool:
        since = now if item.waiting_since is None else item.waiting_since
        if self._spool.has(item.index):  # it has been ill for long: new documents need not find that out again
            return True
        if verdict is Verdict.HOLD:
            return self._queue.is_closing or now - since >= self._patience.hold_seconds
        return now - since >= self._patience.busy_seconds and self._counts.accepted_at > since

    def _put_into_spool(self, index: str, items: Sequence[Item]) -> Sequence[Item]:
        """Put items on disk, where they are done; return those that stay here."""
        is_new = not self._spool.has(index)
        try:
            left, problem = self._spool.add(index, items), "it is full"
        except OSError as error:
            left, problem = items, error.strerror or str(error)
        self._say_spool(index, problem if left else "")
        done = items[: len(items) - len(left)]
        if done:
            if is_new and all(item.is_suspect for item in done):
                log.error(
                    "a document for the index %r is refused with any request that it is in: it waits on disk, others "
                    "go on; look at what stands before the server (its file: %r, offset %d)",
                    index,
                    done[0].file,
                    done[0].offset,
                )
            elif is_new:
                log.error("the index %r does not take documents: they wait on disk; unblock it", index)
            self._spooled(index)
            self.finish(self._queue.settle(Tallies(item.origin for item in done if item.origin is not None).items()))
        return left

    def _say_spool(self, index: str, problem: str) -> None:
        with self._saying:
            if problem and not self._is_spool_refusing:
                log.error("the spool takes no more: %s; shipping waits until index %r does", problem, index)
            self._is_spool_refusing = bool(problem)

    def finish(self, settled: Settled) -> None:
        """Tell that documents are done, once their dead letters are synced."""
        pendings = settled.pendings
        if not pendings:
            return
        try:
            self._dead_letters.write([letter for pending in pendings for letter in pending.letters])
        except OSError:
            self._queue.unsettled(settled)
            return
        failpoint("elastic.before_done")
        with self._finishing:
            if self._is_abandoned:
                return
            for pending in pendings:
                pending.documents.done(pending.documents)
        self._queue.forget(pendings)
        failpoint("elastic.finished")


def _answer(results: Results, position: int) -> tuple[int, ItemError | None]:
    return (results.statuses[position] if results.statuses else 201), results.errors.get(position)
