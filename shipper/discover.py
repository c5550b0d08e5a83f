"""Which files there are: patterns and directories to files, each once, each with its source.

Only looks. `watching` says when to look again, `attach` what a file is to what is known, `pipeline` reads it.
"""

from __future__ import annotations

import fnmatch
import glob
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import msgspec

from shipper.confinement import Confinement, confinement_of
from shipper.settings import SourceSettings

DIRECTORY_PATTERNS = ("*.log", "*.log.*", "*.log-*", "*.json", "*.jsonl", "*.ndjson")
COMPRESSED = (".gz", ".zst")
NOT_READ_LIVE = (".bz2", ".xz", ".zip", ".tar", ".tgz", ".swp", ".tmp")
NEVER_READ = (".zip", ".swp", ".tmp")
ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
ARCHIVED = (*COMPRESSED, ".bz2", ".xz")
"""What `replay` reads beside."""
MOST_DEPTH = 64
"""So many directories below its place `**` goes: who nests thousands shall not keep us from looking elsewhere."""
REPEATING = "errors-"
REPEATED = "combined-"
"""Winston's errors-* repeats what stands in combined-* of the same directory."""


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
    confinement: Confinement | None = None
    """To be held against the file once it is open; None where it was typed or is open already."""


class Listing(msgspec.Struct):
    """What a scan saw."""

    files: list[Found] = msgspec.field(default_factory=list)
    directories: set[str] = msgspec.field(default_factory=set)
    """Where files can appear: to be watched."""
    problems: dict[str, str] = msgspec.field(default_factory=dict)
    """By path: what could not be looked at."""
    left_out: dict[str, str] = msgspec.field(default_factory=dict)
    """By path: what was matched and is not followed, and why."""


# Patterns -----------------------------------------------------------------------------------------------------------


def has_wildcard(path: str) -> bool:
    """Whether a PATH is a pattern; one that lies there with such characters in its name is a file."""
    return glob.has_magic(path) and not os.path.lexists(path)


@lru_cache(maxsize=1024)
def name_matcher(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns))


def directory_matcher(*, archived: bool = False) -> re.Pattern[str]:
    """What of a directory is followed that is given as PATH; with `archived` what `replay` takes of it."""
    suffixes = ("", *(ARCHIVED if archived else COMPRESSED))
    names = [f"{name}{suffix}" for name in DIRECTORY_PATTERNS for suffix in suffixes]
    return name_matcher((*names, *(f"*{suffix}" for suffix in ARCHIVES if archived)))


def matches_hidden(pattern: str) -> bool:
    """Whether a pattern asks for names that begin with a dot."""
    return os.path.basename(pattern).startswith(".")


def would_match(source: SourceSettings, path: str) -> bool:
    """Whether a file that lies there no more would be the source's by its path, about: `*` matches directories too."""
    directory, name = os.path.split(path)
    for pattern in source.paths:
        if has_wildcard(pattern):
            last = os.path.basename(pattern)
            top = os.path.join(pattern if last == "**" else os.path.dirname(pattern), "")
            is_below = fnmatch.fnmatchcase(os.path.join(directory, ""), top.replace("**/", "*"))
            is_matched = is_below and name_matcher((last,)).match(name) is not None
        else:
            is_matched = pattern == path or (pattern == directory and directory_matcher().match(name) is not None)
        if is_matched and not _is_excluded(source, path):
            return True
    return False


class _Directories:
    """The directories that the directory part of a pattern matches; notes those in which another may appear."""

    def __init__(self, listing: Listing) -> None:
        self._listing = listing
        self._seen: set[tuple[int, int]] = set()

    def matching(self, pattern: str) -> Iterator[str]:
        parts = pattern.split(os.sep)
        fixed = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
        top = os.sep.join(parts[:fixed]) or (os.sep if pattern.startswith(os.sep) else ".")
        self._seen = set()
        yield from self._below(top, parts[fixed:])

    def _below(self, directory: str, parts: Sequence[str]) -> Iterator[str]:
        if not parts:
            yield directory
        elif parts[0] == "**":
            for each in self._all_below(directory):
                yield from self._below(each, parts[1:])
        elif glob.has_magic(parts[0]):
            matcher = name_matcher((parts[0],))
            for name in self._subdirectories(directory):
                if matcher.match(name) and (not name.startswith(".") or parts[0].startswith(".")):
                    yield from self._below(os.path.join(directory, name), parts[1:])
        else:
            path = os.path.join(directory, parts[0])
            self._listing.directories.add(directory)
            if os.path.isdir(path):
                yield from self._below(path, parts[1:])

    def _all_below(self, top: str) -> Iterator[str]:
        """The directory and those below it, each once: symlinks may lead in circles, and nesting knows no end."""
        waiting = [(top, 0)]
        while waiting:
            directory, depth = waiting.pop()
            try:
                facts = os.stat(directory)
            except OSError:
                continue
            if (facts.st_dev, facts.st_ino) in self._seen:
                continue
            self._seen.add((facts.st_dev, facts.st_ino))
            yield directory
            names = [name for name in self._subdirectories(directory) if not name.startswith(".")]
            if names and depth == MOST_DEPTH:
                self._listing.problems[directory] = f"more than {MOST_DEPTH} directories deep: not looked into further"
                continue
            waiting += [(os.path.join(directory, name), depth + 1) for name in reversed(names)]

    def _subdirectories(self, directory: str) -> list[str]:
        self._listing.directories.add(directory)
        try:
            with os.scandir(directory) as entries:
                return sorted(entry.name for entry in entries if self._is_directory(entry))
        except OSError as error:
            note_problem(self._listing, directory, error)
            return []

    def _is_directory(self, entry: os.DirEntry[str]) -> bool:
        """A link that leads in a circle, or where we may not look, hides itself and not what lies beside it."""
        try:
            return entry.is_dir()
        except OSError as error:
            note_problem(self._listing, entry.path, error)
            return False


def note_problem(listing: Listing, path: str, error: OSError) -> None:
    listing.problems[path] = error.strerror or str(error)


def top_of(pattern: str) -> str:
    """The directory that a PATH names without wildcards: its files lie there or below."""
    if not has_wildcard(pattern):
        return pattern if os.path.isdir(pattern) else os.path.dirname(pattern) or "."
    parts = os.path.dirname(pattern).split(os.sep)
    fixed = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return os.sep.join(parts[:fixed]) or (os.sep if pattern.startswith(os.sep) else ".")


def nearest_existing(directory: str) -> str:
    """The directory, or the one above it that there is: where it can appear."""
    while directory and not os.path.isdir(directory):
        parent = os.path.dirname(directory)
        if parent == directory:
            break
        directory = parent
    return directory or "."


# Scanning -----------------------------------------------------------------------------------------------------------


def scan(sources: Sequence[SourceSettings], *, own_directories: Iterable[str] = (), archived: bool = False) -> Listing:
    """All files that the sources match now. A file belongs to the first source that matches it, and is there once.

    `archived`: also what only `replay` reads. Never below `own_directories`. Raises nothing: what cannot be looked at
    is in the listing's `problems`.
    """
    listing = Listing()
    scanning = _Scan(listing, own_directories, archived=archived)
    for source in sources:
        scanning.confine(source)
        for pattern in source.paths:
            scanning.add_matches(source, pattern)
    _leave_out_repetitions(listing)
    return listing


class _Scan:
    def __init__(self, listing: Listing, own_directories: Iterable[str], *, archived: bool = False) -> None:
        self._listing = listing
        self._archived = archived
        self._not_read = NEVER_READ if archived else NOT_READ_LIVE
        self._owned = tuple(os.path.realpath(directory) + os.sep for directory in own_directories)
        self._places: dict[tuple[int, int], int] = {}  # of a file in the listing
        self._links: set[str] = set()
        self._real_directories: dict[str, str] = {}
        self._directories = _Directories(listing)

    def confine(self, source: SourceSettings) -> None:
        """What is added from now on is this source's, and must lie where its files may."""
        self._confinement = confinement_of(source, [top_of(pattern) for pattern in source.paths])

    def add_matches(self, source: SourceSettings, pattern: str) -> None:
        """Adds what one PATH matches."""
        if has_wildcard(pattern):
            matcher = name_matcher((os.path.basename(pattern),))
            is_all_below = os.path.basename(pattern) == "**"
            top = pattern if is_all_below else os.path.dirname(pattern)
            for directory in self._directories.matching(top):
                prefix = "" if directory == "." and not pattern.startswith(f".{os.sep}") else directory
                self._add_directory(source, directory, prefix, matcher, takes_hidden=matches_hidden(pattern))
        elif os.path.isdir(pattern):
            self._add_directory(
                source, pattern, pattern, directory_matcher(archived=self._archived), takes_hidden=False
            )
        else:
            self._add_named(source, pattern)

    def _add_directory(
        self, source: SourceSettings, directory: str, prefix: str, matcher: re.Pattern[str], *, takes_hidden: bool
    ) -> None:
        listing = self._listing
        try:
            with os.scandir(directory) as entries:
                found = sorted(
                    (entry.name, entry)
                    for entry in entries
                    if matcher.match(entry.name) and (takes_hidden or not entry.name.startswith("."))
                )
        except OSError as error:
            note_problem(listing, directory, error)
            listing.directories.add(nearest_existing(directory))
            return
        listing.directories.add(directory)
        is_owned = self._is_owned(directory)
        for name, entry in found:
            path = os.path.join(prefix, name)
            if name.endswith(self._not_read):
                listing.left_out[path] = _why_not_read(name)
                continue
            try:
                facts = entry.stat(follow_symlinks=False)
                is_link = stat.S_ISLNK(facts.st_mode)
                if is_link:
                    facts = os.stat(path)
            except FileNotFoundError:
                continue  # gone, or a link that leads nowhere
            except OSError as error:
                note_problem(listing, path, error)
                continue
            self._add(source, path, facts, is_link=is_link, is_owned=is_owned)

    def _add_named(self, source: SourceSettings, path: str) -> None:
        directory = os.path.dirname(path) or "."
        self._listing.directories.add(nearest_existing(directory))
        try:
            facts = os.stat(path)
        except OSError as error:
            note_problem(self._listing, path, error)
            return
        if not stat.S_ISREG(facts.st_mode):
            self._listing.problems[path] = "not a regular file"
            return
        if path.endswith(self._not_read):
            self._listing.left_out[path] = _why_not_read(path)
            return
        self._add(source, path, facts, is_link=os.path.islink(path), is_owned=self._is_owned(directory))

    def _is_owned(self, directory: str) -> bool:
        return os.path.join(self._real(directory), "").startswith(self._owned) if self._owned else False

    def _real(self, directory: str) -> str:
        real = self._real_directories.get(directory)
        if real is None:
            real = self._real_directories[directory] = os.path.realpath(directory)
        return real

    def _add(self, source: SourceSettings, path: str, facts: os.stat_result, *, is_link: bool, is_owned: bool) -> None:
        if not stat.S_ISREG(facts.st_mode) or (source.exclude and _is_excluded(source, path)):
            return
        real_path = path
        if is_link:
            real_path = os.path.realpath(path)
            is_owned = is_owned or self._is_owned(os.path.dirname(real_path))
        if is_owned:
            self._listing.left_out[path] = "below a directory of the shipper's own"
            return
        directory, name = os.path.split(real_path)
        really = os.path.join(self._real(directory or "."), name)
        if not self._confinement.holds(really):
            self._listing.left_out[path] = f"leads to {really!r}, out of its source's directories (symlinks allows it)"
            return
        if is_link:
            self._links.add(path)
            self._listing.directories.add(os.path.dirname(real_path))
        key = (facts.st_dev, facts.st_ino)
        found = Found(source, path, real_path, *key, facts.st_size, facts.st_mtime_ns, self._confinement)
        files = self._listing.files
        place = self._places.setdefault(key, len(files))
        if place == len(files):
            files.append(found)
        elif not is_link and files[place].path in self._links:  # the file itself, not what leads to it
            files[place] = found._replace(source=files[place].source)


def _why_not_read(path: str) -> str:
    return "an archive or a temporary file" + ("" if path.endswith(NEVER_READ) else "; `shipper replay` reads it")


def _is_excluded(source: SourceSettings, path: str) -> bool:
    name = os.path.basename(path)
    return any(fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(path, pattern) for pattern in source.exclude)


def _leave_out_repetitions(listing: Listing) -> None:
    has_combined: dict[str, bool] = {}
    kept = []
    for found in listing.files:
        directory, name = os.path.split(found.real_path)
        if name.startswith(REPEATING) and not found.source.errors_too and found.path not in found.source.paths:
            if directory not in has_combined:
                has_combined[directory] = _has_combined(directory or ".")
            if has_combined[directory]:
                listing.left_out[found.path] = "repeats the combined-* beside it (errors_too: true follows it as well)"
                continue
        kept.append(found)
    listing.files = kept


def _has_combined(directory: str) -> bool:
    try:
        return any(name.startswith(REPEATED) for name in os.listdir(directory))
    except OSError:
        return False
