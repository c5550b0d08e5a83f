"""Which tags each line of a batch has, as the bits of a number, and what of it stands in the documents."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

_ENCODE = msgspec.json.encode


class TagMarks:
    """Sets of tags as bits of a number, for whole columns of them."""

    def __init__(self, names: Sequence[str]) -> None:
        self._bits = {name: 1 << number for number, name in enumerate(dict.fromkeys(names))}
        self._texts: dict[int, bytes] = {0: b""}

    def bit(self, name: str) -> int:
        return self._bits[name]

    def names(self, mark: int) -> list[str]:
        """In the order in which they were given."""
        return [name for name, bit in self._bits.items() if mark & bit]

    def texts(self, marks: Sequence[int]) -> list[bytes]:
        """What stands in each document: `,"tags":[…]`, or nothing."""
        try:
            return list(map(self._texts.__getitem__, marks))
        except KeyError:
            for mark in set(marks).difference(self._texts):
                self._texts[mark] = b',"tags":' + _ENCODE(self.names(mark))
            return list(map(self._texts.__getitem__, marks))
