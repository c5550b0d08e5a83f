"""Hashes the passwords of those who are not known yet, in a thread of its own, so that no scrape waits for strangers.

Few may wait, and fewer from one address; a wrong password is followed by a pause, so that guessing costs at most a
quarter of a core. What is right is remembered by `users`.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

from exporter.messages import Request

log: Final = logging.getLogger(__name__)

MAX_WAITING: Final = 32
MAX_OF_ONE_ADDRESS: Final = 4
PAUSE_FACTOR: Final = 3.0


class _Caller(NamedTuple):
    request: Request
    then: Callable[[bool], None]


class Doorkeeper:
    """Runs between `start` and `close`. `check` says whether a request's login is right, and takes its time."""

    def __init__(self, *, check: Callable[[Request], bool]) -> None:
        self._check = check
        self._callers: queue.SimpleQueue[_Caller | None] = queue.SimpleQueue()
        self._waiting: Counter[str] = Counter()  # by address; guarded by _lock
        self._lock = threading.Lock()
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="http-login", daemon=True)

    def start(self) -> None:
        """Begins to check."""
        self._thread.start()

    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def take(self, request: Request, then: Callable[[bool], None]) -> bool:
        """Takes a caller, who hears `then`, from the thread; False if too many wait already."""
        with self._lock:
            if self._waiting.total() >= MAX_WAITING or self._waiting[request.address] >= MAX_OF_ONE_ADDRESS:
                return False
            self._waiting[request.address] += 1
        self._callers.put(_Caller(request, then))
        return True

    def close(self) -> None:
        """Ends; who waits still hears nothing."""
        self._is_closing.set()
        self._callers.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while (caller := self._callers.get()) is not None and not self._is_closing.is_set():
            started = time.monotonic()
            is_right = self._checked(caller.request)
            took = time.monotonic() - started
            self._leave(caller.request.address)
            caller.then(is_right)
            if not is_right:
                self._is_closing.wait(took * PAUSE_FACTOR)

    def _checked(self, request: Request) -> bool:
        try:
            return self._check(request)
        except Exception:  # one that cannot be checked is refused, and others are still checked
            log.exception("a login could not be checked")
            return False

    def _leave(self, address: str) -> None:
        with self._lock:
            self._waiting[address] -= 1
            if not self._waiting[address]:
                del self._waiting[address]
