"""`shipper setup`: what is installed, on which server, and that it changes nothing twice."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from deliveries import Delivery, access_to, id_of
from harness.servers import Remote

from shipper.provision import setup, template_state, version_of
from shipper.settings import ElasticsearchSettings, SourceSettings
from shipper.templates import Feature, index_patterns, index_template, name_of, own_fields, policy

CONF = Path(__file__).parents[2] / "conf" / "elasticsearch"


def _settings(server: Remote, prefix: str) -> ElasticsearchSettings:
    return ElasticsearchSettings(hosts=(server.url,), index=f"{prefix}%Y.%m.%d", **access_to(server))


def _ran(settings: ElasticsearchSettings, *, dry_run: bool = False, **options: Any) -> tuple[int, str]:
    said: list[str] = []
    code = setup(settings, dry_run=dry_run, echo=said.append, **options)
    return code, "\n".join(said)


def _installed(server: Remote, prefix: str) -> dict[str, Any] | None:
    status, answer = server.request("GET", f"/_index_template/{name_of(prefix + '%Y.%m.%d')}")
    return answer["index_templates"][0]["index_template"] if status == 200 else None


@pytest.fixture
def prefix(any_server: Remote) -> Iterator[str]:
    """A prefix of index names; what is installed for it is removed."""
    name = f"setup{id(any_server)}-"
    yield name
    any_server.request("DELETE", f"/_index_template/{name_of(name + '%Y.%m.%d')}")
    any_server.delete_all(name)


def test_it_is_installed_once(any_server: Remote, prefix: str) -> None:
    """A first run makes the template, a second leaves it as it is; a dry run shows it and changes nothing."""
    settings = _settings(any_server, prefix)
    code, said = _ran(settings, dry_run=True)
    assert code == 0
    assert "would be created" in said
    assert f"PUT /_index_template/{name_of(settings.index)}" in said
    assert _installed(any_server, prefix) is None
    code, said = _ran(settings)
    assert (0, True) == (code, "is created" in said)
    installed = _installed(any_server, prefix)
    assert installed is not None
    assert [f"{prefix}20*.*.*", f"{prefix}undated"] == installed["index_patterns"]
    code, said = _ran(settings)
    assert (0, True) == (code, "is unchanged" in said)
    assert installed == _installed(any_server, prefix)


def test_what_we_made_is_renewed_and_what_others_made_is_not(any_server: Remote, prefix: str) -> None:
    """An older template of ours is replaced; one of somebody else stays, unless it is forced."""
    settings = _settings(any_server, prefix)
    path = f"/_index_template/{name_of(settings.index)}"
    older = {"index_patterns": [f"{prefix}*"], "priority": 1, "_meta": {"managed_by": "shipper", "version": "0.0"}}
    any_server.ask("PUT", path, older)
    assert "is updated" in _ran(settings)[1]
    theirs = {"index_patterns": [f"{prefix}*"], "priority": 1}
    any_server.ask("PUT", path, theirs)
    code, said = _ran(settings)
    assert (1, True) == (code, "somebody else" in said)
    assert (_installed(any_server, prefix) or {})["priority"] == 1
    assert (0, True) == (lambda ran: (ran[0], "is updated" in ran[1]))(_ran(settings, force=True))


LINE = (
    b'{"timestamp":"2024-01-15T10:30:45.123Z","level":"info","service":"caredroid-backend","requestId":"req-1",'
    b'"method":"POST","url":"/api/patients","statusCode":201,"duration":145.5,"userId":"user-123",'
    b'"ip":"192.168.1.100","contentLength":512,"message":"created a patient"}'
)
STRANGE = [
    b'{"statusCode":"none","duration":{"ms":1},"ip":"nobody","new":"' + b"x" * 50_000 + b'"}',
    b'{"extra":{"a":{"b":1}},"code":7}',
    b'{"extra":5,"code":"seven"}',
    b'{"when":"2024-01-15"}',
    b'{"when":"soon"}',
]


def test_documents_are_found_by_the_names_of_ecs(any_server: Remote, prefix: str, tmp_path: Path) -> None:
    """A request line is found by its own names and by the schema's; what does not fit is taken nevertheless."""
    settings = _settings(any_server, prefix)
    _ran(settings)
    index = f"{prefix}2024.01.15"
    with Delivery(tmp_path, any_server.url, **access_to(any_server)) as delivery:
        delivery.ship([LINE, *STRANGE], index=index)
        delivery.wait_done()
    assert 1 + len(STRANGE) == any_server.count(index)
    wanted = {
        "statusCode": 201,
        "http.response.status_code": 201,
        "http.request.method": "POST",
        "http.request.id": "req-1",
        "http.response.body.bytes": 512,
        "url.path": "/api/patients",
        "url.original": "/api/patients",
        "service.name": "caredroid-backend",
        "log.level": "info",
        "log.offset": 0,
        "host.name": "harness",
        "duration": 145.5,
    }
    if not any_server.is_opensearch:
        wanted |= {"user.id": "user-123", "client.ip": "192.168.1.100", "source.ip": "192.168.1.100"}
    for name, value in wanted.items():
        hits = any_server.ask("POST", f"/{index}/_search", {"query": {"term": {name: value}}})["hits"]["hits"]
        assert id_of(0) in {hit["_id"] for hit in hits}, name
    texts = any_server.ask("POST", f"/{index}/_search", {"query": {"match": {"message": "patient"}}})["hits"]["hits"]
    assert [id_of(0)] == [hit["_id"] for hit in texts]
    if not any_server.is_opensearch:
        assert delivery.documents("created") == 1 + len(STRANGE)


class FakeServer:
    """An Elasticsearch with index lifecycle management, which those of the tests have not: it stores what is put."""

    def __init__(self) -> None:
        self.stored: dict[str, Any] = {}
        self.methods: list[str] = []
        self.refusals: dict[str, tuple[int, Any]] = {}
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def respond(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                status, answer = fake.answer(self.command, self.path, self.rfile.read(length))
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        for method in ("GET", "PUT", "POST"):
            setattr(Handler, f"do_{method}", Handler.respond)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        self.methods.append(f"{method} {path}")
        for start, refusal in self.refusals.items():
            if path.startswith(start):
                return refusal
        if path == "/":
            return 200, {"version": {"number": "8.19.0", "build_flavor": "default"}}
        if method == "POST":
            return 200, {}
        name = path.rpartition("/")[2]
        if method == "PUT":
            self.stored[path] = json.loads(body)
            return 200, {"acknowledged": True}
        if path not in self.stored:
            return 404, {"error": {"type": "resource_not_found_exception", "reason": f"[{name}] not found"}}
        if path.startswith("/_ilm"):
            return 200, {name: {"version": 1, **self.stored[path]}}
        return 200, {"index_templates": [{"name": name, "index_template": self.stored[path]}]}

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    """The fake, for one test."""
    server = FakeServer()
    yield server
    server.stop()


def test_a_program_can_read_what_was_done(fake: FakeServer) -> None:
    """As JSON: each step with its state, bodies only of what is sent; what was done stays told when the next fails."""

    def read(**options: Any) -> tuple[int, dict[str, Any]]:
        code, said = _ran(ElasticsearchSettings(hosts=(fake.url,)), as_json=True, **options)
        return code, json.loads(said)

    code, said = read(dry_run=True)
    assert (0, True, True) == (code, said["is_ready"], said["is_dry"])
    assert [("create", True), ("create", True)] == [(step["state"], bool(step["body"])) for step in said["steps"]]
    assert fake.stored == {}
    fake.refusals["/_index_template/shipper-logs"] = (400, {"error": {"reason": "no room"}})
    code, said = read()
    assert (1, False) == (code, said["is_ready"])
    assert ["lifecycle policy"] == [step["what"] for step in said["steps"]]
    assert "no room" in said["error"]
    fake.refusals.clear()
    assert [0, 0] == [read()[0], (again := read())[0]]
    assert [("unchanged", None), ("unchanged", None)] == [(step["state"], step["body"]) for step in again[1]["steps"]]
    assert list(fake.stored) == ["/_ilm/policy/shipper-logs", "/_index_template/shipper-logs"]


def test_indices_are_deleted_after_thirty_full_days(fake: FakeServer) -> None:
    """Where there is lifecycle management the template refers to our policy; a second run changes nothing."""
    settings = ElasticsearchSettings(hosts=(fake.url,))
    code, said = _ran(settings)
    assert code == 0
    assert "deletes indices 31d after they were made" in said
    assert policy() == fake.stored["/_ilm/policy/shipper-logs"]
    template = fake.stored["/_index_template/shipper-logs"]
    assert template["template"]["settings"]["index.lifecycle.name"] == "shipper-logs"
    fake.methods.clear()
    code, said = _ran(settings)
    assert (0, 2) == (code, said.count("is unchanged"))
    assert not [method for method in fake.methods if method.startswith("PUT")]


def test_a_retention_that_somebody_chose_stays(fake: FakeServer) -> None:
    """A policy with another retention is kept and said, unless it is forced."""
    fake.stored["/_ilm/policy/shipper-logs"] = policy(days=90)
    settings = ElasticsearchSettings(hosts=(fake.url,))
    code, said = _ran(settings)
    assert (0, True) == (code, "is kept as it is (deletes indices 90d after they were made)" in said)
    _ran(settings, force=True)
    assert policy() == fake.stored["/_ilm/policy/shipper-logs"]


@pytest.mark.parametrize(
    ("path", "refusal", "words"),
    [
        ("/_index_template", (403, {"error": {"reason": "needs manage_index_templates"}}), "manage_index_templates"),
        ("/_ilm", (401, {}), "401"),
        ("/_index_template/_simulate", (400, {"error": {"reason": "out of order"}}), "out of order"),
    ],
)
def test_a_refusal_is_said_with_its_reason(fake: FakeServer, path: str, refusal: tuple[int, Any], words: str) -> None:
    """What the server does not allow or take ends the setup with the server's words."""
    fake.refusals[path] = refusal
    code, said = _ran(ElasticsearchSettings(hosts=(fake.url,)))
    assert (1, True) == (code, words in said)
    assert not fake.stored


def test_a_server_that_does_not_answer_is_said() -> None:
    """Nobody there: the host is named."""
    code, said = _ran(ElasticsearchSettings(hosts=("http://127.0.0.1:9",)))
    assert (1, True) == (code, "http://127.0.0.1:9" in said)


@pytest.mark.parametrize(
    ("pattern", "name", "patterns"),
    [
        ("logs-%Y.%m.%d", "shipper-logs", ["logs-20*.*.*", "logs-undated"]),
        ("caredroid", "shipper-caredroid", ["caredroid"]),
        ("%Y.%m.%d", "shipper", ["20*.*.*", "undated"]),
        ("a-%y%m%d-b", "shipper-a-b", ["a-*-b", "a-undated-b"]),
        ("a%%-%Y", "shipper-a", ["a%-20*", "a%-undated"]),
    ],
)
def test_which_indices_a_template_is_for(pattern: str, name: str, patterns: list[str]) -> None:
    """The pattern's own names and little else: never the data streams `logs-*-*` of others."""
    assert (name, patterns) == (name_of(pattern), index_patterns(pattern))


def test_names_that_the_configuration_writes_are_no_aliases() -> None:
    """What `copy` and `fields` put into documents must be writable."""
    sources = [SourceSettings(name="a", paths=("x",), copy={"user.id": "userId"}, fields={"service": {"name": "x"}})]
    taken = own_fields(sources)
    assert taken == {"user.id", "service.name"}
    flat = index_template("logs-%Y", taken=taken)["template"]["mappings"]["properties"]
    assert not {"user.id", "service.name"} & flat.keys()
    assert flat["url.path"] == {"type": "alias", "path": "url"}
    nested = index_template("logs-%Y", taken=taken | {"http"}, features=frozenset())["template"]["mappings"][
        "properties"
    ]
    assert not {"service", "http"} & nested.keys()
    assert {"path", "original"} == nested["url"]["fields"].keys()


def test_without_second_names() -> None:
    """For services whose lines carry the schema's names themselves nothing is an alias."""
    for features in (frozenset(Feature), frozenset[Feature]()):
        assert '"alias"' not in json.dumps(index_template("logs-%Y", aliases=False, features=features))


@pytest.mark.parametrize(
    ("number", "expected"),
    [("8.14.3", (8, 14)), ("9.0.0-SNAPSHOT", (9, 0)), ("", ()), ("serverless", ()), ("8.x.1", ())],
)
def test_versions(number: str, expected: tuple[int, ...]) -> None:
    """Major and minor; what is no version is older than all."""
    assert expected == version_of(number)


def test_a_template_is_compared_as_servers_give_it_back() -> None:
    """Settings come back nested, and as texts."""
    wanted = index_template("logs-%Y.%m.%d")
    settings = wanted["template"]["settings"]
    nested: dict[str, Any] = {"index": {}}
    for name, value in settings.items():
        nested["index"][name.removeprefix("index.")] = str(value).lower() if isinstance(value, bool) else str(value)
    given_back = {**wanted, "template": {**wanted["template"], "settings": nested}}
    assert template_state(given_back, wanted, force=False) == "unchanged"
    assert template_state({**given_back, "priority": 1}, wanted, force=False) == "update"
    assert template_state(None, wanted, force=False) == "create"


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("index-template.json", index_template("logs-%Y.%m.%d")),
        ("index-template-opensearch.json", index_template("logs-%Y.%m.%d", features=frozenset())),
        ("lifecycle-policy.json", policy()),
    ],
)
def test_the_files_are_what_is_installed(file: str, expected: dict[str, Any]) -> None:
    """conf/elasticsearch has what `shipper setup` sends."""
    assert expected == json.loads((CONF / file).read_text())
