"""Places at which a test may end or fail the process, named by SHIPPER_FAILPOINT; free when it is not set.

`SHIPPER_FAILPOINT=local.after_sync` ends the process at that place at once, like `kill -9` (exit code 137). With `:N`
it does so at the N-th passing, with `:error` it raises OSError (disk full) at each passing.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

VARIABLE = "SHIPPER_FAILPOINT"


def _armed(name: str, action: str) -> Callable[[str], None]:
    passings = 0

    def fire(here: str) -> None:
        nonlocal passings
        if here != name:
            return
        passings += 1
        if action == "error":
            raise OSError(errno.ENOSPC, f"failpoint {name}: no space left on device")
        if passings >= int(action or 1):
            os._exit(137)

    return fire


def _nothing(_name: str) -> None:
    """The failpoint of a process that has none."""


def _chosen(value: str) -> Callable[[str], None]:
    if not value:
        return _nothing
    name, _, action = value.partition(":")
    return _armed(name, action)


failpoint: Callable[[str], None] = _chosen(os.environ.get(VARIABLE, ""))
