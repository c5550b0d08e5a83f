"""One `shipper replay` from what was typed to its exit code: plan, workers, history, ledger.

`command` parses what was typed, `job` checks it.
"""

from __future__ import annotations

import logging
import os
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from shipper.endings import Exit
from shipper.errors import ConfigError, UndeliveredError
from shipper.progress import Progress
from shipper.replay.book import Bookkeeper
from shipper.replay.choice import choice_of, end_of, moment
from shipper.replay.crew import Crew
from shipper.replay.entries import STANDARD_INPUT, standard_input
from shipper.replay.hands import Orders, hands_of
from shipper.replay.job import Request, job_of
from shipper.replay.ledger import Ledger
from shipper.replay.messages import Task, Wish
from shipper.replay.outputs import spools_in
from shipper.replay.plan import WHOLE, Plan, Planner, tasks_of
from shipper.replay.records import FileRecord
from shipper.replay.screen import Memory, Records, Screen
from shipper.settings import Settings, own_directories
from shipper.targets import Targets, targets
from shipper.wording import number_of

if TYPE_CHECKING:
    from shipper.replay.backfill import Backfill

log = logging.getLogger(__name__)

SMALL_BYTES = 4 << 20
"""Less than that is done before a second process has begun."""


class Replay:
    """One run of a job. Raises ShipperError before anything was sent; later the ledger says what went wrong."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._job = job_of(request)
        self._started = time.monotonic()
        self._crew: Crew | None = None
        self._backfill: Backfill | None = None
        self._metrics: dict[str, Any] = {}
        self._is_interrupted = False

    def run(self) -> Ledger:
        """The ledger, when all is done or cannot go on. Raises ConfigError, InUseError, OutputError, StateError."""
        choice_of(since="", until="", where=self._request.where)
        self._install_signals()
        if self._request.is_dry:
            ledger = self._ledger(*self._work(Memory(), [], datetime.now(UTC)))
            ledger.notes += self._outlook(ledger)
            return ledger
        book = Bookkeeper(self._job.directory)
        try:
            now = datetime.fromisoformat(book.meta("started", datetime.now(UTC).isoformat()))
            earlier = book.resumed()
            if earlier:
                log.info("going on with a replay that was begun at %s", f"{now:%Y-%m-%d %H:%M:%S} UTC")
            ledger = self._ledger(*self._work(book, earlier, now))
            book.finish(msgspec.json.encode(ledger.as_data()), is_finished=ledger.is_finished)
            return ledger
        finally:
            book.close()

    def _work(
        self, records: Bookkeeper | Memory, earlier: Sequence[FileRecord], now: datetime
    ) -> tuple[Plan, Records, str]:
        wish = self._wish(now)
        plan = self._plan(wish)
        if self._is_interrupted:  # what earlier runs have noted stays: not all files were looked at
            return plan, Memory(), "interrupted"
        backfill = self._backfill = self._metrics_wanted(wish)
        tasks, known = tasks_of(plan, earlier)
        tasks = [task for task in tasks if task.entry.source.ship and self._request.ships]
        if isinstance(records, Bookkeeper):
            records.begin(known)
        else:
            records.records.update(known)
        why = self._ship(wish, tasks, records) if tasks and not self._is_interrupted else ""
        if backfill is not None and not (why or self._is_interrupted):
            self._metrics, why = backfill.run(plan)
        return plan, records, "interrupted" if self._is_interrupted else why

    def _outlook(self, ledger: Ledger) -> list[str]:
        server = self._job.settings.output.elasticsearch
        if server is None or self._is_interrupted:
            return []
        from shipper.replay.outlook import outlook  # what only a server needs

        return outlook(server, ledger.indices())

    def _metrics_wanted(self, wish: Wish) -> Backfill | None:
        metrics = self._request.metrics
        if metrics is None or self._request.is_dry:
            return None
        from shipper.replay.backfill import Backfill  # rules and YAML, which shipping does without

        return Backfill(settings=self._job.settings, wish=wish, metrics=metrics, state=self._job.directory)

    def _wish(self, now: datetime) -> Wish:
        request = self._request
        since = moment(request.since, now=now, option="--since")
        until = end_of(request.until, now=now, option="--until")
        if since and until and since >= until:
            raise ConfigError([f"--since {request.since} is not before --until {request.until}"])
        return Wish(since=since, until=until, where=request.where, stem=request.stem, limits=request.limits)

    # Plan

    def _plan(self, wish: Wish) -> Plan:
        request, settings = self._request, self._job.settings
        planner = Planner(settings=settings, wish=wish, shard=self._job.shard)
        paths = [path for path in request.paths if path != STANDARD_INPUT]
        found = Targets()
        if paths:
            found = targets(
                settings,
                paths,
                own_directories=own_directories(settings),
                directory=request.directory,
                source_name=request.source,
                archived=True,
            )
        if STANDARD_INPUT in request.paths:
            planner.add_entry(standard_input(settings, stem_name=request.stem, source_name=request.source))
        progress = Progress(what="looking", total=len(found.files), stream=sys.stderr)
        for file in found.files:
            if self._is_interrupted:
                break
            planner.add(file)
            progress.advance(1)
        progress.clear()
        plan = planner.finish()
        plan.left_out |= found.left_out
        plan.broken += [
            FileRecord(path=path, source="", problem=f"cannot be read: {why}") for path, why in found.problems.items()
        ]
        if not (plan.files or plan.left_out or plan.broken) and self._job.shard == WHOLE:
            raise ConfigError([f"there is no log in {shlex.join(request.paths)}"])
        return plan

    # Workers

    def _ship(self, wish: Wish, tasks: Sequence[Task], records: Records) -> str:
        with tempfile.TemporaryDirectory(prefix="shipper-replay-") as scratch:
            return self._ship_paced(wish, tasks, records, clock=Path(scratch) / "clock")

    def _ship_paced(self, wish: Wish, tasks: Sequence[Task], records: Records, *, clock: Path) -> str:
        request, settings = self._request, self._job.settings
        orders = Orders(
            settings=settings,
            wish=wish,
            directory=self._job.directory,
            lines_per_second=request.lines_per_second,
            clock=clock,
            is_dry=request.is_dry,
            repairs=request.repairs,
            log_level=logging.getLogger().getEffectiveLevel(),
            lock=records.lock if isinstance(records, Bookkeeper) else -1,
        )
        hands = hands_of(orders, count=self._worker_count(tasks), is_alone=self._is_alone(tasks))
        screen = Screen(records, total_bytes=sum(task.entry.size_bytes for task in tasks))
        self._crew = Crew(
            hands=hands,
            tasks=tasks,
            book=records,
            drain_seconds=settings.drain_seconds,
            advanced=screen.advanced,
        )
        if self._is_interrupted:
            self._crew.interrupt()
        try:
            return self._crew.run()
        except UndeliveredError as error:
            return str(error)
        finally:
            screen.clear()

    def _is_alone(self, tasks: Sequence[Task]) -> bool:
        """A directory has one writer, and standard input one reader."""
        is_local = self._job.settings.output.elasticsearch is None and not self._request.is_dry
        return is_local or any(task.entry.file == STANDARD_INPUT for task in tasks)

    def _worker_count(self, tasks: Sequence[Task]) -> int:
        wanted = self._request.workers
        if not wanted:
            is_small = sum(task.entry.size_bytes for task in tasks) < SMALL_BYTES
            wanted = 1 if is_small else len(os.sched_getaffinity(0))
        bundles = {task.entry.file if task.entry.is_folded else task.number for task in tasks}
        return max(min(wanted, len(bundles)), spools_in(self._job.directory))

    # Signals

    def _install_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, _number: int, _frame: object) -> None:
        """The first one ends it in order; a second one at once: what is noted is safe."""
        if self._is_interrupted:
            os._exit(Exit.UNFINISHED)
        self._is_interrupted = True
        if self._crew is not None:
            self._crew.interrupt()
        if self._backfill is not None:
            self._backfill.interrupt()

    # Ledger

    def _ledger(self, plan: Plan, records: Records, why: str) -> Ledger:
        files = [*(records.records[number] for number in sorted(records.records)), *plan.broken]
        if not self._request.ships:
            files = list(plan.broken)
        files = [file for file in files if file.lines or file.problem or not file.is_done or file.position]
        broken = sum(bool(file.problem) for file in files)
        if not why and broken:
            why = f"{number_of(broken, 'file')} not read to the end"
        return Ledger(
            job=self._job.name,
            shard=str(self._job.shard),
            output=_output_name(self._job.settings),
            command=shlex.join(self._request.arguments),
            is_finished=not why,
            why=why,
            is_dry=self._request.is_dry,
            seconds=round(time.monotonic() - self._started, 3),
            files=files,
            left_out=dict(plan.left_out),
            metrics=self._metrics,
        )


def _output_name(settings: Settings) -> str:
    server, local = settings.output.elasticsearch, settings.output.local
    return ", ".join(server.hosts) if server is not None else local.directory if local is not None else ""


def exit_of(ledger: Ledger) -> Exit:
    """What the process ends with."""
    if not ledger.is_finished:
        return Exit.UNFINISHED
    return Exit.DEAD_LETTERS if ledger.has_dead_letters and not ledger.is_dry else Exit.DONE


def replay(request: Request, *, say: Callable[[str], None], show: Callable[[Ledger], None]) -> Exit:
    """Replays; `show` gets the ledger, `say` what stopped it. Raises ShipperError where nothing was begun."""
    ledger = Replay(request).run()
    show(ledger)
    code = exit_of(ledger)
    if code is Exit.UNFINISHED:
        say(f"not finished: {ledger.why}")
        say(f"to go on where it stopped: {ledger.command}")
    return code
