"""Every document is valid JSON with the line's own values as they stand, and ours where the rules put them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shipper.batch import Batch, Documents, Frame
from shipper.document import raw_object
from shipper.enrich import Enriched, Enricher
from shipper.identity import line_id
from shipper.parse import Parser
from shipper.settings import Coercion, Format, Placement, SourceSettings
from shipper.tail import Chunk
from shipper.times import IndexPattern, event_time, is_same_instant

FRAME = Frame(b'{"i":"', b'","id":"', b'","d":', b"}\n")
HOST, PATH = 'h"%s', "/var/log/a%d\udcff.log"
SHOWN_PATH = "/var/log/a%d\ufffd.log"
TAGS = {"slow": "duration > 2000", "bad": "statusCode >= 400"}
NOW = 1_710_000_000.0  # 2024-03-09
ABSENT: Any = object()

own_names = st.one_of(
    st.sampled_from(["host", "host.name", "log", "log.file", "log.file.path", "log.offset", "log.level"]),
    st.sampled_from(["shipper", "shipper_fields", "tags", "@timestamp", "timestamp", "time", "message"]),
    st.sampled_from(
        ["service", "env", "env.x", "user", "user.id", "userId", "level", "statusCode", "duration", "x", ""]
    ),
)
inner_names = st.sampled_from(["name", "id", "offset", "file", "path", "level", "x", "ip"])
times = st.sampled_from(
    [
        "2024-01-15T10:30:45.123Z",
        "2024-01-15T11:30:45.123+01:00",
        "2024-01-16T00:00:00.000Z",
        "2024-03-11T00:00:00.000Z",
        "soon",
        "0001-01-01T00:00:00.000Z",
    ]
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-5, 5000)
    | st.sampled_from([1.5, 1705314645123, 10**30, "2500", "x", "slow", ""])
    | times
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(inner_names, inner, max_size=2), max_leaves=4
)
objects = st.dictionaries(own_names, values, max_size=6)
usual_objects = st.fixed_dictionaries(
    {"timestamp": st.sampled_from(["2024-01-15T10:30:45.123Z", "2024-01-15T10:30:45.124Z"])},
    optional={
        "userId": scalars,
        "level": scalars,
        "duration": scalars,
        "@timestamp": times,
        "host": values,
        "tags": values,
    },
)
lines = st.one_of(
    objects.map(lambda value: json.dumps(value).encode()),
    usual_objects.map(lambda value: json.dumps(value, separators=(",", ":")).encode()),
    st.sampled_from(
        [b"text", b"[1]", b"{}", b'{"a":"\xff"}', rb'{"tags":["\ud800"],"statusCode":500}', b'{"x":1e999}']
    ),
)
sources = st.builds(
    lambda fields, copy, coerce, placement: SourceSettings(
        name="s", paths=("/x",), fields=fields, copy=copy, coerce=coerce, placement=placement
    ),
    st.sampled_from([{}, {"service": "S"}, {"service": "S%", "env.x": {"k": [1]}}, {"log.team": "t", "message": "m"}]),
    st.sampled_from([{}, {"user.id": "userId"}, {"log.level": "level", "user.id": "userId", "host.ip": "user.id"}]),
    st.sampled_from([{}, {"duration": Coercion.NUMBER}, {"level": Coercion.STRING, "user.id": Coercion.STRING}]),
    st.sampled_from(Placement),
)


def enriched(given_lines: list[bytes], source: SourceSettings) -> tuple[Batch, Enriched]:
    """What becomes of the lines of a file."""
    enricher = Enricher(
        source=source,
        tags=TAGS,
        drop=(),
        host=HOST,
        index=IndexPattern("logs-%Y.%m.%d"),
        frame=FRAME,
        clock=lambda: NOW,
    )
    parser = Parser(line_format=Format.JSON, fields=enricher.fields, max_line_bytes=1 << 20)
    data = b"".join(line + b"\n" for line in given_lines)
    batch = parser.parse(Chunk(0, len(data), data), source="s", path=PATH, identity="abc", content=None, is_final=False)
    assert batch is not None
    return batch, enricher.enrich(batch, last_time="", done=lambda _: None)


# The rules once more, in the plainest form


def own_paths(value: Mapping[str, Any], before: str = "") -> dict[str, bool]:
    """Every name that an object has, in full, and whether an object stands there."""
    found: dict[str, bool] = {}
    for name, inner in value.items():
        found[before + name] = isinstance(inner, dict)
        if isinstance(inner, dict):
            found |= own_paths(inner, f"{before}{name}.")
    return found


def leaves(pairs: Mapping[str, Any]) -> dict[str, Any]:
    """Values by their names in full."""
    found: dict[str, Any] = {}
    for name, value in pairs.items():
        if isinstance(value, dict) and value:
            found |= {f"{name}.{inner}": leaf for inner, leaf in leaves(value).items()}
        else:
            found[name] = value
    return found


def is_taken(line: Mapping[str, Any], leaf: str) -> bool:
    return any(
        own == leaf or own.startswith(leaf + ".") or (leaf.startswith(own + ".") and not is_object)
        for own, is_object in own_paths(line).items()
    )


def put(document: dict[str, Any], name: str, value: Any) -> None:
    """Adds a value at a dotted name's path."""
    *path, last = name.split(".")
    for part in path:
        document = document.setdefault(part, {})
    document[last] = value


def value_at(line: Mapping[str, Any], name: str) -> Any:
    """A field's value: at the path, else under the name."""
    value: Any = line
    for part in name.split("."):
        value = value.get(part, ABSENT) if isinstance(value, dict) else ABSENT
    return line.get(name, ABSENT) if value is ABSENT else value


def as_coerced(value: Any, coercion: Coercion) -> Any:
    if coercion is Coercion.STRING:
        return json.dumps(value) if isinstance(value, bool | int | float) else value
    return int(value) if isinstance(value, str) and value.isdigit() else value


def rewrite(line: dict[str, Any], name: str, coercion: Coercion) -> None:
    top, _, rest = name.partition(".")
    inner = line.get(top)
    if rest and isinstance(inner, dict) and rest in inner:
        inner[rest] = as_coerced(inner[rest], coercion)
    elif name in line:
        line[name] = as_coerced(line[name], coercion)


def tags_of(line: Mapping[str, Any], problems: list[str]) -> list[str]:
    def number(name: str) -> float:
        value = line.get(name)
        if isinstance(value, str) and value.isdigit():
            value = int(value)
        return value if isinstance(value, int | float) and not isinstance(value, bool) else -1

    own = [name for name, is_so in (("slow", number("duration") > 2000), ("bad", number("statusCode") >= 400)) if is_so]
    return own + problems


def expected_document(line: dict[str, Any], source: SourceSettings, time: str, tags: list[str], offset: int) -> Any:
    where = {"host.name": HOST, "log.file.path": SHOWN_PATH, "log.offset": offset}
    copies = {new: value_at(line, own) for new, own in source.copy.items()}
    present = {new: value for new, value in copies.items() if value is not ABSENT}
    groups = [where, leaves(present), leaves(source.fields)]
    document = json.loads(json.dumps(line))
    for name, coercion in source.coerce.items():
        rewrite(document, name, coercion)
    below: dict[str, Any] = {}
    for group in groups:
        is_below = any(is_taken(line, leaf) for leaf in group) or (
            group is where and source.placement is Placement.SHIPPER
        )
        for leaf, value in group.items():
            put(below if is_below else document, leaf, value)
    if time and "@timestamp" not in line:
        document["@timestamp"] = time
    elif time and not is_same_instant(event_time(line["@timestamp"]) or "", time):
        below["@timestamp"] = time
    if tags:
        own = line.get("tags", [])
        own = [own] if isinstance(own, str) else own
        if isinstance(own, list):
            document["tags"] = [*own, *(tag for tag in tags if tag not in own)]
            if document["tags"] == own and isinstance(line.get("tags"), str):
                document["tags"] = line["tags"]
        else:
            below["tags"] = tags
    if below:
        document[
            "shipper"
            if "shipper" not in line
            else "shipper_fields"
            if "shipper_fields" not in line
            else "shipper_fields_"
        ] = below
    return document


def without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object, in which no name stands twice."""
    assert len(pairs) == len(dict(pairs)), pairs
    return dict(pairs)


def problems_of(batch: Batch, i: int) -> list[str]:
    return [problem.tag for problem in batch.problems.get(i, ())]


@given(st.lists(lines, max_size=6), sources)
def test_documents_are_as_the_rules_say(given_lines: list[bytes], source: SourceSettings) -> None:
    """Line by line: own values, our groups, time, tags, index and id."""
    batch, result = enriched(given_lines, source)
    documents = result.documents
    records = [json.loads(line, object_pairs_hook=without_repeats) for line in documents.body.splitlines()]
    written = iter(zip(documents.line_numbers, records, strict=True))
    dead = {letter.offset: letter for letter in documents.dead_letters}
    last_time = ""
    for i, text in enumerate(batch.lines):
        problems = problems_of(batch, i)
        is_text = bool({"parse_failure"} & set(problems))
        own = {"message": text.decode()} if is_text else json.loads(text.replace(b"1e999", b"1.5"))
        fields = {} if is_text else own
        own_time = next((t for name in source.time if (t := event_time(fields.get(name)))), None)
        last_time = own_time or last_time
        index = f"logs-{last_time[:10].replace('-', '.')}" if last_time else "logs-undated"
        expected_id = line_id("abc", batch.offsets[i], (batch.raw_lines or batch.lines)[i])
        if last_time > "2024-03-10T16:00:00.000Z":
            letter = dead.pop(batch.offsets[i])
            assert (letter.id, letter.index, letter.reason, letter.line) == (expected_id, index, "time_in_future", text)
            continue
        number, record = next(written)
        assert (i, index, expected_id) == (number, record["i"], record["id"])
        tags = tags_of(fields, problems + ([] if own_time else ["time_failure"]))
        document = expected_document(own, source, last_time, tags, batch.offsets[i])
        assert json.dumps(document, sort_keys=True) == json.dumps(record["d"], sort_keys=True).replace(
            "Infinity", "1.5"
        )
    assert next(written, None) is None
    assert not dead
    assert last_time == result.last_time
    check_counts(result, batch)
    check_segments(documents)


def check_counts(result: Enriched, batch: Batch) -> None:
    """Nothing is lost between the parts of the answer."""
    documents = result.documents
    assert batch.count == documents.count + result.dropped + result.duplicates + len(documents.dead_letters)


def check_segments(documents: Documents) -> None:
    """The segments cover the body, and each holds what is of its index."""
    position = 0
    for index, start, end in documents.segments:
        assert start == position
        assert {index} == {json.loads(line)["i"] for line in documents.body[start:end].splitlines()}
        position = end
    assert position == len(documents.body)


@given(objects, sources)
def test_own_values_stand_as_they_were_written(value: dict[str, Any], source: SourceSettings) -> None:
    """Byte by byte, but for objects and tags that ours were put into, and fields to be coerced."""
    line = json.dumps(value, indent=None, separators=(" , ", " :  ")).encode()
    _, result = enriched([line], source)
    if not result.documents.count:
        return
    body = result.documents.body
    document = raw_object(body[body.index(b'"d":') + 4 : -2])
    own = raw_object(line)
    for name in own:
        is_changed = name == "tags" or name in source.coerce or bytes(own[name]).startswith(b"{")
        assert is_changed or bytes(own[name]) == bytes(document[name])
