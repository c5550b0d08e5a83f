"""Tables for the terminal and for docs/performance.md, where they stand between two marks."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path

DOCUMENT = Path(__file__).parents[2] / "docs" / "performance.md"

Rows = Sequence[Sequence[str]]


def as_text(head: Sequence[str], rows: Rows) -> str:
    """Columns of equal width, the first to the left."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (head, *rows)
    )


def as_markdown(head: Sequence[str], rows: Rows) -> str:
    """The same as a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def processor() -> str:
    """Its kind, as the operating system names it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "an unknown processor"


def machine() -> str:
    """What it was measured on, as far as it matters: nothing that names it."""
    return f"{os.cpu_count()} cores, {processor()}, CPython {platform.python_version()}"


def between(text: str, name: str, content: str) -> str:
    """`text` with `content` between the marks of that name. Raises ValueError if they are not there."""
    first, last = f"<!-- {name}: measured -->\n", f"<!-- {name}: end -->"
    before, mark, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not (mark and end):
        raise ValueError(f"{DOCUMENT.name} has no place for {name}: {first.strip()} … {last}")
    return f"{before}{mark}\n{content}\n\n{end}{after}"


def write(name: str, head: Sequence[str], rows: Rows, *, how: str) -> None:
    """Puts a table into the document, with the command that makes it and the machine."""
    content = f"{as_markdown(head, rows)}\n\n`{how}`; {machine()}."
    DOCUMENT.write_text(between(DOCUMENT.read_text(), name, content))
