"""Runs cases through the daemon's stages, as `explain` does: no network, no state, and a clock that stands still."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from exporter.effects import Tried
from exporter.rule import Rule
from exporter.rules import catalogue
from shipper.batch import Batch
from shipper.errors import ConfigError
from shipper.explain import Explainer, Origin, chunks_in
from shipper.identity import stem
from shipper.moments import Moments, moment
from shipper.settings import Format, Settings, SourceSettings
from shipper.targets import source_by_name
from shipper.testing.cases import Case
from shipper.testing.compare import Difference, Explanation, differences
from shipper.testing.samples import contradiction, shown_samples
from shipper.times import event_time
from shipper.wording import number_of

DEFAULT_FILE: Final = "test.log"
HOST: Final = "localhost"
"""`host.name` where the configuration leaves it to the machine."""


class Failure(msgspec.Struct, frozen=True):
    """What is not as a case expects."""

    line: int
    """In the test file."""
    of: int | None
    """Which line of the input, from 1; None for what is of all of them."""
    text: str
    """That line."""
    what: str
    expected: str
    got: str


class Outcome(msgspec.Struct):
    """What became of a case."""

    case: Case
    failures: list[Failure] = msgspec.field(default_factory=list)


class Trial:
    """Runs the cases of one configuration, one after another; none knows of another."""

    def __init__(self, *, settings: Settings, rules: Sequence[Rule]) -> None:
        host = HOST if settings.host == "auto" else settings.host
        self._settings = msgspec.structs.replace(settings, host=host)
        self._rules = list(rules)
        self._known = catalogue(rules)

    def origins(self, cases: Sequence[Case]) -> list[Origin]:
        """Where the lines of each case come from. Raises ConfigError with every case that does not say."""
        problems: list[str] = []
        found = [self._origin(case, problems) for case in cases]
        if problems:
            raise ConfigError(problems)
        return [origin for origin in found if origin is not None]

    def _origin(self, case: Case, problems: list[str]) -> Origin | None:
        file = case.settings.file or DEFAULT_FILE
        source = self._source(case, file)
        if source is not None:
            return Origin(source, file, stem(Path(file).name))
        names = ", ".join(source.name for source in self._settings.sources)
        wrong = f"there is no source {case.settings.source!r}" if case.settings.source else f"{file}: of no source"
        line = case.key_lines.get("source") or case.key_lines.get("file") or case.line
        problems.append(f"{case.file}:{line}: {wrong}; give source, one of {names}")
        return None

    def _source(self, case: Case, file: str) -> SourceSettings | None:
        sources = self._settings.sources
        if case.settings.source:
            return next((source for source in sources if source.name == case.settings.source), None)
        return source_by_name(sources, file)

    def run(self, case: Case, origin: Origin) -> Outcome:
        """What a case expects, held against what becomes of its lines."""
        now = self._now(case, origin)
        tried = Tried(rules=self._rules, event_times=Moments([origin.source]), clock=lambda: now)
        found = list(self._explained(case, origin, now=now, tried=tried))
        outcome = Outcome(case)
        outcome.failures += _line_failures(case, found)
        outcome.failures += self._metric_failures(case, tried)
        return outcome

    def _now(self, case: Case, origin: Origin) -> float:
        """What the clock shows: what is asked for, else the time of the newest line, unless that is still to come."""
        now = time.time()
        if case.now:
            return moment(event_time(case.now) or "")
        found = self._explained(case, origin, now=now)
        return min(now, max((moment(one["time"]) for one in found if one["time"]), default=now))

    def _explained(
        self, case: Case, origin: Origin, *, now: float, tried: Tried | None = None
    ) -> Iterator[dict[str, Any]]:
        def observe(batch: Batch) -> None:
            if tried is not None:
                tried.observe(batch)

        explainer = Explainer(
            settings=self._settings, rules=self._rules, origin=origin, clock=lambda: now, observe=observe
        )
        data = b"".join(_written(line, origin.source.format, now=now) for line in case.settings.lines)
        return explainer.explain(chunks_in(io.BytesIO(data)))

    def _metric_failures(self, case: Case, tried: Tried) -> Iterator[Failure]:
        shown = shown_samples(tried.samples())
        for text, wanted in case.settings.metrics.items():
            found = contradiction(text, wanted, shown, known=self._known)
            if found is not None:
                yield Failure(case.metric_lines[text], None, "", text, *found)
        errors = case.settings.rule_errors
        if errors is not None and errors != dict(tried.errors):
            got = ", ".join(f"{rule}: {reason}" for rule, reason in tried.errors) or "none"
            expected = ", ".join(f"{rule}: {reason}" for rule, reason in errors.items()) or "none"
            yield Failure(case.key_lines["rule_errors"], None, "", "rule_errors", expected, got)


def _written(line: Any, line_format: Format, *, now: float) -> bytes:
    """A line as it stands in the file. A text stands there already; a mapping is what the application has written,
    which a container runtime packs.
    """
    if isinstance(line, str):
        return line.encode() + (b"" if line.endswith("\n") else b"\n")
    text = msgspec.json.encode(line)
    at = time.strftime("%Y-%m-%dT%H:%M:%S.000000000Z", time.gmtime(now))
    if line_format is Format.DOCKER:
        return msgspec.json.encode({"log": text.decode() + "\n", "stream": "stdout", "time": at}) + b"\n"
    if line_format is Format.CRI:
        return f"{at} stdout F ".encode() + text + b"\n"
    return text + b"\n"


def _line_failures(case: Case, found: Sequence[Explanation]) -> Iterator[Failure]:
    expected = case.settings.expect
    if not expected:
        return
    if case.is_for_each:
        expected, places = expected * len(found), [*case.expect_lines] * len(found)
    else:
        places = [*case.expect_lines]
    if len(expected) != len(found) or not found:
        what = Difference("lines", number_of(len(expected) or 1, "line"), number_of(len(found), "line"))
        yield Failure(case.key_lines["expect"], None, "", what.what, what.expected, what.got)
    for number, (one, place, explanation) in enumerate(zip(expected, places, found, strict=False), start=1):
        for difference in differences(one, explanation):
            line = place.get(difference.key, place[""])
            text = explanation["line"]
            yield Failure(line, number, text, difference.what, difference.expected, difference.got)
