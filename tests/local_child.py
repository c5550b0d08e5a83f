"""A process with a local output, for scenarios that kill it: `python local_child.py DIRECTORY LOG [LINES_A_BATCH]`.

Ships the log's lines that are not there yet, says `done END` for each batch, and `READY` once the first is durable.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from local_support import FakeContent, documents_of, new_output, offset_lines

from shipper.batch import Documents


def say(documents: Documents) -> None:
    sys.stdout.write(f"READY\ndone {documents.batch.end}\n")
    sys.stdout.flush()


def main(directory: str, log: str, lines_a_batch: str = "50") -> int:
    content = FakeContent(Path(log).read_bytes())
    output = new_output(Path(directory))
    output.start()
    covered = output.covered(content)
    starts = [at for at, _ in offset_lines(content.data)][:: int(lines_a_batch)]
    for start, end in zip(starts, [*starts[1:], len(content.data)], strict=True):
        output.submit(documents_of(content, start=start, end=end, covered=covered, done=say))
        while not output.has_room():
            time.sleep(0.001)
    return 0 if output.close(deadline=time.monotonic() + 60) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
