"""How a command ends: its exit code, and when one that is to end gives up waiting for its output."""

from __future__ import annotations

from enum import IntEnum

from shipper.batch import OutputStatus

STUCK_SECONDS = 300.0
REFUSED_SECONDS = 15.0


class Exit(IntEnum):
    """What the process ends with."""

    DONE = 0
    UNFINISHED = 1
    USAGE = 2
    DEAD_LETTERS = 3


def cannot_deliver(status: OutputStatus, *, now: float, started: float) -> str:
    """Why a run that is to end gives up; '' while it need not. Times are monotonic seconds."""
    if status.refused_since is not None and now - status.refused_since >= REFUSED_SECONDS:
        return f"{status.name} refuses: {status.error or 'not authorized'}"
    idle = now - max(status.progress_at, started)
    if status.pending and idle >= STUCK_SECONDS:
        return f"{status.name} accepted nothing for {STUCK_SECONDS / 60:.0f} minutes: {status.error or 'no answer'}"
    return ""
