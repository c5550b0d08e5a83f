"""The local output: a document a line in daily NDJSON files, exactly once by the ledger beside them.

The pipeline's documents wait for a writer thread, which takes them in groups: `groupcommit` has the steps that make a
group durable, `dayfiles` the files, `ledger` the commits, `coverage` which offsets are there.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_random_exponential

from shipper.batch import Content, Documents, Frame, OutputStatus
from shipper.errors import OutputError
from shipper.local.coverage import Contents, Coverage, Record, holes_of
from shipper.local.dayfiles import DayFiles, check_pattern
from shipper.local.groupcommit import DeadLetters, GroupCommit, Submitted
from shipper.local.ledger import Ledger
from shipper.local.recovery import recovered
from shipper.settings import LocalSettings
from shipper.telemetry import Telemetry

log = logging.getLogger(__name__)

FRAME: Final = Frame(b'{"_index":"', b'","_id":"', b'","_source":', b"}\n")

COMMIT_SECONDS = 0.5
COMMIT_BYTES = 4 << 20
"""With so much waiting there is a commit before its time."""
UNDER_WAY_BYTES = 8 << 20
_OVERHEAD_BYTES = 512
"""What documents without a body count for, so that they too are bounded."""
_TIDY_SECONDS = 3600.0
_GRACE_SECONDS = 1.0
"""Between giving up at the deadline and having let go of the directory."""
_MENDABLE = (OSError, sqlite3.OperationalError)
"""Disk full, I/O error, read-only, directory away: waited for."""


class LocalOutput:
    """Implements `Output`. `start` takes the directory, `close` gives it back; one instance, one run.

    Loses nothing that it took over: what cannot be written waits, and is not done. Repeats nothing: what a crash left
    behind the last commit is cut at the next start, and `covered` tells the pipeline what is there. A content counts as
    covered from its submission on, so a file that is met again meanwhile is not read twice.
    """

    frame = FRAME

    def __init__(
        self,
        *,
        settings: LocalSettings,
        telemetry: Telemetry,
        dead_letters: DeadLetters,
        on_crash: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
        clock: Callable[[], float] = time.time,
        longest_wait_seconds: float = 15.0,
    ) -> None:
        """`on_crash` is called by the writer thread when it ends by a bug, a corrupt ledger, or another's ledger.

        Raises OutputError for a pattern of index names that does not give file names.
        """
        check_pattern(settings.index)
        self._settings = settings
        self._telemetry = telemetry
        self._on_crash = on_crash
        self._monotonic = monotonic
        self._clock = clock
        self._directory = Path(settings.directory).absolute()
        self._ledger = Ledger(directory=self._directory / ".shipper")
        self._files = DayFiles(directory=self._directory, ledger=self._ledger, pattern=settings.index)
        self._commits = GroupCommit(
            ledger=self._ledger, files=self._files, dead_letters=dead_letters, telemetry=telemetry
        )
        self._contents = Contents(load=self._ledger.contents, new=self._ledger.new_record)
        """The pipeline's thread only."""
        self._retrying = Retrying(
            retry=retry_if_exception_type(_MENDABLE),
            wait=wait_random_exponential(multiplier=0.25, max=longest_wait_seconds),
            stop=self._is_over,
            before_sleep=self._failed,
            sleep=self._pause,
            reraise=True,
        )
        self._changed = threading.Condition()
        self._queue: list[Submitted] = []  # guarded by _changed, as are the seven after it but `_learning`
        self._under_way_bytes = 0
        self._pending = 0
        self._queued_bytes = 0
        self._to_learn: set[str] = set()
        """Identities of contents that were cut: the day files may have lines of them that now come again."""
        self._learning: set[str] = set()
        """Those of them that the writer looks up before it writes what it took last. The writer's thread only."""
        self._is_hurried = False
        self._deadline: float | None = None
        self._thread: threading.Thread | None = None
        self._committed_at = float("-inf")
        self._tidy_at = float("-inf")
        self._tidy_error = ""
        self._progress_at = monotonic()
        self._error = ""
        self.has_ledger = True
        """Until it is closed: then nothing is `covered`, which does not mean that nothing is there."""

    # The pipeline's thread --------------------------------------------------------------------------------

    def start(self) -> None:
        self.open()
        self._thread = threading.Thread(target=self._run, name="local-output", daemon=True)
        self._thread.start()

    def open(self) -> None:
        """All of `start` but the thread."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._ledger.open()
            try:
                self._recover()
                self._to_learn = self._ledger.to_learn()
                self._files.start()
            except BaseException:
                self._ledger.close()
                raise
        except FileExistsError as error:
            raise OutputError(f"output directory {str(self._directory)!r}: it is a file; name a directory") from error
        except (OSError, sqlite3.Error) as error:
            raise OutputError(f"output directory {str(self._directory)!r}: {error}") from error
        self._telemetry.output_up.set(1)
        self._progress_at = self._monotonic()

    def _recover(self) -> None:
        if self._ledger.is_new:
            self._begin()
        if not self._ledger.is_lost:
            return
        if self._ledger.set_aside:
            log.error("the ledger was corrupt and is now %r", str(self._ledger.set_aside))
        log.error("the ledger of %r is made anew from the ids in its day files", str(self._directory))
        self._ledger.create(recovered(self._directory))

    def _begin(self) -> None:
        """What day files hold that lie there without a ledger, copied or left behind, is not written again."""
        found = list(recovered(self._directory))
        if found:
            log.warning(
                "%r has day files and no ledger: what they hold is not written again, and they stay as they are; "
                "numbered ones take what comes",
                str(self._directory),
            )
        self._ledger.create(found)

    def has_room(self) -> bool:
        return self._under_way_bytes < UNDER_WAY_BYTES

    def submit(self, documents: Documents) -> None:
        batch = documents.batch
        size_bytes = len(documents.body) + _OVERHEAD_BYTES
        submitted = Submitted(documents, size_bytes)
        holes = holes_of(batch, documents.unwanted) if documents.unwanted else ()
        if batch.handle is not None and holes != ((batch.start, batch.end),):
            submitted.record = self._contents.extend(batch.handle, batch.start, batch.end, holes=holes)
            submitted.coverage = submitted.record.coverage
        with self._changed:
            if self._queue and self._queue[-1].record is submitted.record:
                self._queue[-1].forget_coverage()  # the same commit says more of that content
            self._queue.append(submitted)
            self._pending += documents.count
            self._under_way_bytes += size_bytes
            self._queued_bytes += size_bytes
            if len(self._queue) == 1 or self._queued_bytes >= COMMIT_BYTES:
                self._changed.notify()

    def flush(self) -> None:
        with self._changed:
            self._is_hurried = bool(self._queue)
            self._changed.notify()

    def covered(self, content: Content) -> Sequence[tuple[int, int]]:
        covered = self._contents.covered(content)
        if self._contents.has_doubt():
            self._look_up(content.identity, ())
        return covered

    def forget(self, content: Content, position: int) -> None:
        self._look_up(content.identity, self._contents.forget(content, position))

    def _look_up(self, identity: str, changed: Iterable[tuple[Record, Coverage]]) -> None:
        """Has the ids looked up that day files have of an identity, before anything more is written of it."""
        with contextlib.suppress(sqlite3.OperationalError):  # then it is committed with the next lines
            self._ledger.commit(contents=changed, to_learn=[identity])
        with self._changed:
            self._to_learn.add(identity)

    def close(self, *, deadline: float) -> bool:
        with self._changed:
            self._deadline = deadline
            self._changed.notify()
        if self._thread is not None:
            self._thread.join(max(0.0, deadline - self._monotonic()) + _GRACE_SECONDS)
        return not self._pending and (self._thread is None or not self._thread.is_alive())

    def status(self) -> OutputStatus:
        return OutputStatus(
            name=self._settings.directory,
            is_up=not self._error,
            error=self._error,
            progress_at=self._progress_at,
            refused_since=None,
            pending=self._pending,
        )

    # The writer's thread ----------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while (submitted := self._next()) is not None and self.deliver(submitted):
                self._tidy()
        except Exception:  # the thread's one broad handler: a silent end would stop delivery for good
            log.exception("the local output's writer ended")
            self._on_crash()
        finally:
            self.release()

    def release(self) -> None:
        """Gives the directory back; documents that are not done will be read again."""
        self.has_ledger = False  # first: whoever is told nothing by a closed one must not take it for the truth
        self._files.close()
        self._ledger.close()

    def _next(self) -> list[Submitted] | None:
        """Waits for something to do: what was submitted (nothing, if only tidying is due); None at the end."""
        with self._changed:
            while not self._is_due():
                if self._deadline is not None:
                    return None
                if self._monotonic() >= self._tidy_at:
                    return []
                self._changed.wait(self._idle_seconds())
            return self.take()

    def take(self) -> list[Submitted]:
        """What was submitted since; with `deliver`, what the writer's thread does."""
        taken, self._queue = self._queue, []
        self._learning |= self._to_learn  # what is asked for from now on may be among what is written now
        self._to_learn = set()
        self._queued_bytes = 0
        self._is_hurried = False
        return taken

    def _is_due(self) -> bool:
        if not self._queue:
            return False
        is_hurried = self._is_hurried or self._deadline is not None or self._queued_bytes >= COMMIT_BYTES
        return is_hurried or self._monotonic() >= self._committed_at + COMMIT_SECONDS

    def _idle_seconds(self) -> float | None:
        """How long nothing can become due; None without end."""
        if self._queue:
            return max(0.0, self._committed_at + COMMIT_SECONDS - self._monotonic())
        if self._settings.keep_days:
            return max(0.0, self._tidy_at - self._monotonic())
        return None

    def deliver(self, submitted: list[Submitted]) -> bool:
        """Makes documents durable, however long that takes; False if `close` gave up on it."""
        if not submitted:
            return True
        try:
            again = frozenset(self._learning)
            self._retrying(self._learn)
            group = self._commits.group(submitted, again=again)
            for step in self._commits.steps:
                self._retrying(step, group)
        except _MENDABLE as error:
            self._say_down(error)
            return False
        self._say_up()
        self._commits.finish(group)
        self._committed_at = self._progress_at = self._monotonic()
        with self._changed:
            self._pending -= sum(each.documents.count for each in submitted)
            self._under_way_bytes -= sum(each.size_bytes for each in submitted)
        return True

    def _learn(self) -> None:
        """Looks up which ids day files have of contents that were cut, before anything more is written of them."""
        for identity in tuple(self._learning):
            self._commits.learn(identity, self._directory)
            self._learning.discard(identity)

    def _tidy(self) -> None:
        """Deletes day files by keep_days and max_bytes; what fails is tried again the next time."""
        keep_days, max_bytes = self._settings.keep_days, self._settings.max_bytes
        is_over = 0 < max_bytes < self._files.size_bytes
        if not is_over and self._monotonic() < self._tidy_at:
            return
        self._tidy_at = self._monotonic() + _TIDY_SECONDS
        try:
            self._files.expire(now=self._clock(), keep_days=keep_days, max_bytes=max_bytes)
        except _MENDABLE as error:
            if self._tidy_error != str(error):
                log.warning("old day files in %r cannot be deleted: %s", str(self._directory), error)
            self._tidy_error = str(error)
        else:
            self._tidy_error = ""

    # Waiting for a disk ---------------------------------------------------------------------------------

    def _is_over(self, _state: RetryCallState) -> bool:
        return self._deadline is not None and self._monotonic() >= self._deadline

    def _pause(self, seconds: float) -> None:
        """Sleeps; the call of `close` wakes it, then its deadline bounds it."""
        with self._changed:
            if self._deadline is None:
                self._changed.wait_for(lambda: self._deadline is not None, seconds)
            else:
                self._changed.wait(min(seconds, max(0.0, self._deadline - self._monotonic())))

    def _failed(self, state: RetryCallState) -> None:
        if state.outcome is not None and (error := state.outcome.exception()) is not None:
            self._say_down(error)

    def _say_down(self, error: BaseException) -> None:
        text = f"output directory {str(self._directory)!r}: {error}"
        if not self._error:
            log.error("%s; nothing is lost, writing is tried again", text)
            self._telemetry.output_up.set(0)
        self._error = text

    def _say_up(self) -> None:
        if self._error:
            log.info("output directory %r: writing again", str(self._directory))
            self._error = ""
            self._telemetry.output_up.set(1)
