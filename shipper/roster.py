"""The files that are followed, and those that wait to be: takes up what a scan found, lets go of what is gone.

`discover` looks, `attach` decides, the roster keeps the outcome: followed, a copy of what is followed, or waiting (no
complete line yet, unreadable). `pipeline` reads what is followed. Owned by the pipeline's thread.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from shipper.attach import Attacher, Outcome
from shipper.batch import Output
from shipper.discover import Found, Listing, Watcher, scan
from shipper.followed import NEVER, Followed
from shipper.settings import SourceSettings
from shipper.state import FileRecord
from shipper.tail import Damaged
from shipper.telemetry import Telemetry

log = logging.getLogger(__name__)

DIRECTORY_SECONDS = 1.0
FULL_SCAN_SECONDS = 60.0
SETTLE_SECONDS = 0.1
"""After an event: a rotation is several renames."""
RETRY_SECONDS = 5.0
FIRST_LINE_SECONDS = 0.25

Key = tuple[int, int]
"""Device and inode."""


@dataclass(slots=True)
class _Waiting:
    found: Found
    retry_at: float
    reason: str
    """Why it cannot be read; '' if it only has no complete line yet."""


@dataclass(slots=True)
class Changes:
    """What the roster leaves for the state."""

    records: dict[int, FileRecord] = field(default_factory=dict)
    forgotten: list[int] = field(default_factory=list)


class Roster:
    """All files of all sources, by what they are at present."""

    def __init__(
        self,
        *,
        sources: Sequence[SourceSettings],
        attacher: Attacher,
        output: Output,
        telemetry: Telemetry,
        own_directories: Sequence[str],
        is_first_start: bool,
        watcher: Watcher,
        takes_unterminated: bool = False,
        descriptors: Mapping[Key, int] | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sources = sources
        self._attacher = attacher
        self._output = output
        self._telemetry = telemetry
        self._own_directories = own_directories
        self._is_first_start = is_first_start
        self._is_first_scan = True
        self._watcher = watcher
        self._takes_unterminated = takes_unterminated
        self._descriptors = dict(descriptors or {})
        self._clock = clock
        self._monotonic = monotonic
        self.followed: dict[Key, Followed] = {}
        self.changes = Changes()
        self._by_identity: dict[str, list[Followed]] = {}
        self._twins: dict[Key, tuple[Found, Followed]] = {}
        self._waiting: dict[Key, _Waiting] = {}
        self._fading: list[Followed] = []  # gone, but not acknowledged to the end
        self._fresh: list[Followed] = []
        self._dirty: list[Followed] = []
        self._told: dict[str, str] = {}
        self._look_at_directories = 0.0
        self._scan_at = 0.0
        self.listing = Listing()

    def start(self) -> None:
        """Begins to watch directories."""
        self._watcher.start()

    # Scanning

    def update(self) -> list[Followed]:
        """Does what is due; returns files that are newly followed."""
        now = self._monotonic()
        if now >= self._look_at_directories:
            self._look_at_directories = now + DIRECTORY_SECONDS
            if self._watcher.has_changed():
                self._scan_at = min(self._scan_at, now + SETTLE_SECONDS)
        for waiting in [waiting for waiting in self._waiting.values() if waiting.retry_at <= now]:
            self._try_again(waiting, now)
        if now >= self._scan_at:
            self._scan(now)
        fresh, self._fresh = self._fresh, []
        return fresh

    def next_at(self) -> float:
        """When `update` has something to do (monotonic)."""
        retries = (waiting.retry_at for waiting in self._waiting.values())
        return min(self._scan_at, self._look_at_directories, *retries)

    def notice(self) -> None:
        """A directory changed: looks soon."""
        self._look_at_directories = 0.0

    def scan_soon(self) -> None:
        self._scan_at = min(self._scan_at, self._monotonic())

    def _scan(self, now: float) -> None:
        self._scan_at = now + FULL_SCAN_SECONDS
        clock_ns = time.time_ns()
        listing = scan(self._sources, own_directories=self._own_directories)
        self._watcher.watch(listing.directories, clock_ns=clock_ns)
        self.listing = listing
        self._tell(listing)
        present = {(found.device, found.inode): found for found in listing.files}
        for key in self.followed.keys() - present.keys():
            self.followed[
                key
            ].is_moved = True  # deleted, or moved where no pattern looks: read to its end if it is open
        self._twins = {key: twin for key, twin in self._twins.items() if key in present}
        self._waiting = {key: waiting for key, waiting in self._waiting.items() if key in present}
        for key, found in present.items():
            if key in self.followed:
                self._note_path(self.followed[key], found)
            elif key not in self._twins and key not in self._waiting:
                self._take_up(found, now)
        self._release_twins(now)
        if self._is_first_scan:
            self._adopt_deleted()
            self._count_vanished_while_down()
        self._is_first_scan = False

    def _note_path(self, followed: Followed, found: Found) -> None:
        if followed.path == found.path:
            return
        log.info("%r is now %r", followed.path, found.path)
        followed.is_moved = True
        followed.path = found.path
        self._dirty.append(followed)

    def _tell(self, listing: Listing) -> None:
        """Each problem once, and once when it is over."""
        for path, problem in listing.problems.items():
            if self._told.get(path) != problem:
                log.warning("cannot look at %r: %s; it is looked at again and again until it can be", path, problem)
        for path, reason in listing.left_out.items():
            if path not in self._told:
                log.info("%r is not followed: %s", path, reason)
        unreadable = {waiting.found.path for waiting in self._waiting.values() if waiting.reason}
        now_told = listing.problems | listing.left_out
        self._told = now_told | {path: text for path, text in self._told.items() if path in unreadable}

    def _adopt_deleted(self) -> None:
        """Goes on in deleted files that the engine before this one held open."""
        sources = {source.name: source for source in self._sources}
        for record in self._attacher.unattached():
            descriptor = self._descriptors.pop((record.device, record.inode), None)
            if descriptor is None or record.source not in sources:
                continue
            followed = self._attacher.resume(record, sources[record.source], descriptor)
            followed.is_moved = True
            self._follow(followed, self._monotonic())
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors = {}

    def _count_vanished_while_down(self) -> None:
        """Files that the state knows, that lie nowhere any more, and that no other file continues."""
        for record in self._attacher.unattached():
            parent = os.path.dirname(record.path) or "."
            if os.path.lexists(record.path) or not os.path.isdir(parent):
                continue
            lost = record.size - min(position for position in (record.observed, record.shipped) if position >= 0)
            if lost > 0 and not record.path.endswith((".gz", ".zst")):
                self.lose(record.source, record.path, lost, "deleted_while_down")
            self._attacher.retire(record)
            self.changes.records[record.id] = record

    # Taking up

    def _take_up(self, found: Found, now: float) -> None:
        key = (found.device, found.inode)
        try:
            attachment = self._attacher.attach(
                found,
                live=self._live,
                is_first_start=self._is_first_start and self._is_first_scan,
                is_final=self._takes_unterminated,
            )
        except FileNotFoundError:
            self._waiting.pop(key, None)
            self.scan_soon()
            return
        except (OSError, Damaged) as error:
            self._wait_for(found, now, str(getattr(error, "strerror", None) or error))
            return
        if attachment.lost_bytes:
            self.lose(found.source.name, found.path, attachment.lost_bytes, attachment.lost_reason)
        if attachment.outcome is Outcome.WAIT:
            self._wait_for(found, now, "")
            return
        self._end_waiting(key)
        if attachment.outcome is Outcome.TWIN and attachment.original is not None:
            log.debug("%r is a copy of %r", found.path, attachment.original.path)
            self._twins[key] = (found, attachment.original)
        elif attachment.followed is not None:
            self._follow(attachment.followed, now)

    def _live(self, identity: str) -> Sequence[Followed]:
        return self._by_identity.get(identity, ())

    def _wait_for(self, found: Found, now: float, reason: str) -> None:
        if reason and self._told.get(found.path) != reason:
            log.warning("cannot read %r: %s; tried again every %d seconds", found.path, reason, RETRY_SECONDS)
            self._told[found.path] = reason
        pause = RETRY_SECONDS if reason else FIRST_LINE_SECONDS
        self._waiting[found.device, found.inode] = _Waiting(found, now + pause, reason)

    def _end_waiting(self, key: Key) -> None:
        waiting = self._waiting.pop(key, None)
        if waiting is not None and waiting.reason:
            log.info("%r can be read now", waiting.found.path)
            self._told.pop(waiting.found.path, None)

    def _try_again(self, waiting: _Waiting, now: float) -> None:
        found = waiting.found
        try:
            facts = os.stat(found.path)
        except OSError:
            facts = None
        if facts is None or (facts.st_dev, facts.st_ino) != (found.device, found.inode):
            del self._waiting[found.device, found.inode]
            self.scan_soon()
        elif not waiting.reason and (facts.st_size, facts.st_mtime_ns) == (found.size, found.mtime_ns):
            age = max(0.0, self._clock() - facts.st_mtime)
            waiting.retry_at = now + min(1.0 if age < 60 else 5.0, max(FIRST_LINE_SECONDS, age / 4))
        else:
            self._take_up(found._replace(size=facts.st_size, mtime_ns=facts.st_mtime_ns), now)

    def _follow(self, followed: Followed, now: float) -> None:
        self._list(followed)
        followed.changed_at = now
        self._dirty.append(followed)
        self._follow_ledger(followed)
        log.info("following %r from offset %d", followed.path, min(followed.nearest, followed.size))
        self._fresh.append(followed)

    def _follow_ledger(self, followed: Followed) -> None:
        """What an output with a ledger has is the truth: what it has is not written again, what it lacks is."""
        followed.covered = self._output.covered(followed)
        if not self._output.has_ledger or not followed.source.ship or followed.shipped >= NEVER:
            return
        if covered_end(followed.covered, followed.shipped_from) < followed.shipped:
            log.warning("%r: the output lacks a part of what was shipped; it is shipped again", followed.path)
            followed.ship_again()

    # Letting go

    def truncated(self, followed: Followed) -> None:
        """Emptied in place. Its rest may live on in a copy (copytruncate); the file itself begins anew."""
        log.info("%r was truncated", followed.path)
        self._scan(self._monotonic())  # the copy may have appeared just now
        self.give_up(followed, "truncated")

    def give_up(self, followed: Followed, reason: str) -> None:
        """Its file has nothing more for us: goes on in a copy, or counts what was not read as lost."""
        if not self._continue_in_twin(followed):
            self._lose_rest(followed, followed.size, reason)
            self.let_go(followed)
        self.scan_soon()

    def _continue_in_twin(self, followed: Followed) -> bool:
        """Goes on in a copy that holds everything that was read; what is under way stays so."""
        for key, (found, original) in list(self._twins.items()):
            if original is not followed:
                continue
            try:
                is_moved = followed.move_to(found.path, key)
            except (OSError, Damaged):
                continue
            if is_moved:
                del self._twins[key]
                self._unlist(followed)
                self._list(followed)
                log.info("goes on in its copy %r", followed.path)
                self._fresh.append(followed)
                self._dirty.append(followed)
                return True
        return False

    def _lose_rest(self, followed: Followed, size: int, reason: str) -> None:
        lost = size - min(followed.nearest, size)
        if lost and not followed.is_compressed:
            self.lose(followed.source.name, followed.path, lost, reason)

    def lose(self, source: str, path: str, lost: int, reason: str) -> None:
        log.error("%r was %s before %d bytes of it were read; they are lost", path, reason.replace("_", " "), lost)
        self._telemetry.unread_lost_bytes.labels(source, reason).inc(lost)

    def let_go(self, followed: Followed) -> None:
        """Stops following; the record is kept, as a copy of the content may turn up."""
        self._unlist(followed)
        followed.is_gone = True
        followed.close()
        self._fading.append(followed)
        self.bury_acknowledged()

    def _list(self, followed: Followed) -> None:
        self.followed[followed.device, followed.inode] = followed
        self._by_identity.setdefault(followed.identity, []).append(followed)

    def _unlist(self, followed: Followed) -> None:
        for key in [key for key, other in self.followed.items() if other is followed]:
            del self.followed[key]
            self._by_identity[followed.identity].remove(followed)
            if not self._by_identity[followed.identity]:
                del self._by_identity[followed.identity]

    def bury_acknowledged(self) -> None:
        """Leaves the records of what is gone and acknowledged to the end."""
        if not self._fading:
            return
        done = [followed for followed in self._fading if not followed.under_way]
        self._fading = [followed for followed in self._fading if followed.under_way]
        for followed in done:
            record = followed.record(self._clock())
            self.changes.records[record.id] = record
            self.changes.forgotten += self._attacher.remember(record)
        if done:
            self._release_twins(self._monotonic())

    def _release_twins(self, now: float) -> None:
        """A copy whose original is gone is looked at anew: it may hold what the original did not give."""
        for key, (found, original) in list(self._twins.items()):
            if original.is_gone and original not in self._fading:
                del self._twins[key]
                self._take_up(found, now)

    # For others

    def take_dirty(self) -> list[Followed]:
        """Files whose record changed here since the last call."""
        dirty, self._dirty = self._dirty, []
        return [followed for followed in dirty if not followed.is_gone]

    def take_changes(self) -> Changes:
        changes, self.changes = self.changes, Changes()
        return changes

    def all(self) -> Iterator[Followed]:
        yield from list(self.followed.values())
        yield from list(self._fading)

    def remembered(self) -> list[FileRecord]:
        """Records of files that are not followed at present; from any thread."""
        return self._attacher.remembered()

    def is_away(self, followed: Followed) -> bool:
        """Whether it lies where no pattern looks (or nowhere)."""
        key = (followed.device, followed.inode)
        return all((found.device, found.inode) != key for found in self.listing.files)

    @property
    def has_fading(self) -> bool:
        return bool(self._fading)

    def count_waiting(self, source: str) -> int:
        return sum(waiting.found.source.name == source for waiting in list(self._waiting.values()))

    def waiting(self) -> list[tuple[str, str]]:
        """Path and reason of files that cannot be read."""
        return [(waiting.found.path, waiting.reason) for waiting in list(self._waiting.values()) if waiting.reason]

    def release(self) -> dict[Key, int]:
        """Ends watching and closes all files but the deleted ones, whose descriptors are the caller's then."""
        self._watcher.close()
        deleted = {}
        for followed in self.all():
            if followed.is_open and not followed.is_gone and os.fstat(followed.descriptor).st_nlink == 0:
                deleted[followed.device, followed.inode] = os.dup(followed.descriptor)
            followed.close()
        return deleted


def covered_end(covered: Sequence[tuple[int, int]], start: int) -> int:
    """How far offset ranges reach from `start` without a gap."""
    end = start
    for begin, stop in sorted(covered):
        if begin <= end:
            end = max(end, stop)
    return end
