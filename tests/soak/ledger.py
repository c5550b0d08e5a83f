"""The ledger of a round: what was written, what is there, what was counted. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Ledger:
    """All numbers are of lines, but `lost_bytes`. `counted` is by source, as the series say after the end."""

    written: Mapping[str, int]
    counted: Mapping[str, int]
    documents: int
    missing: int
    """Lines whose id the output does not have, as the audit says."""
    dead_letters: int = 0
    lost_bytes: int = 0
    """What the last process said; nothing was taken away, so it must be 0."""
    went_back: int = 0
    """Scrapes that showed less than one before."""
    notes: Mapping[str, int] = field(default_factory=dict)
    """What happened, and how often."""

    @property
    def faults(self) -> list[str]:
        """What is not as it must be, for people; none if the ledger is clean."""
        total = sum(self.written.values())
        found = [
            f"{source}: {self.written[source]:,} written, {self.counted.get(source, 0):,} counted"
            for source in self.written
            if self.written[source] != self.counted.get(source, 0)
        ]
        there = self.documents + self.dead_letters
        if there != total:
            found.append(f"{total:,} written, {there:,} arrived: {'some twice' if there > total else 'some lost'}")
        for value, what in (
            (self.missing, "lines missing, says the audit"),
            (self.dead_letters, "dead letters of lines that nothing is wrong with"),
            (self.lost_bytes, "bytes said to be lost that were not"),
            (self.went_back, "scrapes in which a counter went back"),
        ):
            if value:
                found.append(f"{value:,} {what}")
        return found

    def as_text(self) -> str:
        """The ledger for people."""
        rows = [(f"written by {source}", count) for source, count in self.written.items()]
        rows += [(f"counted of {source}", count) for source, count in self.counted.items()]
        rows += [("lines written", sum(self.written.values())), ("lines counted", sum(self.counted.values()))]
        rows += [("documents", self.documents), ("missing", self.missing), ("dead letters", self.dead_letters)]
        rows += [("bytes lost", self.lost_bytes)]
        happened = ", ".join(f"{what} {times:,}" for what, times in self.notes.items() if times)
        verdict = [f"NOT CLEAN: {fault}" for fault in self.faults] or ["clean: every line once, counted once"]
        return "\n".join([*(f"  {what:<22}{count:>12,}" for what, count in rows), f"  {happened}", *verdict])
