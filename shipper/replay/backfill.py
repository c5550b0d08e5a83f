"""The metrics' half of a replay: counts what was planned, writes day files, and makes blocks of them if asked to.

`conduct` calls it behind the shipping; nothing here knows of outputs.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exporter.rule import Rule
from shipper.blake2 import blake2b
from shipper.errors import ConfigError
from shipper.positions import FilePosition, by_identity, positions_at
from shipper.progress import Progress
from shipper.referred import rules_of
from shipper.replay.blocks import make_blocks, promtool
from shipper.replay.entries import STANDARD_INPUT
from shipper.replay.grid import Grid
from shipper.replay.history import Historian, countable
from shipper.replay.job import MetricsWish
from shipper.replay.messages import Wish
from shipper.replay.openmetrics import DayWriter
from shipper.replay.plan import Plan
from shipper.replay.tallies import Tallies
from shipper.settings import Settings


@dataclass(slots=True)
class Backfill:
    """Checked at once, so that nothing is begun in vain; then `run`. Raises ConfigError."""

    settings: Settings
    wish: Wish
    metrics: MetricsWish
    state: Path
    """The replay's own."""
    rules: list[Rule] = field(init=False)
    without: list[str] = field(init=False)
    """Rules that have no history."""
    program: str = field(init=False)
    _historian: Historian | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        self.rules, self.without = countable(rules_of(self.settings))
        taken = {name for rule in self.rules for name in (*rule.label_names, "le")} & set(self.metrics.labels)
        if taken:
            raise ConfigError([f"--label: a rule has a label {name!r} of its own" for name in sorted(taken)])
        self.program = promtool() if self.metrics.blocks is not None else ""

    def interrupt(self) -> None:
        """Called by a signal handler: counting ends behind the present batch."""
        if self._historian is not None:
            self._historian.is_stopping = True

    def run(self, plan: Plan) -> tuple[dict[str, Any], str]:
        """What is written, and why it is not finished ('' if it is). Raises ShipperError."""
        entries = [one.entry for one in plan.files if one.entry.source.metrics]
        if any(entry.file == STANDARD_INPUT for entry in entries):
            raise ConfigError(["--metrics: standard input can be read only once; give files"])
        grid = Grid(step_ms=round(self.metrics.step_seconds * 1000))
        identities = frozenset(one.identity for one in plan.files)
        tallies = Tallies(self.state / f"history-{self._meaning()}.db")
        try:
            historian = self._historian = Historian(
                settings=self.settings,
                wish=self.wish,
                rules=self.rules,
                grid=grid,
                tallies=tallies,
                positions=self._positions(identities),
            )
            progress = Progress(what="metrics", total=sum(one.size_bytes for one in entries), stream=sys.stderr)
            for entry in entries:
                historian.count(entry, advanced=progress.advance)
                if historian.is_stopping:
                    break
            progress.clear()
            historian.close()
            if historian.is_stopping:
                return {}, "interrupted"
            report = self._write(tallies, grid)
        except BaseException:
            tallies.close()
            raise
        report["problems"] = historian.problems
        if historian.problems:
            tallies.close()
            return report, f"the metrics of {len(historian.problems)} files are not whole"
        tallies.delete()
        return report, ""

    def _write(self, tallies: Tallies, grid: Grid) -> dict[str, Any]:
        wish = self.metrics
        directory = wish.directory or self.state / "metrics"
        writer = DayWriter(directory=directory, tallies=tallies, rules=self.rules, grid=grid, labels=wish.labels)
        files = writer.write(wrote=lambda _: None)
        if wish.blocks is not None:
            make_blocks(self.program, files, wish.blocks)
        facts = {name: count for name, count in tallies.facts.items() if not name.endswith("_ms")}
        return {
            "directory": str(directory),
            "blocks": str(wish.blocks) if wish.blocks is not None else "",
            "files": [path.name for path in files],
            "series": len(tallies.series()),
            "samples": writer.samples,
            "without_history": self.without,
            **facts,
        }

    def _positions(self, identities: frozenset[str]) -> Mapping[str, Sequence[FilePosition]]:
        """What a daemon that has this state counts itself. Raises NoAnswerError and StateError."""
        found = positions_at(Path(self.settings.state))
        return by_identity(found.files, identities) if found is not None else {}

    def _meaning(self) -> str:
        """The same exactly if the same is counted, in the same way."""
        parts = [
            *(rule.meaning for rule in self.rules),
            str(self.metrics.step_seconds),
            *sorted(map(str, self.metrics.labels.items())),
        ]
        return blake2b("\0".join(parts).encode(), digest_size=6).hexdigest()
