"""Long work says how far it has come: seldom where nobody looks, not at all where it is soon over."""

from __future__ import annotations

import io

import pytest
from harness.process import wait_until

from shipper.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_line_every_ten_seconds_where_there_is_no_terminal() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(what="replay", total=200, stream=stream, monotonic=clock)
    for _ in range(25):
        clock.now += 1.0
        progress.advance(2, "so many")

    assert stream.getvalue().splitlines() == ["replay: 10% so many", "replay: 20% so many"]


def test_nothing_moves_and_that_is_said_too() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(what="replay", total=200, stream=stream, monotonic=clock)
    for _ in range(3):
        clock.now += 10.0
        progress.advance(0)

    assert stream.getvalue().splitlines() == ["replay: 0%"] * 3


def test_work_of_unknown_size_asks_for_its_words_when_they_are_due() -> None:
    stream, clock, asked = io.StringIO(), Clock(), 0

    def words() -> str:
        nonlocal asked
        asked += 1
        return "read 7 lines"

    progress = Progress(what="once", total=0, stream=stream, monotonic=clock)
    for _ in range(12):
        clock.now += 1.0
        progress.tell(words)

    assert (stream.getvalue(), asked) == ("once: read 7 lines\n", 1)


def test_a_bar_is_taken_away_at_the_end() -> None:
    stream, clock = Terminal(), Clock()
    progress = Progress(what="once", total=0, stream=stream, monotonic=clock)
    clock.now += 1.0
    progress.tell(lambda: "read 7 lines")
    progress.clear()

    assert stream.getvalue() == "\r\x1b[Konce: read 7 lines\r\x1b[K"


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (60, "replay [###                           ]  10% so many lines"),
        (40, "replay [##               ]  10% so many"),
        (24, "replay  10% so many lin"),
    ],
)
def test_a_bar_stays_on_one_row(columns: int, expected: str) -> None:
    """Of one that the terminal breaks the next one would take away only the last row."""
    stream, clock = Terminal(), Clock()
    progress = Progress(what="replay", total=200, stream=stream, monotonic=clock, columns=lambda: columns)
    clock.now += 1.0
    progress.advance(20, "so many lines" if columns != 40 else "so many")

    assert stream.getvalue() == f"\r\x1b[K{expected}"


def test_what_is_soon_over_says_nothing() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = Progress(what="audit", total=10, stream=stream, monotonic=clock)
    clock.now += 9.0
    progress.advance(10)

    assert stream.getvalue() == ""


SAID = "audit: the server does not answer\n"


def test_what_waits_says_so_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line when it is due and why it waits, although nobody calls; not why, once it goes on."""
    monkeypatch.setattr("shipper.progress._BEAT_SECONDS", 0.01)
    stream, clock = io.StringIO(), Clock()
    progress = Progress(what="audit", total=200, stream=stream, monotonic=clock)
    with progress.beating():
        progress.wait_for("the server does not answer")
        clock.now += 10.0
        wait_until(lambda: stream.getvalue() == SAID, what="a line", timeout_seconds=10)
        progress.advance(100)
        clock.now += 10.0
        wait_until(lambda: stream.getvalue() == f"{SAID}audit: 50%\n", what="the next", timeout_seconds=10)
