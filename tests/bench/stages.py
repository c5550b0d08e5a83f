"""Where a line's time goes: `python -m bench.stages FILE CONFIG` ships a file once and prints nanoseconds by stage.

The stages are the daemon's own functions, each called once a batch and timed by the CPU clock of its thread; what one
calls of the others is theirs. What no function accounts for is the rest: starting, waking, the interpreter's own.
"""

from __future__ import annotations

import functools
import importlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.lines import write_lines
from bench.measure import configuration, environment, median, pinned, sink_beside
from bench.throughput import PLAIN

STAGES: Mapping[str, tuple[str, ...]] = {
    "read whole lines, check and note marks": (
        "shipper.tail:LineReader.next_chunk",
        "shipper.followed:Followed.verify",
        "shipper.followed:Followed.note",
    ),
    "split, recognise objects, offsets": ("shipper.parse:Parser.parse",),
    "decode the fields that are asked for": ("shipper.parse:Parser._decoded", "shipper.columns:Fields.layout_for"),
    "rows to columns": ("shipper.columns:Fields.columns",),
    "redact (the default pack)": ("shipper.redact.stage:Redactor.redact",),
    "route(url)": ("shipper.route:Router.routes",),
    "count and time by label set": ("exporter.series:Exporter.observe", "exporter.counting:RuleCounter.flush"),
    "tags, drops, fields of ours": ("shipper.enrich:Enricher._decide",),
    "times and days": ("shipper.enrich:Enricher._times",),
    "checksums": ("shipper.enrich:checksums",),
    "documents": ("shipper.enrich:Enricher._body",),
    "hand over, turns, cursors": (
        "shipper.enrich:Enricher.enrich",
        "shipper.feeding:Feeder.turn",
        "shipper.elastic.gather:Queue.put",
        "shipper.pipeline:Pipeline.step",
    ),
    "compress and send": ("shipper.elastic.exchange:Exchange.send",),
    "settle answers": ("shipper.elastic.settle:Settler.settle_bulk",),
    "commit with fsync, publish": (
        "shipper.pipeline:Pipeline.take_pending",
        "shipper.state:State.commit",
        "exporter.series:Exporter.publish",
    ),
}
"""By what they do; each function as `module:name`."""
REST = "the rest: start, wake-ups, garbage"
HEAD = ("", "ns a line", "share")


class Clock:
    """Adds up the CPU time of functions, without that of timed ones that they call."""

    def __init__(self) -> None:
        self.nanoseconds: defaultdict[str, int] = defaultdict(int)
        self._inner = threading.local()

    def timed(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        @functools.wraps(function)
        def run(*arguments: Any, **named: Any) -> Any:
            outer: list[int] = self._inner.__dict__.setdefault("stack", [])
            outer.append(0)
            begun = time.thread_time_ns()
            try:
                return function(*arguments, **named)
            finally:
                taken = time.thread_time_ns() - begun
                self.nanoseconds[stage] += taken - outer.pop()
                if outer:
                    outer[-1] += taken

        return run

    def install(self) -> None:
        """Puts itself around all functions of STAGES. Raises AttributeError for one that is not there."""
        for stage, functions in STAGES.items():
            for name in functions:
                module, _, path = name.partition(":")
                owner: Any = importlib.import_module(module)
                *outer, last = path.split(".")
                for part in outer:
                    owner = getattr(owner, part)
                setattr(owner, last, self.timed(getattr(owner, last), stage))


def measure(directory: Path, *, lines: int, runs: int, core: int | None) -> Iterator[tuple[str, str, str]]:
    """The rows of HEAD, medians of so many runs. Raises RuntimeError if a run fails."""
    log = directory / "stages.log"
    write_lines(log, lines)
    taken = [_run_beside(log, core=core) for _ in range(runs)]
    names = [*STAGES, REST]
    medians = {name: median([one[name] for one in taken]) / lines for name in names}
    total = sum(medians.values())
    for name in names:
        yield name, f"{medians[name]:,.0f}", f"{medians[name] / total:.0%}"
    yield "all", f"{total:,.0f}", "100%"


def _run_beside(log: Path, *, core: int | None) -> dict[str, int]:
    with tempfile.TemporaryDirectory(prefix="bench-") as name, sink_beside(core) as sink:
        config = Path(name, "shipper.yml")
        config.write_text(configuration(logs=log, state=Path(name, "state"), url=sink.url, output=PLAIN))
        command = pinned([sys.executable, "-m", "bench.stages", str(config)], core)
        done = subprocess.run(command, cwd=name, env=environment(), capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
        return {str(stage): int(taken) for stage, taken in json.loads(done.stdout).items()}


def main() -> None:
    """Runs once within this process; prints nanoseconds by stage as JSON."""
    begun = time.process_time_ns()
    from shipper.cli import main as shipper_main

    clock = Clock()
    clock.install()
    try:
        shipper_main(["run", "-c", sys.argv[1], "--once"], standalone_mode=False)
    except SystemExit as ended:
        if ended.code:
            raise
    print(json.dumps({**clock.nanoseconds, REST: time.process_time_ns() - begun - sum(clock.nanoseconds.values())}))


if __name__ == "__main__":
    main()
