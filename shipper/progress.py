"""How far long work has come: a bar on a terminal, elsewhere a line every ten seconds. Goes to standard error."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

_BAR = 30
_LINE_SECONDS = 10.0
_BAR_SECONDS = 0.2


class Progress:
    """Says what part of `total` (bytes, or anything that adds up) is done. Work that is soon over says nothing."""

    def __init__(
        self,
        *,
        what: str,
        total: int,
        stream: TextIO,
        is_shown: bool = True,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._what = what
        self._total = total
        self._stream = stream
        self._is_shown = is_shown
        self._has_terminal = stream.isatty()
        self._monotonic = monotonic
        self._every = _BAR_SECONDS if self._has_terminal else _LINE_SECONDS
        self._next = monotonic() + self._every
        self._has_bar = False
        self.done = 0

    def advance(self, count: int, detail: str = "") -> None:
        """Note that so much more is done; `detail` is said behind the share."""
        self.done += count
        if not self._is_due():
            return
        share = min(1.0, self.done / self._total) if self._total else 1.0
        if self._has_terminal:
            bar = "#" * round(share * _BAR)
            self._write(f"{self._what} [{bar:<{_BAR}}] {share:4.0%} {detail}")
        else:
            self._write(f"{self._what}: {share:.0%} {detail}".rstrip())

    def tell(self, detail: Callable[[], str]) -> None:
        """The same of work of which nobody knows how much it is; `detail` is asked for when its time has come."""
        if self._is_due():
            self._write(f"{self._what}: {detail()}")

    def _is_due(self) -> bool:
        now = self._monotonic()
        if not self._is_shown or now < self._next:
            return False
        self._next = now + self._every
        return True

    def _write(self, text: str) -> None:
        self._stream.write(f"\r\x1b[K{text}" if self._has_terminal else f"{text}\n")
        self._has_bar = self._has_terminal
        self._stream.flush()

    def clear(self) -> None:
        """Take the bar away, before something else is printed or at the end."""
        if self._has_bar:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._has_bar = False
