"""Places at which a test may end or fail the process, named by SHIPPER_FAILPOINT; free when it is not set.

`SHIPPER_FAILPOINT=local.after_sync` ends the process at that place at once, as `kill -9` does. With `:N` it does so at
the N-th passing, with `:error` it raises OSError (disk full) at each passing. A name that is none is refused.
"""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from typing import Final

VARIABLE = "SHIPPER_FAILPOINT"

NAMES: Final[dict[str, str]] = {
    "start.state_opened": "the state is open, nothing was read from it",
    "start.engine_made": "the state was read, no thread runs",
    "start.output_started": "the output runs, the pipeline does not",
    "start.running": "all threads run",
    "cut.noticed": "a file was found to be cut, and no commit says so",
    "state.in_creation": "the tables are made, and not committed",
    "state.half_set_aside": "the unusable file is renamed, its log is not",
    "state.in_migration": "an older schema is brought up to date, and not committed",
    "state.before_commit": "before a commit",
    "state.in_commit": "all is written, and not committed",
    "state.after_commit": "committed, and no scrape has seen it",
    "state.published": "committed, and scrapes see it",
    "local.before_write": "documents are taken over, nothing is appended",
    "local.created": "the ledger knows a day file that is not there yet",
    "local.after_write": "appended, and not synced",
    "local.after_sync": "synced, and no commit covers it",
    "local.before_commit": "dead letters are synced too",
    "local.after_commit": "the ledger has it, and the pipeline does not know",
    "local.finished": "the pipeline was told, the state is not committed",
    "local.doomed": "the ledger says that a day file is to be deleted",
    "local.deleted": "a day file is deleted, and the ledger does not know",
    "ledger.in_creation": "the ledger's tables are made, and not committed",
    "ledger.half_set_aside": "the corrupt ledger is renamed, its log is not",
    "ledger.set_aside": "the corrupt ledger is set aside, there is no other",
    "ledger.put_back": "a ledger that was removed is written again, and not in use",
    "elastic.before_send": "a request is ready",
    "elastic.after_answer": "the answer is there, and not understood",
    "elastic.before_done": "documents are delivered, and the pipeline does not know",
    "elastic.finished": "the pipeline was told, the state is not committed",
    "spool.before_write": "documents of a blocked index are to be kept on disk",
    "spool.after_write": "they are appended, and not synced",
    "spool.after_sync": "they are synced, and not done",
    "spool.delivered": "what waited on disk is delivered, and still there",
    "spool.rewritten": "what is left of it is written beside it",
    "spool.replaced": "what was delivered is gone from disk",
    "deadletter.before_write": "a line is to be set aside",
    "deadletter.after_write": "it is appended, and not synced",
    "deadletter.after_sync": "it is synced, and its batch is not done",
    "retry.delivered": "a dead letter's document is delivered, and the record stands",
    "retry.taken_out": "the record stands in both files",
    "retry.rewritten": "what stays is written beside the file",
    "retry.replaced": "the record is gone from the day file",
    "reload.loaded": "the new configuration is read, the old one runs",
    "reload.stopped": "the old one has stopped",
    "reload.started": "the new one runs",
    "stop.begun": "no more is read",
    "stop.delivered": "what was under way is delivered",
    "stop.committed": "the last commit is made",
    "tallies.before_commit": "a replay has counted a batch for its history, and not kept it",
}
"""Every place, and what is so when the process ends there."""


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
            os.kill(os.getpid(), signal.SIGKILL)

    return fire


def _nothing(_name: str) -> None:
    """The failpoint of a process that has none."""


def chosen(value: str) -> Callable[[str], None]:
    """What happens at failpoints, as the variable's value says. Raises SystemExit for a name that is none."""
    if not value:
        return _nothing
    name, _, action = value.partition(":")
    if name not in NAMES or not (action in ("", "error") or action.isdecimal()):
        raise SystemExit(f"{VARIABLE}={value}: no such failpoint; NAME, NAME:N or NAME:error, of {', '.join(NAMES)}")
    return _armed(name, action)


failpoint: Callable[[str], None] = chosen(os.environ.get(VARIABLE, ""))
