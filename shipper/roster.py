"""The files that are followed: takes up what a scan found, lets go of what is gone, and says what the state must keep.

`discover` looks, `attach` decides, the roster does it: what is followed stands in `register`, what is not (yet) in
`aside`. `pipeline` reads what is followed. Owned by the pipeline's thread.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from shipper.aside import Aside, Why
from shipper.attach import Attacher, unread
from shipper.batch import Output
from shipper.checks import cut_off, cut_to, is_intact, what_is_kept
from shipper.contents import Key, key_of
from shipper.cursor import NEVER
from shipper.discover import COMPRESSED, Found, Listing, scan, would_match
from shipper.failpoints import failpoint
from shipper.followed import Followed, Replaced
from shipper.intake import Intake
from shipper.looks import next_look
from shipper.openfiles import OpenFiles
from shipper.register import Register
from shipper.settings import SourceSettings
from shipper.state import FileRecord
from shipper.telemetry import Telemetry
from shipper.vanished import Vanished
from shipper.watching import Watcher

log = logging.getLogger(__name__)

DIRECTORY_SECONDS = 1.0
FULL_SCAN_SECONDS = 60.0
SETTLE_SECONDS = 0.1
"""After an event: a rotation is several renames."""
SCAN_SHARE = 20
"""A scan whose listing took a second is not followed by another for so many."""
FULL_SCAN_SHARE = 600
"""The same for one that nothing has asked for: events, or the directories' times, tell of changes."""
COPY_SECONDS = 0.02
COPY_TRIES = 10
"""So often a copy that is being made is looked for, before what was not read of its original is said to be lost."""
COPY_PAUSE_SECONDS = 5.0
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
        descriptors: Mapping[int, int] | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`descriptors`: open files of the engine before, to which nothing else leads, by the ids of their records;
        this one's from now on.
        """
        self._sources = {source.name: source for source in sources}
        self._attacher = attacher
        self._records = attacher.records
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
        self._intake = Intake(
            attacher=attacher,
            register=self.register,
            output=output,
            open_files=open_files,
            reads_once=reads_once,
            scan_soon=self.scan_soon,
            clock=clock,
        )
        self._asides = self._intake.asides
        self._vanished = Vanished()
        self._await_copies_at = 0.0
        self._told: dict[str, str] = {}
        self._look_at_directories = 0.0
        self._scan_at = 0.0
        self._scan_not_before = 0.0

    def start(self) -> None:
        """Begins to watch directories, where a later look could change anything."""
        if not self._reads_once:
            self._watcher.start()

    # Scanning

    def update(self) -> list[Followed]:
        """Does what is due; returns files that are newly followed."""
        now = self._monotonic()
        if now >= self._look_at_directories:
            self._look_at_directories = next_look(now, DIRECTORY_SECONDS)
            if self._watcher.has_changed() and not self._reads_once:
                self._scan_at = min(self._scan_at, max(now + SETTLE_SECONDS, self._scan_not_before))
        self._intake.look(now)
        if now >= self._scan_at:
            self._scan(now)
        for suspect in self._intake.take_suspects():
            if self.register.has(suspect) and not self._is_intact(suspect):
                self.replaced(suspect)
        fresh = self._intake.take_fresh()
        _tell_lacking(self._intake.take_lacking())
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

    def scan_now(self) -> None:
        """With the next `update`, whatever the last scan cost."""
        self._scan_at = self._scan_not_before = 0.0

    def _scan(self, now: float) -> None:
        scanned_ns = time.time_ns()
        listing = scan(list(self._sources.values()), own_directories=self._own_directories)
        took = self._monotonic() - now
        self._scan_not_before = now + SCAN_SHARE * took
        self._scan_at = NEVER if self._reads_once else now + max(FULL_SCAN_SECONDS, FULL_SCAN_SHARE * took)
        self._watcher.watch(listing.directories, scanned_ns=scanned_ns)
        self.listing = listing
        self._tell(listing)
        self._present = {(found.device, found.inode): found for found in listing.files}
        if self._is_first_scan and self._is_first_start:
            self._intake.first_sizes = {key: found.size for key, found in self._present.items()}
        archives = (key for key, found in self._present.items() if found.path.endswith(COMPRESSED))
        self._intake.archives = frozenset(archives)
        self._note_listed(listing)
        gone = self._asides.drop_others(self._present, away=listing.problems)
        # what was read before comes first: a copy beside it, or what has got its inode, must not be taken for it
        if self._is_first_scan:
            self._adopt_deleted(those=lambda record: record.key not in self._present)
        for key in sorted(self._present, key=self._is_known, reverse=True):
            self._look_at_found(key, self._present[key], now)
        if self._is_first_scan:
            self._adopt_deleted(those=lambda record: record.key in self._present)
            self._close_descriptors()
        self._lose_unread(gone)
        self._account_for_missing()
        self._is_first_scan = False

    def _is_known(self, key: Key) -> tuple[bool, bool]:
        """Whether something was read there before, and whether that surely is what lies there now."""
        record, found = self._records.by_key(key), self._present[key]
        if record is None:
            return False, False
        return True, (record.size, record.mtime_ns) == (found.size, found.mtime_ns)

    def _note_listed(self, listing: Listing) -> None:
        for followed in self.register:
            if followed.key in self._present:
                followed.is_listed = True
            elif os.path.dirname(followed.path) not in listing.problems:
                followed.is_listed = False  # deleted, or moved where no pattern looks
        sizes = self._intake.first_sizes
        self._intake.first_sizes = {key: size for key, size in sizes.items() if key in self._present}

    def _look_at_found(self, key: Key, found: Found, now: float) -> None:
        followed = self.register.get(key)
        if followed is not None:
            self._note_path(followed, found)
            return
        aside = self._asides.get(key)
        if aside is None:
            self._intake.take_up(found, now)
        elif aside.found.path != found.path:
            # with what was known of it: another file may have the inode
            aside.found = found._replace(size=aside.found.size, mtime_ns=aside.found.mtime_ns)
            aside.is_renamed, aside.was_settled = True, False

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
        if not followed.is_open:  # another file may have the inode of one that was deleted
            self._intake.suspect(followed)

    def _tell(self, listing: Listing) -> None:
        """Each problem once, and once when it is over."""
        for path, problem in listing.problems.items():
            if self._told.get(path) != problem:
                log.warning("cannot look at %r: %s; it is looked at again and again until it can be", path, problem)
        for path, reason in listing.left_out.items():
            if path not in self._told:
                level = logging.WARNING if self._is_named(path) else logging.INFO
                log.log(level, "%r is not followed: %s", path, reason)
        self._told = listing.problems | listing.left_out
        if self._is_first_scan:
            self._tell_unmatched(listing)

    def _tell_unmatched(self, listing: Listing) -> None:
        """A pattern with a mistake in it looks like one whose files come later."""
        matched = {found.source.name for found in listing.files}
        for source in self._sources.values():
            if source.name not in matched and not any(path in listing.problems for path in source.paths):
                paths = ", ".join(map(repr, source.paths))
                later = "" if self._reads_once else "; what appears later is followed"
                log.warning("source %r: no file matches %s now%s", source.name, paths, later)

    # Gone while nobody looked

    def _adopt_deleted(self, *, those: Callable[[FileRecord], bool]) -> None:
        """Goes on in files that the engine before this one held open and nothing leads to."""
        for record in filter(those, self._records.unfinished()):
            descriptor = self._descriptors.get(record.id)
            if descriptor is None:
                continue
            source = self._source_of(record)
            if source is None:
                log.warning("%r was deleted, and no source follows it any more: it is not read on", record.path)
                continue
            del self._descriptors[record.id]
            found = Found(source, record.path, record.path, *record.key, size=0, mtime_ns=0)
            self._intake.adopt(found, descriptor, self._monotonic())

    def _close_descriptors(self) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors = {}

    def _source_of(self, record: FileRecord) -> SourceSettings | None:
        """The source of a file that is gone: that of its name, or, where none has it now, the one that would match."""
        named = self._sources.get(record.source)
        if named is not None:
            return named
        return next((source for source in self._sources.values() if would_match(source, record.path)), None)

    def _account_for_missing(self) -> None:
        """Counts what was left to read of files that lie nowhere any more, and that no other file continues."""
        for record in self._records.unfinished():
            source = self._source_of(record)
            if source is None or self._asides.of_identity(record.identity):
                continue  # not ours at present, or a copy is just being made
            if not record.is_gone and not self._is_missing(record):
                continue
            found = self._present.get(record.key)  # elsewhere, another file has the inode of one that was deleted
            is_there = found is not None and found.path == record.path
            reason = "truncated_while_down" if is_there else "deleted_while_down"
            self.register.lose(source.name, record.path, unread(record, source), reason)
            self._records.retire(record)
            self.register.keep(record)

    def _is_missing(self, record: FileRecord) -> bool:
        """Whether its file is there no more; not as long as its directory is away."""
        if self._records.by_key(record.key) is not record:
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
        was_open = followed.is_open
        try:
            followed.open()
            return is_intact(followed)
        except (OSError, Replaced):
            return False
        finally:
            if not was_open:
                followed.close()

    def replaced(self, followed: Followed) -> None:
        """Not everything that was read of it stands there any more: it was emptied and perhaps written again, or cut.

        Its rest may live on in a copy (copytruncate); the file itself begins anew.
        """
        size, left, key, path = followed.sure_size, what_is_kept(followed), followed.key, followed.path
        now = self._monotonic()
        self._scan(now)  # the copy may have appeared just now
        if not self.register.has(followed) or (followed.path != path and self._is_intact(followed)):
            return  # it was not found under its name, and is there under another one
        log.info("%r was truncated", path)
        if left is None:
            self.give_up(followed, "truncated", size)
        elif not self._continue_in_copy(followed, size):
            self._lose_rest(followed, size, "truncated", kept=left.likely)
            self._let_fade(cut_off(followed, left.likely, record_id=self._records.next_id))
            cut_to(followed, left)
            self.register.touch(followed)
            self.register.is_urgent = True
            failpoint("cut.noticed")
            self._intake.go_on(followed)
        if key in self._present and self.register.get(key) is None:
            self._intake.take_up(self._present[key], now)

    def _let_fade(self, rest: Followed | None) -> None:
        if rest is not None:
            self._records.next_id += 1
            self.register.fade(rest)

    def give_up(self, followed: Followed, reason: str, size: int) -> None:
        """Its file has nothing more for us: goes on in a copy, or counts what was not read of `size` as lost."""
        if not self._continue_in_copy(followed, size):
            self._lose_rest(followed, size, reason)
            self.let_go(followed)

    def _continue_in_copy(self, followed: Followed, size: int) -> bool:
        """Goes on in a copy, if there is one. If something of `size` was not read, one that is being compressed at this
        very moment, so that neither can be read, is waited for, for a moment; not again soon where that was in vain:
        everything else waits too.
        """
        key = followed.key
        for _ in range(COPY_TRIES):
            now = self._monotonic()
            if self._intake.continue_in_copy(followed, now):
                return True
            is_awaited = followed.nearest < size and now >= self._await_copies_at
            copies = self._intake.in_the_making(followed, now) if is_awaited else ()
            if not copies:
                return False
            time.sleep(COPY_SECONDS)
            self._scan(now)
            for copy in copies:
                self._intake.ask_anew(copy, now)
            if followed.key != key:
                return True  # the scan has found it
        self._await_copies_at = self._monotonic() + COPY_PAUSE_SECONDS
        return self._intake.continue_in_copy(followed, self._monotonic())

    def _lose_rest(self, followed: Followed, size: int, reason: str, *, kept: int = 0) -> None:
        end = size if followed.is_plain else followed.known_end
        start = min(max(followed.nearest, kept), end)
        lost = end - start - followed.nuls_in(start, end)
        self.register.lose(followed.source.name, followed.path, lost, reason)

    def _lose_unread(self, gone: Sequence[Aside]) -> None:
        """Counts files that are gone and that nothing was read of."""
        now = self._monotonic()
        gone = [aside for aside in gone if not self._intake.adopt_unread(aside, now)]
        if not gone:
            return
        archives = {key: self._present[key] for key in self._intake.archives if not self._is_copy(key)}
        for aside in self._vanished.lost(gone, archives):
            found = aside.found
            if not any(os.path.lexists(found.path + suffix) for suffix in COMPRESSED):
                self.register.lose(found.source.name, found.path, found.size, "deleted")

    def _is_copy(self, key: Key) -> bool:
        aside = self._asides.get(key)
        return aside is not None and aside.why is Why.TWIN

    def let_end(self, followed: Followed) -> None:
        """Stops following what is gone and was read to its end; what it held behind that is lost."""
        self._lose_rest(followed, followed.size, "deleted")
        self.let_go(followed)

    def let_go(self, followed: Followed) -> None:
        """Stops following; the record is kept, as a copy of the content may turn up."""
        self.register.let_go(followed)
        self.bury_acknowledged()

    def bury_acknowledged(self) -> None:
        """Leaves the records of what is gone and acknowledged to the end."""
        for followed in self.register.take_acknowledged():
            record = followed.record(self._clock())
            self.register.keep(record, self._records.add(record))
            self._intake.ask_twins_of(followed, self._monotonic())

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
        return self._records.all()

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

    def unread(self) -> list[tuple[str, str]]:
        """Path and reason of everything that should be read and cannot be: files, directories, and names without a
        wildcard of which there is no file, or none that is followed.
        """
        named = [(path, reason) for path, reason in self.listing.left_out.items() if self._is_named(path)]
        return [*sorted(self.listing.problems.items()), *sorted(named), *sorted(self.waiting())]

    def unfinished_paths(self) -> list[str]:
        """Files of which all was read but what stands behind the last newline."""
        followed = [each.path for each in self.register if each.is_plain and each.nearest < each.size and each.has_rest]
        asides = [aside.found.path for aside in self._asides if aside.why is Why.NO_LINE and aside.found.size]
        return sorted(followed + asides)

    def _is_named(self, path: str) -> bool:
        """Whether a source names the file without a wildcard."""
        return any(path in source.paths for source in self._sources.values())

    def release(self) -> dict[int, int]:
        """Ends watching and closes all files; those to which nothing else leads stay open, the caller's from now on."""
        self._watcher.close()
        self._intake.close()
        return self.register.release()


def _tell_lacking(paths: Sequence[str]) -> None:
    if len(paths) > TOLD_ONE_BY_ONE:
        log.warning("%d files: the output lacks a part of what was shipped of them; it is shipped again", len(paths))
        return
    for path in paths:
        log.warning("%r: the output lacks a part of what was shipped; it is shipped again", path)


def _tell_fresh(fresh: Sequence[Followed]) -> None:
    if len(fresh) > TOLD_ONE_BY_ONE:
        log.info("following %d files more", len(fresh))
        return
    for followed in fresh:
        nearest = followed.nearest
        if followed.is_plain or nearest == NEVER:  # offsets are decompressed bytes, and the size is not
            nearest = min(nearest, followed.size)
        log.info("following %r from offset %d", followed.path, nearest)
