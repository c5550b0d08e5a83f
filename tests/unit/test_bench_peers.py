"""What the race against other shippers decides by, and that who cannot be had or fails is said."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import pytest
import yaml
from bench.losses import FIRST_LINES, Outcome, Writer, outcome, span, tell
from bench.peers import is_packaged, run_peer
from bench.shippers import PEERS, Installed, Peer, Search, version_in
from harness.calls import call
from harness.sink import Sink

NAMES = {"log": "/l", "directory": "/d", "url": "http://h:1", "host": "h", "port": 1}


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_configuration_takes_the_names_that_a_run_gives(peer: Peer) -> None:
    text = peer.config.format(**NAMES)

    assert "/l" in text
    assert str(NAMES["port"]) in text
    if not peer.packages:
        assert isinstance(yaml.safe_load(text), dict)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fluent Bit v5.1.1\nGit commit: \n", "5.1.1"),
        ('{"ts":"2026-12-01T05:16:22.209531124Z"}\nv0.81.2\n', "0.81.2"),
        ("mtail version 3.0.0~rc50 git revision 3.0.0~rc50-1+b6 go version go1.19.8", "3.0.0~rc50"),
        ("no such option", "?"),
    ],
)
def test_a_version_is_read_from_what_a_program_says(text: str, expected: str) -> None:
    assert expected == version_in(text)


def test_an_mtail_on_path_that_is_debians_takes_no_part_twice() -> None:
    assert is_packaged("3.0.0~rc50", "3.0.0~rc50-1")
    assert not is_packaged("3.4.4", "3.0.0~rc50-1")


def test_a_program_is_looked_for_where_the_caller_says_before_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, version in (("given", "2.0.1"), ("path", "1.0.0")):
        (tmp_path / name).mkdir()
        program(tmp_path / name / "shipit", f"echo shipit v{version}")
    monkeypatch.setenv("PATH", str(tmp_path / "path"), prepend=os.pathsep)

    def had(*directories: str) -> Installed | None:
        return Search(directories=directories, opened=ExitStack()).had("Shipit", "shipit")

    assert Installed(tmp_path / "given" / "shipit", "2.0.1") == had(str(tmp_path / "given"))
    assert Installed(tmp_path / "path" / "shipit", "1.0.0") == had()


def test_who_cannot_be_had_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    search = Search(directories=[], opened=ExitStack())

    assert search.had("Shipit", "no-such-shipper") is None
    assert search.had("Packed", "usr/bin/x", ["no-such-package-anywhere"]) is None
    said = capsys.readouterr().err.splitlines()
    assert "Shipit is left out: no no-such-shipper on PATH, nor where --bin says" == said[0]
    assert said[1].startswith("Packed is left out: ")


def test_a_peer_that_ends_early_is_an_error_that_shows_what_it_said(tmp_path: Path) -> None:
    broken = program(tmp_path / "broken", "echo out of order; exit 1")
    peer = Peer("broken", "broken", "", lambda program, config, directory: [str(program)], "", "")

    with pytest.raises(RuntimeError) as raised:
        run_peer(peer, Installed(broken, "1"), tmp_path / "log", lines=10, core=max(os.sched_getaffinity(0)))

    assert "0 of 10 lines arrived:\nout of order\n" == str(raised.value)


def test_what_is_written_is_in_the_file_and_its_copies(tmp_path: Path) -> None:
    """Copying and truncating loses nothing of what the writer says it wrote."""
    writer = Writer(tmp_path / "app.log")
    writer.append(3)
    writer.copy_and_truncate(1)
    writer.append(2)

    lines = [line for path in tmp_path.iterdir() for line in path.read_bytes().splitlines()]
    assert 2 == len((tmp_path / "app.log").read_bytes().splitlines())
    assert writer.written == Counter(msgspec.json.decode(line)["requestId"] for line in lines)


def test_lost_and_doubled_lines_do_not_make_up_for_each_other() -> None:
    assert Outcome(1, 2) == outcome(Counter("abc"), Counter("aaab"))
    assert Outcome(0, 0) == outcome(Counter("ab"), Counter("ba"))


def test_a_span_is_one_number_where_all_are_equal() -> None:
    assert ["0", "1,000-2,000"] == [span([0, 0]), span([2000, 1000])]


def test_a_story_tells_what_was_lost_and_doubled() -> None:
    """By a shipper that sends what it finds at once: of the story's ten lines nine, the first one twice."""

    def ship(url: str, lines: list[bytes]) -> None:
        body = b"".join(b'{"create":{"_index":"logs"}}\n%b\n' % line for line in lines)
        assert 200 == call(url, "POST", "/_bulk", body)[0]

    @contextmanager
    def start(log: Path, url: str, directory: Path) -> Iterator[None]:
        ship(url, log.read_bytes().splitlines())
        yield

    def story(writer: Writer, sink: Sink) -> None:
        writer.append(10)
        lines = writer.path.read_bytes().splitlines()[FIRST_LINES:]
        ship(sink.url, [*lines[:9], lines[0]])

    assert Outcome(1, 1) == tell(start, story, quiet_seconds=0.1)


def test_a_shipper_that_ships_nothing_is_an_error() -> None:
    @contextmanager
    def start(log: Path, url: str, directory: Path) -> Iterator[None]:
        yield

    with pytest.raises(RuntimeError, match="the first lines did not arrive"):
        tell(start, lambda writer, sink: None, quiet_seconds=0.1)
