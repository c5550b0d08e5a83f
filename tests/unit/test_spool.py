"""The spool's files, and the thread that delivers them."""

import stat
from pathlib import Path
from typing import Any

import pytest
from deliveries import documents_of, lines_of

from shipper.elastic.items import Item, Pending, items_of
from shipper.elastic.reduce import Stage
from shipper.elastic.spool import SEGMENT_BYTES, Spool, items_of_records, record_of

INDEX = "logs-2024.01.15"


def _items(count: int, *, first: int = 0, index: str = INDEX, **fields: Any) -> list[Item]:
    documents = documents_of(lines_of(count, first=first, **fields), first=first, index=index)
    return items_of(Pending(documents, count, []))


def _opened(directory: Path, **options: Any) -> Spool:
    spool = Spool(directory=directory, **options)
    spool.open()
    return spool


def _essence(items: list[Item]) -> list[tuple[object, ...]]:
    return [(item.index, item.id, item.whole, item.line, item.source, item.file, item.offset) for item in items]


def _drained(spool: Spool, index: str = INDEX) -> list[Item]:
    found = []
    while (oldest := spool.oldest(index)) is not None:
        segment, items = oldest
        found += items
        spool.replace(segment, [])
    return found


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    """All that a document and a dead letter need survives, whatever bytes; a reduced one comes back whole."""
    items = _items(3)
    items[1].line = b'{"a":"\xff\x00\n"}'
    items[2].form = items[2].form._replace(stage=Stage.TEXT, source=b"{}")
    back = items_of_records(b"".join(map(record_of, items)))
    assert _essence(items) == _essence(back)
    assert all(item.form.stage is Stage.WHOLE and item.may_be_applied and item.origin is None for item in back)


def test_a_new_process_finds_everything(tmp_path: Path) -> None:
    """What was added is there after a restart, by index and in order, with its count."""
    first = _opened(tmp_path / "spool")
    items, others = _items(5), _items(4, first=5, index="other")
    assert not first.add(INDEX, items[:3])
    assert not first.add("other", others)
    assert not first.add(INDEX, items[3:])
    second = _opened(tmp_path / "spool")
    assert {INDEX, "other"} == set(second.indices())
    assert second.count == 9
    assert second.has(INDEX)
    assert not second.has("third")
    assert _essence(items) == _essence(_drained(second))
    assert second.count == 4
    assert {0o600} == {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "spool").iterdir()}


def test_the_longest_and_strangest_names(tmp_path: Path) -> None:
    """Index names of 255 bytes, of other scripts, with percent signs: each has its own files."""
    names = ["x" * 255, "x" * 254 + "y", "ü" * 127, "%2f", ".hidden", "a%"]
    spool = _opened(tmp_path)
    for name in names:
        spool.add(name, _items(1, index=name))
    again = _opened(tmp_path)
    assert set(names) == set(again.indices())
    assert [[name] for name in names] == [[item.index for item in _drained(again, name)] for name in names]


def test_what_a_crash_left_half_written_was_never_counted_on(tmp_path: Path) -> None:
    """A torn last record is left out; a file with nothing else goes away."""
    spool = _opened(tmp_path)
    spool.add(INDEX, _items(2))
    [path] = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole + record_of(_items(1, first=2)[0])[:-5])
    assert _essence(_items(2)) == _essence(_drained(_opened(tmp_path)))
    path.write_bytes(whole[:20])
    assert _opened(tmp_path).count == 0
    assert [] == list(tmp_path.iterdir())


def test_corrupt_files_are_named_and_kept(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A file that cannot be understood is set aside and said; the next one is read."""
    spool = _opened(tmp_path)
    spool.add(INDEX, _items(2))
    [path] = tmp_path.iterdir()
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + b"nonsense\n" + second)
    (tmp_path / "00000099-x.ndjson").write_bytes(b"nonsense\n")
    again = _opened(tmp_path)
    assert [] == _drained(again)
    assert {path.with_suffix(".corrupt").name, "00000099-x.ndjson"} == {found.name for found in tmp_path.iterdir()}
    assert ["ERROR", "ERROR"] == [record.levelname for record in caplog.records]
    assert not again.has(INDEX)


def test_only_what_is_left_stays(tmp_path: Path) -> None:
    """After a partial delivery a file holds the rest, also for the next process; nothing was appended meanwhile."""
    spool = _opened(tmp_path)
    spool.add(INDEX, _items(4))
    oldest = spool.oldest(INDEX)
    assert oldest is not None
    spool.add(INDEX, _items(1, first=4))
    segment, items = oldest
    spool.replace(segment, items[2:])
    expected = _essence([*_items(2, first=2), *_items(1, first=4)])
    assert spool.count == 3
    assert expected == _essence(_drained(_opened(tmp_path)))


def test_it_takes_what_there_is_room_for(tmp_path: Path) -> None:
    """Up to its size; the rest is given back, and there is room again after a delivery."""
    size = len(record_of(_items(1, first=1)[0]))
    spool = _opened(tmp_path, max_bytes=3 * size + 1)
    assert [item.id for item in _items(3, first=4)] == [item.id for item in spool.add(INDEX, _items(6, first=1))]
    assert len(spool.add("other", _items(1))) == 1
    assert len(_drained(spool)) == 3
    assert not spool.add("other", _items(1))


def test_large_spools_are_many_files(tmp_path: Path) -> None:
    """A file stays small enough to be read at once."""
    spool = _opened(tmp_path)
    for start in range(0, 12, 2):
        spool.add(INDEX, _items(2, first=start, text="x" * 400_000))
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) > 2
    assert max(sizes) <= SEGMENT_BYTES
    assert _essence(_items(12, text="x" * 400_000)) == _essence(_drained(_opened(tmp_path)))
