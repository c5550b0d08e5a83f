"""A log that is written on and on, the lives of a daemon that reads it, and the ledger at the end.

The ledger: each line is one document, or a dead letter if it is of the future, and was counted once, as the series
say that the last process shows: they are the committed ones of all lives.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from command import Running, documents_in
from harness.sink import Sink

from shipper.positions import positions_in

DAYS = ("2024-01-15", "2024-01-16")
FUTURE = "2091-01-01"


@dataclass
class Lives:
    """All of it is below one directory; `sink` is the output, or else a local directory."""

    directory: Path
    sink: Sink | None = None
    more: str = ""
    """More lines of the configuration."""
    metrics_start: str = "beginning"
    local: str = ""
    """More settings of the local output."""
    state: Path = field(init=False)
    output: Path = field(init=False)
    log: Path = field(init=False)
    written: int = 0
    of_the_future: set[int] = field(default_factory=set)
    rotations: int = 0

    def __post_init__(self) -> None:
        self.state = self.directory / "state"
        self.output = self.directory / "out"
        self.log = self.directory / "logs" / "app.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.configure()

    # The configuration

    @property
    def config(self) -> Path:
        return self.directory / "shipper.yml"

    def configure(self, more: str = "") -> None:
        """Writes the configuration anew."""
        server = f"{{elasticsearch: {{hosts: ['{self.sink.url}']}}}}" if self.sink is not None else ""
        self.config.write_text(
            f"state: {self.state}\nsources: [{{name: app, paths: ['{self.log.parent}/*.log*']}}]\n"
            f"output: {server or f'{{local: {{directory: {self.output}{self.local}}}}}'}\n"
            f"metrics: {{start: {self.metrics_start}, listen: '127.0.0.1:0'}}\n{self.more}{more}"
        )

    # The writer

    def write(self, count: int = 10) -> None:
        """Appends so many lines, over two days; the last is of the future, and will be set aside."""
        with self.log.open("a") as file:
            for left in range(count, 0, -1):
                self.written += 1
                day = FUTURE if left == 1 else DAYS[self.written % 2]
                if day is FUTURE:
                    self.of_the_future.add(self.written)
                file.write(line(self.written, day))

    def rotate(self) -> None:
        """Renames the log; the next line begins a new one."""
        self.rotations += 1
        self.log.rename(self.log.with_name(f"app.log.{self.rotations}"))

    def cut(self, share: float) -> None:
        """To a part of its lines: whole ones."""
        lines = self.log.read_bytes().splitlines(keepends=True)
        os.truncate(self.log, sum(map(len, lines[: int(len(lines) * share)])))

    # Lives

    def start(self, *arguments: str, failpoint: str = "", is_ready: bool = True) -> Running:
        """A `shipper run`."""
        environ = {"SHIPPER_FAILPOINT": failpoint} if failpoint else {}
        return Running("-c", self.config, *arguments, directory=self.directory, is_ready=is_ready, **environ)

    def live_until_killed(self, failpoint: str, *, act: Callable[[Running], bool] = lambda _: True) -> int:
        """A life that ends at a failpoint, while lines are written; `act` is repeated until it has acted.

        Returns the exit status.
        """
        has_acted = False
        with self.start(failpoint=failpoint, is_ready=False) as running:
            deadline = time.monotonic() + 60
            while running.returncode is None:
                assert time.monotonic() < deadline, f"{failpoint} is never passed\n{running.log[-3000:]}"
                if not has_acted:
                    self.write(6)
                    has_acted = act(running)
                    time.sleep(0.1)
                elif self.written < 400:
                    self.write(6)
                    time.sleep(0.3)
            return running.returncode

    def live_to_the_end(self) -> None:
        """A life that delivers and counts everything, and stops."""
        with self.start() as running:
            self.wait_for_everything(running)
            assert running.stop() == 0, running.log

    def wait_for_everything(self, running: Running, *, timeout_seconds: float = 60.0) -> None:
        running.wait_for(lambda: self.counted(running) >= self.written, "all counted", timeout_seconds=timeout_seconds)
        running.wait_for(
            lambda: self.has_shipped(running), f"all {self.written} shipped", timeout_seconds=timeout_seconds
        )
        assert self.counted(running) == self.written

    def has_shipped(self, running: Running) -> bool:
        """Whether the daemon says that nothing is left."""
        status = running.status()
        output = status["output"]
        return (
            not (output["pending"] or output["spooled"]) and running.metric("shipper_lag_bytes", cursor="shipped") == 0
        )

    def observed(self) -> int:
        """Up to where the state says that the metrics have counted the log."""
        inode = self.log.stat().st_ino
        return next(file.observed for file in positions_in(self.state / "state.db") if file.inode == inode)

    @staticmethod
    def counted(running: Running) -> float:
        return running.metric("http_requests_total")

    # The ledger

    def documents(self) -> list[dict[str, Any]]:
        """All of the output; a torn line fails."""
        return self.sink.docs() if self.sink is not None else documents_in(self.output)

    def letters(self) -> list[dict[str, Any]]:
        """The dead letters that stand."""
        paths = sorted((self.state / "dead-letter").glob("[0-9]*.ndjson"))
        return [json.loads(text) for path in paths for text in path.read_bytes().splitlines() if text]

    def assert_clean(self, *, deleted: Iterable[int] = ()) -> None:
        """Each line is there once, in its own place; those that are `deleted` may be gone."""
        shipped = Counter(document["_source"]["n"] for document in self.documents())
        gone = set(deleted)
        expected = set(range(1, self.written + 1)) - self.of_the_future
        assert [] == sorted(n for n, times in shipped.items() if times > 1), "there twice"
        assert [] == sorted(expected - gone - shipped.keys()), "missing"
        assert [] == sorted(shipped.keys() - expected), "not expected"
        set_aside = Counter(json.loads(letter["line"])["n"] for letter in self.letters())
        assert dict.fromkeys(self.of_the_future, 1) == set_aside


def line(number: int, day: str = DAYS[0]) -> str:
    """A request, with its number."""
    request = {"timestamp": f"{day}T10:30:45.123Z", "method": "GET", "url": f"/api/patients/{number}"}
    return json.dumps({**request, "statusCode": 200, "duration": number, "n": number}) + "\n"
