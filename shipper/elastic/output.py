"""The output into Elasticsearch or OpenSearch: `create` with our own ids, so that what is sent twice is there once.

Senders take bulks from the queue and send them; `settle` does what the answer says of each document. Only what failed
goes again, what one blocked index holds up goes to the spool, what is refused for its content goes in another form.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from shipper import __version__
from shipper.batch import Content, Documents, OutputStatus
from shipper.deadletter import DeadLetterWriter
from shipper.elastic.bulk import FRAME, Outcome, RequestVerdict, Verdict, is_to_be_parted
from shipper.elastic.exchange import Exchange, Health
from shipper.elastic.gather import Pace, Queue
from shipper.elastic.items import Bulk, Item, Settled, items_of
from shipper.elastic.settle import Counts, Patience, Settler
from shipper.elastic.spool import MAX_BYTES, Spool
from shipper.elastic.transport import Cluster
from shipper.elastic.triage import alone
from shipper.elastic.unspool import SpoolRunner
from shipper.errors import OutputError
from shipper.settings import ElasticsearchSettings
from shipper.telemetry import Telemetry

log = logging.getLogger(__name__)

_JOIN_SECONDS = 1.0
_CLOSING_REQUEST_SECONDS = 0.5

REJECTIONS_BEFORE_HALVING = 3
"""A document that is by itself too much for the server (429 for ever) is found by halving."""

Backoff = Callable[[int], float]
"""Seconds to wait after the n-th failure in a row, n from 1."""


def full_jitter(*, first_seconds: float, most_seconds: float) -> Backoff:
    """Return waits drawn evenly from 0 to a bound that doubles from `first_seconds` to `most_seconds`."""

    def wait(failures: int) -> float:
        try:
            import tenacity  # 6 ms that a start does without, as long as nothing fails
        except OSError:  # what has failed may be that no descriptor is left, and so neither for this
            return first_seconds
        strategy = tenacity.wait_random_exponential(multiplier=first_seconds, max=most_seconds)
        state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
        state.attempt_number = failures
        return strategy(state)

    return wait


class ElasticsearchOutput:
    """An Output. Between `start` and `close` its threads deliver what `submit` took over, for ever.

    It loses nothing: what is not on the server, in the spool or in a dead letter is not done, and is read again by the
    next process. It repeats what an ended process had sent; the ids make that harmless (`duplicate`).
    """

    frame = FRAME
    has_ledger = False

    def __init__(
        self,
        *,
        settings: ElasticsearchSettings,
        telemetry: Telemetry,
        dead_letters: DeadLetterWriter,
        spool_directory: Path,
        on_crash: Callable[[], None],
        version: str = __version__,
        host: str = "",
        spool_bytes: int = MAX_BYTES,
        backoff: Backoff | None = None,
        spool_backoff: Backoff | None = None,
        patience: Patience | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_crash` is called by a thread that ends by a bug. Raises OutputError where the settings can never work."""
        self._monotonic = monotonic
        self._on_crash = on_crash
        self._backoff = backoff or full_jitter(first_seconds=0.5, most_seconds=30.0)
        host = host or socket.gethostname()
        agent = f"shipper/{version}"
        self._cluster = Cluster(settings=settings, user_agent=agent, opaque_id=f"{agent} {host}", monotonic=monotonic)
        self._health = Health(name=str(self._cluster), telemetry=telemetry, monotonic=monotonic)
        self._exchange = Exchange(
            cluster=self._cluster, settings=settings, telemetry=telemetry, health=self._health, monotonic=monotonic
        )
        self._queue = Queue(
            pace=Pace(bulk_bytes=settings.bulk_bytes, concurrency=settings.concurrency),
            linger_seconds=settings.bulk_seconds,
            room_bytes=(settings.concurrency + 1) * settings.bulk_bytes,
            monotonic=monotonic,
        )
        self._spool = Spool(directory=spool_directory, max_bytes=spool_bytes)
        self._retries = cache(telemetry.bulk_retries.labels)
        counts = Counts(telemetry=telemetry, monotonic=monotonic)
        self._spool_runner = SpoolRunner(
            spool=self._spool,
            exchange=self._exchange,
            dead_letters=dead_letters,
            delivered=counts.single,
            backoff=spool_backoff or full_jitter(first_seconds=2.0, most_seconds=60.0),
            monotonic=monotonic,
        )
        self._settler = Settler(
            queue=self._queue,
            spool=self._spool,
            dead_letters=dead_letters,
            counts=counts,
            retries=self._retries,
            spooled=self._spool_runner.added,
            backoff=self._backoff,
            patience=patience or Patience(),
            monotonic=monotonic,
        )
        self._senders = [
            threading.Thread(target=self._guarded, args=(self._send,), name=f"elastic-{i}", daemon=True)
            for i in range(settings.concurrency)
        ]
        self._spool_thread = threading.Thread(
            target=self._guarded, args=(self._spool_runner.run,), name="elastic-spool", daemon=True
        )
        self._deadline: float | None = None

    # The Output

    def start(self) -> None:
        """Start the threads; the server may be down. Raises OutputError if an earlier run's spool cannot be used."""
        try:
            self._spool.open()
        except OSError as error:
            raise OutputError(f"the spool cannot be used: {error}") from error
        for thread in (*self._senders, self._spool_thread):
            thread.start()

    def has_room(self) -> bool:
        """False while (concurrency + 1) * bulk_bytes are under way."""
        return self._queue.has_room()

    def submit(self, documents: Documents) -> None:
        """Take documents over."""
        self._queue.put(documents)

    def flush(self) -> None:
        """Send what was gathered without waiting for more."""
        self._queue.flush()

    def forget(self, content: Content, position: int) -> None:
        """Nothing is known of it in advance."""

    def covered(self, content: Content) -> Sequence[tuple[int, int]]:  # noqa: ARG002  a server tells nothing in advance
        """Nothing: a server says by 409 what it has."""
        return ()

    def close(self, *, deadline: float) -> bool:
        """Deliver until `deadline`, ending all waits; True if nothing is left, nor spooled. No `done` after it."""
        self._deadline = deadline
        self._queue.close()
        self._spool_runner.stop()
        is_empty = self._queue.wait_empty(deadline)
        self._queue.stop()
        self._settler.abandon()
        for thread in (*self._senders, self._spool_thread):
            if is_empty and thread.is_alive():
                thread.join(_JOIN_SECONDS)
        self._cluster.close()
        return is_empty and not self._spool.count

    def status(self) -> OutputStatus:
        """How it goes."""
        health = self._health
        return OutputStatus(
            name=str(self._cluster),
            is_up=health.is_up,
            error=health.error,
            progress_at=health.progress_at,
            refused_since=health.refused_since,
            pending=self._queue.documents_under_way,
            spooled=self._spool.count,
        )

    # Threads

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException:
            log.critical("a thread of the Elasticsearch output failed", exc_info=True)
            self._on_crash()

    def _send(self) -> None:
        while (work := self._queue.take()) is not None:
            if isinstance(work, Settled):
                self._settler.finish(work)
                continue
            try:
                self._deliver(work)
            finally:
                del work  # else it stayed in memory until there is more to do
                self._queue.release()

    def _deliver(self, bulk: Bulk) -> None:
        verdict = self._exchange.send(bulk, timeout_seconds=self._timeout_seconds(), is_hurried=self._spool.is_in_use)
        match verdict.outcome:
            case Outcome.ANSWERED if verdict.results is not None:
                self._queue.resume()
                self._health.progressed()
                self._settler.settle_bulk(bulk, verdict.results)
            case Outcome.TOO_LARGE if bulk.count > 1:
                self._queue.pace.too_large(bulk.size)
                self._return(bulk.halves(), verdict.reason)
            case Outcome.MALFORMED if bulk.count > 1:
                self._return(bulk.halves(), verdict.reason)
            case Outcome.TOO_LARGE | Outcome.MALFORMED:
                self._queue.resume()
                self._health.progressed()
                self._settler.settle_round(alone(_single(bulk), verdict.outcome))
            case Outcome.REJECTED:
                self._give_way(bulk)
            case Outcome.UNAUTHORIZED:
                self._queue.pause(self._backoff(self._health.failures))
                self._return([bulk], verdict.reason)
            case _:
                self._wait(bulk, verdict)

    def _wait(self, bulk: Bulk, verdict: RequestVerdict) -> None:
        """Nothing was said of its documents: the same again, after others; in parts if that may help."""
        bulk.failures += 1
        now = self._monotonic()
        self._queue.pause(self._backoff(max(self._health.failures, 1)))
        bulk.failed_at = now if bulk.failed_at is None else bulk.failed_at
        bulk.is_suspect |= self._health.progress_at > bulk.failed_at
        if bulk.count == 1 and bulk.is_suspect:
            (item,) = _single(bulk)
            item.is_suspect = True
            self._settler.put_off([(item, Verdict.RETRY)])
            return
        is_parted = is_to_be_parted(
            verdict.reason,
            count=bulk.count,
            size=bulk.size,
            failures=bulk.failures,
            others_pass=bulk.is_suspect,
        )
        self._retries(verdict.reason).inc(bulk.count)
        self._queue.set_back(bulk.parted() if is_parted else [bulk])

    def _give_way(self, bulk: Bulk) -> None:
        """The whole request was too much at this moment (429): less at once, later."""
        pace = self._queue.pace
        pace.rejected()
        if bulk.count == 1:
            self._settler.put_off([(item, Verdict.RETRY) for item in _single(bulk)])
            return
        self._queue.pause(self._backoff(pace.rejections))
        bulk.rejections += 1
        is_too_much = bulk.size > pace.bulk_bytes or bulk.rejections >= REJECTIONS_BEFORE_HALVING
        self._return(bulk.halves() if is_too_much else [bulk], "rejected")

    def _return(self, bulks: list[Bulk], reason: str) -> None:
        self._retries(reason).inc(sum(bulk.count for bulk in bulks))
        self._queue.give_back(bulks)

    def _timeout_seconds(self) -> float | None:
        if self._deadline is None:
            return None
        return max(self._deadline - self._monotonic(), _CLOSING_REQUEST_SECONDS)


def _single(bulk: Bulk) -> list[Item]:
    return [*bulk.items, *(item for part in bulk.parts for item in items_of(part))]
