"""The installed command against each server that it is to work with."""

from __future__ import annotations

import json
from pathlib import Path

from command import run_to_end
from harness.servers import Remote

LINES = [
    b'{"timestamp":"2024-01-15T10:30:45.123Z","method":"GET","url":"/api/patients/1","statusCode":200,"duration":12}',
    b'{"timestamp":"2024-01-15T10:30:46.123Z","method":"GET","url":"/api/patients/2","statusCode":503,"duration":2500}',
    b'{"timestamp":"2024-01-16T00:00:00.000Z","message":"next day"}',
    b"no JSON at all",
    b"[1,2]",
    b'{"a":1}{"b":2}',
    b'{"duplicate":1,"duplicate":2}',
    b'{"broken":"\xff"}',
    b'\x00\x00{"nul":1}',
    b'{"carriage":"return"}\r',
    b'{"huge":123456789012345678901234567890}',
    b'{"number":1e999}',
    b'{"surrogate":"\\ud800"}',
    b'{"deep":' + b"[" * 101 + b"]" * 101 + b"}",
    b'{"statusCode":"not a number","duration":{"an":"object"}}',
    b'{"@timestamp":"yesterday","tags":7,"host":"mine","log":"mine","shipper":"mine"}',
    b'{"_id":"reserved","_source":1}',
    b'{"":"empty name","a..b":1}',
    b'{"long":"' + b"x" * 1_200_000 + b'"}',
]


def configuration(directory: Path, server: Remote, prefix: str) -> Path:
    login = ""
    if server.ca_file:
        login = f"username: {server.user}, password: {server.password}, ca_file: {server.ca_file}, "
    config = directory / "shipper.yml"
    config.write_text(
        "state: ${STATE:-state}\nsources: [{name: a, paths: [app.log]}]\n"
        f'output: {{elasticsearch: {{{login}hosts: ["{server.url}"], index: "{prefix}%Y.%m.%d"}}}}\n'
    )
    return config


def test_every_line_arrives_whatever_it_is(tmp_path: Path, any_server: Remote, index_prefix: str) -> None:
    """After `setup` each line is a document, found by its offset; a refused one stands reduced, with a dead letter."""
    (tmp_path / "app.log").write_bytes(b"\n".join(LINES) + b"\n")
    config = configuration(tmp_path, any_server, index_prefix)
    set_up = run_to_end("setup", "-c", config, directory=tmp_path)
    assert set_up.returncode == 0, set_up.stderr

    done = run_to_end("run", "-c", config, "--once", directory=tmp_path)

    hits = any_server.search_all(f"{index_prefix}*")
    assert done.returncode in (0, 3), done.stderr
    assert len(hits) == len(LINES), done.stderr
    offsets = {int(hit["_id"].split("-")[1]) for hit in hits}
    starts = [sum(len(line) + 1 for line in LINES[:i]) for i in range(len(LINES))]
    assert offsets == set(starts)
    files = tmp_path.glob("state/dead-letter/*")
    letters = [json.loads(text) for path in files for text in path.read_text().splitlines()]
    assert {letter["_id"] for letter in letters} <= {hit["_id"] for hit in hits}
    assert done.returncode == (3 if letters else 0)

    again = run_to_end("run", "-c", config, "--once", directory=tmp_path, STATE="fresh")

    assert again.returncode == done.returncode
    assert any_server.count(f"{index_prefix}*") == len(LINES)


def test_setup_can_be_repeated(tmp_path: Path, any_server: Remote, index_prefix: str) -> None:
    """The second time nothing changes, and --dry-run never does."""
    config = configuration(tmp_path, any_server, index_prefix)
    dry = run_to_end("setup", "-c", config, "--dry-run", directory=tmp_path)
    first = run_to_end("setup", "-c", config, directory=tmp_path)
    second = run_to_end("setup", "-c", config, directory=tmp_path)

    assert (dry.returncode, first.returncode, second.returncode) == (0, 0, 0), first.stderr
    assert "unchanged" in second.stdout
    assert "unchanged" not in first.stdout
