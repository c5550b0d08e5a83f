"""One document put together from a line that needs more than splicing: it has objects or tags that ours go into.

Values of the line's own stay verbatim (they are never decoded and encoded again) and are never overwritten: a group of
our fields of which any would collide goes below `shipper`, or below `shipper_fields` where the line has a `shipper`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from shipper.settings import Coercion
from shipper.times import event_time, is_same_instant

TIME_FAILURE: Final = "time_failure"
"""The tag of a document whose line has no usable time."""

Nested = dict[str, Any]
RawObject = dict[str, msgspec.Raw]

_raw_decoder = msgspec.json.Decoder(RawObject)
_encode = msgspec.json.encode


def nested(pairs: Iterable[tuple[str, Any]]) -> Nested:
    """`{"user.id": 1}` as objects: `{"user": {"id": 1}}`. Shares no object with what is given."""
    result: Nested = {}
    for name, value in pairs:
        *path, last = name.split(".")
        inner = result
        for part in path:
            inner = inner.setdefault(part, {})
        merge(inner, {last: value})
    return result


def merge(target: Nested, group: Nested) -> None:
    """Adds `group` to `target`, object by object. Neither's inner objects are shared afterwards."""
    for key, value in group.items():
        if isinstance(value, dict):
            merge(target.setdefault(key, {}), value)
        else:
            target[key] = value


def paths(group: Nested, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Where the values of `group` stand that are no objects (or empty ones)."""
    for key, value in group.items():
        if isinstance(value, dict) and value:
            yield from paths(value, (*before, key))
        else:
            yield (*before, key)


def raw_object(line: bytes) -> RawObject:
    """A JSON object's values by name, as they stand in the line; of a repeated name the last. Raises ValueError."""
    return _raw_decoder.decode(line)


def written(document: Mapping[str, Any]) -> bytes:
    """An object as JSON on one line; values of a line's own as they stand there."""
    return _encode(document).replace(b"\n", b" ")


@dataclass(slots=True, frozen=True)
class OwnFields:
    """What we add to a document."""

    time: str
    """'' for none."""
    tags: Sequence[str]
    groups: Sequence[Nested]
    """Each is added whole, or goes below `shipper` whole."""
    below: Nested
    """What is placed below `shipper` in any case."""


def with_own_fields(line: RawObject, own: OwnFields) -> dict[str, Any]:
    """The line's values and ours, which may be called the same; to be `written`."""
    document: dict[str, Any] = dict(line)
    below = Nested()
    if own.time and "@timestamp" not in line:
        document["@timestamp"] = own.time
    elif own.time and not _says(line["@timestamp"], own.time):
        below["@timestamp"] = own.time
    if own.tags:
        tags = extended_tags(line.get("tags"), own.tags)
        if tags is None:
            below["tags"] = list(own.tags)
        else:
            document["tags"] = tags
    merge(below, own.below)
    for group in own.groups:
        merged = merged_with(document, group)
        if merged is None:
            merge(below, group)
        else:
            document = merged
    if below:
        document[_free_name(line)] = below
    return document


def inherited_time(document: bytes, line: bytes) -> str:
    """The time that the document of a line has where the line inherited it; '' where it has its own, or none."""
    tag = _encode(TIME_FAILURE)
    if tag not in document:
        return ""
    try:
        own = raw_object(line)
    except (ValueError, RecursionError):  # shipped as text
        own = {}
    found = raw_object(document)
    below = as_object(found.get(_free_name(own))) or {}
    if not any(tag in bytes(place["tags"]) for place in (found, below) if "tags" in place):
        return ""
    time = below.get("@timestamp", found.get("@timestamp"))
    return "" if time is None else event_time(_decoded(time)) or ""


def _free_name(document: Mapping[str, Any]) -> str:
    name = "shipper" if "shipper" not in document else "shipper_fields"
    while name in document:
        name += "_"
    return name


def _says(value: msgspec.Raw, time: str) -> bool:
    """Whether the line's own @timestamp means the same instant."""
    found = event_time(_decoded(value))
    return found is not None and is_same_instant(found, time)


def extended_tags(own: msgspec.Raw | None, tags: Sequence[str]) -> msgspec.Raw | None:
    """The line's own tags (None: it has none) and ours; None if its own are neither text nor an array."""
    if own is None:
        return msgspec.Raw(_encode(tags))
    value, raw = _decoded(own), bytes(own).strip()
    if raw.startswith(b'"'):
        value, inner = [value], raw
    elif raw.startswith(b"["):
        inner = raw[1:-1].strip()
    else:
        return None
    added = [_encode(tag) for tag in tags if not (isinstance(value, list) and tag in value)]
    return msgspec.Raw(b"[" + b",".join([inner, *added] if inner else added) + b"]") if added else own


def merged_with(document: Mapping[str, Any], group: Nested) -> dict[str, Any] | None:
    """The document with `group` added, object by object; None if any of it collides with what is there."""
    if "." in "".join(document) and any(collides(document, path) for path in paths(group)):
        return None
    result = dict(document)
    for key, value in group.items():
        own = document.get(key)
        if own is None:
            result[key] = value
            continue
        inner = as_object(own) if isinstance(value, dict) else None
        merged = merged_with(inner, value) if inner is not None and value else None
        if merged is None:
            return None
        result[key] = merged
    return result


def collides(document: Mapping[str, Any], path: Sequence[str]) -> bool:
    """Whether an object has a value at `path`, above it or below it, however its names are cut at their dots."""
    for length in range(1, len(path) + 1):
        value = document.get(".".join(path[:length]))
        if value is None:
            continue
        inner = as_object(value)
        if inner is None or length == len(path) or collides(inner, path[length:]):
            return True
    below = ".".join(path) + "."
    return any(name.startswith(below) for name in document)


def as_object(value: Any) -> Mapping[str, Any] | None:
    """A value of a line, or of a document that is being put together, if it is an object."""
    if isinstance(value, msgspec.Raw):
        return raw_object(bytes(value)) if bytes(value).lstrip().startswith(b"{") else None
    return value if isinstance(value, dict) else None


def _decoded(raw: msgspec.Raw) -> Any:
    """The value; None for one that cannot be held (a number beyond a double)."""
    try:
        return msgspec.json.decode(raw)
    except ValueError:
        return None


# Coercion -----------------------------------------------------------------------------------------------------------

_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_NUMBER_TEXT = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_MOST_DIGITS = 400


def needs_coercion(value: Any, coercion: Coercion) -> bool:
    """Whether a field's value may have to be rewritten, by its type."""
    if coercion is Coercion.STRING:
        return isinstance(value, int | float)
    return isinstance(value, str)


def coerced(raw: bytes, coercion: Coercion) -> bytes | None:
    """A JSON value as the wanted type, its digits as they were; None where it is so already, or cannot be."""
    raw = raw.strip()
    if coercion is Coercion.STRING:
        return None if raw[:1] in b'"{[n' else b'"%b"' % raw
    text = msgspec.json.decode(raw) if raw.startswith(b'"') else ""
    if len(text) > _MOST_DIGITS or not _NUMBER_TEXT.fullmatch(text) or abs(float(text)) == float("inf"):
        return None
    if _JSON_NUMBER.fullmatch(text):
        return bytes(text, "ascii")
    return _encode(int(text) if text.lstrip("+-").isdecimal() else float(text))


def rewrite(document: RawObject, name: str, change: Callable[[bytes], bytes | None]) -> bool:
    """Gives a field another value, at its dotted name's path, else under the name itself; False if there is none."""
    top, _, rest = name.partition(".")
    inner = as_object(document[top]) if rest and top in document else None
    if inner is not None and rewrite(fields := dict(inner), rest, change):
        document[top] = msgspec.Raw(written(fields))
        return True
    if name not in document:
        return False
    value = change(bytes(document[name]))
    if value is not None:
        document[name] = msgspec.Raw(value)
    return True
