"""One `shipper replay` from what was typed to its exit code: plan, workers, history, ledger.

Everything that a person sees of it goes through `Screen`; `command` parses what was typed.
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
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol

import msgspec

from shipper.daemon import Exit
from shipper.elastic.bulk import check_index_pattern
from shipper.engine import own_directories
from shipper.errors import ConfigError, UndeliveredError
from shipper.progress import Progress
from shipper.replay.backfill import Backfill, MetricsWish
from shipper.replay.book import Bookkeeper
from shipper.replay.choice import choice_of, end_of, moment
from shipper.replay.crew import Crew
from shipper.replay.entries import STANDARD_INPUT, standard_input
from shipper.replay.hands import Orders, hands_of
from shipper.replay.ledger import Ledger
from shipper.replay.outputs import spools_in
from shipper.replay.plan import WHOLE, Plan, Planner, Shard, shard_of, tasks_of
from shipper.replay.records import RESULTS, FileRecord
from shipper.replay.streams import Limits
from shipper.replay.worker import Task, Wish
from shipper.settings import OutputSettings, Secret, Settings
from shipper.targets import Targets, targets

log = logging.getLogger(__name__)

SMALL_BYTES = 4 << 20
"""Less than that is done before a second process has begun."""
_ALWAYS = "1 == 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was typed."""

    settings: Settings
    paths: Sequence[str]
    directory: Path
    """Where relative paths begin."""
    arguments: Sequence[str]
    """Of this command, to say how to go on."""
    source: str = ""
    stem: str = ""
    since: str = ""
    until: str = ""
    where: str = ""
    index: str = ""
    tag: str = ""
    repairs: bool = False
    workers: int = 0
    """0: as many as there are cores."""
    shard: str = ""
    lines_per_second: float = 0.0
    metrics: MetricsWish | None = None
    ships: bool = True
    is_dry: bool = False
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Job:
    """A request that was checked: one piece of work that can be interrupted, and goes on under the same name."""

    name: str
    settings: Settings
    shard: Shard

    @property
    def directory(self) -> Path:
        """Its own state, beside that of a daemon."""
        part = "" if self.shard == WHOLE else f"-shard-{self.shard.number}-of-{self.shard.count}"
        return Path(self.settings.state) / "replay" / f"{self.name}{part}"


def job_of(request: Request) -> Job:
    """Raises ConfigError."""
    shard = shard_of(request.shard) if request.shard else WHOLE
    if shard != WHOLE and STANDARD_INPUT in request.paths:
        raise ConfigError(["--shard: standard input is one stream; shards are made of files"])
    if request.metrics is not None and shard != WHOLE:
        raise ConfigError(["--metrics: a day's metrics span files, so one process must see all: not with --shard"])
    if request.metrics is not None and STANDARD_INPUT in request.paths:
        raise ConfigError(["--metrics: standard input can be read only once; give files"])
    if request.repairs and request.settings.output.elasticsearch is None:
        raise ConfigError(["--repair: only a server has reduced documents; a directory takes every line as it is"])
    settings = _tagged(_indexed(request.settings, request.index), request.tag)
    meaning = (
        msgspec.structs.replace(settings, state="", metrics=msgspec.structs.replace(settings.metrics, listen="")),
        *(request.paths, request.source, request.stem, request.since, request.until, request.where, request.repairs),
        shard.count,
    )
    text = msgspec.json.encode(meaning, enc_hook=_hidden, order="deterministic")
    return Job(blake2b(text, digest_size=6).hexdigest(), settings, shard)


def _hidden(value: Any) -> str:
    if isinstance(value, Secret):
        return "***"
    raise NotImplementedError(type(value))


def _indexed(settings: Settings, index: str) -> Settings:
    if not index:
        return settings
    server, local = settings.output.elasticsearch, settings.output.local
    problems = check_index_pattern(index, allow_data_stream=server is not None and server.allow_data_stream)
    if problems:
        raise ConfigError([f"--index: {index!r} {problem}" for problem in problems])
    changed = OutputSettings(
        elasticsearch=msgspec.structs.replace(server, index=index) if server is not None else None,
        local=msgspec.structs.replace(local, index=index) if local is not None else None,
    )
    return msgspec.structs.replace(settings, output=changed)


def _tagged(settings: Settings, tag: str) -> Settings:
    if not tag:
        return settings
    if not tag.isprintable() or tag != tag.strip():
        raise ConfigError([f"--tag: {tag!r} is no name"])
    if tag in settings.tags:
        raise ConfigError([f"--tag: the configuration has a tag {tag!r} with a meaning of its own"])
    return msgspec.structs.replace(settings, tags={**settings.tags, tag: _ALWAYS})


class Records(Protocol):
    """Where records are kept: a book, or memory for a dry run."""

    records: dict[int, FileRecord]

    def put(self, number: int, record: FileRecord) -> None: ...

    def commit_if_due(self) -> None: ...


class Memory:
    """Records that nobody keeps."""

    def __init__(self) -> None:
        self.records: dict[int, FileRecord] = {}

    def put(self, number: int, record: FileRecord) -> None:
        self.records[number] = record

    def commit_if_due(self) -> None:
        """Nothing is durable."""


class Screen:
    """Shows how far it is: bytes, documents by what became of them, rate and time left."""

    def __init__(self, records: Records, *, total_bytes: int) -> None:
        self._records = records
        self._total = total_bytes
        self._progress = Progress(what="replay", total=total_bytes, stream=sys.stderr)
        self._started = time.monotonic()
        self._said_at = 0.0
        self._detail = ""
        self._lines_before = self._lines()

    def _lines(self) -> int:
        return sum(record.lines for record in self._records.records.values())

    def advanced(self, count: int) -> None:
        now = time.monotonic()
        if now - self._said_at > 0.2:
            self._said_at = now
            self._detail = self._text(now, self._progress.done + count)
        self._progress.advance(count, self._detail)

    def _text(self, now: float, done: int) -> str:
        totals = dict.fromkeys(RESULTS, 0)
        for record in self._records.records.values():
            for name, count in record.results().items():
                totals[name] += count
        seconds = max(now - self._started, 0.1)
        rate = (self._lines() - self._lines_before) / seconds
        left = (self._total - done) * seconds / done if done else 0.0
        aside = totals["dead_letter"] + totals["reduced"]
        return (
            f"{totals['created']:,} new, {totals['duplicate']:,} already there, {aside:,} set aside, "
            f"{rate:,.0f} lines/s, {_clock(left)} left"
        )

    def clear(self) -> None:
        self._progress.clear()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


# The whole ----------------------------------------------------------------------------------------------------------


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
        return Backfill(settings=self._job.settings, wish=wish, metrics=metrics, state=self._job.directory)

    def _wish(self, now: datetime) -> Wish:
        request = self._request
        since = moment(request.since, now=now, option="--since")
        until = end_of(request.until, now=now, option="--until")
        if since and until and since >= until:
            raise ConfigError([f"--since {since} is not before --until {until}"])
        return Wish(since=since, until=until, where=request.where, stem=request.stem, limits=request.limits)

    # Plan

    def _plan(self, wish: Wish) -> Plan:
        request, settings = self._request, self._job.settings
        planner = Planner(settings=settings, wish=wish, shard=self._job.shard, looked=lambda: None)
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
        for file in found.files:
            if self._is_interrupted:
                break
            planner.add(file)
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
            why = "1 file was not read to its end" if broken == 1 else f"{broken} files were not read to their end"
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
