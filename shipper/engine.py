"""One configuration at work: builds the stages, the output and the pipeline from settings, and runs them in a thread.

A reload builds a second engine and swaps; what outlives an engine (state, registry, HTTP server) is the daemon's.
"""

from __future__ import annotations

import contextlib
import logging
import resource
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from exporter.rule import Rule
from exporter.series import Changes, Exporter
from shipper import __version__
from shipper.attach import Attacher
from shipper.batch import Output
from shipper.columns import FieldReader
from shipper.committing import URGENT_SECONDS, Committer
from shipper.deadletter import DeadLetterWriter
from shipper.enrich import Enricher
from shipper.failpoints import failpoint
from shipper.moments import Moments
from shipper.openfiles import OpenFiles
from shipper.parse import Parser
from shipper.pipeline import Pipeline, Stages
from shipper.redact.stage import redactor
from shipper.roster import Roster
from shipper.routing import functions_of
from shipper.settings import (
    DEFAULT_INDEX,
    ElasticsearchSettings,
    LocalSettings,
    MetricsStart,
    Settings,
    host_name,
    own_directories,
)
from shipper.state import State
from shipper.telemetry import RuleCounts, Telemetry
from shipper.times import IndexPattern
from shipper.watching import Watcher

log = logging.getLogger(__name__)

COMMIT_SECONDS = 1.0
"""So much of the time for a stop is kept for the last deliveries and the commit."""
OPEN_SHARE = 2
"""One of so many descriptors is kept for followed files; the rest is for archives, connections and scrapes."""
MOST_OPEN = 2048

Crash = Callable[[BaseException], None]


class Engine:
    """Built with checked settings; `start`, then runs until `stop`. Used once.

    Stopping delivers what is under way for a while; what is not acknowledged then is read again by the next engine.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        rules: list[Rule],
        state: State,
        telemetry: Telemetry,
        on_crash: Crash,
        reads_once: bool = False,
        descriptors: Mapping[int, int] | None = None,
    ) -> None:
        self.settings = settings
        self._state = state
        self._telemetry = telemetry
        self._on_crash = on_crash
        self._reads_once = reads_once
        self._stop = threading.Event()
        self._is_idle = False
        self._asks_idle = reads_once  # it is asked of every file, which costs where there are thousands
        self._is_draining = False
        self._is_drained = threading.Event()
        self.is_first_scan_done = False
        self.beat_at = time.monotonic()
        self.dead_letters = DeadLetterWriter(directory=Path(settings.state) / "dead-letter")
        self._redactor = redactor(settings)
        for rule in self._redactor.rules:
            telemetry.redactions.labels(rule)  # born as 0, so that the first increase is seen
        self.exporter = self._make_exporter(rules)
        self.output = self._make_output()
        self._snapshot = state.load()
        self.exporter.restore(self._snapshot.series)
        self.committer = Committer(
            state=state,
            publish=self._publish,
            committed=self._wake,
            telemetry=telemetry,
            on_crash=on_crash,
        )
        self.pipeline = self._make_pipeline(descriptors or {})
        self._thread = threading.Thread(target=self._run, name="pipeline", daemon=True)

    # Building

    def _make_exporter(self, rules: list[Rule]) -> Exporter:
        counts = RuleCounts(self._telemetry)
        counts.begin({rule.name: rule.label_names for rule in rules})
        metrics = self.settings.metrics
        return Exporter(
            rules=rules,
            telemetry=counts,
            event_times=Moments(self.settings.sources),
            read_id=FieldReader(metrics.exemplar) if metrics.exemplar else None,
            shows_created=metrics.created,
        )

    def _make_output(self) -> Output:
        settings = self.settings.output
        if settings.elasticsearch is not None:
            return self._make_elasticsearch(settings.elasticsearch)
        from shipper.local import LocalOutput  # what a server does without

        local = settings.local or LocalSettings()
        return LocalOutput(
            settings=local,
            telemetry=self._telemetry,
            dead_letters=self.dead_letters,
            on_crash=self._output_crashed,
        )

    def _make_elasticsearch(self, settings: ElasticsearchSettings) -> Output:
        from shipper.elastic.output import ElasticsearchOutput  # 10 MB of memory that a local output does without

        return ElasticsearchOutput(
            settings=settings,
            telemetry=self._telemetry,
            dead_letters=self.dead_letters,
            spool_directory=Path(self.settings.state) / "spool",
            version=__version__,
            host=host_name(self.settings),
            on_crash=self._output_crashed,
        )

    def _output_crashed(self) -> None:
        self._on_crash(RuntimeError("the output has ended"))

    def _make_pipeline(self, descriptors: Mapping[int, int]) -> Pipeline:
        settings = self.settings
        metrics_start = MetricsStart.BEGINNING if self._reads_once else settings.metrics.start
        attacher = Attacher(
            scope=settings.identity_scope,
            metrics_start=metrics_start,
            records=self._snapshot.files,
            identity_line=self._redactor.identity_line,
        )
        roster = Roster(
            sources=settings.sources,
            attacher=attacher,
            output=self.output,
            telemetry=self._telemetry,
            own_directories=own_directories(settings),
            is_first_start=self._snapshot.is_first_start,
            watcher=Watcher(wake=self._directory_changed),
            open_files=OpenFiles(limit=open_limit()),
            reads_once=self._reads_once,
            descriptors=descriptors,
        )
        return Pipeline(
            stages=self._make_stages(),
            roster=roster,
            observer=self.exporter,
            output=self.output,
            telemetry=self._telemetry,
            reads_once=self._reads_once,
            held_deleted_bytes=settings.held_deleted_bytes,
        )

    def _make_stages(self) -> dict[str, Stages]:
        settings = self.settings
        chosen = settings.output.elasticsearch or settings.output.local
        functions = functions_of(settings)
        stages = {}
        for source in settings.sources:
            enricher = Enricher(
                source=source,
                tags=settings.tags,
                drop=settings.drop,
                host=host_name(settings),
                index=IndexPattern(chosen.index if chosen is not None else DEFAULT_INDEX),
                frame=self.output.frame,
                functions=functions,
            )
            fields = (enricher.fields if source.ship else frozenset()) | (
                self.exporter.fields if source.metrics else frozenset()
            )
            parser = Parser(
                line_format=source.format,
                fields=fields,
                max_line_bytes=source.max_line_bytes,
                redact=self._redactor.redact,
            )
            stages[source.name] = Stages(source, parser, enricher)
        return stages

    # Life

    def start(self) -> None:
        """Starts the threads. Raises InUseError or OutputError if the output can never work."""
        self.output.start()
        failpoint("start.output_started")
        self.committer.start()
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive() and self.committer.is_alive

    @property
    def is_done(self) -> bool:
        """Everything that is there was read, delivered and committed (for `--once`)."""
        return self._is_idle and self.output.status().pending == 0

    def stop(self, *, deadline: float, reads_to_end: bool = False) -> bool:
        """Delivers what is under way until `deadline` (monotonic), commits and ends; True if all was delivered.

        `reads_to_end`: first reads all files to their ends, as far as the time allows.
        """
        if reads_to_end:
            self._asks_idle = True
            self._is_draining = True
            self.pipeline.wake()
            self._is_drained.wait(max(0.0, deadline - COMMIT_SECONDS - time.monotonic()))
        self.pipeline.begin_stop()
        failpoint("stop.begun")
        is_delivered = self.output.close(deadline=deadline)
        failpoint("stop.delivered")
        self._stop.set()
        self.pipeline.wake()
        self._thread.join()
        self.committer.flush(deadline=time.monotonic() + 5)
        pending = self.pipeline.take_pending()
        if pending is not None:
            self.committer.put(pending)
            is_committed = self.committer.flush(deadline=time.monotonic() + 10)
            is_delivered = is_delivered and is_committed
        self.committer.close()
        failpoint("stop.committed")
        return is_delivered

    def release(self) -> dict[int, int]:
        """Closes files; returns the descriptors of those that are deleted, for the next engine to read to the end."""
        return self.pipeline.roster.release()

    def _run(self) -> None:
        try:
            self.pipeline.roster.start()
            has_looked_through = False
            while not self._stop.is_set():
                if self._is_draining and not has_looked_through:
                    has_looked_through = True
                    self.pipeline.look_through()
                pause = self.pipeline.step()
                self.beat_at = time.monotonic()
                self._offer_commit()
                self._ask_idle(has_read_all=pause > 0)
                if has_looked_through and self._is_idle:
                    self._is_drained.set()
                if pause > 0:
                    self.pipeline.wait(min(pause, URGENT_SECONDS if self.pipeline.is_urgent else 1.0))
            self.pipeline.step()
        except BaseException as error:  # noqa: BLE001 - one broad handler per thread: whatever it is, the process ends
            self._on_crash(error)

    def _ask_idle(self, *, has_read_all: bool) -> None:
        self.is_first_scan_done = True
        self._is_idle = self._asks_idle and self.pipeline.is_idle
        if self._asks_idle and has_read_all and not self._is_idle:
            self.output.flush()  # earlier, each batch would go as a request of its own

    def _offer_commit(self) -> None:
        if self.committer.is_due(is_urgent=self.pipeline.is_urgent):
            pending = self.pipeline.take_pending()
            if pending is not None:
                self.committer.put(pending)

    def _publish(self, changes: Changes) -> None:
        self.exporter.publish(changes)

    def _wake(self) -> None:
        self.pipeline.wake()

    def _directory_changed(self) -> None:
        self.pipeline.roster.notice()
        self.pipeline.wake()


def open_limit() -> int:
    """How many files may be open at once; raises the process's own limit as far as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    if soft == resource.RLIM_INFINITY:
        return MOST_OPEN
    return max(16, min(MOST_OPEN, soft // OPEN_SHARE))
