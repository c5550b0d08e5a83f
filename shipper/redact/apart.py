"""Names and values that stand apart: `{"name": "Cookie", "value": "a=b"}`, `rawHeaders` lists, arguments in a list.

What names a secret here is a value itself. `fields` asks about keys and elements of JSON, `text` about texts that are
none. Only the packs' names count; what is a name and what only looks like one is for `names`.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

_NAMING: Final = "name|key|k|header|field|param|parameter|property|path|label|attribute|variable|arg"
_VALUED: Final = "value|val|v|values|rejected_?value|string_?value|content"
_QUOTE: Final = r"[\"'\x60\\]"
_MARK: Final = rf"{_QUOTE}*[ \t]*[:=][ \t]*"
_LISTED_NAMES: Final = r"(?:proxy-)?authori[sz]ation|(?:set-)?cookie2?"
_HEADERS: Final = "(?:headers|trailers)"

_KEYS_OF_NAMES: Final = frozenset(_NAMING.encode().split(b"|"))
_KEYS_OF_VALUES: Final = re.compile(_VALUED.encode())
_KEYS_OF_HEADERS: Final = re.compile(
    rb"(?:(?:raw|http|req|request|res|response|proxy|upstream)[-_. ]*)*(?:head|trail)ers?"
)
_LISTED: Final = re.compile(rf"--?[a-z]|x-[a-z]|(?:{_LISTED_NAMES})\Z".encode(), re.IGNORECASE)
_WORD: Final = re.compile(rb"[A-Za-z]+(?:[-_][A-Za-z]+)*")


class Part(Enum):
    """What a key says of its value."""

    NOTHING = ""
    NAME = "name"
    """It is the name of what stands beside it."""
    VALUE = "value"
    HEADERS = "headers"
    """It may be a list in which names and values take turns."""


def part_of(key: bytes) -> Part:
    """`key` in lower case."""
    if key in _KEYS_OF_NAMES:
        return Part.NAME
    if _KEYS_OF_VALUES.fullmatch(key):
        return Part.VALUE
    return Part.HEADERS if _KEYS_OF_HEADERS.fullmatch(key) else Part.NOTHING


def may_be_listed(element: bytes, *, is_header: bool) -> bool:
    """Whether an element may name the next one: among headers any, elsewhere only an option or a header's name, since
    names of fields stand in lists by themselves.
    """
    return is_header or _LISTED.match(element) is not None


def is_named_by(name: bytes, element: bytes) -> bool:
    """Whether the element behind `name`, which is not among headers, is its value rather than another name."""
    if name.startswith(b"-"):
        return not element.startswith(b"-")
    return _WORD.fullmatch(element) is None


def pair_expressions(ends: str) -> tuple[str, str]:
    """Expressions for a name, then its value, and the other way round; `ends` is how names end.

    The first one's group is the name, behind it the value begins. Those of the second are the value and the name.
    """
    name = rf"([\w.$@\[\] -]{{0,60}}{ends})"
    next_one = rf"{_QUOTE}+[\])]*[\s,;]*{_QUOTE}*"
    return (
        rf"(?:{_NAMING}){_MARK}[\[(]*b?{_QUOTE}+{name}{next_one}(?:{_VALUED}){_MARK}",
        rf"(?:{_VALUED}){_MARK}b?{_QUOTE}+([^\"'\x60\\]+){next_one}(?:{_NAMING}){_MARK}[\[(]*b?{_QUOTE}+{name}{_QUOTE}",
    )


def form_expression(ends: str) -> str:
    """An expression for a field of a form as it is posted with files: its name, and the line that is its value."""
    end = r"(?:[\r\n]|\\{1,16}[rn])"
    return rf"form-data;[ ]name={_QUOTE}+([\w.$@\[\] -]{{0,60}}{ends}){_QUOTE}+{end}{{2,4}}((?:[^\r\n\\]|\\[^rn\\])+)"


def list_expression(ends: str) -> str:
    """An expression for an element that names the next one, the name in a group, up to where the value begins."""
    return rf"{_QUOTE}((?:--?|x-)[\w-]{{0,60}}{ends}|{_LISTED_NAMES}){_QUOTE}+[ \t]*,[ \t]*"


def hint(ends: str) -> str:
    """An expression that matches in JSON as it is written, and in texts, wherever a name may stand apart."""
    quote = rf"(?:{_QUOTE}|u00(?:2[27]|60))"  # as some write it: \u0022
    mark = rf"{quote}*[ \t]*[:=][ \t]*"
    return "|".join(
        (
            rf"(?:{_NAMING}){mark}[\[(]*b?{quote}+[\w.$@\[\] -]*{ends}{quote}",
            rf"{quote}(?:(?:--?|x-)[\w-]*{ends}|{_LISTED_NAMES}){quote}+[ \t]*[,\]]",
            rf"{_HEADERS}{mark}{quote}*\[",
        )
    )
