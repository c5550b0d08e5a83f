"""Writing so that a power cut takes nothing back: all of it, and the names of new files too. And for one user."""

from __future__ import annotations

import os
from pathlib import Path


def write_all(descriptor: int, text: bytes) -> None:
    """Writes all of it, however much the system takes at once. Raises OSError."""
    rest = memoryview(text)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def make_private(path: Path) -> None:
    """Makes a file for the owner alone, if there is none: what opens it would make it for all. Raises OSError."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))


def sync_directory(path: Path) -> None:
    """Makes the names in a directory durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
