"""Names that are looked for in bytes: whatever is written in which way, no field is taken for absent that is there."""

from __future__ import annotations

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.absence import MAX_SEARCHED, MIN_SEARCHED, Absence, can_be_searched
from shipper.batch import MISSING, Columns
from shipper.columns import Fields

NAMES = ["level", "n", "host", "host.name", "log.offset", "tags", "shipper", "@timestamp", "ts", "a/b", "caf\u00e9"]
USUAL = [b'{"level":"info","n":%d,"x":[]}' % number for number in range(64)]

_keys = st.sampled_from([*NAMES, "log", "offset", "name", "x", "hosts", "b", 'ho"st', "\\"])
_values = st.recursive(
    st.one_of(st.none(), st.integers(-9, 9), _keys, st.text(max_size=3)),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(_keys, inner, max_size=3)),
    max_leaves=6,
)


@st.composite
def _written(draw: st.DrawFn) -> bytes:
    """An object with any of its characters written as escapes."""
    text = json.dumps(draw(st.dictionaries(_keys, _values, max_size=5)), ensure_ascii=draw(st.booleans()))
    out = []
    for before, character in zip(" " + text, text, strict=False):
        if character.isalpha() and character not in "nulltruefalse" and before != "\\" and draw(st.integers(0, 9)) == 0:
            out.append(f"\\u{ord(character):04x}")
        else:
            out.append(character)
    return "".join(out).replace("/", draw(st.sampled_from(["/", "\\/"]))).encode()


def _columns(fields: Fields, lines: list[bytes]) -> Columns:
    data = b"\n".join(lines)
    layout = fields.layout_for(data)
    return fields.columns(layout.decode_lines(data), layout)


@given(st.lists(st.lists(st.one_of(_written(), st.sampled_from(USUAL)), min_size=1, max_size=6), max_size=6))
def test_columns_are_those_of_a_decoder_that_knows_all_names(batches: list[list[bytes]]) -> None:
    """However many batches came before, and whatever they taught."""
    learned = Fields(NAMES)
    learned.arrange_as_in(USUAL)
    for lines in batches:
        try:
            expected = _columns(Fields(NAMES), lines)
        except ValueError:  # an escape was written where none can stand
            continue
        found = _columns(learned, lines)
        assert {name: list(column) for name, column in found.items()} == {
            name: list(column) for name, column in expected.items()
        }
        assert {name: found.types(name) for name in NAMES} == {name: expected.types(name) for name in NAMES}
        assert all(set(found[name]) == {MISSING} for name in found.absent)


def test_what_no_line_has_is_not_decoded() -> None:
    """Names that lines like those before do not have cost a search, until one has them."""
    fields = Fields(NAMES)
    assert fields.layout_for(USUAL[0]) is fields.layout
    fields.arrange_as_in(USUAL)
    lean = fields.layout_for(USUAL[0])
    assert lean is not fields.layout
    assert "host" in _columns(fields, USUAL).absent
    assert _columns(fields, [b'{"host":{"name":"a"}}'])["host.name"] == ["a"]
    again = _columns(fields, USUAL)
    assert "host" not in again.absent
    assert "tags" in again.absent


def test_a_column_that_is_set_is_no_longer_absent() -> None:
    """Redaction puts columns in their places."""
    columns = Columns({"a": [1, 2]})
    columns.lack(["b", "c"], 2)
    columns["b"] = [MISSING, 3]
    assert columns.absent == {"c"}
    assert columns.types("b") == {int, type(MISSING)}
    assert columns.types("c") == {type(MISSING)}


def test_few_names_are_not_worth_a_search() -> None:
    """They are decoded as absent."""
    fields = Fields(["level", *[f"name{number}" for number in range(MIN_SEARCHED - 1)]])
    fields.arrange_as_in(USUAL)
    assert fields.layout_for(USUAL[0]) is fields.layout


def test_more_names_than_a_search_takes_are_decoded() -> None:
    """Those beyond the limit, whether lines have them or not."""
    names = [f"name{number:02d}" for number in range(MAX_SEARCHED + 2)]
    fields = Fields(names)
    fields.arrange_as_in(USUAL)
    assert len(_columns(fields, USUAL).absent) == MAX_SEARCHED
    assert _columns(fields, [b'{"name49":1,"name01":2}'])["name49"] == (1,)


def test_escapes_everywhere_end_the_search_for_a_while() -> None:
    """They could write any name; each search that tells nothing makes the pause before the next longer."""
    absence = Absence(["host", "tags"])
    for _ in range(200):
        assert not absence.found_in(b'{"name":"caf\\u00e9"}')
    answers = [absence.found_in(b'{"name":"cafe"}') for _ in range(100)]
    assert None in answers[1:]
    assert all(answer is None or not answer for answer in answers)
    assert answers[0] is not None
    assert answers[-1] is None
    assert absence.found_in(b'{"tags":1,"x":"host"}') == ["host", "tags"]


def test_a_long_line_is_decoded_without_a_search() -> None:
    """What a search finds in it, an object each, would take twenty times its memory."""
    fields = Fields(NAMES)
    fields.arrange_as_in(USUAL)
    line = b'{"level":"%b","tags":1}' % (b"\\u00e9" * 700_000)
    tracemalloc.start()
    try:
        layout = fields.layout_for(line)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert layout is fields.layout
    assert peak < len(line)


@pytest.mark.parametrize(
    ("name", "can_be"), [("@timestamp", True), ("a b", True), ("caf\u00e9", False), ('a"', False), ("a/b", False),
                         ("a\\b", False), ("a\nb", False)],
)  # fmt: skip
def test_names_that_can_be_written_in_other_ways_are_decoded(name: str, can_be: bool) -> None:
    """JSON may put a backslash before a slash, and other escapes than the one that is looked for."""
    assert can_be_searched(name) == can_be
