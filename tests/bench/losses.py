"""`python -m bench.losses`: which lines the other shippers lose or double where something goes wrong.

Two stories that are easy to tell, each with the settings of `bench.peers` and a fresh state: a file that is copied and
truncated while it is written, and a server that answers one document in ten with 429. What is written is compared with
what the sink has in the end, by request id. Nothing is lost by the writer: no line is written between copy and
truncation.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple

import msgspec
from harness.sink import Fault, Sink

from bench import report
from bench.lines import request
from bench.measure import configuration, daemon
from bench.peers import Running, add_search_options, started
from bench.shippers import PEERS, Installed, Peer, Search

RATE = 5_000
WRITES_A_SECOND = 20
CUTS = 5
REFUSED_SHARE = 0.1
FIRST_LINES = 1_000
"""That must have arrived before anything goes wrong."""
QUIET_SECONDS = 20.0
"""Who has shipped nothing for so long is done."""
LATEST_SECONDS = 180.0

Start = Callable[[Path, str, Path], AbstractContextManager[object]]
"""Of a log, a sink's address and a directory: follows the one and ships to the other within the block."""


class Outcome(NamedTuple):
    """Of the lines written, by their request ids."""

    lost: int
    doubled: int


class Writer:
    """Appends request lines, and knows how often it wrote each id."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written: Counter[str] = Counter()
        self._chance = random.Random(1)
        path.touch()

    def append(self, count: int) -> None:
        """So many lines, by one write."""
        lines = [request(self._chance, datetime.now(UTC)) for _ in range(count)]
        self.written.update(str(msgspec.json.decode(line)["requestId"]) for line in lines)
        with self.path.open("ab", buffering=0) as file:
            file.write(b"\n".join(lines) + b"\n")

    def append_steadily(self, seconds: float) -> None:
        """RATE lines a second."""
        begun = time.monotonic()
        for turn in range(1, int(seconds * WRITES_A_SECOND) + 1):
            time.sleep(max(0.0, begun + turn / WRITES_A_SECOND - time.monotonic()))
            self.append(RATE // WRITES_A_SECOND)

    def copy_and_truncate(self, number: int) -> None:
        """As logrotate's copytruncate does."""
        shutil.copy2(self.path, self.path.with_name(f"{self.path.name}.{number}"))
        with self.path.open("r+b") as file:
            file.truncate(0)


def cut_five_times(writer: Writer, sink: Sink) -> None:
    """20,000 lines at 5,000 a second; the file is copied and truncated five times."""
    for number in range(1, CUTS + 1):
        writer.append_steadily(4 / (CUTS + 1))
        writer.copy_and_truncate(number)
    writer.append_steadily(4 / (CUTS + 1))


def refused_some(writer: Writer, sink: Sink) -> None:
    """50,000 lines; each document, also one that is sent again, has a chance of one in ten to be answered with 429."""
    sink.fault(Fault("items", status=429, rate=REFUSED_SHARE), seed=1)
    writer.append_steadily(10)


HEAD = ("", "version", "copytruncate: lost", "doubled", "429 for some: lost", "doubled")
Story = Callable[[Writer, Sink], None]
STORIES: Sequence[Story] = (cut_five_times, refused_some)


def outcome(written: Counter[str], arrived: Counter[str]) -> Outcome:
    """By how often each id was written, and arrived."""
    return Outcome((written - arrived).total(), (arrived - written).total())


def tell(start: Start, story: Story, *, quiet_seconds: float = QUIET_SECONDS) -> Outcome:
    """One story with one shipper. Raises RuntimeError if it does not even begin to ship."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name, Sink() as sink:
        directory, logs = Path(name), Path(name) / "logs"
        logs.mkdir()
        writer = Writer(logs / "app.log")
        writer.append(FIRST_LINES)
        with start(writer.path, sink.url, directory):
            if _settled(sink, quiet_seconds=quiet_seconds, at_least=FIRST_LINES) < FIRST_LINES:
                raise RuntimeError("the first lines did not arrive")
            story(writer, sink)
            _settled(sink, quiet_seconds=quiet_seconds)
        arrived = Counter(str(document["_source"].get("requestId")) for document in sink.docs())
    return outcome(writer.written, arrived)


def _settled(sink: Sink, *, quiet_seconds: float, at_least: int = sys.maxsize) -> int:
    """The number of documents, when there are at least so many, or when there have been no more for so long."""
    deadline = time.monotonic() + LATEST_SECONDS
    last, since = -1, time.monotonic()
    while (now := int(sink.stats()["documents"])) < at_least and time.monotonic() < deadline:
        if now != last:
            last, since = now, time.monotonic()
        if time.monotonic() - since > quiet_seconds:
            break
        time.sleep(0.2)
    return now


@contextmanager
def shipper_started(log: Path, url: str, directory: Path) -> Iterator[int]:
    """Ours, with the copies in its pattern: it knows them."""
    text = configuration(logs=Path(f"{log}*"), state=directory / "state", url=url)
    (directory / "shipper.yml").write_text(text)
    with daemon(directory, "-c", "shipper.yml") as pid:
        yield pid


def starters(search: Search, *, only: str) -> Iterator[tuple[str, str, Start]]:
    """Name, version and start of all that can be had. The others do not see the copies: they would read them again."""
    yield "shipper", "", shipper_started
    for peer in PEERS:
        if only in ("", peer.name) and (installed := search.had(peer.name, peer.program, peer.packages)):
            yield peer.name, installed.version, partial(_peer_started, peer, installed)


def _peer_started(
    peer: Peer, installed: Installed, log: Path, url: str, directory: Path
) -> AbstractContextManager[Running]:
    return started(peer, installed, log=log, url=url, directory=directory, core=None)


def span(numbers: Sequence[int]) -> str:
    """Least and greatest, or the one that they all are."""
    least, greatest = min(numbers), max(numbers)
    return f"{least:,}" if least == greatest else f"{least:,}-{greatest:,}"


def measure(found: Sequence[tuple[str, str, Start]], *, runs: int) -> list[Sequence[str]]:
    """The rows of HEAD; who cannot be run is left out, and it is said."""
    outcomes: dict[str, list[list[Outcome]]] = {name: [[] for _ in STORIES] for name, _, _ in found}
    for _ in range(runs):
        for name, _, start in found:
            for number, story in enumerate(STORIES):
                try:
                    outcomes[name][number].append(tell(start, story))
                except RuntimeError as error:
                    print(f"{name}: {error}", file=sys.stderr)
    rows: list[Sequence[str]] = []
    for name, version, _ in found:
        cells = []
        for told in outcomes[name]:
            cells += [span([one.lost for one in told]), span([one.doubled for one in told])] if told else ["", ""]
        rows.append((name, version, *cells))
    return rows


def main() -> None:
    """Prints a table; `--write` puts it into the document as well."""
    parser = argparse.ArgumentParser(prog="python -m bench.losses", description=__doc__)
    parser.add_argument("--runs", type=int, default=2)
    add_search_options(parser)
    options = parser.parse_args()
    with ExitStack() as opened:
        search = Search(directories=options.bin, opened=opened)
        rows = measure(list(starters(search, only=options.only)), runs=options.runs)
    print(report.as_text(HEAD, rows))
    if options.write:
        how = f'make bench-losses ARGS="--runs {options.runs}{" --bin DIR" * bool(options.bin)}"'
        report.write("losses", HEAD, rows, how=how)


if __name__ == "__main__":
    main()
