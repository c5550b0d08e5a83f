"""Dead letters: what list and show read, what a retry rebuilds and moves, and what an error or a crash leaves."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shipper.batch import DeadLetter
from shipper.carrier import Fate, Rebuilt, Verdict
from shipper.deadletter import DeadLetterWriter, locked
from shipper.errors import InUseError, OutputError, StateError
from shipper.lettercounts import LetterCounts
from shipper.letters import Letter, Wanted, as_text, count_of, counted, letters_in
from shipper.local.resend import DirectoryCarrier
from shipper.resend import Outcome, Rebuilder, Retry
from shipper.rewriting import Rewriting, check_owner, one_retry
from shipper.settings import DropSettings, LocalSettings, Settings, SourceSettings

NOW = 1_705_314_645.123  # 2024-01-15T10:30:45.123Z
TODAY = "2024-01-15.ndjson"
LINE = '{"timestamp":"2024-01-15T10:30:45.123Z","duration":2500}'


def writer(directory: Path) -> DeadLetterWriter:
    return DeadLetterWriter(directory=directory, clock=lambda: NOW)


def record(number: int = 0, *, line: str = LINE, **changes: Any) -> DeadLetter:
    values: dict[str, Any] = {
        "id": f"0123456789ab-{number:010d}-00000000",
        "index": "logs-2024.01.15",
        "source": "app",
        "file": "/var/log/app.log",
        "offset": number,
        "reason": "document_parsing_exception",
        "line": line.encode(),
        "server": "failed to parse field [duration]",
        **changes,
    }
    return DeadLetter(**values)


def letter(number: int = 0, **changes: Any) -> Letter:
    """A record as it is read."""
    values: dict[str, Any] = {
        "id": f"0123456789ab-{number:010d}-00000000",
        "index": "logs-2024.01.15",
        "source": "app",
        "file": "/var/log/app.log",
        "offset": number,
        "reason": "x",
        "time": "2024-01-15T10:30:45.123Z",
        "line": LINE,
        **changes,
    }
    return Letter(**values)


def settings(**changes: Any) -> Settings:
    source = SourceSettings(name="app", paths=("x",), **changes.pop("source", {}))
    return Settings(sources=(source,), state="s", host="here", **changes)


def rebuilder(*, is_forced: bool = False, now: float = NOW, **changes: Any) -> Rebuilder:
    return Rebuilder(settings=settings(**changes), is_forced=is_forced, clock=lambda: now)


def rebuilt(found: Letter, inherited: str = "", **options: Any) -> Any:
    """The document of a record, or its fate."""
    one = rebuilder(**options).rebuild(found, time_of=lambda _: inherited)
    return json.loads(one.document) if isinstance(one, Rebuilt) else one.fate


class Carrier:
    """An output that accepts what `judge` says."""

    def __init__(self, judge: Callable[[Rebuilt], Verdict] = lambda _: Verdict(Fate.CREATED)) -> None:
        self.judge = judge
        self.delivered: list[Rebuilt] = []

    def deliver(self, documents: Sequence[Rebuilt]) -> list[Verdict]:
        self.delivered += documents
        return [self.judge(document) for document in documents]

    def time_of(self, letter: Letter) -> str:
        return ""


def retry(directory: Path, carrier: Carrier, wanted: Wanted | None = None, **options: Any) -> Outcome:
    return Retry(
        directory=directory,
        wanted=wanted or Wanted(),
        rebuilder=rebuilder(**options),
        carrier=carrier,
        clock=lambda: NOW + 86_400,
    ).run()


def standing(directory: Path) -> list[dict[str, Any]]:
    """The records that stand."""
    return [json.loads(text) for path in sorted(directory.glob("2*.ndjson")) for text in path.read_text().splitlines()]


def retried(directory: Path) -> list[dict[str, Any]]:
    """The records that were taken out."""
    paths = sorted(directory.glob("retried-*.ndjson"))
    return [json.loads(text) for path in paths for text in path.read_text().splitlines()]


# Reading


def test_counts_by_reason_index_source_and_file(tmp_path: Path) -> None:
    """For programs and for people; half a record that a crash left is no record."""
    writer(tmp_path).write(
        [
            record(1),
            record(2, reason="time_in_future", index="logs-2030.01.01"),
            record(3, reduced=True, source="other"),
        ]
    )
    with (tmp_path / TODAY).open("ab") as file:
        file.write(b'{"_id":"half')
    (tmp_path / f"retried-{TODAY}").write_bytes((tmp_path / TODAY).read_bytes())

    counts = counted(tmp_path, Wanted())

    data = counts.as_data()
    assert (data["records"], data["reduced"], data["unreadable"]) == (3, 1, 1)
    assert data["by_reason"] == {"document_parsing_exception": 2, "time_in_future": 1}
    assert data["by_index"] == {"logs-2024.01.15": 2, "logs-2030.01.01": 1}
    assert data["by_source"] == {"app": 2, "other": 1}
    assert [(Path(one["path"]).name, one["records"]) for one in data["files"]] == [(TODAY, 3)]
    text = counts.as_text()
    assert "3 dead letters" in text
    assert "logs-2030.01.01" in text
    assert TODAY in text


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(), [1, 2, 3]),
        (Wanted(reason="time_in_future"), [2]),
        (Wanted(index="logs-2024.01.15"), [1, 3]),
        (Wanted(source="other"), [3]),
        (Wanted(id="0123456789ab-0000000001-00000000"), [1]),
        (Wanted(reason="time_in_future", source="other"), []),
    ],
)
def test_records_are_selected(tmp_path: Path, wanted: Wanted, expected: list[int]) -> None:
    """By reason, index, source and id, and by all that is given together."""
    writer(tmp_path).write(
        [
            record(1),
            record(2, reason="time_in_future", index="logs-2030.01.01"),
            record(3, source="other"),
        ]
    )

    assert expected == [one.offset for one in letters_in(tmp_path, wanted)]
    assert len(expected) == counted(tmp_path, wanted).records


def test_nothing_there_is_no_error(tmp_path: Path) -> None:
    """A daemon that has set nothing aside has no directory either."""
    assert list(letters_in(tmp_path / "dead-letter", Wanted())) == []
    assert "no dead letters" in counted(tmp_path / "dead-letter", Wanted()).as_text()


def test_the_metric_counts_what_stands(tmp_path: Path) -> None:
    """By reason: of an earlier process, of this one, less what a retry took out; not what is only half there."""
    writer(tmp_path).write([record(0), record(1)])
    counts = LetterCounts(tmp_path)
    assert {"document_parsing_exception": 2} == counts.by_reason()

    writer(tmp_path).write([record(2, reason="time_in_future")])
    with (tmp_path / TODAY).open("ab") as file:
        file.write(b'no record\n{"_id":"half')
    assert {"document_parsing_exception": 2, "time_in_future": 1} == counts.by_reason()
    assert counts.by_reason() == LetterCounts(tmp_path).by_reason()

    with Rewriting(tmp_path / TODAY, today="2024-01-16") as rewriting:
        for raw, found in rewriting.records():
            if found is not None and found.reason == "document_parsing_exception":
                rewriting.take_out([(raw, {})])
            else:
                rewriting.keep(raw)
        rewriting.finish()
    assert {"document_parsing_exception": 0, "time_in_future": 1} == counts.by_reason()

    (tmp_path / TODAY).unlink()
    assert {"document_parsing_exception": 0, "time_in_future": 0} == counts.by_reason()


def test_what_is_shown_keeps_to_its_line() -> None:
    """Line feeds and escape sequences of a hostile line do not reach the terminal."""
    text = as_text(letter(line="a\n\x1b[31mb", reduced=True, server="no\rway"))

    assert "\x1b" not in text
    assert "\r" not in text
    assert r"a\n\x1b[31mb" in text
    assert "a reduced document is there" in text


# Rebuilding


def test_a_document_is_whole_again() -> None:
    """Its own fields, the tags and our fields, as if it were enriched now; no drop rule takes it away."""
    document = rebuilt(letter(7), drop=(DropSettings(when="duration > 1"),))

    assert document == {
        "timestamp": "2024-01-15T10:30:45.123Z",
        "duration": 2500,
        "@timestamp": "2024-01-15T10:30:45.123Z",
        "tags": ["slow_request"],
        "host": {"name": "here"},
        "log": {"file": {"path": "/var/log/app.log"}, "offset": 7},
    }


def test_a_line_without_a_time_keeps_the_inherited_one() -> None:
    """From the record, else from the reduced document; else it has none."""
    line = '{"a":1}'
    of_record = rebuilt(letter(line=line, timestamp="2024-01-15T01:00:00.000Z"))
    of_document = rebuilt(letter(line=line), inherited="2024-01-15T02:00:00.000Z")
    without = rebuilt(letter(line=line))

    assert (of_record["@timestamp"], of_record["tags"]) == ("2024-01-15T01:00:00.000Z", ["time_failure"])
    assert (of_document["@timestamp"], of_document["tags"]) == ("2024-01-15T02:00:00.000Z", ["time_failure"])
    assert "@timestamp" not in without


def test_a_line_of_any_kind_is_rebuilt() -> None:
    """No JSON, invalid UTF-8 that the record could not hold, and a prefix of what was too long."""
    text = rebuilt(letter(line="no JSON"))
    broken = rebuilt(letter(line='{"a":"\ufffd"}', encoding_failure=True))
    long = rebuilt(letter(line='{"a":"' + "x" * 94), source={"max_line_bytes": 100})

    assert (text["message"], text["tags"]) == ("no JSON", ["parse_failure", "time_failure"])
    assert broken["a"] == "\ufffd"
    assert "encoding_failure" in broken["tags"]
    assert long["message"] == '{"a":"' + "x" * 94
    assert "line_too_long" in long["tags"]


def test_a_line_of_the_future_waits_for_its_time() -> None:
    """Until then it is not due; `--force` sends it."""
    future = letter(line='{"timestamp":"2024-02-15T00:00:00.000Z"}', reason="time_in_future")

    assert rebuilt(future) is Fate.NOT_DUE
    assert rebuilt(future, now=NOW + 40 * 86_400)["@timestamp"] == "2024-02-15T00:00:00.000Z"
    assert rebuilt(future, is_forced=True)["@timestamp"] == "2024-02-15T00:00:00.000Z"


@pytest.mark.parametrize("line", ["", "  ", "\0\0"])
def test_a_record_without_a_line_is_refused(tmp_path: Path, line: str) -> None:
    """Nothing can be made of it; it stays, and holds up no other."""
    writer(tmp_path).write([record(1, line=line), record(2)])

    outcome = retry(tmp_path, Carrier())

    assert ({Fate.REFUSED: 1, Fate.CREATED: 1}, {"no_line": 1}) == (outcome.fates, outcome.reasons)
    assert [(1, "no_line")] == [(one["offset"], one["reason"]) for one in standing(tmp_path)]


def test_a_time_that_is_none_is_not_inherited() -> None:
    """Of a record that somebody changed."""
    assert "@timestamp" not in rebuilt(letter(line='{"a":1}', timestamp="yesterday"))


def test_a_source_that_is_gone_is_said() -> None:
    """What its settings were is not known any more."""
    assert rebuilt(letter(source="nobody")) is Fate.NO_SOURCE


# Retrying


def test_what_is_accepted_moves_and_the_rest_stays(tmp_path: Path) -> None:
    """Refused ones with their new reason; those that were not wanted, and what is no record, as they were."""
    writer(tmp_path).write([record(1), record(2), record(3), record(4, source="other")])
    with (tmp_path / TODAY).open("ab") as file:
        file.write(b"half a record")
    verdicts = {1: Verdict(Fate.CREATED), 2: Verdict(Fate.REFUSED, "new", "it says"), 3: Verdict(Fate.NOT_DELIVERED)}
    carrier = Carrier(lambda document: verdicts[document.letter.offset])

    outcome = retry(tmp_path, carrier, Wanted(source="app"))

    assert outcome.as_data() == {
        "created": 1,
        "replaced": 0,
        "already_there": 0,
        "refused": 1,
        "not_due": 0,
        "not_delivered": 1,
        "no_source": 0,
        "stay": 2,
        "refused_reasons": {"new": 1},
    }
    assert not outcome.is_finished
    assert [(one["_id"][-13:-9], one["result"]) for one in retried(tmp_path)] == [("0001", "created")]
    lines = (tmp_path / TODAY).read_text().splitlines()
    kept = {one["offset"]: one for one in map(json.loads, filter(lambda text: "{" in text, lines))}
    assert "half a record" in lines
    assert {2, 3, 4} == kept.keys()
    assert (kept[2]["reason"], kept[2]["server"], kept[2]["line"]) == ("new", "it says", LINE)
    assert kept[3]["reason"] == "document_parsing_exception"


def test_a_file_that_is_empty_then_goes(tmp_path: Path) -> None:
    """And a second retry has nothing to do."""
    writer(tmp_path).write([record(1), record(2)])
    carrier = Carrier()

    first, second = retry(tmp_path, carrier), retry(tmp_path, carrier)

    assert first.fates[Fate.CREATED] == 2
    assert not second.fates
    assert not (tmp_path / TODAY).exists()
    assert len(retried(tmp_path)) == len(carrier.delivered) == 2


def test_a_record_that_comes_meanwhile_is_not_lost(tmp_path: Path) -> None:
    """The daemon appends while documents are on their way: the new record stands in the file that replaces the old."""
    daemon = writer(tmp_path)
    daemon.write([record(1), record(2)])

    def judge(document: Rebuilt) -> Verdict:
        daemon.write([record(document.letter.offset + 10)])
        return Verdict(Fate.CREATED)

    retry(tmp_path, Carrier(judge))
    daemon.write([record(20)])

    assert [11, 12, 20] == [one["offset"] for one in standing(tmp_path)]


def test_while_a_file_is_replaced_the_daemon_waits(tmp_path: Path) -> None:
    """Both hold the same lock; what was waiting is appended to the new file."""
    daemon = writer(tmp_path)
    daemon.write([record(1)])
    appending = threading.Thread(target=lambda: daemon.write([record(2)]))
    with locked(tmp_path):
        appending.start()
        appending.join(0.1)
        assert appending.is_alive()
        assert len(standing(tmp_path)) == 1
    appending.join(10)

    assert [1, 2] == [one["offset"] for one in standing(tmp_path)]


def test_an_output_that_fails_loses_no_record(tmp_path: Path) -> None:
    """What was accepted before has moved, everything else stands."""
    writer(tmp_path).write([record(n) for n in range(1200)])

    def judge(document: Rebuilt) -> Verdict:
        if document.letter.offset == 700:
            raise OutputError("it went away")
        return Verdict(Fate.CREATED)

    with pytest.raises(OutputError):
        retry(tmp_path, Carrier(judge))

    assert list(range(500)) == [one["offset"] for one in retried(tmp_path)]
    assert list(range(500, 1200)) == [one["offset"] for one in standing(tmp_path)]


def test_a_full_disk_loses_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing can be written, the day file stays what it was."""
    writer(tmp_path).write([record(1), record(2)])
    before = (tmp_path / TODAY).read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Rewriting, "take_out", full)
    with pytest.raises(OSError, match="No space"):
        retry(tmp_path, Carrier())

    assert before == (tmp_path / TODAY).read_bytes()
    assert ["2024-01-15.ndjson", "lock", "retry.lock"] == sorted(path.name for path in tmp_path.iterdir())


def test_a_crash_between_moving_and_replacing_repeats_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The record stands in both files; the next retry sends it once more and takes it out."""
    writer(tmp_path).write([record(1)])
    with monkeypatch.context() as crash:
        crash.setattr(Rewriting, "finish", lambda self: None)
        retry(tmp_path, Carrier())
    assert len(standing(tmp_path)) == len(retried(tmp_path)) == 1

    outcome = retry(tmp_path, Carrier(lambda _: Verdict(Fate.ALREADY_THERE)))

    assert outcome.fates == {Fate.ALREADY_THERE: 1}
    assert standing(tmp_path) == []


def test_a_record_that_no_day_file_can_hold_is_refused(tmp_path: Path) -> None:
    """A directory takes the others: an index that leads out of it, and an id that is no text of JSON, are said."""
    letters = tmp_path / "state/dead-letter"
    records = [record(1), record(2, index="../../x"), record(3, id='a"b'), record(4, id="")]
    writer(letters).write(records)
    carrier = DirectoryCarrier(settings=LocalSettings(directory=str(tmp_path / "out")), state=tmp_path / "state")
    carrier.start()
    try:
        outcome = Retry(directory=letters, wanted=Wanted(), rebuilder=rebuilder(), carrier=carrier).run()
    finally:
        carrier.close()

    assert {Fate.CREATED: 1, Fate.REFUSED: 3} == outcome.fates
    assert {"invalid_index_name": 1, "invalid_id": 2} == outcome.reasons
    assert [2, 3, 4] == [one["offset"] for one in standing(letters)]
    assert ["logs-2024.01.15.ndjson"] == [path.name for path in (tmp_path / "out").glob("*.ndjson")]


def test_one_retry_at_a_time(tmp_path: Path) -> None:
    """A second one would send the same records."""
    writer(tmp_path).write([record(1)])
    with one_retry(tmp_path), pytest.raises(InUseError, match="another retry"):
        retry(tmp_path, Carrier())

    assert retry(tmp_path, Carrier()).stay == 0


def test_a_retry_as_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that root makes could not be written by the daemon any more."""
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)

    with pytest.raises(StateError, match="run this as that user"):
        check_owner(tmp_path)


def test_a_retried_record_says_what_became_of_it(tmp_path: Path) -> None:
    """All of the record, and when and how it was taken; files are for the owner only."""
    writer(tmp_path).write([record(1, reduced=True)])

    retry(tmp_path, Carrier(lambda _: Verdict(Fate.REPLACED)))

    (found,) = retried(tmp_path)
    assert (found["result"], found["retried"]) == ("replaced", "2024-01-16T10:30:45Z")
    assert msgspec.json.decode(msgspec.json.encode(found), type=Letter).line == LINE
    assert all(path.stat().st_mode & 0o77 == 0 for path in tmp_path.iterdir())


def test_the_writer_knows_only_what_stands(tmp_path: Path) -> None:
    """A daemon that starts again leaves out what stands already; files of retried records say nothing to it."""
    writer(tmp_path).write([record(1), record(2)])
    retry(tmp_path, Carrier(), Wanted(id=record(1).id))

    writer(tmp_path).write([record(1), record(2), record(3)])

    assert [2, 1, 3] == [one["offset"] for one in standing(tmp_path)]
    assert count_of(tmp_path) == 3
