"""What becomes of a line, and why: source, time, tags, drop, document, id, and the series that it would change.

Runs the real stages on one line after another, without state or output.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from exporter.effects import effects_of
from exporter.rule import Rule
from exporter.series import fields_of
from shipper.batch import Batch, Frame
from shipper.discover import Found, scan
from shipper.engine import host_name
from shipper.enrich import Enricher
from shipper.errors import ConfigError
from shipper.escaping import printable
from shipper.expressions import compile_predicate
from shipper.identity import identity_of, stem
from shipper.moments import Moments
from shipper.parse import Parser
from shipper.redact.stage import redactor
from shipper.routing import functions_of
from shipper.settings import DEFAULT_INDEX, Settings, SourceSettings
from shipper.tail import Chunk, LineReader, first_line, open_log, reader_for
from shipper.times import IndexPattern

_FRAME = Frame(b'{"index":"', b'","id":"', b'","document":', b"}\n")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the lines come from."""

    source: SourceSettings
    path: str
    stem: str


def origin_of(settings: Settings, path: str, *, source_name: str) -> Origin:
    """The source that a file belongs to, by the patterns or by `source_name`. Raises ConfigError if none takes it."""
    sources = {source.name: source for source in settings.sources}
    if source_name and source_name not in sources:
        raise ConfigError([f"--source: there is no source {source_name!r}; there are {', '.join(sources)}"])
    name = stem(Path(path).resolve().name) if path != "-" else "stdin"
    if source_name:
        return Origin(sources[source_name], path, name)
    if path == "-" or len(sources) == 1:
        return Origin(settings.sources[0], path, name)
    found = _found(settings, path)
    if found is None:
        raise ConfigError([f"{path}: no source's patterns match it; name one with --source ({', '.join(sources)})"])
    return Origin(found.source, path, name)


def _found(settings: Settings, path: str) -> Found | None:
    real = str(Path(path).resolve())
    return next((found for found in scan(settings.sources).files if found.real_path == real), None)


def chunks_of(path: str, standard_input: BinaryIO) -> Iterator[Chunk]:
    """A file's lines (plain or compressed, an unterminated last one too), or standard input's for `-`.

    Raises OSError.
    """
    if path == "-":
        yield from _input_chunks(standard_input)
        return
    descriptor = open_log(Path(path))
    try:
        lines = LineReader(reader_for(descriptor), position=0, max_line_bytes=1 << 20)
        while chunk := lines.next_chunk():
            yield chunk
        tail = lines.tail_chunk()
        if tail is not None:
            yield tail
    finally:
        os.close(descriptor)


def _input_chunks(stream: BinaryIO) -> Iterator[Chunk]:
    position = 0
    for line in stream:
        yield Chunk(position, position + len(line), line, is_tail=not line.endswith(b"\n"))
        position += len(line)


@dataclass(frozen=True, slots=True)
class _Bytes:
    """A chunk's bytes, to read its first line as a file's is read."""

    data: bytes
    damage: str = ""
    is_complete: bool = True
    is_seekable: bool = True

    def read(self, position: int, size: int) -> bytes:
        return self.data[position : position + size]


class Explainer:
    """Explains the lines of one origin, in order (a line without a time inherits the one before it)."""

    def __init__(self, *, settings: Settings, rules: list[Rule], origin: Origin) -> None:
        self._origin = origin
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
        self._open = b""
        """Parts of a container's line of which more is to come."""
        self._position = 0

    def explain(self, chunks: Iterable[Chunk]) -> Iterator[dict[str, Any]]:
        """What becomes of each line, as plain data."""
        for chunk in chunks:
            yield from self._explain_chunk(chunk)
        yield from self._rest()

    def _explain_chunk(self, chunk: Chunk) -> Iterator[dict[str, Any]]:
        """Of a chunk's lines; parts of a container's line wait for what follows."""
        if not self._identity:
            first = first_line(_Bytes(chunk.data), is_final=True)
            if first is None:
                return
            self._identity = identity_of(
                scope=self._settings.identity_scope,
                stem_name=self._origin.stem,
                first_line=self._redactor.identity_line(first),
            )
        if chunk.is_cut:
            yield from self._rest()
        self._position = chunk.start
        for line in io.BytesIO(chunk.data):
            start, data = self._position - len(self._open), self._open + line
            self._position += len(line)
            piece = Chunk(start, self._position, data, is_cut=chunk.is_cut, is_tail=chunk.is_tail)
            yield from self._explain_lines(piece, is_final=False)

    def _rest(self) -> Iterator[dict[str, Any]]:
        """Of parts that wait, behind which nothing comes."""
        if self._open:
            piece = Chunk(self._position - len(self._open), self._position, self._open)
            yield from self._explain_lines(piece, is_final=True)

    def _explain_lines(self, piece: Chunk, *, is_final: bool) -> Iterator[dict[str, Any]]:
        """Of one line, or of several that were written at the same time into two streams of a container."""
        batch = self._parser.parse(
            piece,
            source=self._origin.source.name,
            path=self._origin.path,
            identity=self._identity,
            content=None,
            is_final=is_final,
        )
        end = piece.start if batch is None else batch.end
        self._open = piece.data[end - piece.start :] if end < piece.end and not piece.is_cut else b""
        if batch is not None:
            for number in range(batch.count):
                yield self._explain_one(_only(batch, number))

    def _explain_one(self, batch: Batch) -> dict[str, Any]:
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
        if documents.dead_letters:
            letter = documents.dead_letters[0]
            result |= {"outcome": "set aside", "reason": letter.reason, "id": letter.id, "index": letter.index}
        elif enriched.dropped:
            result |= {"outcome": "dropped", "reason": self._drop_reason(batch.columns)}
        else:
            result |= {"outcome": "shipped", **json.loads(documents.body)}
        if self._origin.source.metrics:
            found = effects_of(self._rules, batch, event_times=self._moments)
            result["series"] = dict(found.effects)
            result["rule_errors"] = dict(found.errors)
        else:
            result |= {"series": {}, "rule_errors": {}}
        return result

    def _tags(self, columns: Any) -> dict[str, str]:
        """The tags that apply, each with its expression."""
        return {name: text for name, text in self._settings.tags.items() if self._is_true(text, columns)}

    def _drop_reason(self, columns: Any) -> str:
        return next((rule.when for rule in self._settings.drop if self._is_true(rule.when, columns)), "")

    def _is_true(self, text: str, columns: Any) -> bool:
        return len(compile_predicate(text, functions=self._functions)(columns, 1)) > 0


def _only(batch: Batch, number: int) -> Batch:
    """One line of a batch."""
    if batch.count == 1:
        return batch

    def pick(values: Sequence[Any] | None) -> list[Any] | None:
        return None if values is None else [values[number]]

    return replace(
        batch,
        lines=[batch.lines[number]],
        offsets=[batch.offsets[number]],
        columns={name: [column[number]] for name, column in batch.columns.items()},
        problems={0: batch.problems[number]} if number in batch.problems else {},
        raw_lines=pick(batch.raw_lines),
        runtime_times=pick(batch.runtime_times),
        checksums={0: batch.checksums[number]} if number in batch.checksums else {},
    )


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
    rows += [("not by", f"{rule}: {reason}") for rule, reason in found["rule_errors"].items()]
    text = "".join(f"{name:<10}{value}\n" for name, value in rows)
    return "".join(f"{printable(line)}\n" for line in text.split("\n")[:-1])
