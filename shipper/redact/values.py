"""Where a value ends that a name was given in a text, and whether it is a secret or only talk about one.

`text` finds the names. Linear: each function goes over its value once.
"""

from __future__ import annotations

import re
from typing import Final

from shipper.redact.actions import digits_of, is_count, is_opaque, is_placeholder
from shipper.redact.names import Name, Speaks

COLOUR: Final = r"(?:\x1b|\\{1,16}(?:u00|x)1b)\[[0-9;]{0,16}m"
"""What colours a terminal, as it is or as JSON writes it: loggers for developers put it around names and values."""
LONGEST_COLOUR: Final = 40
ENTITY: Final = r"(?:&|\\u0026)(?:amp;)*(?:quot|apos|#0?3[49]|#x2[27]);"
"""A quote, as it is written in HTML and XML."""
MOST_ASKED_BYTES: Final = 1024
_ENTITY: Final = re.compile(ENTITY.encode(), re.IGNORECASE)
_SPACES: Final = re.compile(
    rb"(?:[ \t]|\\[tnr]|\n[ ]{0,80}(?=string\()|string\(\d{1,9}\)[ ](?=\\*\")|%b)*+" % COLOUR.encode(), re.IGNORECASE
)
_OPENING: Final = re.compile(rb"(?:[a-z_][\w:.]{0,40}\()*+(?:[bru]{1,2}(?=\\*[\"']))?(\\*)([\"'`])", re.IGNORECASE)
"""Of Rust's Some("...") and Python's b'...', too."""
_QUOTES: Final = {quote: re.compile(rb"\\++%b?|%b" % (quote, quote)) for quote in (b'"', b"'", b"`")}
_BRACKETS: Final = re.compile(rb"\\++(?![\"'])|[\[\]{}]|(\\*+)(\"|(?<=[\[{:, ])')")
_PIECE: Final = rb"(?:[^\s\x1b\"'`<>&|,;)}\]\\]|\\(?![\"']))"
_NEXT_NAME: Final = rb"(?!\s*\\*[\"']?[\w.\-\[\]]{1,60}\\*[\"']?\s*[:=])"
_BARE: Final = re.compile(
    rb"<[^<>\s]{0,100}>|(?:%(piece)b)++(?:[&|,;)}\]]++%(next)b(?:%(piece)b)++)*+"
    % {b"piece": _PIECE, b"next": _NEXT_NAME}
)
_MASKED: Final = re.compile(rb"\*\*\*(?=[&|,;)}\]])")
_SCHEME: Final = re.compile(
    rb"(?:bearer|basic|digest|token|api-?key|negotiate|ntlm|oauth|hawk|dpop|ssws|vapid|signature"
    rb"|aws4-[\w-]+)[ \t]+(?=[^\s\"'])",
    re.IGNORECASE,
)
_PARAMETERS: Final = re.compile(rb"(?:[ ]*,?[ ]*[\w-]{1,40}=(?:\"[^\"]*+\"|[^\s,\"]++))*+")
_COOKIES: Final = re.compile(
    rb"[^\s;,\"']++(?:,?[ ]\d\d[ -]\w{3}[ -]\d{4}[ ][\d:]{8}[ ]GMT|;[ ]*+[^\s;,\"'=]++(?:=[^\s;,\"']*+)?"
    rb"|,[ ]*+[^\s;,\"'=]++=[^\s;,\"']*+)*+"
)
_TALK: Final = frozenset(
    b"must is was were are be has have had required missing invalid incorrect wrong expired unknown not cannot should"
    b" and or reset changed updated rejected accepted verified validation failed failure error too does do no yes ok"
    b" optional empty unexpected".split()
)

_EVENTS: Final = frozenset(
    b"started starting opened opening closed closing created creating destroyed ended ending active inactive idle"
    b" timeout established terminated resumed restored saved loaded deleted removed user id new old none ok fail passed"
    b" approved denied granted refused pending scheduled cancelled completed confirmed online offline connected"
    b" disconnected storage store cookie token manager handler".split()
)


def is_secret(name: Name, value: bytes) -> bool:
    """Whether there is a value at all, and it is no count, and no word, where the name may speak of one."""
    if is_placeholder(value) or is_count(value, name.count_digits):
        return False
    if name.only_single and value.startswith((b"{", b"[")):
        return False
    return not name.only_opaque or is_opaque(value)


def value_begin(text: bytes, position: int) -> int:
    """Where what stands behind spaces begins."""
    spaces = _SPACES.match(text, position)
    return spaces.end() if spaces else position


def opens_quote(text: bytes, position: int) -> bool:
    """Whether what stands behind spaces begins with a quote."""
    return _OPENING.match(text, value_begin(text, position)) is not None


def value_span(text: bytes, position: int, name: Name, assigned: bytes) -> tuple[int, int] | None:
    """What of `text` is the value that is assigned before `position`; None if it is no secret.

    `assigned` is the name's end and what stands behind it.
    """
    start = value_begin(text, position)
    if name.only_single and text[start : start + 1] in (b"{", b"["):
        return None  # before its end is looked for, which may be far, and asked for again behind the next name
    if name.only_opaque:  # of what is longer the beginning says as much
        (begin, end), _ = _span(text[start : start + MOST_ASKED_BYTES], 0, assigned)
        if not is_secret(name, text[start + begin : start + end]):
            return None
    span, is_quoted = _span(text, start, assigned)
    value = text[slice(*span)]
    if not is_secret(name, value):
        return None
    is_prose = not is_quoted and assigned.endswith(b":") and start > position
    return None if is_prose and _is_talk(name, value.rstrip(b".!?").lower()) else span


def _is_talk(name: Name, word: bytes) -> bool:
    """Whether a word behind `name: ` tells what happened to a secret, and is none."""
    match name.speaks:
        case Speaks.OF_EVENTS:
            return word in _TALK or word in _EVENTS
        case Speaks.OF_THINGS:
            return not digits_of(word)
        case Speaks.OF_ANYTHING:
            return True
    return word in _TALK


def _span(text: bytes, start: int, assigned: bytes) -> tuple[tuple[int, int], bool]:
    """Where a value begins and ends, without its quotes, and whether it had any."""
    opening = _OPENING.match(text, start)
    if opening:
        return (opening.end(), _closing(text, opening)), True
    if entity := _ENTITY.match(text, start):
        close = text.find(entity[0], entity.end())
        return (entity.end(), close if close >= 0 else len(text)), True
    if text[start : start + 1] in (b"{", b"["):
        return (start, _balanced(text, start)), True
    lowered = assigned.lower()
    if b"cookie" in lowered:
        cookies = _COOKIES.match(text, start)
        return (start, cookies.end() if cookies else start), False
    if mask := _MASKED.match(text, start):  # what comes behind it was no part of the value when that was masked
        return mask.span(), False
    scheme = _SCHEME.match(text, start)
    bare = _BARE.match(text, scheme.end() if scheme else start)
    end = bare.end() if bare else start
    if scheme:
        parameters = _PARAMETERS.match(text, scheme.end())
        end = max(end, parameters.end() if parameters else end)
    if b"%" in assigned:
        escaped = text.find(b"%26", start, end)
        end = escaped if escaped >= 0 else end
    return (start, end), False


def _closing(text: bytes, opening: re.Match[bytes]) -> int:
    """Where the quote is that closes what `opening` has opened, at the same depth of escaping; the end if none does.

    A quote behind `depth` backslashes opened it. Each level of escaping doubles the backslashes before a quote and adds
    one, and those of the value itself come in even numbers of each level.
    """
    depth = len(opening[1])
    for quote in _QUOTES[opening[2]].finditer(text, opening.end()):
        run = len(quote[0]) - 1
        if quote[0].endswith(opening[2]) and run % (2 * (depth + 1)) == depth:
            return quote.end() - 1 - depth
    return len(text)


def _balanced(text: bytes, start: int) -> int:
    """The end of what a bracket at `start` opens, those in quotes aside; the text's end if it is never closed."""
    depth = 0
    position = start
    while mark := _BRACKETS.search(text, position):
        position = mark.end()
        if mark[2] is not None:
            position = _closing(text, mark) + len(mark[0])
        elif mark[0] in (b"{", b"["):
            depth += 1
        elif mark[0] in (b"}", b"]"):
            depth -= 1
            if depth == 0:
                return position
    return len(text)
