"""A daemon with the default configuration, hostile lines, and all places at which it says or keeps something."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import reduce
from pathlib import Path

from command import Running, run_to_end

USUAL = {
    "timestamp": "2024-01-15T10:30:45.123Z",
    "method": "GET",
    "url": "/api/x",
    "statusCode": 500,
    "duration": 12,
}
HEAD = json.dumps(USUAL)[:-1]
LONG = (1 << 20) - len(HEAD) - 30
"""So many characters before a password that a line of the greatest length ends within it."""


def line(**fields: object) -> str:
    return json.dumps({**USUAL, **fields})


def member(secret: str) -> str:
    return json.dumps({"password": secret})


WRITINGS: dict[str, Callable[[str], str]] = {
    "deep": lambda s: HEAD + ',"a":' + '{"b":' * 90 + member(s) + "}" * 91,
    "too deep": lambda s: '{"a":' * 400 + member(s) + "}" * 400,
    "deep arrays": lambda s: HEAD + ',"a":' + "[" * 80 + member(s) + "]" * 80 + "}",
    "an escaped key": lambda s: f'{HEAD},"\\u0070assword":"{s}"}}',
    "an escaped key in JSON in a text": lambda s: line(m=f'{{"\\u0070assword":"{s}"}}'),
    "JSON in JSON in JSON": lambda s: line(m=reduce(lambda text, _: json.dumps({"m": text}), range(5), member(s))),
    "keys repeated": lambda s: f'{HEAD},"password":"{s}","password":"{s}","url":"/y?token={s}"}}',
    "labels": lambda s: line(method=f"Bearer {s}", statusCode=f"token={s}"),
    "a route": lambda s: line(url=f"/reset/eyJhbGciOiJIUzI1NiJ9.{s}.abc"),
    "a fragment": lambda s: line(url=f"https://u:{s}@a/cb#access_token={s}"),
    "a parameter of a path": lambda s: line(url=f"/x;jsessionid={s}?a=1"),
    "a stack": lambda s: line(err={"stack": f"Error: postgres://u:{s}@db\n  at f\n  config: {{ token: '{s}' }}"}),
    "headers as they are sent": lambda s: line(
        _header=f"POST / HTTP/1.1\r\nAuthorization: Bearer {s}\r\nCookie: a={s}"
    ),
    "headers in a list": lambda s: line(req={"rawHeaders": ["Host", "a", "Cookie", s]}),
    "an exemplar": lambda s: line(requestId=f"token={s}"),
    "a dead letter": lambda s: line(timestamp="2098-01-01T00:00:00Z", password=s, message=f"token={s}"),
    "a time": lambda s: line(timestamp=f"password={s}"),
    "no JSON": lambda s: f"login with password={s} failed",
    "cut short": lambda s: f'{HEAD},"password":"{s}',
    "no UTF-8": lambda s: f'{HEAD},"a":"\udcff","password":"{s}\udcfe"}}',
    "NULs": lambda s: f"\0\0{member(s)}",
    "NaN": lambda s: f'{HEAD},"a":NaN,"password":"{s}"}}',
    "two objects": lambda s: f"{HEAD}}}{member(s)}",
    "names of ours": lambda s: line(tags=[f"password={s}"], host={"password": s}, log=f"token={s}", _id=f"pwd={s}"),
    "a key": lambda s: line(**{f"password={s}": 1, "x": {f"Bearer {s}": 2}}),
    "a line that is too long": lambda s: HEAD + f',"password":"{s}","x":"' + "y" * (2 << 20) + '"}',
    "cut where it is too long": lambda s: f'{HEAD},"x":"' + "y" * LONG + f'","password":"{s * 9}"}}',
    "very many fields": lambda s: HEAD + "".join(f',"k{i}":{i}' for i in range(20_000)) + f',"password":"{s}"}}',
    "a quote left open": lambda s: line(m=f"agent=token: 'x password: '{s}'"),
    "a command": lambda s: line(cmd=f"curl -u bob:{s} https://a"),
    "a form": lambda s: line(body=f'form-data; name="password"\r\n\r\n{s}\r\n--x'),
}


def secrets() -> Iterator[tuple[str, str]]:
    for i, name in enumerate(WRITINGS):
        yield name, f"Zq{i:02d}kW7pX9vR{i:02d}t"


def kept(directory: Path) -> Iterator[tuple[str, str]]:
    """Every file that the daemon has written."""
    for path in directory.rglob("*"):
        if path.is_file() and path.parent.name != "logs":
            yield path.name, path.read_text(errors="replace")


def test_no_secret_is_left_anywhere(tmp_path: Path) -> None:
    """Documents, dead letters, state, ledger, metrics with exemplars, page, status, commands and log."""
    (tmp_path / "logs").mkdir()
    text = "".join(WRITINGS[name](secret) + "\n" for name, secret in secrets())
    (tmp_path / "logs" / "app.log").write_bytes(text.encode("utf-8", "surrogateescape"))
    (tmp_path / "logs" / "first.log").write_text(member("Zq00kW7pX9vR00t") + "\n")
    with Running("logs", directory=tmp_path) as running:
        running.wait_for(
            lambda: (
                running.metric("shipper_documents_total") + running.metric("shipper_dead_letter_records")
                >= len(WRITINGS) + 1
            ),
            "all lines",
        )
        said = {path: running.get(path)[1] for path in ("/metrics", "/", "/status.json")}
        said["openmetrics"] = running.get("/metrics", accept="application/openmetrics-text")[1]
        for command in (("status",), ("dead-letter", "show")):
            said[command[-1]] = run_to_end(*command, directory=tmp_path).stdout
        assert running.stop() == 0
    said |= dict(kept(tmp_path))
    assert {"logs-2024.01.15.ndjson", "ledger.db", "state.db", "shipper.log"} <= set(said)
    assert "time_in_future" in said["show"]
    assert [(name, where) for name, secret in secrets() for where in said if secret[:9] in said[where]] == []
