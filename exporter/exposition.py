"""Writes metrics in the text format 0.0.4 and in OpenMetrics 1.0, and chooses between them.

Own series are written from snapshots, with one formatting operation a series: a scrape of thousands must not hold up
the counting. `le` is written alike in both formats, so that a change of format changes no series.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from itertools import accumulate, chain, repeat
from typing import Any, Final

from exporter.exemplars import exemplar_text
from exporter.messages import quality
from exporter.rule import RuleType
from exporter.series import FamilySnapshot
from exporter.texts import bound_text, number_text

_TEXT_NAMES: Final = ("text/plain;version=0.0.4", "text/plain", "text/*", "*/*")
_OPENMETRICS_NAMES: Final = ("application/openmetrics-text;version=1.0.0", "application/openmetrics-text")
_OPENMETRICS_GENERAL: Final = ("application/*", "*/*")
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
    if form is Format.TEXT:
        snapshot = FamilySnapshot(family, snapshot.texts, snapshot.values)
    if family.type is RuleType.HISTOGRAM:
        return head + _histogram_lines(snapshot)
    return head + _plain_lines(family.name, snapshot)


def _plain_lines(name: str, snapshot: FamilySnapshot) -> str:
    texts, values = snapshot.texts, snapshot.values
    if float in set(map(type, values)):
        values = list(map(number_text, values))
    if snapshot.family.label_names:
        texts = [f"{{{text}}}" for text in texts]
    if not (snapshot.exemplars or snapshot.created):
        return "".join([f"{name}{text} {value}\n" for text, value in zip(texts, values, strict=True)])
    named = snapshot.exemplar_name
    ends = [exemplar_text(exemplars.get(0), named) for exemplars in snapshot.exemplars] or [""] * len(texts)
    lines = [f"{name}{text} {value}{end}\n" for text, value, end in zip(texts, values, ends, strict=True)]
    return "".join(_with_created(lines, name.removesuffix("_total"), texts, snapshot))


def _with_created(lines: Sequence[str], name: str, texts: Sequence[str], snapshot: FamilySnapshot) -> Iterable[str]:
    """The lines of each series, and behind them since when it counts, if that is shown."""
    if not snapshot.created or snapshot.family.type.is_timed:
        return lines
    return [
        f"{line}{name}_created{text} {created:.3f}\n"
        for line, text, created in zip(lines, texts, snapshot.created, strict=True)
    ]


def _histogram_lines(snapshot: FamilySnapshot) -> str:
    family = snapshot.family
    comma, braces = (",", "{%s}") if family.label_names else ("", "%s")
    bounds = [*map(bound_text, family.buckets), "+Inf"]
    end = "%s" if snapshot.exemplars else ""
    template = "".join(f'{family.name}_bucket{{%s{comma}le="{bound}"}} %d{end}\n' for bound in bounds)
    template += f"{family.name}_sum{braces} %s\n{family.name}_count{braces} %d\n"
    arguments = _exemplary_arguments(snapshot, len(bounds)) if snapshot.exemplars else _histogram_arguments(snapshot)
    lines = [template % row for row in arguments]
    texts = [f"{{{text}}}" if text else "" for text in snapshot.texts] if snapshot.created else []
    return "".join(_with_created(lines, family.name, texts, snapshot))


def _histogram_arguments(snapshot: FamilySnapshot) -> Iterator[tuple[Any, ...]]:
    for text, value in zip(snapshot.texts, snapshot.values, strict=True):
        counts = list(accumulate(value[:-1]))
        buckets = chain.from_iterable(zip(repeat(text), counts, strict=False))
        yield (*buckets, text, number_text(value[-1]), text, counts[-1])


def _exemplary_arguments(snapshot: FamilySnapshot, buckets: int) -> Iterator[tuple[Any, ...]]:
    """The same with the exemplar of each bucket behind its count."""
    for text, value, exemplars in zip(snapshot.texts, snapshot.values, snapshot.exemplars, strict=True):
        counts = list(accumulate(value[:-1]))
        ends = [exemplar_text(exemplars.get(bucket), snapshot.exemplar_name) for bucket in range(buckets)]
        triples = chain.from_iterable(zip(repeat(text), counts, ends, strict=False))
        yield (*triples, text, number_text(value[-1]), text, counts[-1])
