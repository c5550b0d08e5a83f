"""Lines made to stall redaction, or to slip through it, do neither."""

import time

import pytest

from shipper.redact.rules import Rules
from shipper.settings import Pack, RedactAction, RedactSettings

RULES = Rules(
    RedactSettings(
        packs=tuple(Pack),
        fields={"email": RedactAction.MASK, "a.b": RedactAction.DROP},
        patterns={"far": "x.*y|x"},
        ip="truncate",
        url_segments=("patients",),
    ),
    key=b"",
)
UNITS = {
    "names": b"password",
    "pairs": b"password=",
    "pairs in prose": b"token: a ",
    "pairs with commas": b"token=a,",
    "open quotes": b'token="',
    "escaped quotes": b'token=\\"',
    "single quotes": b"password='",
    "open brackets": b"token={",
    "brackets and quotes": b'token=[{"',
    "backslashes": b"\\",
    "backslashes in brackets": b"token={\\\\\\",
    "JWT": b"eyJabcdefgh.",
    "no JWT": b"eyJ",
    "digits": b"4",
    "cards": b"4111 1111 1111 1111 ",
    "dashes": b"4-",
    "addresses": b"a@b.",
    "e-mail": b"a@b.cc ",
    "URLs": b"://a:",
    "URL passwords": b"://a:b@",
    "keys": b"-----BEGIN PRIVATE KEY",
    "bearer": b"bearer ",
    "colours": b"token\x1b[33m",
    "colours as they are written": b"\\u001b[33m",
    "indices": b"token[0]",
    "flags": b"--token ",
    "elements": b"<token>",
    "attributes": b"<token ",
    "v6": b"a::",
    "v4": b"1.2.3.4",
    "cookies": b"cookie: a=b; ",
    "digest": b"authorization: digest a=b, ",
    "own patterns": b"x",
    "escapes": b"\\u0070",
    "objects": b'{"a":',
    "arrays": b"[",
    "members": b'"a":"b",',
    "secret members": b'"password":"b",',
    "segments": b"/patients/",
    "names of values": b'"name":"token",',
    "weak names": b"sid=",
    "weak names and brackets": b"sid={",
    "pins in brackets": b"pin={",
    "weak names of headers": b"x-sid=",
    "weak names in URLs": b"?sid=(",
    "names in lists and brackets": b'"cookie",{',
    "flags and brackets": b"--password {",
    "weak flags and brackets": b"--sid {",
    "backslashes behind an escape": b"\\u0041\\\\\\\\",
    "values in values": b'{"value":["a",',
    "values of names": b'"value":"token",',
    "names in a list": b'"authorization",',
    "options in a list": b'"--token",',
    "pairs apart": b'"value":"b","name":"token",',
    "headers": b'"headers":["token",',
    "quotes in HTML": b"token=&quot;",
    "quotes in HTML of HTML": b"token=&amp;amp;quot;",
    "elements in HTML": b"&lt;token&gt;",
    "letters of a URL": b"%41",
    "halves of letters": b"%4",
    "commands": b"curl ",
    "commands and options": b"curl -u ",
    "commands and passwords": b"curl -u a:b ",
    "escaped URLs": b"%3A%2F%2Fa%3A",
    "escaped URL passwords": b"%3A%2F%2Fa%3Ab%40",
    "forms": b'form-data; name="token"\r\n',
    "wrappers": b"token: a(",
    "SQL": b"identified by 'a' ",
    "PHP": b';s:3:"token";s:',
    "quotes left open": b"token: 'x ",
    "opaque": b"auth=a1b2c3d4e5f6a7b8c9",
}


def seconds(line: bytes) -> float:
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        RULES.redact_line(line, [])
        best = min(best, time.process_time() - started)
    return best


def plain(text: bytes) -> bytes:
    return text


def in_json(text: bytes) -> bytes:
    return b'{"m":"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"}'


def in_object(text: bytes) -> bytes:
    return b'{"a":{' + text.rstrip(b",") + b"}}"


@pytest.mark.parametrize("form", [plain, in_json, in_object])
@pytest.mark.parametrize("unit", UNITS)
def test_time_grows_with_length_alone(unit: str, form: object) -> None:
    """Four times the text takes four times the time or so, not sixteen times."""
    assert callable(form)
    short, long = (form(UNITS[unit] * (size // len(UNITS[unit]))) for size in (1 << 14, 1 << 16))
    quick = seconds(short)
    assert seconds(long) < 9 * quick + 0.01


def test_depth() -> None:
    """Nesting beyond any reason is a text like others, and its secrets go."""
    line = b'{"a":' * 100_000 + b'{"password":"s3cret"}' + b"}" * 100_000
    assert b"s3cret" not in RULES.redact_line(line, [])


def test_strings_in_strings() -> None:
    """JSON in strings in strings is followed as far as it goes; what is deeper is found as text."""
    import json

    text = '{"password":"s3cret"}'
    for _ in range(9):
        text = json.dumps({"m": text})
    assert b"s3cret" not in RULES.redact_line(text.encode(), [])


@pytest.mark.parametrize("name", ["sig", "sid", "signature", "auth"])
@pytest.mark.parametrize(
    "end", ["", "&b", "#top", "#/route", ";c", ",c", ")c", "|b", "!", "*", "@x", "$", "^", "\\n", "?y=1"]
)
def test_values_in_urls_end_where_they_end(name: str, end: str) -> None:
    """What is made by a machine is masked, whatever stands behind it."""
    secret = "0123456789abcdef" * 2
    line = f'{{"url":"/x?{name}={secret}{end}"}}'.encode()
    assert secret.encode() not in RULES.redact_line(line, [])


@pytest.mark.parametrize("text", [b"\\\\u003" * 1500 + b"1", b"\\u003" * 1500 + b"1", b"%25" * 1500 + b"41"])
def test_escapes_that_make_escapes(text: bytes) -> None:
    """A text of which each reading makes the escapes of the next one is masked, and does not end the daemon."""
    for line in (text, b'{"m":"%b","password":"s3cret"}' % text):
        assert b"s3cret" not in RULES.redact_line(line, [])
    assert b"003" * 9 not in RULES.redact_line(b'{"m":"%b"}' % (b"\\\\u003" * 1500 + b"1"), [])


@pytest.mark.parametrize(
    "line",
    [
        b'{"password" :\t"s3cret"}',
        b'{"p\\u0061ssword":"s3cret"}',
        b'{"PASSWORD":"s3cret","password":"s3cret"}',
        b'{"password":{"password":["s3cret"]}}',
        b'{"a":"\xff","password":"s3cret"}',
        b'{"password":"s3cret"} trailing',
        b'{"password":"s3cret"}{"password":"s3cret"}',
        b'\xef\xbb\xbf{"password":"s3cret"}',
        b"{'password': 's3cret'}",
        b'{"password":"s3cret',
        b'"password":"s3cret"}',
        b'{"m":"password=s3cret"',
        b'{"m":"pass\\u0077ord=s3cret"}',
        b'{"m":"{\\"pass\\\\u0077ord\\":\\"s3cret\\"}"}',
        b'{"m":"{\\"password\\":\\"s3cret\\""}',
        b'["password=s3cret"]',
        b'"password=s3cret"',
        b'{"password":1e999,"token":"s3cret"}',
        b'{"\\ud800":1,"token":"s3cret"}',
        b'{"token":"\\ud800s3cret"}',
        b'\x00\x00{"password":"s3cret"}',
        b'{"a":NaN,"password":"s3cret"}',
        b"password\t=\ts3cret",
        b"PASSWORD:s3cret",
        b"Bearer\ts3cret",
        b"{ password: \x1b[32m's3cret'\x1b[39m }",
        b'{"m":"\\u001b[32mAuthorization\\u001b[39m: s3cret"}',
        b"x" * 70_000 + b" password=s3cret",
        b'{"rawHeaders":["Cookie","s3cret"]}',
        b'{"rawHeaders":["Vary","Cookie","Set-Cookie","a=s3cret; Path=/"]}',
        b'{"rawHeaders":["Vary","Authorization","Age",5,"Cookie","s3cret"]}',
        b'{"Value":{"StringValue":"s3cret"},"Name":"password"}',
        b'{"value":{"stringValue":"s3cret"},"key":"http.request.header.authorization"}',
        b'{"value":["x",{"val":"s3cret"}],"key":"password"}',
        b'{"key":"auth","value":"s3cret","label":"password"}',
        b'{"rawHeaders":["\\u0043ookie","s3cret"]}',
        b'{"name":"p\\u0061ssword","value":"s3cret"}',
        b'{"n\\u0061me":"password","v\\u0061lue":"s3cret"}',
        b'{"value":"s3cret","name":"password","name":"other"}',
        b'{"name":"other","name":"password","value":"s3cret","value":"s3cret"}',
        b'{"name":"password","name":"other","value":"s3cret"}',
        b'{"value":["s3cret"],"name":"password"}',
        b'{"value":{"a":["s3cret"]},"x":{"name":"y"},"name":"password"}',
        b'{"m":"{\\"value\\":\\"s3cret\\",\\"name\\":\\"password\\"}"}',
        b'{"m":"{\\\\\\"value\\\\\\":\\\\\\"s3cret\\\\\\",\\\\\\"name\\\\\\":\\\\\\"password\\\\\\"}"}',
        b"x?p%61ssword=s3cret",
        b'{"u":"x?\\u002570assword=s3cret"}',
    ],
)
def test_odd_writings(line: bytes) -> None:
    """Escapes, broken JSON, repeated keys and bytes that are no text hide nothing."""
    assert b"s3cret" not in RULES.redact_line(line, [])
    assert [0] == list(RULES.suspects(line, [0]))
