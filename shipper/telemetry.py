"""The catalogue of the daemon's own metrics: every name, label and help text in one place.

Constructed with a registry, handed to the stages by constructor. Children are bound once by who counts, and added to
per batch: `.labels()` per line would cost more than the line. `exporter.selfmetrics` renders the registry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from exporter.registry import Collector, CollectorRegistry, Counter, Gauge, GaugeMetricFamily, Histogram, Metric
from shipper import __version__

LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

RULE_ERRORS = ("missing", "not_a_number", "not_finite", "negative", "internal")
"""Why a rule could not count a line."""
RESULTS = ("created", "duplicate", "reduced", "dropped", "dead_letter")
"""What became of documents."""
PARSE_FAILURES = ("not_json", "not_object", "bad_frame", "too_deep", "too_long", "encoding", "damaged_file")
"""Why a line is not what its format says."""
LOSSES = ("truncated", "deleted", "truncated_while_down", "deleted_while_down", "given_up")
"""Why bytes went away before they could be read."""


class AskedGauge(Collector):
    """A gauge whose series are asked for at each scrape: which there are is known by nobody beforehand."""

    def __init__(self, name: str, text: str, label: str) -> None:
        self._name = name
        self._text = text
        self._label = label
        self._function: Callable[[], Mapping[str, int]] = dict

    def set_function(self, function: Callable[[], Mapping[str, int]]) -> None:
        """`function` gives the values by label, from any thread; if it raised, others would be missing too."""
        self._function = function

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(self._name, self._text, labels=[self._label])
        for value, count in self._function().items():
            family.add_metric([value], count)
        yield family


class Telemetry:
    """One instance a daemon; attributes are the metrics, without the `shipper_` prefix."""

    def __init__(self, *, registry: CollectorRegistry) -> None:
        self.registry = registry

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"shipper_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"shipper_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str) -> Histogram:
            return Histogram(f"shipper_{name}", text, buckets=LATENCY_BUCKETS, registry=registry)

        gauge("build_info", "Version of the running shipper.", "version").labels(__version__).set(1)
        self.files = gauge("files", "Files by source and state.", "source", "state")
        self.lines = counter("lines", "Lines read, each once, whether shipped, dropped or set aside.", "source")
        self.bytes = counter("bytes", "Bytes of the lines read, decompressed.", "source")
        self.documents = counter("documents", "Documents by what became of them.", "source", "result")
        self.parse_failures = counter(
            "parse_failures", "Lines that are not what their format says.", "source", "reason"
        )
        self.unread_lost_bytes = counter(
            "unread_lost_bytes", "Bytes that went away before they could be read.", "source", "reason"
        )
        self.lag_bytes = gauge("lag_bytes", "Bytes on disk that the cursor has not passed.", "source", "cursor")
        self.lag_seconds = gauge(
            "lag_seconds", "Age of the oldest line that the cursor has not passed.", "source", "cursor"
        )
        self.catching_up = gauge("catching_up", "1 while shipping reads again what metrics have read.", "source")
        self.unexpected_conflicts = counter(
            "unexpected_conflicts",
            "Documents that the server had on the first attempt: state was lost, or ids collide.",
        )
        self.bulk_requests = counter("bulk_requests", "Bulk requests by outcome.", "result")
        self.bulk_duration = histogram("bulk_duration_seconds", "Time from sending a bulk request to its answer.")
        self.bulk_retries = counter("bulk_retries", "Documents sent again, by reason.", "reason")
        self.output_up = gauge("output_up", "1 if the last request to the output was answered.")
        self.dead_letter_records = AskedGauge(
            "shipper_dead_letter_records", "Dead letters that stand in the files, by reason.", "reason"
        )
        registry.register(self.dead_letter_records)
        self.redactions = counter("redactions", "Values redacted, by rule.", "rule")
        self.rule_errors = counter("rule_errors", "Lines that a rule could not count, by reason.", "rule", "reason")
        self.label_overflow = counter(
            "label_overflow", "Label values replaced because the label's budget was used up.", "rule", "label"
        )
        self.series = gauge("series", "Series by rule.", "rule")
        self.state_commit_age = gauge("state_commit_age_seconds", "Seconds since the state was last committed.")
        self.state_commit_duration = histogram("state_commit_duration_seconds", "Time that a commit took.")
        self.unexpected_tails = counter(
            "unexpected_tails", "Unterminated last lines that were shipped and continued later."
        )
        self.config_last_reload_successful = gauge(
            "config_last_reload_successful", "1 if the last load of the configuration succeeded."
        )
        self.config_last_reload_timestamp = gauge(
            "config_last_reload_timestamp_seconds", "When the configuration was last loaded successfully."
        )


def begin_source(telemetry: Telemetry, source: str) -> None:
    """Has what is counted of a source begin at 0, so that a scraper sees its first event as an increase."""
    counters = (
        (telemetry.documents, RESULTS),
        (telemetry.parse_failures, PARSE_FAILURES),
        (telemetry.unread_lost_bytes, LOSSES),
    )
    for counter, values in counters:
        for value in values:
            counter.labels(source, value)
    telemetry.lines.labels(source)
    telemetry.bytes.labels(source)


class RuleCounts:
    """What the exporter's rules could not count as asked, told to the catalogue."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry

    def begin(self, rules: Mapping[str, Sequence[str]]) -> None:
        """Has the series of these rules (with their labels) begin at 0, and forgets the number of series of others."""
        self._telemetry.series.clear()
        for rule, labels in rules.items():
            for reason in RULE_ERRORS:
                self._telemetry.rule_errors.labels(rule, reason)
            for label in labels:
                self._telemetry.label_overflow.labels(rule, label)

    def rule_error(self, rule: str, reason: str, count: int) -> None:
        self._telemetry.rule_errors.labels(rule, reason).inc(count)

    def label_overflow(self, rule: str, label: str, count: int) -> None:
        self._telemetry.label_overflow.labels(rule, label).inc(count)

    def series(self, rule: str, count: int) -> None:
        self._telemetry.series.labels(rule).set(count)
