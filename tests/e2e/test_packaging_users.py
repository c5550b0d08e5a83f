"""The script of the compose stack that makes users and roles, run against a real Elasticsearch with security."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness.servers import Remote

SCRIPT = Path(__file__).parents[2] / "docker" / "elasticsearch" / "users.sh"
PASSWORD = "Of-the-tests_1"
INDEX = "logs-users.2024.01.15"


def run_script(server: Remote) -> str:
    """Runs the script as the compose stack does and returns what it said."""
    assert server.user
    assert server.password
    environment = {
        **os.environ,
        "ELASTICSEARCH_URL": server.url,
        "ELASTIC_USER": server.user,
        "ELASTIC_PASSWORD": server.password,
        "KIBANA_PASSWORD": PASSWORD,
        "SHIPPER_PASSWORD": PASSWORD,
        "GRAFANA_PASSWORD": PASSWORD,
        "CURL_CA_BUNDLE": str(server.ca_file),
    }
    done = subprocess.run(["sh", SCRIPT], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def prepared(elasticsearch_secure: Remote) -> Iterator[Remote]:
    """The secure server after two runs of the script; what those made is removed afterwards."""
    for _ in range(2):
        assert PASSWORD not in run_script(elasticsearch_secure)
    yield elasticsearch_secure
    made = ("user/shipper", "user/grafana", "role/shipper", "role/logs_reader")
    for path in (*(f"/_security/{name}" for name in made), f"/{INDEX}", "/_index_template/users-test"):
        elasticsearch_secure.request("DELETE", path)


def as_user(server: Remote, user: str, method: str, path: str, body: Any = None) -> int:
    """The status of a request by that user."""
    token = base64.b64encode(f"{user}:{PASSWORD}".encode()).decode()
    return server.request(method, path, body, headers={"authorization": f"Basic {token}"})[0]


def test_the_shipper_may_write_its_indices_and_nothing_else(prepared: Remote) -> None:
    """The role creates daily indices, new fields and templates; it neither deletes nor touches other indices."""
    line = {"method": "GET", "statusCode": 200}
    assert as_user(prepared, "shipper", "PUT", f"/{INDEX}/_create/1", line) == 201
    assert as_user(prepared, "shipper", "PUT", f"/{INDEX}/_create/2", {**line, "new": {"field": 1}}) == 201
    assert as_user(prepared, "shipper", "PUT", f"/{INDEX}/_doc/1", {**line, "mended": True}) == 200
    template = {"index_patterns": ["users-test-*"], "template": {"settings": {"number_of_replicas": 0}}}
    assert as_user(prepared, "shipper", "PUT", "/_index_template/users-test", template) == 200
    assert as_user(prepared, "shipper", "GET", "/_cluster/health") == 200
    assert as_user(prepared, "shipper", "DELETE", f"/{INDEX}/_doc/1") == 403
    assert as_user(prepared, "shipper", "DELETE", f"/{INDEX}") == 403
    assert as_user(prepared, "shipper", "PUT", "/patients/_create/1", line) == 403


def test_kibana_gets_its_password(prepared: Remote) -> None:
    """The built-in user of Kibana can sign in with the password that the stack gives to Kibana."""
    assert as_user(prepared, "kibana_system", "GET", "/_security/_authenticate") == 200


def test_grafana_may_read_the_logs_and_nothing_else(prepared: Remote) -> None:
    """Its user searches logs-* and can neither write there nor look elsewhere."""
    assert as_user(prepared, "shipper", "PUT", f"/{INDEX}/_create/3", {"method": "GET"}) == 201
    assert as_user(prepared, "grafana", "GET", "/logs-*/_search") == 200
    assert as_user(prepared, "grafana", "PUT", f"/{INDEX}/_create/4", {"method": "GET"}) == 403
    assert as_user(prepared, "grafana", "GET", "/patients/_search") == 403
