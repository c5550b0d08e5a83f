"""The installed command as a process: what the e2e tests and the soak run, look at over HTTP, and end."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from harness.process import Process, wait_until
from prometheus_client.parser import text_string_to_metric_families

SHIPPER: Sequence[str] = (sys.executable, str(Path(sys.executable).parent / "shipper"))


def run_to_end(
    *arguments: str | Path, directory: Path, standard_input: str = "", timeout_seconds: float = 60.0, **environ: str
) -> subprocess.CompletedProcess[str]:
    """Run `shipper` with these arguments to its end; returns its exit code and what it printed."""
    return subprocess.run(
        [*SHIPPER, *map(str, arguments)],
        cwd=directory,
        input=standard_input,
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
        env={**os.environ, **environ},
    )


class Running:
    """A `shipper run` that goes on, listening on a free port unless told otherwise."""

    def __init__(
        self,
        *arguments: str | Path,
        directory: Path,
        is_ready: bool = True,
        within: Sequence[str] = (),
        **environ: str,
    ) -> None:
        """`within`: a command that runs the one behind it under some limit (`prlimit`, `setpriv`, `unshare`)."""
        listen = () if "--listen" in arguments else ("--listen", "127.0.0.1:0")
        self._process = Process(
            [*within, *SHIPPER, "run", *arguments, *listen], log=directory / "shipper.log", env=environ, cwd=directory
        )
        self._url = ""
        if is_ready:
            try:
                self.wait_ready()
            except BaseException:
                self._process.kill()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit status; None while it runs."""
        return self._process.returncode

    @property
    def has_ended(self) -> bool:
        return self._process.returncode is not None

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self._process.output()

    @property
    def url(self) -> str:
        """Where it serves, once it has said so."""
        if not self._url:
            self.wait_for(lambda: "serving http" in self.log, "an address")
            self._url = re.findall(r"serving (http\S+)/", self.log)[-1]
        return self._url

    def wait_for(self, condition: Any, what: str, *, timeout_seconds: float = 30.0) -> None:
        """Wait until `condition()`; fails with the log if the process ends or it takes too long."""

        def is_so() -> bool:
            if self._process.returncode is not None:
                raise AssertionError(f"ended with {self._process.returncode} before: {what}\n{self.log}")
            return bool(condition())

        try:
            wait_until(is_so, what=what, timeout_seconds=timeout_seconds, poll_seconds=0.05)
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{self.log[-6000:]}") from None

    def wait_for_end_or(self, condition: Any, *, timeout_seconds: float = 60.0) -> None:
        """Wait until it has ended, or `condition()`."""
        wait_until(
            lambda: self._process.returncode is not None or bool(condition()),
            what="the end of the process, or what was waited for",
            timeout_seconds=timeout_seconds,
            poll_seconds=0.05,
        )

    def wait_ready(self) -> None:
        self.wait_for(lambda: self.get("/readyz")[0] == 200, "readiness")

    def get(self, path: str, **headers: str) -> tuple[int, str]:
        """Status and text of a request; 0 while it does not answer."""
        request = urllib.request.Request(self.url + path, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.get("/status.json")[1])
        return answer

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples with these labels; 0 if there are none."""
        families = text_string_to_metric_families(self.get("/metrics")[1])
        samples = (sample for family in families for sample in family.samples)
        return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())

    def signal(self, number: int) -> None:
        self._process.signal(number)

    def wait(self, *, timeout_seconds: float) -> int:
        """The exit status, once it has ended by itself."""
        return self._process.wait(timeout_seconds=timeout_seconds)

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        return self._process.stop()

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()


def documents_in(directory: Path) -> list[dict[str, Any]]:
    """All documents of a local output."""
    paths = sorted(directory.glob("*.ndjson"))
    return [json.loads(line) for path in paths for line in path.read_bytes().splitlines()]
