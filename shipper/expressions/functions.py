"""The catalogue of functions that an expression may call; the documentation's table is made from it.

A function gets one value for each parameter: as it is (MISSING where there is none), or as a number (NaN where there is
none). `route` is the exception: it works on whole columns, because that is several times faster.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec

from shipper.batch import MISSING
from shipper.expressions.values import NAN, Kind, Number, has_value, label_text, number_of
from shipper.route import UNMATCHED, Router

_NOT_FOUND: Final = 404
_UNITS: Final = {
    "ns": (1, 1_000_000_000), "us": (1, 1_000_000), "µs": (1, 1_000_000), "μs": (1, 1_000_000), "ms": (1, 1_000),
    "s": (1, 1), "m": (60, 1), "h": (3_600, 1), "d": (86_400, 1),
}  # fmt: skip
"""By what a number of each is multiplied, and divided, to have seconds."""
_PART: Final = r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+) ?(ns|us|µs|μs|ms|s|m|h|d)"
_DURATION_PART: Final = re.compile(_PART)
_DURATION: Final = re.compile(rf"(?P<minus>-?)(?:{_PART})+")
_MAX_DURATION_CHARACTERS: Final = 100
_STATUS_CLASSES: Final = {number: f"{number}xx" for number in range(1, 6)}


class Function(msgspec.Struct, frozen=True, kw_only=True):
    """One entry; `parameters` are kinds, of which the last repeats if the function is variadic."""

    name: str
    signature: str
    help: str
    kind: Kind
    parameters: tuple[Kind, ...]
    optional: int = 0  # how many of the last parameters need not be given
    is_variadic: bool = False
    has_bounds: bool = False  # the last argument is a list of ascending numbers, given to `call` as a tuple
    status_at: int | None = None  # the argument whose HTTP status says whether there is such a value, or only a wish
    needs_status: bool = True  # whether values would be made of wishes without it
    known: frozenset[str] = frozenset()  # values that are there, whatever the status
    call: Callable[..., Any] | None = None
    column: Callable[..., Any] | None = None


def _lower(value: Any) -> Any:
    return value.lower() if value.__class__ is str else MISSING


def _upper(value: Any) -> Any:
    return value.upper() if value.__class__ is str else MISSING


def _status_class(status: Number) -> Any:
    return _STATUS_CLASSES[int(status) // 100] if 100 <= status < 600 else MISSING


def _coalesce(*values: Any) -> Any:
    return next((value for value in values if has_value(value)), MISSING)


def _bucket(value: Number, bounds: tuple[Number, ...]) -> Any:
    if value != value:
        return MISSING
    position = bisect_left(bounds, value)
    return label_text(bounds[position]) if position < len(bounds) else "+Inf"


def _length(value: Any) -> Number:
    return len(value) if value.__class__ in {str, list, dict} else NAN


def _startswith(value: Any, prefix: Any) -> bool:
    return value.__class__ is str and prefix.__class__ is str and value.startswith(prefix)


def _endswith(value: Any, suffix: Any) -> bool:
    return value.__class__ is str and suffix.__class__ is str and value.endswith(suffix)


def _contains(value: Any, part: Any) -> bool:
    if value.__class__ is list:
        return any(item.__class__ is part.__class__ and item == part for item in value)
    return value.__class__ is str and part.__class__ is str and part in value


def _routes(router: Router, urls: Sequence[Any], statuses: Sequence[Any] | None = None) -> Sequence[Any]:
    """The routes of a column; those of not found pages that no pattern fits are one."""
    found = router.routes(urls)
    if statuses is not None and router.has_patterns:
        for number, status in enumerate(statuses):
            if (status == _NOT_FOUND or status.__class__ is str) and number_of(status) == _NOT_FOUND:
                route = found[number]
                if route.__class__ is str and not router.is_written_down(route):
                    found[number] = UNMATCHED
    return found


def _seconds(value: Any) -> Number:
    number = number_of(value)
    if number == number or value.__class__ is not str or len(value) > _MAX_DURATION_CHARACTERS:
        return number
    match = _DURATION.fullmatch(value)
    if match is None:
        return NAN
    total = sum(float(part) * _UNITS[unit][0] / _UNITS[unit][1] for part, unit in _DURATION_PART.findall(value))
    return -total if match["minus"] else total


_ENTRIES: Final = (
    Function(
        name="exists",
        signature="exists(field)",
        help="True if the line has the field and it is not null.",
        kind=Kind.BOOLEAN,
        parameters=(Kind.ANY,),
        call=has_value,
    ),
    Function(
        name="coalesce",
        signature="coalesce(value, value, ...)",
        help="The first of the values that is neither missing nor null.",
        kind=Kind.ANY,
        parameters=(Kind.ANY, Kind.ANY),
        is_variadic=True,
        call=_coalesce,
    ),
    Function(
        name="route",
        signature="route(url, status)",
        help="The route of a URL: the one of metrics.routes or metrics.openapi that fits, else the path without query, "
        "with :id for each segment that is an identifier (/api/patients/:id). With the status, a 404 that none of the "
        "configured routes fits is :unmatched, and so are paths that were only ever answered with 4xx, beyond the "
        "first hundred. It may be left out where a label of the same rule has it.",
        kind=Kind.STRING,
        parameters=(Kind.ANY, Kind.NUMBER),
        optional=1,
        status_at=1,
        column=partial(_routes, Router()),
    ),
    Function(
        name="status_class",
        signature="status_class(status)",
        help='The class of an HTTP status: "2xx" for 204; missing for what is not 100 to 599.',
        kind=Kind.STRING,
        parameters=(Kind.NUMBER,),
        call=_status_class,
    ),
    Function(
        name="bucket",
        signature="bucket(value, [bound, ...])",
        help='The first of the ascending bounds that is not below the value, as text; "+Inf" beyond the last.',
        kind=Kind.STRING,
        parameters=(Kind.NUMBER,),
        has_bounds=True,
        call=_bucket,
    ),
    Function(
        name="lower",
        signature="lower(text)",
        help="The text in lower case; missing for what is not text.",
        kind=Kind.STRING,
        parameters=(Kind.ANY,),
        call=_lower,
    ),
    Function(
        name="upper",
        signature="upper(text)",
        help="The text in upper case; missing for what is not text.",
        kind=Kind.STRING,
        parameters=(Kind.ANY,),
        call=_upper,
    ),
    Function(
        name="seconds",
        signature="seconds(text)",
        help='The seconds of a duration with units, as Go and others write them ("13.2ms", "1m30s", "250 us"; '
        "ns, us, ms, s, m, h, d); a number stays as it is.",
        kind=Kind.NUMBER,
        parameters=(Kind.ANY,),
        call=_seconds,
    ),
    Function(
        name="length",
        signature="length(value)",
        help="Characters of a text, or entries of a list or object.",
        kind=Kind.NUMBER,
        parameters=(Kind.ANY,),
        call=_length,
    ),
    Function(
        name="startswith",
        signature='startswith(text, "prefix")',
        help="True if the text begins so.",
        kind=Kind.BOOLEAN,
        parameters=(Kind.ANY, Kind.ANY),
        call=_startswith,
    ),
    Function(
        name="endswith",
        signature='endswith(text, "suffix")',
        help="True if the text ends so.",
        kind=Kind.BOOLEAN,
        parameters=(Kind.ANY, Kind.ANY),
        call=_endswith,
    ),
    Function(
        name="contains",
        signature='contains(text, "part")',
        help="True if the text has the part in it, or the list has it as an entry.",
        kind=Kind.BOOLEAN,
        parameters=(Kind.ANY, Kind.ANY),
        call=_contains,
    ),
)

FUNCTIONS: Final[dict[str, Function]] = {entry.name: entry for entry in _ENTRIES}
"""Every function by name, in the order of the documentation."""


def functions_with(router: Router) -> Mapping[str, Function]:
    """All functions, `route` with a router of its own. Routes that are written down need no status to be believed."""
    own = msgspec.structs.replace(
        FUNCTIONS["route"],
        column=partial(_routes, router),
        needs_status=not router.is_complete,
        known=router.written_down,
    )
    return {**FUNCTIONS, "route": own}
