"""The roles in conf/elasticsearch/roles on a real server with security: each is enough for its work and no more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command import run_to_end
from harness.calls import Body
from harness.servers import Remote
from harness.sink import Fault, Sink

ROLES = Path(__file__).parents[2] / "conf" / "elasticsearch" / "roles"
OPENSEARCH_ROLES = ROLES.with_name("roles-opensearch")
LINES = [
    '{"timestamp":"2024-01-15T10:30:45.123Z","method":"GET","url":"/api/patients/1","statusCode":200,"duration":12}',
    '{"timestamp":"2024-01-15T10:30:46.123Z","a_new_field":{"of":"some kind"}}',
    '{"timestamp":"2024-01-16T00:00:00.000Z","message":"another index"}',
]
REFUSED = '{"timestamp":"2024-01-15T10:30:47.123Z","statusCode":{"an":"object"},"duration":["x",{"y":1}]}'


def role(name: str, prefix: str) -> dict[str, Any]:
    """The role of a file, for this test's indices in place of logs-*."""
    text = (ROLES / f"{name}.json").read_text().replace('"logs-*"', json.dumps(f"{prefix}*"))
    found: dict[str, Any] = json.loads(text)
    return found


def configured(directory: Path, server: Remote, prefix: str, *roles: str) -> Path:
    """A configuration that logs in with a key of these roles alone."""
    descriptors = {name: role(name, prefix) for name in roles}
    (directory / "api_key").write_text(server.create_api_key(descriptors))
    section = {
        "hosts": [server.url],
        "api_key_file": "api_key",
        "ca_file": str(server.ca_file),
        "index": f"{prefix}%Y.%m.%d",
    }
    settings = {"sources": [{"name": "a", "paths": ["app.log"]}], "output": {"elasticsearch": section}}
    path = directory / "shipper.yml"
    path.write_text(json.dumps(settings))
    return path


def as_key(server: Remote, directory: Path, method: str, path: str, body: Body = None) -> int:
    """The status of a request with the key."""
    key = (directory / "api_key").read_text()
    return server.request(method, path, body, headers={"authorization": f"ApiKey {key}"})[0]


def test_setup_ships_operate(tmp_path: Path, elasticsearch_secure: Remote, index_prefix: str) -> None:
    """One story: setup installs the template and ships nothing; ship creates documents, and reads, changes and deletes
    nothing; operate compares and retries."""
    server = elasticsearch_secure
    (tmp_path / "app.log").write_text("\n".join([*LINES, REFUSED]) + "\n")

    config = configured(tmp_path, server, index_prefix, "setup")
    done = run_to_end("setup", "-c", config, directory=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert as_key(server, tmp_path, "POST", f"/{index_prefix}x/_doc", {"a": 1}) == 403
    assert as_key(server, tmp_path, "GET", f"/{index_prefix}*/_search") == 403

    configured(tmp_path, server, index_prefix, "ship")
    done = run_to_end("run", "-c", config, "--once", directory=tmp_path)
    assert done.returncode in (0, 3), done.stderr
    hits = server.search_all(f"{index_prefix}*")
    assert len(hits) == len(LINES) + 1
    index, document = hits[0]["_index"], hits[0]["_id"]
    assert as_key(server, tmp_path, "GET", f"/{index}/_search") == 403
    assert as_key(server, tmp_path, "GET", f"/{index}/_doc/{document}") == 403
    assert as_key(server, tmp_path, "PUT", f"/{index}/_doc/{document}", {"a": 1}) == 403
    assert as_key(server, tmp_path, "DELETE", f"/{index}/_doc/{document}") == 403
    assert as_key(server, tmp_path, "DELETE", f"/{index}") == 403
    assert as_key(server, tmp_path, "POST", "/other/_doc", {"a": 1}) == 403
    assert as_key(server, tmp_path, "PUT", f"/_index_template/{index_prefix}", {"index_patterns": ["x-*"]}) == 403
    assert as_key(server, tmp_path, "POST", "/_security/api_key", {"name": "more"}) == 403
    again = run_to_end("run", "-c", config, "--once", "--state", "fresh", directory=tmp_path)
    assert again.returncode == done.returncode
    assert len(server.search_all(f"{index_prefix}*")) == len(hits)

    configured(tmp_path, server, index_prefix, "operate")
    server.refresh(f"{index_prefix}*")
    audited = run_to_end("audit", "-c", config, directory=tmp_path)
    assert audited.returncode == 0, audited.stdout + audited.stderr
    retried = run_to_end("dead-letter", "retry", "-c", config, directory=tmp_path)
    assert "403" not in retried.stdout + retried.stderr
    assert as_key(server, tmp_path, "DELETE", f"/{index}") == 403


def test_every_role_is_one_that_the_server_takes(elasticsearch_secure: Remote, index_prefix: str) -> None:
    """As it stands in its file."""
    names = sorted(path.stem for path in ROLES.glob("*.json"))
    assert names == ["operate", "setup", "ship"]
    for name in names:
        body = (ROLES / f"{name}.json").read_bytes()
        elasticsearch_secure.ask("PUT", f"/_security/role/{index_prefix}{name}", body)
        elasticsearch_secure.ask("DELETE", f"/_security/role/{index_prefix}{name}")


def test_the_roles_for_opensearch_say_the_same() -> None:
    """The same roles for the same indices; each permission by its name, so that none comes along unseen."""
    by_name = {path.stem: json.loads(path.read_text()) for path in OPENSEARCH_ROLES.glob("*.json")}
    assert sorted(by_name) == sorted(path.stem for path in ROLES.glob("*.json"))
    for name, found in by_name.items():
        indices = json.loads((ROLES / f"{name}.json").read_text())["indices"]
        granted = found["index_permissions"]
        assert [one["index_patterns"] for one in granted] == [one["names"] for one in indices]
        actions = {action for one in granted for action in one["allowed_actions"]}
        assert [action for action in actions if "delete" in action or "update" in action] == []
        shards = {"indices:data/write/bulk*", "indices:admin/refresh*", "indices:data/read/mget*"}  # of their own
        assert {action for action in {*actions, *found["cluster_permissions"]} if "*" in action} <= shards
        assert any("read" in action for action in actions) is (name == "operate")


@pytest.mark.parametrize(
    ("status", "expected"),
    [(403, "answers; these credentials may not ask for its version"), (401, "refuses the credentials (401)")],
)
def test_check_tells_a_narrow_key_from_a_wrong_one(tmp_path: Path, sink: Sink, status: int, expected: str) -> None:
    """A key that may only create documents is no problem; one that the server does not know is."""
    sink.fault(Fault("status", status=status, path="/"))
    (tmp_path / "app.log").write_text("{}\n")
    done = run_to_end("check", "app.log", "--output", sink.url, directory=tmp_path)
    assert done.returncode == 0
    assert expected in done.stdout
