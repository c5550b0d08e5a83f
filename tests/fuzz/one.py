"""One fuzzer in this process: `python -m fuzz.one TARGET SECONDS CORPUS`. Started by `fuzz`."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import time
from pathlib import Path

MEMORY_MB = 1024
SLOW_SECONDS = 10
MAX_BYTES = 4096


def by_atheris(name: str, seconds: float, corpus: str) -> None:
    """Never returns; ends with a failure at the first finding, a slow input, or much memory."""
    import atheris

    with atheris.instrument_imports(include=["shipper", "exporter"]):
        from fuzz.targets import TARGETS
    options = [f"-max_total_time={max(1, round(seconds))}", f"-timeout={SLOW_SECONDS}", f"-rss_limit_mb={MEMORY_MB}"]
    options += ["-seed=1"] * ("CI" in os.environ)  # there a change is to be judged, not luck
    options += [f"-max_len={MAX_BYTES}", "-print_final_stats=1", f"-artifact_prefix={Path.cwd()}/fuzz-{name}-"]
    atheris.Setup([sys.argv[0], *options, corpus], TARGETS[name].run)
    atheris.Fuzz()


def by_hypothesis(name: str, seconds: float) -> None:
    """Mutated seeds and any bytes, until the time is over; raises what is found."""
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    from fuzz.targets import TARGETS

    target = TARGETS[name]
    pieces = st.sampled_from([seed[i : i + 7] for seed in target.seeds for i in range(0, len(seed), 7)])
    mutated = st.lists(pieces | st.binary(max_size=3) | st.sampled_from(target.seeds), max_size=12).map(b"".join)
    ends = time.monotonic() + seconds
    runs = 0

    @settings(max_examples=500, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(mutated | st.binary(max_size=MAX_BYTES))
    def example(data: bytes) -> None:
        nonlocal runs
        runs += 1
        target.run(data)

    while time.monotonic() < ends:
        example()
    print(f"runs: {runs}", file=sys.stderr)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    _, chosen, time_text, directory = sys.argv
    if importlib.util.find_spec("atheris") is not None:
        by_atheris(chosen, float(time_text), directory)
    else:
        by_hypothesis(chosen, float(time_text))
