"""What is decided about a batch's lines, and how their documents are framed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from shipper.batch import Batch, Frame
from shipper.columns import Fields
from shipper.enrich import FUTURE_SECONDS, Enriched, Enricher
from shipper.errors import ExpressionError
from shipper.identity import line_id
from shipper.parse import Parser
from shipper.redact.stage import Redactor
from shipper.settings import DEFAULT_TAGS, Coercion, DropSettings, Format, Placement, RedactSettings, SourceSettings
from shipper.splice import FIRST_COPY, NO_TIME, Filling, Splicer
from shipper.tagmarks import TagMarks
from shipper.tail import Chunk
from shipper.times import IndexPattern

FRAME = Frame(b'{"i":"', b'","id":"', b'","d":', b"}\n")
NOW = 1705314645.0  # 2024-01-15T10:30:45Z
TIME = "2024-01-15T10:30:45.123Z"
LINE = b'{"timestamp":"2024-01-15T10:30:45.123Z"}'


class Stage:
    """Parser and enricher of one source."""

    def __init__(
        self,
        *,
        tags: Mapping[str, str] | None = None,
        drop: tuple[DropSettings, ...] = (),
        host: str = "h",
        index: str = "logs-%Y.%m.%d",
        frame: Frame = FRAME,
        **source: Any,
    ) -> None:
        self.source = SourceSettings(name="s", paths=("/x",), **source)
        self.enricher = Enricher(
            source=self.source,
            tags=dict(DEFAULT_TAGS if tags is None else tags),
            drop=drop,
            host=host,
            index=IndexPattern(index),
            frame=frame,
            clock=lambda: NOW,
        )

    def batch(self, *lines: bytes, path: str = "/p", start: int = 0) -> Batch:
        parser = Parser(line_format=self.source.format, fields=self.enricher.fields, max_line_bytes=1 << 20)
        data = b"".join(line + b"\n" for line in lines)
        chunk = Chunk(start, start + len(data), data)
        batch = parser.parse(chunk, source="s", path=path, identity="abc", content=None, is_final=True)
        assert batch is not None
        return batch

    def enrich(self, *lines: bytes, last_time: str = "", covered: Any = (), **batch: Any) -> Enriched:
        return self.enricher.enrich(
            self.batch(*lines, **batch), last_time=last_time, covered=covered, done=lambda _: None
        )

    def documents(self, *lines: bytes, **options: Any) -> list[Any]:
        return [record["d"] for record in records(self.enrich(*lines, **options))]


def records(enriched: Enriched) -> list[Any]:
    return [json.loads(line) for line in enriched.documents.body.splitlines()]


def where(offset: int, path: str = "/p", host: str = "h") -> dict[str, Any]:
    return {"host": {"name": host}, "log": {"file": {"path": path}, "offset": offset}}


# Documents


def test_ours_follow_the_lines_own_bytes() -> None:
    """The line stands in its document as it is, digit by digit."""
    line = b'{"timestamp" : "2024-01-15T10:30:45.123Z", "n":1.50e1, "s":"\\u00e9"}'
    body = Stage().enrich(line).documents.body
    assert body.startswith(b'{"i":"logs-2024.01.15","id":"abc-0000000000-')
    assert line[:-1] in body


@pytest.mark.parametrize("start", [0, 123, 99_950, 1_000_000, 9_999_999_000, 20_000_000_000])
@pytest.mark.parametrize("count", [1, 2, 500])
def test_every_line_has_its_own_values(count: int, start: int) -> None:
    """Offsets, ids, times and tags are those of the line, however many are spliced at once."""
    lines = [
        b'{"timestamp":"2024-01-15T10:30:45.%03dZ","statusCode":%d}' % (number, 200 + number) for number in range(count)
    ]
    stage = Stage()
    batch = stage.batch(*lines, start=start)
    result = records(stage.enrich(*lines, start=start))
    for number, (line, record) in enumerate(zip(lines, result, strict=True)):
        offset = batch.offsets[number]
        tags = {"tags": ["error_response"]} if 200 <= number < 300 else {}
        tags = {"tags": ["error_response", "server_error"]} if number >= 300 else tags
        expected = json.loads(line) | {"@timestamp": f"2024-01-15T10:30:45.{number:03d}Z"} | where(offset) | tags
        assert ("logs-2024.01.15", line_id("abc", offset, line), expected) == tuple(record.values())


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/var/log/100%d %b%%.log", "/var/log/100%d %b%%.log"),
        ('/a"b\\c\nd\t\x01.log', '/a"b\\c\nd\t\x01.log'),
        ("/a\udcff.log", "/a\ufffd.log"),
        ("/4611686018427387904/0\x000.log", "/4611686018427387904/0\x000.log"),
        ("/größe.log", "/größe.log"),
        ("", ""),
    ],
)
def test_a_path_of_any_characters_is_only_a_path(path: str, shown: str) -> None:
    """Whoever names a file does not choose what its documents look like."""
    [document] = Stage(host='h"%s').documents(LINE, path=path)
    assert {**json.loads(LINE), "@timestamp": TIME, **where(0, shown, 'h"%s')} == document


def test_a_frame_and_an_index_of_any_characters() -> None:
    """Percent signs mean nothing."""
    stage = Stage(frame=Frame(b"%d<", b">%s<", b">", b"%\n"), index="100%%-%Y")
    assert stage.enrich(LINE).documents.body.startswith(b"%d<100%-2024>%s<abc-0000000000-")
    assert stage.enrich(LINE).documents.body.endswith(b"}%\n")


def test_a_renamed_file_has_its_new_path() -> None:
    """Forms are remembered by path, identity and day."""
    stage = Stage()
    paths = ["/a.log", "/b.log", "/a.log", *(f"/{number}.log" for number in range(200)), "/a.log"]
    assert paths == [stage.documents(LINE, path=path)[0]["log"]["file"]["path"] for path in paths]


def test_no_lines_no_documents() -> None:
    """A chunk of blank lines moves the cursor, and keeps the time."""
    result = Stage().enrich(b"", b"  ", last_time=TIME)
    assert (b"", 0, [], TIME) == (
        result.documents.body,
        result.documents.count,
        list(result.documents.segments),
        result.last_time,
    )


def test_a_line_of_another_encoding_that_redaction_leaves_empty_is_a_document() -> None:
    """Its object is as empty as one that was so from the beginning, though there is a problem with the line."""
    stage = Stage(tags={})
    batch = stage.batch(b'{"secret":"\xff"}', LINE)
    redactor = Redactor(settings=RedactSettings(allow_only=("timestamp",)))
    redactor.redact(batch, fields=Fields(stage.enricher.fields))
    documents = [record["d"] for record in records(stage.enricher.enrich(batch, last_time=TIME, done=lambda _: None))]
    ours = {"@timestamp": TIME, "tags": ["encoding_failure", "time_failure"]}
    assert [ours | where(0), {"timestamp": TIME, "@timestamp": TIME} | where(15)] == documents


@pytest.mark.parametrize("line", [b"{}", b"{ }"])
def test_an_empty_object_is_a_document(line: bytes) -> None:
    """Without a comma that nothing precedes."""
    assert [{"tags": ["time_failure"], **where(0)}] == Stage().documents(line)


@pytest.mark.parametrize(
    ("line", "tags"),
    [
        (b"Error: boom", ["parse_failure"]),
        (b"[1]", ["parse_failure"]),
        (b"[" * 101, ["too_deep"]),
        (b"bo\xffm", ["encoding_failure", "parse_failure"]),
    ],
)
def test_a_line_that_is_no_object_is_a_message(line: bytes, tags: list[str]) -> None:
    """Its text, and what was wrong."""
    expected = {"message": line.decode("utf-8", "replace"), "tags": [*tags, "time_failure"], **where(0)}
    [document] = Stage().documents(line)
    assert sorted(expected.pop("tags")) == sorted(document.pop("tags"))
    assert expected == document


def test_a_message_of_ours_gives_way_to_the_lines_text() -> None:
    """A line that is no object has a field of its own all the same."""
    first, second = Stage(fields={"message": "m", "team": "t"}).documents(b"boom", LINE)
    assert ("boom", {"message": "m", "team": "t"}) == (first["message"], first["shipper"])
    assert ("m", "t") == (second["message"], second["team"])


# Tags


def test_tags_stand_in_the_order_of_the_configuration() -> None:
    """Then those of what was wrong with the line."""
    stage = Stage(tags={"z": "a == 1", "a": "a >= 1", "parse_failure": "a == 2"})
    documents = stage.documents(b'{"a":1}', b'{"a":2}', b'{"a":0}', b"x", b'{"a":1,"b":"\xff"}')
    expected = [
        ["z", "a", "time_failure"],
        ["a", "parse_failure", "time_failure"],
        ["time_failure"],
        ["parse_failure", "time_failure"],
        ["z", "a", "encoding_failure", "time_failure"],
    ]
    assert expected == [document["tags"] for document in documents]


def test_marks_are_sets_of_names() -> None:
    """A name that is given twice is one."""
    marks = TagMarks(["a", "b", "a", "c"])
    assert ["a", "c"] == marks.names(marks.bit("c") | marks.bit("a"))
    assert [b"", b',"tags":["a","b"]', b""] == marks.texts([0, marks.bit("a") | marks.bit("b"), 0])


def test_a_wrong_expression_is_an_error_at_once() -> None:
    """Not when the first line comes."""
    with pytest.raises(ExpressionError):
        Stage(tags={"x": "a >"})


# Times and indices


def test_a_line_without_time_has_that_of_the_line_before() -> None:
    """From line to line and from batch to batch; before the first there is none."""
    stage = Stage()
    lines = [b'{"a":1}', LINE, b'{"a":2}', b"text", b'{"timestamp":"2024-01-14T00:00:00Z"}', b'{"timestamp":"soon"}']
    result = stage.enrich(*lines)
    found = [(record["i"], record["d"].get("@timestamp")) for record in records(result)]
    assert [
        ("logs-undated", None),
        ("logs-2024.01.15", TIME),
        ("logs-2024.01.15", TIME),
        ("logs-2024.01.15", TIME),
        ("logs-2024.01.14", "2024-01-14T00:00:00.000Z"),
        ("logs-2024.01.14", "2024-01-14T00:00:00.000Z"),
    ] == found
    failures = ["time_failure" in record["d"].get("tags", []) for record in records(result)]
    assert [True, False, True, True, False, True] == failures
    assert "2024-01-14T00:00:00.000Z" == result.last_time
    assert ["logs-undated", "logs-2024.01.15", "logs-2024.01.14"] == [name for name, _, _ in result.documents.segments]
    [record] = records(stage.enrich(b'{"a":3}', last_time=result.last_time))
    assert ("logs-2024.01.14", "2024-01-14T00:00:00.000Z") == (record["i"], record["d"]["@timestamp"])


@pytest.mark.parametrize("last_time", ["", "2024-01-13T23:59:59.999Z"])
def test_lines_without_a_time_among_usual_ones_inherit_it(last_time: str) -> None:
    """Just as among times that need conversion; each is marked, and goes into the day of the line before it."""
    times = ["", "2024-01-15T10:30:45.123Z", "", "", "2024-01-14T10:30:45.123Z", ""]
    usual = [b'{"timestamp":"%s"}' % time.encode() if time else b"text" for time in times]
    converted = [line.replace(b"Z", b"+00:00") for line in usual]
    results = [Stage().enrich(*lines, last_time=last_time) for lines in (usual, converted)]
    expected = [last_time, times[1], times[1], times[1], times[4], times[4]]
    for result in results:
        found = records(result)
        assert expected == [record["d"].get("@timestamp", "") for record in found]
        assert [time[:10].replace("-", ".") or "undated" for time in expected] == [record["i"][5:] for record in found]
        assert [not time for time in times] == ["time_failure" in record["d"].get("tags", ()) for record in found]
        assert result.last_time == times[4]


def test_the_first_usable_time_field_counts() -> None:
    """In the order of the configuration, line by line."""
    stage = Stage(time=("a", "b.c"))
    lines = [b'{"a":"2024-01-01","b":{"c":"2024-01-02"}}', b'{"a":"x","b":{"c":1705314645}}', b'{"b.c":"2024-01-03"}']
    times = [document["@timestamp"] for document in stage.documents(*lines)]
    assert ["2024-01-01T00:00:00.000Z", "2024-01-15T10:30:45.000Z", "2024-01-03T00:00:00.000Z"] == times


def test_the_runtimes_time_counts_last() -> None:
    """A line without a time of its own has the one that the container runtime wrote."""
    stage = Stage(format=Format.CRI)
    lines = [b"2024-01-15T10:30:45.5+01:00 stdout F text", b"2024-01-15T10:30:46Z stdout F " + LINE]
    times = [document["@timestamp"] for document in stage.documents(*lines)]
    assert ["2024-01-15T09:30:45.500Z", TIME] == times


@pytest.mark.parametrize(
    ("seconds", "is_dead"),
    [(FUTURE_SECONDS - 1, False), (FUTURE_SECONDS, False), (FUTURE_SECONDS + 1, True), (10 * FUTURE_SECONDS, True)],
)
def test_what_lies_in_the_future_is_set_aside(seconds: int, is_dead: bool) -> None:
    """With what inherits its time; never redirected to another day."""
    future = b'{"timestamp":%d}' % (NOW + seconds)
    result = Stage().enrich(LINE, future, b'{"x":1}', LINE)
    documents = result.documents
    if not is_dead:
        assert (4, []) == (documents.count, documents.dead_letters)
        return
    assert [0, 3] == list(documents.line_numbers)
    assert [future, b'{"x":1}'] == [letter.line for letter in documents.dead_letters]
    inherited = datetime.fromtimestamp(NOW + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    assert ["", inherited] == [letter.timestamp for letter in documents.dead_letters]
    letter = documents.dead_letters[0]
    assert ("time_in_future", "s", "/p", 41, False) == (
        letter.reason,
        letter.source,
        letter.file,
        letter.offset,
        letter.reduced,
    )
    assert line_id("abc", 41, future) == letter.id
    assert not letter.index.endswith("undated")


def test_a_batch_of_nothing_but_future_has_no_body() -> None:
    """It is handed over all the same, for its dead letters."""
    result = Stage().enrich(b'{"timestamp":"2099-01-01"}')
    assert (b"", 0, [], 1) == (
        result.documents.body,
        result.documents.count,
        list(result.documents.segments),
        len(result.documents.dead_letters),
    )


def test_segments_are_the_runs_of_one_index() -> None:
    """Lines of two days, mixed: each piece of the body goes to its day, in file order."""
    days = [15, 15, 14, 15, 14, 14]
    result = Stage().enrich(*(b'{"timestamp":"2024-01-%dT00:00:00.000Z"}' % day for day in days))
    documents = result.documents
    found = [(index[-2:], documents.body[start:end].count(b"\n")) for index, start, end in documents.segments]
    assert [("15", 2), ("14", 1), ("15", 1), ("14", 2)] == found
    assert b"".join(documents.body[start:end] for _, start, end in documents.segments) == documents.body


# Drops and duplicates


def test_dropped_lines_are_counted_and_not_shipped() -> None:
    """The first rule that matches decides."""
    drop = (DropSettings(when="a >= 2", keep=1), DropSettings(when="a >= 1"))
    result = Stage(drop=drop).enrich(b'{"a":0}', b'{"a":1}', b'{"a":2}', b"text")
    assert ([0, 2, 3], 1) == (list(result.documents.line_numbers), result.dropped)
    assert [0, 2, None] == [record["d"].get("a") for record in records(result)]


def test_a_share_is_kept_the_same_lines_every_time() -> None:
    """Chosen by the id: however the lines come in batches."""
    stage = Stage(drop=(DropSettings(when="a == 1", keep=0.25),))
    lines = [b'{"a":1,"n":%d}' % number for number in range(2000)]
    together = stage.enrich(*lines)
    kept = [record["id"] for record in records(together)]
    assert 400 < len(kept) < 600
    assert 2000 == len(kept) + together.dropped
    offset, alone = 0, []
    for line in lines:
        alone += [record["id"] for record in records(stage.enrich(line, start=offset))]
        offset += len(line) + 1
    assert kept == alone


def test_what_is_dropped_is_not_set_aside() -> None:
    """A rule that drops it is meant."""
    result = Stage(drop=(DropSettings(when="a == 1"),)).enrich(b'{"a":1,"timestamp":"2099-01-01"}')
    assert (1, []) == (result.dropped, result.documents.dead_letters)


@pytest.mark.parametrize(
    ("covered", "duplicates"),
    [
        ([], []),
        ([(0, 1000)], [0, 1, 2, 3]),
        ([(8, 24)], [1, 2]),
        ([(0, 1), (9, 25)], [0, 2, 3]),
        ([(1000, 2000)], []),
        ([(32, 40)], []),
        ([(0, 1), (7, 8), (9, 16), (16, 17), (24, 25), (31, 99)], [0, 2, 3]),
    ],
)
def test_what_the_output_has_is_left_out(covered: list[tuple[int, int]], duplicates: list[int]) -> None:
    """By the offsets at which lines begin; neither dropped nor set aside besides."""
    drop = (DropSettings(when="a == 1"),)
    result = Stage(drop=drop).enrich(*[b'{"a":0}'] * 4, covered=covered)
    assert len(duplicates) == result.duplicates
    assert [i for i in range(4) if i not in duplicates] == list(result.documents.line_numbers)
    assert 0 == Stage(drop=drop).enrich(b'{"a":1}', covered=[(0, 9)]).dropped


# Fields, copies, coercion


FIELDS = {"service": "S", "labels": {"env": "prod"}, "log.team": "t"}
COPY = {"user.id": "userId", "log.level": "level", "host.ip": "ip", "user.name": "user_name"}


@pytest.mark.parametrize("placement", Placement)
@pytest.mark.parametrize(
    ("line", "copies"),
    [
        ({}, {}),
        ({"userId": "u"}, {"user": {"id": "u"}}),
        ({"level": "info", "userId": None}, {"log": {"level": "info"}, "user": {"id": None}}),
        ({"ip": [1, {"x": "\n%"}], "user_name": 10**30}, {"host": {"ip": [1, {"x": "\n%"}]}, "user": {"name": 10**30}}),
        (
            {"ip": 1, "user_name": 2, "level": 3, "userId": 4},
            {"host": {"ip": 1}, "user": {"name": 2, "id": 4}, "log": {"level": 3}},
        ),
    ],
)
def test_fields_and_copies_stand_beside_ours(placement: Placement, line: dict[str, Any], copies: Any) -> None:
    """Whichever are there, in whichever object they belong together."""
    stage = Stage(fields=FIELDS, copy=COPY, placement=placement)
    text = json.dumps({**json.loads(LINE), **line}).encode()
    expected: dict[str, Any] = {**json.loads(text), "@timestamp": TIME, "service": "S", "labels": {"env": "prod"}}
    expected["log"] = {"team": "t"} | copies.get("log", {})
    expected |= {name: value for name, value in copies.items() if name != "log"}
    if placement is Placement.SHIPPER:
        expected["shipper"] = where(0)
    else:
        expected["log"] |= where(0)["log"]
        expected["host"] = where(0)["host"] | copies.get("host", {})
    assert [expected] == stage.documents(text)
    neighbour = stage.documents(LINE, text, LINE)[1]
    offset = {"offset": len(LINE) + 1}
    if placement is Placement.SHIPPER:
        expected["shipper"]["log"] |= offset
    else:
        expected["log"] |= offset
    assert expected == neighbour


def test_copies_are_of_the_value_as_it_was() -> None:
    """Coercion rewrites the field, not the copy."""
    stage = Stage(copy={"took": "duration"}, coerce={"duration": Coercion.NUMBER})
    [document] = stage.documents(b'{"duration":"2500"}')
    assert (2500, "2500", ["slow_request", "time_failure"]) == (
        document["duration"],
        document["took"],
        document["tags"],
    )


def test_only_what_is_needed_is_decoded() -> None:
    """With our fields below `shipper`, the line's own `host` and `log` do not matter."""
    assert {"timestamp", "statusCode", "duration", "level", "host", "log.offset", "shipper"} <= Stage().enricher.fields
    fields = Stage(placement=Placement.SHIPPER).enricher.fields
    assert not {"host", "host.name", "log", "log.offset"} & fields


# Ids


def test_ids_are_of_the_raw_line_and_of_what_redaction_left() -> None:
    """A line whose text was mended keeps the id of its bytes; a redacted line has the one that it was given."""
    stage = Stage()
    lines = [b'{"a":"\xff"}', b'{"b":1}', b'{"shipper":1,"host":2}']
    batch = stage.batch(*lines)
    batch.checksums = {1: 0xABC, 2: 0xFFFFFFFF}
    result = stage.enricher.enrich(batch, last_time="", done=lambda _: None)
    expected = [line_id("abc", 0, lines[0]), "abc-0000000010-00000abc", "abc-0000000018-ffffffff"]
    assert expected == [record["id"] for record in records(result)]


# Forms


@pytest.mark.parametrize("fields", [{}, FIELDS])
@pytest.mark.parametrize("placement", Placement)
def test_every_form_takes_the_same_values(placement: Placement, fields: dict[str, Any]) -> None:
    """Whatever moves or is absent, each value lands where its name is, and none is left over."""
    stage = Stage(fields=fields, copy=COPY, placement=placement)
    splicer = Splicer(source=stage.source, host="h", index=IndexPattern("i"), frame=FRAME)
    batch = stage.batch(b'{"userId":"user.id","level":"log.level","ip":"host.ip","user_name":"user.name"}')
    values = splicer.values(
        batch, bodies=[b'{"a":1'], sums=[b"12345678"], times=[TIME.encode()], tags=[b',"tags":["x"]']
    )
    for variant in range(1 << FIRST_COPY + len(COPY)):
        form = splicer.form(batch, "2024-01-15", variant)
        made = form.template % tuple(column[0] for column in values)
        assert made * 3 == Filling([[*column] * 3 for column in values], kept=None).by_one(form)
        record = json.loads(made)
        document = record["d"]
        found = named_values(document) | named_values(document.get("shipper", {}))
        absent = {name for number, name in enumerate(splicer.copy_names) if variant & 1 << FIRST_COPY + number}
        assert {name: name for name in COPY if name not in absent} == {
            name: found[name] for name in COPY if name in found
        }
        assert (0, "/p", "h") == (found["log.offset"], found["log.file.path"], found["host.name"])
        assert ("abc-0000000000-12345678", 1, ["x"]) == (record["id"], document["a"], document["tags"])
        assert (TIME if not variant & NO_TIME else None) == document.get("@timestamp")


def named_values(value: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """The leaves of an object by their names in full."""
    found: dict[str, Any] = {}
    for name, inner in value.items():
        found |= named_values(inner, f"{before}{name}.") if isinstance(inner, dict) else {before + name: inner}
    return found
