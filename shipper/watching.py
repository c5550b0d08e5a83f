"""When directories changed: at once by events where they come, else by a look at their modification times.

Events on contents are not asked for: the kernel reports every write. `discover` scans then.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watchdog.observers.api import ObservedWatch

    from shipper.events import Events

RACY_NS = 50_000_000
"""A directory that changed this shortly before it was listed may change again without a new modification time."""
FUTURE_NS = 1_000_000_000
"""Times later than this are of a file server's clock; waiting for them to pass would mean to scan all the time."""
MOST_WATCHED = 32
"""Watching costs two threads a directory; those beyond are looked at every second, as all are where no events come."""

log = logging.getLogger(__name__)

State = tuple[int, int]
"""Inode and modification time."""
NEVER_EQUAL: State = (-1, 0)


class Watcher:
    """Tells that something has changed. `wake` is called from watchdog's thread."""

    def __init__(self, *, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._changed = threading.Event()
        self._events: Events | None = None
        self._watched: dict[str, tuple[ObservedWatch, int]] = {}  # with the inode that it had then
        self._refused: set[str] = set()
        self._states: dict[str, State] = {}

    def start(self) -> None:
        """Begins to receive events, where the system gives any."""
        from shipper.events import Events  # what a run that ends by itself does without

        try:
            self._events = Events(notice=self._notice)
        except OSError as error:
            log.warning("no events for directories (%s); they are looked at every second instead", error)

    def close(self) -> None:
        if self._events is not None:
            self._events.close()
            self._events = None
            self._watched = {}

    def watch(self, directories: Iterable[str], *, scanned_ns: int) -> None:
        """Watches exactly these; takes their state as what a scan saw that began at `scanned_ns` (Unix time)."""
        states = {directory: state_of(directory) for directory in directories}
        now_ns = time.time_ns()
        self._states = {
            directory: settled(state, scanned_ns=scanned_ns, now_ns=now_ns) for directory, state in states.items()
        }
        if self._events is None:
            return
        for directory, (watch, inode) in list(self._watched.items()):
            if directory not in states or states[directory][0] != inode:
                self._unschedule(self._events, directory, watch)
        self._refused &= states.keys()
        for directory in sorted(states.keys() - self._watched.keys() - self._refused):
            if len(self._watched) >= MOST_WATCHED:
                break
            self._schedule(self._events, directory, states[directory][0])

    def _schedule(self, events: Events, directory: str, inode: int) -> None:
        try:
            self._watched[directory] = events.ask(directory), inode
        except OSError as error:
            self._refused.add(directory)
            log.info("no events for %r (%s); it is looked at every second instead", directory, error.strerror or error)

    def _unschedule(self, events: Events, directory: str, watch: ObservedWatch) -> None:
        del self._watched[directory]
        try:
            events.forget(watch)
        except (KeyError, OSError):
            log.debug("the watch of %r had ended already", directory)

    def _notice(self) -> None:
        self._changed.set()
        self._wake()

    def has_changed(self) -> bool:
        """Whether to scan again. Costs a `stat` a directory."""
        if self._changed.is_set():
            self._changed.clear()
            return True
        return any(state_of(directory) != known for directory, known in self._states.items())


def state_of(directory: str) -> State:
    try:
        facts = os.stat(directory)
    except OSError:
        return (0, 0)
    return (facts.st_ino, facts.st_mtime_ns)


def settled(state: State, *, scanned_ns: int, now_ns: int) -> State:
    """The state as a scan saw it that began at `scanned_ns`; one that no look equals if it may have missed a change."""
    is_racy = scanned_ns - RACY_NS < state[1] < now_ns + FUTURE_NS
    return NEVER_EQUAL if is_racy else state
