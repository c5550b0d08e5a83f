"""A child process that says READY, keeps its output in a file, and ends when the test run ends.

The child must print a line that starts with READY once it serves. Children of ours also end when their standard
input closes: it is a pipe that only the test run holds, so even a killed run leaves nothing behind.
"""

from __future__ import annotations

import abc
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

_LEFT_SECONDS = 3600.0  # younger ones may belong to another container that shares the folder


class Counterpart(abc.ABC):
    """Something that runs beside the tests; as a context manager it ends with its block."""

    @abc.abstractmethod
    def stop(self) -> None:
        """End it and delete its data; may be repeated."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class DiedError(Exception):
    """A counterpart ended, or did not become ready in time; the message carries the end of its output."""


def wait_until(condition: Callable[[], bool], *, what: str, timeout_seconds: float, poll_seconds: float = 0.02) -> None:
    """Return once `condition()` is true; raise TimeoutError naming `what` if that takes too long."""
    deadline = time.monotonic() + timeout_seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_seconds:g} s: {what}")
        time.sleep(poll_seconds)


def scratch(kind: str) -> Path:
    """Return a new temporary directory; whoever asks deletes it, and those that killed runs have left go now."""
    root = Path(tempfile.gettempdir())
    for left in root.glob("shipper-tests-*-*-*"):
        with contextlib.suppress(OSError, ValueError):
            if time.time() - left.stat().st_mtime > _LEFT_SECONDS and not _is_alive(int(left.name.split("-")[2])):
                shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"shipper-tests-{os.getpid()}-{kind}-", dir=root))


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def free_port() -> int:
    """Return a loopback TCP port that was free a moment ago.

    Below the ports that the kernel hands out: while a server is down, clients that go on trying would otherwise take
    its port for a connection of theirs (even to themselves), and it could not come back.
    """
    for port in random.SystemRandom().sample(range(18_000, 32_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port")


class Process:
    """One child: started by the constructor, ready after `wait_ready()`, ended by `stop()` or `kill()`."""

    def __init__(
        self, command: Sequence[str | Path], *, log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> None:
        self.log = log
        self._start_bytes = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            self._child = subprocess.Popen(
                [str(part) for part in command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                start_new_session=True,  # Ctrl-C at the terminal is for pytest; the fixtures stop the children in order
            )

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    @property
    def returncode(self) -> int | None:
        """The exit status; None while it runs."""
        return self._child.poll()

    def output(self) -> str:
        """Return what this child has printed so far, both streams."""
        with self.log.open("rb") as file:
            file.seek(self._start_bytes)
            return file.read().decode(errors="replace")

    def wait_ready(self, *, timeout_seconds: float) -> str:
        """Return the rest of the READY line; raise DiedError if the child ends first or takes too long."""
        found: list[str] = []

        def is_ready() -> bool:
            has_ended = self.returncode is not None
            lines = self.output().splitlines(keepends=True)
            found.extend(line[5:].strip() for line in lines if line.startswith("READY") and line.endswith("\n"))
            return bool(found) or has_ended

        try:
            wait_until(is_ready, what="READY", timeout_seconds=timeout_seconds)
        except TimeoutError as error:
            self.kill()
            raise DiedError(f"{error}\n{self.output()[-4000:]}") from None
        if not found:
            raise DiedError(f"ended with status {self.kill()} before READY\n{self.output()[-4000:]}")
        return found[0]

    def wait(self, *, timeout_seconds: float) -> int:
        """Return the exit status once the child has ended; raise TimeoutError if it goes on."""
        try:
            return self._child.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            raise TimeoutError(f"still running after {timeout_seconds:g} s: {self._child.args!r}") from None

    def stop(self, *, timeout_seconds: float = 20.0) -> int:
        """Ask it to end (SIGTERM), kill it if it does not in time; return the exit status."""
        self.signal(signal.SIGTERM)
        try:
            self.wait(timeout_seconds=timeout_seconds)
        except TimeoutError:
            self.signal(signal.SIGKILL)
        return self._reap()

    def kill(self) -> int:
        """End it at once (SIGKILL); return the exit status."""
        self.signal(signal.SIGKILL)
        return self._reap()

    def signal(self, number: int) -> None:
        """Send a signal, if the child still runs."""
        self._child.send_signal(number)

    def _reap(self) -> int:
        if self._child.stdin is not None:
            self._child.stdin.close()
        return self._child.wait()
