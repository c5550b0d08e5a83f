"""Redacts one text that is no JSON: `name=value` and `name: value`, what the packs look for, and own patterns.

Everything is found by RE2, in time linear to the text, and each match looks only a bounded way around itself.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from shipper.redact.actions import MASK, is_placeholder
from shipper.redact.apart import form_expression, hint, is_named_by, list_expression, pair_expressions
from shipper.redact.linear import compiled, one_pass
from shipper.redact.names import MAX_NAME_BYTES, Names
from shipper.redact.patterns import ESCAPED, LETTER_IN_URL, Check, Pattern
from shipper.redact.values import COLOUR, ENTITY, LONGEST_COLOUR, is_secret, opens_quote, value_begin, value_span

Redaction = tuple[str, str]
"""Rule, and where: the field's path, '' in a line that is no JSON."""

NOT_A_JOB: Final = -1
"""A hit: an own pattern, or JSON in the text, may have work; they are always looked for."""

MOST_READINGS: Final = 8
"""A text that has escapes after so many readings is masked whole: each reading may make the escapes of the next one."""
ESCAPED_RULE: Final = "credentials.name"

MOST_OWN_MATCHES: Final = 1_000
"""A text in which an own pattern matches oftener is masked whole: finding all would not be linear for any pattern."""

BETWEEN: Final = (
    r"(?:[ \t\"'\x60\])\\]|\\[tnr]|\\u00(?:2[27]|60|5d)|%(?:25)*(?:22|5d|20)"
    rf"|\[\d{{0,3}}\]|%(?:25)*5b\d{{0,3}}%(?:25)*5d|{COLOUR}|{ENTITY})*"
)
"""What may stand between a name and its `=` or `:`, also where JSON is within a string and not decoded."""
_QUOTE: Final = r"\""
_ANY_ESCAPE: Final = rf"\\(?:u[0-9a-f]{{4}}|/)|{LETTER_IN_URL}"
_ESCAPES: Final = re.compile(rb"(?<!\\)(\\++)(?:u([0-9a-fA-F]{4})|/)|(?<!%%[4-7])((?i:%b))" % LETTER_IN_URL.encode())
"""No letter that is a part of another one's escape: what is left when all are read has none."""
_ATTRIBUTES: Final = r"(?:[ ][^<>]{0,200})?"
ASSIGNED: Final = r"(?:(?:[:=]{1,2}|%(?:25)*3[ad])(?:>|\\u003e)?|;s:\d{1,9}:)"
"""The last one is what PHP writes between two texts."""

_COLOURED: Final = re.compile(COLOUR.encode(), re.IGNORECASE)
_NAME_BYTES: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-$@["
_TAG_BEGINS: Final = "(?:<|&lt;)"
_TAG_ENDS: Final = "(?:>|&gt;)"
_ESCAPED_CONTENT: Final = re.compile(rb"((?:[^<&]|&(?!lt;))++)&lt;/", re.IGNORECASE)
_CONTENT: Final = re.compile(rb"(?:<!\[CDATA\[)?([^<\]]++)(?:</|\]\]>)")
_PERCENT_ESCAPED: Final = re.compile(rb"%(?:25)*[0-9a-fA-F]{2}")
_PRIOR: Final = re.compile(rb"(?:prior|pre)[ -]\Z", re.IGNORECASE)  # authorization, as insurers give it
Job = Callable[[bytes, list[Redaction], str], bytes]
"""Redacts one kind of thing in a text; adds to the list what was done."""


class Own(NamedTuple):
    """A pattern of the configuration."""

    rule: str
    expression: Any


class TextRules:
    """Redacts texts by names, patterns and own patterns. Built once; knows nothing of JSON."""

    def __init__(self, *, names: Names, patterns: Sequence[Pattern], own: Sequence[Own], json_names: str) -> None:
        """`json_names`: an expression for names that mean something as JSON keys only; a text that has one is not
        without work, so that JSON within it is looked at. '' if there is none.
        """
        self._find_name = names.find
        self._own = own
        jobs: list[tuple[str, Job]] = [(one.find, _PatternJob(one)) for one in patterns if one.comes_first]
        pair_at = len(jobs)
        self._pair_inside = None
        ends = f"(?:{names.expression})"
        if names.names:
            self._pair = compiled(f"{ends}({BETWEEN})({ASSIGNED})")
            self._flag = compiled(f"--([a-z-]{{0,40}}{ends})[ ]+")
            self._element = compiled(f"{_TAG_BEGINS}([\\w.:-]{{0,60}}{ends}){_ATTRIBUTES}{_TAG_ENDS}")
            # Between the quotes of a text there is no quote, if nothing is escaped.
            self._pair_inside = compiled(f"{ends}{BETWEEN.replace(_QUOTE, '')}{ASSIGNED}")
            jobs += [(f"{ends}{BETWEEN}{ASSIGNED}", self._pairs), (f"--[a-z-]{{0,40}}{ends}[ ]", self._flags)]
            jobs += [(f"{_TAG_BEGINS}[\\w.:-]{{0,60}}{ends}{_ATTRIBUTES}{_TAG_ENDS}", self._elements)]
            self._value_behind, self._value_before = map(compiled, pair_expressions(ends))
            self._listed = compiled(list_expression(ends))
            self._form = compiled(form_expression(ends))
            jobs += [(hint(ends), self._apart)]
        jobs += [(one.find, _PatternJob(one)) for one in patterns if not one.comes_first]
        self._jobs = [job for _, job in jobs]
        self._of_keys = {len(jobs) + 1, *([pair_at] if names.names else [])}
        self._hits = one_pass(
            [*(expression for expression, _ in jobs), _ANY_ESCAPE, *([json_names] if json_names else [])]
        )
        hints = [pattern.hint or pattern.find for pattern in patterns] + ([json_names] if json_names else [])
        if names.names:
            hints += [
                f"{ends}(?:{BETWEEN}{ASSIGNED}|(?:[ ][^<>\\n]*)?(?:>|\\\\u003e|(?:&|\\\\u0026)gt;))",
                f"--[a-z-]{{0,40}}{ends}[ ]",
            ]
            hints += [hint(ends)]
        self.written = compiled("|".join([*hints, ESCAPED, LETTER_IN_URL])) if hints else None
        """Matches in JSON, as it is written, wherever there is something to do about a text or key in it."""

    def hits(self, text: bytes) -> Sequence[int]:
        """What there is to do about a text; empty for most texts."""
        found = self._hits(text)
        if found or b"\\" not in text:
            return found if not self._own else self._with_own(text, found)
        is_written = self._own or (self.written is not None and self.written.search(text) is not None)
        return (NOT_A_JOB,) if is_written else ()

    def _with_own(self, text: bytes, found: Sequence[int]) -> Sequence[int]:
        if any(own.expression.search(text) for own in self._own):
            return (*found, NOT_A_JOB)
        return found

    def are_of_keys(self, line: bytes, hits: Sequence[int]) -> bool:
        """Whether `hits` in a line of JSON without escapes come from its keys alone, so that no text needs a look.

        Only where there are no own patterns.
        """
        if not self._of_keys.issuperset(hits):
            return False
        return self._pair_inside is None or self._pair_inside.search(line) is None

    def redact(self, text: bytes, hits: Sequence[int], found: list[Redaction], where: str, readings: int = 0) -> bytes:
        """`text` redacted; what was done is added to `found`."""
        if len(self._jobs) in hits and (plain := _unescaped(text)) != text:
            if readings >= MOST_READINGS:
                found.append((ESCAPED_RULE, where))
                return MASK
            noted = len(found)
            redacted = self.redact(plain, self._hits(plain), found, where, readings + 1)
            return redacted if len(found) > noted else text
        for hit in sorted(hits):
            if 0 <= hit < len(self._jobs):
                text = self._jobs[hit](text, found, where)
        for own in self._own:
            text = _redact_own(own, text, found, where)
        return text

    def _pairs(self, text: bytes, found: list[Redaction], where: str) -> bytes:
        edits: list[tuple[int, int]] = []
        done = 0
        for match in self._pair.finditer(text):
            start = match.start()
            # A quote that closes a value may be another's that opens: who leaves one open must not hide what follows.
            if start < done and value_begin(text, match.end()) < done:
                continue
            begin = _name_begin(text, start)
            name = (
                None if _PRIOR.search(text, max(0, begin - 8), begin) else self._find_name(text[begin : match.start(1)])
            )
            span = None if name is None else value_span(text, match.end(), name, text[start : match.end()])
            if name is not None and span is not None and span[1] > done:
                found.append((name.rule, where))
                edits.append((max(span[0], done), span[1]))
                done = span[1]
        return _masked(text, edits)

    def _flags(self, text: bytes, found: list[Redaction], where: str) -> bytes:
        """`--password hunter2`, as on a command line."""
        edits: list[tuple[int, int]] = []
        done = 0
        for match in self._flag.finditer(text):
            name = self._find_name(match.group(1)) if match.start() >= done else None
            if name is None or text.startswith(b"-", match.end()):
                continue
            span = value_span(text, match.end(), name, b"=")
            if span is not None:
                found.append((name.rule, where))
                edits.append(span)
                done = span[1]
        return _masked(text, edits)

    def _elements(self, text: bytes, found: list[Redaction], where: str) -> bytes:
        """`<password>hunter2</password>`."""
        edits: list[tuple[int, int]] = []
        for match in self._element.finditer(text):
            name = self._find_name(match.group(1).rpartition(b":")[2])
            content = (_ESCAPED_CONTENT if match[0].startswith(b"&") else _CONTENT).match(text, match.end())
            if name is None or content is None or not is_secret(name, content[1].strip()):
                continue
            found.append((name.rule, where))
            edits.append(content.span(1))
        return _masked(text, edits)

    def _apart(self, text: bytes, found: list[Redaction], where: str) -> bytes:
        """`name: 'Cookie', value: 'a=b'`, and what stands in lists."""
        text = self._assigned_by(self._value_behind, text, found, where)
        text = self._assigned_by(self._listed, text, found, where, is_list=True)
        for expression, named, valued in ((self._value_before, 2, 1), (self._form, 1, 2)):
            edits: list[tuple[int, int]] = []
            for match in expression.finditer(text):
                name = self._find_name(match.group(named))
                if name is not None and is_secret(name, match.group(valued)):
                    found.append((name.rule, where))
                    edits.append(match.span(valued))
            text = _masked(text, edits)
        return text

    def _assigned_by(
        self, expression: Any, text: bytes, found: list[Redaction], where: str, *, is_list: bool = False
    ) -> bytes:
        """Masks what begins behind each match, whose group is a name; of a list no more names."""
        edits: list[tuple[int, int]] = []
        done = 0
        for match in expression.finditer(text):
            name = self._find_name(match.group(1)) if match.start() >= done else None
            if is_list and not opens_quote(text, match.end()):
                continue
            span = None if name is None else value_span(text, match.end(), name, b"=")
            if name is None or span is None:
                continue
            has_quotes = span[0] > match.end()
            if is_list and not (has_quotes and is_named_by(match.group(1), text[slice(*span)])):
                continue
            found.append((name.rule, where))
            edits.append(span)
            done = span[1]
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
            start, end = _whole_characters(text, *match.span(self._group))
            span = _checked(self._pattern.check, text, start, end) if start >= done else None
            if span is None:
                continue
            value = text[slice(*span)]
            replaced = value if is_placeholder(value) else self._pattern.replace(value)
            if replaced != value:
                found.append((self._pattern.rule, where))
                pieces += [text[done : span[0]], replaced]
                done = span[1]
        return b"".join([*pieces, text[done:]]) if pieces else text


def _whole_characters(text: bytes, start: int, end: int) -> tuple[int, int]:
    """The span without half characters: expressions over bytes may end within one."""
    while start and text[start] & 0xC0 == 0x80:
        start -= 1
    while end < len(text) and text[end] & 0xC0 == 0x80:
        end += 1
    return start, end


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


def _unescaped(text: bytes) -> bytes:
    """Text in which escaped characters, and a URL's letters, stand as they are, but for quotes, backslashes and what
    cannot be shown.
    """
    return _ESCAPES.sub(_plain, text)


def _plain(escape: re.Match[bytes]) -> bytes:
    if escape[3] is not None:
        return bytes.fromhex(escape[3][1:].decode())
    number = 0x2F if escape[2] is None else int(escape[2], 16)
    if number == ord('"'):
        return escape[1] + b'"'
    if number < 0x20 or number == ord("\\") or 0xD800 <= number < 0xE000:
        return escape[0]
    return chr(number).encode()


def _name_begin(text: bytes, start: int) -> int:
    """Where the name begins whose end begins at `start`."""
    low = max(0, start - MAX_NAME_BYTES)
    begin = low + len(text[low:start].rstrip(_NAME_BYTES))
    escaped = _PERCENT_ESCAPED.match(text, begin - 1, start) if begin else None  # `?` as %3F, not a part of the name
    begin = escaped.end() if escaped else begin
    colours = _COLOURED.finditer(text, max(0, begin - LONGEST_COLOUR), start)  # `[32mpassword` is no name
    return max([begin, *(colour.end() for colour in colours)])
