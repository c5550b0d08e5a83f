"""What is left of a content whose file was cut: the decision."""

from __future__ import annotations

import pytest

from shipper.batch import Mark
from shipper.checks import Kept, kept

POWERS = [Mark(at, at) for at in (1024, 2048, 4096)]
READ = 5000


@pytest.mark.parametrize(
    ("size", "agreeing", "expected"),
    [
        pytest.param(3000, {1024, 2048}, Kept(2048, 3000), id="cut between two marks"),
        pytest.param(4096, {1024, 2048, 4096}, Kept(4096, 4096), id="cut at a mark"),
        pytest.param(1500, {1024}, Kept(1024, 1500), id="only the first mark is left"),
        pytest.param(4500, {1024, 2048}, Kept(2048, 2048), id="cut, and written to past the next mark"),
        pytest.param(9000, {1024, 2048}, Kept(2048, 2048), id="cut, and grown past its old length"),
        pytest.param(9000, {1024, 2048, 4096}, Kept(4096, 4096), id="cut behind the last mark, and grown"),
        pytest.param(9000, {1024, 4096}, Kept(1024, 1024), id="equal again by chance"),
        pytest.param(3000, set(), None, id="another content"),
        pytest.param(1023, {1024}, None, id="too short for any mark"),
        pytest.param(0, {1024}, None, id="emptied"),
    ],
)
def test_what_is_left(size: int, agreeing: set[int], expected: Kept | None) -> None:
    """Surely what stands before the highest mark that agrees; likely all of it, if no mark within disagrees."""
    assert expected == kept(POWERS, size, lambda mark: mark.position in agreeing, read=READ)


LINE_ENDS = [Mark(at, at) for at in (200, 500, 900)]


@pytest.mark.parametrize(
    ("size", "agreeing", "expected"),
    [
        pytest.param(550, {200, 500}, Kept(500, 500), id="cut within a line"),
        pytest.param(500, {200, 500}, Kept(500, 500), id="cut at the end of a line"),
        pytest.param(950, {200, 500}, Kept(500, 500), id="cut, and written to"),
        pytest.param(9000, {200, 500}, Kept(500, 500), id="cut, and grown past its old length"),
        pytest.param(9000, {200, 900}, Kept(200, 200), id="equal again by chance"),
        pytest.param(1500, {200, 500, 900, 1024}, Kept(1024, 1500), id="the first mark is left"),
        pytest.param(199, set(), None, id="only a part of the first line, or another"),
        pytest.param(9000, set(), None, id="another content"),
    ],
)
def test_what_is_left_of_the_first_lines(size: int, agreeing: set[int], expected: Kept | None) -> None:
    """Line by line: what follows the last that agrees was written since."""
    assert expected == kept(POWERS, size, lambda mark: mark.position in agreeing, read=READ, line_ends=LINE_ENDS)
