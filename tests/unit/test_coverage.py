"""What a ledger knows of a content that was cut, and of one of which a choice left lines out."""

from __future__ import annotations

import pytest
from local_support import FakeContent, text

from shipper.batch import Batch, Mark
from shipper.local.coverage import REMEMBERED_RANGES, Contents, Coverage, Ranges, Record, holes_of


def test_what_lies_behind_a_cut_is_forgotten_with_its_marks() -> None:
    """A range that the cut goes through keeps its beginning."""
    marks = (Mark(1024, 1), Mark(2048, 2), Mark(5000, 3))
    coverage = Coverage(((0, 1500), (2000, 5000)), marks)

    assert Coverage(((0, 1500), (2000, 2100)), marks[:2]) == coverage.before(2100)
    assert Coverage(((0, 1200),), marks[:1]) == coverage.before(1200)
    assert Coverage() == coverage.before(0)


@pytest.mark.parametrize(
    ("unwanted", "expected"),
    [
        ([], ()),
        ([1], ((14, 20),)),
        ([2, 1], ((14, 30),)),
        ([0], ((10, 14),)),
        ([3], ((30, 40),)),
        ([0, 3], ((10, 14), (30, 40))),
        ([0, 1, 2, 3], ((10, 40),)),
    ],
)
def test_where_lines_were_left_out(unwanted: list[int], expected: Ranges) -> None:
    """A hole goes from a line to the next one that was wanted; blank lines before the first are part of its own."""
    batch = Batch("app", "app.log", "0123456789ab", 10, 40, [b"a", b"b", b"c", b"d"], [12, 14, 20, 30])

    assert expected == holes_of(batch, unwanted)


@pytest.mark.parametrize(
    ("holes", "expected"),
    [
        ((), ((0, 5), (10, 40), (70, 80))),
        (((15, 20),), ((0, 5), (10, 15), (20, 40), (70, 80))),
        (((10, 20), (30, 40)), ((0, 5), (20, 30), (70, 80))),
        (((10, 40),), ((0, 5), (70, 80))),
    ],
)
def test_holes_stay_open(holes: Ranges, expected: Ranges) -> None:
    """What is added has them, and what was there before and behind is as it was."""
    before = Coverage(((0, 5), (70, 80)), ())

    assert expected == before.plus(10, 40, (), holes=holes).ranges


def test_what_is_added_fills_the_holes_that_it_covers() -> None:
    """And those alone, however many there are."""
    ranges = tuple((at, at + 10) for at in range(0, 3000, 30))
    coverage = Coverage(ranges, ())

    assert (*ranges[:11], (330, 700), *ranges[24:]) == coverage.plus(335, 700, ()).ranges
    assert ((0, 3000),) == coverage.plus(0, 3000, ()).ranges


def test_the_farthest_mark_stays_where_the_last_line_was_left_out() -> None:
    """It is behind the last range, and nothing else tells the content from one that differs there."""
    content = FakeContent(text(300))
    coverage = Coverage().plus(0, 1900, content.marks_at(1900), holes=((1300, 1900),))
    later = coverage.plus(1900, 3000, content.marks_at(3000), holes=((2500, 3000),))

    assert [1024, 1900] == [mark.position for mark in coverage.marks]
    assert [1024, 2048, 3000] == [mark.position for mark in later.marks]


def test_contents_with_very_many_ranges_are_not_all_remembered() -> None:
    """Those that were used longest ago are loaded again, once they are committed."""
    many = Coverage(tuple((at, at + 1) for at in range(0, REMEMBERED_RANGES, 2)), (Mark(5, 1),))
    asked = []

    def load(identity: str) -> list[Record]:
        asked.append(identity)
        return [Record(key=len(asked), identity=identity, coverage=many, committed=many)]

    def new(identity: str) -> Record:
        raise AssertionError(identity)

    contents = Contents(load=load, new=new)
    for identity in "abcba":
        contents.covered(FakeContent(text(3), identity))

    assert ["a", "b", "c", "a"] == asked
