"""Redaction over lines that nobody would write: what the prefilter passes is clean, and JSON stays JSON."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from shipper.redact.rules import Rules
from shipper.settings import Pack, RedactAction, RedactSettings

KEY = b"0123456789abcdef"
CONFIGURATIONS = {
    "default": RedactSettings(),
    "everything": RedactSettings(
        packs=tuple(Pack),
        fields={
            "mrn": RedactAction.HASH,
            "Patient.name": RedactAction.MASK,
            "notes": RedactAction.DROP,
            "zip": RedactAction.TRUNCATE,
            "größe": RedactAction.MASK,
        },
        patterns={"ward": r"\bW-\d{4}\b", "whole": "^only this$", "umlaut": "[äö]ü+"},
        ip="truncate",
        url_segments=("patients",),
    ),
    "fields": RedactSettings(packs=(), fields={"notes": RedactAction.DROP, "patient.mrn": RedactAction.HASH}),
    "own": RedactSettings(packs=(), patterns={"ward": r"W-\d{4}", "quoted": '"x"', "path": "a/b", "lines": "a\nb"}),
}
RULES = {name: Rules(found, key=KEY) for name, found in CONFIGURATIONS.items()}

WORDS = (
    *(
        "password",
        "Pass-Word",
        "pwd",
        "client_secret",
        "accessToken",
        "tokens",
        "Authorization",
        "Set-Cookie",
        "session",
    ),
    *(
        "Bearer",
        "Basic",
        "dXNlcjpwYXNz",
        "api key",
        "x-api-key",
        "JSESSIONID",
        "user[password]",
        "otp",
        "pass",
        "mrn",
        "notes",
        "patient",
        "name",
        "key",
        "value",
        "rawHeaders",
        "headers",
        "pin",
        "auth",
        "sid",
        "zip",
    ),
    *("größe", "email", "phone", "ssn", "dob", "date of birth", "card_number", "born", "message", "url", "passenger"),
)
VALUES = (
    *("hunter2", "Bearer abc.def-123", "Basic dXNlcjpwYXNz", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc_def", "***", ""),
    *("AKIAIOSFODNN7EXAMPLE", "sk-0123456789abcdefghij", "ghp_0123456789abcdefghij", "postgres://u:p@ss@db:5432/x"),
    *("bob@example.com", "bob%40example.com", "+49 171 1234567", "(555) 234-5678", "123-45-6789", "MRN: 00123456"),
    *(
        "4111 1111 1111 1111",
        "DE89370400440532013000",
        "born on 12 March 1984",
        "DOB: 1984-03-12",
        "W-1234",
        "only this",
    ),
    *(
        "192.168.1.100",
        "2001:db8:1:2::5",
        "::ffff:10.1.2.3",
        "/api/patients/17?token=abc&mrn=9",
        "öüü",
        "a/b",
        "a\nb",
        '"x"',
    ),
    *("Cookie", "x-api-key", "--db-password", "3f2a1b4c5d6e7f8091a2", "1234", "bob:hunter2", "p%61ssword=hunter2"),
    *("curl -u bob:hunter2", "mysql -phunter2", "https%3A%2F%2Fbob%3Ahunter2%40h", "&lt;pwd&gt;x1&lt;/pwd&gt;"),
    *("-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----", "943 476 5919", "W-12345", "tokens: 512", "{}"),
)
GLUE = (
    "=",
    ": ",
    ":",
    " = ",
    "=>",
    " ",
    ", ",
    "; ",
    "&",
    "?",
    '"',
    "'",
    "\\",
    "/",
    "\n",
    "\t",
    "{",
    "}",
    "[",
    "]",
    "%3D",
    "', '",
    "&quot;",
    "--",
    "[0]",
    "\x1b[33m",
)

words, values, glue = st.sampled_from(WORDS), st.sampled_from(VALUES), st.sampled_from(GLUE)
noise = st.text(max_size=6)
texts = st.lists(words | values | glue | noise, max_size=8).map("".join)
numbers = st.integers() | st.sampled_from([4111111111111111, 512, 123456])


def within(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


documents = st.recursive(
    texts | numbers | st.booleans() | st.none() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(words | texts, inner, max_size=4)
        | st.dictionaries(words, inner, max_size=3).map(within)
        | st.dictionaries(words, inner, max_size=3).map(lambda value: f"body {within(value)} end")
    ),
    max_leaves=8,
)
objects = st.dictionaries(words | texts, documents, min_size=1, max_size=4)


@st.composite
def writings(draw: st.DrawFn, source: st.SearchStrategy[Any] = objects) -> bytes:
    """JSON as different writers write it: escaped slashes, ASCII only, letters and quotes as escapes, spaces."""
    value = draw(source)
    text = json.dumps(
        value, ensure_ascii=draw(st.booleans()), separators=draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    )
    hidden = draw(st.sampled_from(["", "", "a", "s", "e", "@", "=", "4", "-", ":", " "]))
    escapes = {"/": "\\/", '\\"': "\\u0022", "'": "\\u0027", "&": "\\u0026", "+": "\\u002B"}
    chosen = draw(st.lists(st.sampled_from(list(escapes.items())), max_size=3))
    for plain, escaped in [*chosen, *([(hidden, f"\\u{ord(hidden):04x}")] if hidden else [])]:
        written = text.replace(plain, escaped)
        if is_object(written):  # not where it stands between the values, too
            text = written
    return text.encode("utf-8", "replace")


def is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def cut(line: bytes, share: float) -> bytes:
    return line[: int(len(line) * share)]


broken = st.builds(cut, writings(), st.floats(0, 1))
plain = texts.map(lambda text: text.encode("utf-8", "replace").replace(b"\n", b" "))
mixed = st.tuples(plain, writings(), plain).map(b" ".join)
lines = writings() | broken | plain | mixed | st.binary(max_size=40).map(lambda text: text.replace(b"\n", b""))


@pytest.mark.parametrize("name", RULES)
@settings(max_examples=600, deadline=None)
@given(st.lists(lines, min_size=1, max_size=4))
def test_the_prefilter_misses_nothing(name: str, found: list[bytes]) -> None:
    """Whatever redaction would change is among the suspects of a batch, and a clean batch has none."""
    rules = RULES[name]
    found = [line.decode("utf-8", "replace").encode() for line in found]
    data = b"\n".join(found)
    starts = [sum(len(line) + 1 for line in found[:i]) for i in range(len(found))]
    changed = {i for i, line in enumerate(found) if rules.redact_line(line, []) != line}
    suspects = list(rules.suspects(data, starts))
    assert changed - set(suspects) == set()
    assert rules.is_clean(data) == (not suspects)


@pytest.mark.parametrize("name", RULES)
@settings(max_examples=300, deadline=None)
@given(writings())
def test_an_object_stays_an_object(name: str, line: bytes) -> None:
    """An object becomes an object on one line; what is not counted as redacted is as it was."""
    rules = RULES[name]
    found: list[tuple[str, str]] = []
    redacted = rules.redact_line(line, found)
    assert b"\n" not in redacted
    assert isinstance(json.loads(redacted), dict)
    assert (redacted != line) == bool(found)
    assert {rule for rule, _ in found} <= set(rules.names)


@pytest.mark.parametrize("name", ["default", "own"])
@settings(max_examples=300, deadline=None)
@given(lines)
@example(b'{"password":"hunter2***"}')
@example(b'{"a":"{\\u0022password\\u0022: [1, \\u0022x\\u0022],\\')
@example(b'{"a":"{\\u0022password\\u0022: [1, \\u0022x\\u0022],\\t12')
def test_redacting_again_changes_nothing(name: str, line: bytes) -> None:
    """What is left of a line has nothing to redact: a replay of redacted lines makes the same ids.

    (Not where a secret runs on into a command or a name, `AKIA...EXAMPLEcurl`, which only what is left of it shows.)
    """
    rules = RULES[name]
    redacted = rules.redact_line(line, [])
    assume(not re.search(rb"\*{3}[A-Za-z:=]", redacted))
    assert rules.redact_line(redacted, []) == redacted


@settings(max_examples=300, deadline=None)
@given(lines)
def test_any_bytes_are_taken(line: bytes) -> None:
    """No line is an error, and a line without anything to redact comes back as it was, whatever its bytes."""
    for rules in RULES.values():
        found: list[tuple[str, str]] = []
        redacted = rules.redact_line(line, found)
        assert found or redacted == line


SECRETS = st.text(alphabet="abcdefXYZ0123456789", min_size=8, max_size=20).map(lambda text: f"q7{text}Z")
PLACES: dict[str, Callable[[str, str], Any]] = {
    "field": lambda name, secret: {"a": 1, name: secret},
    "number of levels": lambda name, secret: {"a": [{"b": {name: secret}}]},
    "list": lambda name, secret: {name: [secret, {"x": secret}]},
    "JSON in a string": lambda name, secret: {"m": within({"u": {name: secret}})},
    "JSON in JSON in a string": lambda name, secret: {"m": within({"n": within({name: secret})})},
    "pair": lambda name, secret: {"m": f"user=bob {name}={secret} done"},
    "pair in quotes": lambda name, secret: {"m": f"{{'{name}': '{secret}', 'x': 1}}"},
    "header": lambda name, secret: {"m": f"{name}: {secret}"},
    "query": lambda name, secret: {"url": f"/x?a=1&{name}={secret}&b=2"},
    "name and value": lambda name, secret: {"env": [{"name": name, "value": secret}]},
    "value and name": lambda name, secret: {"env": [{"value": secret, "at": 1, "key": name}]},
    "list of headers": lambda name, secret: {"rawHeaders": ["Host", "x", name, secret]},
    "option": lambda name, secret: {"argv": ["run", f"--{name}", secret]},
    "HTML": lambda name, secret: {"m": f"&quot;{name}&quot;:&quot;{secret}&quot;"},
}
NAMED = st.sampled_from(
    ["password", "PASSWD", "clientSecret", "access_token", "Api-Key", "authorization", "set-cookie"]
)


WHOLE = {"value and name", "list of headers"}
"""What takes a whole line of JSON to be seen."""


@pytest.mark.parametrize("place", PLACES)
@settings(max_examples=100, deadline=None)
@given(NAMED, SECRETS, st.booleans())
def test_a_named_secret_is_gone(place: str, name: str, secret: str, is_cut: bool) -> None:
    """Whatever the place of a secret by its name, also in a line that was cut short, nothing of it is left."""
    line = json.dumps(PLACES[place](name, secret)).encode()
    if is_cut and place not in WHOLE:
        line = line[:-1]
    redacted = RULES["default"].redact_line(line, [])
    assert secret.encode() not in redacted
