"""Where the files of a source may lie: whoever writes logs must not make us read what only we may read.

A symlink below a source's own directories may lead anywhere within them, and to what the setting `symlinks` allows.
This is asked of paths when files are looked for, and of the descriptor once a file is open and cannot be swapped.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Sequence

import msgspec

from shipper.settings import SourceSettings


class OutsideError(OSError):
    """An open file lies where its source's files may not: a link or directory was swapped after it was looked at."""


class Confinement(msgspec.Struct, frozen=True):
    """Of one source, as its directories are at the time of a scan."""

    roots: tuple[str, ...]
    """Real paths with a slash at the end."""
    allowed: tuple[str, ...]

    def holds(self, real_path: str) -> bool:
        """Whether a file of this source may lie there."""
        if real_path.startswith(self.roots):
            return True
        return any(_is_allowed(real_path, pattern) for pattern in self.allowed)

    def check(self, descriptor: int, path: str) -> None:
        """Raises OutsideError where an open file, found as `path`, lies outside; FileNotFoundError if it is gone."""
        real_path = _path_of(descriptor, path)
        if not self.holds(real_path):
            raise OutsideError(f"leads to {real_path!r}, out of the source's directories")


def confinement_of(source: SourceSettings, tops: Sequence[str]) -> Confinement:
    """The confinement of a source whose patterns begin with these directories."""
    roots = dict.fromkeys(os.path.join(os.path.realpath(top), "") for top in tops)
    return Confinement(tuple(roots), source.symlinks)


def _is_allowed(real_path: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(real_path, pattern) or real_path.startswith(os.path.join(pattern, ""))


def _path_of(descriptor: int, path: str) -> str:
    """Where an open file really lies; of one without a name, or where the kernel does not say, where it was found."""
    if not os.fstat(descriptor).st_nlink:
        raise FileNotFoundError(f"{path!r} is gone")
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return os.path.realpath(path)
