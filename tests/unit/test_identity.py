"""Stems, identities, ids, marks, and what a file is to one that was read before."""

from __future__ import annotations

import random

import pytest
from xxhash import xxh3_64_intdigest

from shipper.batch import Mark
from shipper.identity import (
    FIRST_LINE_BYTES,
    MARK_BYTES,
    MOST_LINE_ENDS,
    Known,
    Seen,
    Trail,
    Verdict,
    agrees,
    checksum,
    checksums,
    compare,
    fits,
    identity_of,
    line_id,
    mark_of,
    pack_marks,
    power_positions,
    stem,
    unpack_marks,
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("app.log", "app.log"),
        ("app", "app"),
        ("combined-2024-01-15.log", "combined.log"),
        ("combined-2024-01-15.log.1", "combined.log"),
        ("combined-2024-01-15.log.1.gz", "combined.log"),
        ("combined-2024-01-15-10.log", "combined.log"),
        ("app.log.1", "app.log"),
        ("app.log.2.gz", "app.log"),
        ("app.log.gz.1", "app.log"),
        ("app.log.zst", "app.log"),
        ("app.1.log", "app.log"),
        ("app1.log", "app.log"),
        ("app.log-20240115", "app.log"),
        ("app.log-20240115.gz", "app.log"),
        ("app-20240115.log.gz", "app.log"),
        ("app.log-1705276800", "app.log"),
        ("app.log.2024-01-15", "app.log"),
        ("app.log.2024-01-15_10-30", "app.log"),
        ("app.log.20240115T103045Z", "app.log"),
        ("app-2024-01-15T10-30-45.123.log", "app.log"),
        ("app-2024-01-15T10-30-45.123.log.gz", "app.log"),
        ("app-2024-01-15-1.log.gz", "app.log"),
        ("app-01-15-2024-1.log.gz", "app.log"),
        ("app-2024-01-15_001.log", "app.log"),
        ("app.2024-01-15.1.log", "app.log"),
        ("app_2024_01_15.log", "app.log"),
        ("app-2024.01.15.log", "app.log"),
        ("api-out__2024-01-15_00-00-00.log", "api-out.log"),
        ("0.log.20240115-103045.gz", "0.log"),
        ("0.log", "0.log"),
        ("4f2a-json.log.1", "4f2a-json.log"),
        ("access_log-20240115", "access_log"),
        ("access_log", "access_log"),
        ("localhost_access_log.2024-01-15.txt", "localhost_access_log.txt"),
        ("syslog.2.gz", "syslog"),
        ("2024-01-15.log", ".log"),
        ("2024-01-15.log.1.gz", ".log"),
        ("20240115", ""),
        (".1", ".1"),
        ("1", "1"),
        ("", ""),
        ("app.log.old", "app.log.old"),
    ],
)
def test_the_stem_is_what_rotation_leaves_of_a_name(name: str, expected: str) -> None:
    """Names that rotation gives to one file have one stem, whatever rotates."""
    assert expected == stem(name)


def test_an_identity_depends_on_scope_stem_and_first_line_alone() -> None:
    """Each part counts, and no two ways of cutting the parts are one."""
    base = identity_of(scope="", stem_name="app.log", first_line=b"one")
    others = {
        identity_of(scope="x", stem_name="app.log", first_line=b"one"),
        identity_of(scope="", stem_name="app.lo", first_line=b"gone"),
        identity_of(scope="a", stem_name="pp.log", first_line=b"one"),
        identity_of(scope="", stem_name="app.log", first_line=b"two"),
        identity_of(scope="", stem_name="app\udcff.log", first_line=b"one"),
    }
    assert len(others) == 5
    assert base not in others
    assert base == identity_of(scope="", stem_name="app.log", first_line=b"one")
    assert len(base) == 12
    assert int(base, 16) >= 0


def test_an_identity_stays_what_it_is() -> None:
    """Ids are in the index for years: the same file gives the same identity and checksum in every version."""
    assert identity_of(scope="", stem_name="app.log", first_line=b'{"a":1}') == "d83f576ba44a"
    assert line_id("d83f576ba44a", 7, b'{"a":1}') == "d83f576ba44a-0000000007-c5e3762f"


def test_a_very_long_first_line_counts_with_its_prefix() -> None:
    """So that the identity of a file is known before a line of gigabytes ends."""
    prefix = b"x" * FIRST_LINE_BYTES
    first = identity_of(scope="", stem_name="s", first_line=prefix)
    assert first == identity_of(scope="", stem_name="s", first_line=prefix + b"more")


@pytest.mark.parametrize(
    ("offset", "expected"),
    [(0, "abc-0000000000-"), (9_999_999_999, "abc-9999999999-"), (12_345_678_901, "abc-12345678901-")],
)
def test_an_id_has_at_least_ten_digits_of_offset(offset: int, expected: str) -> None:
    """Offsets of files beyond 10 GB are not cut."""
    assert line_id("abc", offset, b"x").startswith(expected)


def test_checksums_of_many_lines_are_those_of_each() -> None:
    """The columns of the hot path hold what `checksum` gives, as hexadecimal digits."""
    lines = [b"", b"{}", b"x" * 100_000, b"\xff\n\0"]
    assert [f"{checksum(line):08x}" for line in lines] == [digits.decode() for digits in checksums(lines)]


# Marks


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [(0, 1023, []), (0, 1024, [1024]), (1024, 2047, []), (1000, 5000, [1024, 2048, 4096]), (4096, 8192, [8192])],
)
def test_marks_stand_at_powers_of_two(start: int, end: int, expected: list[int]) -> None:
    """From 1 KiB on, each once as a file is passed."""
    assert expected == power_positions(start, end)


def test_packed_marks_come_back() -> None:
    """Digests and positions use all 64 bits; a torn end is left out."""
    marks = [Mark(1024, 2**64 - 1), Mark(5000, 0)]
    assert marks == unpack_marks(pack_marks(marks))
    assert marks[:1] == unpack_marks(pack_marks(marks)[:-1])


def content(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def marks_of(data: bytes, positions: list[int]) -> list[Mark]:
    return [mark_of(position, data[:position]) for position in positions]


def trail_in_pieces(data: bytes, step: int) -> Trail:
    trail = Trail()
    for start in range(0, len(data), step):
        trail.extend(start, data[start : start + step])
    return trail


@pytest.mark.parametrize("step", [1, 100, 255, 256, 257, 1024, 5000, 100_000])
def test_a_trail_has_the_same_marks_however_the_bytes_came(step: int) -> None:
    """In small pieces or large, the marks are those of the content."""
    data = content(5000)
    assert marks_of(data, [1024, 2048, 4096, 5000]) == trail_in_pieces(data, step).known_marks()


TEXT = b"".join(b'{"n":%d,"text":"%s"}\n' % (n, b"x" * (n * 37 % 90)) for n in range(1, 40))


@pytest.mark.parametrize("step", [1, 100, 255, 256, 257, 1024, 5000])
def test_a_trail_knows_its_first_lines_one_by_one(step: int) -> None:
    """But not the first alone, which may be a header; and only those within the first kilobyte."""
    ends = [at + 1 for at, byte in enumerate(TEXT) if byte == ord("\n") and at + 1 < 1024]
    whole = Trail()
    whole.extend_by(lambda start, size: TEXT[start : start + size], len(TEXT))

    assert marks_of(TEXT, ends[1:]) == unpack_marks(trail_in_pieces(TEXT, step).line_ends)
    assert marks_of(TEXT, ends[1:]) == unpack_marks(whole.line_ends)
    assert marks_of(TEXT, ends[1:4]) == unpack_marks(
        Trail.of_marks([], ends[3], b"", line_ends=whole.line_ends).line_ends
    )


def test_of_many_short_lines_a_trail_knows_a_few() -> None:
    """What is kept of a file is bounded."""
    data = b"{}\n" * 200
    ends = [6 + 3 * n for n in range(MOST_LINE_ENDS)]
    assert marks_of(data, ends) == unpack_marks(trail_in_pieces(data, 100).line_ends)


def test_a_trail_ignores_what_has_passed() -> None:
    """The second cursor brings the same bytes again, and pieces that overlap."""
    data = content(3000)
    trail = trail_in_pieces(data, 500)
    trail.extend(0, data[:500])
    trail.extend(2500, data[2500:2800])
    assert marks_of(data, [1024, 2048, 3000]) == trail.known_marks()
    more = data + content(2000, seed=2)
    trail.extend(2900, more[2900:])
    assert marks_of(more, [1024, 2048, 4096, 5000]) == trail.known_marks()


def test_a_trail_makes_no_marks_of_bytes_that_it_has_not_seen() -> None:
    """A piece behind a gap would give marks that the content does not have."""
    data = content(9000)
    trail = trail_in_pieces(data[:1500], 500)
    trail.extend(3000, data[3000:])
    assert 1500 == trail.position
    trail.extend_by(lambda start, size: data[start : start + size], 9000)
    assert marks_of(data, [1024, 2048, 4096, 8192, 9000]) == trail.known_marks()


def test_a_trail_goes_on_where_its_record_ends() -> None:
    """After a restart the marks are what they would have been without one."""
    data = content(6000)
    known = trail_in_pieces(data[:3000], 700).known_marks()
    trail = Trail.of_marks(known, 3000, data[3000 - 256 : 3000])
    trail.extend(3000, data[3000:])
    assert marks_of(data, [1024, 2048, 4096, 6000]) == trail.known_marks()


def test_what_was_read_is_known_by_its_powers_and_its_end() -> None:
    """The state and the outputs ask for the marks up to the farthest place that was read."""
    data = content(3000)
    trail = Trail()

    assert trail.known_marks() == []
    trail.extend(0, data[:2500])

    assert trail.known_marks() == [mark_of(at, data[:at]) for at in (1024, 2048, 2500)]


@pytest.mark.parametrize(
    ("position", "first_byte"),
    [(1, 0), (257, 0), (1024, 0), (1025, 1025 - MARK_BYTES), (5000, 5000 - MARK_BYTES)],
)
def test_a_mark_leaves_nothing_out_in_the_first_kilobyte(position: int, first_byte: int) -> None:
    """Contents with the same header differ in a time, and their lines end alike."""
    data = content(5000)

    def changed(at: int) -> bytes:
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 : position]

    mark = mark_of(position, data[:position])

    assert fits(mark, data[:position])
    assert not fits(mark, changed(first_byte))
    assert not first_byte or fits(mark, changed(first_byte - 1))


@pytest.mark.parametrize("position", [100, 256, 257, 700, 1024, 5000])
def test_a_mark_of_an_earlier_state_is_still_known(position: int) -> None:
    """They were all made of the last 256 bytes."""
    data = content(5000)
    earlier = Mark(position, xxh3_64_intdigest(data[max(0, position - 256) : position]))

    assert fits(earlier, data[:position])
    assert not fits(earlier, data[: position - 1] + b"\0")


@pytest.mark.parametrize("sizes", [[3000], [1, 1, 300, 700, 21, 3, 1974], [1000, 24, 1976], [999, 1, 100, 1900]])
def test_the_marks_are_the_same_however_the_bytes_come(sizes: list[int]) -> None:
    data = content(3000)
    trail, at = Trail(), 0
    for size in sizes:
        trail.extend(at, data[at : at + size])
        at += size
        assert trail.known_marks()[-1] == mark_of(at, data[:at])
    at_once = Trail()
    at_once.extend_by(lambda start, size: data[start : start + size], 3000)

    assert trail.known_marks() == at_once.known_marks() == [mark_of(at, data[:at]) for at in (1024, 2048, 3000)]


@pytest.mark.parametrize(
    ("size", "changed_at", "expected"),
    [
        (5000, None, True),
        (9000, None, True),
        (4999, None, True),
        (4096, None, True),
        (1023, None, True),
        (39, None, None),
        (1024, None, True),
        (5000, 4990, False),
        (5000, 4000, False),
        (4999, 4990, True),
        (4096, 4090, False),
        (9000, 1100, True),
        (9000, 100, False),
    ],
)
def test_a_content_agrees_as_far_as_it_goes(size: int, changed_at: int | None, expected: bool | None) -> None:
    """Only marks that lie within the file count; one that differs says that it is another content. The three highest
    are looked at, and the highest of the first kilobyte, which has all that stands before it.
    """
    data = content(9000)
    marks = marks_of(data, [40, 1024, 2048, 4096, 5000])
    other = bytearray(data[:size])
    if changed_at is not None:
        other[changed_at] ^= 1
    assert expected is agrees(marks, size, lambda mark: fits(mark, bytes(other[: mark.position])))


def test_a_content_that_cannot_be_read_says_nothing() -> None:
    """An archive that is damaged before the mark is neither the same nor another."""
    assert agrees([Mark(1024, 5)], 2000, lambda mark: None) is None
    assert agrees([], 2000, lambda mark: True) is None


# Attachment

SAME_INODE = {"device": 1, "inode": 7}
OTHER_INODE = {"device": 1, "inode": 8}


def verdict(
    *, inode: dict[str, int], identity: str, size: int, agree: bool | None, cursor: int = 100, is_alive: bool = False
) -> Verdict:
    known = Known(device=1, inode=7, identity="aaa", cursor=cursor, is_alive=is_alive)
    return compare(known, Seen(**inode, identity=identity, size=size), agree)


@pytest.mark.parametrize(
    ("size", "agree", "identity", "cursor", "expected"),
    [
        (100, True, "aaa", 100, Verdict.SAME),
        (500, True, "aaa", 100, Verdict.SAME),
        (500, True, "bbb", 100, Verdict.SAME),  # an unterminated first line that went on
        (99, None, "aaa", 100, Verdict.TRUNCATED),
        (99, True, "aaa", 100, Verdict.TRUNCATED),
        (0, None, "", 100, Verdict.TRUNCATED),
        (500, False, "bbb", 100, Verdict.TRUNCATED),
        (500, False, "aaa", 100, Verdict.TRUNCATED),
        (500, None, "aaa", 0, Verdict.SAME),
        (500, None, "bbb", 0, Verdict.TRUNCATED),  # the inode was reused before anything was read
        (0, None, "", 0, Verdict.TRUNCATED),
    ],
)
def test_the_same_inode(size: int, agree: bool | None, identity: str, cursor: int, expected: Verdict) -> None:
    """The inode holds the file that was read if its bytes say so."""
    assert expected is verdict(inode=SAME_INODE, identity=identity, size=size, agree=agree, cursor=cursor)


@pytest.mark.parametrize(
    ("size", "agree", "identity", "is_alive", "expected"),
    [
        (500, True, "aaa", False, Verdict.SAME),
        (100, True, "aaa", False, Verdict.SAME),
        (500, True, "aaa", True, Verdict.TWIN),
        (99, True, "aaa", False, Verdict.WAIT),
        (99, None, "aaa", True, Verdict.WAIT),
        (500, False, "aaa", False, Verdict.OTHER),
        (99, False, "aaa", False, Verdict.OTHER),
        (500, True, "bbb", False, Verdict.OTHER),
        (500, None, "", False, Verdict.OTHER),
        (0, None, "", False, Verdict.OTHER),
    ],
)
def test_another_inode(size: int, agree: bool | None, identity: str, is_alive: bool, expected: Verdict) -> None:
    """A copy, an archive, or a file that only begins alike."""
    assert expected is verdict(inode=OTHER_INODE, identity=identity, size=size, agree=agree, is_alive=is_alive)
