"""How Python runs: garbage is searched for seldom, turns between threads are short, memory is given back at rest."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from typing import Final

_THRESHOLDS: Final = (20_000, 20, 50)
"""A batch is thousands of objects, none of them in a cycle. Costs 2 % less a line than Python's 700, and at most as
many small objects more."""
_SWITCH_SECONDS: Final = 0.001
"""So long a sender or a scrape waits for the pipeline's thread. With Python's 5 ms a request, which needs the
interpreter a dozen times, takes longer than the next one to be gathered, so that a second core gives nothing."""
REST_SHARE: Final = 0.02
"""Of a core: a process that takes less is at rest."""
WORK_SECONDS: Final = 0.2
"""After less work than this there is nothing worth giving back."""


def tune() -> None:
    """Once all modules are loaded and before the work begins; what is there then is never looked at as garbage."""
    gc.freeze()
    gc.set_threshold(*_THRESHOLDS)
    sys.setswitchinterval(_SWITCH_SECONDS)


def give_back() -> None:
    """Gives the system what is free among what is in use.

    glibc does so by itself only where a thread's memory ends. A start leaves 1 to 2 MB behind, a backlog 4.
    Others than glibc have no such call, and are left alone.
    """
    try:
        import ctypes  # most that end by themselves do without

        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    except (ImportError, OSError):  # Python was built without it, or no descriptor is left to import it by
        return
    if trim is not None:
        trim(0)


class Rest:
    """Tells when a process that has worked comes to rest, and has memory given back then. For one thread."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        cpu_seconds: Callable[[], float] = time.process_time,
        relieve: Callable[[], None] = give_back,
    ) -> None:
        self._clock = clock
        self._cpu_seconds = cpu_seconds
        self._relieve = relieve
        self._looked_at = clock()
        self._used = cpu_seconds()
        self._used_when_relieved = 0.0

    def look(self) -> None:
        """To be called every few seconds; once for each time of work it takes a millisecond."""
        now, used = self._clock(), self._cpu_seconds()
        is_at_rest = used - self._used <= REST_SHARE * (now - self._looked_at)
        self._looked_at, self._used = now, used
        if is_at_rest and used - self._used_when_relieved >= WORK_SECONDS:
            self._relieve()
            self._used_when_relieved = self._cpu_seconds()
