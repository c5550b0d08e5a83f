"""How far long work has come: a bar on a terminal, elsewhere a line every ten seconds. Goes to standard error."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import TextIO

_BAR = 30
_SHORT_BAR = 5
_COLUMNS = 80
_LINE_SECONDS = 10.0
_BAR_SECONDS = 0.2
_BEAT_SECONDS = 1.0


class Progress:
    """Says what part of `total` (bytes, or anything that adds up) is done. Work that is soon over says nothing.

    Safe to use from two threads: that of the work, and one that says how it stands meanwhile (`beating`).
    """

    def __init__(
        self,
        *,
        what: str,
        total: int,
        stream: TextIO,
        is_shown: bool = True,
        monotonic: Callable[[], float] = time.monotonic,
        columns: Callable[[], int] | None = None,
    ) -> None:
        """`columns`: how wide the terminal is, now."""
        self._what = what
        self._total = total
        self._stream = stream
        self._is_shown = is_shown
        self._has_terminal = stream.isatty()
        self._monotonic = monotonic
        self._columns = columns or self._columns_of_stream
        self._every = _BAR_SECONDS if self._has_terminal else _LINE_SECONDS
        self._next = monotonic() + self._every
        self._has_bar = False
        self._lock = threading.Lock()  # guards everything that changes
        self._waits_for = ""
        self.done = 0

    def advance(self, count: int, detail: str = "") -> None:
        """Note that so much more is done; `detail` is said behind the share."""
        with self._lock:
            self.done += count
            self._waits_for = ""
            if self._is_due():
                self._say_share(detail)

    def wait_for(self, what: str) -> None:
        """Note that nothing goes on because of this; it is said as long as nothing does."""
        with self._lock:
            self._waits_for = what

    @contextlib.contextmanager
    def beating(self) -> Iterator[None]:
        """Says how it stands also while nobody calls."""
        is_over = threading.Event()
        thread = threading.Thread(target=self._beat, args=(is_over,), name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

    def _beat(self, is_over: threading.Event) -> None:
        while not is_over.wait(_BEAT_SECONDS):
            with self._lock:
                if not self._is_due():
                    continue
                if self._waits_for:
                    self._write(f"{self._what}: {self._waits_for}")
                else:
                    self._say_share("")

    def _say_share(self, detail: str) -> None:
        share = min(1.0, self.done / self._total) if self._total else 1.0
        if self._has_terminal:
            self._write(f"{self._what} {self._bar(share, detail)}{share:4.0%} {detail}")
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

    def _bar(self, share: float, detail: str) -> str:
        """As long as there is room for it beside the rest; none where that is short."""
        length = min(_BAR, self._columns() - len(f"{self._what} [] 100% {detail}") - 1)
        return f"[{'#' * round(share * length):<{length}}] " if length >= _SHORT_BAR else ""

    def _columns_of_stream(self) -> int:
        try:
            return os.get_terminal_size(self._stream.fileno()).columns or _COLUMNS
        except OSError:
            return _COLUMNS

    def _write(self, text: str) -> None:
        if self._has_terminal:
            text = text[: self._columns() - 1]  # what the terminal breaks could not be taken away
        self._stream.write(f"\r\x1b[K{text}" if self._has_terminal else f"{text}\n")
        self._has_bar = self._has_terminal
        self._stream.flush()

    def clear(self) -> None:
        """Take the bar away, before something else is printed or at the end."""
        if self._has_bar:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._has_bar = False
