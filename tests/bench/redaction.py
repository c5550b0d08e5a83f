"""`python -m bench.redaction [--seed N] [--rounds N]`: what redaction finds, what it masks wrongly, and what it costs.

The corpus is made of the seed. A secret counts as found if no five characters on end of it are left in the line; a
clean line counts as masked wrongly if it is changed at all.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple

from security.corpus import leaks, samples
from security.lookalikes import clean_lines

from bench.lines import BEGIN, request_line
from shipper.batch import Batch
from shipper.columns import Fields
from shipper.redact.stage import Redactor
from shipper.settings import Pack, RedactAction, RedactSettings

LINES_A_BATCH = 210
FIELDS = ("timestamp", "method", "url", "statusCode", "duration", "level")
ALL = RedactSettings(packs=tuple(Pack))
COSTS: Mapping[str, RedactSettings] = {
    "the default": RedactSettings(),
    "all packs": ALL,
    "the default, one own pattern": RedactSettings(patterns={"ward": r"W-\d{4}"}),
    "the default, two fields that no line has": RedactSettings(
        fields={"email": RedactAction.MASK, "a.b": RedactAction.DROP}
    ),
    "a field of every line masked": RedactSettings(fields={"userId": RedactAction.MASK}),
    "the address of every line truncated": RedactSettings(ip="truncate"),
}


class Rate(NamedTuple):
    """How many of how many."""

    some: int
    total: int

    def __str__(self) -> str:
        return f"{self.total:>8,} {self.some:>8,} {100 * self.some / self.total:>8.2f} %"


def recall(seed: int, rounds: int) -> dict[str, Rate]:
    """By pattern: how many secrets of the corpus are found, with all packs."""
    redactor = Redactor(settings=ALL)
    found, total = Counter[str](), Counter[str]()
    for sample in samples(seed, rounds):
        name = f"{sample.pack.value}: {sample.pattern}"
        total[name] += 1
        found[name] += not leaks(sample, redactor.redact_line(sample.line))
    return {name: Rate(found[name], total[name]) for name in total}


def false_masking(seed: int, rounds: int) -> dict[str, Rate]:
    """By pattern: how many clean lines of the corpus are changed, with all packs."""
    redactor = Redactor(settings=ALL)
    changed, total = Counter[str](), Counter[str]()
    for clean in clean_lines(seed, rounds):
        total[clean.pattern] += 1
        changed[clean.pattern] += redactor.redact_line(clean.line) != clean.line
    return {name: Rate(changed[name], total[name]) for name in total}


def overall(rates: Mapping[str, Rate]) -> Rate:
    return Rate(sum(rate.some for rate in rates.values()), sum(rate.total for rate in rates.values()))


def request_lines(count: int) -> list[bytes]:
    chance = random.Random(1)
    return [request_line(chance, BEGIN + timedelta(milliseconds=37 * i)).rstrip().encode() for i in range(count)]


def cost(settings: RedactSettings, lines: Sequence[bytes], *, runs: int = 5) -> float:
    """CPU microseconds a line; the best of some runs, each over new batches."""
    redactor, fields = Redactor(settings=settings), Fields(FIELDS)
    best = float("inf")
    for _ in range(runs):
        batches = list(_batches(lines, fields))
        started = time.process_time()
        for batch in batches:
            redactor.redact(batch, fields=fields)
        best = min(best, time.process_time() - started)
    return best / len(lines) * 1e6


def _batches(lines: Sequence[bytes], fields: Fields) -> list[Batch]:
    batches = []
    for start in range(0, len(lines), LINES_A_BATCH):
        batch = Batch("bench", "requests.log", "", 0, 0, list(lines[start : start + LINES_A_BATCH]), [])
        batch.columns = fields.columns([fields.layout.decode(line) for line in batch.lines])
        batches.append(batch)
    return batches


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=300, help="lines of each kind")
    parser.add_argument("--missed", type=int, default=0, help="show so many lines that are not as they should be")
    options = parser.parse_args()
    for title, rates in (
        ("found", recall(options.seed, options.rounds)),
        ("masked wrongly", false_masking(options.seed, max(1, options.rounds // 10))),
    ):
        print(f"{'':36} {'lines':>8} {title:>19}")
        for name, rate in rates.items():
            print(f"{name:36} {rate}")
        print(f"{'in all':36} {overall(rates)}\n")
    _show_missed(options.seed, options.missed)
    lines = request_lines(21_000)
    print(f"{'CPU microseconds a request line':36} {sum(map(len, lines)) / len(lines):.0f} bytes")
    for title, settings in COSTS.items():
        print(f"{title:44} {cost(settings, lines):9.2f}", flush=True)


def _show_missed(seed: int, count: int) -> None:
    redactor = Redactor(settings=ALL)
    missed = ((one.pattern, one.line) for one in samples(seed, 50) if leaks(one, redactor.redact_line(one.line)))
    wrong = ((one.pattern, one.line) for one in clean_lines(seed, 5) if redactor.redact_line(one.line) != one.line)
    for pairs in (missed, wrong):
        for (pattern, line), _ in zip(pairs, range(count), strict=False):
            print(f"{pattern}: {line.decode()}\n    {redactor.redact_line(line).decode()}")


if __name__ == "__main__":
    main()
