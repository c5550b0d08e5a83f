"""Which files there are: patterns and directories to files, each once, each with its source.

Only looks; `attach` decides what a file is to what is known, `pipeline` reads it. Between scans a look costs one `stat` a
directory: files appear and vanish only where its modification time says so, or an event came.
"""

from __future__ import annotations

import fnmatch
import glob
import logging
import os
import stat
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

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
from watchdog.observers.api import BaseObserver

from shipper.settings import SourceSettings

DIRECTORY_PATTERNS = ("*.log", "*.log.*", "*.log-*", "*.json", "*.jsonl", "*.ndjson")
COMPRESSED = (".gz", ".zst")
NOT_READ_LIVE = (".bz2", ".xz", ".zip", ".tar", ".tgz", ".swp", ".tmp")
RACY_NS = 50_000_000
"""A directory that changed this shortly before it was listed may change again without a new modification time."""

log = logging.getLogger(__name__)


class Found(NamedTuple):
    """A file that a source matches."""

    source: SourceSettings
    path: str
    """As it is reached; a followed symlink's own path."""
    real_path: str
    """Behind symlinks; its base name gives the stem."""
    device: int
    inode: int
    size: int
    mtime_ns: int


@dataclass(slots=True)
class Listing:
    """What a scan saw."""

    files: list[Found] = field(default_factory=list)
    directories: set[str] = field(default_factory=set)
    """Where files can appear: to be watched."""
    problems: dict[str, str] = field(default_factory=dict)
    """By path: what could not be looked at."""
    left_out: dict[str, str] = field(default_factory=dict)
    """By path: what was matched and is not followed, and why."""


def has_wildcard(path: str) -> bool:
    return glob.has_magic(path) and not os.path.lexists(path)


def expand(pattern: str) -> tuple[str, Sequence[str]]:
    """The directory below which a PATH's files lie, and the glob patterns that find them."""
    if has_wildcard(pattern):
        return _fixed_part(pattern), (pattern,)
    if os.path.isdir(pattern):
        patterns = [f"{name}{suffix}" for name in DIRECTORY_PATTERNS for suffix in ("", *COMPRESSED)]
        base = glob.escape(pattern)
        return pattern, tuple(os.path.join(base, name) for name in dict.fromkeys(patterns))
    return os.path.dirname(pattern) or ".", (glob.escape(pattern),)


def _fixed_part(pattern: str) -> str:
    parts = pattern.split(os.sep)
    fixed = []
    for part in parts[:-1]:
        if glob.has_magic(part):
            break
        fixed.append(part)
    return os.sep.join(fixed) or (os.sep if pattern.startswith(os.sep) else ".")


def scan(sources: Sequence[SourceSettings], *, own_directories: Iterable[str] = ()) -> Listing:
    """All files that the sources match now. A file belongs to the first source that matches it, and is there once."""
    listing = Listing()
    owned = tuple(os.path.realpath(directory) + os.sep for directory in own_directories)
    seen: dict[tuple[int, int], int] = {}
    for source in sources:
        for pattern in source.paths:
            for path in _matches(pattern, listing):
                _add(path, pattern, source, owned, seen, listing)
    _leave_out_repetitions(listing)
    return listing


def _matches(pattern: str, listing: Listing) -> Iterator[str]:
    directory, patterns = expand(pattern)
    try:
        with os.scandir(directory):
            listing.directories.add(directory)
    except OSError as error:
        listing.problems[directory] = error.strerror or str(error)
        listing.directories.add(_nearest_existing(directory))
        return
    if not has_wildcard(pattern) and not os.path.lexists(pattern):
        listing.problems[pattern] = "No such file or directory"
    for one in patterns:
        for path in glob.iglob(one, recursive=True):
            parent = os.path.dirname(path) or "."
            listing.directories.add(parent)
            if "**" in pattern and os.path.isdir(path):
                listing.directories.add(path.rstrip(os.sep))
            yield path


def _nearest_existing(directory: str) -> str:
    while directory and not os.path.isdir(directory):
        parent = os.path.dirname(directory)
        if parent == directory:
            break
        directory = parent
    return directory or "."


def _add(
    path: str,
    pattern: str,
    source: SourceSettings,
    owned: Sequence[str],
    seen: dict[tuple[int, int], int],
    listing: Listing,
) -> None:
    name = os.path.basename(path)
    is_named = path == pattern
    if name.startswith(".") and not is_named:
        return
    if any(fnmatch.fnmatch(name, other) or fnmatch.fnmatch(path, other) for other in source.exclude):
        return
    if name.endswith(NOT_READ_LIVE) and not is_named:
        listing.left_out[path] = "an archive or a temporary file"
        return
    try:
        facts = os.stat(path)
        is_link = stat.S_ISLNK(os.lstat(path).st_mode)
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            listing.problems[path] = error.strerror or str(error)
        return
    if not stat.S_ISREG(facts.st_mode):
        return
    real_path = os.path.realpath(path)
    if real_path.startswith(tuple(owned)):
        listing.left_out[path] = "below a directory of the shipper's own"
        return
    if is_link:
        listing.directories.add(os.path.dirname(real_path))
    key = (facts.st_dev, facts.st_ino)
    found = Found(source, path, real_path, *key, facts.st_size, facts.st_mtime_ns)
    earlier = seen.get(key)
    if earlier is None:
        seen[key] = len(listing.files)
        listing.files.append(found)
    elif not is_link and os.path.islink(listing.files[earlier].path):
        listing.files[earlier] = found._replace(source=listing.files[earlier].source)


def _leave_out_repetitions(listing: Listing) -> None:
    """Winston's errors-* repeats what stands in combined-* of the same directory."""
    has_combined: dict[str, bool] = {}
    kept = []
    for found in listing.files:
        directory, name = os.path.split(found.path)
        if name.startswith("errors-") and not found.source.errors_too and found.path not in found.source.paths:
            if directory not in has_combined:
                has_combined[directory] = _has_combined(directory or ".")
            if has_combined[directory]:
                listing.left_out[found.path] = "repeats the combined-* beside it (errors_too: true follows it as well)"
                continue
        kept.append(found)
    listing.files = kept


def _has_combined(directory: str) -> bool:
    try:
        return any(name.startswith("combined-") for name in os.listdir(directory))
    except OSError:
        return False


# Changes ------------------------------------------------------------------------------------------------------------


class Watcher:
    """Tells when directories changed: at once by events where they come, else by their modification time.

    `wake` is called from watchdog's thread. Events on contents are not asked for: the kernel reports every write.
    """

    def __init__(self, *, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._changed = threading.Event()
        self._observer: BaseObserver | None = None
        self._watched: dict[str, object] = {}
        self._times: dict[str, tuple[int, int]] = {}
        self._inodes: dict[str, int] = {}

    def start(self) -> None:
        observer = Observer()
        observer.name = "watcher"
        try:
            observer.start()
        except OSError as error:
            log.warning("no events for directories (%s); they are looked at every second instead", error)
            return
        self._observer = observer

    def close(self) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()
            self._observer = None

    def watch(self, directories: Iterable[str], *, clock_ns: int) -> None:
        """Watches exactly these, and takes their present state as known (`clock_ns`: the time before the scan)."""
        wanted = set(directories)
        inodes = {directory: _inode(directory) for directory in wanted}
        replaced = {directory for directory, inode in inodes.items() if self._inodes.get(directory, inode) != inode}
        self._inodes = inodes
        self._times = {directory: _directory_state(directory, clock_ns) for directory in wanted}
        if self._observer is None:
            return
        for directory in self._watched.keys() - (wanted - replaced):
            self._unschedule(directory)
        for directory in wanted - self._watched.keys():
            self._schedule(directory)

    def _schedule(self, directory: str) -> None:
        handler = _Handler(self._notice)
        kinds: list[type[FileSystemEvent]] = [
            FileCreatedEvent,
            FileDeletedEvent,
            FileMovedEvent,
            DirCreatedEvent,
            DirDeletedEvent,
            DirMovedEvent,
        ]
        if self._observer is None:
            return
        try:
            self._watched[directory] = self._observer.schedule(handler, directory, event_filter=kinds)
        except OSError as error:
            log.info("no events for %r (%s); it is looked at every second instead", directory, error.strerror or error)

    def _unschedule(self, directory: str) -> None:
        watch = self._watched.pop(directory)
        try:
            self._observer.unschedule(watch)  # type: ignore[union-attr, arg-type] # what schedule returned
        except (KeyError, OSError):
            log.debug("watch of %r had ended already", directory)

    def _notice(self) -> None:
        self._changed.set()
        self._wake()

    def has_changed(self) -> bool:
        """Whether to scan again. Costs a `stat` a directory."""
        if self._changed.is_set():
            self._changed.clear()
            return True
        return any(_directory_state(directory, None) != known for directory, known in self._times.items())


class _Handler(FileSystemEventHandler):
    def __init__(self, notice: Callable[[], None]) -> None:
        self._notice = notice

    def on_any_event(self, _event: FileSystemEvent) -> None:
        self._notice()


def _inode(directory: str) -> int:
    try:
        return os.stat(directory).st_ino
    except OSError:
        return 0


def _directory_state(directory: str, clock_ns: int | None) -> tuple[int, int]:
    """Inode and modification time; never equal to a later look if it changed just before `clock_ns`."""
    try:
        facts = os.stat(directory)
    except OSError:
        return (0, 0)
    if clock_ns is not None and clock_ns - facts.st_mtime_ns < RACY_NS:
        return (-1, 0)
    return (facts.st_ino, facts.st_mtime_ns)
