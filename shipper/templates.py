"""The index template and the lifecycle policy that `shipper setup` installs: plain data, made for what a server can do.

`provision` finds out what that is and sends them. conf/elasticsearch has the same as files, to be installed by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any, Final

from shipper import __version__
from shipper.settings import SourceSettings

MANAGED_BY: Final = "shipper"
PRIORITY: Final = 501  # above the templates that Elasticsearch (100) and its integrations (200) bring along
RETENTION_DAYS: Final = 31  # from an index' creation, in the first minutes of its day: so that 30 full days remain
_IGNORE_ABOVE: Final = 1024
_TOKEN: Final = re.compile(r"%(.)")
_TOKEN_WILDCARDS: Final = {"Y": "20*", "G": "20*", "%": "%"}


class Feature(Enum):
    """What not every server has. The value is what its refusal mentions."""

    SUBOBJECTS = "subobjects"  # fields without objects: `user` and `user.id` live together; Elasticsearch
    BEYOND_LIMIT = "ignore_dynamic_beyond_limit"  # Elasticsearch 8.14
    FLATTENED = "flattened"  # elsewhere it is called flat_object
    LIFECYCLE = "index.lifecycle"  # absent in OpenSearch, and where the policy cannot be installed


ALL_FEATURES: Final = frozenset(Feature)


def name_of(pattern: str) -> str:
    """Return what template and policy are called: `logs-%Y.%m.%d` gives `shipper-logs`."""
    literal = re.sub(r"[^a-z0-9]+", "-", _TOKEN.sub("-", pattern).lower()).strip("-")
    return f"{MANAGED_BY}-{literal}" if literal else MANAGED_BY


def index_patterns(pattern: str) -> list[str]:
    """Return what the names of a pattern match, and little else: a year is `20*`, all other parts of a day `*`.

    Not `logs-*`: that would take the data streams `logs-*-*` away from their own template.
    """
    wide = _TOKEN.sub(lambda found: _TOKEN_WILDCARDS.get(found[1], "*"), pattern)
    tokens = [found for found in _TOKEN.finditer(pattern) if found[1] != "%"]
    if not tokens:
        return [wide]
    undated = f"{pattern[: tokens[0].start()]}undated{pattern[tokens[-1].end() :]}".replace("%%", "%")
    return [re.sub(r"\*+", "*", wide), undated]


_KEYWORD: Final = {"type": "keyword", "ignore_above": _IGNORE_ABOVE}
_TEXT: Final = {"type": "text", "fields": {"keyword": _KEYWORD}}
_FIELDS: Final[dict[str, dict[str, Any]]] = {
    "@timestamp": {"type": "date"},
    "message": _TEXT,
    "tags": _KEYWORD,
    "host.name": _KEYWORD,
    "log.file.path": _KEYWORD,
    "log.offset": {"type": "long"},
    "level": _KEYWORD,
    "service": _KEYWORD,
    "environment": _KEYWORD,
    "requestId": _KEYWORD,
    "method": _KEYWORD,
    "url": {"type": "keyword", "ignore_above": 4096},
    "statusCode": {"type": "long"},
    "duration": {"type": "double"},
    "contentLength": {"type": "long"},
    "userId": _KEYWORD,
    "userAgent": _KEYWORD,
    "ip": {"type": "ip"},
}
_ALIASES: Final = {
    "http.request.method": "method",
    "http.request.id": "requestId",
    "http.response.status_code": "statusCode",
    "http.response.body.bytes": "contentLength",
    "log.level": "level",
}
_ALIASES_WITHOUT_OBJECTS: Final = {
    "url.path": "url",
    "url.original": "url",
    "service.name": "service",
    "service.environment": "environment",
    "user.id": "userId",
    "user_agent.original": "userAgent",
    "client.ip": "ip",
    "source.ip": "ip",
}
"""Where objects are kept as such these would forbid a text in `user`, `client` or `source`, which many services write.

`event.duration` is none of them: it is in nanoseconds.
"""
_SECOND_NAMES: Final = {"url": ("path", "original"), "service": ("name",)}
"""As fields within a field, where objects are kept as such: only so can `url.path` be beside a text `url`."""


def policy(*, days: int = RETENTION_DAYS) -> dict[str, Any]:
    """Return the lifecycle policy: an index is deleted so many days after it was made."""
    delete = {"min_age": f"{days}d", "actions": {"delete": {}}}
    meta = {"managed_by": MANAGED_BY, "version": __version__}
    return {"policy": {"_meta": meta, "phases": {"hot": {"actions": {}}, "delete": delete}}}


def index_template(
    pattern: str,
    *,
    features: frozenset[Feature] = ALL_FEATURES,
    aliases: bool = True,
    taken: frozenset[str] = frozenset(),
) -> dict[str, Any]:
    """Return the index template of a pattern of names, for a server that has these features.

    `aliases`: with the names of the Elastic Common Schema as second names. `taken`: dotted names that documents have
    of themselves, so that they cannot be second names.
    """
    settings: dict[str, Any] = {
        "index.number_of_shards": 1,
        "index.auto_expand_replicas": "0-1",
        "index.mapping.ignore_malformed": True,
        "index.mapping.total_fields.limit": 2000,
    }
    if Feature.BEYOND_LIMIT in features:
        settings["index.mapping.total_fields.ignore_dynamic_beyond_limit"] = True
    if Feature.LIFECYCLE in features:
        settings["index.lifecycle.name"] = name_of(pattern)
    return {
        "index_patterns": index_patterns(pattern),
        "priority": PRIORITY,
        "_meta": {"managed_by": MANAGED_BY, "version": __version__},
        "template": {"settings": settings, "mappings": _mappings(features, aliases=aliases, taken=taken)},
    }


def _mappings(features: frozenset[Feature], *, aliases: bool, taken: frozenset[str]) -> dict[str, Any]:
    has_objects = Feature.SUBOBJECTS not in features
    names = {**_ALIASES, **({} if has_objects else _ALIASES_WITHOUT_OBJECTS)} if aliases else {}
    fields = {name: mapping for name, mapping in _FIELDS.items() if not (has_objects and _is_object(name, taken))}
    fields |= {name: {"type": "alias", "path": to} for name, to in names.items() if to in fields and name not in taken}
    if has_objects:
        for name in [name for name in names if _is_object(name, taken) or _is_below(name, taken)]:
            fields.pop(name, None)
        for name in _SECOND_NAMES.keys() & fields.keys() if aliases else ():
            fields[name] = {**fields[name], "fields": dict.fromkeys(_SECOND_NAMES[name], _KEYWORD)}
    is_flattened = Feature.FLATTENED in features
    unmapped = {"type": "flattened", "ignore_above": 8191} if is_flattened else {"type": "flat_object"}
    for ours in ("shipper", "shipper_fields"):
        fields |= {f"{ours}.unmapped": unmapped, f"{ours}.refused": _TEXT}
    return {
        **({} if has_objects else {"subobjects": False}),
        "date_detection": False,
        "dynamic_templates": [
            {"messages": {"match": "*message", "match_mapping_type": "string", "mapping": _TEXT}},
            {"stacks": {"match": "*stack*", "match_mapping_type": "string", "mapping": _TEXT}},
            {"strings": {"match_mapping_type": "string", "mapping": _KEYWORD}},
        ],
        "properties": _nested(fields) if has_objects else fields,
    }


def _is_object(name: str, taken: frozenset[str]) -> bool:
    """Whether documents have something below this name."""
    return any(other.startswith(f"{name}.") for other in taken)


def _is_below(name: str, taken: frozenset[str]) -> bool:
    """Whether documents have a value above this name."""
    return any(name.startswith(f"{other}.") for other in taken)


def own_fields(sources: Iterable[SourceSettings]) -> frozenset[str]:
    """Return the names that the configuration itself writes into documents (`fields` and `copy`), dotted."""
    names: set[str] = set()
    for source in sources:
        names.update(source.copy, _leaves(source.fields))
    return frozenset(names)


def _leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def _nested(fields: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Fields with dotted names as objects."""
    properties: dict[str, Any] = {}
    for name, mapping in fields.items():
        *above, last = name.split(".")
        inner = properties
        for part in above:
            inner = inner.setdefault(part, {}).setdefault("properties", {})
        inner[last] = mapping
    return properties
