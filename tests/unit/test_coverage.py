"""What a ledger knows of a content that was cut."""

from __future__ import annotations

from shipper.batch import Mark
from shipper.local.coverage import Coverage


def test_what_lies_behind_a_cut_is_forgotten_with_its_marks() -> None:
    """A range that the cut goes through keeps its beginning."""
    marks = (Mark(1024, 1), Mark(2048, 2), Mark(5000, 3))
    coverage = Coverage(((0, 1500), (2000, 5000)), marks)

    assert Coverage(((0, 1500), (2000, 2100)), marks[:2]) == coverage.before(2100)
    assert Coverage(((0, 1200),), marks[:1]) == coverage.before(1200)
    assert Coverage() == coverage.before(0)
