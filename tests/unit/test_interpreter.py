"""Memory is given back when a process has worked and comes to rest: once, and not while it works."""

from __future__ import annotations

import subprocess
import sys

import pytest

from shipper.interpreter import REST_SHARE, WORK_SECONDS, Rest

TICK = 5.0
BUSY = TICK / 2
CALM = TICK * REST_SHARE / 2
FREED_MB = 30

SCATTERED = f"""
import os, threading
from shipper.interpreter import give_back

def resident_mb():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE") / (1 << 20)

kept = []

def work():
    blocks = [bytes(8_000) for _ in range({FREED_MB} * 128)]
    kept.extend(blocks[::64])

thread = threading.Thread(target=work)
thread.start()
thread.join()
before = resident_mb()
give_back()
print(before - resident_mb())
"""

WITHOUT_DESCRIPTORS = """
import os, resource
from shipper.interpreter import give_back

resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
try:
    while True:
        os.open(os.devnull, os.O_RDONLY)
except OSError:
    give_back()
"""
WITHOUT_CTYPES = """
import sys
from shipper.interpreter import give_back

sys.modules["_ctypes"] = None
give_back()
"""


@pytest.mark.parametrize(
    ("used", "expected"),
    [
        pytest.param([CALM, CALM], 1, id="the start was work, and then there is none"),
        pytest.param([BUSY, BUSY, BUSY], 0, id="no end of work"),
        pytest.param([BUSY, CALM, CALM, CALM], 1, id="once at rest is enough"),
        pytest.param([CALM, BUSY, CALM], 2, id="after the start, and after more work"),
        pytest.param([CALM, REST_SHARE * TICK + WORK_SECONDS / 4, 0.0], 1, id="too little work to be worth it"),
    ],
)
def test_memory_is_given_back_when_work_is_over(used: list[float], expected: int) -> None:
    """What was used until each look, after a start that took a third of a second."""
    now, cpu_seconds, relieved = 0.0, 0.33, 0

    def relieve() -> None:
        nonlocal relieved
        relieved += 1

    rest = Rest(clock=lambda: now, cpu_seconds=lambda: cpu_seconds, relieve=relieve)
    for seconds in used:
        now += TICK
        cpu_seconds += seconds
        rest.look()

    assert expected == relieved


@pytest.mark.skipif(not hasattr(__import__("ctypes").CDLL(None), "malloc_trim"), reason="no glibc")
def test_what_lies_free_between_what_is_kept_is_given_back() -> None:
    """A thread leaves much that is free and a little that is not, so that nothing of it lies at the end."""
    done = subprocess.run([sys.executable, "-c", SCATTERED], capture_output=True, text=True, check=True)

    assert float(done.stdout) > FREED_MB / 2


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(WITHOUT_DESCRIPTORS, id="no descriptor is left to import by"),
        pytest.param(WITHOUT_CTYPES, id="a Python that was built without"),
    ],
)
def test_where_it_cannot_be_given_back_it_is_kept(code: str) -> None:
    """The main thread, which asks for it, goes on."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (0, "") == (done.returncode, done.stderr)
