"""Redaction of JSON lines: by the names of fields, at any depth, with all else as it was written."""

import hmac
import json
from collections.abc import Sequence

import pytest

from shipper.redact.rules import Rules
from shipper.settings import Pack, RedactAction, RedactSettings

KEY = b"0123456789abcdef"
MASK, DROP, TRUNCATE, HASH, KEEP = (RedactAction(name) for name in ("mask", "drop", "truncate", "hash", "keep"))
DEFAULT = Rules(RedactSettings(), key=b"")


def redacted(line: str, rules: Rules = DEFAULT) -> str:
    return rules.redact_line(line.encode(), []).decode()


def by_fields(line: str, fields: dict[str, RedactAction], packs: Sequence[Pack] = ()) -> str:
    return redacted(line, Rules(RedactSettings(packs=tuple(packs), fields=fields), key=KEY))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"password":"hunter2"}', '{"password":"***"}'),
        ('{ "a" : 1.50, "PassWord"\t:\t"x\\"y" , "b":"\\u00e9/\\/" }',
         '{ "a" : 1.50, "PassWord"\t:\t"***" , "b":"\\u00e9/\\/" }'),
        ('{"a":{"b":[{"token":"x"},[{"pwd":"y"}]]}}', '{"a":{"b":[{"token":"***"},[{"pwd":"***"}]]}}'),
        ('{"password":123456,"token":-1.5e3}', '{"password":"***","token":"***"}'),
        ('{"password":null,"token":true,"secret":false,"pwd":""}',
         '{"password":null,"token":true,"secret":false,"pwd":""}'),
        ('{"tokens":512,"cookies":3,"tokens":["a",7]}', '{"tokens":512,"cookies":3,"tokens":["***",7]}'),
        ('{"session":{"id":"x","n":5,"user":{"name":"bob"}},"b":1}',
         '{"session":{"id":"***","n":5,"user":{"name":"***"}},"b":1}'),
        ('{"session":12,"session":12345,"max_tokens":"512","pass":3}',
         '{"session":12,"session":"***","max_tokens":"512","pass":3}'),
        ('{"set-cookie":["a=b","c=d"],"x":["a=b"]}', '{"set-cookie":["***","***"],"x":["a=b"]}'),
        ('{"password":"a","b":1,"password":"c"}', '{"password":"***","b":1,"password":"***"}'),
        ('{"p\\u0061ssword":"a"}', '{"p\\u0061ssword":"***"}'),
        ('{"password":"***","token":"[REDACTED]"}', '{"password":"***","token":"[REDACTED]"}'),
        ('[{"password":"a"}]', '[{"password":"***"}]'),
        ('{"password":[],"token":{},"secret":[[]],"a":1}', '{"password":[],"token":{},"secret":[[]],"a":1}'),
        ('{"headers":{"authorization":"Bearer x","host":"h"}}', '{"headers":{"authorization":"***","host":"h"}}'),
        ('{"m":"\\ud800 password=x"}', '{"m":"\\ud800 password=***"}'),
    ],
)  # fmt: skip
def test_named_fields(line: str, expected: str) -> None:
    """Texts and numbers below a name go, each where it stands; words for nothing, and what is not named, stay."""
    assert expected == redacted(line)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"rawHeaders":["Host","a","Authorization","opensesame","X-Auth-Token","b"]}',
         '{"rawHeaders":["Host","a","Authorization","***","X-Auth-Token","***"]}'),
        ('{"headers":[["authorization","x"],["host","y"]]}', '{"headers":[["authorization","***"],["host","y"]]}'),
        ('{"headers":["set-cookie",["a=b","c=d"],"host",["y"]]}',
         '{"headers":["set-cookie",["***","***"],"host",["y"]]}'),
        ('{"headers":[{"name":"Cookie","value":"a=b"},{"name":"Host","value":"y"}]}',
         '{"headers":[{"name":"Cookie","value":"***"},{"name":"Host","value":"y"}]}'),
        ('{"env":[{"value":"x","name":"DB_PASSWORD"},{"value":17,"key":"pwd"},{"Key":"token","Value":18}]}',
         '{"env":[{"value":"***","name":"DB_PASSWORD"},{"value":"***","key":"pwd"},{"Key":"token","Value":"***"}]}'),
        ('{"errors":[{"value":"a Bearer b1c","param":"password","msg":"short"}]}',
         '{"errors":[{"value":"***","param":"password","msg":"short"}]}'),
        ('{"a":[{"key":"http.request.header.cookie","value":{"values":[{"stringValue":"x"}]}}],"value":"y"}',
         '{"a":[{"key":"http.request.header.cookie","value":{"values":[{"stringValue":"***"}]}}],"value":"y"}'),
        ('{"argv":["node","--db-password","x","-v"]}', '{"argv":["node","--db-password","***","-v"]}'),
        ('{"h":["Authorization","dXNlcjE=","Cookie","a=b"]}', '{"h":["Authorization","***","Cookie","***"]}'),
        ('{"h":["\\u0041uthorization","x1"]}', '{"h":["\\u0041uthorization","***"]}'),
        ('{"m":"{\\"rawHeaders\\":[\\"Cookie\\",\\"a=b\\"]}"}', '{"m":"{\\"rawHeaders\\":[\\"Cookie\\",\\"***\\"]}"}'),
        ('{"m":"sent {\\"name\\":\\"token\\",\\"value\\":\\"x\\"}"}',
         '{"m":"sent {\\"name\\":\\"token\\",\\"value\\":\\"***\\"}"}'),
    ],
)  # fmt: skip
def test_names_that_are_values(line: str, expected: str) -> None:
    """A value goes whose name stands beside it: in a pair of fields, in lists of headers, behind an option."""
    assert expected == redacted(line)


@pytest.mark.parametrize(
    "line",
    [
        '{"allowed":["Authorization","Content-Type","Set-Cookie","X-Token","ETag"]}',
        '{"fields":["password","email1"],"required":["token","user_id"]}',
        '{"name":"password","a":{"value":"x"},"b":[{"value":"y"}]}',
        '{"name":"session","value":3,"key":"tokens","val":512}',
        '{"name":"password_changed_at","value":"x"}',
        '{"value":"password","name":"field"}',
        '{"value":"ldap","name":"auth","sid":17,"a":{"name":"sid","value":12345}}',
        '{"pin":{"lat":48.85661,"lng":2.35222},"pin":[17123]}',
        '{"auth":"ldap","auth":{"user":"3f2a1b4c5d6e7f8091a2"},"sid":"S-1-5-21-3623811015-3361044348"}',
    ],
)
def test_names_in_lists_and_beside_other_things_are_left_alone(line: str) -> None:
    """Names of fields may stand together, and what only looks like a name's value stays."""
    assert line == redacted(line)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"auth":"3f2a1b4c5d6e7f8091a2","sid":"s%3Aabcdefgh12345678"}', '{"auth":"***","sid":"***"}'),
        ('{"auth":"token=abc","sid":"Bearer abc1"}', '{"auth":"token=***","sid":"Bearer ***"}'),
        ('{"pin":"1234","userPin":123456,"pin":17,"pin_code":"0042"}',
         '{"pin":"***","userPin":"***","pin":17,"pin_code":"***"}'),
    ],
)  # fmt: skip
def test_names_that_mean_a_secret_by_the_value_alone(line: str, expected: str) -> None:
    """Of names that may mean anything, what looks made by a machine, or has so many digits, goes."""
    assert expected == redacted(line)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"m":"{\\"password\\":\\"x\\",\\"b\\":1}"}', '{"m":"{\\"password\\":\\"***\\",\\"b\\":1}"}'),
        ('{"m":" [{\\"token\\":\\"x\\"}] "}', '{"m":" [{\\"token\\":\\"***\\"}] "}'),
        ('{"m":"got {\\"token\\":\\"x\\"} from a"}', '{"m":"got {\\"token\\":\\"***\\"} from a"}'),
        ('{"m":"{\\"n\\":\\"{\\\\\\"pwd\\\\\\":\\\\\\"x\\\\\\"}\\"}"}',
         '{"m":"{\\"n\\":\\"{\\\\\\"pwd\\\\\\":\\\\\\"***\\\\\\"}\\"}"}'),
        ('{"m":"{\\"p\\\\u0061ssword\\":\\"x\\"}"}', '{"m":"{\\"p\\\\u0061ssword\\":\\"***\\"}"}'),
        ('{"m":"{\\u0022token\\u0022:\\u0022x\\u0022}"}', '{"m":"{\\"token\\":\\"***\\"}"}'),
        ('INFO {"a":{"token":"x"}} done', 'INFO {"a":{"token":"***"}} done'),
    ],
)  # fmt: skip
def test_json_within_texts(line: str, expected: str) -> None:
    """JSON in a string, in a string of that, and beside other words is looked into as well."""
    assert expected == redacted(line)


def test_texts_in_fields() -> None:
    """Any text may hold a secret, keys too; a key that was a secret stays one of its kind."""
    assert '{"a":["x","password=***"]}' == redacted('{"a":["x","password=y"]}')
    line = '{"bob@a.cc":1,"x":2,"eve@a.cc":3}'
    assert '{"***":1,"x":2,"***2":3}' == redacted(line, Rules(RedactSettings(packs=(Pack.CONTACT,)), key=b""))


def test_card_numbers_that_are_numbers() -> None:
    """A JSON number with a card's digits becomes a text; other long numbers stay."""
    rules = Rules(RedactSettings(packs=(Pack.PAYMENT,)), key=b"")
    line = '{"a":4111111111111111,"b":[4111111111111111],"c":4111111111111112,"d":-4111111111111111}'
    assert '{"a":"***","b":["***"],"c":4111111111111112,"d":-4111111111111111}' == redacted(line, rules)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"notes":1,"a":2}', '{"a":2}'),
        ('{"a":2,"notes":1}', '{"a":2}'),
        ('{"a":2 , "notes" : {"x":[1,"}"]} , "b":3}', '{"a":2  , "b":3}'),
        ('{"notes":1,"notes":[2],"a":3,"notes":"4"}', '{"a":3}'),
        ('{"notes":1}', "{}"),
        ('{ "notes":1 , "notes":2 }', "{ }"),
        ('{"a":{"notes":1},"b":[{"notes":1,"c":2},{"Notes":3}]}', '{"a":{},"b":[{"c":2},{}]}'),
        ('{"a":"x, y","notes":"z"}', '{"a":"x, y"}'),
        ('{"notes":{"notes":1,"b":2},"c":3}', '{"c":3}'),
    ],
)
def test_dropping(line: str, expected: str) -> None:
    """A field goes with its name and one comma; what is left is JSON."""
    found = by_fields(line, {"notes": DROP})
    assert json.loads(expected) == json.loads(found)
    assert expected.replace(" ", "") == found.replace(" ", "")


def test_hashing() -> None:
    """Equal values have equal hashes, as text and as number, which anybody with the key can make."""
    expected = hmac.digest(KEY, b"17", "sha256").hex()[:32]
    assert f'{{"mrn":"{expected}","a":{{"MRN":["{expected}"]}}}}' == by_fields(
        '{"mrn":17,"a":{"MRN":["17"]}}', {"mrn": HASH}
    )
    other = Rules(RedactSettings(packs=(), fields={"mrn": HASH}), key=b"another key of 16")
    assert expected not in redacted('{"mrn":17}', other)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('"Johnson"', '"Joh***"'), ('"Müller-Lüdenscheidt"', '"Mül***"'), ('"Miller"', '"***"'), ('"a"', '"***"'),
        ('""', '""'), ("1234567", '"123***"'), ('"192.168.1.7"', '"192.168.1.0"'),
        ('"2001:db8:1:2::3"', '"2001:db8:1::"'),
        ('["Johnson",null]', '["Joh***",null]'), ('"Joh***"', '"Joh***"'), ('"\\ud83d\\ude00abcdefg"', '"😀ab***"'),
    ],
)  # fmt: skip
def test_truncating(value: str, expected: str) -> None:
    """Three characters are left of more than six, the network of an address."""
    assert f'{{"x":{expected}}}' == by_fields(f'{{"x":{value}}}', {"x": TRUNCATE})


def test_masking_covers_what_the_packs_leave() -> None:
    """A field that the configuration names is masked whatever it holds, but for null."""
    assert '{"hiv":"***","n":null,"a":["***","***"]}' == by_fields(
        '{"hiv":true,"n":null,"a":[false,0]}', {"hiv": MASK, "n": MASK, "a": MASK}
    )


def test_dotted_names_and_elements_of_lists() -> None:
    """What stands before an object in a list does not enclose it."""
    line = '{"x":[{"a":1},{"b":2}],"a":[{"c":1},{"b":3}]}'
    assert '{"x":[{"a":1},{"b":2}],"a":[{"c":1},{"b":"***"}]}' == by_fields(line, {"a.b": MASK})


def test_dotted_names() -> None:
    """They mean a field within that object, at any depth, through lists, and a field that is itself called so."""
    fields = {"patient.name": MASK, "a.b.c": DROP}
    line = '{"patient":{"name":"x","id":1},"name":"y","l":[{"Patient":[{"Name":"z"}]}],"patient.name":"w"}'
    expected = '{"patient":{"name":"***","id":1},"name":"y","l":[{"Patient":[{"Name":"***"}]}],"patient.name":"***"}'
    assert expected == by_fields(line, fields)
    assert '{"a":{"b":{"d":1},"c":2},"b":{"c":3}}' == by_fields('{"a":{"b":{"c":0,"d":1},"c":2},"b":{"c":3}}', fields)


def test_the_configuration_goes_before_the_packs() -> None:
    """A field's own rule decides, also within a field that a pack masks; `keep` leaves all that is in it alone."""
    credentials = [Pack.CREDENTIALS]
    assert '{"session":{"id":"x","m":"token=y"}}' == by_fields(
        '{"session":{"id":"x","m":"token=y"}}', {"session": KEEP}, credentials
    )
    assert '{"session":{"id":"x","b":"***"}}' == by_fields(
        '{"session":{"id":"x","b":"y"}}', {"session.id": KEEP}, credentials
    )
    assert '{"session":{"b":"***"}}' == by_fields('{"session":{"id":"x","b":"y"}}', {"id": DROP}, credentials)
    found = by_fields('{"token":"abc"}', {"token": HASH}, credentials)
    assert hmac.digest(KEY, b"abc", "sha256").hex()[:32] == json.loads(found)["token"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('{"level":"info","x":1,"patient":{"id":7,"name":"y"}}', '{"level":"info","patient":{"id":7}}'),
        ('{"x":1,"LEVEL":"info"}', '{"LEVEL":"info"}'),
        ('{"patient":"x","patient.id":3}', '{"patient.id":3}'),
        ('{"patient":[{"id":1,"b":2},"loose",5,true,null]}', '{"patient":[{"id":1},"***","***","***",null]}'),
        ('{"ctx":{"level":"info","a":{"b":1}},"level":{"any":["thing"]}}', '{"level":{"any":["thing"]}}'),
        ('{"x":1}', "{}"),
        ("text of any kind", "***"),
        ('["x"]', "***"),
        ('{"level":"password=x"}', '{"level":"password=***"}'),
    ],
)  # fmt: skip
def test_only_what_is_allowed(line: str, expected: str) -> None:
    """Named fields pass, from the top; what passes is redacted all the same; a line that is no object is one mask."""
    rules = Rules(RedactSettings(allow_only=("level", "patient.id")), key=b"")
    assert expected == redacted(line, rules)
    assert redacted(line, rules) == redacted(redacted(line, rules), rules)


def test_lines_that_are_a_message() -> None:
    """A line that is no JSON object becomes `message`, so what is said of that field is said of it."""
    assert "***" == by_fields("any text", {"message": DROP})
    assert "any***" == by_fields("any text", {"Message": TRUNCATE})
    allowed = Rules(RedactSettings(allow_only=("message",)), key=b"")
    assert "login password=***" == redacted("login password=x", allowed)


def test_many_different_keys() -> None:
    """What is remembered of keys is bounded, and right after it was forgotten."""
    rules = Rules(RedactSettings(), key=b"")
    for i in range(5000):
        assert f'{{"a{i}":"x","token{i % 7}":"***"}}' == redacted(f'{{"a{i}":"x","token{i % 7}":"y"}}', rules)
    assert len(rules._json.keys.known) <= 4096


def test_what_was_done_is_told_without_the_secret() -> None:
    """Each redaction has its rule and where it was."""
    found: list[tuple[str, str]] = []
    line = b'{"a":[{"token":"s3cret"}],"m":"{\\"pwd\\":\\"s3cret\\"}","url":"/x?token=s3cret&key=0123456789abcdefg"}'
    DEFAULT.redact_line(line, found)
    assert [
        ("credentials.name", "a.token"),
        ("credentials.name", "m.pwd"),
        ("credentials.name", "url"),
        ("credentials.url_query", "url"),
    ] == found
    assert {rule for rule, _ in found} <= set(DEFAULT.names)
