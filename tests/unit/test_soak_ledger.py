"""The soak's judgement: what makes a ledger unclean, so that a run that passes says something."""

from __future__ import annotations

from dataclasses import replace

import pytest
from soak.ledger import Ledger

CLEAN = Ledger(written={"a": 100, "b": 10}, counted={"a": 100, "b": 10}, documents=110, missing=0, notes={"kills": 3})


def test_a_clean_one() -> None:
    """Nothing to say but the numbers."""
    assert [] == CLEAN.faults
    assert "clean: every line once, counted once" in CLEAN.as_text()
    assert "kills 3" in CLEAN.as_text()


@pytest.mark.parametrize(
    ("ledger", "expected"),
    [
        (replace(CLEAN, documents=109), ["110 written, 109 arrived: some lost"]),
        (replace(CLEAN, documents=111), ["110 written, 111 arrived: some twice"]),
        (replace(CLEAN, counted={"a": 101, "b": 9}), ["a: 100 written, 101 counted", "b: 10 written, 9 counted"]),
        (replace(CLEAN, counted={"a": 100}), ["b: 10 written, 0 counted"]),
        (replace(CLEAN, missing=1), ["1 lines missing, says the audit"]),
        (replace(CLEAN, documents=109, dead_letters=1), ["1 dead letters of lines that nothing is wrong with"]),
        (replace(CLEAN, lost_bytes=5), ["5 bytes said to be lost that were not"]),
        (replace(CLEAN, went_back=1), ["1 scrapes in which a counter went back"]),
    ],
)
def test_what_is_a_fault(ledger: Ledger, expected: list[str]) -> None:
    """Each is named."""
    assert expected == ledger.faults
    assert "NOT CLEAN" in ledger.as_text()
