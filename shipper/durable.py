"""Writing so that a power cut takes nothing back: all of it, and the names of new files too."""

from __future__ import annotations

import os
from pathlib import Path


def write_all(descriptor: int, text: bytes) -> None:
    """Writes all of it, however much the system takes at once. Raises OSError."""
    rest = memoryview(text)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def sync_directory(path: Path) -> None:
    """Makes the names in a directory durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
