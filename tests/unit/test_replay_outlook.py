"""What a dry run says of retention: what is deleted at once, what lives longer than its lines say, what is unknown."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from shipper.replay.outlook import Fate, age_ms, born_ms, notes, outlook
from shipper.settings import ElasticsearchSettings

DAY = 86_400_000
NOW = 400 * DAY


def fate(index: str, *, kept: int | None = 30 * DAY, born: int | None = None) -> Fate:
    return Fate(index=index, policy="logs", kept_ms=kept, born_ms=born)


def test_what_is_older_than_its_policy_keeps_is_warned_of() -> None:
    """All such indices in one line; what is young enough, or kept for ever, is no matter."""
    fates = [
        fate("logs-2023.01.01", born=NOW - 30 * DAY),
        fate("logs-2023.01.02", born=NOW - 31 * DAY),
        fate("logs-2024.01.01", born=NOW - 29 * DAY),
        fate("logs-2024.01.02", kept=None),
    ]

    (note,) = notes(fates, now_ms=NOW)
    assert note.startswith(
        "warning: logs-2023.01.01 to logs-2023.01.02 (2 indices) would be deleted by your policy logs"
    )
    assert note.endswith("at its next run: older than 30 days")


def test_new_indices_live_from_now() -> None:
    """A policy counts from the creation of an index, not from the day of its lines."""
    assert notes([fate("logs-2023.01.01", kept=DAY // 2)], now_ms=NOW) == [
        "logs-2023.01.01 would be new; policy logs keeps it 12 hours from now, whatever day the lines are of"
    ]


@pytest.mark.parametrize(
    ("text", "expected"), [("30d", 30 * DAY), ("12h", DAY // 2), ("5ms", 5), ("soon", None), ("", None)]
)
def test_ages(text: str, expected: int | None) -> None:
    """As policies write them."""
    assert age_ms(text) == expected


BIRTHS = [
    ({}, None, None),
    ({}, "1700000000000", 1_700_000_000_000),
    ({"origination_date": "1600000000000"}, "1700000000000", 1_600_000_000_000),
    ({"parse_origination_date": "true"}, None, 1_705_276_800_000),
    ({"parse_origination_date": "false"}, None, None),
]


@pytest.mark.parametrize(("lifecycle", "created", "expected"), BIRTHS)
def test_since_when_an_index_counts(lifecycle: dict[str, str], created: str | None, expected: int | None) -> None:
    """What is set comes before the name, the name before the creation."""
    assert born_ms("logs-2024.01.15", lifecycle, created) == expected


ANSWERS: dict[str, Any] = {
    "/logs-2023.01.01/_settings": {
        "logs-2023.01.01": {"settings": {"index": {"creation_date": "1672531200000", "lifecycle": {"name": "short"}}}}
    },
    "/_index_template/_simulate_index/logs-2024.01.15": {
        "template": {"settings": {"index": {"lifecycle": {"name": "short"}}}}
    },
    "/_ilm/policy/short": {"short": {"policy": {"phases": {"delete": {"min_age": "31d", "actions": {"delete": {}}}}}}},
}


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        answer = ANSWERS.get(self.path)
        body = json.dumps(answer or {"error": "no"}).encode()
        self.send_response(200 if answer else 404)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815 - the base class's name

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture
def server() -> Iterator[str]:
    """A server with lifecycle management, which the real ones at hand do not have."""
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_a_server_is_asked(server: str) -> None:
    """An index that is there, one that a template would make, and one of which nothing is known."""
    settings = ElasticsearchSettings(hosts=(server,))

    found = outlook(settings, ["logs-2023.01.01", "logs-2024.01.15", "other-2024.01.15"])

    assert [note.partition(";")[0].partition(" would")[0] for note in found] == [
        "warning: logs-2023.01.01",
        "logs-2024.01.15",
    ]
    assert "older than 31 days" in found[0]


def test_a_server_that_does_not_answer_is_said() -> None:
    """The dry run goes on without it."""
    (note,) = outlook(ElasticsearchSettings(hosts=("http://127.0.0.1:9",), request_seconds=0.2), ["logs-2024.01.15"])

    assert "could not be asked" in note
