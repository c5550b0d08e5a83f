"""Tells that none of some names is a key in a batch, by one search through its bytes.

Most of the names that a line is asked for are ours (`log`, `tags`), or are one of several that could be meant (`time`,
`ts`), and stand in no line. Decoding a name as absent takes 27 ns a line, this search 47 for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ahocorasick_rs import BytesAhoCorasick, MatchKind

MIN_SEARCHED: Final = 4
"""The search is not worth its while for fewer names."""
MAX_SEARCHED: Final = 48
"""Of more patterns than about 60 no search compares many bytes at once."""
MAX_SEARCHED_BYTES: Final = 256 << 10
"""More is one long line. Each find is an object: all those in it could take twenty times its memory."""
_ESCAPED: Final = b"\\u00"
"""Begins each other way in which JSON can write a character of such a name."""
_NEVER: Final = (b"\xff\xfe\xfd", b"\xfb\xfc\xf9", b"\xf5\xf6\xf7", b"\xc0\xc1\xf8", b"\xfa\xff\xf8")
"""Patterns that no text has. They only keep the search from looking for the one byte with which all others begin, the
quotation mark, of which every line has dozens (430 ns)."""
_LONGEST_PAUSE: Final = 64


def can_be_searched(name: str) -> bool:
    """Whether the search sees each way to write a key of this name: as it is, or with escapes (`_ESCAPED`)."""
    return name.isascii() and name.isprintable() and not set(name) & set('"\\/')


class Absence:
    """Looks for names as keys. A batch that has only escapes tells nothing: then it pauses, longer each time."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        patterns = [b'"%b"' % name.encode() for name in names]
        self._search = BytesAhoCorasick([*patterns, _ESCAPED, *_NEVER], matchkind=MatchKind.LeftmostFirst)
        self._pause = self._longest = 0

    def found_in(self, data: bytes) -> Sequence[str] | None:
        """None if no line in `data` has one of the names; else those that may be there, or () if each may be."""
        if len(data) > MAX_SEARCHED_BYTES:
            return ()
        if self._pause:
            self._pause -= 1
            return ()
        found = self._search.find_matches_as_indexes(data)
        if not found:
            self._longest = 0
            return None
        numbers = sorted({number for number, _, _ in found})
        names = [self.names[number] for number in numbers if number < len(self.names)]
        if not names:
            self._longest = self._pause = min(_LONGEST_PAUSE, self._longest * 2 + 1)
        return names
