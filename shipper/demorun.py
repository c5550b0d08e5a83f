"""`shipper demo`: the generator beside a daemon of its own, and a summary in which the two must agree."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

from shipper.config import CommandLine, Loaded, zero_config
from shipper.daemon import Daemon, Request
from shipper.demo import Generator, GeneratorStats
from shipper.endings import Exit
from shipper.errors import ConfigError
from shipper.sdnotify import Notifier
from shipper.settings import DEFAULT_LISTEN
from shipper.status import status_of
from shipper.telemetry import RESULTS

DRAIN_SECONDS = 30


def run_demo(
    directory: Path,
    *,
    rate: float,
    seconds: float | None,
    listen: str | None,
    output: str | None,
    echo: Callable[[str], None],
) -> Exit:
    """Runs until Ctrl-C, or for `seconds`. Raises ShipperError if it cannot begin."""
    logs = directory / "logs"
    generator = _generator(logs, rate=rate)
    stop = threading.Event()
    writer = threading.Thread(target=generator.run, args=(stop,), name="generator", daemon=True)

    def load() -> Loaded:
        return zero_config(
            CommandLine(
                directory=Path.cwd(),
                paths=(str(logs),),
                output=output or str(directory / "shipped"),
                state=str(directory / "state"),
                listen=listen or free_address(DEFAULT_LISTEN),
                drain=str(DRAIN_SECONDS),
            )
        )

    def started(daemon: Daemon) -> None:
        writer.start()
        address = daemon.address()
        echo(f"\nwriting {rate:g} lines a second into {logs}/, shipping them into {daemon.output_name()}")
        echo(f"  page     {address}\n  metrics  {address}metrics\n  status   {address}status.json")
        echo("Ctrl-C ends it with a summary.\n")
        if seconds is not None:
            threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)).start()
        threading.Thread(target=tell_progress, args=(daemon, generator, stop, echo), daemon=True).start()

    def stopping() -> None:
        stop.set()
        writer.join()

    request = Request(load=load, reads_once=False, listens=True, arguments=(), started=started, stopping=stopping)
    daemon = Daemon(request=request, loaded=load(), notifier=Notifier(environ={}))
    code = daemon.run()
    echo(summary(daemon, generator.stats))
    return code


def _generator(logs: Path, *, rate: float) -> Generator:
    """Raises ConfigError where no such directory can be made."""
    try:
        return Generator(directory=logs, rate=rate)
    except OSError as error:
        raise ConfigError([f"cannot make the directory {str(logs)!r}: {error.strerror}"]) from None


def free_address(wanted: str) -> str:
    """`wanted` if its port is free, else any port of that host."""
    host, _, port = wanted.rpartition(":")
    with socket.socket() as probe:
        try:
            probe.bind((host, int(port)))
        except OSError:
            return f"{host}:0"
    return wanted


def tell_progress(daemon: Daemon, generator: Generator, stop: threading.Event, echo: Callable[[str], None]) -> None:
    """A line every five seconds."""
    started = time.monotonic()
    while not stop.wait(5):
        engine = daemon.engine
        if engine is None:
            return
        totals = status_of(engine, daemon.telemetry, started_at=0)["totals"]
        written, counted, shipped = generator.stats.documents, totals["lines"], totals["documents"]["created"]
        seconds = time.monotonic() - started
        rotated = generator.stats.rotations
        numbers = f"written {written:>8,}  counted {counted:>8,}  shipped {shipped:>8,}  rotated {rotated:>4}"
        echo(f"{seconds:5.0f} s  {numbers}")


def summary(daemon: Daemon, stats: GeneratorStats) -> str:
    """What was written beside what was shipped and counted, in this run."""
    engine = daemon.engine
    totals = status_of(engine, daemon.telemetry, started_at=0)["totals"] if engine is not None else {}
    documents = totals.get("documents", dict.fromkeys(RESULTS, 0))
    delivered = sum(documents.values())
    families = ", ".join(f"{name} {count:,}" for name, count in stats.lines.items())
    results = ", ".join(f"{name} {count:,}" for name, count in documents.items())
    lines = [
        "",
        f"lines written       {stats.documents:>10,}   ({families}; errors-* repeats combined-*)",
        f"documents shipped   {delivered:>10,}   ({results})",
        f"slow requests       {stats.slow:>10,}   server errors {stats.server_errors:,}, not JSON {stats.not_json:,}",
        f"files rotated       {stats.rotations:>10,}",
        f"where               {daemon.output_name()}",
    ]
    is_equal = delivered == stats.documents
    lines.append("every line arrived exactly once" if is_equal else "NOT equal: start the demo again to ship the rest")
    return "\n".join(lines)
