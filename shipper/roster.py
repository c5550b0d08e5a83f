"""The files that are followed: takes up what a scan found, lets go of what is gone, and says what the state must keep.

`discover` looks, `attach` decides, the roster does it: what is followed stands in `register`, what is not (yet) in
`aside`. `pipeline` reads what is followed. Owned by the pipeline's thread.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from shipper.aside import SETTLED_SECONDS, UNREADABLE_SECONDS, Aside, Asides, Why, should_ask
from shipper.attach import Asked, Attacher, Attachment, Outcome, unread
from shipper.batch import Output
from shipper.delivered import ask_ledger, covered_end
from shipper.discover import Found, Listing, scan
from shipper.followed import NEVER, Followed, Key, Replaced, key_of
from shipper.openfiles import OpenFiles
from shipper.register import Register
from shipper.settings import SourceSettings
from shipper.state import FileRecord
from shipper.tail import Damaged
from shipper.telemetry import Telemetry
from shipper.watching import Watcher

log = logging.getLogger(__name__)

DIRECTORY_SECONDS = 1.0
FULL_SCAN_SECONDS = 60.0
SETTLE_SECONDS = 0.1
"""After an event: a rotation is several renames."""
SCAN_SHARE = 10
"""A scan that took a second is not followed by another for so many."""
TOLD_ONE_BY_ONE = 20
"""More files than that are told in one line when they are found at once."""


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
        open_files: OpenFiles,
        reads_once: bool = False,
        descriptors: Mapping[Key, int] | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`descriptors`: deleted files that the engine before this one held open, this one's from now on."""
        self._sources = {source.name: source for source in sources}
        self._attacher = attacher
        self._output = output
        self._own_directories = own_directories
        self._is_first_start = is_first_start
        self._is_first_scan = True
        self._watcher = watcher
        self.open_files = open_files
        self._reads_once = reads_once
        self._descriptors = dict(descriptors or {})
        self._clock = clock
        self._monotonic = monotonic
        self.register = Register(telemetry=telemetry)
        self.listing = Listing()
        self._present: dict[Key, Found] = {}  # what the last scan found
        self._first_sizes: dict[Key, int] = {}  # of files that were there when this state began, and were not read yet
        self._asides = Asides()
        self._fresh: list[Followed] = []
        self._suspects: list[Followed] = []
        self._told: dict[str, str] = {}
        self._look_at_directories = 0.0
        self._scan_at = 0.0
        self._scan_not_before = 0.0

    def start(self) -> None:
        """Begins to watch directories."""
        self._watcher.start()

    # Scanning

    def update(self) -> list[Followed]:
        """Does what is due; returns files that are newly followed."""
        now = self._monotonic()
        if now >= self._look_at_directories:
            self._look_at_directories = now + DIRECTORY_SECONDS
            if self._watcher.has_changed() and not self._reads_once:
                self._scan_at = min(self._scan_at, max(now + SETTLE_SECONDS, self._scan_not_before))
        for aside in self._asides.due(now):
            self._look_at_aside(aside, now)
        if now >= self._scan_at:
            self._scan(now)
        while self._suspects:
            suspect = self._suspects.pop()
            if self.register.has(suspect) and not self._is_intact(suspect):
                self.truncated(suspect, suspect.sure_size)
        fresh, self._fresh = self._fresh, []
        _tell_fresh(fresh)
        return fresh

    def next_at(self) -> float:
        """When `update` has something to do (monotonic)."""
        aside = self._asides.next_at()
        at = min(self._scan_at, self._look_at_directories)
        return at if aside is None else min(at, aside)

    def notice(self) -> None:
        """A directory changed: looks soon. From any thread."""
        self._look_at_directories = 0.0

    def scan_soon(self) -> None:
        self._scan_at = min(self._scan_at, max(self._monotonic(), self._scan_not_before))

    def _scan(self, now: float) -> None:
        self._scan_at = NEVER if self._reads_once else now + FULL_SCAN_SECONDS
        scanned_ns = time.time_ns()
        listing = scan(list(self._sources.values()), own_directories=self._own_directories)
        self._watcher.watch(listing.directories, scanned_ns=scanned_ns)
        self.listing = listing
        self._tell(listing)
        self._present = {(found.device, found.inode): found for found in listing.files}
        if self._is_first_scan and self._is_first_start:
            self._first_sizes = {key: found.size for key, found in self._present.items()}
        self._note_listed(listing)
        for aside in self._asides.drop_others(self._present):
            self._lose_aside(aside)
        # what was read before comes first: a copy beside it must not be taken for it
        for key in sorted(self._present, key=self._attacher.knows, reverse=True):
            self._look_at_found(key, self._present[key], now)
        if self._is_first_scan:
            self._adopt_deleted()
        self._account_for_missing()
        self._is_first_scan = False
        self._scan_not_before = now + SCAN_SHARE * (self._monotonic() - now)

    def _note_listed(self, listing: Listing) -> None:
        for followed in self.register:
            if followed.key in self._present:
                followed.is_listed = True
            elif os.path.dirname(followed.path) not in listing.problems:
                followed.is_listed = False  # deleted, or moved where no pattern looks
        self._first_sizes = {key: size for key, size in self._first_sizes.items() if key in self._present}

    def _look_at_found(self, key: Key, found: Found, now: float) -> None:
        followed = self.register.get(key)
        if followed is not None:
            self._note_path(followed, found)
            return
        aside = self._asides.get(key)
        if aside is None:
            self._take_up(found, now)
        elif aside.found.path != found.path:
            # with what was known of it: another file may have the inode
            aside.found = found._replace(size=aside.found.size, mtime_ns=aside.found.mtime_ns)
            aside.is_renamed = True

    def _note_path(self, followed: Followed, found: Found) -> None:
        if followed.path == found.path:
            return
        try:
            if key_of(os.stat(followed.path)) == followed.key:
                return  # another link to it
        except OSError:
            log.debug("%r is not there any more", followed.path)
        log.info("%r is now %r", followed.path, found.path)
        followed.is_renamed = True
        followed.path, followed.real_path = found.path, found.real_path
        self.register.touch(followed)

    def _tell(self, listing: Listing) -> None:
        """Each problem once, and once when it is over."""
        for path, problem in listing.problems.items():
            if self._told.get(path) != problem:
                log.warning("cannot look at %r: %s; it is looked at again and again until it can be", path, problem)
        for path, reason in listing.left_out.items():
            if path not in self._told:
                log.info("%r is not followed: %s", path, reason)
        self._told = listing.problems | listing.left_out

    # Taking up

    def _take_up(self, found: Found, now: float, *, is_final: bool = False) -> None:
        key = (found.device, found.inode)
        aside = self._asides.drop(key)
        asked = Asked(
            first_size=self._first_sizes.get(key),
            is_final=is_final,
            takes_objects=self._reads_once,
            equal_until=aside.equal_until if aside is not None else 0,
        )
        try:
            attachment = self._attacher.attach(found, live=self.register.live, asked=asked)
        except FileNotFoundError:
            self._put_aside(found, Why.NO_LINE, now, earlier=aside)
            self.scan_soon()
            return
        except (OSError, Damaged) as error:
            reason = str(getattr(error, "strerror", None) or error)
            if aside is None or aside.reason != reason:
                log.warning("cannot read %r: %s; tried again every %d seconds", found.path, reason, UNREADABLE_SECONDS)
            self._put_aside(found, Why.UNREADABLE, now, earlier=aside).reason = reason
            return
        if aside is not None and aside.reason:
            log.info("%r can be read now", found.path)
        self._settle(found, attachment, aside, now)

    def _settle(self, found: Found, attachment: Attachment, earlier: Aside | None, now: float) -> None:
        """Does what was decided about a file."""
        followed, original = attachment.followed, attachment.original
        if followed is not None:
            self.register.lose(found.source.name, found.path, attachment.lost_bytes, "truncated_while_down")
            self._first_sizes.pop(followed.key, None)
            if earlier is not None and earlier.is_renamed:
                followed.is_renamed = True
            self._follow(followed, now)
            return
        why = _WHY[attachment.outcome]
        aside = self._put_aside(found, why, now, earlier=earlier)
        aside.identity, aside.original, aside.is_settled = attachment.identity, original, attachment.is_settled
        if original is None:
            return
        if attachment.outcome is Outcome.SUSPECT:
            self._suspects.append(original)
            self._asides.at_once(aside, now)
        elif attachment.outcome is Outcome.LONGER:
            log.debug("%r holds more than %r", found.path, original.path)
            if self._continue_in(original, aside):
                self.scan_soon()
        else:
            log.debug("%r is a copy of %r", found.path, original.path)
            aside.asked_at = original.farthest if original.is_at_end else -1
            aside.equal_until = max(aside.equal_until, attachment.equal_until)

    def _put_aside(self, found: Found, why: Why, now: float, *, earlier: Aside | None) -> Aside:
        aside = Aside(found, why, now, now)
        if earlier is not None:
            is_same = (earlier.found.size, earlier.found.mtime_ns) == (found.size, found.mtime_ns)
            aside.changed_at = earlier.changed_at if is_same else now
            aside.interval = earlier.interval if is_same else aside.interval
            aside.is_renamed, aside.equal_until = earlier.is_renamed, earlier.equal_until
        self._asides.put(aside)
        self._asides.later(aside, now)
        return aside

    def _look_at_aside(self, aside: Aside, now: float) -> None:
        """Asks again what a file is if it has changed, or if what is known of others has."""
        found = aside.found
        try:
            facts = os.stat(found.path)
        except OSError:
            facts = None
        if facts is None or key_of(facts) != (found.device, found.inode):
            self.scan_soon()
            self._asides.later(aside, now)
            return
        has_changed = (facts.st_size, facts.st_mtime_ns) != (found.size, found.mtime_ns)
        if has_changed:
            aside.changed_at, aside.interval = now, 0.0
            found = found._replace(size=facts.st_size, mtime_ns=facts.st_mtime_ns)
        quiet_seconds = now - aside.changed_at
        if has_changed or should_ask(aside, quiet_seconds=quiet_seconds):
            is_settled = quiet_seconds >= SETTLED_SECONDS
            self._take_up(found, now, is_final=aside.is_renamed and is_settled)
        else:
            self._asides.later(aside, now)

    def _follow(self, followed: Followed, now: float) -> None:
        self.register.add(followed)
        followed.changed_at = now
        try:
            self._follow_ledger(followed)
        finally:
            if followed.is_open and self.open_files.has_room():
                self.open_files.used(followed)
            else:
                followed.close()
        self._fresh.append(followed)

    def _follow_ledger(self, followed: Followed) -> None:
        """What an output with a ledger has is the truth: what it has is not written again, what it lacks is."""
        ask_ledger(self._output, followed)
        followed.asked_marks = -1  # to be asked again before the first line goes out: others are on their way
        if not self._output.has_ledger or followed.ship is None or not followed.ship.is_reading:
            return
        if covered_end(followed.covered, followed.shipped_from) < followed.shipped:
            log.warning("%r: the output lacks a part of what was shipped; it is shipped again", followed.path)
            followed.ship_again()

    # Gone while nobody looked

    def _adopt_deleted(self) -> None:
        """Goes on in deleted files that the engine before this one held open."""
        for record in self._attacher.unattached():
            descriptor = self._descriptors.get(record.key)
            if descriptor is None or record.source not in self._sources:
                continue
            del self._descriptors[record.key]
            followed = self._attacher.resume(record, self._sources[record.source], descriptor)
            followed.is_listed, followed.is_deleted = False, True
            self._follow(followed, self._monotonic())
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors = {}

    def _account_for_missing(self) -> None:
        """Counts what was left to read of files that lie nowhere any more, and that no other file continues."""
        for record in self._attacher.unattached():
            source = self._sources.get(record.source)
            if source is None or self._asides.of_identity(record.identity):
                continue  # not ours at present, or a copy is just being made
            if not record.is_gone and not self._is_missing(record):
                continue
            reason = "truncated_while_down" if record.key in self._present else "deleted_while_down"
            self.register.lose(record.source, record.path, unread(record, source), reason)
            self._attacher.retire(record)
            self.register.keep(record)

    def _is_missing(self, record: FileRecord) -> bool:
        """Whether its file is there no more; not as long as its directory is away."""
        if not self._attacher.knows(record.key):
            return True  # the file has another content now
        if record.key in self._present:
            return False
        try:
            return key_of(os.stat(record.path)) != record.key
        except OSError:
            return os.path.isdir(os.path.dirname(record.path) or ".")

    # Letting go

    def find(self, followed: Followed) -> bool:
        """Looks where a file is whose name leads elsewhere; gives it up if nothing leads to it. True if it is there."""
        self._scan(self._monotonic())
        if self.register.has(followed) and not followed.is_listed:
            self.give_up(followed, "deleted", followed.size)
        return self.register.has(followed)

    def _is_intact(self, followed: Followed) -> bool:
        try:
            if not followed.is_open and self.open_files.has_room():
                followed.open()
                self.open_files.used(followed)
            return followed.is_intact()
        except (OSError, Replaced):
            return False

    def truncated(self, followed: Followed, size: int, kept: int | None = None) -> None:
        """It had `size` bytes and was emptied in place, or was cut to the first `kept` of them.

        Its rest may live on in a copy (copytruncate); the file itself begins anew.
        """
        key = followed.key
        log.info("%r was truncated", followed.path)
        now = self._monotonic()
        self._scan(now)  # the copy may have appeared just now
        if not self.register.has(followed):
            return
        if kept is None:
            self.give_up(followed, "truncated", size)
        elif not self._continue_in_copy(followed):
            self._lose_rest(followed, size, "truncated")
            followed.cut_to(kept)
            self.register.touch(followed)
        if key in self._present and self.register.get(key) is None:
            self._take_up(self._present[key], now)

    def give_up(self, followed: Followed, reason: str, size: int) -> None:
        """Its file has nothing more for us: goes on in a copy, or counts what was not read of `size` as lost."""
        if not self._continue_in_copy(followed):
            self._lose_rest(followed, size, reason)
            self.let_go(followed)

    def _continue_in_copy(self, followed: Followed) -> bool:
        """Goes on in a copy that holds everything that was read; what is under way stays so."""
        return any(self._continue_in(followed, aside) for aside in self._asides.twins_of(followed))

    def _continue_in(self, followed: Followed, aside: Aside) -> bool:
        earlier = followed.key
        try:
            is_moved = followed.move_to(aside.found.path)
        except (OSError, Damaged) as error:
            log.debug("%r cannot be continued in %r: %s", followed.path, aside.found.path, error)
            return False
        if is_moved:
            log.info("%r is continued in its copy", followed.path)
            followed.is_renamed = True
            self._asides.drop(followed.key)
            self.register.moved(followed, earlier)
            self.open_files.used(followed)
            ask_ledger(self._output, followed)
            self._ask_twins_of(followed)
            self._fresh.append(followed)
        return is_moved

    def _lose_rest(self, followed: Followed, size: int, reason: str) -> None:
        if followed.is_plain:
            lost = size - min(followed.nearest, size)
            self.register.lose(followed.source.name, followed.path, lost, reason)

    def _lose_aside(self, aside: Aside) -> None:
        """A file is gone that nothing was read of."""
        found = aside.found
        if aside.why in (Why.UNREADABLE, Why.NO_LINE) and not found.path.endswith((".gz", ".zst")):
            self.register.lose(found.source.name, found.path, found.size, "deleted")

    def let_go(self, followed: Followed) -> None:
        """Stops following; the record is kept, as a copy of the content may turn up."""
        self.register.let_go(followed)
        self.bury_acknowledged()

    def bury_acknowledged(self) -> None:
        """Leaves the records of what is gone and acknowledged to the end."""
        for followed in self.register.take_acknowledged():
            record = followed.record(self._clock())
            self.register.keep(record, self._attacher.remember(record))
            self._ask_twins_of(followed)

    def _ask_twins_of(self, followed: Followed) -> None:
        """A copy of what is gone is looked at anew: it may hold what the original did not give."""
        now = self._monotonic()
        for aside in self._asides.twins_of(followed):
            aside.found = aside.found._replace(mtime_ns=-1)  # as if it had changed
            self._asides.at_once(aside, now)

    # For others

    @property
    def is_settled(self) -> bool:
        """Whether it is clear of every file what it is, and everything of those that are gone is acknowledged."""
        return not (self.register.has_fading or self._asides.has_unsettled)

    def all(self) -> Iterator[Followed]:
        """What is followed, and what is gone but not acknowledged to the end; from any thread."""
        return self.register.all()

    def remembered(self) -> list[FileRecord]:
        """Records of files that are not followed at present; from any thread."""
        return self._attacher.remembered()

    def count_aside(self, source: str, why: Why) -> int:
        """How many of a source's files are not followed for this reason; from any thread."""
        return sum(aside.found.source.name == source and aside.why is why for aside in self._asides)

    def count_unreadable(self, source: SourceSettings) -> int:
        """How many of a source's files cannot be read, and of its directories and named files cannot be looked at."""
        problems = [
            path
            for path in list(self.listing.problems)
            if any(pattern == path or pattern.startswith(path.rstrip("/") + "/") for pattern in source.paths)
        ]
        return len(problems) + self.count_aside(source.name, Why.UNREADABLE)

    def waiting(self) -> list[tuple[str, str]]:
        """Path and reason of files that cannot be read."""
        return [(aside.found.path, aside.reason) for aside in self._asides if aside.why is Why.UNREADABLE]

    def release(self) -> dict[Key, int]:
        """Ends watching and closes all files but the deleted ones, whose descriptors are the caller's then."""
        self._watcher.close()
        return self.register.release()


_WHY = {
    Outcome.NO_LINE: Why.NO_LINE,
    Outcome.PARTIAL: Why.PARTIAL,
    Outcome.TWIN: Why.TWIN,
    Outcome.LONGER: Why.TWIN,
    Outcome.SUSPECT: Why.TWIN,
}


def _tell_fresh(fresh: Sequence[Followed]) -> None:
    if len(fresh) > TOLD_ONE_BY_ONE:
        log.info("following %d files more", len(fresh))
        return
    for followed in fresh:
        log.info("following %r from offset %d", followed.path, min(followed.nearest, followed.size))
