"""A million random paths, and a million label values: every line is counted, and neither series nor memory grow."""

from __future__ import annotations

import gc
import random
import resource
from pathlib import Path

from counted import Bench

from exporter.families import OTHER
from exporter.rule import BUDGETS, RuleType

LINES = 1_000_000
A_BATCH = 2_000
ALLOWED_BYTES = 16 << 20
MAX_VALUES = BUDGETS[RuleType.COUNTER].max_values
RULES = """
  - {name: requests_total, type: counter, labels: {path: route(url)}}
  - {name: users_total, type: counter, labels: {user: user, kind: kind}}
  - {name: active_users, type: distinct, value: user}
"""


def _resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_a_million_paths_and_a_million_label_values_leave_memory_flat() -> None:
    """After the first fifth, which fills budgets and tables, the process grows no more; the sums are the lines."""
    bench = Bench(RULES)
    source = random.Random(5)
    resident = 0
    for start in range(0, LINES, A_BATCH):
        bench.observe(
            url=[
                f"/{source.getrandbits(64):x}/{source.getrandbits(40):x}/wp".translate(_LETTERS) for _ in range(A_BATCH)
            ],
            user=[f"user-{number}" for number in range(start, start + A_BATCH)],
            kind=["a", "b"] * (A_BATCH // 2),
            size=1 << 19,
        )
        if start % (LINES // 50) == 0:
            bench.commit()
            bench.now += 1
        if start == LINES // 5:
            resident = _resident_bytes()
    bench.commit()
    assert _resident_bytes() - resident < ALLOWED_BYTES
    seen = bench.see()
    requests = {labels: value for labels, value in seen.items() if labels[0] == "requests_total"}
    users = {labels: value for labels, value in seen.items() if labels[0] == "users_total"}
    assert sum(requests.values()) == sum(users.values()) == LINES
    assert len(requests) <= MAX_VALUES + 1
    assert len(users) == MAX_VALUES + 2
    assert users["users_total", OTHER, "a"] == (LINES - MAX_VALUES) / 2
    assert abs(bench.shown()["active_users"] / LINES - 1) < 0.06
    assert bench.telemetry.overflow["users_total", "user"] == LINES - MAX_VALUES
    assert len(bench.state) == bench.exporter.series_count == len(seen)


_LETTERS = str.maketrans("0123456789", "ghijklmnop")
"""Random words, which look more like names than hexadecimal numbers do."""
