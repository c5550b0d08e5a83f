"""Rule files: what they may hold, and that every mistake is named with its line, all of them at once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from exporter.rule import BUDGETS, Budget, Rule, RuleType
from exporter.rulereader import DEFAULT_BUCKETS
from exporter.rules import catalogue, default_rules, label_warnings, load_rules, parse_rules
from shipper.errors import ConfigError


def _problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_rules(text, file="r.yml")
    return caught.value.problems


def _one(lines: str) -> Rule:
    (rule,) = parse_rules(f"rules:\n  - {{{lines}}}\n", file="r.yml")
    return rule


COUNTER = "name: a_total, type: counter"
HISTOGRAM = "name: a_seconds, type: histogram, value: d"


def test_the_default_rules_are_the_two_http_rules() -> None:
    """Without rule files requests are counted and timed, by method, route and status."""
    requests, durations = default_rules()
    assert (requests.name, requests.type, requests.label_names) == (
        "http_requests_total",
        RuleType.COUNTER,
        ("method", "path", "status"),
    )
    assert (durations.type, len(durations.buckets), durations.buckets[0]) == (RuleType.HISTOGRAM, 10, 0.005)
    assert requests.fields | durations.fields == {"method", "url", "statusCode", "duration"}


def test_every_key_of_a_rule_is_read(tmp_path: Path) -> None:
    """A rule with all keys has what they say, and remembers where it stands."""
    path = tmp_path / "rules.yml"
    path.write_text(
        """
rules:
  - name: jobs_seconds
    type: histogram
    help: Time of jobs.
    unit: seconds
    when: kind == "job"
    value: ms / 1000
    labels: {queue: queue, code: 5}
    buckets: [1, 2.5, "10"]
    init: [{queue: mail, code: 5}, {code: 7, queue: print}]
    source: [app, cron]
"""
    )
    (rule,) = load_rules([path])
    assert (rule.help, rule.unit, rule.buckets) == ("Time of jobs.", "seconds", (1.0, 2.5, 10.0))
    assert rule.label_names == ("queue", "code")
    assert rule.init == (("mail", "5"), ("print", "7"))
    assert rule.sources == {"app", "cron"}
    assert rule.fields == {"kind", "ms", "queue"}
    assert rule.where == f"{path}:3"


@pytest.mark.parametrize(
    ("lines", "window", "expire"),
    [
        ("type: gauge, value: v", 0, 900),
        ("type: gauge, value: v, expire: 1h", 0, 3600),
        ("type: max, value: v", 300, 0),
        ("type: ratio, value: v > 1, window: 90s", 90, 0),
        ("type: distinct, value: v, window: 1.5m", 90, 0),
        ("type: distinct, value: lower(v), window: 60", 60, 0),
        ("type: max, value: v, window: 5000ms", 5, 0),
    ],
)
def test_windows_and_expiry_are_durations(lines: str, window: float, expire: float) -> None:
    """With a unit or in seconds; each type has the one that is its own, or its default."""
    rule = _one(f"name: a, {lines}")
    assert (rule.window_seconds, rule.expire_seconds) == (window, expire)
    assert rule.fields == {"v"}


def test_budgets_can_be_given() -> None:
    """For each rule; without, they are those of its type."""
    assert _one(f"{COUNTER}, max_values: 5, max_series: 100000").budget == Budget(5, 100_000)
    assert _one(f"{COUNTER}, max_values: 5").budget == Budget(5, BUDGETS[RuleType.COUNTER].max_series)
    assert _one("name: a, type: distinct, value: v").budget == BUDGETS[RuleType.DISTINCT]


def test_budgets_texts_and_expiry_change_no_meaning() -> None:
    """A metric keeps its values when only these change; another window is another metric."""
    gauge = "name: a, type: gauge, value: v"
    for more in ("help: x", "max_values: 5", "expire: 1h"):
        assert _one(f"{gauge}, {more}").meaning == _one(gauge).meaning
    window = "name: a, type: max, value: v"
    assert _one(f"{window}, window: 300s").meaning == _one(window).meaning
    assert _one(f"{window}, window: 301s").meaning != _one(window).meaning


def test_defaults_of_a_rule() -> None:
    """A histogram has the ten default buckets; one source may be named without a list."""
    rule = _one(f"{HISTOGRAM}, source: app")
    assert rule.buckets == DEFAULT_BUCKETS
    assert rule.sources == {"app"}
    assert _one(COUNTER).labels == ()


MISTAKES = [
    ("name: a_total, type: countr", "unknown type 'countr'; did you mean counter?"),
    (
        "name: a_total, type: summary",
        "unknown type 'summary'; known are counter, histogram, gauge, ratio, distinct, max",
    ),
    ("name: a_total", "type: is missing"),
    ("name: a_total, type: counter, when: exists(a", "within {...} an expression that has commas stands in quotes"),
    ("type: counter", "name: is missing"),
    (f"{COUNTER}, lables: {{}}", "unknown key 'lables'; did you mean labels?"),
    ("name: a, type: counter", "ends in _total: a_total"),
    ("name: a_total, type: histogram, value: d", "the ending _total is reserved"),
    ("name: a-b_total, type: counter", "is no metric name"),
    ("name: réq_total, type: counter", "is no metric name"),
    ("name: __a_total, type: counter", "is no metric name"),
    ("name: shipper_a_total, type: counter", "daemon's own metrics"),
    ("name: process_a_total, type: counter", "daemon's own metrics"),
    (f"{COUNTER}, labels: {{le: a}}", "'le' is reserved: a histogram has its bounds there"),
    (f"{COUNTER}, labels: {{quantile: a}}", "'quantile' is reserved: a summary has its quantiles there"),
    (f"{COUNTER}, labels: {{__name__: a}}", "'__name__' is reserved: names that begin with __ are Prometheus' own"),
    (f"{COUNTER}, labels: {{__address__: a}}", "'__address__' is reserved"),
    (f"{COUNTER}, labels: {{a-b: a}}", "'a-b' is no label name"),
    (f"{COUNTER}, labels: [a]", "must be a mapping of label names"),
    (f"{COUNTER}, labels: {{a: [b]}}", "a: must be an expression"),
    (f"{COUNTER}, labels: {{a: routee(url)}}", "labels: a: column 1: unknown function 'routee'; did you mean route?"),
    (f"{COUNTER}, when: a >", "when: column 4: expected"),
    (f"{COUNTER}, when: duration + 1", "when: column 1: a condition is needed"),
    (f"{COUNTER}, value: a > 1", "must be a number, this is a boolean"),
    ("name: a, type: ratio, value: b / c", "must be a condition, whose share of the lines is shown; this is a number"),
    ("name: a, type: ratio, value: lower(b)", "compare it with something, or show it as it is by type gauge"),
    ("name: a, type: ratio, value: b >", "value: column 4: expected"),
    (f"{COUNTER}, buckets: [1]", "is for histogram only"),
    ("name: a_seconds, type: histogram", "value: is missing"),
    (f"{HISTOGRAM}, buckets: [2, 1]", "must be ascending"),
    (f"{HISTOGRAM}, buckets: [1, 1]", "must be ascending"),
    (f"{HISTOGRAM}, buckets: []", "finite numbers"),
    (f"{HISTOGRAM}, buckets: [1, .inf]", "finite numbers"),
    (f"{HISTOGRAM}, buckets: 5", "finite numbers"),
    (f"{COUNTER}, unit: seconds", "must end in _seconds"),
    (f"{COUNTER}, labels: {{a: a}}, init: [{{b: x}}]", "mappings with the labels a"),
    (f"{COUNTER}, labels: {{a: a}}, init: {{a: x}}", "mappings with the labels a"),
    (f"{COUNTER}, source: []", "must be the name of a source"),
    (f"{COUNTER}, help: [a]", "must be a text"),
    (f"{COUNTER}, name: b_total", "'name' is given twice"),
]


@pytest.mark.parametrize(("lines", "part"), MISTAKES)
def test_a_mistake_is_named_with_its_line(lines: str, part: str) -> None:
    """The message starts with file and line, and says what to write instead."""
    (problem,) = _problems(f"rules:\n  - {{{lines}}}\n")
    assert problem.startswith("r.yml:2: ")
    assert part in problem


FILES = [
    ("rules: 5", "rules must be a list"),
    ("", "r.yml:1: is empty; `rules: []` says that there are none"),
    ("# rules:\n", "is empty"),
    ("a: 1\nrules: []", "unknown key 'a'"),
    ("- a", "must be a mapping with the key rules"),
    ("rules:\n  - 5", "r.yml:2: a rule must be a mapping"),
    ("rules: [", "is not YAML"),
    ("rules: " + "[" * 30, "nested deeper"),
    ("rules: &a [*a]", "contains itself"),
    ("rules: &a [*a, *a]", "contains itself"),
    ("? [a]\n: 1", "a key must be a plain name"),
    ("rules: \x01", "is not YAML"),
    ("rules: \ud800", "is not UTF-8"),
]


@pytest.mark.parametrize(("text", "part"), FILES)
def test_an_unusable_file_is_refused(text: str, part: str) -> None:
    """What is no rule file at all is said in one message or two, never by a traceback."""
    assert any(part in problem for problem in _problems(text))


def test_mistakes_are_said_in_the_order_of_their_lines() -> None:
    """Whatever is looked at first."""
    lines = ["name: a", "type: counter", "when: a >", "labels: {le: b}", "window: 5", "hepl: x"]
    problems = _problems("rules:\n  - " + "\n    ".join(lines) + "\n")
    assert [problem.split(":")[1] for problem in problems] == ["2", "4", "5", "6", "7"]


def test_all_mistakes_of_all_files_are_said_at_once(tmp_path: Path) -> None:
    """Two files, one of which is missing, give every problem in one error."""
    path = tmp_path / "bad.yml"
    path.write_text("rules:\n  - name: a\n    type: counter\n    when: a >\n    labels:\n      le: b\n")
    with pytest.raises(ConfigError) as caught:
        load_rules([path, tmp_path / "absent.yml"])
    places = [problem.split(" ")[0] for problem in caught.value.problems]
    assert sorted(places[:3]) == [f"{path}:2:", f"{path}:4:", f"{path}:6:"]
    assert "cannot be read" in caught.value.problems[3]


def test_labels_that_a_scrape_has_as_well_are_warned_of() -> None:
    """They work, under another name: Prometheus keeps its own."""
    text = f"rules:\n  - {{{COUNTER}, labels: {{job: a}}}}\n  - {{{HISTOGRAM}, labels: {{instance: i, e: j}}}}\n"
    rules = parse_rules(text, file="r.yml")
    job, instance = label_warnings(rules)
    assert job.startswith("r.yml:2: rule a_total: Prometheus has a label job of its own")
    assert "exported_job" in job
    assert instance.startswith("r.yml:3: rule a_seconds: Prometheus has a label instance of its own")


CONTRADICTIONS = [
    ("name: a_total, type: counter, labels: {x: x}", "has the labels none in r.yml:2"),
    ("name: a, type: histogram, value: d", "OpenMetrics calls it a as well"),
    ("name: a_total, type: counter", "stands twice"),
]


@pytest.mark.parametrize(("lines", "part"), CONTRADICTIONS)
def test_rules_of_one_name_must_agree(lines: str, part: str) -> None:
    """Two rules that would make one metric of two kinds are refused, naming the place of the first."""
    (problem,) = _problems(f"rules:\n  - {{{COUNTER}}}\n  - {{{lines}}}\n")
    assert problem.startswith("r.yml:3: rule a")
    assert part in problem


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("a_total, type: counter", "a_created_total, type: counter"),
        ("a_total, type: counter", "a_total_total, type: counter"),
        ("a_seconds, type: histogram, value: v", "a_seconds_count_total, type: counter"),
        ("a_seconds, type: histogram, value: v", "a_seconds_bucket_total, type: counter"),
    ],
)
def test_no_metric_is_called_as_a_sample_of_another(first: str, second: str) -> None:
    """OpenMetrics leaves `_total` out of a metric's name, and its readers refuse the whole scrape then."""
    for one, other in ((first, second), (second, first)):
        (problem,) = _problems(f"rules:\n  - {{name: {one}}}\n  - {{name: {other}}}\n")
        name = second.partition(",")[0]
        assert problem.startswith(f"r.yml:{2 if one == second else 3}: rule {name}: OpenMetrics calls it")
        assert problem.endswith(f"in r.yml:{3 if one == second else 2}")


def test_windows_of_one_name_must_be_equal() -> None:
    """As the buckets of a histogram."""
    rule = "  - {name: a, type: max, value: v, window: %s}\n"
    problems = _problems(f"rules:\n{rule % '5m'}{rule % '6m'}")
    assert problems == ["r.yml:3: rule a: has another window or expire in r.yml:2"]


def test_histograms_of_one_name_need_the_same_buckets() -> None:
    """Buckets are part of the metric, not of the rule."""
    (problem,) = _problems(f"rules:\n  - {{{HISTOGRAM}}}\n  - {{{HISTOGRAM}, buckets: [1], when: exists(x)}}\n")
    assert "has other buckets in r.yml:2" in problem


def test_several_rules_may_feed_one_metric() -> None:
    """Rules that agree are kept, with the labels in the order of the first."""
    text = """
rules:
  - {name: a_total, type: counter, labels: {x: x, y: y}}
  - {name: a_total, type: counter, labels: {y: q, x: p}, init: [{y: "1", x: "2"}]}
"""
    first, second = parse_rules(text, file="r.yml")
    assert first.label_names == second.label_names == ("x", "y")
    assert [value.text for _, value in second.labels] == ["p", "q"]
    assert second.init == (("2", "1"),)


def test_meaning_is_what_is_counted_and_nothing_else() -> None:
    """Help and spaces do not change the meaning of a rule; its condition does."""
    meaning = _one(f"{COUNTER}, when: a>1").meaning
    assert _one(f"{COUNTER}, when: a > 1, help: x").meaning == meaning
    assert _one(f"{COUNTER}, when: a > 2").meaning != meaning
    texts = [r"""a == "x\"'\d\\" """, r"""a == 'x"\'\\d\\'""", r"""`a`=='x\"\'\d\\' """]
    found = {_one(f"{COUNTER}, when: {json.dumps(text)}").meaning for text in texts}
    assert len(found) == 1, "quotes are spelling, around texts and fields"
    assert _one(f"{COUNTER}, when: '`a b` == 1'").meaning != _one(f"{COUNTER}, when: '`ab` == 1'").meaning


def test_the_catalogue_names_samples_and_labels() -> None:
    """What dashboards and alerts may use follows from the rules."""
    assert catalogue(default_rules()) == {
        "http_requests_total": ("method", "path", "status"),
        "http_request_duration_seconds_bucket": ("method", "path", "status", "le"),
        "http_request_duration_seconds_sum": ("method", "path", "status"),
        "http_request_duration_seconds_count": ("method", "path", "status"),
    }
