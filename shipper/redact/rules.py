"""The configuration's `redact` section compiled: redacts one line, or says of many lines at once which are suspect.

A prefilter of one expression runs over the bytes of a whole batch. It matches wherever a rule could have something to
do, so that the other lines, nearly all, are never looked at one by one. `stage` applies it to batches.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from shipper.redact.actions import MASK, acted
from shipper.redact.credentials import CREDENTIALS
from shipper.redact.fields import ALLOW_ONLY, NOT_ALLOWED, SHORTEST_SECRET_NUMBER, JsonRules, is_json, redact_json
from shipper.redact.keys import KeyRule, Keys, Path
from shipper.redact.linear import compiled_own
from shipper.redact.names import Names
from shipper.redact.patterns import Pattern
from shipper.redact.personal import CONTACT, DATES_OF_BIRTH, NATIONAL_IDS, PAYMENT
from shipper.redact.places import ADDRESSES, query_pattern, segments_pattern
from shipper.redact.text import BETWEEN, Own, Redaction, TextRules
from shipper.settings import Pack, RedactAction, RedactSettings

PATTERNS: Final[dict[Pack, Sequence[Pattern]]] = {
    Pack.PAYMENT: PAYMENT,
    Pack.NATIONAL_IDS: NATIONAL_IDS,
    Pack.DATES_OF_BIRTH: DATES_OF_BIRTH,
    Pack.CREDENTIALS: CREDENTIALS,
    Pack.CONTACT: CONTACT,
}
"""In the order in which they are applied: what has a check digit goes before what has not."""
MOST_NESTING: Final = 5
"""Of JSON in strings in JSON in strings: each level doubles the backslashes."""
MESSAGE: Final = "message"
"""The field that a line which is no JSON object becomes."""
_BOM: Final = b"\xef\xbb\xbf"
_CLEAN_RUN: Final = re.compile(r"[A-Za-z0-9 _-]+")
_GROUP_KINDS: Final = re.compile(r"\(\?(?::|P?<\w+>|[imsU-]+[:)])")
_ASSERTIONS: Final = re.compile(r"\\[AzbB]|\\.|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]|[\^$]", re.DOTALL)


class Rules:
    """Built once for a configuration; used by one thread at a time."""

    def __init__(self, settings: RedactSettings, *, key: bytes) -> None:
        """`key` is for hashes, b"" if there is none. Raises ValueError for a pattern that RE2 cannot take."""
        self._key = key
        self._allowed = _allowed(settings.allow_only)
        names = Names(settings.packs)
        patterns = self._patterns(settings)
        own = [Own(f"patterns.{name}", compiled_own(text)) for name, text in settings.patterns.items()]
        json_names = "|".join(map(_name_hint, settings.fields))
        self._has_own = bool(own)
        self._message = _message_rule(settings, self._allowed)
        self._texts = TextRules(
            names=names,
            patterns=patterns,
            own=own,
            json_names=f"(?:{json_names}){BETWEEN}:" if json_names else "",
        )
        self._json = self._json_rules(settings, names, patterns)
        self._json_of_keys = self._json._replace(hits=_no_hits)
        self.names = _rule_names(settings, names, patterns, own)
        self._searches = self._prefilter(settings)

    def _patterns(self, settings: RedactSettings) -> list[Pattern]:
        patterns = [pattern for pack, found in PATTERNS.items() if pack in settings.packs for pattern in found]
        if settings.ip == "truncate":
            patterns += ADDRESSES
        if settings.url_segments:
            patterns.append(segments_pattern(settings.url_segments))
        for name, action in settings.fields.items():
            if "." not in name and name.isascii() and action is not RedactAction.KEEP:
                patterns.append(query_pattern(name, f"fields.{name}", partial(_in_url, action, self._key)))
        return patterns

    def _json_rules(self, settings: RedactSettings, names: Names, patterns: Sequence[Pattern]) -> JsonRules:
        named: dict[bytes, KeyRule] = {}
        paths: dict[bytes, list[Path]] = {}
        for name, action in settings.fields.items():
            rule = KeyRule(f"fields.{name}", action, covers_booleans=True)
            *parents, last = name.encode().lower().split(b".")
            named[name.encode().lower()] = rule
            if parents:
                paths.setdefault(last, []).append(Path(tuple(parents), rule))

        def sense(name: bytes) -> KeyRule | None:
            found = names.find(name)
            if found is None:
                return None
            return KeyRule(found.rule, RedactAction.MASK, found.count_digits, found.only_opaque, found.only_single)

        return JsonRules(
            keys=Keys(named=named, paths=paths, sense=sense, redact=self._redact_key),
            hits=self._texts.hits,
            redact_text=self._redact_text,
            rule_of_number=_number_rule([pattern for pattern in patterns if pattern.in_numbers]),
            allowed=self._allowed,
            hash_key=self._key,
        )

    def _prefilter(self, settings: RedactSettings) -> list[Search] | None:
        """Searches that together find every line that could have to be changed; None where that may be any line."""
        own = list(map(relaxed, settings.patterns.values()))
        if self._allowed or self._message is not None or None in own:
            return None
        if not all(_CLEAN_RUN.search(name.rpartition(".")[2]) for name in settings.fields):
            return None
        searches = [] if self._texts.written is None else [_search(self._texts.written)]
        if own:
            # Of a text with escapes an own pattern may see what its bytes do not show.
            expression = "|".join([*(f"(?:{text})" for text in own), r"\\"])
            searches.append(_search(compiled_own(expression, within_lines=True)))
        return searches

    @property
    def is_off(self) -> bool:
        """True if no line would ever be changed."""
        return self._searches == []

    # One line

    def redact_line(self, line: bytes, found: list[Redaction]) -> bytes:
        """The line redacted, on one line as it was; what was done is added to `found`.

        A line of any bytes: what is not UTF-8 becomes U+FFFD if there was something to redact, else stays as it is.
        """
        text = line.removeprefix(_BOM)
        try:
            text.decode()
        except UnicodeDecodeError:
            text = text.decode("utf-8", "replace").encode()
        redacted = self._redact_readable(text, found)
        return line if redacted == text else redacted

    def _redact_readable(self, text: bytes, found: list[Redaction]) -> bytes:
        is_value = is_json(text)
        if self._message is not None and not (is_value and text.lstrip().startswith(b"{")):
            redacted = acted(self._message.action, text, key=self._key)
            if redacted != text:
                found.append((self._message.rule, MESSAGE))
            return redacted
        if not is_value:
            hits = self._texts.hits(text)
            return self._redact_text(text, hits, found, "") if hits else text
        rules = self._json
        if not self._allowed and not self._has_own and b"\\" not in text:
            hits = self._texts.hits(text)
            if not hits:
                return text
            if self._texts.are_of_keys(text, hits):
                rules = self._json_of_keys
        return redact_json(text, rules, found, "", is_document=True)

    def _redact_text(
        self, text: bytes, hits: Sequence[int], found: list[Redaction], where: str, nesting: int = 0
    ) -> bytes:
        """A text that may be JSON, or have some in it."""
        start, stop = _json_within(text)
        if stop <= start or nesting >= MOST_NESTING or not is_json(text[start:stop]):
            return self._texts.redact(text, hits, found, where)
        rules = self._json._replace(redact_text=partial(self._redact_text, nesting=nesting + 1))
        inner = redact_json(text[start:stop], rules, found, where, is_document=False)
        before, after = (
            self._texts.redact(part, hits, found, where) if part.strip() else part
            for part in (text[:start], text[stop:])
        )
        return before + inner + after

    def _redact_key(self, name: bytes, found: list[Redaction]) -> bytes:
        hits = self._texts.hits(name)
        return self._texts.redact(name, hits, found, "") if hits else name

    # Many lines

    def suspects(self, data: bytes, starts: Sequence[int]) -> Iterable[int]:
        """Which of the lines in `data` could have to be changed, in order. `starts` are where they begin."""
        if self._searches is None:
            return range(len(starts))
        found: set[int] = set()
        for search in self._searches:
            found.update(_lines_found(search, data, starts))
        return sorted(found)

    def is_clean(self, data: bytes) -> bool:
        """Whether nothing in `data` could have to be changed: all that is asked about the usual batch."""
        return self._searches is not None and all(search(data, 0) < 0 for search in self._searches)


def _no_hits(_text: bytes) -> Sequence[int]:
    return ()


Search = Callable[[bytes, int], int]
"""Where an expression matches first from a position on: a position within the line that it is in, -1 if nowhere."""


def _search(expression: Any) -> Search:
    find = expression.search

    def search(data: bytes, position: int) -> int:
        match = find(data, position)
        # Some expressions take the character before, which may be the end of another line; none goes on to the next.
        return -1 if match is None else max(match.start(), match.end() - 1)

    return search


def _lines_found(search: Search, data: bytes, starts: Sequence[int]) -> Iterable[int]:
    position = search(data, 0)
    while position >= 0:
        line = bisect_right(starts, position) - 1
        yield line
        if line + 1 >= len(starts):
            return
        position = search(data, starts[line + 1] - 1)


def relaxed(expression: str) -> str | None:
    """An expression that matches in a line wherever `expression` matches in a text of it; None if there is none.

    In the line other characters stand around the text, so what is said of them is left out.
    """
    if "\\Q" in expression or "\\C" in expression or "(?" in _GROUP_KINDS.sub("", expression):
        return None
    text = _ASSERTIONS.sub(
        lambda match: "(?:)" if match[0] in ("^", "$", "\\A", "\\z", "\\b", "\\B") else match[0], expression
    )
    try:
        compiled_own(text)
    except ValueError:  # the assertions were all there was, or something was repeated that now is empty
        return None
    return text


def _json_within(text: bytes) -> tuple[int, int]:
    """Where JSON may stand in a text: all of it, or from the first brace to the last."""
    start = text.find(b"{")
    stripped = text.strip()
    if stripped.startswith(b"["):
        start = text.find(b"[")
        return start, start + len(stripped)
    return (start, text.rfind(b"}") + 1) if start >= 0 else (0, 0)


def _in_url(action: RedactAction, key: bytes, value: bytes) -> bytes:
    return MASK if action is RedactAction.DROP else acted(action, value, key=key)


def _number_rule(patterns: Sequence[Pattern]) -> Callable[[bytes], str | None]:
    checks = [(pattern.rule, pattern.check) for pattern in patterns if pattern.check is not None]

    def rule(number: bytes) -> str | None:
        if len(number) < SHORTEST_SECRET_NUMBER or not number.isdigit():
            return None
        return next((name for name, check in checks if check(number, 0, len(number)) is not None), None)

    return rule


def _allowed(names: Sequence[str]) -> dict[bytes, bool]:
    """Each name, and each that encloses one."""
    allowed: dict[bytes, bool] = {}
    for name in names:
        parts = name.encode().lower().split(b".")
        for length in range(1, len(parts)):
            allowed.setdefault(b".".join(parts[:length]), False)
        allowed[b".".join(parts)] = True
    return allowed


def _message_rule(settings: RedactSettings, allowed: Mapping[bytes, bool]) -> KeyRule | None:
    """What happens to a line that is no JSON object, because of the name that it gets as a field."""
    if allowed and not allowed.get(MESSAGE.encode()):
        return NOT_ALLOWED
    actions = (action for name, action in settings.fields.items() if name.lower() == MESSAGE)
    action = next(actions, RedactAction.KEEP)
    return None if action is RedactAction.KEEP else KeyRule(f"fields.{MESSAGE}", action)


def _name_hint(name: str) -> str:
    """What a key's bytes have in any writing of it: the longest piece that no JSON writer escapes."""
    last = name.rpartition(".")[2]
    piece = max(_CLEAN_RUN.findall(last), key=len, default="")
    return re.escape(last) if piece == last else f"{re.escape(piece)}[^\\n]*"


def _rule_names(
    settings: RedactSettings, names: Names, patterns: Sequence[Pattern], own: Sequence[Own]
) -> tuple[str, ...]:
    """Every rule that can be counted, each once."""
    found = [name.rule for name in names.names] + [pattern.rule for pattern in patterns] + [item.rule for item in own]
    found += [f"fields.{name}" for name, action in settings.fields.items() if action is not RedactAction.KEEP]
    found += [ALLOW_ONLY] if settings.allow_only else []
    return tuple(dict.fromkeys(found))
