"""Redacts one text that is no JSON: `name=value` and `name: value`, what the packs look for, and own patterns.

Everything is found by RE2, in time linear to the text, and each match looks only a bounded way around itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import re2

from shipper.redact.actions import MASK, is_placeholder
from shipper.redact.names import MAX_NAME_BYTES, Name, Speaks
from shipper.redact.patterns import ESCAPED, Check, Pattern

Redaction = tuple[str, str]
"""Rule, and where: the field's path, '' in a line that is no JSON."""

MOST_OWN_MATCHES: Final = 1_000
"""A text in which an own pattern matches oftener is masked whole: finding all would not be linear for any pattern."""

BETWEEN: Final = r"(?:[ \t\"'\x60\]\\]|\\[tnr]|\\u00(?:2[27]|60|5d)|%(?:25)*(?:22|5d|20))*"
"""What may stand between a name and its `=` or `:`, also where JSON is within a string and not decoded."""
ASSIGNED: Final = r"(?:[:=]{1,2}|%(?:25)*3[ad])>?"

_NAME_BYTES: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-$@["
_SPACES: Final = re.compile(rb"(?:[ \t]|\\[tnr])*+")
_OPENING: Final = re.compile(rb"(\\*)([\"'`])")
_QUOTES: Final = {quote: re.compile(rb"\\++%b?|%b" % (quote, quote)) for quote in (b'"', b"'", b"`")}
_BRACKETS: Final = re.compile(rb"[\[\]{}]")
_PIECE: Final = rb"(?:[^\s\"'`<>&|,;)}\]\\]|\\(?![\"']))"
_NEXT_NAME: Final = rb"(?!\s*\\*[\"']?[\w.\-\[\]]{1,60}\\*[\"']?\s*[:=])"
_BARE: Final = re.compile(
    rb"<[^<>\s]{0,100}>|(?:%(piece)b)++(?:[|,;)}\]]++%(next)b(?:%(piece)b)++)*+"
    % {b"piece": _PIECE, b"next": _NEXT_NAME}
)
_SCHEME: Final = re.compile(
    rb"(?:bearer|basic|digest|token|apikey|negotiate|ntlm|aws4-[\w-]+)[ \t]+(?=[^\s\"'])", re.IGNORECASE
)
_PARAMETERS: Final = re.compile(rb"(?:[ ]*,?[ ]*[\w-]{1,40}=(?:\"[^\"]*+\"|[^\s,\"]++))*+")
_COOKIES: Final = re.compile(
    rb"[^\s;,\"']++(?:,?[ ]\d\d[ -]\w{3}[ -]\d{4}[ ][\d:]{8}[ ]GMT|;[ ]*+[^\s;,\"'=]++(?:=[^\s;,\"']*+)?"
    rb"|,[ ]*+[^\s;,\"'=]++=[^\s;,\"']*+)*+"
)
_COUNT: Final = re.compile(rb"[+-]?[\d.,]{1,9}")
_LIKE_A_SECRET: Final = re.compile(rb"(?=.*\d)(?=.*[A-Za-z]).{5,}|.{16,}")
_TALK: Final = frozenset(
    b"must is was were are be has have had required missing invalid incorrect wrong expired unknown not cannot should"
    b" and or reset changed updated rejected accepted verified validation failed failure error too does do no yes ok"
    b" optional empty unexpected".split()
)

_OPTIONS: Final = {"encoding": re2.Options.Encoding.LATIN1, "case_sensitive": False, "log_errors": False}


def compiled(expression: str) -> Any:
    """RE2 over bytes, without regard to case."""
    return re2.compile(expression.encode("latin-1"), _options())


def compiled_own(expression: str) -> Any:
    """RE2 over UTF-8, as it is written. Raises ValueError with the reason for what it cannot take."""
    options = re2.Options()
    options.log_errors = False
    try:
        found = re2.compile(expression.encode(), options)
    except re2.error as error:
        reason = error.args[0] if error.args else "not a regular expression"
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"{text} (RE2 syntax)") from None
    if found.search(b"") is not None:
        raise ValueError("the expression matches the empty text")
    return found


def one_pass(expressions: Sequence[str]) -> Callable[[bytes], Sequence[int]]:
    """Which of the expressions match somewhere in a text, in one pass."""
    patterns = re2.Set.SearchSet(_options())
    for expression in expressions:
        patterns.Add(expression.encode("latin-1"))
    patterns.Compile()
    match = patterns.Match
    return lambda text: match(text) or ()


def _options() -> Any:
    options = re2.Options()
    for name, value in _OPTIONS.items():
        setattr(options, name, value)
    return options


class Own(NamedTuple):
    """A pattern of the configuration."""

    rule: str
    expression: Any


class TextRules:
    """Redacts texts by names, patterns and own patterns. Built once; knows nothing of JSON."""

    def __init__(
        self,
        *,
        name_ends: str,
        find_name: Callable[[bytes], Name | None],
        patterns: Sequence[Pattern],
        own: Sequence[Own],
        json_names: str,
    ) -> None:
        """`json_names`: an expression for names that mean something as JSON keys only; a text that has one is told by
        `hits` not to be empty of work, so that JSON within it is looked at.
        """
        self._find_name = find_name
        self._own = own
        jobs: list[tuple[str, Callable[[bytes, list[Redaction], str], bytes]]] = []
        ordered = sorted(patterns, key=lambda pattern: not pattern.comes_first)
        jobs += [(pattern.find, _PatternJob(pattern)) for pattern in ordered if pattern.comes_first]
        if name_ends:
            jobs.append((f"(?:{name_ends}){BETWEEN}{ASSIGNED}", self._pairs))
            jobs.append((f"--[a-z-]{{0,40}}(?:{name_ends})[ ]", self._flags))
        jobs += [(pattern.find, _PatternJob(pattern)) for pattern in ordered if not pattern.comes_first]
        self._jobs = [job for _, job in jobs]
        self._pair = compiled(f"(?:{name_ends})({BETWEEN})({ASSIGNED})") if name_ends else None
        self._flag = compiled(f"--([a-z-]{{0,40}}(?:{name_ends}))[ ]+") if name_ends else None
        expressions = [expression for expression, _ in jobs]
        self._escaped_at = len(expressions)
        expressions.append(ESCAPED)
        if json_names:
            expressions.append(json_names)
        self._hits = one_pass(expressions)
        is_pair = [job == self._pairs for job in self._jobs]
        self._of_keys = {i for i, is_one in enumerate(is_pair) if is_one} | {self._escaped_at + 1}
        inside = BETWEEN.replace('\\"', "")  # between the quotes of a text there is none, if nothing is escaped
        self._pair_inside = compiled(f"(?:{name_ends}){inside}{ASSIGNED}") if name_ends else None

    def hits(self, text: bytes) -> Sequence[int]:
        """What there is to do about a text; empty for most texts."""
        found = self._hits(text)
        if self._own and any(own.expression.search(text) for own in self._own):
            return [*found, -1]
        return found

    def are_of_keys(self, line: bytes, hits: Sequence[int]) -> bool:
        """Whether `hits` in a line of JSON without escapes come from its keys alone, so that no text needs a look."""
        if self._own or not self._of_keys.issuperset(hits):
            return False
        return self._pair_inside is None or self._pair_inside.search(line) is None

    def redact(self, text: bytes, hits: Sequence[int], found: list[Redaction], where: str) -> bytes:
        """`text` redacted; what was done is added to `found`."""
        if self._escaped_at in hits:
            plain = _unescaped(text)
            if plain != text:
                noted = len(found)
                redacted = self.redact(plain, self.hits(plain), found, where)
                if len(found) > noted:
                    return redacted
        for hit in sorted(hits):
            if 0 <= hit < self._escaped_at:
                text = self._jobs[hit](text, found, where)
        for own in self._own:
            text = _redact_own(own, text, found, where)
        return text

    def _pairs(self, text: bytes, found: list[Redaction], where: str) -> bytes:
        edits: list[tuple[int, int]] = []
        done = 0
        for match in self._pair.finditer(text):  # type: ignore[union-attr] # there is a job only where there are names
            start = match.start()
            if start < done:
                continue
            begin = _name_begin(text, start)
            name = self._find_name(text[begin : match.start(1)])
            span = None if name is None else _value_span(text, match.end(), name, text[start : match.end()])
            if name is not None and span is not None:
                found.append((name.rule, where))
                edits.append(span)
                done = span[1]
        return _masked(text, edits)

    def _flags(self, text: bytes, found: list[Redaction], where: str) -> bytes:
        """`--password hunter2`, as on a command line."""
        edits: list[tuple[int, int]] = []
        for match in self._flag.finditer(text):  # type: ignore[union-attr] # as above
            name = self._find_name(match.group(1))
            if name is None or text.startswith(b"-", match.end()):
                continue
            span = _value_span(text, match.end(), name, b"=")
            if span is not None:
                found.append((name.rule, where))
                edits.append(span)
        return _masked(text, edits)


class _PatternJob:
    """Replaces what one pattern finds."""

    def __init__(self, pattern: Pattern) -> None:
        self._pattern = pattern
        self._expression = compiled(pattern.find)
        self._group: int = self._expression.groups

    def __call__(self, text: bytes, found: list[Redaction], where: str) -> bytes:
        pieces = []
        done = 0
        for match in self._expression.finditer(text):
            span = _checked(self._pattern.check, text, *match.span(self._group))
            if span is None or span[0] < done:
                continue
            value = text[slice(*span)]
            replaced = value if is_placeholder(value) else self._pattern.replace(value)
            if replaced != value:
                found.append((self._pattern.rule, where))
                pieces += [text[done : span[0]], replaced]
                done = span[1]
        return b"".join([*pieces, text[done:]]) if pieces else text


def _checked(check: Check | None, text: bytes, start: int, end: int) -> tuple[int, int] | None:
    return (start, end) if check is None else check(text, start, end)


def _redact_own(own: Own, text: bytes, found: list[Redaction], where: str) -> bytes:
    edits: list[tuple[int, int]] = []
    for match in own.expression.finditer(text):
        start, end = match.span()
        if start == end or text[start:end] == MASK:
            continue
        found.append((own.rule, where))
        edits.append((start, end))
        if len(edits) > MOST_OWN_MATCHES:
            return MASK
    return _masked(text, edits)


def _masked(text: bytes, edits: Sequence[tuple[int, int]]) -> bytes:
    if not edits:
        return text
    pieces = []
    done = 0
    for start, end in edits:
        pieces += [text[done:start], MASK]
        done = end
    pieces.append(text[done:])
    return b"".join(pieces)


_ANY_ESCAPED: Final = re.compile(rb"\\++u00([2-7][0-9a-fA-F])")


def _unescaped(text: bytes) -> bytes:
    """Text in which escaped ASCII stands as it is, but for quotes and backslashes, which would end what they are in."""

    def plain(match: re.Match[bytes]) -> bytes:
        character = bytes.fromhex(match[1].decode())
        return match[0] if character in b"\"\\'" else character

    return _ANY_ESCAPED.sub(plain, text)


def _name_begin(text: bytes, start: int) -> int:
    """Where the name begins whose end begins at `start`."""
    low = max(0, start - MAX_NAME_BYTES)
    return low + len(text[low:start].rstrip(_NAME_BYTES))


# Values -------------------------------------------------------------------------------------------------------------


def _value_span(text: bytes, position: int, name: Name, assigned: bytes) -> tuple[int, int] | None:
    """What of `text` is the value that is assigned before `position`; None if it is no secret.

    `assigned` is the name's end and what stands behind it.
    """
    spaces = _SPACES.match(text, position)
    start = spaces.end() if spaces else position
    span, is_quoted = _span(text, start, assigned)
    value = text[slice(*span)]
    if is_placeholder(value) or (not name.is_number_secret and _COUNT.fullmatch(value)):
        return None
    is_prose = not is_quoted and assigned.endswith(b":") and start > position
    if is_prose and value.rstrip(b".!?").lower() in _TALK:
        return None
    if is_prose and name.speaks is Speaks.OF_EVENTS and not _LIKE_A_SECRET.fullmatch(value):
        return None
    return span


def _span(text: bytes, start: int, assigned: bytes) -> tuple[tuple[int, int], bool]:
    """Where a value begins and ends, without its quotes, and whether it had any."""
    opening = _OPENING.match(text, start)
    if opening:
        return (opening.end(), _closing(text, opening)), True
    if text[start : start + 1] in (b"{", b"["):
        return (start, _balanced(text, start)), True
    lowered = assigned.lower()
    if b"cookie" in lowered:
        cookies = _COOKIES.match(text, start)
        return (start, cookies.end() if cookies else start), False
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
    """The end of what a bracket at `start` opens; the text's end if it is never closed."""
    depth = 0
    for bracket in _BRACKETS.finditer(text, start):
        depth += 1 if bracket[0] in (b"{", b"[") else -1
        if depth == 0:
            return bracket.end()
    return len(text)
