"""What the system tells of directories, by watchdog. `watching` asks for it, and does without where it gets none."""

from __future__ import annotations

from collections.abc import Callable

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import ObservedWatch

_KINDS: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileDeletedEvent,
    FileMovedEvent,
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
]


class Events:
    """Runs from its construction to `close`. `notice` is called from watchdog's thread. Raises OSError."""

    def __init__(self, *, notice: Callable[[], None]) -> None:
        self._handler = _Handler(notice)
        self._observer = Observer()  # takes an inotify instance, of which a user has 128
        self._observer.name = "watcher"
        self._observer.start()

    def ask(self, directory: str) -> ObservedWatch:
        """Asks for those of a directory. Raises OSError."""
        return self._observer.schedule(self._handler, directory, event_filter=_KINDS)

    def forget(self, watch: ObservedWatch) -> None:
        """Raises KeyError and OSError where they have ended already."""
        self._observer.unschedule(watch)

    def close(self) -> None:
        self._observer.stop()
        self._observer.join()


class _Handler(FileSystemEventHandler):
    def __init__(self, notice: Callable[[], None]) -> None:
        self._notice = notice

    def on_any_event(self, _event: FileSystemEvent) -> None:
        self._notice()
