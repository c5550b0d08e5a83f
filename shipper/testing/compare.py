"""What differs between what was expected of a line and what became of it. Pure: no stage runs here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET

from shipper.testing.cases import Expected
from shipper.times import event_time, is_same_instant

Explanation = Mapping[str, Any]
"""As `explain` gives it."""
NOTHING: Final = "nothing"
_MISSING: Final = object()


class Difference(msgspec.Struct, frozen=True):
    """One thing that is not as expected."""

    what: str
    expected: str
    got: str
    key: str = ""
    """The key of the expectation that says so, '' for the whole of it."""


def differences(expected: Expected, found: Explanation) -> list[Difference]:
    """All that differs, in the order of the keys."""
    return [*_plain(expected, found), *_listed(expected, found), *_document(expected, found)]


def _plain(expected: Expected, found: Explanation) -> Iterator[Difference]:
    """What is one text."""
    reason = f" ({found['reason']})" if "reason" in found else ""
    if expected.outcome is not None and expected.outcome != found["outcome"]:
        yield Difference("outcome", expected.outcome, found["outcome"] + reason, "outcome")
    for key in ("reason", "index", "id"):
        wanted = getattr(expected, key)
        if wanted and wanted != found.get(key):
            instead = f"{NOTHING}: the line is {found['outcome']}{reason}"
            yield Difference(key, wanted, found.get(key, instead), key)
    if expected.time:
        wanted = event_time(expected.time) or ""
        if not found["time"] or not is_same_instant(wanted, found["time"]):
            yield Difference("time", wanted, found["time"] or NOTHING, "time")


def _listed(expected: Expected, found: Explanation) -> Iterator[Difference]:
    """What is a list or mapping, of which all is named."""
    pairs = (
        ("tags", expected.tags, tags_of(found)),
        ("problems", expected.problems, found["problems"]),
        ("redacted", expected.redacted, found["redacted"]),
    )
    for key, wanted, got in pairs:
        plain = list(wanted) if isinstance(wanted, tuple) else wanted
        if plain is not None and plain != got:
            yield Difference(key, as_json(plain), as_json(got), key)


def tags_of(found: Explanation) -> list[Any]:
    """The tags of a line's document; of one that has none, those whose expressions are true."""
    if "document" not in found:
        return list(found["tags"])
    tags = found["document"].get("tags", [])
    return tags if isinstance(tags, list) else [tags]


def _document(expected: Expected, found: Explanation) -> Iterator[Difference]:
    asked = [key for key in ("document", "whole") if getattr(expected, key) is not UNSET]
    asked += ["absent"] if expected.absent else []
    if "document" not in found:
        reason = f" ({found['reason']})" if "reason" in found else ""
        for key in asked:
            yield Difference(key, "a document", f"{NOTHING}: the line is {found['outcome']}{reason}", key)
        return
    document = found["document"]
    if expected.document is not UNSET:
        yield from _within(expected.document, document, ("document",), key="document")
    if expected.whole is not UNSET:
        yield from _within(expected.whole, document, ("whole",), key="whole", is_whole=True)
    for name in expected.absent:
        value = next(values_at(document, name), _MISSING)
        if value is not _MISSING:
            yield Difference(f"absent {name}", NOTHING, as_json(value), "absent")


def _within(
    wanted: Mapping[str, Any], got: Mapping[str, Any], path: Sequence[str], *, key: str, is_whole: bool = False
) -> Iterator[Difference]:
    """What `got` has otherwise than `wanted`; with `is_whole` also what it has beyond."""
    for name, value in wanted.items():
        there = got.get(name, _MISSING) if is_whole else next(values_at(got, name), _MISSING)
        if isinstance(value, dict) and isinstance(there, dict):
            yield from _within(value, there, (*path, name), key=key, is_whole=is_whole)
        elif there is _MISSING or not are_equal(value, there):
            shown = NOTHING if there is _MISSING else as_json(there)
            yield Difference(".".join((*path, name)), as_json(value), shown, key)
    for name in got if is_whole else ():
        if name not in wanted:
            yield Difference(".".join((*path, name)), NOTHING, as_json(got[name]), key)


def values_at(document: Any, name: str) -> Iterator[Any]:
    """The values of a field, however its name is cut at its dots."""
    if not isinstance(document, dict):
        return
    if name in document:
        yield document[name]
    parts = name.split(".")
    for length in range(1, len(parts)):
        yield from values_at(document.get(".".join(parts[:length])), ".".join(parts[length:]))


def are_equal(first: Any, second: Any) -> bool:
    """Equal as JSON: 1 is 1.0, and true is not 1."""
    if isinstance(first, bool) or isinstance(second, bool):
        return first is second
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(are_equal, first, second))
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(are_equal(first[name], second[name]) for name in first)
    return bool(first == second)


def as_json(value: Any) -> str:
    """A value as a document has it."""
    return json.dumps(value, ensure_ascii=False)
