"""Takes up files that were found: follows them, or puts them aside and asks again when something has changed.

`roster` scans and lets go; `attach` decides what a file is. Owned by the pipeline's thread.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress

from shipper.aside import SETTLED_SECONDS, UNREADABLE_SECONDS, Aside, Asides, Why, should_ask
from shipper.attach import Attacher
from shipper.batch import Output
from shipper.candidate import Asked, Attachment, Outcome, stem_of
from shipper.contents import Key, key_of
from shipper.cursor import NEVER
from shipper.delivered import ask_ledger, covered_end
from shipper.discover import COMPRESSED, Found
from shipper.followed import Followed
from shipper.openfiles import OpenFiles
from shipper.register import Register
from shipper.tail import Damaged, EndlessError
from shipper.vanished import MOST_KEPT_OPEN, KeptOpen

log = logging.getLogger(__name__)


class Intake:
    """What was found and is not followed (yet), and the way of a file into the register."""

    def __init__(
        self,
        *,
        attacher: Attacher,
        register: Register,
        output: Output,
        open_files: OpenFiles,
        reads_once: bool,
        scan_soon: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._attacher = attacher
        self._register = register
        self._output = output
        self._open_files = open_files
        self._reads_once = reads_once
        self._scan_soon = scan_soon
        self._clock = clock
        self.asides = Asides()
        self._kept_open = KeptOpen(most=min(MOST_KEPT_OPEN, open_files.limit // 8))
        self.first_sizes: dict[Key, int] = {}
        """Of files that were there when this state began, and have not been followed yet."""
        self.archives: frozenset[Key] = frozenset()
        """Those that the last scan found."""
        self._fresh: list[Followed] = []
        self._suspects: list[Followed] = []
        self._lacking: list[str] = []

    def take_fresh(self) -> list[Followed]:
        """What is newly followed since the last call, or goes on in another file."""
        fresh, self._fresh = self._fresh, []
        return fresh

    def take_lacking(self) -> list[str]:
        """Paths of what is shipped again since the last call, because the output's ledger lacks it."""
        lacking, self._lacking = self._lacking, []
        return lacking

    def go_on(self, followed: Followed) -> None:
        """It was cut, and is looked at again at once."""
        with suppress(OSError, Damaged):  # asked again when the next line goes out
            ask_ledger(self._output, followed)
        followed.asked_marks = -1  # to be asked again before the next line goes out: others are on their way
        self._fresh.append(followed)

    def suspect(self, followed: Followed) -> None:
        """It may hold another content than was read."""
        self._suspects.append(followed)

    def take_suspects(self) -> list[Followed]:
        """What is followed and seems to have been replaced: to be looked at before its copies can be told."""
        suspects, self._suspects = self._suspects, []
        return suspects

    def take_up(self, found: Found, now: float, *, is_settled: bool = False) -> None:
        """Finds out what a file is and does what follows. `is_settled`: it has not changed for a while."""
        key = (found.device, found.inode)
        aside = self.asides.drop(key)
        if self._reads_once:  # nobody will ask again
            is_settled = self._clock() - found.mtime_ns / 1e9 >= SETTLED_SECONDS
        asked = Asked(
            first_size=self.first_sizes.get(key),
            is_settled=is_settled,
            is_renamed=aside is not None and aside.is_renamed,
            takes_objects=self._reads_once,
            equal_until=aside.equal_until if aside is not None else 0,
            twin_of=aside.identity if aside is not None and aside.why is Why.TWIN else "",
            unreadable_bytes=self.asides.unreadable_bytes,
        )
        try:
            attachment = self._attacher.attach(found, live=self._register, asked=asked)
        except FileNotFoundError:
            self._put_aside(found, Why.NO_LINE, now, earlier=aside)
            self._scan_soon()
            return
        except (OSError, Damaged) as error:
            reason = str(getattr(error, "strerror", None) or error)
            if aside is None or aside.reason != reason:
                log.warning("cannot read %r: %s; tried again every %d seconds", found.path, reason, UNREADABLE_SECONDS)
            unreadable = self._put_aside(found, Why.UNREADABLE, now, earlier=aside)
            unreadable.reason, unreadable.is_settled = reason, isinstance(error, EndlessError)
            return
        if aside is not None and aside.reason:
            log.info("%r can be read now", found.path)
        self._settle(found, attachment, aside, now, was_settled=is_settled)

    def _settle(
        self, found: Found, attachment: Attachment, earlier: Aside | None, now: float, *, was_settled: bool
    ) -> None:
        """Does what was decided about a file."""
        followed, original = attachment.followed, attachment.original
        if followed is not None:
            self._register.lose(found.source.name, found.path, attachment.lost_bytes, "truncated_while_down")
            self.first_sizes.pop(followed.key, None)
            self._kept_open.let_go(followed.key)
            if earlier is not None and earlier.is_renamed:
                followed.is_renamed = True
            self.follow(followed, now)
            return
        why = _WHY[attachment.outcome]
        aside = self._put_aside(found, why, now, earlier=earlier)
        aside.identity, aside.original, aside.is_settled = attachment.identity, original, attachment.is_settled
        aside.was_settled = was_settled
        if original is None:
            return
        if attachment.outcome is Outcome.SUSPECT:
            self.suspect(original)
        elif attachment.outcome is Outcome.LONGER:
            log.debug("%r holds more than %r", found.path, original.path)
            if self._continue_in(original, aside, now):
                self._scan_soon()
        else:
            log.debug("%r is a copy of %r", found.path, original.path)
            aside.asked_at = original.farthest if original.is_at_end else -1
            aside.equal_until = max(aside.equal_until, attachment.equal_until)

    def _put_aside(self, found: Found, why: Why, now: float, *, earlier: Aside | None) -> Aside:
        aside = Aside(found, why, now, now, archives_then=self.archives)
        if earlier is not None:
            aside.archives_then = earlier.archives_then
            is_same = (earlier.found.size, earlier.found.mtime_ns) == (found.size, found.mtime_ns)
            aside.changed_at = earlier.changed_at if is_same else now
            aside.interval = earlier.interval if is_same else aside.interval
            aside.is_renamed, aside.equal_until = earlier.is_renamed, earlier.equal_until
        if why is Why.NO_LINE and not self._reads_once:
            self._kept_open.keep(found)
        else:
            self._kept_open.let_go((found.device, found.inode))
        self.asides.put(aside)
        self.asides.later(aside, now)
        return aside

    def look(self, now: float) -> None:
        """Looks at those whose time has come."""
        for aside in self.asides.due(now):
            self._look_at(aside, now)

    def _look_at(self, aside: Aside, now: float) -> None:
        """Asks again what a file is if it has changed, or if what is known of others has."""
        found = aside.found
        try:
            facts = os.stat(found.path)
        except OSError:
            facts = None
        if facts is None or key_of(facts) != (found.device, found.inode):
            self._scan_soon()
            self.asides.later(aside, now)
            return
        has_changed = (facts.st_size, facts.st_mtime_ns) != (found.size, found.mtime_ns)
        if has_changed:
            aside.changed_at, aside.interval = now, 0.0
            found = found._replace(size=facts.st_size, mtime_ns=facts.st_mtime_ns)
        quiet_seconds = now - aside.changed_at
        if has_changed or should_ask(aside, quiet_seconds=quiet_seconds):
            self.take_up(found, now, is_settled=quiet_seconds >= SETTLED_SECONDS)
        else:
            self.asides.later(aside, now)

    def adopt(self, found: Found, descriptor: int, now: float, *, asked: Asked = Asked()) -> bool:  # noqa: B008 - frozen
        """Takes up an open file to which nothing else leads; False if no line can be read of it."""
        try:
            attachment = self._attacher.attach_open(found, descriptor, live=self._register, asked=asked)
        except (OSError, Damaged) as error:
            log.warning("cannot read on in %r, which was deleted: %s", found.path, error)
            return False
        if attachment.followed is not None:
            attachment.followed.is_listed = False
            self._settle(found, attachment, None, now, was_settled=False)
        return attachment.outcome is not Outcome.NO_LINE

    def adopt_unread(self, aside: Aside, now: float) -> bool:
        """Takes up a file that is gone and that nothing was read of, if it was kept open: what it holds, without a
        newline, is its last line. False if that cannot be.
        """
        found = aside.found
        descriptor = self._kept_open.take((found.device, found.inode))
        if descriptor is None:
            return False
        asked = Asked(is_settled=True, is_renamed=True)
        return self.adopt(found._replace(confinement=None), descriptor, now, asked=asked)

    def close(self) -> None:
        """Closes what was kept open."""
        self._kept_open.close()

    def follow(self, followed: Followed, now: float) -> None:
        """Follows it from now on."""
        self._register.add(followed)
        followed.changed_at = now
        if followed.size > min(followed.nearest, followed.shipped):
            followed.note_growth(now, followed.size)  # what was there when it was met waits from now on
        self._register.is_urgent |= followed.cut_at is not None
        with suppress(OSError, Damaged):  # asked again when the first line goes out
            self._follow_ledger(followed)
        if followed.is_open and self._open_files.has_room(followed):
            self._open_files.used(followed)
        else:
            followed.close()
        self._fresh.append(followed)

    def _follow_ledger(self, followed: Followed) -> None:
        """What an output with a ledger has is the truth: what it has is not written again, what it lacks is."""
        ask_ledger(self._output, followed)
        followed.asked_marks = -1  # to be asked again before the first line goes out: others are on their way
        if not self._output.has_ledger or followed.ship is None or not followed.ship.is_reading:
            return
        whole = min(followed.shipped, NEVER if followed.tail_start is None else followed.tail_start)
        if covered_end(followed.covered, followed.shipped_from) < whole:  # (a last line that goes on is not whole)
            self._lacking.append(followed.path)
            followed.ship_again()

    # Copies

    def continue_in_copy(self, followed: Followed, now: float) -> bool:
        """Goes on in a copy that holds everything that was read; what is under way stays so."""
        return any(self._continue_in(followed, aside, now) for aside in self.asides.twins_of(followed))

    def in_the_making(self, followed: Followed, now: float) -> list[Aside]:
        """What may turn out to be a copy of it in a moment: a copy that has just gone, for it was compressed, and an
        archive in which no line can be read yet. Only what came or changed lately: others may never be readable.
        """
        name = stem_of(followed.real_path)
        return [
            aside
            for aside in self.asides
            if now - aside.changed_at < SETTLED_SECONDS
            if (aside.original is followed or aside.why is not Why.TWIN) and stem_of(aside.found.real_path) == name
            if aside.found.path.endswith(COMPRESSED) or not os.path.lexists(aside.found.path)
        ]

    def ask_anew(self, aside: Aside, now: float) -> None:
        """What it is, if it is there still."""
        found = aside.found
        if self.asides.get((found.device, found.inode)) is aside:
            self.take_up(found, now)

    def _continue_in(self, followed: Followed, aside: Aside, now: float) -> bool:
        earlier, earlier_path = followed.key, followed.path
        try:
            is_moved = followed.move_to(aside.found.path)
        except (OSError, Damaged) as error:
            log.debug("%r cannot be continued in %r: %s", followed.path, aside.found.path, error)
            return False
        if is_moved:
            log.info("%r is continued in its copy", followed.path)
            followed.is_renamed |= followed.path != earlier_path  # else it was restored, and may be written on
            self.asides.drop(followed.key)
            self._register.moved(followed, earlier)
            self._open_files.used(followed)
            followed.asked_marks = -1
            self.ask_twins_of(followed, now)
            self._fresh.append(followed)
        return is_moved

    def ask_twins_of(self, followed: Followed, now: float) -> None:
        """A copy of what is gone is looked at anew: it may hold what the original did not give."""
        for aside in self.asides.twins_of(followed):
            aside.found = aside.found._replace(mtime_ns=-1)  # as if it had changed
            self.asides.at_once(aside, now)


_WHY = {
    Outcome.NO_LINE: Why.NO_LINE,
    Outcome.PARTIAL: Why.PARTIAL,
    Outcome.TWIN: Why.TWIN,
    Outcome.LONGER: Why.TWIN,
    Outcome.SUSPECT: Why.TWIN,
}
