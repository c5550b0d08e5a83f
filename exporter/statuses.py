"""Which expression of a rule is the HTTP status of its lines: for routes that are not told it.

So what scanners ask for takes no real route's place in such a rule either.

A guess by names; where it is wrong, and the value is no 4xx, it changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from exporter.rule import Rule
from shipper.expressions import Kind, Value, calls_of, field_text, with_status

_ENDINGS: Final = ("status", "statuscode", "responsecode", "httpcode")
_UNKNOWN: Final = "STATUS"
_MOST_SHOWN: Final = 200


def status_text(labels: Sequence[tuple[str, Value]], asked: Iterable[str]) -> str:
    """The expression of the status that a rule's labels, or the fields that its `when` asks for, name; "" if none.

    Where several could be it, none is.
    """
    for _, value in labels:
        for call in calls_of(value.text, "status_class"):
            return call.arguments[0]
    for name, value in labels:
        is_number = value.kind in {Kind.ANY, Kind.NUMBER} and not value.lacks_status and value.status is None
        if is_number and value.fields and (_is_status(name) or all(map(_is_status, value.fields))):
            return value.canonical
    named = [field for field in asked if _is_status(field)]
    return field_text(named[0]) if len(named) == 1 else ""


def _is_status(name: str) -> bool:
    """`statusCode`, `res.status_code`, `http.response.status`, `DownstreamStatus`."""
    return name.rpartition(".")[2].replace("_", "").replace("-", "").lower().endswith(_ENDINGS)


def status_advice(rules: Sequence[Rule]) -> list[str]:
    """What is to be said of labels whose routes know no status."""
    found = []
    for rule in rules:
        for name, value in rule.labels:
            if value.needs_status:
                example = _example(value, rules)
                if len(example) > _MOST_SHOWN:
                    example = "the status behind the URL"
                found.append(
                    f"{rule.where}: rule {rule.name}: the label {name}, {value.text[:_MOST_SHOWN]}, is told no HTTP "
                    f"status, so that each path that a scanner asks for takes up one of its values, until its budget "
                    f"is used up; write {example}"
                    + (f", where {_UNKNOWN} is the field that has it" if _UNKNOWN in example else "")
                )
    return found


def _example(value: Value, rules: Iterable[Rule]) -> str:
    """How the value would be written with its status: with that of another rule about the same field, if any."""
    others = (other for rule in rules for _, other in rule.labels)
    statuses = [other.status.canonical for other in others if other.status is not None and other.fields & value.fields]
    return with_status(value.text, statuses[0] if statuses else _UNKNOWN)
