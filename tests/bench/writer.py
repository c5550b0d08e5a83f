"""`python -m bench.writer FILE RATE`: appends request lines at a steady rate, in its own process, and says how many.

Each second is cut into twenty writes. On standard output stands a line for each: the moment (monotonic) and the number
of lines that are in the file then.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from bench.lines import request
from bench.measure import environment

WRITES_A_SECOND = 20


@contextmanager
def writing(path: Path, *, lines_a_second: int) -> Iterator[Callable[[], int]]:
    """Writes within the block; yields what says how many lines there are by now."""
    told = path.parent.parent / "written"
    with told.open("wb") as out:
        command = [sys.executable, "-m", "bench.writer", str(path), str(lines_a_second)]
        process = subprocess.Popen(command, stdout=out, env=environment())
    try:
        yield lambda: _last(told)
    finally:
        process.terminate()
        process.wait()


def moments(path: Path) -> list[tuple[float, int]]:
    """What the writer of a log file has said: moment and number of lines."""
    text = (path.parent.parent / "written").read_text()
    pairs = (line.split() for line in text[: text.rfind("\n") + 1].splitlines())
    return [(float(moment), int(count)) for moment, count in pairs]


def _last(told: Path) -> int:
    lines = told.read_text().split("\n")
    return int(lines[-2].split()[1]) if len(lines) > 1 else 0


def main() -> None:
    """Writes until it is ended."""
    path, rate = Path(sys.argv[1]), int(sys.argv[2])
    chance = random.Random(1)
    begun, written = time.monotonic(), 0
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for turn in range(1, 1 << 62):
        count = rate * turn // WRITES_A_SECOND - written
        data = b"".join(request(chance, datetime.now(UTC)) + b"\n" for _ in range(count))
        time.sleep(max(0.0, begun + turn / WRITES_A_SECOND - time.monotonic()))
        os.write(descriptor, data)
        written += count
        print(time.monotonic(), written, flush=True)


if __name__ == "__main__":
    main()
