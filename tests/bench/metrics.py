"""`python -m bench.metrics [--quick]`: what the default HTTP metrics cost, alone, beside shipping, and beside mtail.

mtail has no JSON and no routes, so its programs find the fields by one regular expression, whose order they know. One
keeps the first two segments of each path, which is less than what we do; the other has a pattern for each route of this
very log, and makes the same series as we do.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
from counted import many_counters
from prometheus_client import CollectorRegistry

from bench.lines import PATHS, write_lines
from bench.measure import COMMAND, Cost, cost_of, reference_seconds, ship_once
from exporter.exposition import Format
from exporter.rulereader import DEFAULT_BUCKETS
from exporter.scrape import ScrapeRequest, Scrapes
from exporter.selfmetrics import self_metrics

SERIES = 50_000

HEAD = f"""
counter http_requests_total by method, path, status
histogram http_request_duration_seconds by method, path, status buckets {", ".join(map(str, DEFAULT_BUCKETS))}

"""
LINE = (
    r'/"method":"(?P<method>[A-Z]+)","url":"(?P<path>%s)[^"]*",'
    r'"statusCode":(?P<status>\d+),"duration":(?P<duration>\d+)/ '
)
COUNT = """{
  http_requests_total[$method][%(path)s][$status]++
  http_request_duration_seconds[$method][%(path)s][$status] = $duration / 1000.0
}
"""


def _segments_program() -> str:
    return HEAD + LINE % r"\/[a-z0-9]+\/[a-z0-9]+" + COUNT % {"path": "$path"}


def routes_program() -> str:
    """A pattern for each of the routes."""
    blocks = []
    for path in PATHS:
        route = path.partition("?")[0]
        pattern = route.replace("/", r"\/").replace("{}", r"\d+")
        blocks.append(f"$path =~ /^{pattern}$/ " + COUNT % {"path": f'"{route.format(":id")}"'})
    return HEAD + LINE % r'[^"?]+' + "{\n" + "".join(blocks) + "}\n"


def derive_once(path: Path, *, lines: int, core: int | None) -> Cost:
    """What counting a file takes, nothing shipped. Raises RuntimeError if a line is not counted."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        (directory / "shipper.yml").write_text(
            f"state: {directory}/state\nsources: [{{name: bench, paths: [{path}], ship: false}}]\n"
        )
        cost = cost_of([*COMMAND, "run", "-c", "shipper.yml", "--once"], core=core, directory=directory)
        _check("shipper", _committed(directory / "state/state.db"), lines)
        return cost


def _committed(state: Path) -> float:
    """The requests that the state has counted."""
    connection = sqlite3.connect(state)
    rows = connection.execute("SELECT key, value FROM series").fetchall()
    connection.close()
    counted = ((msgspec.json.decode(key)[0], msgspec.json.decode(value)[-1]) for key, value in rows)
    return float(sum(number for name, number in counted if name == "http_requests_total"))


def mtail_once(path: Path, program: str, *, lines: int, core: int | None, mtail: str = "mtail") -> Cost:
    """What mtail takes for the same file. Raises RuntimeError if it counts anything else."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        (directory / "requests.mtail").write_text(program)
        command = [mtail, "--one_shot", "--progs", str(directory), "--logs", str(path), "--log_dir", str(directory)]
        cost = cost_of([*command, "--address", "127.0.0.1", "--port", "0"], core=core, directory=directory)
        found = msgspec.json.decode((directory / "log").read_bytes())
        values = [entry["Value"]["Value"] for entry in found["http_requests_total"][0]["LabelValues"]]
        _check("mtail", sum(values), lines)
        return cost


def _mtail_seconds(path: Path, *, program: str, lines: int, core: int | None) -> float:
    return mtail_once(path, program, lines=lines, core=core).cpu_seconds


def _check(who: str, counted: float, lines: int) -> None:
    if counted != lines:
        raise RuntimeError(f"{who} counted {counted:,.0f} requests of {lines:,}")


def ship(path: Path, *, lines: int, core: int | None, is_counting: bool) -> float:
    """CPU seconds of the whole pipeline into a sink, with and without the metrics."""
    more = "" if is_counting else "metrics: false"
    return ship_once(path, documents=lines, output="compression: none", source=more, core=core).cpu_seconds


def scrape_seconds(form: Format) -> float:
    """CPU seconds of a scrape; the best of some."""
    exporter = many_counters(SERIES)
    scrapes = Scrapes(exporter=lambda: exporter, self_metrics=self_metrics(CollectorRegistry()))
    times = []
    for _ in range(5):
        started = time.process_time()
        scrapes(ScrapeRequest(form=form, parts=("rules",), is_gzip=True))
        times.append(time.process_time() - started)
    return min(times)


def main() -> None:
    """Prints a table of medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer lines and runs")
    parser.add_argument("--lines", type=int, default=0)
    parser.add_argument("--runs", type=int, default=0)
    options = parser.parse_args()
    lines = options.lines or (200_000 if options.quick else 1_000_000)
    runs = options.runs or (3 if options.quick else 5)
    core = max(os.sched_getaffinity(0))
    variants: dict[str, Callable[[Path], float]] = {
        "reference loop": lambda path: reference_seconds(path, core=core) * lines / 1e6,
        "metrics alone": lambda path: derive_once(path, lines=lines, core=core).cpu_seconds,
        "shipping alone": lambda path: ship(path, lines=lines, core=core, is_counting=False),
        "shipping and metrics": lambda path: ship(path, lines=lines, core=core, is_counting=True),
    }
    if shutil.which("mtail"):
        for title, program in (("mtail, short paths", _segments_program()), ("mtail, same routes", routes_program())):
            variants[title] = partial(_mtail_seconds, program=program, lines=lines, core=core)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        path = Path(name) / "requests.log"
        size = write_lines(path, lines)
        print(f"{lines:,} request lines of {size / lines:.0f} bytes, {runs} runs in turn, on one core", flush=True)
        seconds: dict[str, list[float]] = {title: [] for title in variants}
        for _ in range(runs):
            for title, run in variants.items():
                seconds[title].append(run(path) / lines * 1e6)
    print(f"{'':22} {'CPU s a million lines':>22} {'spread':>14}")
    for title, values in seconds.items():
        print(f"{title:22} {statistics.median(values):22.2f} {min(values):7.2f}-{max(values):.2f}")
    print_ratios({title: statistics.median(values) for title, values in seconds.items()})
    for form in Format:
        milliseconds = scrape_seconds(form) * 1000
        print(f"a scrape of {SERIES:,} series, {form.name.lower()}, compressed: {milliseconds:.0f} ms of CPU")


def print_ratios(medians: dict[str, float]) -> None:
    added = medians["shipping and metrics"] - medians["shipping alone"]
    print(f"metrics add {added:.2f} CPU s a million lines to shipping")
    peers = [title for title in medians if title.startswith("mtail")]
    for title in peers:
        print(f"{title}: {medians[title] / medians['metrics alone']:.1f} times the CPU of metrics alone")
    if not peers:
        print("mtail is not installed, so there is nothing to compare with (Debian and Ubuntu: apt-get install mtail)")


if __name__ == "__main__":
    main()
