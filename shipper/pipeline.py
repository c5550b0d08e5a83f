"""Drives the stages: looks at files, gives them turns in which they are read, and says what may be committed.

One thread runs `step` in a loop; everything it owns is touched by it alone. Outputs acknowledge from their own threads,
and the daemon commits; both only leave a note and wake the loop.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from shipper.batch import Output
from shipper.checks import is_intact
from shipper.contents import key_of
from shipper.cursor import UnderWay
from shipper.feeding import FINAL_SECONDS, Feeder, Observer, Stages, Turn
from shipper.followed import Followed, Replaced
from shipper.held import HeldOpen, is_done
from shipper.looks import Looks, Sight, interval_of_growth, sight_of
from shipper.roster import Roster
from shipper.rotated import is_rotated
from shipper.state import Commit
from shipper.tail import Damaged
from shipper.telemetry import Telemetry

__all__ = ["Observer", "Pending", "Pipeline", "Stages"]

log = logging.getLogger(__name__)

STALL_SECONDS = 3.0
"""So long shipping stands still before metrics read on alone. Shorter would read twice at a slight overload."""
LATE_SECONDS = 15.0
"""So late the metrics of a file may be where the output is slow; then they are read alone."""
DELETED_SECONDS = 30.0
"""A deleted file is kept open so long after its last change: its writer may go on, and its disk space is held."""
AWAY_SECONDS = 600.0
"""The same for a file that was moved where no pattern looks."""
TURNS_A_STEP = 32
LONE_TURNS = 4
"""So many turns a file has in one step where no other wants one."""
BLOCKED_SECONDS = 0.05
RETRY_SECONDS = 5.0


@dataclass(slots=True)
class Pending:
    """What is to be made durable, and the series that may be shown then."""

    commit: Commit
    changes: Any


class Pipeline:
    """From files to metrics and output. Loses nothing of what is followed; repeats at most what was not committed."""

    def __init__(
        self,
        *,
        stages: Mapping[str, Stages],
        roster: Roster,
        observer: Observer,
        output: Output,
        telemetry: Telemetry,
        reads_once: bool = False,
        held_deleted_bytes: int = 0,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`held_deleted_bytes`: so much disk space deleted files may hold before the oldest are given up; 0: any."""
        self.roster = roster
        self._register = roster.register
        self._open_files = roster.open_files
        self._observer = observer
        self._output = output
        self._telemetry = telemetry
        self._reads_once = reads_once
        self._clock = clock
        self._monotonic = monotonic
        self._feeder = Feeder(
            stages=stages,
            observer=observer,
            output=output,
            telemetry=telemetry,
            done=self._note_done,
            reads_once=reads_once,
            clock=clock,
        )
        self._held_open = HeldOpen(most_bytes=held_deleted_bytes, most_files=roster.open_files.limit)
        self._is_giving_up = False
        self._wake = threading.Event()
        self._looks = Looks()
        self._ready: deque[Followed] = deque()
        self._archives: deque[Followed] = deque()  # ready, and waiting for others to be read through
        self._held: dict[Followed, None] = {}
        self._acknowledged: deque[tuple[Followed, UnderWay]] = deque()
        self._room_since: float | None = None  # without room since
        self._is_stalled = False
        self._is_stopping = False
        self._has_handed_over = False

    # Life

    def begin_stop(self) -> None:
        """No more reading; what is under way goes on."""
        self._is_stopping = True
        self.wake()

    def look_through(self) -> None:
        """The next step looks for files and at each of them, however long ago it has changed."""
        now = self._monotonic()
        self.roster.scan_now()
        for followed in self._register:
            self._looks.put(followed, now)

    def wake(self) -> None:
        """Ends the present `wait`; from any thread."""
        self._wake.set()

    def wait(self, seconds: float) -> None:
        self._wake.wait(seconds)
        self._wake.clear()

    def step(self) -> float:
        """Does what is due; returns the seconds until something is, unless woken earlier."""
        now = self._monotonic()
        self._take_acknowledgements()
        if self._is_stopping:
            return 0.5
        for followed in self.roster.update():
            self._looks.put(followed, now)
        for followed in self._looks.due(now):
            self._look(followed, now)
        self._give_up_beyond()
        self._release_held(now)
        if self._take_turns(now):
            return 0.0
        return self._seconds_to_next(now)

    def _seconds_to_next(self, now: float) -> float:
        at = self.roster.next_at()
        if (look := self._looks.next_at()) is not None:
            at = min(at, look)
        if self._held or self._ready or self._archives:
            at = min(at, now + BLOCKED_SECONDS)
        return max(0.0, at - now)

    @property
    def is_idle(self) -> bool:
        """Whether everything that is there has been read and acknowledged."""
        return (
            not self._ready
            and not self._archives
            and not self._held
            and not self._acknowledged
            and self.roster.is_settled
            and all(
                not followed.under_way and ((followed.is_at_end and followed.may_take_tail) or followed.is_damaged)
                for followed in self._register
            )
        )

    # Looking

    def _look(self, followed: Followed, now: float) -> None:
        """Has it grown, shrunk, gone? One `fstat`, or one `stat` where it is not open."""
        try:
            facts = followed.stat()
        except (FileNotFoundError, NotADirectoryError):
            facts = None
        except OSError as error:
            if self._register.has(followed):
                self._cannot_read(followed, error, now)
            return
        if facts is not None and followed.is_resting(facts):
            self._looks.later(followed, now, files=len(self._register))
            return
        if not self._register.has(followed):
            return
        seen = None if facts is None else (key_of(facts), facts.st_size, facts.st_mtime_ns)
        sight = sight_of(key=followed.key, size=followed.size, mtime_ns=followed.mtime_ns, now=seen)
        if facts is None or sight is Sight.ELSEWHERE:
            if self.roster.find(followed):
                self._looks.put(followed, now + RETRY_SECONDS)
            return
        followed.is_deleted = facts.st_nlink == 0
        if followed.is_pinned and followed.is_open:
            self._held_open.note(followed, facts.st_blocks)
        if sight is Sight.SAME:
            if followed.is_compressed and not followed.is_end_known:
                self._ask_end(followed, now)
            if followed.is_at_end and (followed.may_take_tail or followed.is_held):
                self._rest(followed, now)
            else:
                self._make_ready(followed)
            return
        followed.interval = interval_of_growth(facts.st_size - followed.size, seconds=now - followed.changed_at)
        followed.changed_at, followed.mtime_ns = now, facts.st_mtime_ns
        self._register.touch(followed)
        if sight is Sight.SHRUNK:
            self._shrunk(followed, now)
            return
        if facts.st_size > followed.nearest or facts.st_size > followed.shipped:
            followed.note_growth(now, facts.st_size)
        self._grown(followed, facts.st_size, now)

    def _ask_end(self, followed: Followed, now: float) -> None:
        """How much is in an archive of which little was read is asked as soon as it will hardly grow."""
        if followed.is_deleted or now - followed.changed_at >= FINAL_SECONDS:
            with suppress(OSError):  # asked again with the next look
                followed.ask_end()
                self._register.touch(followed)

    def _grown(self, followed: Followed, size: int, now: float) -> None:
        """There is more to read, as it seems. (Also if only its time has changed: it may have been written anew.)"""
        followed.size = size
        followed.looked_at_size = -1
        # of what nobody reads now so much will be known, whatever comes; a stream reads on in what is another archive
        if followed.is_open and (followed.is_held or followed.is_compressed):
            try:
                is_same = is_intact(followed)
            except OSError as error:
                self._cannot_read(followed, error, now)
                return
            if not is_same:
                self.roster.replaced(followed)
                return
        if followed.is_end_known:
            followed.unfolded_bytes, followed.is_end_known = 0, False
        self._make_ready(followed)

    def _shrunk(self, followed: Followed, now: float) -> None:
        """It was emptied, and perhaps written again; or it was only cut."""
        try:
            if not self._open(followed):
                self._looks.put(followed, now + BLOCKED_SECONDS)
                return
        except Replaced:
            log.debug("%r holds something else now", followed.path)
        except OSError as error:
            self._cannot_read(followed, error, now)
            return
        followed.sure_size = max(followed.sure_size, followed.size)
        self.roster.replaced(followed)

    def _rest(self, followed: Followed, now: float) -> None:
        """Nothing new: takes what will not be continued, lets go of what is gone, else looks later."""
        quiet = now - followed.changed_at
        if followed.has_rest and followed.is_plain and not followed.is_final and quiet >= FINAL_SECONDS:
            followed.is_renamed = is_rotated(followed.real_path)
        if followed.is_final and quiet >= FINAL_SECONDS and not (followed.is_ready or followed.is_held):
            took = self._take_tail(followed, now) if followed.has_rest and followed.may_end_here else False
            if took:
                self._looks.put(followed, now)
                return
            if took is False and self._is_over(followed, quiet):
                self.roster.let_end(followed)
                return
        self._looks.later(followed, now, files=len(self._register))

    def _take_tail(self, followed: Followed, now: float) -> bool | None:
        try:
            if not self._open(followed):
                return None
            took = self._feeder.take_tail(followed, has_room=self._output.has_room())
        except Replaced:
            self.roster.replaced(followed)
            return None
        except (OSError, Damaged) as error:
            self._cannot_read(followed, error, now)
            return None
        if took:
            self._register.touch(followed)
            followed.looked_at_size = -1
        elif took is False:
            followed.has_rest = False
        return took

    def _is_over(self, followed: Followed, quiet: float) -> bool:
        """Whether nothing more will come of a file that nothing leads to, and everything of it is delivered."""
        if followed.under_way or not followed.is_joined:
            return False
        longest = DELETED_SECONDS if followed.is_deleted else AWAY_SECONDS
        return (followed.is_deleted or not followed.is_listed) and quiet >= longest

    def _give_up_beyond(self) -> None:
        """Gives up files that are gone, where they hold too much disk space or too many descriptors."""
        beyond = self._held_open.take_beyond(self._register.has)
        if any(not is_done(followed) for followed in beyond) and not self._is_giving_up:
            self._is_giving_up = True
            log.error(
                "files that were deleted before they were delivered hold too much: the oldest are given up until the "
                "output takes documents again (the limits: held_deleted_bytes, and half of the open files that the "
                "process may have)"
            )
        for followed in beyond:
            self.roster.give_up(followed, "given_up", followed.size)

    def _open(self, followed: Followed) -> bool:
        """Opens it if there is room for one more; False if not. Raises OSError."""
        if not followed.is_open:
            if not self._open_files.has_room(followed):
                return False
            followed.open()
        self._open_files.used(followed)
        return True

    def _cannot_read(self, followed: Followed, error: Exception, now: float) -> None:
        """Tried again after a while; a broken archive only when it has changed."""
        if isinstance(error, FileNotFoundError):
            self._looks.put(followed, now)  # which finds where it is
            return
        if isinstance(error, Damaged) and not self._is_intact(followed):
            self.roster.replaced(followed)
            return
        if not followed.is_damaged:
            followed.is_damaged = True
            reason = getattr(error, "strerror", None) or error
            log.error("cannot read on in %r at offset %d: %s", followed.path, followed.nearest, reason)
            self._telemetry.parse_failures.labels(followed.source.name, "damaged_file").inc()
        if isinstance(error, Damaged):
            followed.note_end()
            self._register.touch(followed)
        followed.looked_at_size = followed.size if isinstance(error, Damaged) else -1
        self._looks.put(followed, now + RETRY_SECONDS)

    @staticmethod
    def _is_intact(followed: Followed) -> bool:
        """Whether it holds what was read of it, as far as can be said."""
        try:
            return not followed.is_open or is_intact(followed)
        except OSError:
            return True

    # Turns

    def _make_ready(self, followed: Followed) -> None:
        if followed.is_held and self._is_stalled:
            self._held.pop(followed, None)
            followed.is_held = False
        if not (followed.is_ready or followed.is_held):
            followed.is_ready = True
            self._ready.append(followed)

    def _hold(self, followed: Followed) -> None:
        followed.is_held = True
        self._held[followed] = None

    def _release_held(self, now: float) -> None:
        """Gives turns again to those that wait for room: when there is room, and once when there has been none long."""
        has_room = self._room(now)
        was_stalled, self._is_stalled = self._is_stalled, not has_room and self._has_stalled(now)
        if self._held and (has_room or (self._is_stalled and not was_stalled)):
            for followed in self._held:
                followed.is_held, followed.is_ready = False, True
            self._ready.extend(self._held)
            self._held.clear()

    def _room(self, now: float) -> bool:
        if self._output.has_room():
            self._room_since = None
            self._is_giving_up = False
            return True
        if self._room_since is None:
            self._room_since = now
        return False

    def _has_stalled(self, now: float) -> bool:
        return self._room_since is not None and now - self._room_since >= STALL_SECONDS

    def _take_turns(self, now: float) -> int:
        """Gives each file that has something one batch at a time, or some if there are few; returns how many turns came
        to something.
        """
        has_room = self._room(now)
        turns = 0
        if self._archives:
            self._admit_archives()
        for _ in range(min(max(len(self._ready), LONE_TURNS), TURNS_A_STEP)):
            if not self._ready:
                break
            followed = self._ready.popleft()
            followed.is_ready = False
            turn = self._take_turn(followed, now, has_room=has_room)
            if turn is Turn.MORE:
                turns += 1
                self._register.touch(followed)
                self._make_ready(followed)
                has_room = self._room(now)
            elif turn is Turn.HELD:
                self._hold(followed)
                self._looks.later(followed, now, files=len(self._register))
            elif turn is Turn.END:
                turns += 1
                if followed.is_compressed:
                    self._register.touch(followed)  # how much is in it is known now
                self._looks.after_reading(followed, now)
        return turns

    def _admit_archives(self) -> None:
        """Lets archives take turns that have waited for others to be read through."""
        for _ in range(min(self._open_files.room_for_archives(), len(self._archives))):
            self._ready.append(self._archives.popleft())

    def _take_turn(self, followed: Followed, now: float, *, has_room: bool) -> Turn | None:
        if not self._register.has(followed):
            return None
        try:
            if not self._open(followed):
                followed.is_ready = True
                (self._archives if followed.is_compressed else self._ready).append(followed)
                return None
            is_stalled = self._is_stalled or (not has_room and self._is_late(followed, now))
            turn = self._feeder.turn(followed, has_room=has_room, is_stalled=is_stalled)
        except Replaced:
            self.roster.replaced(followed)
            return None
        except (OSError, Damaged) as error:
            self._cannot_read(followed, error, now)
            return None
        if followed.is_damaged:
            followed.is_damaged = False
            log.info("%r can be read again", followed.path)
        return turn

    def _is_late(self, followed: Followed, now: float) -> bool:
        """Whether the metrics have waited for a slow output for long, and somebody may look at them."""
        return not self._reads_once and now - followed.behind_since("observed", now) >= LATE_SECONDS

    # Acknowledgements

    def _note_done(self, followed: Followed, under_way: UnderWay) -> None:
        """Called by the output, from its threads."""
        self._acknowledged.append((followed, under_way))
        self._wake.set()

    def _take_acknowledgements(self) -> None:
        if not self._acknowledged:
            return
        while self._acknowledged:
            followed, under_way = self._acknowledged.popleft()
            under_way.is_done = True
            self._feeder.count_done(followed, under_way)
            followed.acknowledge()
            self._register.touch(followed)
        self.roster.bury_acknowledged()

    # Committing

    @property
    def is_urgent(self) -> bool:
        """Whether what changed is to be committed without waiting for company."""
        return self._register.is_urgent

    def take_pending(self) -> Pending | None:
        """What changed since the last call, for one commit; None if nothing did.

        Offsets and series are taken at the same place between two batches, so they belong together.
        """
        changes = self._observer.take_changes()
        changed = self._register.take_changes(self._clock())
        commit = Commit(changed.records, changed.forgotten, changes.rows)
        is_empty = not changed.records and not changed.forgotten and not commit.series
        if is_empty and self._has_handed_over:
            return None
        self._has_handed_over = True  # the first commit says that this state has begun, whatever there is to follow
        return Pending(commit, changes)
