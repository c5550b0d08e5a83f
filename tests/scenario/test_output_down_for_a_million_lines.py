"""The output is down while a million lines are written and rotated, under the real daemon: memory stays where it is,
each line is counted as it comes, and afterwards all arrive, each once, at the usual cost.

It is the hour of `test_output_down_for_an_hour` by its lines, not by its clock.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

from bench.measure import cpu_seconds, resident_mb
from command import Running
from harness.sink import Sink
from lives import Lives

ROUNDS = 10
LINES_A_ROUND = 100_000
MOST_MORE_MB = 10.0
"""Ten files more are followed at the end than at the beginning; a round's lines are 15 MB."""
MOST_TIMES_DEARER = 1.5
MOST_TIMES_SLOWER = 3.0
"""By the clock; others may use the machine in the meantime."""
PATIENCE_SECONDS = 300.0


def write_round(story: Lives) -> None:
    """Many lines at once, then a rotation."""
    numbers = range(story.written + 1, story.written + LINES_A_ROUND + 1)
    with story.log.open("a") as file:
        file.writelines(
            f'{{"timestamp":"2024-01-15T10:30:45.123Z","level":"info","method":"GET","url":"/api/patients/{n}",'
            f'"statusCode":200,"duration":{n % 300},"n":{n}}}\n'
            for n in numbers
        )
    story.written += LINES_A_ROUND
    story.rotate()


def wait_counted(story: Lives, running: Running) -> None:
    running.wait_for(lambda: story.counted(running) == story.written, "all counted", timeout_seconds=PATIENCE_SECONDS)


class Cost(NamedTuple):
    """What the daemon has taken for something."""

    cpu_seconds: float
    seconds: float


def cost_of_all(story: Lives, running: Running) -> Cost:
    """Until nothing is left to ship."""
    cpu, begun = cpu_seconds(running.pid), time.monotonic()
    story.wait_for_everything(running, timeout_seconds=PATIENCE_SECONDS)
    return Cost(cpu_seconds(running.pid) - cpu, time.monotonic() - begun)


def test_memory_is_flat_metrics_are_current_and_all_arrives_once(tmp_path: Path) -> None:
    """Counted round by round while nothing is shipped; then shipped, no dearer or slower than what comes usually."""
    with Sink(ids_only=True) as sink:
        story = Lives(tmp_path, sink=sink)
        sink.down()
        with story.start() as running:
            resident = []
            for _ in range(ROUNDS):
                write_round(story)
                wait_counted(story, running)
                resident.append(resident_mb(running.pid))
            assert ROUNDS * LINES_A_ROUND == story.counted(running)
            assert running.metric("shipper_documents_total", result="created") == 0
            assert max(resident) - resident[1] < MOST_MORE_MB, resident

            sink.up()
            recovery = cost_of_all(story, running)
            write_round(story)
            usual = cost_of_all(story, running)
            assert recovery.cpu_seconds < MOST_TIMES_DEARER * ROUNDS * usual.cpu_seconds, (recovery, usual)
            assert recovery.seconds < MOST_TIMES_SLOWER * ROUNDS * usual.seconds, (recovery, usual)
            assert max(resident_mb(running.pid) - resident[1], 0.0) < 3 * MOST_MORE_MB
            assert running.stop() == 0
        assert (story.written, 0) == (sink.count("logs-2024.01.15"), sink.stats()["duplicates"])
