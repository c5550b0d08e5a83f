"""The last warnings and errors that the log said, with their times, for the page and `/status.json`."""

from __future__ import annotations

import logging
from collections import deque
from datetime import UTC, datetime

MOST = 20
LONGEST = 1_000


class Recent(logging.Handler):
    """A handler that keeps what is worth a look. Any thread may log, and any ask; logging's own lock guards it."""

    def __init__(self, *, most: int = MOST) -> None:
        super().__init__(logging.WARNING)
        self._kept: deque[dict[str, str]] = deque(maxlen=most)

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps one message. One that cannot be formatted is kept as it was written."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = str(record.msg)
        if record.exc_info and record.exc_info[1] is not None:
            message = f"{message}: {record.exc_info[1]}"
        time = f"{datetime.fromtimestamp(record.created, UTC):%Y-%m-%dT%H:%M:%SZ}"
        self._kept.append({"time": time, "level": record.levelname, "message": message[:LONGEST]})

    def messages(self) -> list[dict[str, str]]:
        """The newest first: `time` (RFC 3339, UTC), `level`, `message`."""
        return list(self._kept)[::-1]
