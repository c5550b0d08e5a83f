"""The state's writer thread: makes durable what the pipeline hands over, then shows it to scrapes.

At most one commit is under way. One that fails is repeated (its values are absolute) until it succeeds; meanwhile the
pipeline reads on and keeps what it will hand over next.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from shipper.errors import StateError
from shipper.pipeline import Pending
from shipper.state import State
from shipper.telemetry import Telemetry

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
COMMIT_SECONDS = 1.0
LATE_SECONDS = 30.0
"""So long a commit may fail before `/metrics` says so with 503."""


class Committer:
    """Owns the state from `start` to `close`. `publish` is called after each commit, from its thread."""

    def __init__(
        self,
        *,
        state: State,
        publish: Callable[[Any], None],
        committed: Callable[[], None],
        telemetry: Telemetry,
        on_crash: Callable[[BaseException], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._state = state
        self._publish = publish
        self._committed = committed
        self._telemetry = telemetry
        self._on_crash = on_crash
        self._monotonic = monotonic
        self._condition = threading.Condition()
        self._pending: Pending | None = None  # guarded by _condition
        self._pending_since: float | None = None
        self._last_at = float("-inf")
        self._is_closing = False
        self.commits = 0
        self.error = ""
        self._thread = threading.Thread(target=self._run, name="state", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def is_due(self) -> bool:
        """Whether something may be handed over: nothing is under way, and the last commit is a second ago."""
        return self._pending is None and self._monotonic() - self._last_at >= COMMIT_SECONDS

    def put(self, pending: Pending) -> None:
        with self._condition:
            self._pending = pending
            self._pending_since = self._monotonic()
            self._condition.notify_all()

    def flush(self, *, deadline: float) -> bool:
        """Waits until nothing is under way; False if that is not so by `deadline` (monotonic)."""
        with self._condition:
            return self._condition.wait_for(lambda: self._pending is None, max(0.0, deadline - self._monotonic()))

    def close(self) -> None:
        """Ends the thread after the commit that is under way, without repeating one that fails."""
        with self._condition:
            self._is_closing = True
            self._condition.notify_all()
        self._thread.join()

    def age_seconds(self) -> float:
        """For how long something has been waiting to be committed; 0 if nothing is."""
        since = self._pending_since
        return 0.0 if since is None else self._monotonic() - since

    def is_late(self) -> bool:
        return self.age_seconds() > LATE_SECONDS

    def _run(self) -> None:
        try:
            while (pending := self._next()) is not None:
                self._commit(pending)
        except BaseException as error:  # noqa: BLE001 - one broad handler per thread: whatever it is, the process ends
            self._on_crash(error)

    def _next(self) -> Pending | None:
        with self._condition:
            self._condition.wait_for(lambda: self._pending is not None or self._is_closing)
            return self._pending

    def _commit(self, pending: Pending) -> None:
        started = self._monotonic()
        try:
            self._state.commit(pending.commit)
        except StateError as error:
            self._failed(error)
            return
        self._telemetry.state_commit_duration.observe(self._monotonic() - started)
        self._publish(pending.changes)
        if self.error:
            log.info("the state is written again")
        with self._condition:
            self.error = ""
            self.commits += 1
            self._last_at = started
            self._pending = self._pending_since = None
            self._condition.notify_all()
        self._committed()

    def _failed(self, error: StateError) -> None:
        if not self.error:
            log.error("%s; nothing is lost while this process runs, and it is tried again every second", error)
        self.error = str(error)
        with self._condition:
            if self._is_closing:
                self._pending = None
            else:
                self._condition.wait_for(lambda: self._is_closing, RETRY_SECONDS)
