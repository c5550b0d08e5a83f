"""Which Java to start a server with: the oldest JDK on this machine that is new enough for it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.missing import MissingError


@dataclass(frozen=True, slots=True, order=True)
class Jdk:
    """A JDK: it can compile as well."""

    major: int
    home: Path

    @property
    def java(self) -> Path:
        """Its launcher."""
        return self.home / "bin" / "java"

    @property
    def javac(self) -> Path:
        """Its compiler."""
        return self.home / "bin" / "javac"


@cache
def installed() -> tuple[Jdk, ...]:
    """Return the JDKs that are found by JAVA_HOME and its relatives (JAVA_HOME_21_X64), by PATH and in /usr/lib/jvm."""
    found = {jdk.home: jdk for home in _homes() if (jdk := _jdk(home)) is not None}
    return tuple(sorted(found.values()))


def choose(minimum: int) -> Jdk:
    """Return the oldest JDK of at least this major version; raise MissingError, excused above 17, if there is none."""
    for jdk in installed():
        if jdk.major >= minimum:
            return jdk
    have = ", ".join(f"{jdk.major} in {jdk.home}" for jdk in installed()) or "none"
    raise MissingError(f"needs a JDK of version {minimum} or newer (found: {have})", is_excused=minimum > 17)


def _homes() -> Iterator[Path]:
    yield from (Path(value) for name, value in os.environ.items() if name.startswith("JAVA_HOME") and value)
    if compiler := shutil.which("javac"):
        yield Path(compiler).resolve().parents[1]
    yield from Path("/usr/lib/jvm").glob("*")


def _jdk(home: Path) -> Jdk | None:
    home = home.resolve()
    release = home / "release"
    if not release.is_file() or not (home / "bin" / "javac").is_file():
        return None
    version = re.search(r'^JAVA_VERSION="(\d+)', release.read_text(), re.MULTILINE)
    return None if version is None else Jdk(int(version[1]), home)
