"""Small file systems of their own, for disks that are full or cannot be written; only root may mount them."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

from harness.missing import MissingError

BALLAST = "ballast"


@contextlib.contextmanager
def small_disk(place: Path, *, size: str = "2m") -> Iterator[Path]:
    """A file system at `place`, which is made if need be. Raises MissingError where that is not allowed."""
    place.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(place)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        raise MissingError(f"cannot mount a tmpfs: {mounted.stderr.strip()}", is_excused=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place: Path) -> None:
    """Takes all the room that is left."""
    with (place / BALLAST).open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while file.write(b"\0" * 4096):
                pass
        with contextlib.suppress(OSError):
            while file.write(b"\0"):
                pass


def relieve(place: Path) -> None:
    """Gives the room back."""
    (place / BALLAST).unlink()


def set_read_only(place: Path, *, is_read_only: bool) -> None:
    """As the kernel does after an error of the disk; refused while a file is open for writing there."""
    os.sync()
    mode = "ro" if is_read_only else "rw"
    subprocess.run(["mount", "-o", f"remount,{mode}", str(place)], check=True, capture_output=True)


@contextlib.contextmanager
def files_at_most(size_bytes: int) -> Iterator[None]:
    """No file of this process grows beyond it meanwhile. Hold it briefly: what pytest prints may go to a file too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
