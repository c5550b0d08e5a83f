"""`python -m bench`: what a line costs, and what a daemon costs that stands and waits. See docs/performance.md."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from bench import gate, latency, report, stages, standing, throughput
from bench.measure import median


def _how() -> str:
    """The command that made a table."""
    given = " ".join(argument for argument in sys.argv[1:] if argument != "--write")
    return f'make bench ARGS="{given}"' if given else "make bench"


def main() -> None:
    """Prints tables; `--write` puts them into the document as well."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        if options.part in ("all", "throughput"):
            _throughput(Path(name), options)
        if not options.quick and options.part in ("all", "stages"):
            _stages(Path(name), options)
    if not options.quick and options.part in ("all", "standing"):
        _standing(options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two cases with fewer lines, held against the recorded")
    parser.add_argument("--part", choices=("all", "throughput", "stages", "standing"), default="all")
    parser.add_argument("--case", default="", help="only cases whose title contains this, and the first")
    parser.add_argument("--lines", type=int, default=0, help="default 1,000,000; quick 200,000")
    parser.add_argument("--runs", type=int, default=0, help="default 5; quick 3")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each measurement of a daemon that runs on")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    parser.add_argument("--record", action="store_true", help="with --quick: hold later runs against this one")
    return parser.parse_args()


def _throughput(directory: Path, options: argparse.Namespace) -> None:
    cases = throughput.QUICK if options.quick else throughput.CASES
    cases = [case for case in cases if case is throughput.BASE or options.case in case.title]
    lines = options.lines or (200_000 if options.quick else 1_000_000)
    runs = options.runs or (3 if options.quick else 5)
    print(f"{lines:,} lines, {runs} runs, medians; shipper on one core; {report.machine()}", flush=True)

    def measured() -> throughput.Table:
        table = throughput.measure(directory, lines=lines, runs=runs, cases=cases, say=_progress)
        _progress("")
        print(report.as_text(throughput.HEAD, table.rows()), flush=True)
        return table

    table = measured()
    if options.write:
        report.write("throughput", throughput.HEAD, table.rows(), how=_how())
    if options.quick and options.record:
        medians = {title: median(ratios) for title, ratios in table.ratios().items()}
        gate.record(medians, processor=report.processor())
    elif options.quick:
        hold(table, measured)


def _stages(directory: Path, options: argparse.Namespace) -> None:
    lines, runs = options.lines or 1_000_000, options.runs or 5
    rows = list(stages.measure(directory, lines=lines, runs=runs, core=max(os.sched_getaffinity(0))))
    print(report.as_text(stages.HEAD, rows))
    if options.write:
        report.write("stages", stages.HEAD, rows, how=_how())


def hold(table: throughput.Table, again: Callable[[], throughput.Table]) -> None:
    """Ends the process with 1 if the best of all rounds is worse than it may be."""
    recorded = gate.recorded_for(report.processor(), gate.records())
    ratios = table.ratios()
    for _ in range(gate.ATTEMPTS - 1):
        if not gate.worse(ratios, recorded):
            break
        print("worse than recorded; measured again, since something else may have been at work")
        ratios = {title: [*ratios[title], *more] for title, more in again().ratios().items()}
    problems = gate.worse(ratios, recorded)
    for problem in problems:
        print(f"worse: {problem}", file=sys.stderr)
    if problems:
        sys.exit(1)


def _standing(options: argparse.Namespace) -> None:
    rows = []
    for row in (
        *standing.rows(seconds=options.seconds),
        *latency.rows(lines_a_second=1_000, seconds=options.seconds),
    ):
        print(f"{row.title:52} {row.shown:40} to reach: {row.goal}", flush=True)
        rows.append(row)
    if options.write:
        report.write("standing", ("", "measured", "to reach"), rows, how=_how())


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{text:60}", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
