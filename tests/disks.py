"""Small file systems of their own, for disks that are full, cannot be written or break; only root may mount them."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Self

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


class BreakingDisk:
    """An ext4 that the kernel makes read-only at an error, whatever is open there, until it is mended."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._image = place.with_name(f"{place.name}.img")

    def __enter__(self) -> Self:
        self.place.mkdir(parents=True, exist_ok=True)
        with self._image.open("wb") as file:
            file.truncate(16 << 20)
        try:
            _run("mkfs.ext4", "-q", "-F", self._image)
            self._mount()
        except (OSError, subprocess.CalledProcessError) as error:
            raise MissingError(f"cannot mount an ext4 in a file: {error}", is_excused=True) from None
        self.place.chmod(0o700)
        (self.place / "lost+found").rmdir()
        return self

    def __exit__(self, *_: object) -> None:
        _run("umount", "--lazy", self.place)

    def _mount(self) -> None:
        _run("mount", "-o", "loop,errors=remount-ro", self._image, self.place)

    def fail(self) -> None:
        """As if the disk had given an error."""
        major_minor = self.place.stat().st_dev
        device = Path(f"/sys/dev/block/{os.major(major_minor)}:{os.minor(major_minor)}").resolve().name
        Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("broken by a test")

    def mend(self) -> None:
        """What an operator does; nobody may have a file open there."""
        _run("umount", self.place)
        subprocess.run(["e2fsck", "-f", "-y", str(self._image)], check=False, capture_output=True)  # 1: mended
        self._mount()


def _run(*command: str | Path) -> None:
    subprocess.run([*map(str, command)], check=True, capture_output=True)


@contextlib.contextmanager
def files_at_most(size_bytes: int) -> Iterator[None]:
    """No file of this process grows beyond it meanwhile. Hold it briefly: what pytest prints may go to a file too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
