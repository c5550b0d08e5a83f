"""Runs fuzzers, one process each, for so many minutes: by atheris (guided by coverage), or where it is not installed by
Hypothesis. Fails if one of them finds something, and says with which bytes it is found again.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fuzz.targets import TARGETS


def main() -> int:
    """Returns how many of the targets found something."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"default: all of {', '.join(TARGETS)}")
    parser.add_argument("--minutes", type=float, default=10.0, help="for each target (default: 10)")
    parser.add_argument("--again", type=Path, metavar="FILE", help="run one target over the bytes of a file")
    given = parser.parse_args()
    unknown = [name for name in given.targets if name not in TARGETS]
    if unknown:
        parser.error(f"there is no target {unknown[0]}; there are {', '.join(TARGETS)}")
    names = given.targets or list(TARGETS)
    if given.again:
        TARGETS[names[0]].run(given.again.read_bytes())
        return 0
    return sum(not _is_good(name, given.minutes * 60) for name in names)


def _is_good(name: str, seconds: float) -> bool:
    """Runs one target in a process of its own: what it does to memory and threads is its own as well."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as corpus:
        for i, seed in enumerate(TARGETS[name].seeds):
            Path(corpus, str(i)).write_bytes(seed)
        command = [sys.executable, "-m", "fuzz.one", name, str(seconds), corpus]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    is_good = done.returncode == 0
    rounds = [line for line in done.stderr.splitlines() if line.startswith(("stat::number_of_executed_units", "runs:"))]
    count = rounds[-1].split()[-1] if rounds else "?"
    print(
        f"{name:<14}{count:>12} runs in {time.monotonic() - started:.0f} s  {'ok' if is_good else 'FOUND'}", flush=True
    )
    if not is_good:
        print(done.stdout[-4000:] + done.stderr[-6000:], flush=True)
    return is_good


if __name__ == "__main__":
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed here: Hypothesis stands in, which is not guided by coverage", flush=True)
    sys.exit(main())
