"""Reads one file's next batch and feeds it: to the metrics, to the output, or to both, and moves the cursors over it.

`turn` decides which, `tail` reads, `parse` and `enrich` make of it what observer and output take. `pipeline` gives the
turns.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import Any, Protocol

from shipper.batch import Batch, Columns, Documents, Output
from shipper.checks import tail_was_continued
from shipper.cursor import Cursor, UnderWay
from shipper.delivered import ask_again
from shipper.enrich import Enricher
from shipper.followed import Followed
from shipper.grouping import Parse, batch_of, is_whole, rest_of
from shipper.identity import mark_of
from shipper.parse import Parser
from shipper.rotated import is_rotated
from shipper.settings import Format, SourceSettings
from shipper.tail import Chunk, LineReader
from shipper.telemetry import Telemetry
from shipper.turn import Hold, Read, choose

FINAL_SECONDS = 5.0
"""An unterminated last line of a file that will not grow waits so long."""


class Observer(Protocol):
    """What the pipeline needs of the exporter."""

    def observe(self, batch: Batch) -> None: ...

    def take_changes(self) -> Any: ...


@dataclass(slots=True)
class Stages:
    """One source's own stages."""

    settings: SourceSettings
    parser: Parser
    enricher: Enricher


class Turn(Enum):
    """What came of a turn."""

    MORE = "more"
    END = "end"
    """Read to its present end."""
    HELD = "held"
    """Waits for room in the output."""


class Feeder:
    """Owned by the pipeline's thread. `done` is called by the output, from its threads."""

    def __init__(
        self,
        *,
        stages: Mapping[str, Stages],
        observer: Observer,
        output: Output,
        telemetry: Telemetry,
        done: Callable[[Followed, UnderWay], None],
        reads_once: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._stages = stages
        self._observer = observer
        self._output = output
        self._telemetry = telemetry
        self._done = done
        self._reads_once = reads_once
        self._clock = clock
        self._lines = {name: telemetry.lines.labels(name) for name in stages}
        self._bytes = {name: telemetry.bytes.labels(name) for name in stages}

    # Reading

    def turn(self, followed: Followed, *, has_room: bool, is_stalled: bool) -> Turn:
        """Reads and feeds the next batch of an open file, where the cursors are apart one by each.

        Raises OSError and Damaged if it cannot be read, Replaced if it is another content by now.
        """
        if followed.tail_start is not None and tail_was_continued(followed):
            self._telemetry.unexpected_tails.inc()
            followed.asked_marks = -1  # of the longer line the ledger has the beginning at most
        ship, observe = followed.ship, followed.observe
        choice = choose(
            observed=None if observe is None else observe.position,
            shipped=None if ship is None else ship.position,
            has_room=has_room,
            is_stalled=is_stalled,
        )
        if choice is Hold.NO_ROOM:
            if ship is not None:
                followed.verify(ship.position, ship.before)  # so much of it was there, whatever comes while it waits
            return Turn.HELD
        if choice is Hold.NOTHING:
            followed.has_rest = False
            return self._at_end(followed)
        cursor = ship if choice.ships else observe
        if cursor is None:
            raise AssertionError("a cursor was chosen that is not there")
        turn = self._read(followed, cursor, choice)
        if followed.is_joined or observe is None:
            return turn
        if choice.ships and turn is Turn.MORE:
            self._read(
                followed, observe, Read(ships=False, observes=True)
            )  # metrics stay current while shipping catches up
        elif not choice.ships and turn is Turn.END:
            return Turn.HELD
        return turn

    def _read(self, followed: Followed, cursor: Cursor, choice: Read) -> Turn:
        lines, before = cursor.lines, cursor.before
        start = lines.position
        chunk = self._counted_tail(followed, lines, choice) or lines.next_chunk(limit=choice.limit)
        batch = None if chunk is None else batch_of(chunk, lines=lines, parse=self._parse_of(followed))
        if chunk is None or batch is None:
            followed.verify(start, before)
            followed.is_within_line = chunk is not None and choice.ships
            return self._at_end(followed) if not self._is_searching(lines) else Turn.MORE
        self._pass(followed, cursor, chunk, start, before)
        self._hand_over(followed, cursor, chunk, batch, choice)
        return Turn.MORE

    def _pass(self, followed: Followed, cursor: Cursor, chunk: Chunk, start: int, before: bytes | None) -> None:
        """Everything that can fail, before anything is counted or shipped; if it does, the cursor is where it was.

        Raises OSError, Damaged, Replaced.
        """
        try:
            followed.verify(start, before)
            if cursor is followed.ship:  # not earlier: what others ship in the meantime counts
                ask_again(self._output, followed)
            followed.note(chunk, cursor)
        except BaseException:
            cursor.jump(start, before)
            raise

    def _counted_tail(self, followed: Followed, lines: LineReader, choice: Read) -> Chunk | None:
        """What the file ended in when one of the cursors took it (the metrics, if it did not arrive before the process
        ended), for the other; None if the file goes on by now.
        """
        start, tail_start = lines.position, followed.tail_start
        if choice.limit is None or tail_start is None or start < tail_start:
            return None
        if start > tail_start and followed.source.format is Format.JSON:
            return None
        chunk = rest_of(lines, source=followed.source)
        if chunk is None or chunk.end != choice.limit:
            lines.jump(start)
            return None
        lines.jump(chunk.end)
        return chunk

    def _is_searching(self, lines: LineReader) -> bool:
        """Whether the end of a very long line is being looked for, and there is more to look at."""
        return lines.scanned > lines.position and lines.reader.read(lines.scanned, 1) != b""

    def _at_end(self, followed: Followed) -> Turn:
        followed.looked_at_size = followed.size
        readings = [cursor.lines for cursor in followed.cursors() if cursor.is_reading]
        followed.has_rest = any(
            lines.scanned > lines.position or lines.reader.read(lines.position, 1) != b"" for lines in readings
        )
        followed.is_complete = any(lines.reader.is_complete for lines in readings)
        if followed.is_compressed:
            followed.note_end()
        if self._reads_once and followed.has_rest and self._take_tail(followed, is_final=self._is_settled(followed)):
            return Turn.MORE
        return Turn.END

    def _is_settled(self, followed: Followed) -> bool:
        """Whether an archive that is read once, or a file that was rotated before it was met, will not be continued."""
        if self._clock() - followed.mtime_ns / 1e9 < FINAL_SECONDS:
            return False
        return followed.is_complete or (followed.is_plain and is_rotated(followed.real_path))

    def _parse_of(self, followed: Followed) -> Parse:
        """What makes the batches of a file."""

        def parse(chunk: Chunk, *, is_final: bool) -> Batch | None:
            return self._stages[followed.source.name].parser.parse(
                chunk,
                source=followed.source.name,
                path=followed.path,
                identity=followed.identity,
                content=followed,
                is_final=is_final,
            )

        return parse

    # The last line

    def take_tail(self, followed: Followed, *, has_room: bool) -> bool | None:
        """Takes what stands behind the last whole line of a file that will not be continued.

        None if it has to wait for room or for the other cursor, False if there is nothing to take. Raises as `turn`.
        """
        if not followed.may_take_tail or (followed.ship is not None and not has_room):
            return None
        return self._take_tail(followed, is_final=True)

    def _take_tail(self, followed: Followed, *, is_final: bool) -> bool:
        cursor = followed.ship if followed.ship is not None and followed.ship.is_reading else followed.observe
        if cursor is None or not cursor.is_reading or not followed.may_take_tail:
            return False
        lines, start, before = cursor.lines, cursor.position, cursor.before
        chunk = rest_of(lines, source=followed.source)
        if chunk is None:
            return False  # and `lines` knows still how much of it is NULs
        batch = self._parse_of(followed)(chunk, is_final=is_final)
        if batch is None or not (is_final or is_whole(chunk, batch)):
            lines.jump(start)
            return False
        observes = followed.observe is not None and followed.observe.is_reading and followed.is_joined
        lines.jump(chunk.end)
        self._pass(followed, cursor, chunk, start, before)
        choice = Read(ships=followed.ship is cursor, observes=observes)
        self._hand_over(followed, cursor, chunk, batch, choice)
        if chunk.is_tail:
            followed.tail_start = chunk.start
        return True

    # Handing over

    def _hand_over(self, followed: Followed, cursor: Cursor, chunk: Chunk, batch: Batch, choice: Read) -> None:
        """Counts and ships a batch, and moves the cursors over it."""
        if chunk.end > followed.counted:
            followed.counted = chunk.end
            self._count(batch, chunk.end - chunk.start)
        tail_start = followed.tail_start
        if choice.observes:
            is_rest_of_tail = tail_start is not None and chunk.start > tail_start and followed.is_torn_at(chunk.start)
            self._observer.observe(without_first_line(batch) if is_rest_of_tail else batch)
            if followed.observe is not None and followed.observe is not cursor:
                followed.observe.jump(chunk.end, cursor.before)
        if choice.ships:
            followed.is_within_line = False
            self._ship(followed, batch, cursor)
        if tail_start is not None and not chunk.is_tail and followed.is_joined and followed.nearest > tail_start:
            followed.tail_start = None

    def _count(self, batch: Batch, size: int) -> None:
        self._lines[batch.source].inc(batch.count)
        self._bytes[batch.source].inc(size)
        for rule, count in batch.redactions.items():
            self._telemetry.redactions.labels(rule).inc(count)
        if batch.problems:
            reasons = Counter(problem.reason for problems in batch.problems.values() for problem in problems)
            for reason, count in reasons.items():
                self._telemetry.parse_failures.labels(batch.source, reason).inc(count)

    def _ship(self, followed: Followed, batch: Batch, cursor: Cursor) -> None:
        under_way = UnderWay(batch.end, mark_of(batch.end, cursor.before or b""), "")
        enriched = self._stages[batch.source].enricher.enrich(
            batch,
            last_time=followed.ship_time,
            covered=followed.covered,
            done=partial(self._note_done, followed, under_way),
        )
        followed.ship_time = under_way.last_time = enriched.last_time
        followed.under_way.append(under_way)
        letters = enriched.documents.dead_letters
        if enriched.dropped or enriched.duplicates or letters:
            results = ("dropped", enriched.dropped), ("duplicate", enriched.duplicates), ("dead_letter", len(letters))
            under_way.results = [(result, count) for result, count in results if count]
        batch.columns = Columns()  # freed here they leave their place, still in the cache, to those of the next batch
        self._output.submit(enriched.documents)

    def _note_done(self, followed: Followed, under_way: UnderWay, _documents: Documents) -> None:
        self._done(followed, under_way)

    def count_done(self, followed: Followed, under_way: UnderWay) -> None:
        """Counts what became of a batch's lines that are no documents."""
        for result, count in under_way.results:
            self._telemetry.documents.labels(followed.source.name, result).inc(count)


def without_first_line(batch: Batch) -> Batch:
    """The batch without its first line, which the metrics have counted in a shorter form."""
    return replace(
        batch,
        lines=batch.lines[1:],
        offsets=batch.offsets[1:],
        columns=Columns((name, column[1:]) for name, column in batch.columns.items()),
        problems={i - 1: problems for i, problems in batch.problems.items() if i},
        raw_lines=None,
        runtime_times=None,
    )
