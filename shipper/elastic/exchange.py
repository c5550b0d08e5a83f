"""One bulk request to the server and what it means; and how the server does, said once per change.

Compresses in the calling thread (`isal` leaves the interpreter to the others meanwhile). Retries nothing: that is
decided by `elastic`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from urllib.parse import urlencode

from isal import isal_zlib

from shipper.elastic.bulk import (
    FILTER,
    FILTER_FAILURE_STORE,
    FILTER_WITH_REASONS,
    Outcome,
    RequestVerdict,
    judge_request,
)
from shipper.elastic.items import Bulk
from shipper.elastic.transport import Cluster, NotAnsweredError
from shipper.failpoints import failpoint
from shipper.settings import ElasticsearchSettings
from shipper.telemetry import Telemetry

log = logging.getLogger(__name__)

_GZIP_LEVEL = 1
_GZIP_WINDOW = 31  # zlib's way to say: gzip, not zlib
SERVER_SECONDS = 10.0
"""How long the server may wait for one document's shard or mapping before it answers for all. By itself it waits a
minute for a shard that is away, and everything else in the request with it."""
HURRIED_SECONDS = 1.0
"""The same while documents of some index wait in the spool already: others are not to wait for that index each time."""
_DOWN = frozenset({Outcome.WAIT, Outcome.UNAUTHORIZED})
_ADVICE = {
    "unauthorized": "check the credentials",
    "forbidden": "check the credentials' privileges, or what blocks the cluster",
    "not_found": "check the path in hosts",
    "redirect": "hosts must name the server itself",
    "proxy_unauthorized": "check the credentials of the proxy",
    "tls": "check ca_file, fingerprint and the server's name",
    "refused": "check the version of the server and the output's settings",
}
"""Reasons that need a person, and what to look at."""


class Health:
    """How the server does; a change is logged once, with what an operator can do. Safe to use from many threads."""

    def __init__(self, *, name: str, telemetry: Telemetry, monotonic: Callable[[], float]) -> None:
        self._name = name
        self._gauge = telemetry.output_up
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._said: set[str] = set()  # reasons that were logged since it was up last
        self.is_up = False
        self.error = ""
        self.failures = 0
        self.progress_at = monotonic()
        self.refused_since: float | None = None
        self._gauge.set(0)

    def answered(self) -> None:
        """The server did its work."""
        with self._lock:
            was_up, self.is_up = self.is_up, True
            self.error = ""
            self._said.clear()
            self.failures = 0
            self.refused_since = None
        self._gauge.set(1)
        if not was_up:
            log.info("%s takes documents", self._name)

    def progressed(self) -> None:
        """Documents were accepted or refused one by one."""
        self.progress_at = self._monotonic()

    def failed(self, reason: str, message: str, *, is_refusal: bool | None) -> None:
        """The server did not do its work. `is_refusal`: whether it said that we may not; None if it said nothing."""
        with self._lock:
            advice = _ADVICE.get(reason, "")
            is_news = not self._said or (bool(advice) and reason not in self._said)
            self._said.add(reason)
            self.is_up = False
            self.error = message
            self.failures += 1
            if is_refusal:
                self.refused_since = self._monotonic() if self.refused_since is None else self.refused_since
            elif is_refusal is not None:
                self.refused_since = None
        self._gauge.set(0)
        if is_news:
            level = logging.ERROR if advice else logging.WARNING
            detail = f"; {advice}" if advice else ""
            log.log(level, "%s does not take documents: %s%s; they wait in their files", self._name, message, detail)


class Exchange:
    """Sends bulks. Safe to use from many threads."""

    def __init__(
        self,
        *,
        cluster: Cluster,
        settings: ElasticsearchSettings,
        telemetry: Telemetry,
        health: Health,
        monotonic: Callable[[], float],
    ) -> None:
        self._cluster = cluster
        self._telemetry = telemetry
        self._health = health
        self._monotonic = monotonic
        self._is_compressing = settings.compression == "gzip"
        self._headers = {"content-type": "application/x-ndjson"}
        if self._is_compressing:
            self._headers["content-encoding"] = "gzip"
        store = FILTER_FAILURE_STORE if settings.allow_data_stream else ""
        pipeline = {"pipeline": settings.pipeline} if settings.pipeline else {}
        self._targets = {
            (is_asking, is_hurried): _target(
                (FILTER_WITH_REASONS if is_asking else FILTER) + store,
                {**pipeline, "timeout": _server_timeout(settings.request_seconds, is_hurried=is_hurried)},
            )
            for is_asking in (False, True)
            for is_hurried in (False, True)
        }

    def has_answered_since(self, moment: float) -> bool:
        """Whether a request's documents got their answers after this moment (monotonic)."""
        return self._health.progress_at > moment

    def send(self, bulk: Bulk, *, timeout_seconds: float | None = None, is_hurried: bool = False) -> RequestVerdict:
        """Send a bulk once, and return what its answer means; the bulk notes whether it can have been applied.

        `is_hurried`: the server is not to wait long for a single index.
        """
        body = compressed(bulk.pieces) if self._is_compressing else bulk.pieces
        target = self._targets[bulk.is_asking, is_hurried]
        started_at = self._monotonic()
        failpoint("elastic.before_send")
        try:
            answer = self._cluster.request("POST", target, body, headers=self._headers, timeout_seconds=timeout_seconds)
        except NotAnsweredError as error:
            verdict = RequestVerdict(Outcome.WAIT, error.reason)
            if error.may_be_applied:
                bulk.mark_applied()
            if not bulk.is_suspect:
                self._health.failed(error.reason, str(error), is_refusal=None)
        else:
            failpoint("elastic.after_answer")
            if answer.may_be_applied:
                bulk.mark_applied()
            verdict = judge_request(answer.status, answer.body, count=bulk.count)
            self._telemetry.bulk_duration.observe(self._monotonic() - started_at)
            self._note(bulk, verdict, answer.status)
        self._telemetry.bulk_requests.labels(verdict.reason).inc()
        return verdict

    def _note(self, bulk: Bulk, verdict: RequestVerdict, status: int) -> None:
        is_refusal = verdict.outcome is Outcome.UNAUTHORIZED
        if verdict.outcome is not Outcome.ANSWERED and not is_refusal:
            bulk.mark_applied()
        if verdict.outcome in _DOWN and bulk.is_suspect:
            return
        if verdict.outcome in _DOWN:
            self._health.failed(verdict.reason, f"{verdict.reason} (status {status})", is_refusal=is_refusal)
        else:
            self._health.answered()


def _target(filter_path: str, parameters: dict[str, str]) -> str:
    return "/_bulk?" + urlencode({"filter_path": filter_path, **parameters}, safe=",*")


def _server_timeout(request_seconds: float, *, is_hurried: bool) -> str:
    """Less than we wait for the answer ourselves: else one shard that is away would leave whole requests unanswered."""
    seconds = min(HURRIED_SECONDS if is_hurried else SERVER_SECONDS, request_seconds / 2)
    return f"{max(int(seconds * 1000), 1)}ms"


def compressed(pieces: Sequence[bytes]) -> bytes:
    """Return one gzip stream of all the pieces.

    By two calls that leave the interpreter to the others: after each the thread waits for its turn, while the
    pipeline's thread may be waiting for room.
    """
    return isal_zlib.compress(b"".join(pieces), level=_GZIP_LEVEL, wbits=_GZIP_WINDOW)
