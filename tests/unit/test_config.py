"""Configuration as a whole: files, environment and command line to settings, and every mistake with its line."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shipper import config
from shipper.config import CommandLine, Loaded
from shipper.config.render import render
from shipper.errors import ConfigError
from shipper.settings import (
    Coercion,
    ElasticsearchSettings,
    Format,
    LocalSettings,
    MetricsStart,
    OutputSettings,
    Placement,
    Secret,
    Settings,
    SourceSettings,
)

SOURCE = "sources:\n  - {name: a, paths: [x.log]}\n"
SERVER = SOURCE + "output:\n  elasticsearch:\n    hosts: [https://es:9200]\n"


def load(directory: Path, text: str, environ: Mapping[str, str] | None = None, **typed: Any) -> Loaded:
    """What `text` means as a file in `directory`/conf, started from `directory`."""
    file = directory / "conf" / "shipper.yml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    line = CommandLine(directory=directory, **typed)
    return config.load(Path("conf/shipper.yml"), environ=environ or {}, command_line=line)


def refused(directory: Path, text: str, **options: Any) -> list[str]:
    """What is said about `text`, without the file's name."""
    with pytest.raises(ConfigError) as caught:
        load(directory, text, **options)
    assert all(problem.startswith("conf/shipper.yml:") for problem in caught.value.problems)
    return [problem.removeprefix("conf/shipper.yml:") for problem in caught.value.problems]


def server(directory: Path, text: str, environ: Mapping[str, str] | None = None) -> ElasticsearchSettings:
    """The Elasticsearch output of a file that ends with `text` in that section."""
    found = load(directory, SERVER + text, environ).settings.output.elasticsearch
    assert found is not None
    return found


def test_the_smallest_file_has_every_default(tmp_path: Path) -> None:
    """One source with a name and paths is enough; the rest is as the structs say, its paths absolute."""
    found = load(tmp_path, SOURCE)
    conf = tmp_path / "conf"
    expected = Settings(
        sources=(SourceSettings(name="a", paths=(f"{conf}/x.log",)),),
        output=OutputSettings(local=LocalSettings(directory=f"{conf}/shipped")),
        state=f"{conf}/shipped/.shipper",
    )
    assert expected == found.settings
    assert found.warnings == ()
    assert found.file == Path("conf/shipper.yml")


def test_a_full_file(tmp_path: Path) -> None:
    """Every section and every kind of value arrives as the type that its field has."""
    text = """
host: ward-7
identity_scope: fleet
state: ../state
sources:
  - name: caredroid
    paths: [/var/log/caredroid/combined-*.log*, "logs/**/*.json"]
    exclude: ["*.swp", old/*.log]
    format: docker
    time: [timestamp, date]
    start: end
    metrics: false
    ship: true
    fields: {service: "${SERVICE}", replicas: 3, nested: {a.b: [1, x, true]}}
    copy: {"user.id": userId}
    coerce: {duration: number, code: string}
    placement: shipper
    max_line_bytes: 512KiB
tags: {slow: duration > 2000}
drop:
  - {when: url == "/health", keep: "${KEEP:-0.5}"}
output:
  elasticsearch:
    hosts: ["https://u:p%40@es:9200/prefix/", "https://u:p%40@es2:9200"]
    index: caredroid-%Y.%m.%d
    ca_file: ca.pem
    pipeline: clean
    compression: none
    bulk_bytes: 4MiB
    bulk_seconds: 250ms
    concurrency: 4
    request_seconds: 2m
    headers: {X-Tenant: one}
metrics: {listen: ":9640", start: beginning, rules: [rules/*.yml]}
drain_seconds: 1m
"""
    found = load(tmp_path, text, {"SERVICE": "a: [b]"}).settings
    conf = tmp_path / "conf"
    source = found.sources[0]
    assert source.paths == ("/var/log/caredroid/combined-*.log*", f"{conf}/logs/**/*.json")
    assert source.exclude == ("*.swp", f"{conf}/old/*.log")
    assert (source.format, source.placement, source.metrics) == (Format.DOCKER, Placement.SHIPPER, False)
    assert source.fields == {"service": "a: [b]", "replicas": 3, "nested": {"a.b": [1, "x", True]}}
    assert source.coerce == {"duration": Coercion.NUMBER, "code": Coercion.STRING}
    assert source.max_line_bytes == 512 * 1024
    assert found.tags == {"slow": "duration > 2000"}
    assert found.drop[0].keep == 0.5
    assert found.state == f"{tmp_path}/state"
    output = found.output.elasticsearch
    assert output is not None
    assert output.hosts == ("https://es:9200/prefix", "https://es2:9200")
    assert (output.username, output.password) == ("u", Secret("p@"))
    assert output.ca_file == f"{conf}/ca.pem"
    assert (output.bulk_bytes, output.bulk_seconds, output.request_seconds) == (4 << 20, 0.25, 120.0)
    assert (found.metrics.listen, found.metrics.start) == ("0.0.0.0:9640", MetricsStart.BEGINNING)
    assert found.metrics.rules == (f"{conf}/rules/*.yml",)
    assert found.drain_seconds == 60.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ["1: is empty; it needs `sources`"]),
        ("- a\n", ["1: expected keys and values, got a list"]),
        ("state: x\n", ["1: sources: is missing"]),
        ("sources: []\n", ["1: sources: is empty"]),
        ("sources:\n", ["1: sources: has no value; give it one, or leave the key out"]),
        (SOURCE + "sorces: []\n", ["3: sorces: unknown key, did you mean sources?"]),
        (SOURCE + "paths: []\n", ["3: paths: unknown key here; it belongs in sources[]"]),
        (SOURCE + "metrics: {port: 1}\n", ["3: metrics.port: unknown key; known here are listen, web_config, start"]),
        (SOURCE + "metrics: on\n", ["3: metrics: expected keys and values, got a single value"]),
        (SOURCE + "drain_seconds: [5]\n", ["3: drain_seconds: expected a single value, got a list"]),
        (SOURCE + "tags: {a: }\n", ["3: tags.a: has no value; give it one, or leave the key out"]),
        (SOURCE + "output: {}\n", ["3: output: give either elasticsearch or local"]),
        (SOURCE + "output: {local: {}, elasticsearch: {hosts: ['http://es:1']}}\n",
         ["3: output.local: there is one output: give either elasticsearch or local"]),
        ("sources:\n  - name: a\n    paths: x.log\n",
         ["3: sources[0].paths: expected a list, got a single value; write it in brackets: ['x.log']"]),
        ("sources:\n  - name: a\n    paths: ['']\n",
         ["3: sources[0].paths[0]: expected a path that is not empty, got ''"]),
        ("sources:\n  - name: a\n    paths: []\n", ["3: sources[0].paths: is empty"]),
        ("sources:\n  - paths: [a]\n", ["2: sources[0].name: is missing"]),
        (SOURCE + "  - name: a\n    paths: [y]\n",
         ["3: sources[1].name: 'a' is the name of another source, in line 2"]),
        (SOURCE + "  - {name: b, paths: [y], format: jsonn}\n",
         ["3: sources[1].format: expected json, docker or cri (did you mean json?), got 'jsonn'"]),
        (SOURCE + "  - {name: b, paths: [y], metrics: yes}\n",
         ["3: sources[1].metrics: expected true or false, got 'yes'"]),
        (SOURCE + "drop:\n  - when: x >\n    keep: 2\n  - keep: 0\n",
         ["4: drop[0].when: column ", "5: drop[0].keep: expected 0 to 1, got '2'", "6: drop[1].when: is missing"]),
        (SOURCE + "tags:\n  slow: duration > 2000\n  bad: exist(x)\n", ["5: tags.bad: column 1: "]),
        (SOURCE + "state: ${NOWHERE}/x\n", ["3: state: environment variable NOWHERE is not set; "]),
        (SOURCE + "redact: {packs: [contacts]}\n",
         ["3: redact.packs[0]: expected credentials, contact, national_ids, payment or dates_of_birth"]),
        (SOURCE + "redact:\n  patterns:\n    ward: 'W-(?=1)'\n    any: 'x*'\n",
         ["5: redact.patterns.ward: invalid perl operator", "6: redact.patterns.any: the expression matches"]),
        (SOURCE + "redact: {fields: {mrn: hash}}\n", ["3: redact: fields: hash (of mrn) needs an identity_key_file"]),
        (SOURCE + "redact: {fields: {mrn: encrypt}, ip: drop, url_segments: [a/b]}\n",
         ["3: redact.fields.mrn: expected mask, drop, truncate, hash or keep",
          "3: redact.ip: expected keep or truncate", "3: redact.url_segments[0]: expected one part of a path"]),
        (SOURCE + 'host: "a\\0b"\n', ["3: host: holds a NUL or what is not UTF-8"]),
    ],
)  # fmt: skip
def test_mistakes_in_a_file(tmp_path: Path, text: str, expected: list[str]) -> None:
    """Each mistake is told with its line, the key's path, and what to write instead."""
    found = refused(tmp_path, text)
    assert len(expected) == len(found), found
    assert [begin for begin, problem in zip(expected, found, strict=True) if problem.startswith(begin)] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fields: {tags: x}", "fields: 'tags' collides with tags, which shipper adds itself"),
        ("fields: {host: x}", "fields: 'host' collides with host.name, which shipper adds itself"),
        ("copy: {log.offset: x}", "copy: 'log.offset' collides with log.offset, which shipper adds itself"),
        ("fields: {shipper.x: 1}", "fields: 'shipper.x' collides with shipper, which shipper adds itself"),
        ("fields: {user: {id: 1}, user.id: 2}", "fields: 'user.id' collides with 'user.id' of fields"),
        ("fields: {user.id.x: 1}, copy: {user.id: b}", "copy: 'user.id' collides with 'user.id.x' of fields"),
        ("copy: {a: a}", "copy: 'a' would be copied to itself"),
        ("copy: {a: b}, coerce: {a: number}", "coerce: 'a' is added by shipper; coerce is for the line's own fields"),
        ("coerce: {a: int}", "coerce.a: expected number or string, got 'int'"),
        ("copy: {a..b: c}", "copy: key: expected the name of a field (nested: with dots between), got 'a..b'"),
        ("fields: {n: 99999999999999999999}", "fields.n: the number is too large; put it in quotes"),
    ],
)
def test_fields_that_collide(tmp_path: Path, text: str, expected: str) -> None:
    """Added fields may not stand in the way of each other or of our own."""
    found = refused(tmp_path, "sources:\n  - {name: a, paths: [x], " + text + "}\n")
    assert [f"2: sources[0].{expected}"] == found


def test_fields_beside_our_own_are_fine(tmp_path: Path) -> None:
    """A name that only begins like one of ours, or stands beside it in the same object, is no collision."""
    text = (
        "sources:\n  - {name: a, paths: [x], fields: {host.ip: x, log.level: y, tagset: z, user: {id: 1, name: b}}}\n"
    )
    assert load(tmp_path, text).settings.sources[0].fields["host.ip"] == "x"


@pytest.mark.parametrize("key", ["username", "password", "password_file"])
def test_a_login_that_could_not_be_read_is_one_mistake(tmp_path: Path, key: str) -> None:
    """A variable that is not set, and nothing about what stands beside it."""
    other = "password: b" if key == "username" else "username: a"
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, f"{SERVER}    {other}\n    {key}: ${{UNSET}}\n")
    (problem,) = caught.value.problems
    assert f"{key}: environment variable UNSET is not set" in problem


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hosts: []", ["hosts: is empty"]),
        ("hosts: [https://a:b@es:9200, https://es2:9200]",
         ["hosts: all need the same user and password; give username and password_file instead"]),
        ("hosts: [https://a:b@es:9200]\n    username: a",
         ["hosts: user and password are given twice: in the URL and beside it", "username: needs a password"]),
        ("hosts: [https://es:9200]\n    username: a\n    password: b\n    password_file: c",
         ["password_file: give either password or password_file"]),
        ("hosts: [https://es:9200]\n    api_key: a\n    api_key_file: c",
         ["api_key_file: give either api_key or api_key_file"]),
        ("hosts: [https://es:9200]\n    password: b", ["password: needs a username beside it"]),
        ("hosts: [https://es:9200]\n    username: a\n    password: b\n    api_key: c",
         ["api_key: username and api_key are two ways to log in; give one"]),
        ("hosts: [https://es:9200]\n    api_key: c\n    headers: {authorization: x}",
         ["headers: api_key and headers.Authorization are two ways to log in; give one"]),
        ("hosts: [https://es:9200]\n    client_key: k", ["client_key: needs a client_certificate beside it"]),
        ("hosts: [https://es:9200]\n    verify: false\n    ca_file: k", ["verify: false accepts any certificate"]),
        ("hosts: [https://es:9200]\n    ca_file: k\n    fingerprint: " + "a" * 64,
         ["fingerprint: give either ca_file or fingerprint"]),
        ("hosts: [https://es:9200]\n    concurrency: 9", ["concurrency: expected 1 to 8, got '9'"]),
        ("hosts: [https://es:9200]\n    bulk_bytes: 1GB", ["bulk_bytes: expected 1KiB to 100MiB, got '1GB'"]),
        ("hosts: [https://es:9200]\n    compression: zstd", ["compression: expected gzip or none, got 'zstd'"]),
        ("hosts: [https://es:9200]\n    headers: {Host: x}", ["headers: key: this header is set by shipper itself"]),
        ("hosts: [es:9200]", ["hosts[0]: expected http://host:port or https://host:port, got 'es:9200'"]),
        ("hosts: [https://es:9200]\n    index: Logs-%Y", ["index: "]),
    ],
)  # fmt: skip
def test_mistakes_about_a_server(tmp_path: Path, text: str, expected: list[str]) -> None:
    """What cannot work together, or could mean two things, is refused."""
    found = refused(tmp_path, SOURCE + "output:\n  elasticsearch:\n    " + text + "\n")
    shown = [problem.partition("output.elasticsearch.")[2] for problem in found]
    assert len(expected) == len(shown), found
    assert [begin for begin, problem in zip(expected, shown, strict=True) if problem.startswith(begin)] == expected


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """Mistakes of every sort, in every section, come in one error, in the order of the lines."""
    text = """sources:
  - name: a
    paths: [x]
    formt: json
tags:
  slow: duration >
output:
  elasticsearch:
    hosts: [es]
    bulk_bytes: many
metrics:
  listen: nowhere
tags: {}
"""
    assert [int(problem.partition(":")[0]) for problem in refused(tmp_path, text)] == [4, 6, 9, 10, 12, 13]


def test_secrets_are_in_no_message(tmp_path: Path) -> None:
    """Neither a secret of the wrong type, nor a password in a URL, nor a variable's value is repeated."""
    text = SOURCE + (
        "output:\n  elasticsearch:\n    hosts: ['https://u:hunter2@es', 'https://u:hunt/er2@es:1']\n"
        '    password: "hunter2\\0"\n    headers: {X-Key: "hunter2\\n"}\n    concurrency: ${KEY}\n'
    )
    found = refused(tmp_path, text, environ={"KEY": "hunter2"})
    assert len(found) == 5
    assert not any("hunt" in problem for problem in found)


def test_a_variable_cannot_inject(tmp_path: Path) -> None:
    """A variable's value stays the one value, whatever YAML or reference it looks like."""
    found = load(tmp_path, SOURCE + "host: ${NAME}\n", {"NAME": "x\nstate: /evil # ${HOME}"})
    assert found.settings.host == "x\nstate: /evil # ${HOME}"


@pytest.mark.parametrize("text", ["5", "true", "0123", "2024-01-15", "1_000"])
def test_text_stays_text(tmp_path: Path, text: str) -> None:
    """A field that holds text takes what looks like a number as it is written."""
    found = server(tmp_path, f"    username: u\n    password: {text}\n")
    assert found.password == Secret(text)


@pytest.mark.parametrize("name", ["missing.yml", "conf", "a\nb.yml", "n\0ul.yml"])
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str) -> None:
    """A file that is missing, a directory or impossible is a configuration error that names it."""
    (tmp_path / "conf").mkdir()
    with pytest.raises(ConfigError) as caught:
        config.load(Path(name), environ={}, command_line=CommandLine(directory=tmp_path))
    assert "cannot be read" in caught.value.problems[0]
    assert caught.value.problems[0].isprintable()


def test_zero_configuration(tmp_path: Path) -> None:
    """With paths alone everything has the default that INTERFACE promises, from the working directory."""
    line = CommandLine(directory=tmp_path, paths=("logs/*.log*", "/var/log/x.json", "../y"))
    found = config.zero_config(line)
    assert found.file is None
    assert found.settings.sources[0].paths == (f"{tmp_path}/logs/*.log*", "/var/log/x.json", f"{tmp_path.parent}/y")
    assert found.settings.sources[0].time == ("timestamp", "@timestamp", "time", "ts", "date")
    assert found.settings.output == OutputSettings(local=LocalSettings(directory=f"{tmp_path}/shipped"))
    assert found.settings.state == f"{tmp_path}/shipped/.shipper"
    assert found.settings.metrics.listen == "127.0.0.1:9640"
    assert list(found.settings.tags) == ["slow_request", "error_response", "server_error"]
    assert found.settings.drop == ()


def test_zero_configuration_needs_a_path(tmp_path: Path) -> None:
    """Without a file and without a path there is nothing to follow."""
    with pytest.raises(ConfigError, match="give a PATH"):
        config.zero_config(CommandLine(directory=tmp_path))


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ({"output": "http://u:p@127.0.0.1:9200"}, "/.shipper"),
        ({"output": "out"}, "/out/.shipper"),
        ({"output": "out", "state": "mine"}, "/mine"),
        ({"output": "HTTPS://es:9200", "state": "/abs"}, None),
    ],
)
def test_where_the_state_is(tmp_path: Path, typed: dict[str, str], expected: str | None) -> None:
    """The state is beside a local output, else in the directory where we start, else where it was said."""
    found = config.zero_config(CommandLine(directory=tmp_path, paths=("x",), **typed)).settings.state
    assert (f"{tmp_path}{expected}" if expected else "/abs") == found


def test_an_output_url(tmp_path: Path) -> None:
    """`--output URL` is a server; user and password leave the URL and cannot be printed."""
    line = CommandLine(directory=tmp_path, paths=("x",), output="http://u:hunter2%2F@es:9200/prefix")
    found = config.zero_config(line)
    assert "hunter2" not in repr(found)
    assert found.settings.output == OutputSettings(
        elasticsearch=ElasticsearchSettings(hosts=("http://es:9200/prefix",), username="u", password=Secret("hunter2/"))
    )
    typed, plain = found.warnings
    assert plain == "http://es:9200/prefix: the credentials are sent unencrypted; use https"
    assert typed.startswith("--output holds a password, which every user of this machine can read")


def test_an_output_url_beside_a_file(tmp_path: Path) -> None:
    """`--output URL` replaces the hosts, its user the file's credentials; the rest of the section stays."""
    text = SERVER + "    index: mine-%Y\n    api_key: k\n    pipeline: p\n"
    plain = load(tmp_path, text, output="https://other:1").settings.output.elasticsearch
    assert plain is not None
    assert (plain.hosts, plain.index, plain.api_key) == (("https://other:1",), "mine-%Y", Secret("k"))
    user = load(tmp_path, text, output="https://a:b@other:1").settings.output.elasticsearch
    assert user is not None
    assert (user.username, user.password, user.api_key, user.pipeline) == ("a", Secret("b"), None, "p")


def test_the_index_survives_another_output(tmp_path: Path) -> None:
    """The index is a property of the lines: files in a directory keep the pattern that the server had."""
    found = load(tmp_path, SERVER + "    index: mine-%Y\n", output="out").settings
    assert found.output == OutputSettings(local=LocalSettings(directory=f"{tmp_path}/out", index="mine-%Y"))


def test_a_data_stream_is_asked_for(tmp_path: Path) -> None:
    """A name that the server makes a data stream is refused unless it is allowed; files may be called so."""
    index = "logs-app-%Y"
    text = SERVER + f"    index: {index}\n"
    assert "allow_data_stream" in refused(tmp_path, text)[0]
    assert server(tmp_path, f"    index: {index}\n    allow_data_stream: true\n").index == index
    local = SOURCE + f"output: {{local: {{index: {index}}}}}\n"
    assert load(tmp_path, local).settings.output.local == LocalSettings(
        directory=f"{tmp_path}/conf/shipped", index=index
    )
    with pytest.raises(ConfigError, match="--output: the index pattern 'logs-app-%Y' matches"):
        load(tmp_path, local, output="https://es:9200")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, ("", None, "", None)),
        ({"URL": "https://u:p@es:1"}, ("u", Secret("p"), "", None)),
        ({"KEY": "k"}, ("", None, "", Secret("k"))),
        ({"NAME": "n", "FILE": "/f"}, ("n", None, "/f", None)),
    ],
)
def test_credentials_from_optional_variables(tmp_path: Path, environ: dict[str, str], expected: Any) -> None:
    """A credential that is empty, because its variable is not set, counts as not given."""
    text = SOURCE + (
        "output:\n  elasticsearch:\n    hosts: ['${URL:-https://es:1}']\n    username: ${NAME:-}\n"
        "    password: ${PASSWORD:-}\n    password_file: ${FILE:-}\n    api_key: ${KEY:-}\n"
    )
    found = load(tmp_path, text, environ).settings.output.elasticsearch
    assert found is not None
    assert expected == (found.username, found.password, found.password_file, found.api_key)


def test_rule_files(tmp_path: Path) -> None:
    """Globs and names of rule files become files, each once; a pattern without a file is a mistake."""
    rules = tmp_path / "conf" / "rules"
    rules.mkdir(parents=True)
    (rules / "b.yml").touch()
    (rules / "a.yml").touch()
    (rules / "c.yml").mkdir()
    found = load(tmp_path, SOURCE + "metrics: {rules: [rules/b.yml, 'rules/*.yml']}\n").settings
    assert config.rule_files(found) == ([rules / "b.yml", rules / "a.yml"], [])
    assert config.rule_files(load(tmp_path, SOURCE).settings) == ([], [])
    found = load(tmp_path, SOURCE + "metrics: {rules: [x.yml, rules/c.yml, rules/a.yml]}\n").settings
    files, problems = config.rule_files(found)
    assert files == [rules / "a.yml"]
    assert len(problems) == 2


def test_paths_replace_those_of_the_one_source(tmp_path: Path) -> None:
    """PATHs take the place of a single source's paths, from the working directory; its other settings stay."""
    text = "sources:\n  - {name: a, paths: [x.log], format: cri}\n"
    source = load(tmp_path, text, paths=("y.log",)).settings.sources[0]
    assert (source.paths, source.format) == ((f"{tmp_path}/y.log",), Format.CRI)


def test_the_other_options(tmp_path: Path) -> None:
    """--listen, --state and --drain win over the file."""
    text = SOURCE + "state: a\nmetrics: {listen: 'x:1', start: beginning}\ndrain_seconds: 1\n"
    found = load(tmp_path, text, listen=":7", state="b", drain="2m").settings
    assert (found.metrics.listen, found.state, found.drain_seconds) == ("0.0.0.0:7", f"{tmp_path}/b", 120.0)
    assert found.metrics.start is MetricsStart.BEGINNING
    assert load(tmp_path, text, listen="").settings.metrics.listen == ""


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ({"paths": ("x",)}, ["PATH: replaces the paths of one source, but the configuration has 2 (a, b)"]),
        ({"output": "ftp://x"}, ["--output: expected http://…, https://… or a directory"]),
        ({"output": "https://u:hunter2@es"}, ["--output: the port is missing; write :9200 (or :443) behind the host"]),
        ({"output": ""}, ["--output: expected a path that is not empty"]),
        ({"drain": "2d"}, ["--drain: expected 0s to 86400s"]),
        ({"listen": "9640", "drain": "soon", "state": ""}, ["--state: ", "--listen: ", "--drain: "]),
    ],
)
def test_mistakes_on_the_command_line(tmp_path: Path, typed: dict[str, Any], expected: list[str]) -> None:
    """All are told at once, each with its option."""
    text = SOURCE + "  - {name: b, paths: [y]}\n"
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, **typed)
    assert len(expected) == len(caught.value.problems)
    for begin, problem in zip(expected, caught.value.problems, strict=True):
        assert problem.startswith(begin)


def test_a_directory_with_brackets_is_not_a_pattern(tmp_path: Path) -> None:
    """The file's own directory is taken literally in the sources' globs."""
    odd = tmp_path / "a[1]*"
    odd.mkdir()
    found = load(odd, SOURCE)
    assert found.settings.sources[0].paths == (f"{tmp_path}/a[[]1][*]/conf/x.log",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("    api_key: k\n", []),
        ("    verify: false\n", ["output.elasticsearch.verify is false"]),
        ("    proxy: 'http://127.0.0.1:1'\n", []),
    ],
)
def test_warnings(tmp_path: Path, text: str, expected: list[str]) -> None:
    """What is odd but usable is said, not refused."""
    found = load(tmp_path, SERVER + text).warnings
    assert len(expected) == len(found)
    assert all(warning.startswith(begin) for begin, warning in zip(expected, found, strict=True))


def test_more_warnings(tmp_path: Path) -> None:
    """A source without purpose, a drop that drops nothing, and TLS settings without TLS are odd."""
    text = """
sources: [{name: a, paths: [x], ship: false, metrics: false}]
drop: [{when: exists(x), keep: 1}]
output: {elasticsearch: {hosts: ["http://localhost:9200"], username: u, password: p, ca_file: x}}
"""
    found = load(tmp_path, text).warnings
    assert [warning.partition(" ")[0] for warning in found] == ["source", "drop", "output.elasticsearch.ca_file"]


def test_files_that_the_output_needs(tmp_path: Path) -> None:
    """check names each file that is missing, unreadable as one, or empty, and says nothing of the others."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "key").write_text(" \n")
    (tmp_path / "conf" / "ca.pem").write_text("pem")
    found = server(tmp_path, "    api_key_file: key\n    ca_file: ca.pem\n    client_certificate: none.pem\n")
    problems = config.check_files(Settings(sources=(), output=OutputSettings(elasticsearch=found)))
    assert [problem.partition(":")[0] for problem in problems] == [
        "output.elasticsearch.api_key_file",
        "output.elasticsearch.client_certificate",
    ]
    assert problems[0].endswith("is empty")
    assert "No such file" in problems[1]
    assert config.check_files(Settings(sources=())) == []


def test_render_hides_secrets(tmp_path: Path) -> None:
    """check --print shows every setting, but no password, key, header value or proxy's credentials."""
    text = (
        "    username: u\n    password: hunter2\n    headers: {X-Key: hunter2}\n"
        "    proxy: http://u:hunter2@proxy:3128\n"
    )
    shown = render(load(tmp_path, SERVER + text).settings)
    assert "hunter2" not in shown
    parsed = yaml.safe_load(shown)
    assert list(parsed) == [field.name for field in msgspec.structs.fields(Settings)]
    assert parsed["output"]["elasticsearch"]["password"] == "***"
    assert parsed["output"]["elasticsearch"]["proxy"] == "http://***@proxy:3128"


TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1).filter(
    lambda text: text.strip()
)
TRICKY = st.sampled_from(
    ["5", "1e5", "no", "null", "~", "true", "${A}", "$${", "- a", "a: b", "#", "'", '"', "1_0", "0x1"]
)
ANY_VALUES = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(-(1 << 63), (1 << 64) - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        TEXTS,
        TRICKY,
    ),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=ANY_VALUES, host=st.one_of(TEXTS, TRICKY))
def test_what_render_prints_reads_back(tmp_path: Path, value: Any, host: str) -> None:
    """Without secrets the printed configuration means the same settings, whatever the texts look like."""
    before = Settings(
        sources=(SourceSettings(name="a", paths=("/x",), fields={"added": value}),),
        host=host,
        state="/state",
        output=OutputSettings(local=LocalSettings(directory="/out")),
    )
    assert before == load(tmp_path, render(before)).settings


KEYS = st.sampled_from(
    [field.name for field in msgspec.structs.fields(Settings)] + ["name", "paths", "when", "hosts", "<<"]
)
TREES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), TRICKY, st.dates()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(KEYS, st.text(max_size=3)), inner, max_size=4)
    ),
    max_leaves=12,
)
DOCUMENTS = st.one_of(
    st.binary(max_size=200),
    st.text(alphabet=" \n:-[]{}&*!|>'\"%#?,a1$\t\\u0", max_size=80).map(str.encode),
    st.dictionaries(KEYS, TREES, max_size=6).map(lambda tree: yaml.safe_dump(tree, allow_unicode=True).encode()),
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=DOCUMENTS)
def test_whatever_a_file_holds(tmp_path: Path, data: bytes) -> None:
    """Any bytes and any YAML either load or raise ConfigError with a line for each problem, nothing else."""
    file = tmp_path / "any.yml"
    file.write_bytes(data)
    problems = None
    try:
        config.load(file, environ={}, command_line=CommandLine(directory=tmp_path))
    except ConfigError as error:
        problems = error.problems
    assert problems is None or problems
    assert all(problem.startswith(f"{file}:") for problem in problems or ())
