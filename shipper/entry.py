"""The command as it is installed: signals are heard before what is slow is imported, and `cli` does the rest.

Importing takes a second on a busy machine. Until `run` or `replay` installs its own handlers, nothing is begun, so that
a stop ends the process at once. (A container's first process would not even notice a signal that it has no handler of.)
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from types import FrameType
from typing import Final

_DONE: Final = 0  # as `endings.Exit`, which imports too much
_UNFINISHED: Final = 1
_STDERR: Final = 2


def main() -> None:
    """What `shipper` on PATH calls."""
    hear_early(sys.argv[1:])
    from shipper.cli import main as command

    command()


def hear_early(arguments: Sequence[str]) -> None:
    """Ends `run` and `replay` in order when a signal comes now; other commands end as any program does."""
    command = next((argument for argument in arguments if not argument.startswith("-")), "")
    if command not in ("run", "replay"):
        return
    waits_for_ever = command == "run" and "--once" not in arguments
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, partial(_end, waits_for_ever=waits_for_ever))
    if command == "run":
        signal.signal(signal.SIGHUP, _pass)


def _end(_number: int, _frame: FrameType | None, *, waits_for_ever: bool) -> None:
    said = (
        b"shipper: stopped\n" if waits_for_ever else b"shipper: not finished: interrupted before anything was begun\n"
    )
    os.write(_STDERR, said)
    os._exit(_DONE if waits_for_ever else _UNFINISHED)


def _pass(_number: int, _frame: FrameType | None) -> None:
    """A reload: the configuration is still to be read."""
