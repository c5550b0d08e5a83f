"""The dead-letter files: what stands in them, what a crash or a full disk leaves behind."""

import json
import os
import stat
from pathlib import Path

import pytest
from disks import files_at_most

from shipper.batch import DeadLetter
from shipper.deadletter import DeadLetterWriter

NOW = 1_705_314_645.123  # 2024-01-15T10:30:45.123Z


def _writer(directory: Path, *, now: float = NOW) -> DeadLetterWriter:
    return DeadLetterWriter(directory=directory, clock=lambda: now)


def _record(number: int = 0, *, reason: str = "mapper_parsing_exception", line: bytes = b'{"a":1}') -> DeadLetter:
    return DeadLetter(
        id=f"id-{number}",
        index="logs-2024.01.15",
        source="app",
        file="/var/log/app.log",
        offset=7,
        reason=reason,
        line=line,
        server="failed to parse",
    )


def _read(directory: Path) -> list[dict[str, object]]:
    return [json.loads(line) for path in sorted(directory.glob("*.ndjson")) for line in path.read_bytes().splitlines()]


def test_a_record_has_all_that_a_retry_needs(tmp_path: Path) -> None:
    """The fields of the contract, in a file of the day, for the owner only."""
    directory = tmp_path / "state" / "dead-letter"
    _writer(directory).write([_record()])
    path = directory / "2024-01-15.ndjson"
    assert json.loads(path.read_text()) == {
        "_id": "id-0",
        "_index": "logs-2024.01.15",
        "source": "app",
        "file": "/var/log/app.log",
        "offset": 7,
        "reason": "mapper_parsing_exception",
        "server": "failed to parse",
        "time": "2024-01-15T10:30:45.123Z",
        "line": '{"a":1}',
    }
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert 0o700 == stat.S_IMODE(directory.stat().st_mode)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    """Invalid UTF-8 becomes U+FFFD and is flagged; newlines and file names of any bytes do not break the file. What the
    line does not tell itself stands beside it.
    """
    record = _record(line=b'{"a":"\xff\n"}')
    record.file = os.fsdecode(b"/var/log/\xff\n.log")
    record.reduced = True
    record.timestamp = "2024-01-15T10:30:45.123Z"
    _writer(tmp_path).write([record])
    [found] = _read(tmp_path)
    assert ('{"a":"�\n"}', "/var/log/�\n.log", True, True, "2024-01-15T10:30:45.123Z") == (
        found["line"],
        found["file"],
        found["encoding_failure"],
        found["reduced"],
        found["timestamp"],
    )


def test_they_are_appended(tmp_path: Path) -> None:
    """Each write adds to the file."""
    writer = DeadLetterWriter(directory=tmp_path, clock=lambda: NOW)
    writer.write([_record(0), _record(1, reason="time_in_future")])
    writer.write([])
    writer.write([_record(2)])
    assert ["id-0", "id-1", "id-2"] == [record["_id"] for record in _read(tmp_path)]


def test_a_half_written_record_is_ended(tmp_path: Path) -> None:
    """What a crash left half-written stays a line of its own; the next record is whole."""
    (tmp_path / "2024-01-15.ndjson").write_bytes(b'{"_id":"id-0","rea')
    _writer(tmp_path).write([_record(1)])
    first, second, end = (tmp_path / "2024-01-15.ndjson").read_bytes().split(b"\n")
    assert (b'{"_id":"id-0","rea', b"") == (first, end)
    assert json.loads(second)["_id"] == "id-1"


def test_a_restart_does_not_write_a_record_twice(tmp_path: Path) -> None:
    """The same id and reason after a crash, also across midnight, is there once; another reason is another record."""
    _writer(tmp_path).write([_record(0), _record(1)])
    later = _writer(tmp_path, now=NOW + 86_400)
    later.write([_record(0), _record(0, reason="other"), _record(2)])
    assert ["id-0", "id-1", "id-0", "id-2"] == [record["_id"] for record in _read(tmp_path)]


def test_a_reduced_document_that_is_there_now_is_said_beside_what_was_said_before(tmp_path: Path) -> None:
    """Else a retry would create what is there, and leave the reduced document where the whole one belongs."""
    _writer(tmp_path).write([_record(1)])
    later = _record(1)
    later.reduced = True
    _writer(tmp_path).write([later])
    assert [False, True] == [record.get("reduced", False) for record in _read(tmp_path)]


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What could only be written in part is taken back and raised, said once; after that it goes on, and says so."""
    caplog.set_level("INFO")
    writer = _writer(tmp_path)
    writer.write([_record(0)])
    for _ in range(3):
        with pytest.raises(OSError, match="File too large"), files_at_most(4000):
            writer.write([_record(1), _record(2, line=b"x" * 5000)])
    assert ["id-0"] == [record["_id"] for record in _read(tmp_path)]
    writer.write([_record(3)])
    assert ["id-0", "id-3"] == [record["_id"] for record in _read(tmp_path)]
    assert ["ERROR", "INFO"] == [record.levelname for record in caplog.records]
    assert "mapper" not in caplog.text
