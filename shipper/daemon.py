"""The process: state, engine, HTTP server, signals, systemd. Sees everything; other modules see only their neighbours.

Starts, waits for signals, and ends with an exit code. Any thread's crash ends the process, so that it is restarted.
"""

from __future__ import annotations

import logging
import os
import queue
import shlex
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from exporter.registry import CollectorRegistry
from exporter.rule import Rule
from exporter.rules import label_warnings
from exporter.scrape import Scrapes
from exporter.selfmetrics import self_metrics
from exporter.server import Server
from exporter.site import ServerHooks
from shipper import __version__
from shipper.config import Loaded, check_files
from shipper.control import ControlServer
from shipper.deadletter import letters_text
from shipper.endings import Exit, cannot_deliver
from shipper.engine import Engine
from shipper.errors import ConfigError, InUseError, OutputError, ShipperError, StateError
from shipper.escaping import printable
from shipper.failpoints import failpoint
from shipper.interpreter import Rest, tune
from shipper.positions import positions_of
from shipper.progress import Progress
from shipper.recent import Recent
from shipper.referred import guard_of, rules_of, web_config_problems
from shipper.reloading import check_same, is_another_output, moved_text
from shipper.sdnotify import Notifier
from shipper.settings import Settings
from shipper.state import State, open_state
from shipper.status import bind_gauges, status_of, totals_of
from shipper.telemetry import Telemetry
from shipper.wording import number_of

log = logging.getLogger(__name__)

DEFAULT_DRAIN_SECONDS = 5.0
TOLD_UNREAD = 10
BEAT_SECONDS = 30.0
TICK_SECONDS = 0.25
CANNOT_BEGIN = (ConfigError, InUseError, OutputError, StateError)
FORMER_AGAIN_SECONDS = 2.0
"""A former configuration that cannot go on at once, for its output cannot be opened, is tried again so often."""


class Request(msgspec.Struct, frozen=True):
    """What was asked for on the command line."""

    load: Callable[[], Loaded]
    """Reads the configuration; again at each reload. Raises ConfigError."""
    reads_once: bool
    listens: bool
    arguments: tuple[str, ...]
    """Of this command, to say how to go on."""
    started: Callable[[Daemon], None] = lambda _: None
    """Called when everything runs."""
    stopping: Callable[[], None] = lambda: None
    """Called before a stop."""


class Waiting(msgspec.Struct):
    """What is to run as soon as it can: between the end of an engine and the start of the next."""

    settings: Settings
    rules: list[Rule]
    descriptors: dict[int, int]
    """Open files that nothing else leads to; whoever runs next takes them over."""
    again_at: float = 0.0
    is_told: bool = False

    def close(self) -> None:
        """Nobody will run."""
        for descriptor in self.descriptors.values():
            os.close(descriptor)


class Daemon:
    """One `shipper run`. `run` returns the exit code."""

    def __init__(self, *, request: Request, loaded: Loaded, notifier: Notifier) -> None:
        self._request = request
        self._loaded = loaded
        self._notifier = notifier
        self._signals: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._started_at = time.time()
        self._stopping_since: float | None = None
        self._server: Server | None = None
        self._control: ControlServer | None = None
        self._recent = Recent()
        self.telemetry = Telemetry(registry=CollectorRegistry())
        self.engine: Engine | None = None
        self._state: State | None = None
        self._rules: list[Rule] = []
        self._waiting: Waiting | None = None

    # Life

    def run(self) -> Exit:
        """Runs until a signal, or for `--once` until all is delivered. Raises ShipperError before it has begun."""
        settings = self._loaded.settings
        rules = rules_of(settings, known=self._file_problems(settings))
        self._install_signals()
        logging.getLogger().addHandler(self._recent)
        self._state = open_state(Path(settings.state))
        failpoint("start.state_opened")
        try:
            self.engine, self._rules = self._make_engine(settings, rules), rules
            failpoint("start.engine_made")
            bind_gauges(self.telemetry, self._require_engine, settings)
            if self._listens(settings):
                self._server = self._listen(settings)
            self.engine.start()
            tune()
            self._control = self._answer_questions(settings)
        except BaseException:
            self._close_server()
            self._state.close()
            raise
        failpoint("start.running")
        self._note_loaded()
        self._tell_warnings(rules)
        self._tell_start(settings)
        self._request.started(self)
        code = self._run_once() if self._request.reads_once else self._run_on()
        self._control.close()
        self._close_server()
        self._state.close()
        return code

    def _make_engine(self, settings: Settings, rules: list[Rule], descriptors: dict[int, int] | None = None) -> Engine:
        if self._state is None:
            raise StateError("the state is not open")
        return Engine(
            settings=settings,
            rules=rules,
            state=self._state,
            telemetry=self.telemetry,
            on_crash=self._crash,
            reads_once=self._request.reads_once,
            descriptors=descriptors,
        )

    def address(self) -> str:
        """Where the page is."""
        host = self._loaded.settings.metrics.listen.rpartition(":")[0]
        return f"{self._server.scheme}://{host}:{self._server.port}/" if self._server is not None else ""

    def _require_engine(self) -> Engine:
        if self.engine is None:
            raise StateError("not started")
        return self.engine

    def _tell_start(self, settings: Settings) -> None:
        where = f", serving {self.address()}" if self._server is not None else ""
        log.info(
            "shipper %s: %s -> %s%s",
            __version__,
            ", ".join(s.name for s in settings.sources),
            self.output_name(),
            where,
        )

    def _tell_warnings(self, rules: Sequence[Rule]) -> None:
        for warning in (*self._loaded.warnings, *label_warnings(rules)):
            log.warning("%s", warning)

    def output_name(self) -> str:
        """For people: the server's address without credentials, or the directory."""
        return self._require_engine().output.status().name

    def _crash(self, error: BaseException) -> None:
        """Ends the process: a thread that has failed cannot be trusted to go on. Nothing that was committed is lost."""
        why = "for want of memory" if isinstance(error, MemoryError) else "by a bug"
        log.critical("ended %s; nothing is lost, and a restart goes on where it was", why, exc_info=error)
        logging.shutdown()
        os._exit(Exit.UNFINISHED)

    # Signals

    def _install_signals(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Only notes it; the main thread acts. A second one while stopping ends at once: what is committed is safe."""
        if number != signal.SIGHUP and self._stopping_since is not None:
            os._exit(Exit.UNFINISHED if self._request.reads_once else Exit.DONE)
        if number != signal.SIGHUP:
            self._stopping_since = time.monotonic()
        self._signals.put(number)

    def _run_on(self) -> Exit:
        """Waits for signals, keeps systemd informed, and has memory given back when there is nothing to do."""
        is_ready = False
        next_beat = 0.0
        interval = self._notifier.watchdog_seconds
        rest = Rest()
        while True:
            if not is_ready and self.ready()[0]:
                is_ready = True
                self._notifier.ready(f"shipping to {self.output_name()}")
            now = time.monotonic()
            if interval is not None and now >= next_beat and self.healthy()[0]:
                next_beat = now + interval
                self._notifier.alive()
            try:
                is_soon = not is_ready or self._waiting is not None
                number = self._signals.get(timeout=TICK_SECONDS if is_soon else min(interval or 5.0, 5.0))
            except queue.Empty:
                self._start_former()
                rest.look()
                continue
            if number == signal.SIGHUP:
                self._reload()
            else:
                self._stop()
                return Exit.DONE

    def _stop(self) -> bool:
        self._request.stopping()
        drain = self._require_engine().settings.drain_seconds
        log.info("stopping; what is under way is delivered for at most %g seconds", drain)
        self._notifier.stopping("delivering what is under way")
        if self._waiting is not None:
            self._waiting.close()
            log.info("stopped; what was not delivered is read again at the next start")
            return False
        is_delivered = self._require_engine().stop(
            deadline=(self._stopping_since or time.monotonic()) + drain, reads_to_end=drain > DEFAULT_DRAIN_SECONDS
        )
        self._require_engine().release()
        log.info("stopped%s", "" if is_delivered else "; what was not delivered is read again at the next start")
        return is_delivered

    # Once

    def _run_once(self) -> Exit:
        """Reads everything to its end and delivers it."""
        engine = self._require_engine()
        started = time.monotonic()
        why = ""
        progress = Progress(what="once", total=0, stream=sys.stderr)
        while not engine.is_done:
            progress.tell(self._summary)
            if not self._signals.empty() and self._signals.get() != signal.SIGHUP:
                why = "interrupted"
                break
            why = cannot_deliver(engine.output.status(), now=time.monotonic(), started=started)
            if why:
                break
            time.sleep(0.02)
        deadline = time.monotonic() + (engine.settings.drain_seconds if not why else 1.0)
        is_delivered = engine.stop(deadline=deadline)
        unread = engine.pipeline.roster.unread()
        unfinished = engine.pipeline.roster.unfinished_paths()
        engine.release()
        progress.clear()
        log.info("%s", self._summary())
        if unfinished:
            log.warning(
                "left alone, for it may go on: the last line, without a newline, of %s",
                _listed(list(map(printable, unfinished))),
            )
        why = why or ("" if is_delivered else "not everything was delivered") or _unread_words(unread)
        if why:
            print(f"shipper: not finished: {why}", file=sys.stderr)
            print(f"shipper: to go on where it stopped: {shlex.join(self._request.arguments)}", file=sys.stderr)
            return Exit.UNFINISHED
        documents = totals_of(self.telemetry)["documents"]
        has_letters = documents["dead_letter"] or documents["reduced"] or engine.dead_letters.taken
        if not has_letters:
            return Exit.DONE
        print(f"shipper: {letters_text(engine.dead_letters.taken, engine.settings.state)}", file=sys.stderr)
        return Exit.DEAD_LETTERS

    def _summary(self) -> str:
        """What a `--once` did, for whoever started it."""
        totals = totals_of(self.telemetry)
        documents = ", ".join(f"{count:,} {result.replace('_', ' ')}" for result, count in totals["documents"].items())
        return f"read {number_of(totals['lines'], 'line')}; documents: {documents}"

    def _file_problems(self, settings: Settings) -> list[str]:
        """What is wrong with the files that are needed beside rules."""
        return [*check_files(settings), *(web_config_problems(settings) if self._listens(settings) else ())]

    # Reload

    def _reload(self) -> None:
        """Builds the new configuration whole and swaps it in; a bad one leaves the old running."""
        self._notifier.reloading()
        old = self._require_engine()
        try:
            loaded = self._request.load()
            rules = rules_of(loaded.settings, known=self._file_problems(loaded.settings))
            check_same(old.settings, loaded.settings)
        except (ConfigError, OSError) as error:
            for problem in error.problems if isinstance(error, ConfigError) else [str(error)]:
                log.error("the configuration was not reloaded: %s", problem)  # noqa: TRY400 - no bug
            self.telemetry.config_last_reload_successful.set(0)
            self._notifier.ready("running with the former configuration")
            return
        failpoint("reload.loaded")
        if self._waiting is None:
            old.stop(deadline=time.monotonic() + min(old.settings.drain_seconds, DEFAULT_DRAIN_SECONDS))
            self._waiting = Waiting(old.settings, self._rules, old.release())
        failpoint("reload.stopped")
        try:
            self._start_engine(loaded.settings, rules)
        except ShipperError as error:
            log.error("the new configuration cannot run (%s); the former one goes on", error)  # noqa: TRY400 - no bug
            self.telemetry.config_last_reload_successful.set(0)
            self._start_former()
            self._notifier.ready("running with the former configuration")
            return
        if is_another_output(old.settings.output, loaded.settings.output):
            has_ledger = self._require_engine().output.has_ledger
            log.warning("%s", moved_text(old.output.status().name, self.output_name(), has_ledger=has_ledger))
        failpoint("reload.started")
        self._loaded = loaded
        bind_gauges(self.telemetry, self._require_engine, loaded.settings)
        self._note_loaded()
        log.info("configuration reloaded")
        self._tell_warnings(rules)
        self._notifier.ready(f"shipping to {self.output_name()}")

    def _start_engine(self, settings: Settings, rules: list[Rule]) -> None:
        """Goes on with these where the last engine ended. Raises ShipperError, and may be repeated then."""
        waiting = self._waiting
        self.engine = self._make_engine(settings, rules, waiting.descriptors if waiting is not None else None)
        self.engine.start()
        self._rules, self._waiting = rules, None

    def _start_former(self) -> None:
        """Goes on with the former configuration, if it waits for that and its output can be opened now."""
        waiting = self._waiting
        if waiting is None or time.monotonic() < waiting.again_at:
            return
        try:
            self._start_engine(waiting.settings, waiting.rules)
        except ShipperError as error:
            if not waiting.is_told:
                log.error("the former configuration cannot go on yet: %s; it is tried again and again", error)  # noqa: TRY400 - no bug
            waiting.is_told, waiting.again_at = True, time.monotonic() + FORMER_AGAIN_SECONDS
        else:
            log.info("the former configuration goes on")

    def _note_loaded(self) -> None:
        self.telemetry.config_last_reload_successful.set(1)
        self.telemetry.config_last_reload_timestamp.set_to_current_time()

    # HTTP

    def _listens(self, settings: Settings) -> bool:
        """Whether anything is served: an empty address is none."""
        return self._request.listens and bool(settings.metrics.listen)

    def _listen(self, settings: Settings) -> Server:
        scrapes = Scrapes(
            exporter=lambda: self._require_engine().exporter, self_metrics=self_metrics(self.telemetry.registry)
        )
        hooks = ServerHooks(
            metrics=scrapes,
            healthy=self.healthy,
            ready=self.ready,
            status=self._status,
            committed_recently=lambda: not self._require_engine().committer.is_late(),
        )
        guard = guard_of(settings)
        for warning in guard.warnings() if guard is not None else ():
            log.warning("%s", warning)
        server = Server(listen=settings.metrics.listen, hooks=hooks, guard=guard)
        server.start()
        return server

    def _answer_questions(self, settings: Settings) -> ControlServer:
        """The socket over which other commands ask."""
        control = ControlServer(
            directory=Path(settings.state),
            answers={
                "status": lambda: [msgspec.json.encode(self._status())],
                "files": lambda: positions_of(self._require_engine()),
            },
        )
        control.start()
        return control

    def _status(self) -> dict[str, Any]:
        errors = self._recent.messages()
        return status_of(self._require_engine(), self.telemetry, started_at=self._started_at, errors=errors)

    def _close_server(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def healthy(self) -> tuple[bool, str]:
        """Whether every thread is alive and the pipeline moves; looks at nothing outside."""
        engine = self._require_engine()
        if self._waiting is not None:
            return True, "waiting for the output, to go on with the former configuration"
        if not engine.is_alive or (self._server is not None and not self._server.is_alive()):
            return False, "a thread has ended"
        silent = time.monotonic() - engine.beat_at
        if silent >= BEAT_SECONDS:
            return False, f"the pipeline has not moved for {silent:.0f} seconds"
        return True, "ok"

    def ready(self) -> tuple[bool, str]:
        """Whether the first scan is done and the state was committed; the output does not matter."""
        engine = self._require_engine()
        if not engine.is_first_scan_done:
            return False, "the first scan is not done"
        if not engine.committer.commits:
            return False, engine.committer.error or "the state has not been committed yet"
        return True, "ready"


def run(request: Request) -> Exit:
    """Runs the daemon. Raises ConfigError, InUseError, OutputError or StateError if it cannot begin."""
    return Daemon(request=request, loaded=request.load(), notifier=Notifier(environ=os.environ)).run()


def _listed(texts: Sequence[str]) -> str:
    """The first of them, and how many there are beside these."""
    left = f"; and {len(texts) - TOLD_UNREAD} more" if len(texts) > TOLD_UNREAD else ""
    return "; ".join(texts[:TOLD_UNREAD]) + left


def _unread_words(unread: Sequence[tuple[str, str]]) -> str:
    """Path and reason of what a `--once` was to read and could not; "" if there is none."""
    told = [f"{printable(path)}: {reason}" for path, reason in unread]
    return f"cannot read {_listed(told)}" if told else ""
