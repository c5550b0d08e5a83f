"""What was written where: every line of a test, in which files it stands, and whether the daemon could see it.

Names only; whoever writes, renames or deletes a file says so here. `test_following` compares it with what came of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Line:
    """One line that was written."""

    number: int
    size: int
    """So many bytes are gone with it."""
    is_seen: bool = False
    """The daemon could see it before it was destroyed."""
    places: set[str] = field(default_factory=set)
    """In which files it stands that a pattern matches."""
    is_counted: bool = True
    """False if it was there at the very first start, or if no metrics are made of it."""


class Written:
    """The lines of each file that a pattern matches, in order, and of those that were moved away."""

    def __init__(self) -> None:
        self.lines: dict[int, Line] = {}
        self.files: dict[str, list[int]] = {}
        self.away: dict[str, list[int]] = {}
        self.are_counted = True

    def add(self, name: str, number: int, size: int) -> None:
        """A new line at the end of a file."""
        self.lines[number] = Line(number, size, places={name}, is_counted=self.are_counted)
        self.files[name].append(number)

    def see(self, name: str, *, but_last: bool = False) -> None:
        """The daemon has looked at a file; `but_last`: at one whose only line has no end."""
        for number in self.files[name]:
            self.lines[number].is_seen |= not but_last

    def copied(self, name: str, new: str) -> None:
        self.files[new] = list(self.files[name])
        for number in self.files[new]:
            self.lines[number].places.add(new)

    def moved(self, name: str, new: str) -> None:
        self.copied(name, new)
        self.deleted(name)

    def tear(self, number: int) -> int:
        """Nothing but the end of a line is gone; what is left of it is text that is read. Returns how much that is."""
        line = self.lines[number]
        left = line.size - 2
        if len(line.places) == 1:
            line.size = 2  # with its newline, which may not have been there
        return left

    def emptied(self, name: str, *, kept: int = 0) -> None:
        """A file was cut to its first lines."""
        for number in self.files[name][kept:]:
            self.lines[number].places.discard(name)
        del self.files[name][kept:]

    def deleted(self, name: str) -> None:
        self.emptied(name)
        del self.files[name]

    def moved_away(self, name: str) -> None:
        """Where no pattern looks."""
        self.away[name] = list(self.files[name])
        self.deleted(name)

    def brought_back(self, name: str) -> None:
        self.files[name] = self.away.pop(name)
        for number in self.files[name]:
            self.lines[number].places.add(name)
