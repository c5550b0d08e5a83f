"""Makes TSDB blocks of OpenMetrics files with promtool, a day at a time: it reads its input once for each block."""

from __future__ import annotations

import shutil
import subprocess  # starts promtool, with a list  # nosec B404
from collections.abc import Sequence
from pathlib import Path

from shipper.errors import ConfigError, StateError

PROGRAM = "promtool"


def promtool() -> str:
    """Where promtool is. Raises ConfigError if it is not installed."""
    found = shutil.which(PROGRAM)
    if found is None:
        raise ConfigError([f"--blocks: {PROGRAM} is not on PATH; it comes with Prometheus"])
    return found


def make_blocks(program: str, files: Sequence[Path], directory: Path) -> None:
    """Blocks of all files below `directory`; may be repeated. Raises StateError with what promtool says."""
    for path in files:
        command = [program, "tsdb", "create-blocks-from", "openmetrics", str(path), str(directory)]
        done = subprocess.run(command, capture_output=True, check=False, text=True)  # a list, no shell  # nosec B603
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines()
            raise StateError(f"promtool makes no blocks of {str(path)!r}: {said[-1] if said else done.returncode}")
