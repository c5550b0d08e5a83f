"""What each kind of line becomes: its text, its columns, what is wrong with it; and its neighbours unharmed."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from shipper.batch import MISSING, Batch
from shipper.oddlines import is_too_deep, without_lone_surrogates
from shipper.parse import Parser
from shipper.settings import Format
from shipper.tail import Chunk

USUAL = b'{"a":1,"b":"x"}'
FIELDS = ("a", "b", "user.id", "user.name")


def parsed(
    data: bytes,
    *,
    line_format: Format = Format.JSON,
    fields: tuple[str, ...] = FIELDS,
    max_line_bytes: int = 1 << 20,
    is_final: bool = False,
    **chunk: Any,
) -> Batch:
    """The batch of a chunk that stands at 100."""
    parser = Parser(line_format=line_format, fields=fields, max_line_bytes=max_line_bytes)
    piece = Chunk(100, 100 + len(data), data, **chunk)
    batch = parser.parse(piece, source="s", path="/p", identity="i", content=None, is_final=is_final)
    assert batch is not None
    return batch


def reasons(batch: Batch, i: int) -> list[str] | None:
    problems = batch.problems.get(i)
    return None if problems is None else [problem.reason for problem in problems]


class Case(NamedTuple):
    """A line, the text that is shipped (None: the line's own), what is wrong (None: nothing said), and field `a`."""

    line: bytes
    text: bytes | None
    reasons: list[str] | None
    a: Any = MISSING


DEEP = b'{"a":' + b"[" * 100 + b"]" * 100 + b"}"
CASES = {
    "usual": Case(USUAL, None, None, 1),
    "spaces": Case(b' { "a" : 1 } ', b'{ "a" : 1 }', None, 1),
    "tabs": Case(b'\t{"a":1}\t', b'{"a":1}', None, 1),
    "empty object": Case(b"{}", None, []),
    "empty object with spaces": Case(b" {  } ", b"{  }", []),
    "text": Case(b"Error: boom", None, ["not_json"]),
    "text in brackets": Case(b"[Nest] 1 - started", None, ["not_json"]),
    "braces": Case(b"{not json}", None, ["not_json"]),
    "quoted braces": Case(b'{"not json"}', None, ["not_json"]),
    "array": Case(b"[1,2]", None, ["not_object"]),
    "number": Case(b"5", None, ["not_object"]),
    "string": Case(b'"x"', None, ["not_object"]),
    "null": Case(b"null", None, ["not_object"]),
    "infinity": Case(b"1e999", None, ["not_json"]),
    "cut off": Case(b'{"a":1', None, ["not_json"]),
    "two objects": Case(b'{"a":1}{"a":2}', None, ["not_json"]),
    "two objects apart": Case(b'{"a":1} {"a":2}', None, ["not_json"]),
    "trailing comma": Case(b'{"a":1,}', None, ["not_json"]),
    "NaN": Case(b'{"a":NaN}', None, ["not_json"]),
    "Infinity": Case(b'{"b":-Infinity}', None, ["not_json"]),
    "single quotes": Case(b"{'a':1}", None, ["not_json"]),
    "control character": Case(b'{"a":"\t"}', None, ["not_json"]),
    "duplicate keys": Case(b'{"a":1,"a":2}', None, None, 2),
    "null value": Case(b'{"a":null}', None, None, None),
    "another type": Case(b'{"a":{"x":[1]}}', None, None, {"x": [1]}),
    "invalid UTF-8": Case(b'{"a":"\xff"}', '{"a":"\ufffd"}'.encode(), ["encoding"], "\ufffd"),
    "invalid UTF-8 elsewhere": Case(b'{"a":1,"z":"\xff"}', '{"a":1,"z":"\ufffd"}'.encode(), ["encoding"], 1),
    "invalid UTF-8 in a name": Case(b'{"a":1,"\xff":1}', '{"a":1,"\ufffd":1}'.encode(), ["encoding"], 1),
    "surrogate as UTF-8": Case(
        b'{"a":"\xed\xa0\x80"}', '{"a":"\ufffd\ufffd\ufffd"}'.encode(), ["encoding"], "\ufffd" * 3
    ),
    "text, invalid UTF-8": Case(b"bo\xffm", "bo\ufffdm".encode(), ["encoding", "not_json"]),
    "lone surrogate": Case(rb'{"a":"x\ud800"}', rb'{"a":"x\ufffd"}', ["encoding"], "x\ufffd"),
    "lone surrogate elsewhere": Case(rb'{"a":1,"z":"\uDC00"}', rb'{"a":1,"z":"\ufffd"}', ["encoding"], 1),
    "lone surrogate in a name": Case(rb'{"a":1,"\ud800":1}', rb'{"a":1,"\ufffd":1}', ["encoding"], 1),
    "surrogate pair": Case(rb'{"a":"\ud83d\ude00"}', None, None, "😀"),
    "lone surrogate in text": Case(rb"{\ud800}", None, ["not_json"]),
    "escaped backslash": Case(rb'{"a":"\\ud800"}', None, None, r"\ud800"),
    "BOM": Case(b"\xef\xbb\xbf" + USUAL, USUAL, None, 1),
    "carriage return": Case(USUAL + b"\r", USUAL, None, 1),
    "leading NULs": Case(b"\0\0\0" + USUAL, USUAL, None, 1),
    "leading NULs, carriage return": Case(b"\0" + USUAL + b"\r", USUAL, None, 1),
    "NUL inside": Case(b'{"a":"\0"}', None, ["not_json"]),
    "NUL behind": Case(USUAL + b"\0", None, ["not_json"]),
    "UTF-16": Case('{"a":1}'.encode("utf-16-le"), None, ["not_json"]),
    "beyond a double": Case(b'{"a":1e999}', None, None, MISSING),
    "beyond a double elsewhere": Case(b'{"a":1,"z":-1e999}', None, None, 1),
    "beyond a double below": Case(b'{"a":{"x":[1e999,2]}}', None, None, {"x": [None, 2]}),
    "huge integer": Case(b'{"a":1' + b"0" * 30 + b"}", None, None, 10**30),
    "very huge integer": Case(b'{"a":' + b"1" * 5000 + b"}", None, None, MISSING),
    "very huge integer elsewhere": Case(b'{"a":1,"z":' + b"1" * 5000 + b"}", None, None, 1),
    "a hundred levels": Case(
        DEEP.replace(b"[", b"", 1).replace(b"]", b"", 1), None, None, json.loads("[" * 99 + "]" * 99)
    ),
    "one level too many": Case(DEEP, None, ["too_deep"]),
    "objects, one level too many": Case(b'{"z":' * 101 + b"1" + b"}" * 101, None, ["too_deep"]),
    "objects, a hundred levels": Case(b'{"z":' * 100 + b"1" + b"}" * 100, None, None),
    "far too many levels": Case(b'{"z":' + b"[" * 50_000, None, ["too_deep"]),
    "many brackets in a text": Case(b'{"a":1,"z":"' + b"[" * 500 + b'"}', None, None, 1),
    "many brackets side by side": Case(b'{"a":1,"z":[' + b"[]," * 500 + b"0]}", None, None, 1),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("neighbours", [0, 1, 300])
def test_a_line_and_its_neighbours(name: str, neighbours: int) -> None:
    """Alone or among ordinary lines, a line becomes the same, and the others are as if it were not there."""
    case = CASES[name]
    lines = [USUAL] * neighbours + [case.line] + [USUAL] * neighbours
    batch = parsed(b"".join(line + b"\n" for line in lines))
    text = case.line if case.text is None else case.text
    assert [USUAL] * neighbours + [text] + [USUAL] * neighbours == batch.lines
    assert [1] * neighbours + [case.a] + [1] * neighbours == list(batch.columns["a"])
    assert case.reasons == reasons(batch, neighbours)
    assert set(batch.problems) <= {neighbours}
    assert [100 + sum(len(line) + 1 for line in lines[:i]) for i in range(len(lines))] == list(batch.offsets)
    assert (100, 100 + sum(len(line) + 1 for line in lines)) == (batch.start, batch.end)


@pytest.mark.parametrize("name", CASES)
def test_the_raw_line_is_kept_where_its_text_is_another(name: str) -> None:
    """Checksums are made of what stands in the file, without carriage return and NULs before it."""
    case = CASES[name]
    batch = parsed(case.line + b"\n" + USUAL + b"\n")
    raw = case.line.lstrip(b"\0").removesuffix(b"\r")
    assert [raw, USUAL] == (batch.raw_lines or batch.lines)


@pytest.mark.parametrize("blank", [b"", b"\r", b"  \t", b"\0\0", b"\0\r"])
def test_blank_lines_are_left_out(blank: bytes) -> None:
    """They make no document; the offsets of the others stay theirs."""
    batch = parsed(USUAL + b"\n" + blank + b"\n" + USUAL + b"\n")
    assert [USUAL, USUAL] == batch.lines
    assert [100, 100 + len(USUAL) + 1 + len(blank) + 1] == list(batch.offsets)
    assert {} == batch.problems


@pytest.mark.parametrize("line_format", Format)
def test_a_chunk_of_blank_lines_is_a_batch_without_lines(line_format: Format) -> None:
    """It moves the cursor, and has all columns."""
    batch = parsed(b"\n\r\n \n", line_format=line_format)
    assert (0, 105) == (batch.count, batch.end)
    assert {*FIELDS, "user"} == set(batch.columns)


def test_a_line_that_is_cut_is_a_prefix() -> None:
    """The reader gives a line's beginning; no part of a character is left at its end."""
    batch = parsed('{"a":"ä'.encode()[:-1], is_cut=True, max_line_bytes=7)
    assert [b'{"a":"'] == batch.lines
    assert ['{"a":"ä'.encode()[:-1]] == batch.raw_lines
    assert ["too_long"] == reasons(batch, 0)
    assert [MISSING] == list(batch.columns["a"])


@pytest.mark.parametrize(
    ("line", "text", "expected"),
    [
        (b'{"a":12345678}', b'{"a":12345', ["too_long"]),
        (b'{"a":1234}', b'{"a":1234}', None),
        (b'{"a":1234}\r', b'{"a":1234}', None),
        (b'\0\0\0{"a":1234}', b'{"a":1234}', None),
        (b"123456789\r12", b"123456789\r", ["too_long"]),
        (b"1234\xff6789012", "1234\ufffd67890".encode(), ["too_long", "encoding"]),
        (b" " * 12, b" " * 10, ["too_long"]),
    ],
)
def test_a_line_in_a_chunk_that_is_too_long(line: bytes, text: bytes, expected: list[str] | None) -> None:
    """The limit is the same whether a line is cut by the reader or stands in a chunk with others."""
    batch = parsed(b'{"a":1}\n' + line + b'\n{"a":2}\n', max_line_bytes=10)
    assert [b'{"a":1}', text, b'{"a":2}'] == batch.lines
    assert expected == reasons(batch, 1)
    if expected:
        prefix = line.lstrip(b"\0")[:10]
        alone = parsed(prefix, is_cut=True, max_line_bytes=10)
        assert (alone.lines, alone.raw_lines or alone.lines) == ([text], [(batch.raw_lines or batch.lines)[1]])
        assert reasons(alone, 0) == expected


def test_leading_nuls_belong_to_the_first_line() -> None:
    """Those that copytruncate leaves stand before the chunk's data; the line's offset is where they begin."""
    batch = parsed(USUAL + b"\n" + USUAL + b"\n", leading_nuls=1000)
    assert [100, 100 + 1000 + len(USUAL) + 1] == list(batch.offsets)


def test_an_unterminated_last_line() -> None:
    """The tail of a final file is a line like any other."""
    batch = parsed(USUAL, is_tail=True)
    assert ([USUAL], [100], 100 + len(USUAL)) == (batch.lines, list(batch.offsets), batch.end)


@pytest.mark.parametrize(
    ("line", "user_id"),
    [
        (b'{"user":{"id":"u1"}}', "u1"),
        (b'{"user.id":"u1"}', "u1"),
        (b'{"user":{"id":"u1"},"user.id":"u2"}', "u1"),
        (b'{"user":{"name":"n"},"user.id":"u2"}', "u2"),
        (b'{"user":{"id":null}}', None),
        (b'{"user":"u1"}', MISSING),
        (b'{"user":[{"id":"u1"}]}', MISSING),
        (b'{"user":null}', MISSING),
    ],
)
def test_a_dotted_name_is_a_path_or_a_name(line: bytes, user_id: Any) -> None:
    """The nested field, else the field that is itself called so."""
    assert [user_id, MISSING] == list(parsed(line + b'\n{"a":1}\n').columns["user.id"])


def test_what_was_met_before_changes_no_column() -> None:
    """A parser learns in which order fields come; lines with others, in another order or of another kind stay right."""
    first = b'{"z":0,"user.name":"n","user":{"id":7},"b":"x","a":1}\nError: boom\n[1]\n'
    later = b'{"a":2}\n{"b":"y","user":{"name":"m"},"a":3}\nboom\n{"user.id":8,"a":4}\n'
    parser = Parser(line_format=Format.JSON, fields=FIELDS, max_line_bytes=1 << 20)
    for data in (first, later, first):
        piece = Chunk(0, len(data), data)
        batch = parser.parse(piece, source="s", path="/p", identity="i", content=None, is_final=True)
        assert batch is not None
        assert dict(parsed(data).columns) == dict(batch.columns)


def test_no_fields_at_all() -> None:
    """A configuration that mentions no field still tells objects from other lines."""
    batch = parsed(USUAL + b"\n" + b"x\n", fields=())
    assert [USUAL, b"x"] == batch.lines
    assert (None, ["not_json"]) == (reasons(batch, 0), reasons(batch, 1))


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([b'{"a":1}{"a":2}', b'{"b":', b"3}"], ["not_json", "not_json", "not_json"]),
        ([b'{"a":1}{"a":2}', b'{"b":{"c":1}', b"}"], ["not_json", "not_json", "not_json"]),
        ([b'{"a":1}{"a":2}', b""], ["not_json"]),
        ([b'{"a":1}{"a":2}', b'{"b":"}', b'{"}'], ["not_json", "not_json", "not_json"]),
        ([b'{"a":[{}', b"]}"], ["not_json", "not_json"]),
    ],
)
def test_as_many_objects_as_lines_are_not_always_the_lines(lines: list[bytes], expected: list[str]) -> None:
    """The decoder of many lines does not care where lines end; the guard does."""
    batch = parsed(b"".join(line + b"\n" for line in lines))
    assert [line for line in lines if line] == batch.lines
    assert expected == [problem.reason for i in range(batch.count) for problem in batch.problems[i]]


# Container runtimes


def docker(log: str) -> bytes:
    return json.dumps({"log": log, "stream": "stdout", "time": "2024-01-15T10:30:45.5Z"}).encode()


def cri(text: bytes, flag: bytes = b"F") -> bytes:
    return b"2024-01-15T10:30:45.5Z stdout %b %b" % (flag, text)


@pytest.mark.parametrize(
    ("line_format", "frame"),
    [(Format.DOCKER, lambda line: docker(line.decode() + "\n")), (Format.CRI, cri)],
)
@pytest.mark.parametrize("other", [None, b"Error: boom", b'{"a":1e999}', b"x" * 60])
def test_framed_lines_are_what_the_application_wrote(line_format: Format, frame: Any, other: bytes | None) -> None:
    """Texts without frames, offsets and raw lines of the file, the runtime's times."""
    texts = [USUAL, other or USUAL, USUAL]
    raws = [frame(text) for text in texts]
    batch = parsed(b"".join(raw + b"\n" for raw in raws), line_format=line_format, max_line_bytes=50)
    assert [USUAL, (other or USUAL)[:50], USUAL] == batch.lines
    assert [100, 101 + len(raws[0]), 102 + len(raws[0]) + len(raws[1])] == list(batch.offsets)
    assert raws == batch.raw_lines
    assert ["2024-01-15T10:30:45.5Z"] * 3 == batch.runtime_times
    assert {None: None, b"Error: boom": ["not_json"], b"x" * 60: ["too_long"]}.get(other) == reasons(batch, 1)


@pytest.mark.parametrize(
    ("line_format", "first", "second"),
    [
        (Format.DOCKER, docker('{"a":'), docker("1}\n")),
        (Format.DOCKER, docker('{"a":'), docker("1}\r\n")),
        (Format.CRI, cri(b'{"a":', b"P"), cri(b"1}")),
    ],
)
def test_parts_are_joined_and_an_open_line_ends_the_batch(line_format: Format, first: bytes, second: bytes) -> None:
    """The batch ends where a line is still open, so that it is read again from its first part."""
    data = first + b"\n" + second + b"\n" + first + b"\n"
    batch = parsed(data, line_format=line_format)
    assert ([b'{"a":1}'], [1], 100 + len(first) + len(second) + 2) == (
        batch.lines,
        list(batch.columns["a"]),
        batch.end,
    )
    assert [first + b"\n" + second] == batch.raw_lines
    final = parsed(data, line_format=line_format, is_final=True)
    assert ([b'{"a":1}', b'{"a":'], 100 + len(data)) == (final.lines, final.end)
    parser = Parser(line_format=line_format, fields=FIELDS, max_line_bytes=1000)
    chunk = Chunk(0, len(first) + 1, first + b"\n")
    assert parser.parse(chunk, source="s", path="/p", identity="i", content=None, is_final=False) is None


@pytest.mark.parametrize("line_format", [Format.DOCKER, Format.CRI])
@pytest.mark.parametrize(
    ("line", "expected"),
    [(b"no frame", ["bad_frame"]), (b"5", ["bad_frame"]), (b'{"log":5}', None), (b'{"a":7}', None)],
)
def test_a_line_without_frame(line_format: Format, line: bytes, expected: list[str] | None) -> None:
    """It is taken as it stands, and said to be no frame if it is no object either."""
    batch = parsed(line + b"\n", line_format=line_format)
    assert ([line], expected) == (batch.lines, reasons(batch, 0))


@pytest.mark.parametrize("log", ['{"a":\n1}\n', '{"a":1,\n"b":{\n}}\n'])
def test_an_object_over_several_lines_in_one_frame_is_shipped_as_one_line(log: str) -> None:
    """A line's end within it would end the document in a bulk request, and in a file of documents."""
    raws = [docker(USUAL.decode() + "\n"), docker(log), docker("no\ntext\n")]
    batch = parsed(b"".join(raw + b"\n" for raw in raws), line_format=Format.DOCKER)
    assert [USUAL, log.strip().replace("\n", " ").encode(), b"no\ntext"] == batch.lines
    assert [1, 1, MISSING] == list(batch.columns["a"])
    assert raws == batch.raw_lines
    assert (None, ["not_json"]) == (reasons(batch, 1), reasons(batch, 2))


def test_a_joined_line_that_is_too_long() -> None:
    """One document with its beginning, whatever the number of its parts."""
    raws = [cri(b"x" * 30, b"P")] * 5 + [cri(b"y"), cri(USUAL)]
    batch = parsed(b"".join(raw + b"\n" for raw in raws), line_format=Format.CRI, max_line_bytes=50)
    assert [b"x" * 50, USUAL] == batch.lines
    assert (["too_long"], None) == (reasons(batch, 0), reasons(batch, 1))


def test_a_frame_that_is_too_long_for_the_reader() -> None:
    """The reader's prefix is taken as it stands."""
    batch = parsed(cri(b"x" * 99)[:50], line_format=Format.CRI, max_line_bytes=50, is_cut=True)
    assert ([cri(b"x" * 99)[:50]], ["too_long"]) == (batch.lines, reasons(batch, 0))


# Details


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (rb'"\ud800"', rb'"\ufffd"'),
        (rb'"\udfff\ud800\ude00\uDBFFx"', rb'"\ufffd\ud800\ude00\ufffdx"'),
        (rb'"\ud800\ud800\udc00"', rb'"\ufffd\ud800\udc00"'),
        (rb'"\\ud800\\\ud800"', rb'"\\ud800\\\ufffd"'),
        (rb'"\ud7ff\ue000\n\""', rb'"\ud7ff\ue000\n\""'),
    ],
)
def test_escapes_that_are_half_a_character(text: bytes, expected: bytes) -> None:
    """Pairs and escaped backslashes are left alone."""
    assert expected == without_lone_surrogates(text)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"[" * 100, False),
        (b"[" * 101, True),
        (b'{"":' * 101, True),
        (b"[]" * 500, False),
        (b'"' + b"[" * 500 + b'"', False),
        (b'"\\"' + b"[" * 500 + b'"', False),
        (b'"\\\\"' + b"[" * 500, True),
        (b"]" * 100 + b"[" * 101, False),
        (b"[" * 50 + b"]" * 49 + b"[" * 100, True),
        (b"[" * 101 + b'"' + rb"\"" * 300_000 + b'"', True),
    ],
)
def test_depth(line: bytes, expected: bool) -> None:
    """Brackets in texts do not count."""
    assert expected is is_too_deep(line)


def test_one_deep_line_among_many_flat_ones_is_found() -> None:
    """The guard over the whole chunk counts with lines of one bracket each."""
    batch = parsed(b'{"z":1}\n' * 400 + DEEP + b"\n" + b'{"z":1}\n' * 400)
    assert [400] == list(batch.problems)
