"""The server refuses documents for their content: they arrive reduced, findable, with a dead letter beside each."""

import json
from pathlib import Path
from typing import Any

import pytest
from deliveries import Delivery, access_to, document_of, id_of, lines_of
from harness.servers import Remote


def _documents(server: Remote, index: str) -> dict[str, dict[str, Any]]:
    return {hit["_id"]: hit["_source"] for hit in server.search_all(index)}


def test_a_conflicting_field_is_moved_away(any_server: Remote, index_prefix: str, tmp_path: Path) -> None:
    """A text where the index has a number: the document keeps everything else, and the value as a text."""
    index = f"{index_prefix}2024.01.15"
    lines = lines_of(100)
    lines[40] = b'{"n":40,"duration":"slow","url":"/x","price":1.10}'
    lines[70] = b'{"n":70,"duration":{"ms":12},"url":"/y","tags":"own"}'
    with Delivery(tmp_path, any_server.url, **access_to(any_server)) as delivery:
        delivery.ship(lines, index=index)
        delivery.wait_done()
    found = _documents(any_server, index)
    assert {id_of(n) for n in range(100)} == found.keys()
    whole = {n: json.loads(document_of(lines[n], n)) for n in (40, 70)}
    del whole[40]["duration"], whole[70]["duration"]
    letters = {letter["_id"]: letter for letter in delivery.letters()}
    why = {n: f"{letters[id_of(n)]['reason']}: {letters[id_of(n)]['server']}"[:1000] for n in (40, 70)}
    ours = {"unmapped": {"duration": "slow"}, "refused": why[40]}
    assert {**whole[40], "shipper": ours, "tags": ["mapping_conflict"]} == found[id_of(40)]
    ours = {"unmapped": {"duration": '{"ms":12}'}, "refused": why[70]}
    assert {**whole[70], "shipper": ours, "tags": ["own", "mapping_conflict"]} == found[id_of(70)]
    for question in ("tags:mapping_conflict", "shipper.refused:duration"):
        hits = any_server.ask("POST", f"/{index}/_search?q={question}")["hits"]["hits"]
        assert {id_of(40), id_of(70)} == {hit["_id"] for hit in hits}, question
    assert {id_of(40): lines[40].decode(), id_of(70): lines[70].decode()} == {
        i: it["line"] for i, it in letters.items()
    }
    assert all("duration" in letter["server"] and letter["reduced"] for letter in letters.values())
    assert (98, 2) == (delivery.documents("created"), delivery.documents("reduced"))
    reasons = {number: letters[id_of(number)]["reason"] for number in (40, 70)}
    delivery.assert_exact(any_server.search_all(index), 100, reduced=reasons)


REFUSED = {
    "an object where a number is": b'{"duration":{"ms":1}}',
    "a number where an object is": b'{"user":5}',
    "a number below a number": b'{"duration.ms":5}',
    "two fields at once": b'{"duration":"x","user":"y"}',
    "names twice": b'{"duration":1,"a":1,"a":"two"}',
    "names twice, deep": b'{"b":{"a":1,"a":2}}',
    "an empty name": b'{"":1,"a":1}',
    "a name of dots": b'{"..":1,"a":1}',
    "an empty part of a name": b'{"x":{"a..b":1}}',
    "a metadata field": b'{"_id":"x","a":1}',
    "a number beyond 64 bits": b'{"c":123456789012345678901234}',
    "a number beyond a float": b'{"c":1e999}',
    "an array of both": b'{"d":[1,"x"]}',
    "objects and numbers in one array": b'{"e":[{"f":1},2]}',
    "deeper than the index allows": b'{"g":' * 30 + b"1" + b"}" * 30,
    "a long text for a keyword": b'{"key":"' + b"x" * 40_000 + b'"}',
    "no date": b'{"when":"yesterday"}',
    "no address": b'{"ip":"999.1.1.1"}',
    "an alias": b'{"other":5}',
}
_PROPERTIES = {
    "duration": {"type": "long"},
    "user": {"properties": {"id": {"type": "keyword"}}},
    "key": {"type": "keyword"},
    "when": {"type": "date"},
    "ip": {"type": "ip"},
    "other": {"type": "alias", "path": "duration"},
}


def test_whatever_it_refuses_arrives_in_some_form(any_server: Remote, index_prefix: str, tmp_path: Path) -> None:
    """Each kind of refusal ends as a document that the index takes, tagged, without anything of its line lost."""
    index = f"{index_prefix}2024.01.15"
    unmapped = {"type": "flattened", "ignore_above": 8191}  # as `shipper setup` does
    if any_server.is_opensearch:
        unmapped = {"type": "flat_object"}  # which takes no text beyond 32 KiB
    properties = {**_PROPERTIES, "shipper": {"properties": {"unmapped": unmapped}}}
    any_server.ask("PUT", f"/{index}", {"mappings": {"properties": properties}})
    lines = list(REFUSED.values())
    with Delivery(tmp_path, any_server.url, **access_to(any_server)) as delivery:
        delivery.ship(lines, index=index)
        delivery.wait_done()
    found = _documents(any_server, index)
    assert {id_of(n) for n in range(len(lines))} == found.keys()
    letters = {letter["_id"]: letter["line"].encode() for letter in delivery.letters()}
    for number, (case, line) in enumerate(REFUSED.items()):
        source = found[id_of(number)]
        assert source["tags"] == ["mapping_conflict"], case
        assert source["host"] == {"name": "harness"}, case
        assert source.get("message") == line.decode() or source["shipper"]["unmapped"], case
        assert "exception: " in source["shipper"]["refused"], case
        assert line == letters[id_of(number)], case
    assert len(lines) == delivery.documents("reduced")
    as_text = [case for number, case in enumerate(REFUSED) if "message" in found[id_of(number)]]
    assert as_text == (["a long text for a keyword"] if any_server.is_opensearch else [])


def test_a_full_index_gets_the_line_as_text(any_server: Remote, index_prefix: str, tmp_path: Path) -> None:
    """When an index has all the fields that it may have, a line with new ones arrives as text, with our own fields."""
    index = f"{index_prefix}2024.01.15"
    with Delivery(tmp_path, any_server.url, **access_to(any_server)) as delivery:
        delivery.ship([b'{"message":"first","tags":["a"],"a":1}'], index=index)
        delivery.wait_done()
        mapped = any_server.ask("GET", f"/{index}/_mapping")[index]["mappings"]["properties"]
        assert "message" in mapped
        any_server.ask("PUT", f"/{index}/_settings", {"index.mapping.total_fields.limit": 1})
        delivery.ship([b'{"b":1,"c":2}'], first=1, index=index)
        delivery.wait_done()
    expected = {**json.loads(document_of(b"{}".replace(b"}", b'"x":0}'), 1)), "message": '{"b":1,"c":2}'}
    del expected["x"]
    assert {**expected, "tags": ["mapping_conflict"]} == _documents(any_server, index)[id_of(1)]


def test_what_nothing_helps_is_a_dead_letter(any_server: Remote, index_prefix: str, tmp_path: Path) -> None:
    """An index that takes no field that it does not know refuses every form: the line is kept as a dead letter only."""
    index = f"{index_prefix}2024.01.15"
    any_server.ask("PUT", f"/{index}", {"mappings": {"dynamic": "strict", "properties": {"n": {"type": "long"}}}})
    with Delivery(tmp_path, any_server.url, **access_to(any_server)) as delivery:
        delivery.ship(lines_of(3), index=index)
        delivery.wait_done()
    assert any_server.count(index) == 0
    assert [line.decode() for line in lines_of(3)] == [letter["line"] for letter in delivery.letters()]
    assert {"strict_dynamic_mapping_exception"} == {letter["reason"] for letter in delivery.letters()}
    assert delivery.documents("dead_letter") == 3


@pytest.mark.parametrize("restarts", [1, 2])
def test_a_second_run_adds_nothing(elasticsearch: Remote, index_prefix: str, tmp_path: Path, restarts: int) -> None:
    """The same lines from a new process: no document more, no dead letter twice."""
    index = f"{index_prefix}2024.01.15"
    lines = [*lines_of(20), b'{"duration":"slow"}']
    for _ in range(restarts + 1):
        with Delivery(tmp_path, elasticsearch.url) as delivery:
            delivery.ship(lines, index=index)
            delivery.wait_done()
    assert elasticsearch.count(index) == 21
    assert len(delivery.letters()) == 1
    assert delivery.documents("duplicate") == 21
