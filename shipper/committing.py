"""The state's writer thread: makes durable what the pipeline hands over, then shows it to scrapes.

Commits are made in the order in which they were handed over. One that fails is repeated (its values are absolute) until
it succeeds; meanwhile the pipeline reads on and keeps what it will hand over next.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from shipper.errors import StateError
from shipper.failpoints import failpoint
from shipper.pipeline import Pending
from shipper.state import State
from shipper.telemetry import Telemetry

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0
COMMIT_SECONDS = 1.0
EARLY_SECONDS = 0.05
"""So much earlier is as good: else a look that comes each second on its grid would miss its commit by a hair."""
URGENT_SECONDS = 0.1
"""A file that is cut again and again does not keep the disk busy."""
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
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._state = state
        self._publish = publish
        self._committed = committed
        self._telemetry = telemetry
        self._on_crash = on_crash
        self._monotonic = monotonic
        self._condition = threading.Condition()
        self._retry_seconds = retry_seconds
        self._waiting: deque[tuple[Pending, float]] = deque()  # with their times; guarded by _condition
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

    def is_due(self, *, is_urgent: bool = False) -> bool:
        """Whether something may be handed over: nothing is under way, and the last commit is a second ago, or shorter
        if it is urgent.
        """
        pause = URGENT_SECONDS if is_urgent else COMMIT_SECONDS - EARLY_SECONDS
        return not self._waiting and self._monotonic() - self._last_at >= pause

    def put(self, pending: Pending) -> None:
        """Hands over what is to be committed, and shown then. Never waits."""
        with self._condition:
            self._waiting.append((pending, self._monotonic()))
            self._condition.notify_all()

    def flush(self, *, deadline: float) -> bool:
        """Waits until nothing is under way; False if that is not so by `deadline` (monotonic)."""
        with self._condition:
            return self._condition.wait_for(lambda: not self._waiting, max(0.0, deadline - self._monotonic()))

    def close(self) -> None:
        """Ends the thread after what was handed over, without repeating a commit that fails."""
        with self._condition:
            self._is_closing = True
            self._condition.notify_all()
        self._thread.join()

    def age_seconds(self) -> float:
        """For how long something has been waiting to be committed; 0 if nothing is."""
        with self._condition:
            return self._monotonic() - self._waiting[0][1] if self._waiting else 0.0

    def is_late(self) -> bool:
        return self.age_seconds() > LATE_SECONDS

    def _run(self) -> None:
        try:
            while (pending := self._next()) is not None:
                if not self._commit(pending) and not self._may_repeat():
                    return
        except BaseException as error:  # noqa: BLE001 - one broad handler per thread: whatever it is, the process ends
            self._on_crash(error)

    def _next(self) -> Pending | None:
        with self._condition:
            self._condition.wait_for(lambda: bool(self._waiting) or self._is_closing)
            return self._waiting[0][0] if self._waiting else None

    def _commit(self, pending: Pending) -> bool:
        """True if it is durable, and shown."""
        started = self._monotonic()
        try:
            self._state.commit(pending.commit)
        except StateError as error:
            if not self.error:
                log.error(  # noqa: TRY400 - the message says what; where in our code helps nobody
                    "%s; nothing is lost while this process runs, and it is tried again every second", error
                )
            self.error = str(error)
            return False
        self._telemetry.state_commit_duration.observe(self._monotonic() - started)
        self._publish(pending.changes)
        failpoint("state.published")
        if self.error:
            log.info("the state is written again")
        with self._condition:
            self.error = ""
            self.commits += 1
            self._last_at = started
            self._waiting.popleft()
            self._condition.notify_all()
        self._committed()
        return True

    def _may_repeat(self) -> bool:
        """Waits for the time of the next attempt; False if there is to be none."""
        with self._condition:
            was_closing = self._is_closing
            self._condition.wait_for(lambda: self._is_closing, self._retry_seconds)
        return not was_closing
