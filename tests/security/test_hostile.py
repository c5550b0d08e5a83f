"""Input that was made to hurt: configurations that expand, lines of odd shapes, too many fields, values, series."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exporter.rules import default_rules, parse_rules
from exporter.webconfig import parse_web_config
from shipper.config import CommandLine, load
from shipper.errors import ConfigError
from shipper.explain import Explainer, Origin
from shipper.openapi import openapi_patterns
from shipper.route import MAX_FORMS, Router
from shipper.settings import Settings, SourceSettings
from shipper.tail import Chunk

ROOT = Path(__file__).parents[2]


# Configurations -----------------------------------------------------------------------------------------------------


def read_settings(text: str, directory: Path) -> None:
    (directory / "x.yml").write_text(text)
    load(directory / "x.yml", environ={}, command_line=CommandLine(directory=directory))


def read_rules(text: str, _: Path) -> None:
    parse_rules(text, file="x.yml")


def read_web_config(text: str, directory: Path) -> None:
    parse_web_config(text.encode(), file="x.yml", directory=directory)


def laughs(opening: str, closing: str, item: str) -> str:
    """Nine levels of nine aliases each: four hundred million values in less than a kilobyte."""
    levels = [f"a0: &a0 {opening}{', '.join([item] * 9)}{closing}"]
    for i in range(1, 9):
        items = ", ".join(f"k{j}: *a{i - 1}" if opening == "{" else f"*a{i - 1}" for j in range(9))
        levels.append(f"a{i}: &a{i} {opening}{items}{closing}")
    return "\n".join(levels) + "\n"


YAML = {
    "lists of aliases": (laughs("[", "]", "x"), "aliases expanded"),
    "mappings of aliases": (laughs("{", "}", "x").replace("x, x, x, x, x, x, x, x, x", "k: x"), "aliases expanded"),
    "nesting": ("[" * 5_000 + "\n", "nested deeper|not YAML"),
    "nested mappings": ("{a: " * 5_000 + "\n", "nested deeper|not YAML"),
    "a list that contains itself": ("a: &a [*a]\n", "itself|not YAML"),
    "a mapping that contains itself": ("a: &a {b: *a}\n", "itself|not YAML"),
    "a Python object": ("a: !!python/object/apply:os.system [id]\n", "tags|unknown key"),
    "a huge file": ("# " + "x" * (2 << 20), "larger than"),
    "many keys": ("".join(f"k{i}: 1\n" for i in range(30_000)), "more than 20[,]?000 values|unknown key"),
    "a long key": (f"{'k' * 100_000}: 1\n", "unknown key|not YAML"),
}


@pytest.mark.parametrize("read", [read_settings, read_rules, read_web_config])
@pytest.mark.parametrize("name", YAML)
def test_yaml_that_was_made_to_hurt(tmp_path: Path, read: Callable[[str, Path], None], name: str) -> None:
    """It is refused with its place, before it costs memory or time; nothing in it is ever called."""
    text, expected = YAML[name]
    with pytest.raises(ConfigError, match=expected) as caught:
        read(text, tmp_path)
    assert len(str(caught.value)) < 4_000_000


# Lines --------------------------------------------------------------------------------------------------------------

SHAPES = [
    "{}", "{ }", '{"a":null}', '{"a":[]}', '{"":0}', '{"a":{"b":{}}}', '{"a":"\\u0000"}',
    '{"a":"\\u00e9\\ud834\\udd1e"}', '{"a":"\\/\\b\\f\\n\\r\\t\\\\\\""}', '{"a":-0}', '{"a":1E22}',
    '{"a":1e-2}', '{"a":0.4e+7}', '{"a":123456789012345678}', ' {"a":1}', '\t{"a" : 1}\t', '{"a":1}  ',
    '{"a":"\x7f"}', '{"a":"\u2028\u2029"}', '{"\\u0061":1}', '{"a":"ü€\U0001d11e"}', "[]", "[1]", "1", '"text"',
    "null", "true", "-", "", " ", "{", "}", '{"a"', '{"a":', '{"a":1', '{"a":1,', '{"a":1,}', '{,"a":1}',
    '{"a":1 "b":2}', '{"a":1}}', '{"a":1}{"b":2}', '{"a":1}]', '{"a":1},', "{a:1}", "{'a':1}", '{"a":.5}',
    '{"a":5.}', '{"a":01}', '{"a":+1}', '{"a":--1}', '{"a":1e}', '{"a":0x1}', '{"a":1_000}', '{"a":NaN}',
    '{"a":Infinity}', '{"a":-Infinity}', '{"a":nan}', '{"a":True}', '{"a":nul}', '{"a":undefined}', '{"a":"x}',
    '{"a":"\\x"}', '{"a":"\\u12"}', '{"a":"\\u123g"}', '{"a":"\t"}', '{"a":"\x01"}', '{"a":"\\"}', '{"a" 1}',
    '{"a"::1}', '{:1}', "{1:1}", '{null:1}', '{"a":1/**/}', '{"a":1}//', '#{"a":1}', '{"a":[1,]}', '{"a":[,1]}',
    '{"a":[1 2]}', '{"a":[1}', '{"a":(1)}', '{"a":`1`}', "\ufeff{\"a\":1}", '{"a":1}\ufeff', '{"a":\u00a01}',
    '{"a":"\\ud800"}', '{"a":"\\udc00\\ud800"}', '{"a":1e400}', '{"a":1' + "0" * 400 + "}",
    '{"a":0.' + "0" * 400 + "1}", '{"a":1,"a":2}', '{"a":{"b":1},"a":{"b":2}}',
]  # fmt: skip
"""As the shapes of JSONTestSuite: what all parsers take, what none may, and where they disagree."""


def explained(*lines: bytes, **options: Any) -> list[dict[str, Any]]:
    source = SourceSettings(name="a", paths=("/x",), **options)
    explainer = Explainer(
        settings=Settings(sources=(source,)),
        rules=default_rules(),
        origin=Origin(source, "/x", "x"),
    )
    data = b"".join(line + b"\n" for line in lines)
    return list(explainer.explain([Chunk(0, len(data), data)]))


def strictly(text: str) -> Any:
    """The object that RFC 8259 sees in a text; None if it sees none."""

    def refuse(name: str) -> Any:
        raise ValueError(name)

    try:
        value = json.loads(text.removeprefix("\ufeff"), parse_constant=refuse)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape.strip()])
def test_a_line_is_an_object_or_a_text(shape: str) -> None:
    """An object keeps its fields, whatever else is in it; anything else is a message with the tag parse_failure."""
    [found] = explained(shape.encode("utf-8", "surrogatepass"))
    document = found["document"]
    value = strictly(shape)
    assert ("parse_failure" in document.get("tags", [])) is (value is None)
    if value is None:
        assert document["message"].strip() == shape.removeprefix("\ufeff").strip() or "\ufeff" in shape
    else:
        assert set(value) <= set(document)


def test_blank_lines_make_no_document() -> None:
    """Nor does what holds nothing but spaces."""
    assert [found["document"]["a"] for found in explained(b'{"a":1}', b"", b"  ", b"\t", b'{"a":2}')] == [1, 2]


def test_a_line_with_very_many_fields() -> None:
    """A hundred thousand of them stay a line, with each field in its document."""
    line = json.dumps({"time": "2024-01-15T10:30:45Z"} | {f"field_{i}": i for i in range(100_000)}).encode()
    [found] = explained(line, max_line_bytes=8 << 20)
    assert len([name for name in found["document"] if name.startswith("field_")]) == 100_000
    assert "tags" not in found["document"]


@pytest.mark.parametrize("opening", ["[", '{"a":', '{"a":[', '[{"a":'])
@pytest.mark.parametrize("depth", [101, 1_000, 100_000])
def test_a_deep_line_is_a_text(opening: str, depth: int) -> None:
    """Beyond a hundred levels nothing is parsed, by us or by the server."""
    closing = "".join({"[": "]", "{": "}"}.get(char, "") for char in reversed(opening))
    line = ('{"x":' + opening * depth + "1" + closing * depth + "}").encode()
    [found] = explained(line)
    assert set(found["document"]["tags"]) & {"too_deep", "line_too_long"}
    assert "x" not in found["document"]


# Many values --------------------------------------------------------------------------------------------------------


def test_keys_that_were_made_to_collide() -> None:
    """Names of fields are text, and texts are hashed with a secret of each process: nobody can make them collide."""
    assert sys.flags.hash_randomization == 1
    places = [ROOT / "docker" / "Dockerfile", ROOT / "docker" / "compose.yml", ROOT / "systemd" / "shipper.service"]
    assert [path.name for path in places if "PYTHONHASHSEED" in path.read_text()] == []


def test_numbers_that_collide_cost_a_batch_and_no_more() -> None:
    """Whole numbers are hashed without a secret. Those of one hash stay what they are, and apart from each other."""
    prime = sys.hash_info.modulus
    lines = [b'{"method":"GET","url":"/","statusCode":%d,"duration":1}' % (prime * i) for i in range(8)]
    statuses = {series for found in explained(*lines) for series in found["series"] if series.startswith("http_req")}
    assert len({hash(prime * i) for i in range(8)}) == 1
    assert len([text for text in statuses if text.startswith("http_requests_total")]) == 8


def test_random_paths_leave_the_routes_memory_flat() -> None:
    """What is remembered of forms of paths has an end, whatever comes; for the values of a label see test_series."""
    router = Router()
    for batch in range(20):
        router.routes([f"/{chr(97 + i % 26) * (i % 40 + 1)}/{batch * 4_000 + i:x}/q{i}" for i in range(4_000)])
    sizes = {name: len(value) for name, value in vars(router).items() if hasattr(value, "__len__")}
    assert {name: size for name, size in sizes.items() if size > MAX_FORMS} == {}
    assert max(sizes.values()) > 0


@pytest.mark.parametrize("opening", ["[", "{a: ", '{"a":'])
def test_a_deep_openapi_file_ends_nothing(tmp_path: Path, opening: str) -> None:
    """PyYAML would end the process by it. (Of some openings libyaml says so itself, before the first event.)"""
    (tmp_path / "api.json").write_text(opening * 100_000)
    with pytest.raises(ConfigError, match=r"nested deeper than 100|exceeded maximum nesting depth"):
        openapi_patterns(str(tmp_path / "api.json"))
