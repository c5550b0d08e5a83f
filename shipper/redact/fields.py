"""Redacts JSON: walks over its tokens and replaces values where they stand, so that all else stays as it was written.

`keys` judges the keys, texts are handed on. Members of the same name are judged one by one. Linear in the text, and
recursive only where JSON stands in a string.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from shipper.redact.actions import acted, decoded, encoded, is_count, is_opaque
from shipper.redact.apart import Part, is_named_by, may_be_listed
from shipper.redact.keys import Key, KeyRule, Keys
from shipper.redact.text import Redaction
from shipper.settings import RedactAction

SHOWN_PATH: Final = 8
SHORTEST_SECRET_NUMBER: Final = 12
ALLOW_ONLY: Final = "allow_only"
NOT_ALLOWED: Final = KeyRule(ALLOW_ONLY, RedactAction.MASK, covers_booleans=True)
_PARTS: Final = {
    b"string": rb"\"([^\"\\]*+(?:\\.[^\"\\]*+)*+)\"",
    b"atom": rb"([^\s\"{}\[\],:]++)",
    b"space": rb"[ \t\r\n]*+",
}
_TOKENS: Final = re.compile(
    rb"%(space)b(?:%(string)b(?:%(space)b(:)(?:%(space)b(?:%(string)b|%(atom)b))?+)?+|([{\[])|([}\]])|%(atom)b)"
    rb"(?:%(space)b,)?+" % _PARTS,
    re.DOTALL,
)
"""A member with a value that is no container, the key of another one, a bracket, or an element; and the comma behind.

Groups: key or element, colon, string, atom, opening, closing, element that is an atom.
"""
_LONE_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
_LITERALS: Final = frozenset({b"true", b"false"})
MOST_HOLDERS: Final = 8
"""Enclosing objects that are remembered for one value, innermost first: the name of each may still come."""
_COMMA: Final = re.compile(rb"[ \t\r\n]*+,")
_OPENS: Final = re.compile(rb"[ \t\r\n]*+[{\[]")
_raw = msgspec.json.Decoder(msgspec.Raw)


def is_json(text: bytes) -> bool:
    """Whether `text` is one object or array."""
    try:
        _raw.decode(text)
    except (msgspec.MsgspecError, RecursionError):
        return _LONE_SURROGATE.search(text) is not None and _is_lenient_json(text)
    return text.lstrip()[:1] in (b"{", b"[")


def _is_lenient_json(text: bytes) -> bool:
    """Half characters in escapes are refused by the fast reader only."""
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


class JsonRules(NamedTuple):
    """What a walk over JSON needs."""

    keys: Keys
    hits: Callable[[bytes], Sequence[int]]
    """What there is to do about a decoded text; empty for most."""
    redact_text: Callable[[bytes, Sequence[int], list[Redaction], str], bytes]
    rule_of_number: Callable[[bytes], str | None]
    """The rule that a number's digits fall under."""
    allowed: Mapping[bytes, bool]
    """Dotted names in lower case that pass (True), or of which a part does (False); empty: all pass."""
    hash_key: bytes


@dataclass(slots=True)
class _Open:
    """An object or array whose end has not come yet."""

    key: Key | None
    """The key that it is the value of."""
    rule: KeyRule | None
    """What applies to all that is in it, but for what has a rule by its own name."""
    passes: bool
    """Whether all that is in it is allowed."""
    outer: _Open | None
    is_headers: bool = False
    """Whether it is a list in which names and values take turns, as in raw HTTP headers."""
    named: KeyRule | None = None
    """What a name within it says of the value beside that name, or of the next element."""
    name: bytes = b""
    """That name, of an element."""
    held: list[_Held] = field(default_factory=list)
    """Values in it that are to be redacted if the name beside them, `{"value": …, "name": "password"}`, says so."""
    holder: _Open | None = None
    """The nearest object that holds this as such a value, or holds what this is in."""
    count: int = 0
    """Of its elements, if it is a list, so far."""
    has_kept: bool = False
    """Whether a member was kept, so that a comma stands before the next one."""
    renamed: dict[bytes, int] = field(default_factory=dict)
    """How often each redacted key was written, so that no two are called the same."""


class _Held(NamedTuple):
    """A value whose name may still come, and which of the walk's pieces it is: `[first, last)`."""

    key: Key | None
    first: int
    last: int
    text: bytes
    is_literal: bool


def redact_json(text: bytes, rules: JsonRules, found: list[Redaction], where: str, *, is_document: bool) -> bytes:
    """`text`, which `is_json`, redacted; what was done is added to `found`, `where` is the path that leads to it.

    `is_document`: it is a line, to which `allowed` applies.
    """
    return _Walk(rules, text, found, where, rules.allowed if is_document else {}).run()


class _Walk:
    """One pass over one JSON text."""

    def __init__(
        self, rules: JsonRules, text: bytes, found: list[Redaction], where: str, allowed: Mapping[bytes, bool]
    ) -> None:
        self._rules = rules
        self._text = text
        self._found = found
        self._where = where
        self._allowed = allowed
        self._pieces: list[bytes] = []
        """The redacted text so far."""
        self._done = 0
        """How much of the text the pieces stand for."""
        self._frame = _Open(None, None, not allowed, None)
        self._depth = 0
        self._dropping: tuple[int, int] | None = None
        """Where a member that is being dropped begins, and the depth at which it ends."""
        # Of the value that comes next:
        self._key: Key | None = None
        self._rule: KeyRule | None = None
        self._passes = not allowed
        self._is_easy = not allowed
        """Whether nothing applies to it unless its key says so."""

    def run(self) -> bytes:
        """The text redacted. Long for one function: this loop is what a changed line costs."""
        judged, known, hits = self._rules.keys.key, self._rules.keys.known, self._rules.hits
        for token in _TOKENS.finditer(self._text):
            name, colon, string, atom, opening, closing, element = token.groups()
            if colon is not None:
                key = known.get(name) or judged(name)
                if key.is_plain and self._is_easy:
                    self._key = key
                    self._frame.has_kept = True
                    if string is not None:
                        if b"\\" in string or hits(string):
                            self._on_string(string, token.start(3))
                    elif atom is not None and len(atom) >= SHORTEST_SECRET_NUMBER:
                        self._on_atom(atom, token.start(4))
                else:
                    self._on_member(token, key)
            elif name is not None:
                self._on_element(name, token.start(1))
            elif opening is not None:
                self._on_open()
            elif closing is not None:
                self._on_close(token.end(6))
            else:
                self._frame.count += 1
                self._on_value(element, token.start(7), self._frame.holder, self._on_atom)
        if not self._pieces:
            return self._text
        self._pieces.append(self._text[self._done :])
        return b"".join(self._pieces)

    # Tokens

    def _on_member(self, token: re.Match[bytes], key: Key) -> None:
        if self._dropping is None:
            self._on_key(token, key)
        if token[3] is None and token[4] is None:
            return
        holder = self._frame if key.part is Part.VALUE else self._frame.holder
        if token[3] is not None:
            self._on_value(token[3], token.start(3), holder, self._on_string)
        else:
            self._on_value(token[4], token.start(4), holder, self._on_atom)
        if self._dropping is not None:
            return
        if key.part is Part.NAME and token[3] is not None:
            self._on_name(token[3])
        self._settle()

    def _on_key(self, token: re.Match[bytes], key: Key) -> None:
        frame = self._frame
        self._key = key
        told = frame.named if key.part is Part.VALUE else None
        self._rule = key.named or self._path_rule(key) or frame.rule or told or key.sensed
        self._passes = frame.passes or self._is_allowed(key)
        if self._rule is not None and self._rule.action is RedactAction.DROP:
            return self._drop(token, self._rule.rule)
        if not self._passes and not self._is_partly_allowed(key, token.end(2)):
            return self._drop(token, ALLOW_ONLY)
        frame.has_kept = True
        if key.redactions:
            self._rename(token, key, frame)
        return None

    def _on_string(self, raw: bytes, start: int) -> None:
        if self._dropping is not None:
            return self._end_drop(start + len(raw) + 1)
        rule = self._rule if self._passes else NOT_ALLOWED
        text = decoded(raw)
        if rule is not None and not (rule.only_opaque and not is_opaque(text)):
            redacted = self._acted(rule, text)
        elif hits := self._rules.hits(text):
            redacted = self._rules.redact_text(text, hits, self._found, self._path())
        else:
            return None
        if redacted != text:
            self._replace(start, start + len(raw), encoded(redacted))
        return None

    def _on_atom(self, atom: bytes, start: int) -> None:
        if self._dropping is not None:
            return self._end_drop(start + len(atom))
        rule = self._rule if self._passes else NOT_ALLOWED
        if rule is None:
            name = self._rules.rule_of_number(atom)
            if name is None:
                return None
            rule = KeyRule(name, RedactAction.MASK)
        is_covered = rule.covers_booleans if atom in _LITERALS else atom != b"null"
        redacted = self._acted(rule, atom, is_literal=True) if is_covered else atom
        if redacted != atom:
            self._replace(start, start + len(atom), b'"%b"' % redacted)
        return None

    def _on_open(self) -> None:
        outer, key, rule = self._frame, self._key, self._rule
        if key is None:  # an element
            rule, outer.named = rule or outer.named, None
            outer.count += 1
        if rule is not None and rule.only_single:
            rule = None
        is_headers = outer.is_headers if key is None else key.part is Part.HEADERS
        holder = outer if key is not None and key.part is Part.VALUE else outer.holder
        self._enter(_Open(key, rule, self._passes, outer, is_headers, holder=holder if rule is None else None))
        self._key = None

    def _on_close(self, end: int) -> None:
        self._depth -= 1
        self._key = None
        self._frame = self._frame.outer or self._frame
        if self._dropping is not None:
            self._end_drop(end)
        else:
            self._settle()

    def _enter(self, frame: _Open) -> None:
        self._frame = frame
        self._depth += 1
        self._settle()

    def _settle(self) -> None:
        """Makes what the container says apply to what comes next in it."""
        frame = self._frame
        self._rule, self._passes = frame.rule, frame.passes
        self._is_easy = frame.rule is None and frame.passes and self._dropping is None and frame.holder is None

    # Names that are values

    def _on_element(self, raw: bytes, start: int) -> None:
        """An element of a list, which may be named by the one before, or name the next one."""
        frame = self._frame
        text = decoded(raw)
        named, frame.named = frame.named, None
        frame.count += 1
        is_value = frame.count % 2 == 0 if frame.is_headers else named is not None and is_named_by(frame.name, text)
        if is_value:
            self._rule = self._rule or named
        elif may_be_listed(text, is_header=frame.is_headers):
            frame.named, frame.name = self._told_by(raw), text
        self._on_value(raw, start, frame.holder, self._on_string)
        self._rule = frame.rule

    def _on_name(self, raw: bytes) -> None:
        frame = self._frame
        rule = frame.named = self._told_by(raw) or frame.named
        if rule is None:
            return
        for held in frame.held:
            self._key = held.key
            redacted = self._acted(rule, held.text, is_literal=held.is_literal)
            if redacted != held.text:
                mask = b'"%b"' % redacted if held.is_literal else encoded(redacted)
                self._pieces[held.first : held.last] = [mask, *[b""] * (held.last - held.first - 1)]
        frame.held.clear()

    def _told_by(self, name: bytes) -> KeyRule | None:
        """What a pack says of a value by this name; a field that the configuration names is left to that name."""
        key = self._rules.keys.key(name)
        return None if key.named is not None else key.sensed

    def _cut(self, position: int) -> int:
        """Ends a piece at `position`; returns the number of the next one."""
        self._pieces.append(self._text[self._done : position])
        self._done = position
        return len(self._pieces)

    def _on_value(self, raw: bytes, start: int, holder: _Open | None, done: Callable[[bytes, int], None]) -> None:
        """Does what is to be done about a value, and keeps it in mind if a name that comes later may be its name."""
        is_settled = self._rule is not None and not self._rule.only_opaque
        if holder is None or is_settled or not self._passes or self._dropping is not None:
            done(raw, start)
            return
        first = self._cut(start)
        done(raw, start)
        last = self._cut(start + len(raw))
        is_literal = self._text[start - 1 : start] != b'"'
        held = _Held(self._key, first, last, raw if is_literal else decoded(raw), is_literal)
        one: _Open | None = holder
        for _ in range(MOST_HOLDERS):  # each of those that enclose it may name it
            if one is None:
                break
            one.held.append(held)
            one = one.holder

    # Dropping

    def _drop(self, token: re.Match[bytes], rule: str) -> None:
        self._found.append((rule, self._path()))
        self._dropping = (token.start(1) - 1, self._depth)
        self._is_easy = False

    def _end_drop(self, end: int) -> None:
        """Removes the member if it ends here, and the comma before it (behind it, where it is the first)."""
        if self._dropping is None or self._depth > self._dropping[1]:
            return
        start = self._dropping[0]
        if self._frame.has_kept:
            start = self._text.rindex(b",", 0, start)
        elif comma := _COMMA.match(self._text, end):
            end = comma.end()
        self._replace(start, end, b"")
        self._dropping = None
        self._settle()

    # What applies

    def _path_rule(self, key: Key) -> KeyRule | None:
        """The rule of a dotted name that ends in `key` and whose other parts enclose it."""
        if not key.paths:
            return None
        parents = self._parents()
        return next((path.rule for path in key.paths if tuple(parents[-len(path.parents) :]) == path.parents), None)

    def _is_allowed(self, key: Key) -> bool:
        return self._allowed.get(b".".join([*self._parents(), key.lowered])) is True

    def _is_partly_allowed(self, key: Key, end: int) -> bool:
        """Whether something within the value is allowed; a value that has no members is not looked into."""
        is_part = self._allowed.get(b".".join([*self._parents(), key.lowered])) is False
        return is_part and _OPENS.match(self._text, end) is not None

    def _parents(self) -> list[bytes]:
        return [key.lowered for key in self._keys()]

    def _keys(self) -> list[Key]:
        """The keys that enclose us, the nearest last."""
        keys = []
        frame: _Open | None = self._frame
        while frame is not None:
            if frame.key is not None:
                keys.append(frame.key)
            frame = frame.outer
        return keys[::-1]

    # Doing

    def _acted(self, rule: KeyRule, text: bytes, *, is_literal: bool = False) -> bytes:
        if rule.action is RedactAction.KEEP or (rule.count_digits and is_count(text, rule.count_digits)):
            return text
        if rule.only_opaque and not is_opaque(text):
            return text
        redacted = acted(rule.action, text, key=self._rules.hash_key, is_literal=is_literal)
        if redacted != text:
            self._found.append((rule.rule, self._path()))
        return redacted

    def _rename(self, token: re.Match[bytes], key: Key, frame: _Open) -> None:
        """Writes a key that was a secret itself; no second one of the same name."""
        self._found += [(rule, self._path()) for rule, _ in key.redactions]
        number = frame.renamed[key.shown] = frame.renamed.get(key.shown, 0) + 1
        name = key.shown if number == 1 else b"%b%d" % (key.shown, number)
        self._replace(token.start(1), token.end(1), encoded(name))

    def _replace(self, start: int, end: int, new: bytes) -> None:
        self._pieces += [self._text[self._done : start], new]
        self._done = end

    def _path(self) -> str:
        """Where we are, for people."""
        keys = self._keys() + ([self._key] if self._key is not None else [])
        path = b".".join(key.shown for key in keys[-SHOWN_PATH:]).decode("utf-8", "replace")
        return f"{self._where}.{path}" if self._where and path else self._where or path
