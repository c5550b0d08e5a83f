"""Writes the daemon's own metrics, which prometheus_client keeps, in the same two formats as those of the rules.

The library's own writers would add `_created` series or want a switch that is global to the process, and one failing
collector would fail the scrape; here it loses its own metrics only.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from exporter.exposition import Format, head_lines
from exporter.registry import Collector, CollectorRegistry, Metric, ProcessCollector
from exporter.texts import label_pairs, number_text

_TEXT_KINDS: Final = {"unknown": "untyped", "info": "gauge", "stateset": "gauge", "gaugehistogram": "gauge"}
log: Final = logging.getLogger(__name__)


class SelfMetrics:
    """Collects at each scrape, from any thread."""

    def __init__(self, *, collectors: Sequence[Collector]) -> None:
        self._collectors = collectors
        self._failing: set[int] = set()

    def text(self, form: Format) -> str:
        """All metrics of all collectors, without the end mark of OpenMetrics."""
        return "".join(text for number in range(len(self._collectors)) for text in self._texts(number, form))

    def _texts(self, number: int, form: Format) -> Iterator[str]:
        try:
            for metric in self._collectors[number].collect():
                yield _metric_text(metric, form)
        except Exception:  # a collector is anybody's code, and the scrape must not fail with it
            if number not in self._failing:
                log.exception("a collector of own metrics fails; its metrics are missing from the scrape")
            self._failing.add(number)
        else:
            self._failing.discard(number)


def self_metrics(registry: CollectorRegistry) -> SelfMetrics:
    """Those of a registry, and the `process_*` ones of this process."""
    return SelfMetrics(collectors=[registry, ProcessCollector(registry=None)])


def _metric_text(metric: Metric, form: Format) -> str:
    kind = metric.type
    name = metric.name
    if form is Format.TEXT:
        name = f"{name}_info" if kind == "info" else name
        kind = _TEXT_KINDS.get(kind, kind)
    return head_lines(name, kind, metric.documentation, metric.unit, form) + "".join(_sample_lines(metric))


def _sample_lines(metric: Metric) -> Iterable[str]:
    for sample in metric.samples:
        if sample.name == f"{metric.name}_created" and metric.type in {"counter", "histogram", "summary"}:
            continue
        pairs = label_pairs(list(sample.labels), list(sample.labels.values()))
        labels = f"{{{pairs}}}" if pairs else ""
        yield f"{sample.name}{labels} {number_text(sample.value)}\n"
