"""The fast path equals the slow path for any bytes: a line becomes the same alone and among any others."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from shipper import parse
from shipper.batch import MISSING, Batch
from shipper.parse import Parser, _split
from shipper.settings import Format
from shipper.tail import Chunk

FIELDS = ("a", "b", "user", "user.id", "tags")
MAX_LINE_BYTES = 80

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "x", "é"]), inner, max_size=3),
    max_leaves=4,
)
objects = st.dictionaries(
    st.sampled_from(["a", "b", "user", "user.id", "tags", "z", "\udc00"]), json_values, max_size=4
)


@st.composite
def object_lines(draw: st.DrawFn) -> bytes:
    """A JSON object as one of several libraries would write it."""
    separators = draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    value = draw(objects)
    return json.dumps(value, separators=separators, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")


fragments = st.lists(
    st.sampled_from(
        [
            b"{",
            b"}",
            b"[",
            b"]",
            b'"',
            b'"a"',
            b'"user"',
            b":",
            b",",
            b"1",
            b"1e999",
            b" ",
            b"\\",
            rb"\ud800",
            b"\r",
            b"\0",
        ]
    )
    | st.sampled_from([b'{"', b'"}', b"}{", b"[" * 101, b"\xff", b"\xef\xbb\xbf", b"null", b"9" * 400]),
    max_size=9,
).map(b"".join)
lines = st.one_of(
    object_lines(),
    object_lines(),
    fragments,
    fragments.map(lambda text: b'{"' + text + b'"}'),
    fragments.map(lambda text: b'{"a":' + text + b"}"),
    st.binary(max_size=20).map(lambda data: data.replace(b"\n", b"")),
)


def parsed(data: bytes, line_format: Format) -> Batch:
    parser = Parser(line_format=line_format, fields=FIELDS, max_line_bytes=MAX_LINE_BYTES)
    chunk = Chunk(0, len(data), data)
    batch = parser.parse(chunk, source="s", path="/p", identity="i", content=None, is_final=True)
    assert batch is not None
    return batch


def facts(batch: Batch) -> list[tuple[Any, ...]]:
    """All that a batch says of each line, but for its place. (`repr`: true is not 1, NaN is NaN.)"""
    raws = batch.raw_lines or batch.lines
    times = batch.runtime_times or [""] * batch.count
    return [
        (
            batch.lines[i],
            raws[i],
            times[i],
            batch.problems.get(i),
            repr({name: batch.columns[name][i] for name in FIELDS}),
        )
        for i in range(batch.count)
    ]


def check(given_lines: list[bytes], line_format: Format) -> None:
    """Together, the lines become what they become alone on the slow path, at their places."""
    together = parsed(b"".join(line + b"\n" for line in given_lines), line_format)
    expected: list[tuple[Any, ...]] = []
    offsets: list[int] = []
    start = 0
    for line in given_lines:
        with mock.patch.object(parse, "look_like_objects", return_value=False):
            alone = facts(parsed(line + b"\n", line_format))
        expected += alone
        offsets += [start] * len(alone)
        start += len(line) + 1
    assert expected == facts(together)
    assert offsets == list(together.offsets)
    for line in together.lines:
        line.decode()
        assert b"\n" not in line


@given(st.lists(lines, max_size=12))
def test_lines_become_the_same_alone_and_together(given_lines: list[bytes]) -> None:
    """Whatever stands beside a line changes neither its text, nor its columns, nor what is said of it."""
    check(given_lines, Format.JSON)


@given(st.lists(object_lines(), min_size=2, max_size=8), lines)
def test_one_odd_line_among_objects_changes_nothing(ordinary: list[bytes], odd: bytes) -> None:
    """The guard of the fast path finds it."""
    check([*ordinary, odd, *ordinary], Format.JSON)


@given(
    st.lists(
        st.one_of(
            lines.map(lambda line: json.dumps({"log": line.decode("latin-1") + "\n", "stream": "stdout"}).encode()),
            lines,
        ),
        max_size=8,
    )
)
def test_docker_lines_become_the_same_alone_and_together(given_lines: list[bytes]) -> None:
    """Frames that are whole are taken off at once, or one by one, with one result."""
    check([line for line in given_lines if not is_open_frame(line)], Format.DOCKER)


@given(st.lists(st.sampled_from([b"\n", b"\r", b"\0", b" ", b"a", b"{}"]), max_size=9).map(b"".join) | st.binary())
def test_lines_are_what_newlines_part(data: bytes) -> None:
    """Whatever is in them, and whether or not the last one ends."""
    parted = data.split(b"\n")
    assert parted[:-1] + [line for line in parted[-1:] if line] == _split(data)


def is_open_frame(line: bytes) -> bool:
    """Whether a line would be joined with the next."""
    try:
        frame = json.loads(line)
    except ValueError:
        return False
    return isinstance(frame, dict) and not str(frame.get("log", "\n")).endswith("\n")


@given(
    st.lists(
        st.one_of(lines.map(lambda line: b"2024-01-15T10:30:45Z stdout F " + line), lines, st.just(b"x stdout F")),
        max_size=8,
    )
)
def test_cri_lines_become_the_same_alone_and_together(given_lines: list[bytes]) -> None:
    """As for docker."""
    check(given_lines, Format.CRI)


@given(objects)
def test_an_object_is_read_as_json_says(value: dict[str, Any]) -> None:
    """Columns hold the line's values; the text of an ordinary object is the line itself."""
    try:
        line = json.dumps(value, separators=(",", ":"), allow_nan=False).encode()
        json.dumps(value, ensure_ascii=False).encode()
    except ValueError:
        return  # not JSON, or half a character
    if len(line) > MAX_LINE_BYTES:
        return
    batch = parsed(line + b"\n", Format.JSON)
    assert [line] == batch.lines
    assert {name: value[name] for name in ("a", "b", "user", "tags") if name in value} == {
        name: batch.columns[name][0] for name in ("a", "b", "user", "tags") if batch.columns[name][0] is not MISSING
    }
