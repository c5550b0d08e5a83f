"""Who still has to see a new series as 0: without that, Prometheus never learns of its first increments.

A scraper has seen what was known up to some commit; a series that was born later is 0 for it. That a scraper has had
its zeros counts only once it is committed itself: after a crash it must not get a 0 where it had a value before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

BIRTH_SECONDS: Final = 120.0  # after that a series is served to everybody as it is
KEPT_SECONDS: Final = 600.0
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


class Births:
    """Not thread-safe; the exporter's lock guards it."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._young: dict[Any, float] = {}
        """Series that somebody may still have to see as 0, by when they were created; the oldest first."""
        self._seen: dict[Scraper, Seen] = {}
        self._new: dict[Scraper, Seen] = {}
        self._gone: list[bytes] = []

    @property
    def has_changes(self) -> bool:
        return bool(self._new or self._gone)

    def born(self, series: Any) -> None:
        """A series was published for the first time."""
        self._young[series] = series.created

    def unseen(self, scraper: Scraper) -> frozenset[Any]:
        """The series that must be 0 for this scraper now."""
        self._forget()
        if not self._young or (scraper not in self._seen and len(self._seen) + len(self._new) >= MAX_SCRAPERS):
            return frozenset()
        commit = self._seen[scraper].commit if scraper in self._seen else -1
        return frozenset(series for series in self._young if series.birth > commit)

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
        """Takes a row back whose key has these parts; the commit that it names. Raises ValueError or TypeError."""
        _, kind, *who = parts
        commit, at = msgspec.json.decode(value)
        if kind != _ROW:
            raise ValueError("no row of a scraper")
        self._seen[Scraper(*map(str, who))] = Seen(int(commit), float(at))
        return int(commit)

    def _forget(self) -> None:
        now = self._clock()
        for series in [one for one, created in self._young.items() if not 0 <= now - created < BIRTH_SECONDS]:
            del self._young[series]
        for scraper in [one for one, seen in self._seen.items() if not -KEPT_SECONDS < now - seen.at < KEPT_SECONDS]:
            del self._seen[scraper]
            self._gone.append(scraper.key)
