"""What becomes of a line, and why: source, time, tags, drop, document, id, and the series that it would change.

Runs the real stages on one line after another, without state or output.
"""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from exporter.effects import effects_of, fields_behind
from exporter.rule import Rule
from exporter.series import fields_of
from shipper.batch import Batch, Frame
from shipper.discover import Found, scan
from shipper.enrich import Enricher
from shipper.errors import ConfigError
from shipper.escaping import printable
from shipper.expressions import compile_predicate, has_value
from shipper.grouping import lines_of
from shipper.identity import identity_of, stem
from shipper.joining import Framing, Part, overdue, part_of
from shipper.moments import Moments
from shipper.parse import FRAMINGS, Parser
from shipper.redact.stage import redactor
from shipper.routing import functions_of
from shipper.settings import DEFAULT_INDEX, Settings, SourceSettings, host_name
from shipper.tail import Chunk, first_line, open_log, reader_for
from shipper.times import IndexPattern

UNKNOWN_BUDGETS = (
    "labels    each line's as if it were the first: past a budget (max_values, max_series) values become __other__, "
    "which the lines before it decide; of a running daemon, `shipper status` tells how often"
)
"""What no line can tell by itself."""
MOST_SHOWN = 80
"""Characters of a field that a rule could not count."""
_FRAME = Frame(b'{"index":"', b'","id":"', b'","document":', b"}\n")


class Origin(msgspec.Struct, frozen=True):
    """Where the lines come from."""

    source: SourceSettings
    path: str
    stem: str


def origin_of(settings: Settings, path: str, *, source_name: str) -> Origin:
    """The source that a file belongs to, by the patterns or by `source_name`. Raises ConfigError if none takes it."""
    sources = {source.name: source for source in settings.sources}
    if source_name and source_name not in sources:
        raise ConfigError([f"--source: there is no source {source_name!r}; there are {', '.join(sources)}"])
    name = stem(os.path.basename(os.path.realpath(path))) if path != "-" else "stdin"  # noqa: PTH119 - see _found
    where = path if path == "-" else str(Path(path).absolute())
    if source_name:
        return Origin(sources[source_name], where, name)
    if path == "-" or len(sources) == 1:
        return Origin(settings.sources[0], where, name)
    found = _found(settings, path)
    if found is None:
        raise ConfigError([f"{path}: no source's patterns match it; name one with --source ({', '.join(sources)})"])
    return Origin(found.source, where, name)


def _found(settings: Settings, path: str) -> Found | None:
    real = os.path.realpath(path)  # Path.resolve raises RuntimeError where links lead in a circle
    return next((found for found in scan(settings.sources).files if found.real_path == real), None)


def chunks_of(path: str, standard_input: BinaryIO, *, source: SourceSettings) -> Iterator[Chunk]:
    """A file's lines (plain or compressed, an unterminated last one too), or standard input's for `-`.

    Raises OSError, and Damaged after all that could be read.
    """
    if path == "-":
        yield from chunks_in(standard_input)
        return
    descriptor = open_log(Path(path))
    try:
        lines = lines_of(reader_for(descriptor), source=source, position=0)
        while chunk := lines.patient_chunk():
            yield chunk
        tail = lines.tail_chunk()
        if tail is not None:
            yield tail
    finally:
        os.close(descriptor)


def chunks_in(stream: BinaryIO) -> Iterator[Chunk]:
    """A chunk for each line of a stream."""
    position = 0
    for line in stream:
        yield Chunk(position, position + len(line), line, is_tail=not line.endswith(b"\n"))
        position += len(line)


class _Bytes(msgspec.Struct, frozen=True):
    """A chunk's bytes, to read its first line as a file's is read."""

    data: bytes
    damage: str = ""
    is_complete: bool = True
    is_seekable: bool = True

    def read(self, position: int, size: int) -> bytes:
        return self.data[position : position + size]


def single_lines(chunks: Iterable[Chunk], *, framing: Framing | None, max_line_bytes: int) -> Iterator[Chunk]:
    """A chunk for each line of the application, by its first byte: one line of the file, or all parts of one that a
    runtime has cut.
    """
    if framing is None:
        yield from _file_lines(chunks)
        return
    opened: dict[str, list[Chunk]] = {}
    done: list[Chunk] = []
    for line in _file_lines(chunks):
        part = _part_of(line, framing, max_line_bytes=max_line_bytes)
        if part.is_barrier:
            done += _close(opened, opened)
        parts = [*opened.pop(part.stream, ()), line]
        if part.is_open:
            opened[part.stream] = parts
        else:
            done.append(_joined(parts))
        begun = {stream: waiting[0] for stream, waiting in opened.items()}
        done += _close(opened, overdue(begun, line.end, max_line_bytes=max_line_bytes))
        hold = min((waiting[0].start for waiting in opened.values()), default=line.end)
        yield from sorted((one for one in done if one.start < hold), key=_start)
        done = [one for one in done if one.start >= hold]
    yield from sorted([*done, *_close(opened, opened)], key=_start)


def _part_of(line: Chunk, framing: Framing, *, max_line_bytes: int) -> Part:
    if line.is_cut:  # nothing of it is looked into
        return Part(line.start, line.end, line.data, line.data, f"?{line.start}", "", is_open=False, is_barrier=True)
    text = line.data.removesuffix(b"\n")
    return part_of(text, line.start, line.end, framing=framing, max_line_bytes=max_line_bytes)


def _close(opened: dict[str, list[Chunk]], streams: Iterable[str]) -> list[Chunk]:
    return [_joined(opened.pop(stream)) for stream in list(streams)]


def _file_lines(chunks: Iterable[Chunk]) -> Iterator[Chunk]:
    for chunk in chunks:
        position = chunk.start
        for line in io.BytesIO(chunk.data):
            end = position + len(line)
            yield Chunk(position, end, line, is_cut=chunk.is_cut, is_tail=chunk.is_tail)
            position = end


def _start(chunk: Chunk) -> int:
    return chunk.start


def _joined(parts: list[Chunk]) -> Chunk:
    return Chunk(parts[0].start, parts[-1].end, b"".join(part.data for part in parts), is_tail=parts[-1].is_tail)


class Explainer:
    """Explains the lines of one origin, in order (a line without a time inherits the one before it)."""

    def __init__(
        self,
        *,
        settings: Settings,
        rules: list[Rule],
        origin: Origin,
        clock: Callable[[], float] = time.time,
        observe: Callable[[Batch], None] = lambda _: None,
    ) -> None:
        """`observe` gets each line that feeds the rules, with the columns that they need."""
        self._origin = origin
        self._clock = clock
        self._observe = observe
        self._settings = settings
        self._rules = [rule for rule in rules if not rule.sources or origin.source.name in rule.sources]
        self._moments = Moments([origin.source])
        self._functions = functions_of(settings)
        chosen = settings.output.elasticsearch or settings.output.local
        self._enricher = Enricher(
            source=origin.source,
            tags=settings.tags,
            drop=settings.drop,
            host=host_name(settings),
            index=IndexPattern(chosen.index if chosen is not None else DEFAULT_INDEX),
            frame=_FRAME,
            functions=self._functions,
            clock=clock,
        )
        self._fields = self._enricher.fields | fields_of(self._rules, event_times=self._moments)
        self._redactor = redactor(settings)
        self._parser = Parser(
            line_format=origin.source.format,
            fields=self._fields,
            max_line_bytes=origin.source.max_line_bytes,
            redact=self._redactor.redact,
        )
        self._identity = ""
        self._last_time = ""

    def explain(self, chunks: Iterable[Chunk]) -> Iterator[dict[str, Any]]:
        """What becomes of each line, as plain data; nothing follows the chunks."""
        source = self._origin.source
        framing = FRAMINGS.get(source.format)
        for line in single_lines(chunks, framing=framing, max_line_bytes=source.max_line_bytes):
            if not self._identity:
                first = first_line(_Bytes(line.data), is_final=True)
                if first is None:
                    continue
                self._identity = identity_of(
                    scope=self._settings.identity_scope,
                    stem_name=self._origin.stem,
                    first_line=self._redactor.identity_line(first),
                )
            yield from self._explain_one(line)

    def _explain_one(self, chunk: Chunk) -> Iterator[dict[str, Any]]:
        batch = self._parser.parse(
            chunk,
            source=self._origin.source.name,
            path=self._origin.path,
            identity=self._identity,
            content=None,
            is_final=True,
        )
        if batch is None or not batch.count:
            return
        enriched = self._enricher.enrich(batch, last_time=self._last_time, done=lambda _: None)
        self._last_time = enriched.last_time
        documents = enriched.documents
        result: dict[str, Any] = {
            "source": batch.source,
            "offset": batch.offsets[0],
            "line": batch.lines[0].decode("utf-8", "replace"),
            "problems": [problem.reason for problem in batch.problems.get(0, ())],
            "time": enriched.last_time or None,
            "tags": self._tags(batch.columns),
            "redacted": dict(batch.redactions),
        }
        if not self._origin.source.ship:
            result |= {"outcome": "not shipped", "reason": "ship: false"}
        elif documents.dead_letters:
            letter = documents.dead_letters[0]
            result |= {"outcome": "set aside", "reason": letter.reason, "id": letter.id, "index": letter.index}
        elif enriched.dropped:
            result |= {"outcome": "dropped", "reason": self._drop_reason(batch.columns)}
        else:
            result |= {"outcome": "shipped", **json.loads(documents.body)}
        if self._origin.source.metrics:
            self._observe(batch)
            found = effects_of(self._rules, batch, event_times=self._moments, clock=self._clock)
            result["series"] = dict(found.effects)
            result["rule_errors"] = dict(found.errors)
            result["rule_error_fields"] = {
                rule: _present(fields_behind(self._rules, rule, batch)) for rule in result["rule_errors"]
            }
        else:
            result |= {"series": {}, "rule_errors": {}, "rule_error_fields": {}}
        yield result

    def _tags(self, columns: Any) -> dict[str, str]:
        """The tags that apply, each with its expression."""
        return {name: text for name, text in self._settings.tags.items() if self._is_true(text, columns)}

    def _drop_reason(self, columns: Any) -> str:
        return next((rule.when for rule in self._settings.drop if self._is_true(rule.when, columns)), "")

    def _is_true(self, text: str, columns: Any) -> bool:
        return len(compile_predicate(text, functions=self._functions)(columns, 1)) > 0


def _present(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields as JSON has them: null where there is none."""
    return {name: value if has_value(value) else None for name, value in fields.items()}


def _fields_text(fields: dict[str, Any]) -> str:
    """What stands in the fields that a rule could not count."""
    texts = []
    for name, value in fields.items():
        text = json.dumps(value, ensure_ascii=False)
        is_long = len(text) > MOST_SHOWN
        texts.append(f"{name} is {text[:MOST_SHOWN]}{'…' if is_long else ''}" if value is not None else f"no {name}")
    return f" ({', '.join(texts)})" if texts else ""


def as_explanation(explanation: dict[str, Any]) -> str:
    """One line's explanation for people."""
    found = dict(explanation)
    rows = [("line", found["line"]), ("source", f"{found['source']}, offset {found['offset']}")]
    if found["problems"]:
        rows.append(("problem", ", ".join(found["problems"])))
    rows.append(("time", found["time"] or "none: it goes to the index of undated lines"))
    rows += [("tag", f"{name}: {text}") for name, text in found["tags"].items()]
    reason = f" ({found['reason']})" if "reason" in found else ""
    rows += [("redacted", f"{count} by {rule}") for rule, count in found["redacted"].items()]
    rows.append(("outcome", found["outcome"] + reason))
    rows += [(name, found[name]) for name in ("index", "id") if name in found]
    if "document" in found:
        text = json.dumps(found["document"], indent=2, ensure_ascii=False)
        rows.append(("document", text.replace("\n", "\n" + " " * 10)))
    rows += [("metric", f"{series} {does}") for series, does in found["series"].items()] or [("metric", "none")]
    for rule, reason in found["rule_errors"].items():
        rows.append(("not by", f"{rule}: {reason}{_fields_text(found['rule_error_fields'][rule])}"))
    text = "".join(f"{name:<10}{value}\n" for name, value in rows)
    return "".join(f"{printable(line)}\n" for line in text.split("\n")[:-1])
