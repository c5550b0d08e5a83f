"""Writes metrics in the text format 0.0.4 and in OpenMetrics 1.0, and chooses between them.

Own series are written from snapshots, with one formatting operation a series: a scrape of thousands must not hold up
the counting. `le` is written alike in both formats, so that a change of format changes no series.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from enum import Enum
from itertools import accumulate, chain, repeat
from typing import Any, Final

from exporter.messages import quality
from exporter.rule import RuleType
from exporter.series import FamilySnapshot

_TEXT_NAMES: Final = ("text/plain;version=0.0.4", "text/plain", "text/*", "*/*")
_OPENMETRICS_NAMES: Final = ("application/openmetrics-text;version=1.0.0", "application/openmetrics-text")
_OPENMETRICS_GENERAL: Final = ("application/*", "*/*")
_MAX_WHOLE_FLOAT: Final = 1e15
EOF_LINE: Final = "# EOF\n"


class Format(Enum):
    TEXT = "text/plain; version=0.0.4; charset=utf-8"
    OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def negotiate(accept: str) -> Format:
    """The format that an Accept header prefers; the text format where it prefers neither or knows neither."""
    text = quality(accept, offered=_TEXT_NAMES)
    named = quality(accept, offered=_OPENMETRICS_NAMES)
    if named:
        return Format.OPENMETRICS if named >= text else Format.TEXT
    general = quality(accept, offered=(*_OPENMETRICS_NAMES, *_OPENMETRICS_GENERAL))
    return Format.OPENMETRICS if general > text else Format.TEXT


def accepts_gzip(accept_encoding: str) -> bool:
    """Whether an Accept-Encoding header takes gzip."""
    return quality(accept_encoding, offered=("gzip", "*")) > 0


def gzipped(body: bytes) -> bytes:
    """The body compressed fast: scrapes are many and go over short ways."""
    compressor = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return compressor.compress(body) + compressor.flush()


def number_text(value: float) -> str:
    """A sample's value as both formats write it."""
    if isinstance(value, float):
        if value != value:
            return "NaN"
        if value in {float("inf"), float("-inf")}:
            return "+Inf" if value > 0 else "-Inf"
        if abs(value) < _MAX_WHOLE_FLOAT and value == int(value):
            return str(int(value))
        return repr(value)
    return str(value)


def bound_text(bound: float) -> str:
    """A bucket's bound in the one spelling that OpenMetrics wants: 1.0, not 1."""
    return "+Inf" if bound == float("inf") else repr(float(bound))


def head_lines(name: str, kind: str, text: str, unit: str, form: Format) -> str:
    """HELP, TYPE and UNIT of a metric; `name` is that without `_total`, which the text format appends to counters."""
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    if form is Format.TEXT:
        name = f"{name}_total" if kind == "counter" else name
        return f"# HELP {name} {text}\n# TYPE {name} {kind}\n"
    text = text.replace('"', '\\"')
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n" + (f"# UNIT {name} {unit}\n" if unit else "")


def family_text(snapshot: FamilySnapshot, form: Format) -> str:
    """One metric of the rules with all its series."""
    family = snapshot.family
    name = family.name.removesuffix("_total")
    head = head_lines(name, family.type.exposed, family.help, family.unit, form)
    if family.type is RuleType.HISTOGRAM:
        return head + _histogram_lines(snapshot)
    return head + _plain_lines(family.name, snapshot)


def _plain_lines(name: str, snapshot: FamilySnapshot) -> str:
    values: Iterable[Any] = snapshot.values
    if float in set(map(type, snapshot.values)):
        values = map(number_text, snapshot.values)
    if not snapshot.family.label_names:
        return "".join([f"{name} {value}\n" for value in values])
    return "".join([f"{name}{{{text}}} {value}\n" for text, value in zip(snapshot.texts, values, strict=True)])


def _histogram_lines(snapshot: FamilySnapshot) -> str:
    family = snapshot.family
    comma, braces = (",", "{%s}") if family.label_names else ("", "%s")
    bounds = [*map(bound_text, family.buckets), "+Inf"]
    template = "".join(f'{family.name}_bucket{{%s{comma}le="{bound}"}} %d\n' for bound in bounds)
    template += f"{family.name}_sum{braces} %s\n{family.name}_count{braces} %d\n"
    return "".join([template % arguments for arguments in _histogram_arguments(snapshot)])


def _histogram_arguments(snapshot: FamilySnapshot) -> Iterator[tuple[Any, ...]]:
    for text, value in zip(snapshot.texts, snapshot.values, strict=True):
        counts = list(accumulate(value[:-1]))
        buckets = chain.from_iterable(zip(repeat(text), counts, strict=False))
        yield (*buckets, text, number_text(value[-1]), text, counts[-1])
