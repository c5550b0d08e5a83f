"""One of something is told in the singular."""

from __future__ import annotations

from shipper.replay.ledger import Ledger, as_text, summaries
from shipper.replay.records import FileRecord
from shipper.wording import is_or_are, number_of


def test_numbers_of_things() -> None:
    """None of something are many of it."""
    assert ("1 file", "0 files", "2,000 files") == tuple(number_of(count, "file") for count in (1, 0, 2000))
    assert ("is", "are") == (is_or_are(1), is_or_are(2))


def test_a_replay_of_one() -> None:
    """One shard, and one document that was repaired."""
    file = FileRecord(path="app.log", source="a", identity="i", indices={"logs": {"repaired": 1}})
    ledger = Ledger(job="j", files=[file])
    (summary,) = summaries([ledger])

    assert "1 reduced document is whole again" in as_text(ledger)
    assert "1 shard " in summary.as_text()
