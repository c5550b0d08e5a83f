"""Which field a server's reason names, and the document that is made then; the reasons are what real servers said."""

import json
from typing import Any

import pytest

from shipper.document import raw_object
from shipper.elastic.bulk import ItemError
from shipper.elastic.reduce import Form, Stage, find, named_field, next_form, refused_paths, whole

REASONS: list[tuple[str, str | None]] = [
    (
        "[1:13] failed to parse field [a.b] of type [long] in document with id '0'. Preview of field's value: 'abc'",
        "a.b",
    ),
    ("failed to parse field [a.b] of type [long] in document with id '0'. Preview of field's value: '{c=1}'", "a.b"),
    ("[1:7] object mapping for [a] tried to parse field [a] as object, but found a concrete value", "a"),
    ("[1:18] object mapping for [a.b] tried to parse field [null] as object, but found a concrete value", "a.b"),
    ("mapper [m.n] cannot be changed from type [long] to [text]", "m.n"),
    ("can't merge a non object mapping [o.p] with an object mapping", "o.p"),
    ("can't merge an object mapping [o] with a non object mapping", "o"),
    (
        (
            "Could not dynamically add mapping for field [w.v.z]. Existing mapping for [w.v] must be of type object "
            "but found [long]."
        ),
        "w.v",
    ),
    ("[1:9] mapping set to strict, dynamic introduction of [foo] within [_doc] is not allowed", "foo"),
    ("mapping set to strict, dynamic introduction of [bar] within [a.b] is not allowed", "a.b.bar"),
    ("[1:8] Cannot write to a field alias [ob.al].", "ob.al"),
    ("failed to parse; Cannot write to a field alias [al].", "al"),
    ('Document contains at least one immense term in field="t.kw" (whose UTF8 encoding is longer than', "t.kw"),
    ("Flattened field [f] contains one immense field whose keyed encoding is longer than the allowed", "f"),
    ("[1:9] Field [_id] is a metadata field and cannot be added inside a document.", "_id"),
    ("Field name [abcdefghijkl] is longer than the limit of [5] characters", "abcdefghijkl"),
    ("[1:15] failed to parse: Limit of total fields [1] has been exceeded while adding new fields [2]", None),
    ("failed to parse", None),
    ("", None),
]


@pytest.mark.parametrize(("reason", "expected"), REASONS)
def test_the_field_that_a_reason_names(reason: str, expected: str | None) -> None:
    """Each phrase that names a field gives its full name."""
    assert expected == named_field(reason)


PLACES: list[tuple[dict[str, Any], str, tuple[str, ...] | None]] = [
    ({"a": {"b": 1}}, "a.b", ("a", "b")),
    ({"a.b": 1}, "a.b", ("a.b",)),
    ({"a": {"c": 1}, "a.b": 1}, "a.b", ("a.b",)),
    ({"a": {"b.c": 1}}, "a.b.c", ("a", "b.c")),
    ({"w.v.z": 1}, "w.v", ("w.v.z",)),  # below the name
    ({"t": "x"}, "t.kw", ("t",)),  # a field within the field
    ({"a": [{"b": 1}, 5]}, "a.b", ("a",)),  # not reached into arrays
    ({"ab": 1}, "a", None),
    ({"a": {}}, "a.b", None),
    ({}, "a", None),
]


@pytest.mark.parametrize(("document", "name", "expected"), PLACES)
def test_where_a_named_field_stands(document: dict[str, Any], name: str, expected: tuple[str, ...] | None) -> None:
    """A dotted name is found as objects, as a name with dots, and mixed."""
    assert expected == find(raw_object(json.dumps(document).encode()), name)


def test_names_that_are_not_named() -> None:
    """Of names that no server takes, and of what is too deep, the reason names none: they are looked for."""
    document = raw_object(b'{"":1,"..":2,"x":{".a":1,"b ":2,"ok":3},"a.":4,"fine":5}')
    said = "failed to parse: field name cannot contain only dots"
    assert [("",), ("..",), ("x", ".a"), ("x", "b "), ("a.",)] == refused_paths(document, said)
    deep = raw_object(b'{"shallow":{"a":1},"deep":' + b'{"a":' * 20 + b"1" + b"}" * 20 + b"}")
    assert [("deep",)] == refused_paths(
        deep, "Limit of mapping depth [20] has been exceeded due to object field [deep.a]"
    )
    assert [("deep",)] == refused_paths(
        deep, "failed to parse; The depth of the field has exceeded the allowed limit of [20]."
    )


def _asked(document: bytes) -> Form:
    return whole(document)._replace(stage=Stage.ASKED)


def _next(form: Form, line: bytes, reason: str) -> dict[str, Any]:
    following = next_form(form, line=line, error=ItemError("document_parsing_exception", reason))
    assert following is not None
    found: dict[str, Any] = json.loads(following.source)
    return found


def _conflict(name: str) -> str:
    return f"failed to parse field [{name}] of type [long] in document with id 'x'"


def test_first_the_server_is_asked() -> None:
    """The first refusal changes nothing but that the reason is wanted."""
    form = next_form(whole(b"{}"), line=b"{}", error=ItemError("x", ""))
    assert whole(b"{}")._replace(stage=Stage.ASKED) == form


MOVED: list[tuple[bytes, str, dict[str, Any]]] = [
    (b'{"a":"x","b":1}', "a", {"b": 1, "shipper": {"unmapped": {"a": "x"}}, "tags": ["mapping_conflict"]}),
    (
        b'{"a":{"b":1.50,"c":2}}',
        "a.b",
        {"a": {"c": 2}, "shipper": {"unmapped": {"a.b": "1.50"}}, "tags": ["mapping_conflict"]},
    ),
    (b'{"a":{"b":[1, "x"]}}', "a.b", {"shipper": {"unmapped": {"a.b": '[1, "x"]'}}, "tags": ["mapping_conflict"]}),
    (b'{"a":null,"tags":"own"}', "a", {"shipper": {"unmapped": {"a": "null"}}, "tags": ["own", "mapping_conflict"]}),
    (b'{"a":1,"tags":["x","y"]}', "a", {"shipper": {"unmapped": {"a": "1"}}, "tags": ["x", "y", "mapping_conflict"]}),
    (b'{"tags":"own"}', "tags", {"shipper": {"tags": ["mapping_conflict"], "unmapped": {"tags": "own"}}}),
    (
        b'{"a":1,"tags":{"k":1}}',
        "a",
        {"shipper": {"tags": ["mapping_conflict"], "unmapped": {"a": "1"}}, "tags": {"k": 1}},
    ),
    (
        b'{"a":1,"shipper":"theirs"}',
        "a",
        {"shipper": "theirs", "shipper_fields": {"unmapped": {"a": "1"}}, "tags": ["mapping_conflict"]},
    ),
]


@pytest.mark.parametrize(("line", "name", "expected"), MOVED)
def test_the_named_field_moves(line: bytes, name: str, expected: dict[str, Any]) -> None:
    """The value becomes a text below `shipper.unmapped`; all else stays, the tag says it, and why."""
    reason = f"document_parsing_exception: {_conflict(name)}"
    ours = "shipper_fields" if "shipper_fields" in expected else "shipper"
    assert {**expected, ours: {**expected[ours], "refused": reason}} == _next(_asked(line), line, _conflict(name))


def test_values_stay_as_they_stand() -> None:
    """Numbers that no parser keeps survive a move beside them byte for byte."""
    line = b'{"a":"x","big":123456789012345678901234,"exact":1.10,"tiny":1e-400}'
    form = next_form(_asked(line), line=line, error=ItemError("x", _conflict("a")))
    assert form is not None
    for kept in (b'"big":123456789012345678901234', b'"exact":1.10', b'"tiny":1e-400'):
        assert kept in form.source


def test_one_field_after_another() -> None:
    """A second refusal that names another field moves that too; the same field again gives the line as text."""
    line = b'{"a":"x","b":"y","c":1}'
    first = next_form(_asked(line), line=line, error=ItemError("x", _conflict("a")))
    assert first is not None
    second = _next(first, line, _conflict("b"))
    ours = {"unmapped": {"a": "x", "b": "y"}, "refused": f"x: {_conflict('a')}"}
    assert second == {"c": 1, "shipper": ours, "tags": ["mapping_conflict"]}
    text = {"message": line.decode(), "shipper": {"refused": ours["refused"]}, "tags": ["mapping_conflict"]}
    assert _next(first, line, _conflict("a")) == text


def test_names_that_stand_twice() -> None:
    """The last value stays, as parsers read it; the earlier ones become texts."""
    line = b'{"a":1,"b":{"c":1,"c":"two","c":3},"a":"z"}'
    found = _next(_asked(line), line, "[1:6] failed to parse: [1:11] Duplicate field 'a'")
    assert found["a"] == "z"
    assert found["b"] == {"c": 3}
    assert found["shipper"]["unmapped"] == {"a": "1", "c": ["1", "two"]}


def test_the_line_as_text_keeps_our_fields() -> None:
    """Without a name: time, tags and what is ours, merged or not, and the whole line in `message`."""
    line = b'{"a":1,"log":{"level":"info"},"tags":["own"]}'
    document = (
        b'{"a":1,"log":{"level":"info","offset":7},"tags":["own","slow"],"@timestamp":"2024-01-15T00:00:00.000Z",'
        b'"host":{"name":"h"}}'
    )
    reason = "Limit of total fields [5] has been exceeded"
    assert _next(_asked(document), line, reason) == {
        "shipper": {"refused": f"document_parsing_exception: {reason}"},
        "log": {"offset": 7},
        "host": {"name": "h"},
        "@timestamp": "2024-01-15T00:00:00.000Z",
        "tags": ["own", "slow", "mapping_conflict"],
        "message": line.decode(),
    }


@pytest.mark.parametrize("line", [b"no json", b'"text"', b"[1]", b'{"cut":', b"\xff"])
def test_a_line_that_is_no_object(line: bytes) -> None:
    """Its document has only fields of ours; all of them stay."""
    document = json.dumps({"message": line.decode("utf-8", "replace"), "tags": ["parse_failure"], "x": 1}).encode()
    expected = {
        "x": 1,
        "tags": ["parse_failure", "mapping_conflict"],
        "message": line.decode("utf-8", "replace"),
        "shipper": {"refused": "document_parsing_exception: failed to parse"},
    }
    assert expected == _next(_asked(document), line, "failed to parse")


def test_our_own_field_is_left_out_when_it_is_named() -> None:
    """If the line as text is refused for a field of ours it goes without; for its text there is nothing left."""
    line, document = b'{"a":1}', b'{"a":1,"log":{"offset":7},"host":{"name":"h"}}'
    text = next_form(_asked(document), line=line, error=ItemError("x", "failed to parse"))
    assert text is not None
    without_reason = next_form(text, line=line, error=ItemError("x", "Limit of total fields [1]"))
    assert without_reason is not None
    assert json.loads(text.source) == {
        **json.loads(without_reason.source),
        "shipper": {"refused": "x: failed to parse"},
    }
    smaller = next_form(without_reason, line=line, error=ItemError("x", _conflict("log.offset")))
    assert smaller is not None
    assert json.loads(smaller.source) == {"host": {"name": "h"}, "message": '{"a":1}', "tags": ["mapping_conflict"]}
    assert next_form(smaller, line=line, error=ItemError("x", _conflict("message"))) is None
    assert next_form(smaller, line=line, error=ItemError("x", "Limit of total fields [1]")) is None


def test_a_long_reason_is_cut() -> None:
    """Servers repeat texts of any length."""
    refused = _next(_asked(b'{"a":1}'), b'{"a":1}', "x" * 5000)["shipper"]["refused"]
    assert ("document_parsing_exception: " + "x" * 5000)[:1000] == refused


def test_what_is_too_large_keeps_its_beginning() -> None:
    """Refused for its size: our fields and the first 32 KiB, and after that nothing more."""
    line = b'{"a":"' + b"x" * 50_000 + b'"}'
    document = line[:-1] + b',"host":{"name":"h"}}'
    form = next_form(whole(document), line=line, error=ItemError("too_large", ""))
    assert form is not None
    expected = {"host": {"name": "h"}, "message": line[: 32 * 1024].decode(), "tags": ["line_too_long"]}
    assert expected == json.loads(form.source)
    assert next_form(form, line=line, error=ItemError("too_large", "")) is None
    assert next_form(form, line=line, error=ItemError("document_parsing_exception", _conflict("host"))) is None


def test_it_comes_to_an_end() -> None:
    """Whatever a server says, the number of forms is bounded."""
    line = json.dumps({f"f{n}": "x" for n in range(50)}).encode()
    form: Form | None = whole(line)
    count = 0
    while form is not None:
        form = next_form(form, line=line, error=ItemError("x", _conflict(f"f{count}")))
        count += 1
        assert count < 20
