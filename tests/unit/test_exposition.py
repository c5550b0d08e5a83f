"""Both text formats: negotiated, escaped, read back by the library's parsers, clean for promtool, and cheap."""

from __future__ import annotations

import gzip
import math
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from counted import Bench, many_counters
from harness.missing import tool
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from exporter.births import Scraper
from exporter.exposition import EOF_LINE, Format, accepts_gzip, negotiate
from exporter.messages import Request, Response
from exporter.rules import default_rules, parse_rules
from exporter.scrape import SCRAPER_HEADER, ScrapeRequest, Scrapes, scrape_request
from exporter.selfmetrics import self_metrics
from exporter.series import Exporter
from exporter.texts import bound_text, number_text
from shipper.batch import Batch, Columns
from shipper.telemetry import Telemetry


class Silent:
    """Telemetry that forgets."""

    def rule_error(self, rule: str, reason: str, count: int) -> None: ...

    def label_overflow(self, rule: str, label: str, count: int) -> None: ...

    def series(self, rule: str, count: int) -> None: ...


def _exporter(text: str = "", **columns: list[Any]) -> Exporter:
    rules = parse_rules(f"rules:\n{text}", file="r.yml") if text else default_rules()
    exporter = Exporter(rules=rules, telemetry=Silent())
    count = max(map(len, columns.values()), default=0)
    exporter.observe(Batch("s", "p", "i", 0, 1, [b"{}"] * count, range(count), columns=Columns(columns)))
    exporter.publish(exporter.take_changes())
    return exporter


def _body(exporter: Exporter, form: Format, *parts: str) -> str:
    registry = CollectorRegistry()
    Telemetry(registry=registry)
    scrapes = Scrapes(exporter=lambda: exporter, self_metrics=self_metrics(registry))
    return scrapes(ScrapeRequest(form=form, parts=parts or ("rules",))).body.decode()


RULES = """
  - {name: a_total, type: counter, help: "Back\\\\slash, \\"quote\\"\\nand newline.", labels: {x: x}, value: v}
  - {name: b_seconds, type: histogram, unit: seconds, value: v, labels: {x: x}, buckets: [0.5, 1, 10]}
  - {name: c_total, type: counter}
  - {name: d_seconds, type: histogram, value: v, buckets: [1]}
  - {name: none_total, type: counter, when: exists(nothing), labels: {x: x}}
"""
NASTY = ['q"q', "back\\slash", "line\nbreak", "\\n", "ümlaut \U0001f600", "a,b={}", "nul\0", "\r\t", ""]


def _nasty() -> Exporter:
    return _exporter(RULES, x=NASTY, v=[0.25] * len(NASTY))


GOLDEN = Path(__file__).parent / "golden"
GOLDEN_RULES = """
  - {name: jobs_total, type: counter, help: "Jobs, by \\"queue\\".", labels: {queue: queue, done: done}}
  - {name: cost_euros_total, type: counter, help: Sum., unit: euros, value: v}
  - {name: wait_seconds, type: histogram, unit: seconds, value: v, labels: {queue: queue}, buckets: [0.5, 1]}
  - {name: size_bytes, type: histogram, value: v, buckets: [1e6]}
  - {name: depth, type: gauge, help: Depth., value: 0 - v, labels: {queue: queue}}
  - {name: good_share, type: ratio, value: v > 1}
  - {name: workers, type: distinct, value: queue}
  - {name: longest_seconds, type: max, unit: seconds, value: v}
  - {name: never_total, type: counter, help: Never., when: v > 100}
"""


@pytest.mark.parametrize("name", ["text.prom", "openmetrics.prom", "openmetrics-created.prom"])
def test_the_text_is_exactly_this(name: str) -> None:
    """Every type, with and without labels, exemplars and creation times, byte for byte as in the golden files."""
    form = Format.TEXT if name == "text.prom" else Format.OPENMETRICS
    bench = Bench(GOLDEN_RULES, exemplar="requestId", shows_created="created" in name)
    queues = ["mail", "print\\room", 'a "b"\nc', "mail"]
    bench.observe(queue=queues, done=[True, False, True, True], v=[0.25, 2.5, 1, 0.75], requestId=["r1", "r2", 7, "r4"])
    bench.commit()
    expected = (GOLDEN / name).read_text()
    end = EOF_LINE if form is Format.OPENMETRICS else ""
    assert bench.text(form) + end == expected
    assert list((parse_text if form is Format.TEXT else parse_openmetrics)(expected))


@pytest.mark.parametrize(("form", "parse"), [(Format.TEXT, parse_text), (Format.OPENMETRICS, parse_openmetrics)])
def test_the_parsers_of_the_library_read_it_back(form: Format, parse: Any) -> None:
    """Labels with quotes, newlines and other text come back as they were, with their values."""
    families = {family.name: family for family in parse(_body(_nasty(), form))}
    expected = {text.replace("\0", "\ufffd"): 0.25 for text in NASTY}
    assert {sample.labels["x"]: sample.value for sample in families["a"].samples} == expected
    assert families["a"].documentation == 'Back\\slash, "quote"\nand newline.'
    buckets = [sample for sample in families["b_seconds"].samples if sample.name == "b_seconds_bucket"]
    assert {sample.labels["le"] for sample in buckets} == {"0.5", "1.0", "10.0", "+Inf"}
    assert [sample.value for sample in families["c"].samples] == [len(NASTY)]
    assert families["none"].samples == []


@pytest.mark.parametrize(("form", "parse"), [(Format.TEXT, parse_text), (Format.OPENMETRICS, parse_openmetrics)])
def test_own_metrics_and_those_of_rules_make_one_exposition(form: Format, parse: Any) -> None:
    """Both parts together are read back, each name once."""
    names = [family.name for family in parse(_body(_nasty(), form, "rules", "self"))]
    assert len(names) == len(set(names))
    assert {"a", "shipper_lines", "process_cpu_seconds"} <= set(names)


def test_promtool_has_nothing_to_say() -> None:
    """The text format of default rules and own metrics, and of every type of rule, passes Prometheus' own lint."""
    promtool = tool("promtool", "Debian: apt install prometheus")
    exporter = _exporter(method=["GET"], url=["/a/1"], statusCode=[200], duration=[5])
    body = _body(exporter, Format.TEXT, "rules", "self")
    found = subprocess.run([promtool, "check", "metrics"], input=body, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")
    text = (GOLDEN / "text.prom").read_text()
    found = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (0, "", "")


PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,"
    "text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)
ACCEPTS = [
    ("", Format.TEXT),
    ("*/*", Format.TEXT),
    ("text/plain", Format.TEXT),
    ("text/html", Format.TEXT),
    ("application/openmetrics-text", Format.OPENMETRICS),
    ("application/openmetrics-text; version=1.0.0", Format.OPENMETRICS),
    ("Application/OpenMetrics-Text ; Version=1.0.0 ; Q=0.5", Format.OPENMETRICS),
    ("application/openmetrics-text;version=0.0.1", Format.TEXT),
    ("application/openmetrics-text;q=0.5,text/plain;q=0.9", Format.TEXT),
    ("application/openmetrics-text;q=0.9,text/plain;q=0.9", Format.OPENMETRICS),
    ("application/openmetrics-text;q=0,*/*", Format.TEXT),
    ("application/openmetrics-text;q=nonsense", Format.TEXT),
    ("text/plain;q=0,*/*", Format.OPENMETRICS),
    ("application/*", Format.OPENMETRICS),
    (PROMETHEUS_2, Format.OPENMETRICS),
    (PROMETHEUS_3, Format.OPENMETRICS),
    ("text/plain;version=0.0.4;q=0.9," + PROMETHEUS_3, Format.TEXT),
    (";;,,;q=,=", Format.TEXT),
]


@pytest.mark.parametrize(("accept", "form"), ACCEPTS)
def test_the_format_is_the_one_that_is_preferred(accept: str, form: Format) -> None:
    """Weights decide; whoever asks for nothing in particular gets the text format."""
    assert negotiate(accept) is form


@pytest.mark.parametrize(
    ("header", "expected"),
    [("gzip", True), ("GZIP;q=0.5", True), ("*", True), ("gzip;q=0, *", False), ("deflate, br", False), ("", False)],
)
def test_gzip_is_used_where_it_is_accepted(header: str, expected: bool) -> None:
    """A weight of 0 is a refusal."""
    assert accepts_gzip(header) is expected


def test_a_large_body_is_compressed_and_a_small_one_is_not() -> None:
    """Compressed, the body is the same text."""
    exporter = _exporter(
        method=["GET"] * 50, url=[f"/{c}{d}" for c in "abcde" for d in "qrstuvwxyz"], statusCode=[200] * 50
    )
    scrapes = Scrapes(exporter=lambda: exporter, self_metrics=self_metrics(CollectorRegistry()))
    plain = scrapes(ScrapeRequest(parts=("rules",)))
    packed = scrapes(ScrapeRequest(parts=("rules",), is_gzip=True))
    assert packed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert "Content-Encoding" not in plain.headers
    small = Scrapes(exporter=lambda: _exporter(), self_metrics=self_metrics(CollectorRegistry()))
    assert "Content-Encoding" not in small(ScrapeRequest(parts=("rules",), is_gzip=True)).headers


NUMBERS = [
    (5, "5"),
    (5.0, "5"),
    (0.1, "0.1"),
    (1e300, "1e+300"),
    (1e15, "1000000000000000.0"),
    (math.inf, "+Inf"),
    (-math.inf, "-Inf"),
    (math.nan, "NaN"),
]


@pytest.mark.parametrize(("value", "text"), NUMBERS)
def test_numbers_are_written_so_that_nothing_is_lost(value: float, text: str) -> None:
    """The text reads back as the same number."""
    assert number_text(value) == text
    assert float(text) == value or math.isnan(value)


def test_bounds_have_one_spelling() -> None:
    """Both formats write them alike, so that a series stays the same series."""
    assert [bound_text(bound) for bound in (1, 0.005, 1e6, math.inf)] == ["1.0", "0.005", "1000000.0", "+Inf"]


def _request(method: str = "GET", collect: list[str] | None = None, headers: dict[str, str] | None = None) -> Any:
    query = {} if collect is None else {"collect": collect}
    return scrape_request(
        Request(method=method, path="/metrics", query=query, headers=headers or {}, address="10.0.0.1")
    )


def test_what_is_collected_can_be_chosen() -> None:
    """Rules, own metrics, or by default both; anything else is an error that names it."""
    assert list(_request().parts) == ["rules", "self"]
    assert list(_request(collect=["self"]).parts) == ["self"]
    assert list(_request(collect=["self", "rules"]).parts) == ["rules", "self"]
    refused = _request(collect=["rule\nx"])
    assert isinstance(refused, Response)
    assert refused.status == 400
    assert b"'rule\\nx' is unknown" in refused.body


def test_a_scraper_is_who_says_its_timeout() -> None:
    """Only a GET with the header of Prometheus that asks for rules; a look by hand never uses up a zero."""
    header = {SCRAPER_HEADER: "10", "user-agent": "Prometheus/3"}
    assert _request(headers=header).scraper == Scraper("10.0.0.1", "Prometheus/3")
    named = scrape_request(
        Request(method="GET", path="/metrics", query={"scraper": ["a"]}, headers=header, address="10.0.0.1")
    )
    assert isinstance(named, ScrapeRequest)
    assert named.scraper == Scraper("10.0.0.1", "Prometheus/3", "a")
    assert _request("HEAD", headers=header).scraper is None
    assert _request(collect=["self"], headers=header).scraper is None
    assert _request().scraper is None


def _cpu_seconds(exporter: Exporter, form: Format) -> float:
    """The best of some scrapes, compressed."""
    scrapes = Scrapes(exporter=lambda: exporter, self_metrics=self_metrics(CollectorRegistry()))
    times = []
    for _ in range(5):
        start = time.process_time()
        scrapes(ScrapeRequest(form=form, parts=("rules",), is_gzip=True))
        times.append(time.process_time() - start)
    return min(times)


@pytest.mark.parametrize("form", Format)
def test_a_scrape_costs_in_proportion_to_its_series(form: Format) -> None:
    """Ten times the series take at most twenty times the CPU. (`make bench-metrics` has the seconds.)"""
    few, many = many_counters(5_000), many_counters(50_000)
    assert many.series_count == 50_000
    assert _cpu_seconds(many, form) < 20 * _cpu_seconds(few, form)
