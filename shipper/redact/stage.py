"""The stage between parse and all others: replaces the lines of a batch that must not go on as they are.

The usual batch has none, which one look at its bytes tells. Where a line is changed, so are its columns, its raw line
and its checksum, so that no label, tag, id or dead letter is made of what was taken out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import Any, Final

import msgspec

from shipper.batch import MISSING, Batch
from shipper.blake2 import blake2b
from shipper.columns import DECODE_ERRORS, Fields, Row
from shipper.errors import ConfigError
from shipper.identity import checksum
from shipper.redact.key import read_key
from shipper.redact.rules import Rules
from shipper.redact.text import Redaction
from shipper.settings import RedactAction, RedactSettings, Settings

ID_KEY_BYTES: Final = 64
_ENCODING_FAILURE: Final = "encoding_failure"
_raws = msgspec.json.Decoder(dict[str, msgspec.Raw])


def redactor(settings: Settings) -> Redactor:
    """The redactor of a configuration. Raises ConfigError if its key cannot be read or is none."""
    return Redactor(settings=settings.redact, key=read_key(settings.identity_key_file))


class Redactor:
    """Redacts by one configuration. Has no state between calls but what it remembers of keys; for one thread."""

    def __init__(self, *, settings: RedactSettings, key: bytes = b"") -> None:
        """`key` is what `identity_key_file` holds, b"" if there is none. Raises ConfigError."""
        if not key and RedactAction.HASH in settings.fields.values():
            raise ConfigError(["redact.fields: `hash` needs identity_key_file"])
        self._rules = Rules(settings, key=key)
        self._id_key = blake2b(key, digest_size=ID_KEY_BYTES, person=b"shipper-id-key").digest() if key else b""
        self.rules = self._rules.names
        """What `batch.redactions` may name."""

    def redact(self, batch: Batch, *, fields: Fields, joined: bytes = b"") -> None:
        """Redacts `batch` in place. `fields` made its columns; `joined`: its lines as one, if they are at hand."""
        if self._rules.is_off or not batch.lines:
            return
        data = joined or b"\n".join(batch.lines)
        if self._rules.is_clean(data):
            return
        starts = list(accumulate((len(line) + 1 for line in batch.lines[:-1]), initial=0))
        counts: Counter[str] = Counter()
        changed = []
        for i in self._rules.suspects(data, starts):
            found: list[Redaction] = []
            redacted = self._rules.redact_line(batch.lines[i], found)
            if redacted != batch.lines[i]:
                batch.lines[i] = redacted
                counts.update(rule for rule, _ in found)
                changed.append(i)
        if changed:
            batch.redactions = dict(counts)
            self._follow(batch, changed, fields)

    def _follow(self, batch: Batch, changed: Sequence[int], fields: Fields) -> None:
        """Makes all that is derived from the changed lines anew."""
        for i in changed:
            line = batch.lines[i]
            batch.checksums[i] = self._checksum(line)
            if batch.raw_lines is not None:
                batch.raw_lines[i] = line
            if not line[1:-1].strip():  # an object that has become empty
                batch.problems.setdefault(i, [])
        objects = [i for i in changed if not _is_text(batch, i)]
        if not objects:
            return
        columns = fields.columns([_row(fields, batch.lines[i]) for i in objects])
        for name, values in columns.items():
            if name in batch.columns.absent and values.count(MISSING) == len(values):
                continue
            column = list(batch.columns[name])
            for i, value in zip(objects, values, strict=True):
                column[i] = value
            batch.columns[name] = column

    def _checksum(self, line: bytes) -> int:
        if not self._id_key:
            return checksum(line)
        return int.from_bytes(blake2b(line, digest_size=4, key=self._id_key).digest(), "big")

    def redact_line(self, line: bytes) -> bytes:
        """One line redacted, whatever it is; the same bytes if there was nothing to do."""
        return self._rules.redact_line(line, [])

    def identity_line(self, line: bytes) -> bytes:
        """What of a file's first line its identity is made of: the line, or if it has something to redact, what is left
        of it (keyed, if there is a key).
        """
        redacted = self.redact_line(line)
        if redacted == line or not self._id_key:
            return redacted
        return blake2b(redacted, key=self._id_key).digest()

    def explain(self, line: bytes) -> list[Redaction]:
        """What is redacted in a line: by which rule, and in which field ('' in a line that is no JSON)."""
        found: list[Redaction] = []
        self._rules.redact_line(line, found)
        return found


def _is_text(batch: Batch, i: int) -> bool:
    """Whether a line is no JSON object, so that it has no fields."""
    return any(problem.tag != _ENCODING_FAILURE for problem in batch.problems.get(i, ()))


def _row(fields: Fields, line: bytes) -> Row:
    try:
        return fields.layout.decode(line)
    except DECODE_ERRORS:  # a number that no double can hold: the other fields are good
        return fields.layout.row_of({name: _value(raw) for name, raw in _raws.decode(line).items()})


def _value(raw: msgspec.Raw) -> Any:
    try:
        return msgspec.json.decode(raw)
    except DECODE_ERRORS:
        return MISSING
