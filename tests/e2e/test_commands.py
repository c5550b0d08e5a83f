"""`check`, `explain`, `test` and `demo` as they are installed."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest
from command import SHIPPER, documents_in, run_to_end
from harness.sink import Fault, Sink

CONF = Path(__file__).parents[2] / "conf"
REQUEST = (
    '{"timestamp":"2024-01-15T10:30:45.123Z","method":"GET","url":"/api/patients/7","statusCode":503,"duration":2500}'
)


def test_explain_says_what_of_labels_it_cannot_know(tmp_path: Path) -> None:
    """Once, behind the lines; not of lines that have no labels, and not to programs."""
    refused = '{"method":"GET","url":"/wp-login.php","statusCode":404}\n'
    done = run_to_end("explain", directory=tmp_path, standard_input=2 * refused)
    assert done.stdout.count("beyond 100 such it is :unmatched") == 2
    assert done.stdout.count("past a budget (max_values, max_series) values become __other__") == 1
    assert "__other__" not in run_to_end("explain", directory=tmp_path, standard_input="{}\n").stdout
    assert "__other__" not in run_to_end("explain", "--json", directory=tmp_path, standard_input=refused).stdout


def test_explain_says_what_becomes_of_a_line(tmp_path: Path) -> None:
    """Time, tags with their expressions, index, id, document and series."""
    done = run_to_end("explain", "--json", directory=tmp_path, standard_input=REQUEST + "\n")

    explained = json.loads(done.stdout)
    assert explained["time"] == "2024-01-15T10:30:45.123Z"
    assert list(explained["tags"]) == ["slow_request", "error_response", "server_error"]
    assert (explained["outcome"], explained["index"]) == ("shipped", "logs-2024.01.15")
    assert explained["document"]["tags"] == list(explained["tags"])
    labels = '{method="GET",path="/api/patients/:id",status="503"}'
    assert explained["series"] == {
        f"http_requests_total{labels}": "+1",
        f"http_request_duration_seconds{labels}": "observes 2.5 (bucket 5.0)",
    }
    assert explained["rule_errors"] == {}


def test_explain_gives_the_ids_that_run_gives(tmp_path: Path) -> None:
    """Also from the compressed file, and for lines of any kind and length."""
    lines = [REQUEST, "no JSON", "x" * 9_000_000, '{"a":1}', ""]
    (tmp_path / "app.log").write_text("\n".join(lines))
    run_to_end("run", "app.log", "--once", directory=tmp_path)
    shipped = {document["_id"]: document["_source"] for document in documents_in(tmp_path / "shipped")}
    (tmp_path / "app.log.1.gz").write_bytes(gzip.compress((tmp_path / "app.log").read_bytes()))

    for name in ("app.log", "app.log.1.gz"):
        done = run_to_end("explain", name, "--json", "-n", "0", directory=tmp_path)

        explained = [json.loads(line) for line in done.stdout.splitlines()]
        assert set(shipped) == {one["id"] for one in explained}
    assert [one["problems"] for one in explained] == [[], ["not_json"], ["too_long"], []]


FRAMED = {
    "cri": [
        '2024-01-15T10:30:45.1Z stdout P {"duration":"145",',
        "2024-01-15T10:30:45.2Z stderr F another stream between the parts",
        '2024-01-15T10:30:45.3Z stdout F "statusCode":200}',
        "no frame",
        '2024-01-15T10:30:46.1Z stdout P {"never":"ended"',
    ],
    "docker": [
        r'{"log":"{\"duration\":145,","stream":"stdout","time":"2024-01-15T10:30:45.1Z"}',
        r'{"log":"another stream\n","stream":"stderr","time":"2024-01-15T10:30:45.2Z"}',
        r'{"log":"\"statusCode\":200}\n","stream":"stdout","time":"2024-01-15T10:30:45.3Z"}',
    ],
}


@pytest.mark.parametrize("line_format", FRAMED)
def test_explain_joins_the_parts_that_run_joins(tmp_path: Path, line_format: str) -> None:
    """A line that a container runtime has cut is one, where its first part stands: the same documents and ids."""
    lines = FRAMED[line_format]
    (tmp_path / "app.log").write_text("\n".join(lines) + "\n")
    (tmp_path / "c.yml").write_text(f"sources: [{{name: a, paths: [app.log], format: {line_format}}}]\n")
    run_to_end("run", "-c", "c.yml", "--once", directory=tmp_path)
    shipped = {document["_id"]: document["_source"] for document in documents_in(tmp_path / "shipped")}

    done = run_to_end("explain", "-c", "c.yml", "app.log", "--json", "-n", "0", directory=tmp_path)

    explained = [json.loads(line) for line in done.stdout.splitlines()]
    assert {one["id"]: one["document"] for one in explained}.items() >= shipped.items()
    assert explained[0]["document"]["statusCode"] == 200
    assert [one["offset"] for one in explained] == sorted(one["offset"] for one in explained)
    assert len(explained) == len(lines) - 1


def test_explain_joins_the_parts_of_a_containers_line(tmp_path: Path) -> None:
    """As `run` does, with its ids; also of streams that interleave, and of a line that is not whole yet."""
    half = len(REQUEST) // 2
    parts = [
        f"stdout P {REQUEST[:half]}",
        'stderr F {"event":"between"}',
        f"stdout F {REQUEST[half:]}",
        "stdout F no JSON",
        'stdout P {"event":',
    ]
    lines = "".join(f"2024-01-15T10:30:45.1{number}Z {part}\n" for number, part in enumerate(parts))
    (tmp_path / "app.log").write_text(lines)
    (tmp_path / "c.yml").write_text("sources: [{name: a, paths: [app.log], format: cri}]\n")

    from_file = run_to_end("explain", "app.log", "-c", "c.yml", "--json", "-n", "0", directory=tmp_path)
    from_input = run_to_end("explain", "-c", "c.yml", "--json", "-n", "0", directory=tmp_path, standard_input=lines)
    run_to_end("run", "-c", "c.yml", "--once", directory=tmp_path)

    explained = [json.loads(line) for line in from_file.stdout.splitlines()]
    assert [one["line"] for one in explained] == [REQUEST, '{"event":"between"}', "no JSON", '{"event":']
    assert len(explained[0]["series"]) == 2
    shipped = {document["_id"] for document in documents_in(tmp_path / "shipped")}
    assert {one["id"] for one in explained[:3]} <= shipped
    assert [json.loads(line)["line"] for line in from_input.stdout.splitlines()] == [one["line"] for one in explained]


def test_explain_of_a_damaged_file(tmp_path: Path) -> None:
    """What could be read is explained, and then is said that it is not all."""
    packed = bytearray(gzip.compress("".join(f'{REQUEST[:-1]},"n":{n}}}\n' for n in range(500)).encode()))
    packed[-6] ^= 255
    (tmp_path / "crc.log.gz").write_bytes(packed)
    (tmp_path / "bad.log.zst").write_bytes(b"(\xb5/\xfd garbage")

    crc = run_to_end("explain", "crc.log.gz", "-n", "0", "--json", directory=tmp_path)
    bad = run_to_end("explain", "bad.log.zst", directory=tmp_path)

    assert (1, 1) == (crc.returncode, bad.returncode)
    assert 500 == len(crc.stdout.splitlines())
    assert crc.stderr.startswith("shipper: crc.log.gz: damaged, and read only up to there: ")
    assert bad.stderr.startswith("shipper: bad.log.zst: damaged, and read only up to there: ")


def test_explain_of_links_in_a_circle(tmp_path: Path) -> None:
    """There is no such file, whatever its name stands for."""
    (tmp_path / "loop.log").symlink_to("loop.log")
    done = run_to_end("explain", "loop.log", directory=tmp_path)
    assert (2, "shipper: loop.log: Too many levels of symbolic links\n") == (done.returncode, done.stderr)


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_explain_ends_without_a_word_when_nobody_reads_on(tmp_path: Path, options: tuple[str, ...]) -> None:
    """As any tool before `head`."""
    (tmp_path / "big.log").write_text((REQUEST + "\n") * 2000)
    command = [*SHIPPER, "explain", "-n", "0", "big.log", *options]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.readline()
        running.stdout.close()
        assert (b"", 1) == (running.stderr.read(), running.wait(60))


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_demo_needs_a_directory(tmp_path: Path, place: str) -> None:
    """A file is none, and has none below it."""
    (tmp_path / "file").write_text("")
    done = run_to_end("demo", place, directory=tmp_path)
    assert (2, f"shipper: cannot make the directory '{place}/logs': Not a directory\n") == (
        done.returncode,
        done.stderr,
    )


def test_explain_for_people(tmp_path: Path) -> None:
    """The same as text, with the outcome of a dropped line and its reason."""
    (tmp_path / "c.yml").write_text("sources: [{name: a, paths: [x.log]}]\ndrop: [{when: duration > 1}]\n")

    done = run_to_end("explain", "-c", "c.yml", directory=tmp_path, standard_input=REQUEST + "\n")

    assert done.returncode == 0, done.stderr
    assert "outcome   dropped (duration > 1)" in done.stdout


def test_check_names_all_mistakes_at_once(tmp_path: Path) -> None:
    """With file, line and the nearest name; exit code 2."""
    (tmp_path / "c.yml").write_text(
        "sources:\n  - name: a\n    pathes: [x.log]\n    format: jason\ntags: {slow: 'duration >'}\n"
    )

    done = run_to_end("check", "-c", "c.yml", directory=tmp_path)

    assert done.returncode == 2
    for words in ("c.yml:3", "paths", "c.yml:4", "json", "c.yml:5"):
        assert words in done.stderr


def test_check_tells_mistakes_to_programs_too(tmp_path: Path) -> None:
    """With --json they are JSON as well, whatever the mistake; the exit code is the same."""
    (tmp_path / "c.yml").write_text("sources: [{name: a, paths: [x], formt: json}]\n")

    done = run_to_end("check", "-c", "c.yml", "--json", directory=tmp_path)

    assert (done.returncode, done.stderr) == (2, "")
    expected = {"file": "c.yml", "problems": ["c.yml:1: sources[0].formt: unknown key, did you mean format?"]}
    assert json.loads(done.stdout) == expected


@pytest.mark.parametrize(
    "typed",
    ["run x --state", "run x -c", "replay x --since", "replay x --metrics", "audit x --where", "dead-letter list --id"],
)
def test_an_option_without_a_value_is_no_option_left_out(tmp_path: Path, typed: str) -> None:
    """As of a variable that a script does not have: `--since "$SINCE"` must not send everything."""
    *command, option = typed.split()
    option = {"-c": "--config"}.get(option, option)

    done = run_to_end(*command, option, "", directory=tmp_path)

    assert done.returncode == 2
    assert done.stderr == f"shipper: {option}: is empty; give a value, or leave it out\n"
    assert list(tmp_path.iterdir()) == []


def test_check_reports_files_server_and_metrics(tmp_path: Path, sink: Sink) -> None:
    """What is followed and what is not, what the server is, which metrics there will be."""
    (tmp_path / "logs").mkdir()
    for name in ("combined-2024-01-15.log", "errors-2024-01-15.log", ".hidden-audit.json"):
        (tmp_path / "logs" / name).write_text(REQUEST + "\n")

    done = run_to_end("check", "logs", "--output", sink.url, "--json", directory=tmp_path)

    report = json.loads(done.stdout)
    assert done.returncode == 0
    assert [Path(path).name for path in report["sources"][0]["first_files"]] == ["combined-2024-01-15.log"]
    assert any("errors-2024-01-15.log is not followed" in warning for warning in report["warnings"])
    assert "Elasticsearch 8.19" in report["output"]
    assert report["metrics"]["http_requests_total"] == ["method", "path", "status"]


def test_check_names_a_file_that_is_missing_once(tmp_path: Path) -> None:
    """It does not ask the server without it, to say that there is none."""
    hosts = "output: {elasticsearch: {hosts: ['https://127.0.0.1:9'], ca_file: nowhere.pem}}"
    (tmp_path / "x.log").write_text("")
    (tmp_path / "shipper.yml").write_text(f"sources: [{{name: a, paths: [x.log]}}]\n{hosts}\n")
    done = run_to_end("check", "-c", "shipper.yml", directory=tmp_path)
    assert done.returncode == 2
    assert 1 == done.stdout.count("o such file") == done.stdout.count("nowhere.pem")


def test_setup_says_what_is_wrong_as_all_commands_do(tmp_path: Path) -> None:
    """On standard error, and by whom it is said."""
    done = run_to_end("setup", "--output", "http://127.0.0.1:9", directory=tmp_path)
    assert (1, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith("shipper: the server does not answer: ")


def test_check_tells_refused_credentials(tmp_path: Path, sink: Sink) -> None:
    """`run` would wait for them, so it is a warning; no password is ever shown."""
    sink.fault(Fault("status", status=401, path="/"))
    address = sink.url.replace("http://", "http://me:topsecret@")

    done = run_to_end("check", "app.log", "--output", address, directory=tmp_path)
    printed = run_to_end("check", "app.log", "--output", address, "--print", directory=tmp_path)

    assert "refuses the credentials" in done.stdout
    assert "***" in printed.stdout
    assert "topsecret" not in done.stdout + done.stderr + printed.stdout + printed.stderr


def test_demo_ends_with_equal_numbers(tmp_path: Path) -> None:
    """Written, shipped and counted agree, with rotation in between."""
    done = run_to_end("demo", "--seconds", "6", "--rate", "2000", "--listen", "127.0.0.1:0", directory=tmp_path)

    assert done.returncode == 0, done.stderr
    assert "every line arrived exactly once" in done.stdout
    assert "page     http://127.0.0.1:" in done.stdout
    rotated = next(line for line in done.stdout.splitlines() if line.startswith("files rotated"))
    assert int(rotated.split()[-1]) >= 2


def test_each_command_has_help_with_an_example(tmp_path: Path) -> None:
    """`--help` of every command shows how it is used."""
    for command in ("run", "check", "explain", "setup", "demo", "status", "audit", "dead-letter", "test", "replay"):
        done = run_to_end(command, "--help", directory=tmp_path)

        assert done.returncode == 0
        assert f"shipper {command}" in done.stdout.split("Usage", 1)[1].split("\n", 2)[2], command


def test_the_cases_of_the_ready_configuration_pass(tmp_path: Path) -> None:
    """conf/tests/caredroid.yml holds what is promised for CareDroid's lines, from any directory, without a server."""
    done = run_to_end("test", "-c", CONF / "shipper.yml", *sorted((CONF / "tests").iterdir()), directory=tmp_path)

    assert (0, "") == (done.returncode, done.stderr)
    assert "9 passed\n" in done.stdout
    assert [] == list(tmp_path.iterdir())


def test_a_case_that_the_configuration_breaks_fails(tmp_path: Path) -> None:
    """A threshold that was changed is noticed: exit code 1, the place, what was expected and what there is."""
    text = (CONF / "shipper.yml").read_text().replace("duration > 2000", "duration > 3000")
    rules = text.replace("rules/caredroid.yml", str(CONF / "rules" / "caredroid.yml"))
    (tmp_path / "shipper.yml").write_text(rules)
    shutil.copy(CONF / "tests" / "caredroid.yml", tmp_path)
    arguments = ("test", "-c", "shipper.yml", "caredroid.yml")

    said = run_to_end(*arguments, directory=tmp_path)
    read = run_to_end(*arguments, "--json", directory=tmp_path)

    assert (1, 1) == (said.returncode, read.returncode)
    assert "8 passed, 1 failed" in said.stdout
    (failed,) = (case for case in json.loads(read.stdout)["cases"] if not case["passed"])
    (failure,) = failed["failures"]
    assert f"caredroid.yml:{failure['line']}: tags" in said.stdout
    assert '["error_response", "server_error"]' == failure["got"]


def test_the_documented_case_says_what_is_documented(tmp_path: Path) -> None:
    """docs/testing.md shows a file and what it prints."""
    document = (CONF.parent / "docs" / "testing.md").read_text()
    (tmp_path / "my-tests.yml").write_text(document.partition("```yaml\n")[2].partition("```")[0])
    shown = document.partition("my-tests.yml\n")[2].partition("\n\nThat was")[0]

    done = run_to_end("test", "my-tests.yml", directory=tmp_path)

    assert 1 == done.returncode
    assert textwrap.dedent(shown) == done.stdout.rstrip("\n")


def test_test_files_that_cannot_be_used_are_told(tmp_path: Path) -> None:
    """No file, a mistake in one, a source that is not there: exit code 2, each with its place."""
    (tmp_path / "t.yml").write_text("tests: [{name: a, lines: [x], source: y, expect: {outcome: shipped}}]")
    (tmp_path / "u.yml").write_text("tests: [{name: a, lines: [x], expct: {}}]")

    assert (2, True) == (lambda done: (done.returncode, "nothing to test" in done.stderr))(
        run_to_end("test", directory=tmp_path)
    )
    assert "t.yml:1: there is no source 'y'" in run_to_end("test", "t.yml", directory=tmp_path).stderr
    done = run_to_end("test", "t.yml", "u.yml", directory=tmp_path)
    assert (2, "") == (done.returncode, done.stdout)
    assert "u.yml:1: tests[0].expct: unknown key, did you mean expect?" in done.stderr


def test_explain_says_what_is_only_counted(tmp_path: Path) -> None:
    """A line of a source with `ship: false` is not said to be shipped."""
    (tmp_path / "c.yml").write_text("sources: [{name: app, paths: [app.log], ship: false}]")
    done = run_to_end("explain", "-c", "c.yml", "--json", directory=tmp_path, standard_input=REQUEST + "\n")

    explained = json.loads(done.stdout)
    assert ("not shipped", "ship: false", False) == (explained["outcome"], explained["reason"], "document" in explained)
    assert len(explained["series"]) == 2
