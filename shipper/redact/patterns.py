"""What a pattern is: an expression that finds something in texts, whatever the field, and a function that checks it.

`credentials`, `personal` and `places` hold the patterns; `text` applies them, `rules` makes the prefilter of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import msgspec

from shipper.redact.actions import MASK, digits_of

Check = Callable[[bytes, int, int], tuple[int, int] | None]
"""What of `text[start:end]` is to be replaced, None if it is not what it looks like."""

ESCAPED: Final = r"\\u00(?:2[0134589acdef]|3[0-9abdf]|4[0-9a-f]|5[0-9a-f]|6[1-9a-f]|7[0-9a-e])"
"""ASCII that a JSON writer escapes although it need not: only to hide it, as far as we care."""

LETTER_IN_URL: Final = r"%(?:4[1-9a-f]|5[0-9a]|6[1-9a-f]|7[0-9a])"
"""A letter that a URL escapes although it need not."""

BREAK: Final = r"(?:\b|\\[bfnrt]|\\u[0-9a-f]{4})"
"""Where a word begins, also behind an escape: `\\n` ends in a letter, but is none."""

START: Final = r"(?:^|[^A-Za-z0-9]|\\[bfnrt]|\\u[0-9a-f]{4})"
"""The same where `_` is no part of a word; takes what stands before."""


class Pattern(msgspec.Struct, frozen=True):
    """One thing to look for. The last group of `find` is what gets replaced, or all of it if it has none.

    Expressions are RE2's, without regard to case but in `(?-i:...)`, over bytes, each bounded in what it looks ahead,
    so that finding all matches is linear too. `find` runs on texts. `hint` runs on whole batches: it must match the
    bytes of a line wherever `find` matches a text in it (what is written as ESCAPED is found by that), and not beyond.
    """

    rule: str
    find: str
    hint: str = ""
    """'' if it is `find`."""
    check: Check | None = None
    replace: Callable[[bytes], bytes] = lambda _: MASK
    in_numbers: bool = False
    """JSON numbers are looked at as well."""
    comes_first: bool = False
    """Before `name: value`, which takes one word only."""


_GOES_ON: Final = re.compile(rb"\w|[-.]\d")
_CAME_ON: Final = re.compile(rb"(?:(?<!\\)\w|\d[-.])\Z")


def is_part(text: bytes, start: int, end: int) -> bool:
    """Whether a number is a piece of a longer one, or of a name: letters or digits go on, on either side."""
    return bool(_GOES_ON.match(text, end) or _CAME_ON.search(text, max(0, start - 2), start))


def has_digit(text: bytes, start: int, end: int) -> tuple[int, int] | None:
    """A check: made by a machine, not a word."""
    return (start, end) if digits_of(text[start:end]) else None
