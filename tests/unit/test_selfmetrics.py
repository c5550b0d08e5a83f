"""The daemon's own metrics in both formats: complete, without `_created`, and whatever one collector does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, Metric, Summary
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.registry import Collector

from exporter.exposition import EOF_LINE, Format
from exporter.selfmetrics import SelfMetrics, self_metrics


def _registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    Counter("a", 'Says "hello"\\.', ["x"], registry=registry).labels('q"\n\\').inc(3)
    Gauge("b", "B.", registry=registry).set(2.5)
    Histogram("c_seconds", "C.", buckets=(1.0, 2.0), registry=registry).observe(1.5)
    Summary("d", "D.", registry=registry).observe(4)
    Info("e", "E.", registry=registry).info({"version": "1"})
    return registry


def _samples(text: str, form: Format) -> dict[tuple[str, str], float]:
    parse: Any = parse_text if form is Format.TEXT else parse_openmetrics
    families = parse(text if form is Format.TEXT else text + EOF_LINE)
    return {(sample.name, str(sample.labels.get("le", ""))): sample.value for one in families for sample in one.samples}


@pytest.mark.parametrize("form", list(Format))
def test_every_metric_is_written_without_created_series(form: Format) -> None:
    """All types of the library come back with their values, and `_created` does not appear."""
    samples = _samples(SelfMetrics(collectors=[_registry()]).text(form), form)
    assert samples == {
        ("a_total", ""): 3,
        ("b", ""): 2.5,
        ("c_seconds_bucket", "1.0"): 0,
        ("c_seconds_bucket", "2.0"): 1,
        ("c_seconds_bucket", "+Inf"): 1,
        ("c_seconds_count", ""): 1,
        ("c_seconds_sum", ""): 1.5,
        ("d_count", ""): 1,
        ("d_sum", ""): 4,
        ("e_info", ""): 1,
    }


def test_the_process_is_described() -> None:
    """The process collector's metrics are there beside the registry's."""
    text = self_metrics(_registry()).text(Format.TEXT)
    assert "process_resident_memory_bytes " in text
    assert "a_total{" in text


class Failing(Collector):
    """Gives one metric, then fails while `is_broken`."""

    is_broken = True

    def collect(self) -> Iterator[Metric]:
        yield Metric("f", "F.", "gauge")
        if self.is_broken:
            raise RuntimeError("defect")


def test_a_failing_collector_loses_its_own_metrics_only(caplog: pytest.LogCaptureFixture) -> None:
    """The others are written; the failure is said once, and again only after it had gone."""
    failing = Failing()
    metrics = SelfMetrics(collectors=[failing, _registry()])
    for _ in range(3):
        assert "a_total{" in metrics.text(Format.TEXT)
    assert caplog.text.count("RuntimeError: defect") == 1
    failing.is_broken = False
    assert "# TYPE f gauge" in metrics.text(Format.TEXT)
    failing.is_broken = True
    metrics.text(Format.TEXT)
    assert caplog.text.count("RuntimeError: defect") == 2
