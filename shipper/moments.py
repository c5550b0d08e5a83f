"""When the lines of a batch happened, as numbers: what the exporter's windows and gauges ask for.

`times` reads the texts, `enrich` makes documents of the same fields; a line that does not say when gets NaN here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Final

from shipper.batch import Batch
from shipper.settings import SourceSettings
from shipper.times import first_times

NAN: Final = float("nan")
_SECOND_CHARACTERS: Final = len("2024-01-15T10:30:45")


class Moments:
    """The event times of some sources' batches."""

    def __init__(self, sources: Iterable[SourceSettings]) -> None:
        self._fields = {source.name: source.time for source in sources if source.metrics}
        self.fields: frozenset[str] = frozenset().union(*self._fields.values())

    def __call__(self, batch: Batch) -> Sequence[float]:
        """Seconds since 1970 for each line, NaN where it does not say."""
        columns = [batch.columns[name] for name in self._fields.get(batch.source, ())]
        if batch.runtime_times is not None:
            columns.append(batch.runtime_times)
        return [moment(text) for text in first_times(columns, batch.count)]


def moment(text: str) -> float:
    """Seconds since 1970 of a time as `times` writes it (`2024-01-15T10:30:45.123Z`); NaN of ''."""
    if not text:
        return NAN
    return _second(text[:_SECOND_CHARACTERS]) + float(f"0{text[_SECOND_CHARACTERS:-1]}")


@lru_cache(maxsize=1024)
def _second(text: str) -> float:
    return datetime.fromisoformat(f"{text}+00:00").timestamp()
