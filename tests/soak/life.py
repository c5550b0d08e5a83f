"""The shipper of a round: one process after another on one state, each ended in some way, and scraped in between."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

from command import Running, run_to_end

RULES = """\
rules:
  - {name: winston_lines_total, type: counter, help: Lines., source: winston}
  - {name: app_lines_total, type: counter, help: Lines., source: app}
"""
FAULTS = ("missing", "unknown", "waiting", "repeated")
"""Places of lines in the audit that are a fault while no daemon runs."""
_COUNTED = re.compile(r"^(winston|app)_lines_total (\S+)$", re.MULTILINE)
_LOST = re.compile(r"^shipper_unread_lost_bytes_total\{[^}]*\} (\S+)$", re.MULTILINE)


class Shipper:
    """Started by `start`, as often as it has ended. `logs` has a directory for each source."""

    def __init__(self, directory: Path, *, output: str) -> None:
        self.directory = directory
        self.logs = directory / "logs"
        for source in ("winston", "app"):
            (self.logs / source).mkdir(parents=True)
        (directory / "rules.yml").write_text(RULES)
        self.config = directory / "shipper.yml"
        self.config.write_text(
            "state: state\nsources:\n"
            f"  - {{name: winston, paths: ['{self.logs}/winston/*.log*'], exclude: ['errors-*']}}\n"
            f"  - {{name: app, paths: ['{self.logs}/app/app.log*']}}\n"
            f"output: {output}\nmetrics: {{start: beginning, listen: '127.0.0.1:0', rules: [rules.yml]}}\n"
        )
        self._running: Running | None = None
        self.happened: Counter[str] = Counter()
        self.seen: dict[str, float] = {}
        """What the last scrape showed, by source."""
        self.went_back = 0

    def start(self, *, failpoint: str = "") -> None:
        """A new process; with a failpoint one that will end there."""
        environ = {"SHIPPER_FAILPOINT": failpoint} if failpoint else {}
        self._running = Running("-c", self.config, directory=self.directory, is_ready=False, **environ)
        self.happened["lives"] += 1

    @property
    def running(self) -> Running:
        assert self._running is not None, "not started"
        return self._running

    @property
    def has_ended(self) -> bool:
        return self.running.returncode is not None

    def kill(self) -> None:
        """SIGKILL."""
        self.happened["kills"] += 1
        self.running.kill()

    def scrape(self) -> dict[str, float] | None:
        """What a scraper sees by source; None if nobody answers. Committed counters never go back."""
        if self.has_ended or "serving http" not in self.running.log:
            return None
        status, text = self.running.get("/metrics")
        if status != 200:
            return None
        found = {source: float(value) for source, value in _COUNTED.findall(text)}
        self.went_back += any(found.get(source, 0.0) < value for source, value in self.seen.items())
        self.seen = found
        self.happened["scrapes"] += 1
        return found

    def lost_bytes(self) -> int:
        """What the present process says."""
        return int(sum(float(value) for value in _LOST.findall(self.running.get("/metrics")[1])))

    def is_done(self) -> bool:
        """Whether the present process has delivered all that it has seen."""
        if self.scrape() is None:
            return False
        output = self.running.status()["output"]
        lag = self.running.metric("shipper_lag_bytes")
        return not (lag or output["pending"] or output["spooled"])

    def missing(self) -> int:
        """How many lines the audit finds fault with; raises ValueError with its words if it could not finish."""
        done = run_to_end("audit", "-c", self.config, "--json", directory=self.directory, timeout_seconds=1800)
        if not done.stdout:
            raise ValueError(f"audit ended with {done.returncode}\n{done.stderr[-3000:]}")
        report = json.loads(done.stdout)
        return 0 if report["is_good"] else max(1, sum(report["totals"][place] for place in FAULTS))

    def dead_letters(self) -> int:
        """How many stand."""
        paths = (self.directory / "state/dead-letter").glob("[0-9]*.ndjson")
        return sum(path.read_bytes().count(b"\n") for path in paths)
