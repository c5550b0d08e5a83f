"""Why a counterpart cannot be had on this machine, and the cache of those that can."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class MissingError(Exception):
    """A counterpart cannot be had here; the message says why. `is_excused`: not even a CI run must have it.

    Any fixture or test may raise it: the test is then skipped, counted and named at the end, and fails where CI is set.
    """

    def __init__(self, reason: str, *, is_excused: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.is_excused = is_excused


def tool(name: str, hint: str) -> str:
    """Return the path of a program; raise MissingError with the hint if it is not there."""
    found = shutil.which(name)
    if found is None:
        raise MissingError(f"no `{name}` on PATH ({hint})")
    return found


def ran(
    command: Sequence[str | Path], *, what: str, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> str:
    """Run a command that prepares a counterpart; return its output, raise MissingError with its end if it fails."""
    try:
        done = subprocess.run(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            cwd=cwd,
            timeout=900,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise MissingError(f"{what}: not done after 900 s") from None
    output = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout.decode(errors="replace")).strip()
    if done.returncode != 0:
        raise MissingError(f"{what} failed ({done.returncode}): {output[-1500:]}")
    return output


def cache_directory() -> Path:
    """Return the folder that keeps downloads between runs; it may be deleted at any time."""
    base = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(base) / "shipper-tests"


def cached(key: str, build: Callable[[Path], None]) -> Path:
    """Return the folder of this key, built by `build(folder)` if it is not there yet.

    Runs that come at the same time wait for the first; a build that fails or is killed leaves nothing under the key.
    """
    root = cache_directory()
    root.mkdir(parents=True, exist_ok=True)
    wanted = root / key
    with (root / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not wanted.exists():
            with tempfile.TemporaryDirectory(dir=root, prefix=f"{key}.", ignore_cleanup_errors=True) as parent:
                folder = Path(parent, "built")
                folder.mkdir()
                build(folder)
                folder.rename(wanted)
    return wanted
