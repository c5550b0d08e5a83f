"""Secrets of the configuration reach the server and nothing else; messages hold nothing that acts on a terminal."""

from __future__ import annotations

import base64
import gzip
import json
import logging
import shlex
import sqlite3
from collections.abc import Mapping
from pathlib import Path

import bcrypt
import pytest
import trustme
from click.testing import CliRunner
from command import Running, run_to_end
from harness.sink import Fault, Sink

from shipper.cli import main
from shipper.config import CommandLine, load
from shipper.config.render import render
from shipper.elastic.credentials import SecretSource
from shipper.elastic.transport import Cluster
from shipper.errors import ConfigError, OutputError
from shipper.escaping import EscapingFormatter, printable
from shipper.settings import ElasticsearchSettings, Secret

LINE = '{"timestamp":"2024-01-15T10:30:45.123Z","method":"GET","url":"/","statusCode":200,"duration":1}\n'
PASSWORD = "hunter2-in-the-url"
HEADER = "hunter3-in-a-header"
PROXY = "hunter4-of-the-proxy"
KEY = "hunter5-in-the-key-file-of-ids"
HASHED = bcrypt.hashpw(b"x", bcrypt.gensalt(4)).decode()
SECRETS = (PASSWORD, base64.b64encode(f"shipper:{PASSWORD}".encode()).decode(), HEADER, PROXY, KEY, HASHED)


def configuration(directory: Path, url: str, **options: str) -> Path:
    """A configuration with a secret in every place that can hold one."""
    (directory / "app.log").write_text(LINE)
    (directory / "id.key").write_text(KEY)
    (directory / "web.yml").write_text(f"basic_auth_users: {{p: {HASHED}}}\n")
    (directory / "web.yml").chmod(0o600)
    host = url.replace("://", f"://shipper:{PASSWORD}@")
    server = {"hosts": [host], "headers": {"X-Tenant": HEADER}, "pipeline": "p", **options}
    settings = {
        "state": "state",
        "identity_key_file": "id.key",
        "sources": [{"name": "app", "paths": ["app.log"]}],
        "output": {"elasticsearch": server},
        "metrics": {"web_config": "web.yml"},
    }
    path = directory / "shipper.yml"
    path.write_text(json.dumps(settings))
    return path


def assert_hidden(shown: Mapping[str, str]) -> None:
    found = {(where, secret) for where, text in shown.items() for secret in SECRETS if secret in text}
    assert found == set()
    assert all(shown.values()), "nothing was looked at"


def invoked(*arguments: str | Path) -> str:
    """What a command prints, to whichever of the two outputs."""
    return CliRunner().invoke(main, [*map(str, arguments)]).output


def test_no_secret_is_shown_by_a_running_daemon(tmp_path: Path, sink: Sink) -> None:
    """Neither in its log nor in page, status, metrics, commands or state, whether the server answers or refuses."""
    config = configuration(tmp_path, sink.url)
    login = "Basic " + base64.b64encode(b"p:x").decode()
    sink.fault(Fault("status", status=401))
    with Running("-c", config, directory=tmp_path) as running:
        running.wait_for(lambda: '"is_up": false' in running.get("/status.json", Authorization=login)[1], "an error")
        shown = {path: running.get(path, Authorization=login)[1] for path in ("/", "/status.json", "/metrics")}
        shown["status"] = invoked("status", "-c", config)
        sink.fault()
        running.wait_for(lambda: sink.docs(), "the document")
        running.stop()
        shown["log"] = running.log
    for arguments in (
        ["check"],
        ["check", "--print"],
        ["check", "--json"],
        ["explain", tmp_path / "app.log"],
        ["audit"],
    ):
        shown[str(arguments)] = invoked(*arguments, "-c", config)
    with sqlite3.connect(tmp_path / "state" / "state.db") as state:
        shown["state"] = "\n".join(state.iterdump())
    state.close()
    assert_hidden(shown)


def test_no_secret_is_shown_when_the_proxy_is_away(tmp_path: Path, sink: Sink) -> None:
    """The error names the proxy without its login."""
    config = configuration(tmp_path, sink.url, proxy=f"http://user:{PROXY}@127.0.0.1:1")
    commands = (["-v", "check"], ["check", "--print"], ["check", "--json"], ["setup"])
    shown = {arguments[-1]: invoked(*arguments, "-c", config) for arguments in commands}
    assert_hidden(shown)
    assert "does not answer" in shown["check"]


def test_no_secret_in_a_repr_or_a_rendering(tmp_path: Path) -> None:
    """What a traceback, a debugger or `check --print` would show of the settings."""
    config = configuration(tmp_path, "http://localhost:9200", proxy=f"http://user:{PROXY}@127.0.0.1:1")
    loaded = load(config, environ={}, command_line=CommandLine(directory=tmp_path))
    server = loaded.settings.output.elasticsearch
    assert server is not None
    cluster = Cluster(settings=server, user_agent="a", opaque_id="b", monotonic=float)
    shown = {"settings": repr(loaded), "cluster": repr(vars(cluster)), "rendered": render(loaded.settings)}
    shown["hosts"] = repr([(vars(host), host.address) for host in cluster._hosts])
    assert_hidden(shown)


MISTAKES = [
    "password: [hunter2]",
    "password: {a: hunter2}",
    "api_key: {hunter2: 1}",
    "passwrd: hunter2",
    "hosts: ['http://user:hunter2@x']",
    "hosts: ['ftp://user:hunter2@x:1']",
    "hosts: ['http://user:hunter2@x:99999']",
    "proxy: 'user:hunter2@x:1'",
    "headers: {X-A: [hunter2]}",
    'headers: {X-A: "hunter2\\u00e9"}',
    "password: hunter2",
    "password: hunter2\n    password_file: x",
    "api_key: hunter2\n    username: u",
]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_no_mistake_in_a_secret_shows_it(tmp_path: Path, mistake: str) -> None:
    """The message says what is expected, without repeating what stands there."""
    hosts = "" if mistake.startswith("hosts") else "    hosts: ['https://localhost:9200']\n"
    text = f"sources: [{{name: a, paths: [x.log]}}]\noutput:\n  elasticsearch:\n{hosts}    {mistake}\n"
    (tmp_path / "shipper.yml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "shipper.yml", environ={}, command_line=CommandLine(directory=tmp_path))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("option", [("--output", "{}"), ("--output={}",)])
def test_a_password_on_the_command_line_is_warned_about_and_not_repeated(
    tmp_path: Path, sink: Sink, option: tuple[str, ...]
) -> None:
    """Also where the command to go on is said, at the end of a run that was not finished."""
    (tmp_path / "app.log").write_text(LINE)
    url = sink.url.replace("://", f"://shipper:{PASSWORD}@")
    sink.fault(Fault("status", status=401))
    with Running("app.log", "--once", *(part.format(url) for part in option), directory=tmp_path) as running:
        assert running.stop() == 1
        said = running.log
    shown = sink.url.replace("://", "://***@")
    assert "--output holds a password, which every user of this machine can read" in said
    assert f"shipper run app.log --once {shlex.join(part.format(shown) for part in option)}" in said
    assert PASSWORD not in said


def test_a_replay_that_is_not_finished_says_how_to_go_on_without_the_password(tmp_path: Path, sink: Sink) -> None:
    """Nor does its ledger hold it; the command with the password goes on all the same."""
    (tmp_path / "app.log.gz").write_bytes(gzip.compress(LINE.encode() * 1000)[:-9])
    url = sink.url.replace("://", f"://shipper:{PASSWORD}@")
    done = run_to_end("replay", "app.log.gz", "--output", url, directory=tmp_path)

    assert done.returncode == 1
    assert "--output holds a password, which every user of this machine can read" in done.stderr
    assert f"shipper replay app.log.gz --output {shlex.quote(sink.url.replace('://', '://***@'))}" in done.stderr
    (ledger,) = tmp_path.glob("**/ledger.json")
    assert PASSWORD not in done.stderr + done.stdout + ledger.read_text()


def test_secrets_of_systemd_are_read_by_their_directory(
    tmp_path: Path, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`${CREDENTIALS_DIRECTORY}` is a variable as any other, and the file is all that names the secret."""
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / "api_key").write_text("key-of-systemd\n")
    (tmp_path / "app.log").write_text(LINE)
    server = {"hosts": [sink.url], "api_key_file": "${CREDENTIALS_DIRECTORY}/api_key"}
    settings = {"sources": [{"name": "a", "paths": ["app.log"]}], "output": {"elasticsearch": server}}
    (tmp_path / "shipper.yml").write_text(json.dumps(settings))
    credentials = str(tmp_path / "credentials")
    done = run_to_end("run", "-c", "shipper.yml", "--once", directory=tmp_path, CREDENTIALS_DIRECTORY=credentials)
    assert (done.returncode, len(sink.docs())) == (0, 1)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/nowhere")
    missing = invoked("check", "-c", tmp_path / "shipper.yml", "--offline")
    assert "output.elasticsearch.api_key_file: '/nowhere/api_key' cannot be read: No such file" in missing


@pytest.mark.parametrize("content", ["one\ntwo", "one\x00two", "a\x1b[0mb"])
def test_a_secret_that_cannot_stand_in_a_header_is_refused_unseen(tmp_path: Path, content: str) -> None:
    """At the start it is an error; later the last good one stays in use. A header's own error would show it."""
    path = tmp_path / "api_key"
    path.write_text(content)
    with pytest.raises(OutputError, match="holds a line break or another control character") as caught:
        SecretSource(value=None, path=str(path)).value()
    assert "one" not in str(caught.value)
    path.write_text("good")
    source = SecretSource(value=None, path=str(path))
    assert source.value() == Secret("good")
    path.write_text(content)
    assert source.value() == Secret("good")


@pytest.mark.parametrize("key", ["k\N{EURO SIGN}y", "two words\nlines"])
def test_an_odd_key_in_the_configuration_ends_nothing_and_shows_nothing(key: str) -> None:
    """One that no header can hold is refused at the start."""
    settings = ElasticsearchSettings(hosts=("http://localhost:1",), api_key=Secret(key))
    with pytest.raises(OutputError) as caught:
        Cluster(settings=settings, user_agent="a", opaque_id="b", monotonic=float)
    assert key not in str(caught.value)


def test_secrets_go_to_no_other_host(tmp_path: Path, sink: Sink) -> None:
    """A server that answers with a redirection gets no request sent on for it."""
    with Sink() as other:
        sink.fault(Fault("redirect", location=f"{other.url}/_bulk"))
        settings = ElasticsearchSettings(hosts=(sink.url,), username="u", password=Secret(PASSWORD))
        cluster = Cluster(settings=settings, user_agent="a", opaque_id="b", monotonic=float)
        assert cluster.request("POST", "/_bulk", b"{}\n").status == 302
        assert other.stats()["requests"] == 0


# Messages -----------------------------------------------------------------------------------------------------------

HOSTILE = "a\n2024-01-15 10:30:45,000 CRITICAL forged \x1b[2J\x1b]0;title\x07\x9b31m\u202eevil\r.log"


def test_what_a_terminal_would_act_on_is_escaped() -> None:
    """Control characters, and those that turn text around; the rest stays as it is."""
    assert printable("plain ünïcode 日本") == "plain ünïcode 日本"
    assert printable("a\n\x1b[2J\x9b\u202e\udcff") == r"a\n\x1b[2J\x9b\u202e\udcff"


def test_no_message_can_forge_another() -> None:
    """Further lines of a message are set in."""
    record = logging.LogRecord("x", logging.ERROR, "f", 1, "cannot read %s", (HOSTILE,), None)
    text = EscapingFormatter("%(levelname)s %(message)s").format(record)
    first, *others = text.split("\n")
    assert first == "ERROR cannot read a"
    assert all(line.startswith("  ") for line in others)
    assert all(line.isprintable() for line in text.split("\n"))


def test_names_and_lines_of_others_are_escaped_wherever_they_are_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file's name and its lines in the log, in every command, on the page; JSON stays JSON."""
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / HOSTILE).write_text(LINE + "\x1b[2Jno JSON \x9b31m\u202e\n" + "x" * 100 + "\n")
    (logs / f"{HOSTILE}.gz").write_bytes(b"\x1f\x8bbroken")
    (logs / f"{HOSTILE}.bz2").write_bytes(b"x")
    (logs / f"1{HOSTILE}").symlink_to(logs / HOSTILE)
    (logs / f"2{HOSTILE}").mkdir()
    with Running("logs", directory=tmp_path) as running:
        running.wait_for(lambda: running.metric("shipper_lines_total") >= 3, "three lines")
        shown = {"page": running.get("/")[1], "status.json": running.get("/status.json")[1]}
        shown["status"] = invoked("status", "--state", tmp_path / "shipped" / ".shipper")
        running.stop()
        shown["log"] = running.log
    monkeypatch.chdir(tmp_path)
    shown |= {"check": invoked("check", logs), "audit": invoked("audit", logs)}
    shown["explain"] = invoked("explain", logs / HOSTILE)
    shown["dead-letter"] = invoked("dead-letter", "list", "--state", tmp_path / "shipped" / ".shipper")
    bad = {where: line for where, text in shown.items() for line in text.split("\n") if not line.isprintable()}
    forged = {where: text for where, text in shown.items() if "\n2024-01-15 10:30:45,000 CRITICAL" in text}
    assert (bad, forged) == ({}, {})


def test_a_renewed_client_certificate_is_taken_up(tmp_path: Path) -> None:
    """See test_transport for the authority; here the files of our own certificate are replaced while it runs."""
    authority = trustme.CA()
    settings_files = {name: str(tmp_path / name) for name in ("client.crt", "client.key")}

    def renew() -> None:
        certificate = authority.issue_cert("shipper")
        certificate.cert_chain_pems[0].write_to_path(settings_files["client.crt"])
        certificate.private_key_pem.write_to_path(settings_files["client.key"])

    renew()
    settings = ElasticsearchSettings(
        hosts=("https://localhost:1",),
        client_certificate=settings_files["client.crt"],
        client_key=settings_files["client.key"],
    )
    cluster = Cluster(settings=settings, user_agent="a", opaque_id="b", monotonic=float)
    before = cluster._hosts[0].node
    cluster._renew_nodes()
    assert cluster._hosts[0].node is before
    renew()
    cluster._renew_nodes()
    assert cluster._hosts[0].node is not before
