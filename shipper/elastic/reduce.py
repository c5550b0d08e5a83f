"""The document that a server takes, made of one that it refused for its content.

First without the field that the server names (moved to `shipper.unmapped.<field>` as text), then the whole line as
text; what is too large keeps a prefix of it. Why the server refused it stands in `shipper.refused`. Decisions only; a
dead letter is kept beside what comes out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import IntEnum, auto
from typing import Any, NamedTuple

import msgspec

from shipper.document import RawObject, raw_object, written
from shipper.elastic.bulk import ItemError

CONFLICT_TAG = "mapping_conflict"
SIZE_TAG = "line_too_long"
TOO_LARGE = "too_large"
PREFIX_BYTES = 32 * 1024
MAX_MOVED = 8
REASON_CHARS = 1000
"""So that it is indexed as a whole where texts are keywords."""
_OURS, _OURS_IF_TAKEN = "shipper", "shipper_fields"
_ALWAYS_OURS = ("@timestamp", "tags")

KeyPath = tuple[str, ...]
"""Where a value stands: the keys from the top, each as it is written (`("a.b", "c")` is `{"a.b": {"c": …}}`)."""


class Stage(IntEnum):
    """How far a document has been reduced."""

    WHOLE = auto()
    ASKED = auto()  # as it was, but the server is asked for its reasons
    MOVED = auto()
    TEXT = auto()
    PREFIX = auto()


class Form(NamedTuple):
    """One form of a document. `base` is what is left of its own fields, `unmapped` what was moved away, by field."""

    stage: Stage
    source: bytes
    base: bytes
    unmapped: Mapping[str, str | list[str]]
    refused: frozenset[str]
    """Names at the top that the server did not want."""
    reason: str = ""
    """Why it was refused at first."""


def whole(document: bytes) -> Form:
    """Return the form that a document has at first."""
    return Form(Stage.WHOLE, document, document, {}, frozenset())


def next_form(form: Form, *, line: bytes, error: ItemError) -> Form | None:
    """Return what to send after `form`, made of `line`, was refused with `error`; None if nothing is left to try."""
    if error.type == TOO_LARGE:
        return _prefix_form(form, line) if form.stage < Stage.PREFIX else None
    if form.stage is Stage.WHOLE:
        return form._replace(stage=Stage.ASKED)
    if form.stage < Stage.TEXT:
        form = form._replace(reason=form.reason or f"{error.type}: {error.reason}"[:REASON_CHARS])
        return _moved_form(form, line, error) or _text_form(form, line)
    return _smaller_text_form(form, line, error) if form.stage is Stage.TEXT else None


# Which fields


_NAMING = tuple(
    re.compile(pattern)
    for pattern in (
        r"failed to parse field \[(.+?)\] of type \[",
        r"object mapping for \[(.+?)\] tried to parse field \[",
        r"mapper \[(.+?)\] cannot be changed from type",
        r"[cC]an't merge an? (?:non[ -])?(?:object|nested) mapping \[(.+?)\] with",
        r"Existing mapping for \[(.+?)\] must be of type object",
        r"Cannot write to a field alias \[(.+?)\]",
        r'immense term in field="(.+?)"',
        r"Flattened field \[(.+?)\] contains one immense",
        r"[Ff]ield \[(.+?)\] is a metadata field",
        r"Field name \[(.+?)\] is longer than the limit",
        r"\b[Ff]ield \[(.+?)\]",
    )
)
_STRICT = re.compile(r"dynamic introduction of \[(.+?)\] within \[(.+?)\] is not allowed")
_DEPTH = re.compile(r"Limit of mapping depth \[(\d+)\]|depth of the field has exceeded the allowed limit of \[(\d+)\]")
_BAD_NAME = re.compile(r"[Ff]ield name cannot|object field cannot|makes object resolution ambiguous")
_DUPLICATE = re.compile(r"Duplicate (?:field|Object property) ")


def named_field(reason: str) -> str | None:
    """Return the dotted name of the field that the server's reason names, or None."""
    if found := _STRICT.search(reason):
        name, parent = found.groups()
        return name if parent == "_doc" else f"{parent}.{name}"
    for pattern in _NAMING:
        if found := pattern.search(reason):
            return found[1]
    return None


def refused_paths(document: RawObject, reason: str) -> list[KeyPath]:
    """Return where that stands in the document which the server refuses; empty if its reason does not tell."""
    if found := _DEPTH.search(reason):
        limit = int(found[1] or found[2])
        return [(key,) for key, value in document.items() if _depth(bytes(value)) >= limit]
    if _BAD_NAME.search(reason):
        return list(_badly_named(document))
    name = named_field(reason)
    path = None if name is None else find(document, name)
    return [] if path is None else [path]


def find(document: RawObject, name: str) -> KeyPath | None:
    """Return where a dotted field name stands; also what lies below it, or above it where that is no object."""
    for key, value in document.items():
        if key == name or key.startswith(name + "."):
            return (key,)
        if not name.startswith(key + "."):
            continue
        inner = _as_object(value)
        if inner is None:
            return (key,)
        if (below := find(inner, name[len(key) + 1 :])) is not None:
            return (key, *below)
    return None


def _badly_named(document: RawObject, above: KeyPath = ()) -> Iterator[KeyPath]:
    for key, value in document.items():
        if _usable(key) != key:
            yield (*above, key)
        elif (inner := _as_object(value)) is not None:
            yield from _badly_named(inner, (*above, key))


def _usable(name: str) -> str:
    """The name as any server takes it: no part of it empty, or with space around it."""
    return ".".join(part.strip() or "_" for part in name.split("."))


def _depth(value: bytes) -> int:
    """How deep objects are nested in a JSON value, about: braces within texts are counted too."""
    deepest = depth = 0
    for character in value:
        if character == 0x7B:
            depth += 1
            deepest = max(deepest, depth)
        elif character == 0x7D:
            depth -= 1
    return deepest


# Forms


def _moved_form(form: Form, line: bytes, error: ItemError) -> Form | None:
    if _DUPLICATE.search(error.reason):
        base, unmapped = _without_duplicates(form.base)
        if not unmapped:
            return None
        return _with_unmapped(form, line, raw_object(base), unmapped, frozenset())
    document = raw_object(form.base)
    paths = refused_paths(document, error.reason)
    if not paths or len(form.unmapped) >= MAX_MOVED:
        return None
    moved = {_usable(".".join(path)): _as_text(_taken(document, path)) for path in paths}
    return _with_unmapped(form, line, document, moved, frozenset(path[0] for path in paths))


def _with_unmapped(
    form: Form, line: bytes, document: RawObject, moved: Mapping[str, str | list[str]], refused: frozenset[str]
) -> Form:
    base = written(document)
    unmapped = {**form.unmapped, **moved}
    all_refused = form.refused | refused
    _add_tags(document, [CONFLICT_TAG], line, all_refused)
    _add_ours(document, "unmapped", unmapped, line)
    _add_ours(document, "refused", form.reason, line)
    return Form(Stage.MOVED, written(document), base, unmapped, all_refused, form.reason)


def _text_form(form: Form, line: bytes) -> Form:
    document = {key: value for key, value in _our_fields(form.base, line).items() if key not in form.refused}
    document["message"] = msgspec.Raw(_encoded(_text_of(line)))
    base = written(document)
    _add_tags(document, [CONFLICT_TAG], line, form.refused)
    if form.reason:
        _add_ours(document, "refused", form.reason, line)
    return Form(Stage.TEXT, written(document), base, {}, form.refused, form.reason)


def _smaller_text_form(form: Form, line: bytes, error: ItemError) -> Form | None:
    """The line as text without its reason, which an index may have no field for; then without that of our own fields
    which the server names now.
    """
    if form.reason:
        return _text_form(form._replace(reason=""), line)
    document = raw_object(form.source)
    refused = {path[0] for path in refused_paths(document, error.reason)} - {"message"} - form.refused
    if not refused:
        return None
    return _text_form(form._replace(refused=form.refused | refused), line)


def _prefix_form(form: Form, line: bytes) -> Form:
    document = {key: value for key, value in _our_fields(form.base, line).items() if key not in form.refused}
    document["message"] = msgspec.Raw(_encoded(line[:PREFIX_BYTES].decode("utf-8", "replace")))
    base = written(document)
    _add_tags(document, [SIZE_TAG], line, form.refused)
    return Form(Stage.PREFIX, written(document), base, {}, form.refused)


def _our_fields(document: bytes, line: bytes) -> RawObject:
    """What a document has beside its line's own fields, and its time and tags."""
    fields = raw_object(document)
    own = _line_object(line)
    if own is None:
        fields.pop("message", None)
        return fields
    ours = _beside(fields, own)
    return {**ours, **{key: fields[key] for key in _ALWAYS_OURS if key in fields}}


def _beside(document: RawObject, own: RawObject) -> RawObject:
    result: RawObject = {}
    for key, value in document.items():
        if key not in own:
            result[key] = value
            continue
        inner, own_inner = _as_object(value), _as_object(own[key])
        if inner is not None and own_inner is not None and (left := _beside(inner, own_inner)):
            result[key] = msgspec.Raw(written(left))
    return result


def _add_tags(document: RawObject, tags: list[str], line: bytes, refused: Iterable[str]) -> None:
    """Add to the tags; to `shipper.tags` where the server does not want `tags`, or they are neither text nor array."""
    own = _decoded(document["tags"]) if "tags" in document else []
    own = [own] if isinstance(own, str) else own
    if "tags" in refused or not isinstance(own, list):
        _add_ours(document, "tags", tags, line)
    else:
        document["tags"] = msgspec.Raw(_encoded([*own, *(tag for tag in tags if tag not in own)]))


def _add_ours(document: RawObject, name: str, value: Any, line: bytes) -> None:
    """Add a field below `shipper`, or where ours went because the line has a `shipper` of its own."""
    own = _line_object(line)
    parent = _OURS_IF_TAKEN if own is not None and _OURS in own else _OURS
    inner = _as_object(document[parent]) if parent in document else None
    inner = {} if inner is None else inner
    inner[name] = msgspec.Raw(_encoded(value))
    document[parent] = msgspec.Raw(written(inner))


def _without_duplicates(document: bytes) -> tuple[bytes, dict[str, str | list[str]]]:
    """The document with the last of each name, as parsers read it, and the earlier values as texts, by name."""
    earlier: dict[str, str | list[str]] = {}

    def last_of_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key, value in pairs:
            if key in result:
                before = result.pop(key)
                text = before if isinstance(before, str) else json.dumps(before)
                known = earlier.get(key, [])
                earlier[key] = [*([known] if isinstance(known, str) else known), text]
            result[key] = value
        return result

    kept = json.dumps(json.loads(document, object_pairs_hook=last_of_each)).encode()
    return kept, {key: texts[0] if len(texts) == 1 else texts for key, texts in earlier.items()}


def _taken(document: RawObject, path: KeyPath) -> msgspec.Raw:
    """Remove what stands at `path`, and return it; an object that is left empty goes too."""
    key, *rest = path
    if not rest:
        return document.pop(key)
    inner = raw_object(bytes(document[key]))
    value = _taken(inner, tuple(rest))
    if inner:
        document[key] = msgspec.Raw(written(inner))
    else:
        del document[key]
    return value


def _as_text(value: msgspec.Raw) -> str:
    """A text is its own text; everything else is its JSON, as it stands in the document."""
    decoded = _decoded(value) if bytes(value).lstrip().startswith(b'"') else None
    return decoded if isinstance(decoded, str) else bytes(value).decode("utf-8", "replace").strip()


def _text_of(line: bytes) -> str:
    return line.decode("utf-8", "replace")


def _line_object(line: bytes) -> RawObject | None:
    try:
        return raw_object(line)
    except (ValueError, AttributeError, RecursionError):
        return None


def _as_object(value: msgspec.Raw) -> RawObject | None:
    return raw_object(bytes(value)) if bytes(value).lstrip().startswith(b"{") else None


def _decoded(value: msgspec.Raw) -> Any:
    try:
        return json.loads(bytes(value))
    except (ValueError, RecursionError):
        return None


def _encoded(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:  # a lone surrogate
        return json.dumps(value).encode()
