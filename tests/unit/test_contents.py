"""What a content says of marks: those of an earlier release too, which were made of 256 bytes everywhere."""

from __future__ import annotations

import gzip
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from xxhash import xxh3_64_intdigest

from shipper.batch import Mark
from shipper.contents import renewed
from shipper.identity import mark_of
from shipper.tail import open_log, reader_for

CONTENT = random.Random(5).randbytes(3000)
POSITIONS = (100, 300, 700, 1024, 2048)


def earlier(position: int, data: bytes = CONTENT) -> Mark:
    return Mark(position, xxh3_64_intdigest(data[max(0, position - 256) : position]))


def now(position: int) -> Mark:
    return mark_of(position, CONTENT[:position])


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "compressed"])
@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ([*map(earlier, POSITIONS)], [*map(now, POSITIONS)]),
        ([*map(now, POSITIONS)], [*map(now, POSITIONS)]),
        ([earlier(300), Mark(700, 5)], [now(300), Mark(700, 5)]),
        ([earlier(100), earlier(2048)], [now(100), now(2048)]),
        ([], []),
    ],
    ids=["of an earlier release", "of this one", "one of another content", "none that differs", "none"],
)
def test_marks_are_made_anew(
    tmp_path: Path, pack: Callable[[bytes], bytes], known: list[Mark], expected: list[Mark]
) -> None:
    """Where they fit: what does not is of another content, and stays so."""
    (tmp_path / "a.log").write_bytes(pack(CONTENT))
    descriptor = open_log(str(tmp_path / "a.log"))
    assert expected == renewed(reader_for(descriptor), known)
    os.close(descriptor)
