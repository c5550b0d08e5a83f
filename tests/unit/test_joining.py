"""Lines of container runtimes: their frames, and the parts of long lines."""

from __future__ import annotations

import json

import pytest

from shipper.joining import CRI, DOCKER, Group, Part, Whole, join

TIME = "2024-01-15T10:30:45.123456789Z"


def docker(log: str, stream: str = "stdout", **more: object) -> bytes:
    return json.dumps({"log": log, "stream": stream, "time": TIME, **more}).encode()


@pytest.mark.parametrize(
    ("raw", "text", "stream", "is_open"),
    [
        (docker("hello\n"), b"hello", "stdout", False),
        (docker("hello\n", "stderr"), b"hello", "stderr", False),
        (docker("hel"), b"hel", "stdout", True),
        (docker("hello\r\n"), b"hello\r", "stdout", False),
        (docker("\n"), b"", "stdout", False),
        (docker(""), b"", "stdout", True),
        (docker("grüße\n", attrs={"tag": "x"}), "grüße".encode(), "stdout", False),
    ],
)
def test_a_docker_frame(raw: bytes, text: bytes, stream: str, is_open: bool) -> None:
    """A part ends with a newline if it is the last of its line."""
    assert Part(5, 9, raw, text, stream, TIME, is_open) == DOCKER.part(raw, 5, 9)


@pytest.mark.parametrize(
    "raw",
    [
        b"plain text",
        b"{}",
        b'{"log":5}',
        b'{"log":"x"',
        b'["log"]',
        b'{"log":"\\ud800"}',
        b'{"log":"\xff"}',
        b"[" * 9999,
    ],
)
def test_what_is_no_docker_frame(raw: bytes) -> None:
    """Anything else is none, whatever it is."""
    assert DOCKER.part(raw, 0, 9) is None


@pytest.mark.parametrize(
    ("raw", "text", "stream", "is_open"),
    [
        (b"T stdout F hello", b"hello", "stdout", False),
        (b"T stderr F hello world ", b"hello world ", "stderr", False),
        (b"T stdout P hel", b"hel", "stdout", True),
        (b"T stdout F:x:y hello", b"hello", "stdout", False),
        (b"T stdout F ", b"", "stdout", False),
        (b"T stdout F", b"", "stdout", False),
        (b"T stdout P:x \xff", b"\xff", "stdout", True),
    ],
)
def test_a_cri_frame(raw: bytes, text: bytes, stream: str, is_open: bool) -> None:
    """P has more to come, F has not; other flags may stand behind a colon."""
    assert Part(5, 9, raw, text, stream, "T", is_open) == CRI.part(raw, 5, 9)


@pytest.mark.parametrize(
    "raw", [b"", b"T", b"T stdout", b"T stdin F x", b"T stdout X x", b"T  stdout F x", b"{} F stdout"]
)
def test_what_is_no_cri_frame(raw: bytes) -> None:
    """Anything else is none."""
    assert CRI.part(raw, 0, 9) is None


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([docker("a\n"), docker("b\n")], Whole([b"a", b"b"], [TIME, TIME])),
        ([docker("a\r\n"), docker("b\n")], Whole([b"a", b"b"], [TIME, TIME])),
        ([docker("a\n"), docker("b")], None),
        ([docker("a\n"), docker("\n")], None),
        ([docker("a\nb\n"), docker("c\n")], None),
        ([docker("a\nb"), docker("c\n\n")], None),
        ([docker("a\n"), b"text"], None),
        ([docker("a\n"), b""], None),
        ([docker("a\n") + docker("b\n")], None),
        ([], None),
    ],
)
def test_docker_lines_that_are_whole_are_taken_at_once(lines: list[bytes], expected: Whole | None) -> None:
    """Where a line was cut, is blank or is no frame, the lines go one by one."""
    assert expected == DOCKER.whole(b"".join(line + b"\n" for line in lines), lines)


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([b"T stdout F a", b"U stderr F b c"], Whole([b"a", b"b c"], ["T", "U"])),
        ([b"T stdout F a", b"U stdout P b"], None),
        ([b"T stdout F a", b"U stdout F "], None),
        ([b"T stdout F a", b"U stdout F"], None),
        ([b"T stdout F a\r"], None),
        ([b"T stdout F a", b"text"], None),
        ([b"T stdout F a", b""], None),
        ([], None),
    ],
)
def test_cri_lines_that_are_whole_are_taken_at_once(lines: list[bytes], expected: Whole | None) -> None:
    """Where a line was cut, is blank or is no frame, the lines go one by one."""
    assert expected == CRI.whole(b"".join(line + b"\n" for line in lines), lines)


def parts_of(*specified: str) -> list[Part]:
    """Parts of ten bytes each: `out:hel+` is stdout's `hel`, and more follows."""
    parts = []
    for number, item in enumerate(specified):
        stream, _, text = item.partition(":")
        raw, is_open = text.removesuffix("+").encode(), text.endswith("+")
        parts.append(Part(number * 10, number * 10 + 10, raw, raw, stream, f"t{number}", is_open))
    return parts


@pytest.mark.parametrize(
    ("given", "is_final", "expected", "hold"),
    [
        ([], False, [], None),
        (["out:a", "err:b"], False, ["0 a", "10 b"], None),
        (["out:a+", "out:b+", "out:c"], False, ["0 abc"], None),
        (["out:a", "out:b+"], False, ["0 a"], 10),
        (["out:a", "out:b+"], True, ["0 a", "10 b"], None),
        (["out:a+"], False, [], 0),
        (["out:a+", "err:x", "out:b"], False, ["0 ab", "10 x"], None),
        (["out:a+", "err:x"], False, [], 0),  # what stands behind the open part is read again with it
        (["out:a+", "err:x+", "out:b"], False, [], 0),  # a done group reaches across the place
        (["err:z", "out:a+", "err:x+", "out:b"], False, ["0 z"], 10),
        (["out:a+", "err:x+", "out:b", "err:y"], False, ["0 ab", "10 xy"], None),
        (["out:a+", "err:x+", "out:b", "out:c+", "err:y"], False, [], 0),
        (["out:a+", "err:x+", "out:b", "err:y", "out:c+"], False, ["0 ab", "10 xy"], 40),
    ],
)
def test_parts_are_joined_stream_by_stream(
    given: list[str], is_final: bool, expected: list[str], hold: int | None
) -> None:
    """Streams interleave; an open group holds the cursor at its first part."""
    groups, held = join(parts_of(*given), max_line_bytes=1000, is_final=is_final)
    assert (expected, hold) == ([f"{group.start} {group.text.decode()}" for group in groups], held)


def test_a_group_has_its_first_parts_time_and_all_raw_lines() -> None:
    """The time is when the line began; checksums are made of what stands in the file."""
    [group], _ = join(parts_of("out:a+", "out:b"), max_line_bytes=1000, is_final=False)
    assert Group(0, 20, [b"a", b"b"], [b"a", b"b"], "t0", 2) == group


def test_a_line_that_is_too_long_is_one_group_with_its_beginning() -> None:
    """The rest of the line is passed over, so that it does not become lines of its own."""
    given = ["out:" + "x" * 8 + "+"] * 5 + ["out:end", "out:next"]
    groups, hold = join(parts_of(*given), max_line_bytes=20, is_final=False)
    assert hold is None
    assert [(0, b"x" * 24), (60, b"next")] == [(group.start, group.text) for group in groups]


def test_a_group_that_never_ends_is_closed_at_a_fixed_place() -> None:
    """It would hold the cursor for ever; the place depends on the file alone."""
    for count in (20, 25, 30):
        groups, hold = join(parts_of(*["out:abc+"] * count), max_line_bytes=10, is_final=False)
        places = [(group.start, group.end) for group in groups]
        assert [(0, 80), (80, 160), (160, 240)][: len(places)] == places
        assert places[-1][1] == hold


def test_a_group_that_waits_beside_another_stream_is_closed_at_a_fixed_place() -> None:
    """What the other stream writes would wait for ever: the group's stream may have been closed."""
    given = ["out:a+", *["err:x"] * 20, "out:b"]
    for count in (8, 12, 22):
        groups, hold = join(parts_of(*given[:count]), max_line_bytes=10, is_final=False)
        assert ((0, 10), None) == ((groups[0].start, groups[0].end), hold)
        assert count == len(groups)
    assert ([], 0) == join(parts_of(*given[:7]), max_line_bytes=10, is_final=False)


def test_a_barrier_closes_what_is_open_before_it() -> None:
    """Of a line that is too long to be looked into nobody knows what it is, and nothing that is open waits for it."""
    given = parts_of("out:a+", "err:b+", "?:long", "out:c", "err:d+")
    given[2] = given[2]._replace(is_barrier=True)
    groups, hold = join(given, max_line_bytes=1000, is_final=False)
    assert ([(0, b"a"), (10, b"b"), (20, b"long"), (30, b"c")], 40) == ([(g.start, g.text) for g in groups], hold)


def test_lines_of_docker_cannot_open_a_stream_each() -> None:
    """What names a stream that docker has not is of one stream: else each would have to be waited for by itself."""
    lines = [b'{"log":"x","stream":"s%d"}' % number for number in range(5)]
    parts = [DOCKER.part(line, 0, len(line)) for line in lines]
    assert {""} == {part.stream for part in parts if part is not None}
