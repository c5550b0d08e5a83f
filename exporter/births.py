"""Who still has to see a new series as 0: without that, Prometheus never learns of its first increments.

A scraper has seen what was known up to some commit; a series that was born later is 0 for it. That a scraper has had
its zeros counts only once it is committed itself: after a crash it must not get a 0 where it had a value before. Who is
known stays so while it scrapes, and over the time that the daemon is down, however long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

import msgspec

BIRTH_SECONDS: Final = 120.0
"""After that, a scraper that was never met before gets a series as it is."""
KEPT_SECONDS: Final = 600.0
"""Who has not scraped for so long is forgotten, so that after it everybody gets a series as it is."""
NOTED_SECONDS: Final = 60.0
"""So often it is noted that a scraper is still there."""
MAX_SCRAPERS: Final = 100
_ROW: Final = "scraper"


class Scraper(NamedTuple):
    """Who scrapes. Two of them behind one address and with one user agent are told apart by the names they give."""

    address: str
    user_agent: str
    name: str = ""

    @property
    def key(self) -> bytes:
        return msgspec.json.encode(("", _ROW, *self))  # no metric has an empty name


class Seen(NamedTuple):
    """What a scraper has seen: everything born in this commit or before."""

    commit: int
    at: float


class _Young(NamedTuple):
    """When a series was created, and since when it is known to this process."""

    created: float
    since: float


class Births:
    """Not thread-safe; the exporter's lock guards it."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._young: dict[Any, _Young] = {}
        """Series that somebody may still have to see as 0; the oldest first."""
        self._seen: dict[Scraper, Seen] = {}
        self._new: dict[Scraper, Seen] = {}
        self._gone: list[bytes] = []

    @property
    def has_changes(self) -> bool:
        return bool(self._new or self._gone)

    def born(self, series: Any) -> None:
        """A series was published for the first time."""
        self._young[series] = _Young(series.created, self._clock())

    def unseen(self, scraper: Scraper) -> frozenset[Any]:
        """The series that must be 0 for this scraper now."""
        self._forget()
        if not self._young or self._is_one_too_many(scraper):
            return frozenset()
        seen = self._seen.get(scraper)
        if seen is not None:
            return frozenset(series for series in self._young if series.birth > seen.commit)
        now = self._clock()
        return frozenset(
            series for series, young in self._young.items() if -KEPT_SECONDS < now - young.created < BIRTH_SECONDS
        )

    def is_to_be_noted(self, scraper: Scraper) -> bool:
        """Whether it is unknown so far, or was noted long ago."""
        seen = self._new.get(scraper) or self._seen.get(scraper)
        if seen is None:
            return not self._is_one_too_many(scraper)
        return not 0 <= self._clock() - seen.at < NOTED_SECONDS

    def _is_one_too_many(self, scraper: Scraper) -> bool:
        return scraper not in self._seen and len(self._seen) + len(self._new) >= MAX_SCRAPERS

    def saw(self, scraper: Scraper, commit: int) -> None:
        """A scraper has got an answer with zeros for all that was unseen, as of `commit`."""
        self._new[scraper] = Seen(commit, self._clock())

    def take(self) -> tuple[dict[Scraper, Seen], list[tuple[bytes, bytes | None]]]:
        """What scrapers have seen since the last time, to be committed and then given to `committed`; and its rows."""
        self._forget()
        new, self._new = self._new, {}
        gone, self._gone = self._gone, []
        rows: list[tuple[bytes, bytes | None]] = [(key, None) for key in gone]
        rows += [(scraper.key, msgspec.json.encode(seen)) for scraper, seen in new.items()]
        return new, rows

    def put_back(self, seen: dict[Scraper, Seen]) -> None:
        """Undoes a take that could not be committed."""
        self._new = seen | self._new

    def committed(self, seen: dict[Scraper, Seen]) -> None:
        self._seen.update(seen)

    def restore(self, parts: list[Any], value: bytes) -> int:
        """Takes a row back whose key has these parts; the commit that it names. Raises ValueError or TypeError.

        (Nobody could scrape while the daemon was down, so that time does not count.)
        """
        _, kind, *who = parts
        commit, _ = msgspec.json.decode(value)
        if kind != _ROW:
            raise ValueError("no row of a scraper")
        self._seen[Scraper(*map(str, who))] = Seen(int(commit), self._clock())
        return int(commit)

    def restored(self, series: Iterable[Any]) -> None:
        """Takes back those series that somebody may still have to see as 0. All rows of scrapers are there by now."""
        now = self._clock()
        first = min((seen.commit for seen in self._seen.values()), default=0)
        for one in series:
            if -KEPT_SECONDS < now - one.created < BIRTH_SECONDS or (self._seen and one.birth > first):
                self.born(one)

    def _forget(self) -> None:
        now = self._clock()
        for series in [
            one for one, young in self._young.items() if not -KEPT_SECONDS < now - young.since < KEPT_SECONDS
        ]:
            del self._young[series]
        for scraper in [one for one, seen in self._seen.items() if not -KEPT_SECONDS < now - seen.at < KEPT_SECONDS]:
            del self._seen[scraper]
            self._gone.append(scraper.key)
