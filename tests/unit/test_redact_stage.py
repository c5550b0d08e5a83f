"""The stage: batches, first lines, ids, keys."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from shipper.batch import MISSING, Batch, Problem
from shipper.columns import Fields
from shipper.errors import ConfigError
from shipper.identity import checksum
from shipper.redact.key import read_key
from shipper.redact.rules import Rules, relaxed
from shipper.redact.stage import Redactor, redactor
from shipper.settings import RedactAction, RedactSettings, Settings

KEY = b"0123456789abcdef"
FIELDS = Fields(["token", "user.name", "url", "n"])


def batch_of(lines: Sequence[bytes], **more: object) -> Batch:
    batch = Batch("a", "/a.log", "id", 0, 0, list(lines), range(len(lines)), **more)  # type: ignore[arg-type]
    rows = [
        FIELDS.layout.nothing if i in batch.problems else FIELDS.layout.decode(line) for i, line in enumerate(lines)
    ]
    batch.columns = FIELDS.columns(rows)
    return batch


def test_a_clean_batch_is_not_touched() -> None:
    """Its lines and columns are the very same afterwards, and nothing is counted."""
    batch = batch_of([b'{"n":1,"url":"/a"}', b'{"n":2}'])
    lines, columns = list(batch.lines), dict(batch.columns)
    Redactor(settings=RedactSettings()).redact(batch, fields=FIELDS)
    assert all(before is after for before, after in zip(lines, batch.lines, strict=True))
    assert all(columns[name] is batch.columns[name] for name in columns)
    assert ({}, {}) == (batch.redactions, batch.checksums)


def test_a_changed_line_is_changed_everywhere() -> None:
    """Line, columns, raw line, checksum and count follow; the other lines keep theirs."""
    lines = [b'{"n":1,"token":"t0"}', b'{"n":2,"url":"/x?token=t1","user":{"name":"bob"}}', b'{"n":3,"url":"/y"}']
    batch = batch_of(lines, raw_lines=[b"raw0", b"raw1", b"raw2"])
    Redactor(settings=RedactSettings(fields={"user.name": RedactAction.DROP})).redact(batch, fields=FIELDS)
    assert [b'{"n":1,"token":"***"}', b'{"n":2,"url":"/x?token=***","user":{}}', lines[2]] == batch.lines
    assert [*batch.lines[:2], b"raw2"] == batch.raw_lines
    assert ["***", MISSING, MISSING] == list(batch.columns["token"])
    assert [MISSING, "/x?token=***", "/y"] == list(batch.columns["url"])
    assert [MISSING] * 3 == list(batch.columns["user.name"])
    assert [1, 2, 3] == list(batch.columns["n"])
    assert {0: checksum(batch.lines[0]), 1: checksum(batch.lines[1])} == batch.checksums
    assert {"credentials.name": 2, "fields.user.name": 1} == batch.redactions


def test_lines_that_are_no_objects() -> None:
    """Their text is redacted; they have no columns."""
    problem = [Problem("parse_failure", "not_json")]
    batch = batch_of([b"login token=abc", b'{"n":1}'], problems={0: problem})
    Redactor(settings=RedactSettings()).redact(batch, fields=FIELDS)
    assert [b"login token=***", b'{"n":1}'] == batch.lines
    assert {0: problem} == batch.problems
    assert [MISSING, 1] == list(batch.columns["n"])


def test_an_object_that_has_become_empty() -> None:
    """It is marked like one that was empty from the beginning: nothing can be spliced in after a comma."""
    batch = batch_of([b'{"n":1}', b'{"url":"/"}'])
    Redactor(settings=RedactSettings(allow_only=("url",))).redact(batch, fields=FIELDS)
    assert [b"{}", b'{"url":"/"}'] == batch.lines
    assert {0: []} == batch.problems
    assert [MISSING, MISSING] == list(batch.columns["n"])


def test_numbers_that_no_double_can_hold() -> None:
    """The fields beside such a number keep their values."""
    batch = batch_of([b'{"n":1,"token":"x"}'])
    batch.lines[0] = b'{"n":1e999,"url":"/","token":"x"}'
    Redactor(settings=RedactSettings()).redact(batch, fields=FIELDS)
    assert [b'{"n":1e999,"url":"/","token":"***"}'] == batch.lines
    assert (["***"], ["/"], [MISSING]) == tuple(list(batch.columns[name]) for name in ("token", "url", "n"))


def test_the_last_line_and_lines_after_hits_are_found() -> None:
    """Each line of a batch is looked at, whatever stands before it."""
    lines = [
        b'{"n":0}',
        b'{"token":"a"}',
        b"ghp_0123456789abcdefghij",
        b"ghp_0123456789abcdefghij",
        b'{"n":1}',
        b"pwd=b",
    ]
    problems = {i: [Problem("parse_failure", "not_json")] for i in (2, 3, 5)}
    batch = batch_of(lines, problems=problems)
    Redactor(settings=RedactSettings()).redact(batch, fields=FIELDS)
    assert [lines[0], b'{"token":"***"}', b"***", b"***", lines[4], b"pwd=***"] == batch.lines


def test_ids_with_a_key() -> None:
    """With a key the checksum of a redacted line depends on it; without one, on the redacted text alone."""
    sums = []
    for key in (b"", KEY, KEY, b"another key of 16"):
        for secret in (b"x", b"y"):
            batch = batch_of([b'{"token":"%b"}' % secret])
            Redactor(settings=RedactSettings(), key=key).redact(batch, fields=FIELDS)
            sums.append(batch.checksums[0])
    assert sums[::2] == sums[1::2]  # nothing of the secret is in them
    assert checksum(b'{"token":"***"}') == sums[0]
    assert 3 == len(set(sums))
    assert all(0 <= value < 1 << 32 for value in sums)


def test_first_lines() -> None:
    """A file's identity is made of the first line as it is, or of what redaction leaves, keyed if there is a key."""
    clean, secret, other = b'\xff{"n":1}', b'{"token":"x"}', b'{"token":"y"}'
    plain, keyed = Redactor(settings=RedactSettings()), Redactor(settings=RedactSettings(), key=KEY)
    assert clean == plain.identity_line(clean) == keyed.identity_line(clean)
    assert b'{"token":"***"}' == plain.identity_line(secret) == plain.redact_line(secret)
    assert keyed.identity_line(secret) == keyed.identity_line(other)
    assert keyed.identity_line(secret) not in (secret, plain.identity_line(secret))


def test_lines_that_are_not_utf_8() -> None:
    """What is left of one is readable; a byte order mark is no reason to overlook its fields."""
    found = Redactor(settings=RedactSettings())
    assert '{"a":"\ufffd","token":"***"}'.encode() == found.redact_line(b'{"a":"\xff","token":"x"}')
    assert b'{"token":"***"}' == found.redact_line(b'\xef\xbb\xbf{"token":"x"}')
    assert b'\xef\xbb\xbf{"n":1}' == found.redact_line(b'\xef\xbb\xbf{"n":1}')


def test_explaining() -> None:
    """It says rules and places, nothing for a clean line."""
    found = Redactor(settings=RedactSettings())
    assert [("credentials.name", "a.token")] == found.explain(b'{"a":{"token":"x"}}')
    assert [("credentials.bearer", "")] == found.explain(b"with Bearer abc123")
    assert [] == found.explain(b'{"n":1}')


def test_off() -> None:
    """Without packs and rules nothing is done."""
    batch = batch_of([b'{"token":"x"}'])
    found = Redactor(settings=RedactSettings(packs=()))
    found.redact(batch, fields=FIELDS)
    assert ([b'{"token":"x"}'], ()) == (batch.lines, found.rules)


def test_the_key_file(tmp_path: Path) -> None:
    """It is read without white space around; what is missing or too short is told with its name, never its text."""
    file = tmp_path / "key"
    file.write_bytes(b"  " + KEY + b"\n")
    assert KEY == read_key(str(file))
    assert b"" == read_key("")
    settings = Settings(sources=(), identity_key_file=str(file), redact=RedactSettings(fields={"x": RedactAction.HASH}))
    assert redactor(settings).redact_line(b'{"x":1}') != b'{"x":1}'
    file.write_bytes(b"short-secret")
    with pytest.raises(ConfigError, match=r"identity_key_file: .*key' holds 12 bytes; 16 are needed") as raised:
        read_key(str(file))
    assert "short-secret" not in str(raised.value)
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_key(str(tmp_path / "none"))


def test_hashing_needs_a_key() -> None:
    """A hash without a key could be guessed, so it is refused."""
    with pytest.raises(ConfigError, match=r"hash.*needs identity_key_file"):
        Redactor(settings=RedactSettings(fields={"x": RedactAction.HASH}))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("W-1", "W-1"), (r"\bW\b", "(?:)W(?:)"), ("^a$", "(?:)a(?:)"), (r"[$^]\$\^", r"[$^]\$\^"),
        (r"[^]$]x", r"[^]$]x"),
        (r"(?i)a", r"(?i)a"), (r"(?i:^a)", "(?i:(?:)a)"), (r"\Aa\z|b", "(?:)a(?:)|b"), (r"\Q^\E", None),
        ("(?P<n>a)", "(?P<n>a)"),
        (r"[[:alpha:]$]", r"[[:alpha:]$]"), (r"[\]$]", r"[\]$]"),
    ],
)  # fmt: skip
def test_expressions_without_what_stands_around(expression: str, expected: str | None) -> None:
    """Assertions go, brackets and escapes are left; None where it cannot be told."""
    assert expected == relaxed(expression)


def test_own_patterns_stay_in_their_line() -> None:
    """A match that could go over the ends of lines hides no line before it."""
    rules = Rules(RedactSettings(packs=(), patterns={"far": "a[^x]*b"}), key=b"")
    assert [0, 2] == list(rules.suspects(b"a b\nno\na b", [0, 4, 7]))
