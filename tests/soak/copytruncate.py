"""`python -m soak.copytruncate DIRECTORY LINES_PER_SECOND`: writes a log and rotates it by copy and truncation.

Nothing is written between copy and truncation, and the copies stay, so that every line is on disk until the end.
SIGTERM ends it; then it prints LEDGER with the number of lines and of rotations.
"""

from __future__ import annotations

import json
import shutil
import signal
import sys
import time
from pathlib import Path

BATCH_SECONDS = 0.05
ROTATE_BYTES = 700_000


def line(number: int) -> str:
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
    request = {"timestamp": stamp, "level": "info", "method": "GET", "url": f"/api/wards/{number % 50}"}
    return json.dumps({**request, "statusCode": 200, "duration": number % 900, "requestId": f"ct-{number:09d}"}) + "\n"


def main(directory: str, lines_per_second: str) -> None:
    """Writes until it is told to stop."""
    stops: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stops.append(number))
    path = Path(directory) / "app.log"
    path.touch()
    written = rotations = 0
    began = time.monotonic()
    print("READY", flush=True)
    while not stops:
        due = int((time.monotonic() - began) * int(lines_per_second)) - written
        with path.open("a") as file:
            file.writelines(line(number) for number in range(written, written + due))
        written += max(0, due)
        if path.stat().st_size >= ROTATE_BYTES:
            rotations += 1
            shutil.copyfile(path, path.with_name(f"app.log.{rotations}"))
            with path.open("r+b") as file:
                file.truncate(0)
        time.sleep(BATCH_SECONDS)
    print("LEDGER", written, rotations, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
