"""Exemplars: beside a counter or a bucket the id of the newest line that it counted, to find that line by.

Only the last lines of each batch are looked at, so a busy log costs hardly more for them, and a quiet one has them all.
They are no part of the state: after a restart they come with new lines.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from exporter.tallies import reason_against
from exporter.texts import label_pairs, number_text
from shipper.expressions import label_text, number_of

LINES_A_BATCH: Final = 16
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


class _Tail(NamedTuple):
    """The last lines of a batch that a rule counted, by column; without `values` each counted 1."""

    labels: Sequence[Sequence[Any]]
    values: Sequence[Any] | None
    ids: Sequence[Any]


class Examples:
    """What one rule has met since the last `take`. `field` is the one that holds the id."""

    def __init__(self, *, field: str, bounds: Sequence[float]) -> None:
        self.field = field
        self._name = exemplar_name(field)
        self._bounds = bounds
        self._tails: list[_Tail] = []

    def note(
        self,
        labels: Sequence[Sequence[Any]],
        values: Sequence[Any] | None,
        positions: Sequence[int],
        ids: Sequence[Any],
    ) -> None:
        """Keeps the last lines of a batch; `labels` and `values` have one entry for each position."""
        last = slice(-LINES_A_BATCH, None)
        tail_values = None if values is None else values[last]
        self._tails.append(_Tail([label[last] for label in labels], tail_values, [ids[at] for at in positions[last]]))

    def take(self, *, now: float) -> Iterator[tuple[Place, str]]:
        """The newest exemplar for each place, as OpenMetrics appends it to a sample."""
        newest: dict[Place, tuple[Any, Any]] = {}
        for labels, values, ids in self._tails:
            keys = zip(*labels, strict=True) if labels else [()] * len(ids)
            for key, value, line_id in zip(keys, [1] * len(ids) if values is None else values, ids, strict=True):
                if values is None or not reason_against(value, may_be_negative=False):
                    bucket = bisect_left(self._bounds, number_of(value)) if self._bounds else 0
                    newest[key, bucket] = (line_id, value)
        self._tails.clear()
        for place, (line_id, value) in newest.items():
            text = self._text(line_id, number_of(value), now)
            if text:
                yield place, text

    def _text(self, line_id: Any, value: float, now: float) -> str:
        """'' where there is no id, or one that is too long, or that not every parser reads in this place."""
        text = label_text(line_id)
        if not text or len(self._name) + len(text) > MAX_CHARACTERS or not _UNREADABLE.isdisjoint(text):
            return ""
        return f" # {{{label_pairs([self._name], [text])}}} {number_text(value)} {now:.3f}"
