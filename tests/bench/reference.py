"""The reference loop: what any Python program needs to split, parse, tag and write the same lines.

`python -m bench.reference FILE` prints CPU microseconds a line. Ratios against it can be compared between machines,
seconds cannot.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import orjson

CHUNK_BYTES = 64 << 10


def run(path: Path) -> tuple[int, float]:
    """Lines and CPU seconds of the loop over a file."""
    started = time.process_time()
    count = 0
    rest = b""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            lines = (rest + chunk).split(b"\n")
            rest = lines.pop()
            documents = []
            for line in lines:
                document = orjson.loads(line)
                if document["duration"] > 2000:
                    document["tags"] = ["slow_request"]
                documents.append(orjson.dumps(document))
            body = b"\n".join(documents)
            count += len(documents) if body else 0
    return count, time.process_time() - started


if __name__ == "__main__":
    lines, seconds = run(Path(sys.argv[1]))
    print(f"{seconds / lines * 1e6:.3f}")
