"""Exemplars: beside a counter or a bucket the id of the newest line that it counted, to find that line by.

Only the last lines of the last batches are looked at, so a busy log costs hardly more for them, and a quiet one has
them all.
They are no part of the state: after a restart they come with new lines.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from itertools import repeat
from typing import Any, Final, NamedTuple, Protocol

from exporter.texts import number_text
from shipper.batch import MISSING
from shipper.expressions import label_text

LINES_A_BATCH: Final = 8
BATCHES: Final = 16  # the newest
MAX_LINE_BYTES: Final = 64 << 10  # longer ones are not kept until their ids are read
MAX_EXEMPLARS: Final = 1_000  # of one metric
MAX_CHARACTERS: Final = 128  # of name and value, by OpenMetrics
_UNREADABLE: Final = frozenset('"\\\n')
_NOT_IN_NAMES: Final = re.compile(r"[^a-zA-Z0-9_]")

Place = tuple[Hashable, int]
"""A raw label set, and the bucket (0 in a counter)."""


def exemplar_name(field: str) -> str:
    """The field's name as the name of a label."""
    name = _NOT_IN_NAMES.sub("_", field)
    return f"_{name}" if name[:1].isdigit() else name


class ReadId(Protocol):
    """Reads the field that exemplars show; of few lines, so that the others need not be searched for it."""

    name: str

    def __call__(self, lines: Sequence[bytes]) -> Sequence[Any]:
        """A value a line, MISSING where there is none."""


class Exemplar(NamedTuple):
    """A line's id as it stood in the line, what the line counted, and when it was counted."""

    line_id: Any
    value: float
    at: float


class _Tail(NamedTuple):
    """The last lines of a batch that a rule counted, by column; without `values` each counted 1."""

    labels: Sequence[Sequence[Any]]
    values: Sequence[float] | None
    lines: Sequence[bytes]


class Examples:
    """What one rule has met since the last `take`. Ids are read only then, and only of the newest lines."""

    def __init__(self, *, read_id: ReadId, bounds: Sequence[float]) -> None:
        self._name = exemplar_name(read_id.name)
        self._read_id = read_id
        self._bounds = bounds
        self._tails: deque[_Tail] = deque(maxlen=BATCHES)

    def note(
        self,
        labels: Sequence[Sequence[Any]],
        values: Sequence[float] | None,
        lines: Sequence[bytes],
    ) -> None:
        """Keeps the last lines of a batch: `labels` and `values` have one entry for each that was counted, `lines` are
        the last LINES_A_BATCH of them.
        """
        last = slice(-LINES_A_BATCH, None)
        lines = [line if len(line) <= MAX_LINE_BYTES else b"" for line in lines]
        self._tails.append(_Tail([label[last] for label in labels], None if values is None else values[last], lines))

    def take(self, *, now: float) -> Iterator[tuple[Place, Exemplar]]:
        """The newest line with an id for each place, if that one can be shown."""
        newest: dict[Place, tuple[Any, float]] = {}
        bounds = self._bounds
        for labels, values, lines in self._tails:
            ids = self._read_id(lines)
            keys: Iterator[Hashable] = zip(*labels, strict=True) if labels else repeat((), len(ids))
            buckets = repeat(0) if values is None or not bounds else [bisect_left(bounds, value) for value in values]
            places = zip(keys, buckets, strict=False)
            for place, line_id, value in zip(places, ids, values or repeat(1), strict=False):
                if line_id is not MISSING and line_id is not None and line_id != "":
                    newest[place] = line_id, value
        self._tails.clear()
        for place, (line_id, value) in newest.items():
            exemplar = Exemplar(line_id, value, now)
            if exemplar_text(exemplar, self._name):
                yield place, exemplar


def exemplar_text(exemplar: Exemplar | None, name: str) -> str:
    """An exemplar as OpenMetrics appends it to a sample, its label called `name`.

    '' where there is none, or its id is empty, too long, or such that not every parser reads it in this place.
    """
    if exemplar is None:
        return ""
    text = label_text(exemplar.line_id)
    if not text or len(name) + len(text) > MAX_CHARACTERS or not _UNREADABLE.isdisjoint(text):
        return ""
    return f' # {{{name}="{text}"}} {number_text(exemplar.value)} {exemplar.at:.3f}'
