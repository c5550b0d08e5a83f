"""Prints constraints with the lowest version that setup.cfg allows of each dependency, and the lock's of all others.

`make mindeps` installs with them, so that a lower bound is a tested fact. Pinning the rest keeps that job from failing
over a release that is not ours.
"""

from __future__ import annotations

import configparser
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

REQUIREMENT = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(?:\[[^\]]*\])?\s*(?P<bounds>[^;]*)")
LOCKED = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)==(?P<rest>[^\\]+)")


def canonical(name: str) -> str:
    """The name as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def lowest(requirements: Iterable[str]) -> dict[str, str]:
    """Lowest allowed version by canonical name; raises ValueError for a requirement without a lower bound."""
    found = {}
    for requirement in requirements:
        match = REQUIREMENT.match(requirement)
        bounds = match["bounds"].split(",") if match else []
        versions = [bound.strip()[2:].strip() for bound in bounds if bound.strip().startswith((">=", "=="))]
        if match is None or len(versions) != 1:
            raise ValueError(f"setup.cfg: {requirement!r} needs one lower bound (name>=version)")
        found[canonical(match["name"])] = versions[0]
    return found


def locked(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(canonical name, version with environment marker) of each package of a lock file."""
    for line in lines:
        if match := LOCKED.match(line):
            yield canonical(match["name"]), match["rest"].strip()


def install_requires(setup_cfg: Path) -> list[str]:
    """The requirements of [options], one string each."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(setup_cfg.read_text(encoding="utf-8"))
    return [line for line in parser["options"]["install_requires"].splitlines() if line.strip()]


def constraints(setup_cfg: Path, lock: Path) -> list[str]:
    """The lines of the constraints file."""
    ours = lowest(install_requires(setup_cfg))
    others = [(name, version) for name, version in locked(lock.read_text(encoding="utf-8").splitlines())]
    return [f"{name}=={version}" for name, version in [*ours.items(), *(o for o in others if o[0] not in ours)]]


if __name__ == "__main__":
    print("\n".join(constraints(Path(sys.argv[1]), Path(sys.argv[2]))))
