"""One round: writers write, the shipper dies and lives, the server fails and heals; then all is healed and counted."""

from __future__ import annotations

import contextlib
import random
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.process import Process, wait_until
from harness.winston import WinstonWriter

from shipper.failpoints import NAMES
from soak.ledger import Ledger
from soak.life import Shipper
from soak.servers import INDEX, Target

SETTLE_SECONDS = 600.0
PAUSE_SECONDS = (0.3, 6.0)
"""Between two troubles, drawn anew each time."""
DEAD_SECONDS = (0.0, 0.5, 3.0)
"""Until a shipper that has ended is started again."""
APP_LINES_A_SECOND = 1000
NEVER_PASSED = ("retry.", "ledger.", "local.", "reload.", "stop.", "tallies.")
FAILPOINTS = [name for name in NAMES if not name.startswith(NEVER_PASSED)]


@contextlib.contextmanager
def app_writer(directory: Path, *, log: Path) -> Iterator[Process]:
    """The Python writer with copytruncate."""
    command = [sys.executable, "-m", "soak.copytruncate", directory, str(APP_LINES_A_SECOND)]
    writer = Process([str(part) for part in command], log=log, env={"PYTHONPATH": str(Path(__file__).parents[1])})
    try:
        writer.wait_ready(timeout_seconds=30)
        yield writer
    finally:
        writer.kill()


class Round:
    """Used once. `run` returns the ledger."""

    def __init__(self, directory: Path, *, server: Target, seed: int, seconds: float) -> None:
        self._directory = directory
        self._server = server
        self._draw = random.Random(seed)
        self._seconds = seconds
        output = f"{{elasticsearch: {{hosts: ['{server.url}'], index: '{INDEX}', request_seconds: 5}}}}"
        self._shipper = Shipper(directory, output=output)

    def run(self) -> Ledger:
        """Write for so many seconds, then wait until all is delivered, and count."""
        logs = self._shipper.logs
        with (
            app_writer(logs / "app", log=self._directory / "app-writer.log") as app,
            WinstonWriter(
                logs / "winston",
                lines=0,
                wait_every=100,
                max_size="4m",
                zipped_archive=True,
                exceptions=0,
                rejections=0,
                seed=self._draw.randrange(1 << 30),
            ) as winston,
        ):
            self._shipper.start()
            self._trouble(until=time.monotonic() + self._seconds)
            ledger = winston.stop()
            app.stop()
            written = {"winston": ledger.lines["combined"], "app": _written(app)}
            self._shipper.happened.update(rotated=ledger.rotated, archived=ledger.archived)
        self._settle(written)
        return self._count(written)

    # Trouble

    def _trouble(self, *, until: float) -> None:
        troubles: dict[str, Callable[[random.Random], None]] = {
            "kill": lambda _: self._shipper.kill(),
            "kill at a failpoint": self._die_at_a_failpoint,
            "stop": lambda _: self._shipper.running.signal(signal.SIGTERM),
            "reload": lambda _: self._signal_when_up(signal.SIGHUP),
            "stop and continue": self._freeze,
            **self._server.troubles(),
        }
        names = sorted(troubles)
        while (now := time.monotonic()) < until:
            self._live(min(until, now + self._draw.uniform(*PAUSE_SECONDS)))
            name = self._draw.choice(names)
            self._shipper.happened[name] += 1
            troubles[name](self._draw)

    def _live(self, until: float) -> None:
        """Scrapes; a shipper that has ended is started again, as a supervisor does."""
        while time.monotonic() < until:
            if self._shipper.has_ended:
                time.sleep(self._draw.choice(DEAD_SECONDS))
                self._shipper.start()
            self._shipper.scrape()
            time.sleep(0.25)

    def _die_at_a_failpoint(self, draw: random.Random) -> None:
        self._shipper.kill()
        self._shipper.start(failpoint=f"{draw.choice(FAILPOINTS)}:{draw.choice([1, 1, 2, 5, 20])}")

    def _signal_when_up(self, number: int) -> None:
        if self._shipper.scrape() is not None:  # before that it would end by it
            self._shipper.running.signal(number)

    def _freeze(self, draw: random.Random) -> None:
        self._shipper.running.signal(signal.SIGSTOP)
        time.sleep(draw.uniform(0.2, 3.0))
        self._shipper.running.signal(signal.SIGCONT)

    # The end

    def _settle(self, written: dict[str, int]) -> None:
        """Waits until all is counted, and delivered; if that does not happen, the ledger will say so."""
        self._server.heal()
        self._shipper.kill()
        self._shipper.start()
        with contextlib.suppress(TimeoutError):
            wait_until(
                lambda: self._has_counted(written) and self._shipper.is_done(),
                what="all counted and delivered",
                timeout_seconds=SETTLE_SECONDS,
                poll_seconds=0.5,
            )

    def _has_counted(self, written: dict[str, int]) -> bool:
        found = self._shipper.scrape() or {}
        return all(found.get(source, 0) >= count for source, count in written.items())

    def _count(self, written: dict[str, int]) -> Ledger:
        counted = {source: int(value) for source, value in self._shipper.seen.items()}
        lost_bytes = self._shipper.lost_bytes()
        self._shipper.running.stop()
        return Ledger(
            written=written,
            counted=counted,
            documents=self._server.count(),
            missing=self._shipper.missing(),
            dead_letters=self._shipper.dead_letters(),
            lost_bytes=lost_bytes,
            went_back=self._shipper.went_back,
            notes=self._shipper.happened,
        )


def _written(writer: Process) -> int:
    [said] = [line.split() for line in writer.output().splitlines() if line.startswith("LEDGER")]
    return int(said[1])
