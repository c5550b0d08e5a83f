"""`shipper test`: what is read of a test file, and what differs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from exporter.rules import default_rules
from shipper.errors import ConfigError
from shipper.settings import DropSettings, Format, LocalSettings, OutputSettings, Settings, SourceSettings
from shipper.testing.cases import read_cases
from shipper.testing.compare import are_equal, values_at
from shipper.testing.report import as_text
from shipper.testing.samples import Sample, parse_sample
from shipper.testing.trial import Outcome, Trial

HEAD = "tests:\n  - name: one\n"
REQUEST = (
    '{timestamp: "2024-01-15T10:30:45Z", method: GET, url: /a, statusCode: 503, duration: 10, user: {id: 7}, x: null}'
)
SETTINGS = Settings(
    sources=(
        SourceSettings(name="app", paths=("/logs/app*.log",)),
        SourceSettings(name="docker", paths=("/c/*-json.log",), format=Format.DOCKER),
        SourceSettings(name="cri", paths=("/pods/0.log",), format=Format.CRI),
        SourceSettings(name="counted", paths=("/logs/counted.log",), ship=False),
    ),
    drop=(DropSettings(when="duration == 1"),),
    output=OutputSettings(local=LocalSettings()),
)

MISTAKES = [
    ("", "t.yml:1: is empty; it needs `tests`"),
    ("tests: []", "t.yml:1: tests: is empty"),
    ("test: []", "t.yml:1: test: unknown key, did you mean tests?"),
    (f"{HEAD}    lines: [a]\n    expcet: {{}}", "t.yml:4: tests[0].expcet: unknown key, did you mean expect?"),
    (
        f"{HEAD}    lines: [a]\n    problems: []",
        "t.yml:4: tests[0].problems: unknown key here; it belongs in tests[].expect[]",
    ),
    (
        f"{HEAD}    lines: [a]\n    expect: {{tag: []}}",
        "t.yml:4: tests[0].expect[0].tag: unknown key, did you mean tags?",
    ),
    (f"{HEAD}    lines: [a]\n    expect: {{outcome: kept}}", "tests[0].expect[0].outcome: expected shipped, dropped"),
    (f"{HEAD}    lines: [a]\n    expect: {{time: soon}}", "tests[0].expect[0].time: expected a time of 2000 to 2099"),
    (f"{HEAD}    lines: [a]\n    expect: {{document: 5}}", "tests[0].expect[0].document: expected keys and values"),
    (f"{HEAD}    expect: {{tags: []}}", "t.yml:2: tests[0].lines: is missing"),
    (f"{HEAD}    lines: []\n    expect: {{tags: []}}", "t.yml:3: tests[0].lines: is empty"),
    (f"{HEAD}    lines: [5]\n    expect: {{tags: []}}", "t.yml:3: tests[0].lines: [0]: expected a text, or keys and"),
    (f"{HEAD}    lines: [a]", "t.yml:2: tests[0].name: this case expects nothing"),
    (f"{HEAD}    lines: [a]\n    metrics: {{}}", "t.yml:2: tests[0].name: this case expects nothing"),
    (f"{HEAD}    lines: [a]\n    expect: {{reason: ''}}", "t.yml:4: tests[0].expect[0].reason: is empty"),
    (f"{HEAD}    lines: [a]\n    metrics:\n      'a{{b=c}}': 1", "t.yml:5: tests[0].metrics: a{b=c}: expected NAME="),
    (
        f"{HEAD}    lines: [a]\n    metrics:\n      a: none",
        "t.yml:5: tests[0].metrics: a: expected a number, or absent",
    ),
    (f"{HEAD}    lines: [a]\n    now: soon\n    metrics: {{a: 1}}", "t.yml:4: tests[0].now: expected a time"),
    (
        f"{HEAD}    lines: [a]\n    metrics: {{a: 1}}\n  - name: one\n    lines: [a]\n    metrics: {{a: 1}}",
        "t.yml:5: tests[1].name: 'one' is the name of another case, in line 2",
    ),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_a_mistake_in_a_test_file_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    """Misspelled keys, impossible values, and cases that could not fail."""
    (tmp_path / "t.yml").write_text(text)
    with pytest.raises(ConfigError) as raised:
        read_cases(["t.yml"], directory=tmp_path)
    assert message in str(raised.value)


def test_all_mistakes_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    """A missing file hides nothing of the others."""
    (tmp_path / "t.yml").write_text(f"{HEAD}    lines: [a]\n    x: 1\n    y: 1")
    with pytest.raises(ConfigError) as raised:
        read_cases(["none.yml", "t.yml"], directory=tmp_path)
    assert raised.value.problems[0] == "none.yml: cannot be read: No such file or directory"
    assert [problem.partition(": ")[0] for problem in raised.value.problems[1:]] == ["t.yml:2", "t.yml:4", "t.yml:5"]


def run(tmp_path: Path, case: str, *, lines: str = REQUEST, settings: Settings = SETTINGS) -> Outcome:
    """What becomes of one case whose lines are these, unless it has its own."""
    text = f"{HEAD}    {case}\n" + ("" if "lines:" in case else f"    lines: {lines}\n")
    (tmp_path / "t.yml").write_text(text)
    (read,) = read_cases(["t.yml"], directory=tmp_path)
    trial = Trial(settings=settings, rules=default_rules())
    (origin,) = trial.origins([read])
    return trial.run(read, origin)


def differing(outcome: Outcome) -> list[tuple[str, str, str]]:
    return [(failure.what, failure.expected, failure.got) for failure in outcome.failures]


PASSING = [
    "expect: {outcome: shipped, index: logs-2024.01.15, time: 2024-01-15T10:30:45.000Z, problems: [], redacted: {}}",
    "expect: {tags: [error_response, server_error], absent: [message, user.name, y]}",
    "expect: {document: {statusCode: 503.0, user: {id: 7}, user.id: 7, x: null, log.offset: 0}}",
    "expect: {document: {host: {name: localhost}}}",
    'metrics: {\'http_requests_total{status="503",path="/a",method="GET"}\': 1}',
    "metrics: {'http_requests_total{path=\"/b\"}': absent}",
    "rule_errors: {}",
    "expect: [{tags: [error_response, server_error]}]",
    "now: 2024-01-13T00:00:00Z\n    expect: {outcome: set aside, reason: time_in_future}",
    "lines: [{duration: 1}, a]\n    expect: [{outcome: dropped, reason: duration == 1}, {problems: [not_json]}]",
    "lines: |\n      a\n      b\n    expect: {problems: [not_json], tags: [parse_failure, time_failure]}",
    "source: counted\n    expect: {outcome: not shipped}",
    "file: counted.log\n    expect: {outcome: not shipped}",
    "file: x-json.log\n    lines: {a: '${b}'}\n    expect: {document: {a: '${b}'}, problems: []}",
    "source: cri\n    lines: {a: 1}\n    expect: {document: {a: 1}, problems: []}",
    """source: docker
    lines: ['{"log":"{\\"a\\":","stream":"stdout"}', '{"log":"1}\\n","stream":"stdout"}']
    expect: [{document: {a: 1}}]""",
    """lines: {date: 2024-01-15T10:30:45Z, password: secret}
    file: app.log
    expect:
      redacted: {credentials.name: 1}
      whole:
        date: 2024-01-15T10:30:45Z
        password: "***"
        "@timestamp": 2024-01-15T10:30:45.000Z
        host: {name: localhost}
        log: {file: {path: app.log}, offset: 0}""",
    """lines: {timestamp: 2024-01-15T10:30:45Z, method: GET, duration: x}
    rule_errors: {http_request_duration_seconds: not_a_number}""",
]


@pytest.mark.parametrize("case", PASSING)
def test_what_is_so_passes(tmp_path: Path, case: str) -> None:
    """By key: what really becomes of the lines."""
    named = case if "source:" in case or "file:" in case else f"source: app\n    {case}"
    assert [] == differing(run(tmp_path, named))


NO_LABEL = "http_requests_total has no label code; it has method, path, status"
FAILING: list[tuple[str, list[tuple[str, str, str]]]] = [
    ("expect: {outcome: dropped}", [("outcome", "dropped", "shipped")]),
    ("expect: {index: logs}", [("index", "logs", "logs-2024.01.15")]),
    ("expect: {time: 2024-01-15T10:30:46Z}", [("time", "2024-01-15T10:30:46.000Z", "2024-01-15T10:30:45.000Z")]),
    ("expect: {tags: []}", [("tags", "[]", '["error_response", "server_error"]')]),
    ("expect: {problems: [not_json]}", [("problems", '["not_json"]', "[]")]),
    ("expect: {redacted: {ip: 1}}", [("redacted", '{"ip": 1}', "{}")]),
    ("expect: {document: {statusCode: '503'}}", [("document.statusCode", '"503"', "503")]),
    ("expect: {document: {user: {id: 8, name: a}}}", [
        ("document.user.id", "8", "7"),
        ("document.user.name", '"a"', "nothing"),
    ]),
    ("expect: {document: {y: null}}", [("document.y", "null", "nothing")]),
    ("expect: {absent: [user.id, log]}", [
        ("absent user.id", "nothing", "7"),
        ("absent log", "nothing", '{"offset": 0, "file": {"path": "test.log"}}'),
    ]),
    ("lines: {duration: 1}\n    expect: {index: x, document: {a: 1}}", [
        ("index", "x", "nothing: the line is dropped (duration == 1)"),
        ("document", "a document", "nothing: the line is dropped (duration == 1)"),
    ]),
    ("expect: [{}, {}]", [("lines", "2 lines", "1 line")]),
    ("lines: ['', '']\n    expect: {}", [("lines", "1 line", "0 lines")]),
    ("metrics: {'http_requests_total{method=\"GET\",path=\"/a\",status=\"503\"}': 2}", [
        ('http_requests_total{method="GET",path="/a",status="503"}', "2", "1"),
    ]),
    ("metrics: {http_requests_total: 1}", [
        ("http_requests_total", "1", 'nothing; there is http_requests_total{method="GET",path="/a",status="503"} 1'),
    ]),
    ("metrics: {http_requests_total: absent}", [
        ("http_requests_total", "absent", 'http_requests_total{method="GET",path="/a",status="503"} 1'),
    ]),
    ("metrics: {http_request_total: absent}", [
        ("http_request_total", "absent", "no rule makes http_request_total; did you mean http_requests_total?"),
    ]),
    ("metrics: {'http_requests_total{code=\"1\"}': absent}", [
        ('http_requests_total{code="1"}', "absent", NO_LABEL),
    ]),
    ("rule_errors: {http_requests_total: missing}", [("rule_errors", "http_requests_total: missing", "none")]),
]  # fmt: skip


@pytest.mark.parametrize(("case", "expected"), FAILING)
def test_what_is_not_so_fails(tmp_path: Path, case: str, expected: list[tuple[str, str, str]]) -> None:
    """By key: what was expected, and what there is instead."""
    assert expected == differing(run(tmp_path, f"source: app\n    {case}"))


def test_a_failure_names_the_line_of_what_was_expected(tmp_path: Path) -> None:
    """The key of the expectation, of its own line of input, in the file of the test."""
    case = "source: app\n    lines: [a, {statusCode: 500}]\n    expect:\n      - {}\n      - index: x\n        tags: []"
    assert as_text([run(tmp_path, case)]) == (
        "FAILED t.yml:2: one\n"
        '  line 2: {"statusCode":500}\n'
        "  t.yml:7: index\n"
        "      expected x\n"
        "      got      logs-undated\n"
        "  t.yml:8: tags\n"
        "      expected []\n"
        '      got      ["error_response", "server_error", "time_failure"]\n'
        "\n"
        "t.yml: 0 passed, 1 failed"
    )


def test_the_clock_stands_at_the_newest_line(tmp_path: Path) -> None:
    """So what is about the last minutes is seen of lines of any year; what is to come in truth is set aside."""
    old = '[{timestamp: "2001-01-01T00:00:00Z", a: 1}, {timestamp: "2001-01-03T00:00:00Z", a: 1}]'
    assert [] == differing(run(tmp_path, "source: app\n    expect: {outcome: shipped}", lines=old))
    ahead = '{timestamp: "2099-01-01T00:00:00Z"}'
    assert [] == differing(run(tmp_path, "source: app\n    expect: {reason: time_in_future}", lines=ahead))


def test_a_case_must_say_its_source_where_names_do_not(tmp_path: Path) -> None:
    """With its line, and the sources that there are."""
    for case, wrong in (("file: x.txt", "x.txt: of no source"), ("source: ap", "there is no source 'ap'")):
        with pytest.raises(ConfigError) as raised:
            run(tmp_path, f"{case}\n    expect: {{}}")
        assert [f"t.yml:3: {wrong}; give source, one of app, docker, cri, counted"] == raised.value.problems


SAMPLES = [
    ("a", Sample("a", {})),
    (" a { } ", Sample("a", {})),
    ('a{b="c", d = "e",}', Sample("a", {"b": "c", "d": "e"})),
    ('a{b=""}', Sample("a", {})),
    (r'a{b="q\"\\\n}, x"}', Sample("a", {"b": 'q"\\\n}, x'})),
]


@pytest.mark.parametrize(("text", "expected"), SAMPLES)
def test_a_sample_is_read_as_prometheus_does(text: str, expected: Sample) -> None:
    """Spaces and order mean nothing, an empty label is none, escapes are the exposition's."""
    assert expected == parse_sample(text)


@pytest.mark.parametrize("text", ["", "{a=1}", "a b", "a{b}", "a{b=c}", 'a{b="c" d="e"}', 'a{b="c",b="d"}', 'a{b="c"'])
def test_what_is_no_sample_is_refused(text: str) -> None:
    """Whatever is wrong with it."""
    with pytest.raises(ValueError, match=r"expected|twice"):
        parse_sample(text)


def test_values_are_equal_as_json() -> None:
    """Numbers by value; true is no 1, at any depth."""
    equal: list[tuple[Any, Any]] = [(1, 1.0), ([{"a": 1}], [{"a": 1.0}]), (None, None), (True, True)]
    other: list[tuple[Any, Any]] = [(True, 1), ([0], [False]), ({"a": 1}, {"a": 1, "b": 2}), ("1", 1), ([1], [1, 2])]
    assert [True] * len(equal) == [are_equal(*pair) for pair in equal]
    assert [False] * len(other) == [are_equal(*pair) for pair in other]


def test_a_field_is_found_however_its_name_is_cut() -> None:
    """Nested, whole with its dots, or half and half."""
    document = {"a": {"b.c": 1, "b": {"c": 2}}, "a.b": {"c": 3}, "a.b.c": 4}
    assert [4, 1, 2, 3] == list(values_at(document, "a.b.c"))
    assert [] == list(values_at(document, "a.c"))
