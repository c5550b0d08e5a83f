"""The part of docs/metrics.md that shows lines and what the ready rules make of them, and the real thing beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from prometheus_client import CollectorRegistry

from exporter.exposition import Format, family_text
from exporter.rules import load_rules
from exporter.series import Exporter
from shipper.moments import Moments
from shipper.parse import Parser
from shipper.settings import Format as LineFormat
from shipper.settings import SourceSettings
from shipper.tail import Chunk
from shipper.telemetry import RuleCounts, Telemetry

ROOT = Path(__file__).parents[1]
HEADING = "## The lines behind the ready rules\n"
NOW = 1_705_314_646.0
"""A second after the time of every line: 2024-01-15T10:30:46Z."""
_LINE = re.compile(r"\{|\d{4}-\d\d-\d\dT\S+ std(?:out|err) ")


class Shown(NamedTuple):
    """A block of the document: lines, and the samples that come of them."""

    file: str
    lines: tuple[str, ...]
    samples: tuple[str, ...]


def documented() -> list[Shown]:
    """Every block of the section, in its order."""
    section = (ROOT / "docs" / "metrics.md").read_text().partition(HEADING)[2].partition("\n## ")[0]
    found = []
    for part in re.split(r"^### ", section, flags=re.MULTILINE)[1:]:
        file = part.partition("\n")[0]
        for block in re.findall(r"(?:^    .*\n)+", part + "\n", flags=re.MULTILINE):
            rows = [row.strip() for row in block.splitlines()]
            lines = tuple(row for row in rows if _LINE.match(row))
            found.append(Shown(file, lines, tuple(rows[len(lines) :])))
    return found


def samples_of(file: str, lines: Sequence[str]) -> list[str]:
    """What a scrape shows of these lines under the rules of a file, without buckets."""
    exporter = _exporter(file)
    before = _samples(exporter)
    source = SourceSettings(name="s", paths=("*",), format=LineFormat.CRI if "cri" in file else LineFormat.JSON)
    data = "".join(f"{line}\n" for line in lines).encode()
    parser = Parser(line_format=source.format, fields=exporter.fields, max_line_bytes=1 << 20)
    batch = parser.parse(Chunk(0, len(data), data), source="s", path="p", identity="i", content=None, is_final=True)
    assert batch is not None
    assert batch.problems == {}
    exporter.observe(batch)
    exporter.publish(exporter.take_changes())
    return [sample for sample in _samples(exporter) if sample not in before]


def _exporter(file: str) -> Exporter:
    exporter = Exporter(
        rules=load_rules([ROOT / file]),
        telemetry=RuleCounts(Telemetry(registry=CollectorRegistry())),
        event_times=Moments([SourceSettings(name="s", paths=("*",))]),
        clock=lambda: NOW,
    )
    exporter.publish(exporter.take_changes())
    return exporter


def _samples(exporter: Exporter) -> list[str]:
    text = "".join(family_text(snapshot, Format.TEXT) for snapshot in exporter.read(None)[0])
    return [row for row in text.splitlines() if not row.startswith("#") and "_bucket{" not in row]
