"""Text of others (file names, lines, answers of servers) as it may stand in a message or on a terminal.

Whoever can name a file must not be able to write a line into our log, move a terminal's cursor, or turn text around.
"""

from __future__ import annotations

import logging


def printable(text: str) -> str:
    """The text on one line, without anything that a terminal would act on, and encodable."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text)


class EscapingFormatter(logging.Formatter):
    """Messages whose further lines are set in, so that none looks like a message of its own, and hold no controls."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        return "\n  ".join(map(printable, super().format(record).split("\n")))
