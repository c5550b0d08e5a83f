"""`python -m soak --minutes 10`: rounds of work and trouble, each with a clean ledger at its end, or exit code 1."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from soak.round import Round
from soak.servers import target

ROOT = Path(__file__).parents[2]
ROUND_SECONDS = 120.0
"""Longer ones would fill memory with ids, and the disk with logs."""
LONG_MINUTES = 30.0
LONG_MODEL_RUNS = 20_000
LONG_EXAMPLES = 36_000
MODELS = ("tests/property/test_following.py", "tests/property/test_ledger.py")
NAMES = ("tail", "parse", "absence", "multiples", "expressions", "enrich")
EQUALITIES = tuple(f"tests/property/test_{name}.py" for name in NAMES)
"""That the quick way of the hot path gives what the slow one does: nearly thirty tests, so a million examples."""


def main() -> int:
    """The exit code."""
    options = parsed()
    print(f"soak: {options.minutes:g} minutes, server {options.server}, seed {options.seed}", flush=True)
    rounds = max(1, round(options.minutes * 60 / ROUND_SECONDS))
    seconds = options.minutes * 60 / rounds
    unclean = [number for number in range(rounds) if not is_clean(options, number, rounds, seconds)]
    is_long = options.minutes >= LONG_MINUTES
    runs = (options.model_runs, LONG_MODEL_RUNS, MODELS, "SHIPPER_MODEL_RUNS")
    examples = (options.examples, LONG_EXAMPLES, EQUALITIES, "SHIPPER_EXAMPLES")
    are_clean = True
    for asked, usual, tests, variable in (runs, examples):
        count = (usual if is_long else 0) if asked is None else asked
        are_clean &= not count or run_tests(tests, variable=variable, count=count, seed=options.seed)
    print(f"soak: {rounds - len(unclean)} of {rounds} rounds clean, seed {options.seed}", flush=True)
    return 0 if not unclean and are_clean else 1


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of writing; delivering and auditing come on top")
    parser.add_argument("--server", choices=["sink", "elasticsearch"], default="sink")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of what goes wrong, and when")
    parser.add_argument(
        "--model-runs",
        type=int,
        default=None,
        help="of the model of files in tests/property, and a tenth as many of that of the local output; "
        f"{LONG_MODEL_RUNS} from {LONG_MINUTES:g} minutes on, else none",
    )
    parser.add_argument(
        "--examples",
        type=int,
        default=None,
        help="for each property test of the hot path, that its quick way gives what the slow one does; "
        f"{LONG_EXAMPLES} from {LONG_MINUTES:g} minutes on, else none",
    )
    return parser.parse_args()


def is_clean(options: argparse.Namespace, number: int, rounds: int, seconds: float) -> bool:
    """Run a round and print its ledger. What an unclean one leaves is kept, and named."""
    directory = Path(tempfile.mkdtemp(prefix="shipper-soak-"))
    server = target(options.server, seed=options.seed + number)
    began = time.monotonic()
    try:
        ledger = Round(directory, server=server, seed=options.seed + number, seconds=seconds).run()
    finally:
        server.stop()
    print(f"round {number + 1} of {rounds}, seed {options.seed + number}, {time.monotonic() - began:.0f} s")
    print(ledger.as_text(), flush=True)
    if ledger.faults:
        print(f"  kept: {directory}", flush=True)
    else:
        shutil.rmtree(directory)
    return not ledger.faults


def run_tests(tests: Sequence[str], *, variable: str, count: int, seed: int) -> bool:
    """Whether so many runs of property tests find nothing; each core has a process for its part, with its own seed."""
    processes = len(os.sched_getaffinity(0))
    environ = {**os.environ, variable: str(-(-count // processes))}
    print(f"{variable}={count}, in {processes} processes, seeds from {seed}: {' '.join(tests)}", flush=True)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    started = [
        subprocess.Popen([*command, f"--hypothesis-seed={seed + number}"], cwd=ROOT, env=environ)
        for number in range(processes)
    ]
    codes = [process.wait() for process in started]
    return not any(codes)


if __name__ == "__main__":
    sys.exit(main())
