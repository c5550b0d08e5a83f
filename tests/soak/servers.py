"""The server of a round, and what goes wrong with it: the bulk sink with faults, or a real Elasticsearch."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from harness.servers import Server
from harness.sink import Fault, Sink

INDEX = "soak-%Y.%m.%d"
PATTERN = "soak-*"


class Target(Protocol):
    """Where the lines go."""

    url: str

    def troubles(self) -> Mapping[str, Callable[[random.Random], None]]:
        """What can go wrong, by name; each returns at once or after some seconds."""

    def heal(self) -> None:
        """Everything is well again."""

    def count(self) -> int:
        """How many documents there are."""

    def stop(self) -> None: ...


FAULTS: Mapping[str, Fault] = {
    "items busy": Fault("items", status=429, rate=0.3),
    "items unavailable": Fault("items", status=503, rate=0.1, applied=1.0),
    "an index blocked": Fault("items", status=403, type="cluster_block_exception", index=PATTERN),
    "requests refused": Fault("status", status=503),
    "requests too many": Fault("status", status=429, rate=0.7),
    "not allowed": Fault("status", status=401),
    "too large": Fault("too_large", bytes=300_000),
    "a proxy's page": Fault("html", status=502),
    "garbage": Fault("garbage", rate=0.5),
    "half the items": Fault("half_items", rate=0.5),
    "requests cut": Fault("cut_request", bytes=50_000, rate=0.5, applied=0.5),
    "answers cut": Fault("cut_answer", rate=0.5),
    "slow": Fault("slow", seconds=1.0),
    "silent": Fault("silent", rate=0.2),
}


class FaultySink:
    """The bulk sink, which keeps no more than the ids."""

    def __init__(self, *, seed: int) -> None:
        self._sink = Sink(ids_only=True, seed=seed)
        self.url = self._sink.url

    def troubles(self) -> Mapping[str, Callable[[random.Random], None]]:
        return {"server down": self._down, "server at fault": self._fault, "server well": lambda _: self.heal()}

    def _down(self, draw: random.Random) -> None:
        self._sink.down()
        time.sleep(draw.uniform(0.2, 4.0))
        self._sink.up()

    def _fault(self, draw: random.Random) -> None:
        self._sink.fault(*draw.sample(list(FAULTS.values()), draw.choice([1, 1, 2])))

    def heal(self) -> None:
        self._sink.up()
        self._sink.fault()

    def count(self) -> int:
        return self._sink.count(PATTERN)

    def stop(self) -> None:
        self._sink.stop()


class RealElasticsearch:
    """The real one of the harness: killed, restarted, stopped for a while, its index blocked."""

    def __init__(self) -> None:
        self._server = Server("elasticsearch-8", heap_mb=1024, is_full_speed=True)
        self.url = self._server.url

    def troubles(self) -> Mapping[str, Callable[[random.Random], None]]:
        return {
            "server killed": self._kill,
            "server restarted": lambda _: self._server.restart(is_waiting=False),
            "index blocked": lambda _: self._block(True),
            "index open": lambda _: self._block(False),
        }

    def _kill(self, draw: random.Random) -> None:
        self._server.kill()
        time.sleep(draw.uniform(0.2, 4.0))
        self._server.restart(is_waiting=False)

    def _block(self, is_blocked: bool) -> None:
        status, answer = self._server.request(
            "PUT", f"/{PATTERN}/_settings", {"index.blocks.read_only_allow_delete": is_blocked or None}
        )
        assert status in (200, 404, 503), answer

    def heal(self) -> None:
        self._server.restart()
        self._block(False)

    def count(self) -> int:
        return self._server.count(PATTERN)

    def stop(self) -> None:
        self._server.stop()


def target(name: str, *, seed: int) -> Target:
    """The server of this name."""
    return RealElasticsearch() if name == "elasticsearch" else FaultySink(seed=seed)
