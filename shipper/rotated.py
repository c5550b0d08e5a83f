"""Which files were renamed before anyone met them: their names say so, and the files that they made room for."""

from __future__ import annotations

import stat
import time
from pathlib import Path

from shipper.identity import unrotated

SETTLED_SECONDS = 5.0


def is_rotated(real_path: str) -> bool:
    """Whether this file made room for one that lies beside it under the name before its rotation (`app.log.1`, and
    `app.log`), and was not written to since that was. (Loggers that write to `app.log.2024-01-15` have at most a
    symlink called `app.log`.)
    """
    path = Path(real_path)
    earlier = unrotated(path.name)
    if earlier in ("", path.name):
        return False
    try:
        successor, own = path.with_name(earlier).lstat(), path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(successor.st_mode) and successor.st_mtime_ns >= own.st_mtime_ns


def is_settled_rotation(path: str) -> bool:
    """The same of a file that nobody follows, if it has not changed for a while."""
    real_path = Path(path).resolve()
    try:
        quiet_seconds = time.time() - real_path.stat().st_mtime
    except OSError:
        return False
    return quiet_seconds >= SETTLED_SECONDS and is_rotated(str(real_path))
