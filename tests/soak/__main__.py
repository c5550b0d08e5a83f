"""`python -m soak --minutes 10`: rounds of work and trouble, each with a clean ledger at its end, or exit code 1."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from soak.round import Round
from soak.servers import target

ROUND_SECONDS = 120.0
"""Longer ones would fill memory with ids, and the disk with logs."""
LONG_MINUTES = 30.0
LONG_MODEL_RUNS = 20_000
MODELS = ("tests/property/test_following.py", "tests/property/test_ledger.py")


def main() -> int:
    """The exit code."""
    options = parsed()
    print(f"soak: {options.minutes:g} minutes, server {options.server}, seed {options.seed}", flush=True)
    rounds = max(1, round(options.minutes * 60 / ROUND_SECONDS))
    seconds = options.minutes * 60 / rounds
    unclean = [number for number in range(rounds) if not is_clean(options, number, rounds, seconds)]
    model_runs = (
        LONG_MODEL_RUNS if options.model_runs is None and options.minutes >= LONG_MINUTES else options.model_runs
    )
    is_model_clean = run_model(model_runs) if model_runs else True
    print(f"soak: {rounds - len(unclean)} of {rounds} rounds clean, seed {options.seed}", flush=True)
    return 0 if not unclean and is_model_clean else 1


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


def run_model(runs: int) -> bool:
    """Whether so many runs of the state machines find nothing."""
    environ = {**os.environ, "SHIPPER_MODEL_RUNS": str(runs)}
    root = Path(__file__).parents[2]
    return (
        subprocess.run([sys.executable, "-m", "pytest", "-q", *MODELS], cwd=root, env=environ, check=False).returncode
        == 0
    )


if __name__ == "__main__":
    sys.exit(main())
