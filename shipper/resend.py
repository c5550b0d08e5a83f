"""Sends the documents of dead letters again: rebuilt from their lines, under their old ids, into their old indices.

`letters` reads and moves the records, `elastic.resend` and `local.resend` deliver. A record is moved only when its
document is durable; one that is refused again stays, with the new reason.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from shipper.carrier import ACCEPTED, Carrier, Fate, Rebuilt, Verdict
from shipper.enrich import Enricher
from shipper.letters import Letter, Wanted, day_files
from shipper.oddlines import BAD_ENCODING
from shipper.parse import Parser
from shipper.reread import enricher_of
from shipper.rewriting import Rewriting, check_owner, day_of, one_retry
from shipper.settings import Format, Settings, SourceSettings
from shipper.tail import Chunk
from shipper.times import event_time

GROUP_BYTES = 1 << 20
GROUP_COUNT = 500
_LAST_DAY = datetime(2100, 1, 1, tzinfo=UTC).timestamp()
"""Later times are not usable, so nothing is in this clock's future."""
_CUT_BYTES = 3
"""A line that was cut at the limit is at most so much shorter than that: characters stay whole."""

NO_LINE = "no_line"
"""The reason of a record in which no line stands: it was not written by us, or by a hand since."""


# Rebuilding


class _NoLineError(Exception):
    """Nothing is left to make a document of."""


class Rebuilder:
    """Makes documents of records as the daemon would now: without redaction and drops, which the line has behind it."""

    def __init__(self, *, settings: Settings, is_forced: bool, clock: Callable[[], float] = time.time) -> None:
        self._settings = msgspec.structs.replace(settings, drop=())
        self._sources = {source.name: source for source in settings.sources}
        self._clock = (lambda: _LAST_DAY) if is_forced else clock
        self._stages: dict[str, tuple[Parser, Enricher]] = {}

    def rebuild(self, letter: Letter, *, time_of: Callable[[Letter], str]) -> Rebuilt | Verdict:
        """The document, or NOT_DUE, NO_SOURCE, or REFUSED where nothing can be made of the record.

        `time_of` says what time a line without one has inherited.
        """
        source = self._sources.get(letter.source)
        if source is None:
            return Verdict(Fate.NO_SOURCE)
        try:
            document, has_time = self._enriched(letter, source, event_time(letter.timestamp) or "")
            if document is not None and not has_time and (inherited := time_of(letter)):
                document, _ = self._enriched(letter, source, inherited)
        except _NoLineError:
            return Verdict(Fate.REFUSED, NO_LINE)
        return Verdict(Fate.NOT_DUE) if document is None else Rebuilt(letter, document)

    def _enriched(self, letter: Letter, source: SourceSettings, last_time: str) -> tuple[bytes | None, bool]:
        """The document, None while its time has not come; and whether it has a time. Raises _NoLineError."""
        parser, enricher = self._stages_of(source)
        line = letter.line.encode("utf-8", "replace").replace(b"\n", b" ")
        is_cut = len(line) >= source.max_line_bytes - _CUT_BYTES
        chunk = Chunk(letter.offset, letter.offset + len(line) + 1, line + b"\n" * (not is_cut), is_cut=is_cut)
        batch = parser.parse(
            chunk, source=source.name, path=letter.file, identity=letter.id[:12], content=None, is_final=True
        )
        if batch is None or not batch.count:
            raise _NoLineError
        if letter.encoding_failure:
            batch.problems.setdefault(0, []).append(BAD_ENCODING)
        enriched = enricher.enrich(batch, last_time=last_time, done=lambda _: None)
        body = enriched.documents.body
        return (body.split(b"\0", 2)[2][:-1] if body else None), bool(enriched.last_time)

    def _stages_of(self, source: SourceSettings) -> tuple[Parser, Enricher]:
        if source.name not in self._stages:
            enricher = enricher_of(self._settings, source, clock=self._clock)
            parser = Parser(line_format=Format.JSON, fields=enricher.fields, max_line_bytes=source.max_line_bytes)
            self._stages[source.name] = parser, enricher
        return self._stages[source.name]


# Retrying


@dataclass(slots=True)
class Outcome:
    """What a retry did."""

    fates: Counter[Fate] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    """Of what was refused again."""

    @property
    def is_finished(self) -> bool:
        """Whether every wanted record had its answer."""
        return not self.fates[Fate.NOT_DELIVERED]

    @property
    def stay(self) -> int:
        """Wanted records that stay."""
        return self.fates.total() - sum(self.fates[fate] for fate in ACCEPTED)

    def as_data(self) -> dict[str, Any]:
        """For programs."""
        counts = {fate.name.lower(): self.fates[fate] for fate in Fate}
        return {**counts, "stay": self.stay, "refused_reasons": dict(self.reasons.most_common())}

    def as_text(self) -> str:
        """For people."""
        if not self.fates.total():
            return "no dead letters to retry"
        lines = [f"{fate.value:<16}{self.fates[fate]:>8}" for fate in Fate if self.fates[fate]]
        lines += [f"  refused: {reason} ({count})" for reason, count in self.reasons.most_common()]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """`shipper dead-letter retry`. A crash at any point makes at most that a document is sent once more."""

    directory: Path
    wanted: Wanted
    rebuilder: Rebuilder
    carrier: Carrier
    advance: Callable[[int], None] = lambda _: None
    """Told how many bytes of the day files are done."""
    clock: Callable[[], float] = time.time

    def run(self) -> Outcome:
        """Send all wanted records. Raises InUseError, StateError, OutputError and OSError; what was done stays done."""
        outcome = Outcome()
        if not self.directory.is_dir():
            return outcome
        check_owner(self.directory)
        with one_retry(self.directory):
            for path in day_files(self.directory):
                with Rewriting(path, today=day_of(self.clock())) as file:
                    try:
                        self._retry_all(file, outcome)
                    finally:
                        file.finish()
        return outcome

    def _retry_all(self, file: Rewriting, outcome: Outcome) -> None:
        """After an error in the middle, what has not had its turn is kept."""
        group: list[tuple[bytes, Letter]] = []
        size = 0
        found = file.records()
        try:
            for raw, letter in found:
                if letter is None or not self.wanted.has(letter):
                    file.keep(raw)
                    self.advance(len(raw))
                    continue
                group.append((raw, letter))
                size += len(raw)
                if size >= GROUP_BYTES or len(group) >= GROUP_COUNT:
                    taken, group, size = group, [], 0
                    self._retry(file, taken, outcome)
            taken, group = group, []
            self._retry(file, taken, outcome)
        finally:
            for raw, _ in (*group, *found):
                file.keep(raw)

    def _retry(self, file: Rewriting, group: Sequence[tuple[bytes, Letter]], outcome: Outcome) -> None:
        verdicts: dict[int, Verdict] = {}
        try:
            verdicts = self._delivered([letter for _, letter in group])
        finally:
            self._settle(file, group, verdicts, outcome)

    def _delivered(self, letters: Sequence[Letter]) -> dict[int, Verdict]:
        """By position, what became of each."""
        rebuilt = [self.rebuilder.rebuild(letter, time_of=self.carrier.time_of) for letter in letters]
        verdicts = {i: one for i, one in enumerate(rebuilt) if isinstance(one, Verdict)}
        numbers = [i for i in range(len(rebuilt)) if i not in verdicts]
        documents = [one for one in rebuilt if isinstance(one, Rebuilt)]
        verdicts.update(zip(numbers, self.carrier.deliver(documents) if documents else (), strict=True))
        return verdicts

    def _settle(
        self,
        file: Rewriting,
        group: Sequence[tuple[bytes, Letter]],
        verdicts: dict[int, Verdict],
        outcome: Outcome,
    ) -> None:
        now = f"{datetime.fromtimestamp(self.clock(), UTC):%Y-%m-%dT%H:%M:%SZ}"
        moved = []
        for i, (raw, _) in enumerate(group):
            verdict = verdicts.get(i, Verdict(Fate.NOT_DELIVERED))
            outcome.fates[verdict.fate] += 1
            if verdict.fate in ACCEPTED:
                moved.append((raw, {"retried": now, "result": verdict.fate.value}))
            elif verdict.fate is Fate.REFUSED:
                outcome.reasons[verdict.reason] += 1
                file.change(raw, reason=verdict.reason, server=verdict.server, retried=now)
            else:
                file.keep(raw)
            self.advance(len(raw))
        file.take_out(moved)
