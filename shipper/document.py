"""One document put together from a line that needs more than splicing: it has a field of ours, or is no JSON object.

Values of the line's own stay verbatim (they are never decoded and encoded again) and are never overwritten: a group of
our fields of which any would collide goes below `shipper`, or below `shipper_fields` where the line has a `shipper`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from shipper.batch import MISSING
from shipper.settings import Coercion
from shipper.times import event_time

Nested = dict[str, Any]
RawObject = dict[str, msgspec.Raw]

_raw_decoder = msgspec.json.Decoder(RawObject)
_encode = msgspec.json.encode


def nested(pairs: Iterable[tuple[str, Any]]) -> Nested:
    """`{"user.id": 1}` as objects: `{"user": {"id": 1}}`."""
    result: Nested = {}
    for name, value in pairs:
        *path, last = name.split(".")
        inner = result
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return result


def leaf_names(tree: Nested, prefix: str = "") -> list[str]:
    """The dotted names of all that is in `tree`, inner objects included."""
    names = []
    for key, value in tree.items():
        names.append(prefix + key)
        if isinstance(value, dict):
            names += leaf_names(value, f"{prefix}{key}.")
    return names


def merge(target: Nested, group: Nested) -> None:
    """Adds `group` to `target`, object by object. Neither's inner objects are shared afterwards."""
    for key, value in group.items():
        if isinstance(value, dict):
            inner = target.setdefault(key, {})
            merge(inner, value)
        else:
            target[key] = value


def raw_object(line: bytes) -> RawObject:
    """A JSON object's values by name, as they stand in the line."""
    try:
        return _raw_decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError):  # lone surrogates, which only this parser takes
        return {key: msgspec.Raw(json.dumps(value).encode()) for key, value in json.loads(line).items()}


def written(document: RawObject) -> bytes:
    """The object as JSON on one line."""
    pairs = [b"%b:%b" % (_encoded_key(key), bytes(value)) for key, value in document.items()]
    return (b"{" + b",".join(pairs) + b"}").replace(b"\n", b" ")


def _encoded_key(key: str) -> bytes:
    try:
        return _encode(key)
    except UnicodeEncodeError:
        return json.dumps(key).encode()


@dataclass(slots=True, frozen=True)
class OwnFields:
    """What we add to a document."""

    time: str | None
    tags: Sequence[str]
    groups: Sequence[Nested]
    """Each is added whole, or goes below `shipper` whole."""
    below_shipper: Nested
    """What is placed below `shipper` in any case."""


def with_own_fields(document: RawObject, own: OwnFields) -> None:
    """Adds ours to `document`, which may carry fields that are called the same."""
    moved = Nested()
    merge(moved, own.below_shipper)
    if own.time is not None and not _has_time(document, own.time):
        if "@timestamp" in document:
            moved["@timestamp"] = own.time
        else:
            document["@timestamp"] = msgspec.Raw(_encode(own.time))
    if own.tags and not _extend_tags(document, own.tags):
        moved["tags"] = list(own.tags)
    for group in own.groups:
        if collides(document, group):
            merge(moved, group)
        else:
            _merge_raw(document, group)
    if moved:
        document[_free_name(document)] = msgspec.Raw(_encode(moved))


def _has_time(document: RawObject, text: str) -> bool:
    """Whether the line's own @timestamp already says the same instant."""
    if "@timestamp" not in document:
        return False
    found = event_time(_decoded(document["@timestamp"]))
    return found is not None and found.text == text


def _extend_tags(document: RawObject, tags: Sequence[str]) -> bool:
    """Adds to the line's own tags; False if they are neither text nor an array."""
    own = _decoded(document["tags"]) if "tags" in document else []
    if isinstance(own, str):
        own = [own]
    if not isinstance(own, list):
        return False
    document["tags"] = msgspec.Raw(_encode([*own, *(tag for tag in tags if tag not in own)]))
    return True


def collides(document: RawObject, group: Nested, prefix: str = "") -> bool:
    """Whether adding `group` would overwrite, or make two fields of one name, anywhere in it."""
    for key, value in group.items():
        name = prefix + key
        if any(other == name or other.startswith(name + ".") for other in document if "." in other):
            return True
        own = document.get(key)
        if own is None:
            if isinstance(value, dict) and not prefix and _has_dotted(document, value, name + "."):
                return True
            continue
        if not isinstance(value, dict):
            return True
        inner = _as_object(own)
        if inner is None or collides(inner, value):
            return True
        if _has_dotted(document, value, name + "."):
            return True
    return False


def _has_dotted(document: RawObject, group: Nested, prefix: str) -> bool:
    return any(prefix + name in document for name in leaf_names(group))


def _as_object(value: msgspec.Raw) -> RawObject | None:
    return raw_object(bytes(value)) if bytes(value).lstrip().startswith(b"{") else None


def _merge_raw(document: RawObject, group: Nested) -> None:
    for key, value in group.items():
        own = document.get(key)
        inner = None if own is None else _as_object(own)
        if inner is None:
            document[key] = msgspec.Raw(_encode(value))
        else:
            _merge_raw(inner, value)
            document[key] = msgspec.Raw(written(inner))


def _free_name(document: Mapping[str, Any]) -> str:
    name = "shipper" if "shipper" not in document else "shipper_fields"
    while name in document:
        name += "_"
    return name


def _decoded(raw: msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def coerced(value: Any, coercion: Coercion) -> Any:
    """The value as the wanted type; MISSING where it is so already, or cannot be."""
    if coercion is Coercion.STRING:
        if isinstance(value, bool):
            return "true" if value else "false"
        return str(value) if isinstance(value, int | float) else MISSING
    if not isinstance(value, str):
        return MISSING
    try:
        number = float(value)
    except ValueError:
        return MISSING
    if number != number or number in (float("inf"), float("-inf")):
        return MISSING
    return int(value) if value.strip().lstrip("+-").isdecimal() else number
