"""Lines as services write them: JSON by several writers, nested, in texts, cut short, and no JSON at all."""

from __future__ import annotations

import json
from typing import Any, Final
from urllib.parse import quote

from security.values import Chance

_MESSAGES: Final = (
    "request completed",
    "upstream answered",
    "retry 2 of 5",
    "validation failed",
    "audit",
    "user updated",
)
PATHS: Final = ("/api/patients", "/api/v1/appointments/17", "/login", "/oauth/callback", "/fhir/Patient")


def record(chance: Chance, **fields: Any) -> dict[str, Any]:
    """A line's usual fields around those given."""
    usual = {
        "timestamp": f"2024-01-15T10:{chance.randrange(60):02d}:45.{chance.randrange(1000):03d}Z",
        "level": chance.choice(("info", "warn", "error", "debug")),
        "service": "caredroid-backend",
        "requestId": f"req-{chance.getrandbits(64):016x}",
        "statusCode": chance.choice((200, 201, 400, 401, 500)),
        "duration": chance.randrange(1, 3000),
    }
    pairs = [*usual.items(), *fields.items()]
    if chance.random() < 0.5:
        chance.shuffle(pairs)
    return dict(pairs)


def written(chance: Chance, value: Any) -> bytes:
    """JSON as one of several writers writes it."""
    is_ascii = chance.random() < 0.3
    text = json.dumps(value, ensure_ascii=is_ascii, separators=chance.choice(((",", ":"), (", ", ": "))))
    kind = chance.random()
    if kind < 0.1:  # PHP
        text = text.replace("/", "\\/")
    elif kind < 0.2:  # Go, .NET
        for plain, escaped in (("&", "\\u0026"), ("<", "\\u003c"), (">", "\\u003e")):
            text = text.replace(plain, escaped)
        if kind < 0.15:
            text = text.replace('\\"', "\\u0022").replace("'", "\\u0027").replace("+", "\\u002B")
    return text.encode()


def in_text(chance: Chance, text: str) -> bytes:
    """A line that has a text in one of its fields, or is that text."""
    kind = chance.randrange(8)
    if kind == 0:
        return f"2024-01-15 10:30:45 INFO [main] {text}".replace("\n", " ").encode()
    if kind == 1:
        return text.replace("\n", " ").encode()
    if kind == 2:
        return written(
            chance, record(chance, message="failed", err={"stack": f"Error: {text}\n    at run (/app/x.js:10:5)"})
        )
    if kind == 3:
        return written(chance, record(chance, message=chance.choice(_MESSAGES), args=["a", text, 3]))
    if kind == 4:
        return written(chance, record(chance, message=json.dumps({"level": "info", "detail": text})))
    if kind == 5:
        line = written(chance, record(chance, message=text))
        return line[: chance.randrange(line.rindex(b"}") - 1, len(line))]  # cut by a crash
    return written(chance, record(chance, message=text))


def named(chance: Chance, name: str, value: Any) -> bytes:
    """A line that has a field of this name, somewhere."""
    found: Any = {name: value}
    kind = chance.randrange(9)
    if kind == 0:
        return written(chance, record(chance, **found))
    if kind == 1:
        return written(chance, record(chance, body={"user": "bob", **found}))
    if kind == 2:
        return written(chance, record(chance, req={"headers": {"host": "a.example", **found}, "method": "POST"}))
    if kind == 3:
        return written(chance, record(chance, items=[{"id": 1}, {"id": 2, **found}]))
    if kind == 4:
        return written(chance, record(chance, message=json.dumps(found)))
    if kind == 5:
        return written(chance, record(chance, message=f"payload {json.dumps({'a': [1], **found})} sent"))
    if kind == 6:
        return written(chance, record(chance, body=json.dumps({"data": json.dumps({"x": 1, **found})})))
    if kind == 7:
        line = written(chance, record(chance, **found))
        return line + b"," if chance.random() < 0.5 else b"INFO " + line
    return in_text(chance, repr({"id": 7, **found}))


_FORMS: Final = (
    *("{n}={v}", "{n}: {v}", "user=bob {n}={v} ip=10.0.0.1", "{n} = {v}", '{n}="{v}"', "{n}: '{v}'", "{n} => '{v}'"),
    *("login failed ({n}={v})", "[{n}: {v}]", "{{{n}={v}, user=bob}}", "retrying; {n}={v}; attempt=2", "{n}:{v}"),
    *("curl -H '{n}: {v}' https://a.example/", "run --{n} {v} --verbose", "run --{n}={v}", "env {N}={v} node app.js"),
    *("<{n}>{v}</{n}>", '<user {n}="{v}" id="7"/>', "body: a=1&{n}={q}&b=2", "GET {p}?{n}={q}&x=1 200"),
    *("GET {p}?x=1&{n}={q} HTTP/1.1", 'POST /x {{"{n}":"{v}"}} 401', "redirect=https%3A%2F%2Fa%2F%3F{n}%3D{q}%26z%3D1"),
    *("{n}[]={q}&a=1", "{{ {n}: \x1b[32m'{v}'\x1b[39m }}", "\x1b[36m{n}\x1b[39m={v}", "{{b'{n}': b'{v}'}}"),
    *("user%5B{n}%5D={q}&a=1", "user[{n}]={q}", "Server=db;{n}={v};Database=x"),
)


def assigned(chance: Chance, name: str, value: str) -> bytes:
    """A line in whose text a name gets this value."""
    form = chance.choice(_FORMS)
    flag = name.replace("_", "-").replace(".", "-").lower()
    text = form.format(
        n=flag if "--{n}" in form else name,
        N=name.replace("-", "_").upper(),
        v=value,
        q=quote(value, safe=""),
        p=chance.choice(PATHS),
    )
    return in_text(chance, text)


def apart(chance: Chance, header: str, value: str) -> bytes:
    """A line in which a header's name is a value itself, beside its own."""
    kind = chance.randrange(7)
    if kind == 0:
        return named(chance, "rawHeaders", ["Host", "a.example", header, value, "Accept", "*/*"])
    if kind == 1:
        return named(chance, "headers", [["host", "a.example"], [header.lower(), value]])
    if kind == 2:
        return named(chance, "headers", [{"name": "Host", "value": "a.example"}, {"name": header, "value": value}])
    if kind == 3:
        return named(chance, "attributes", [{"value": value, "key": header}, {"value": "a.example", "key": "host"}])
    if kind == 4:
        return in_text(chance, f"rawHeaders: [ 'Host', 'a.example', '{header}', '{value}' ]")
    if kind == 5:
        return in_text(chance, f"{{ name: '{header}', value: '{value}' }}")
    return in_text(chance, f'<header name="{header}" value="{value}"/>')


def styled(chance: Chance, name: str) -> str:
    """A name with `_` as one of several languages writes it."""
    words = name.split("_")
    return chance.choice(
        (
            name, name, "-".join(words), words[0] + "".join(word.capitalize() for word in words[1:]), name.upper(),
            "".join(word.capitalize() for word in words), "-".join(word.capitalize() for word in words), "".join(words),
        )
    )  # fmt: skip
