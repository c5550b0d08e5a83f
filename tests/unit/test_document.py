"""Ours put into a line that has fields of the same names; values rewritten."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from shipper.document import (
    OwnFields,
    coerced,
    collides,
    extended_tags,
    inherited_time,
    merge,
    needs_coercion,
    nested,
    paths,
    raw_object,
    rewrite,
    with_own_fields,
    written,
)
from shipper.settings import Coercion

TIME = "2024-01-15T10:30:45.123Z"
WHERE: dict[str, Any] = {"host": {"name": "h"}, "log": {"file": {"path": "/p"}, "offset": 7}}


def test_dotted_names_become_objects() -> None:
    """Names that begin alike share an object."""
    pairs = [("user.id", 1), ("service", "s"), ("user.name.first", "x")]
    assert {"user": {"id": 1, "name": {"first": "x"}}, "service": "s"} == nested(pairs)
    given = {"env": "prod"}
    assert {"labels": {"env": "prod", "team": "t"}} == nested([("labels", given), ("labels.team", "t")])
    assert {"env": "prod"} == given


def test_merging_shares_nothing() -> None:
    """What is merged later into one document does not show in another."""
    target: dict[str, Any] = {}
    merge(target, WHERE)
    merge(target, {"log": {"level": "x"}})
    assert {"host": {"name": "h"}, "log": {"file": {"path": "/p"}, "offset": 7, "level": "x"}} == target
    assert "level" not in WHERE["log"]


def test_paths_lead_to_values() -> None:
    """An empty object is a value."""
    assert [("a", "b"), ("c",), ("d",)] == list(paths({"a": {"b": 1}, "c": {}, "d": [{}]}))


def put_together(line: str, *, time: str = "", tags: tuple[str, ...] = (), below: Any = None, groups: Any = ()) -> Any:
    document = with_own_fields(raw_object(line.encode()), OwnFields(time, tags, groups, below or {}))
    return json.loads(written(document))


@pytest.mark.parametrize(
    "line",
    [
        '{"a":1}',
        '{"@timestamp":"never","tags":{"a":1}}',
        '{"@timestamp":"never","shipper":{"@timestamp":"2020-01-01T00:00:00Z"},"tags":"own"}',
        '{"shipper":{"@timestamp":"2020-01-01T00:00:00Z"},"tags":["own"]}',
    ],
)
def test_an_inherited_time_is_found_wherever_it_stands(line: str) -> None:
    """It is ours that counts, beside the line's own or below `shipper`; one that was not inherited is the line's."""
    raw = raw_object(line.encode())
    inherited = written(with_own_fields(raw, OwnFields(TIME, ("x", "time_failure"), (), {})))
    own = written(with_own_fields(raw, OwnFields(TIME, ("x",), (), {})))
    undated = written(with_own_fields(raw, OwnFields("", ("time_failure",), (), {})))

    assert TIME == inherited_time(inherited, line.encode())
    assert "" == inherited_time(own, line.encode())
    assert "" == inherited_time(undated, line.encode())


def test_a_line_that_is_shipped_as_text_has_inherited_too() -> None:
    """What it says itself is no object that could have fields like ours."""
    document = written({"message": "no JSON", "@timestamp": TIME, "tags": ["parse_failure", "time_failure"]})
    assert TIME == inherited_time(document, b"no JSON")


SHIPPER = {"shipper": WHERE}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ({}, WHERE),
        ({"a": 1}, {"a": 1, **WHERE}),
        ({"host": {"ip": 1}}, {"host": {"ip": 1, "name": "h"}, "log": WHERE["log"]}),
        ({"host": {}}, WHERE),
        (
            {"log": {"file": {"name": "x"}}},
            {"host": WHERE["host"], "log": {"file": {"name": "x", "path": "/p"}, "offset": 7}},
        ),
        (
            {"log": {"level": "x"}, "log.logger": "y"},
            {"log": {"level": "x", **WHERE["log"]}, "log.logger": "y", "host": {"name": "h"}},
        ),
        ({"host": "web"}, {"host": "web", **SHIPPER}),
        ({"host": None}, {"host": None, **SHIPPER}),
        ({"host": []}, {"host": [], **SHIPPER}),
        ({"host": {"name": "x"}}, {"host": {"name": "x"}, **SHIPPER}),
        ({"host": {"name": None}}, {"host": {"name": None}, **SHIPPER}),
        ({"host": {"name": {}}}, {"host": {"name": {}}, **SHIPPER}),
        ({"host": {"name.short": "x"}}, {"host": {"name.short": "x"}, **SHIPPER}),
        ({"host.name": "x"}, {"host.name": "x", **SHIPPER}),
        ({"host.name.short": "x"}, {"host.name.short": "x", **SHIPPER}),
        ({"host.names": "x"}, {"host.names": "x", **WHERE}),
        ({"log": 5}, {"log": 5, **SHIPPER}),
        ({"log.offset": 5}, {"log.offset": 5, **SHIPPER}),
        ({"log": {"offset": 5}}, {"log": {"offset": 5}, **SHIPPER}),
        ({"log.file": {"path": "x"}}, {"log.file": {"path": "x"}, **SHIPPER}),
        ({"log.file": {"name": "x"}}, {"log.file": {"name": "x"}, **WHERE}),
        ({"log.file": "x"}, {"log.file": "x", **SHIPPER}),
        ({"log": {"file.path": "x"}}, {"log": {"file.path": "x"}, **SHIPPER}),
        ({"log.file.path": "x"}, {"log.file.path": "x", **SHIPPER}),
        ({"shipper": 1}, {"shipper": 1, **WHERE}),
        ({"shipper": 1, "host": 2}, {"shipper": 1, "host": 2, "shipper_fields": WHERE}),
        ({"shipper": {}, "host": 2}, {"shipper": {}, "host": 2, "shipper_fields": WHERE}),
        (
            {"shipper": 1, "shipper_fields": 1, "host": 2},
            {"shipper": 1, "shipper_fields": 1, "host": 2, "shipper_fields_": WHERE},
        ),
        ({"shipper_fields": 1, "host": 2}, {"shipper_fields": 1, "host": 2, **SHIPPER}),
    ],
)
def test_a_group_is_added_whole_or_goes_below_shipper_whole(line: Any, expected: Any) -> None:
    """Nothing of the line's own is overwritten, no field stands twice, and a group is never torn."""
    assert expected == put_together(json.dumps(line), groups=[WHERE])


def test_groups_move_one_by_one() -> None:
    """The one that collides moves, the others stay."""
    groups = [WHERE, {"user": {"id": 5}}, {"service": "s", "env": {"x": 1}}]
    expected = {"env": 1, **WHERE, "user": {"id": 5}, "shipper": {"service": "s", "env": {"x": 1}}}
    assert expected == put_together('{"env":1}', groups=groups)


def test_what_is_placed_below_shipper_stands_there_with_what_moved() -> None:
    """One object holds both."""
    assert {"a": 1, "shipper": {**WHERE, "a": 2}} == put_together('{"a":1}', below=WHERE, groups=[{"a": 2}])


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (None, {"@timestamp": TIME}),
        (TIME, {"@timestamp": TIME}),
        ("2024-01-15T11:30:45.123000+01:00", {"@timestamp": "2024-01-15T11:30:45.123000+01:00"}),
        (1705314645123, {"@timestamp": 1705314645123}),
        ("2024-01-15T10:30:45.124Z", {"@timestamp": "2024-01-15T10:30:45.124Z", "shipper": {"@timestamp": TIME}}),
        ("soon", {"@timestamp": "soon", "shipper": {"@timestamp": TIME}}),
        ({}, {"@timestamp": {}, "shipper": {"@timestamp": TIME}}),
    ],
)
def test_the_lines_own_timestamp_stays(own: Any, expected: Any) -> None:
    """Ours is left out where it says the same instant, else it goes below `shipper`."""
    line = {} if own is None else {"@timestamp": own}
    assert expected == put_together(json.dumps(line), time=TIME)
    assert line == put_together(json.dumps(line), time="")


def test_a_timestamp_beyond_all_numbers_stays() -> None:
    """What cannot be decoded says no instant."""
    document = with_own_fields(raw_object(b'{"@timestamp":1e999}'), OwnFields(TIME, (), (), {}))
    assert b'{"@timestamp":1e999,"shipper":{"@timestamp":"%b"}}' % TIME.encode() == written(document)


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        (None, b'["a","b"]'),
        (b"[]", b'["a","b"]'),
        (b"[ ]", b'["a","b"]'),
        (b'["x"]', b'["x","a","b"]'),
        (b'[ "x" , 1e999, {"a":1.50} ]', b'["x" , 1e999, {"a":1.50},"a","b"]'),
        (b'["a"]', b'["a","b"]'),
        (b'["b", "a"]', b'["b", "a"]'),
        (b'"x"', b'["x","a","b"]'),
        (b'"a"', b'["a","b"]'),
        (b'""', b'["","a","b"]'),
        (b"5", None),
        (b"null", None),
        (b"true", None),
        (b'{"a":1}', None),
    ],
)
def test_the_lines_own_tags_are_extended(own: bytes | None, expected: bytes | None) -> None:
    """An array or a text, its values as they stand; no tag twice. Anything else cannot be extended."""
    tags = extended_tags(None if own is None else msgspec.Raw(own), ["a", "b"])
    assert expected == (None if tags is None else bytes(tags))


def test_a_single_own_tag_that_is_ours_stays_a_text() -> None:
    """Nothing is to be added, so nothing is changed."""
    tags = extended_tags(msgspec.Raw(b'"a"'), ["a"])
    assert tags is not None
    assert b'"a"' == bytes(tags)


def test_tags_that_cannot_be_extended_leave_ours_below_shipper() -> None:
    """Its own value stays what it is."""
    assert {"tags": 5, "shipper": {"tags": ["a"]}} == put_together('{"tags":5}', tags=("a",))


def test_values_stay_as_they_are_written() -> None:
    """Numbers keep their digits, texts their escapes, spaces and repeated names stay; a line stays one line."""
    line = rb'{"a": 1.50, "b": 1e999, "c": "\u00e9\/", "d": [ 1,  2 ], "e": 12345678901234567890123}'
    document = written(with_own_fields(raw_object(line), OwnFields("", (), [{"z": 1}], {})))
    for value in (b"1.50", b"1e999", rb'"\u00e9\/"', b"[ 1,  2 ]", b"12345678901234567890123"):
        assert value in document


@pytest.mark.parametrize(
    ("line", "path", "expected"),
    [
        (b'{"a":{"b":{"c":1}}}', "a.b.c", True),
        (b'{"a":{"b":{"c":1}}}', "a.b", True),
        (b'{"a":{"b":{"c":1}}}', "a.b.c.d", True),
        (b'{"a":{"b":{"c":1}}}', "a.b.d", False),
        (b'{"a.b":{"c":1}}', "a.b.c", True),
        (b'{"a.b":{"c":1}}', "a.b.d", False),
        (b'{"a":{"b.c":1}}', "a.b.c", True),
        (b'{"a":{"b.c":1}}', "a.b", True),
        (b'{"a.b.c":1}', "a.b", True),
        (b'{"ab":1}', "a", False),
        (b'{"a.bc":1}', "a.b", False),
        (b"{}", "a", False),
    ],
)
def test_a_path_collides_however_names_are_cut(line: bytes, path: str, expected: bool) -> None:
    """Servers see dots in names as objects."""
    assert expected is collides(raw_object(line), path.split("."))


NUMBER, STRING = Coercion.NUMBER, Coercion.STRING


@pytest.mark.parametrize(
    ("raw", "coercion", "expected"),
    [
        (b'"2500"', NUMBER, b"2500"),
        (b'"-2.50"', NUMBER, b"-2.50"),
        (b'"1e3"', NUMBER, b"1e3"),
        (b'"12345678901234567890123"', NUMBER, b"12345678901234567890123"),
        (b'"007"', NUMBER, b"7"),
        (b'"+5"', NUMBER, b"5"),
        (b'".5"', NUMBER, b"0.5"),
        (b'"5."', NUMBER, b"5.0"),
        (b'"-007.5"', NUMBER, b"-7.5"),
        (b'""', NUMBER, None),
        (b'"abc"', NUMBER, None),
        (b'" 5"', NUMBER, None),
        (b'"1_000"', NUMBER, None),
        (b'"0x10"', NUMBER, None),
        (b'"NaN"', NUMBER, None),
        (b'"Infinity"', NUMBER, None),
        (b'"1e999"', NUMBER, None),
        (b'"' + b"9" * 5000 + b'"', NUMBER, None),
        ('"٣"'.encode(), NUMBER, None),
        (b"5", NUMBER, None),
        (b"null", NUMBER, None),
        (b"true", NUMBER, None),
        (b'{"a":"5"}', NUMBER, None),
        (b"5", STRING, b'"5"'),
        (b"1.50", STRING, b'"1.50"'),
        (b"1e999", STRING, b'"1e999"'),
        (b"true", STRING, b'"true"'),
        (b"false", STRING, b'"false"'),
        (b'"x"', STRING, None),
        (b"null", STRING, None),
        (b"[1]", STRING, None),
        (b'{"a":1}', STRING, None),
    ],
)
def test_coercion(raw: bytes, coercion: Coercion, expected: bytes | None) -> None:
    """A value as the other type with its digits as they were, or left alone."""
    assert expected == coerced(raw, coercion)
    if expected is not None and b"1e999" not in raw:
        assert needs_coercion(json.loads(raw), coercion)


@pytest.mark.parametrize("value", [None, [], {}, 5.5])
def test_what_never_needs_to_become_a_number(value: Any) -> None:
    """Only texts do."""
    assert not needs_coercion(value, NUMBER)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"a":{"b":1,"c":2}}', b'{"a":{"b":"1","c":2}}'),
        (b'{"a.b":1}', b'{"a.b":"1"}'),
        (b'{"a":{"b":1},"a.b":2}', b'{"a":{"b":"1"},"a.b":2}'),
        (b'{"a":{"c":1},"a.b":2}', b'{"a":{"c":1},"a.b":"2"}'),
        (b'{"a":5}', b'{"a":5}'),
        (b'{"a":{"b":"x"}}', b'{"a":{"b":"x"}}'),
    ],
)
def test_a_field_is_rewritten_where_it_is_read(line: bytes, expected: bytes) -> None:
    """At the path of its dotted name, else under the name itself, as columns read it."""
    document = raw_object(line)
    rewrite(document, "a.b", lambda raw: coerced(raw, STRING))
    assert expected == written(document)
