"""A container's file ends within a line in parts, and whole lines of the other stream stand behind it: a process that
dies within a line, and says why. They wait as long as the line may go on, and are shipped and counted once when not.
"""

from __future__ import annotations

import gzip

import pytest
from harness.receiver import LocalReceiver, MemoryReceiver
from harness.story import NewStory, Story, Unseen

from shipper.settings import Format, MetricsStart

ROTATED = "app.log.20240115-100000"


def line(stream: str, flag: str, text: str) -> bytes:
    return f"2024-01-15T10:00:00.000000001Z {stream} {flag} {text}\n".encode()


def numbered(*numbers: int, stream: str = "stderr") -> bytes:
    return b"".join(line(stream, "F", f'{{"n":{number}}}') for number in numbers)


TORN = '{"n":2,"pad":"'
TEXT = numbered(1, stream="stdout") + line("stdout", "P", TORN) + numbered(*range(3, 13))
"""Twelve lines, of which the second is torn."""
TWELVE = sorted([TORN, *map(str, (1, *range(3, 13)))])


@pytest.fixture
def story(new_story: NewStory) -> Story:
    return new_story(format=Format.CRI)


def shipped(story: Story) -> list[str]:
    """The number of each document, or its text where it is torn."""
    return sorted(str(source.get("n", source.get("message"))) for source in story.receiver.documents().values())


def counted(story: Story) -> dict[str, int]:
    """How often each line was observed, by the same."""
    return {name.removeprefix("b'").removesuffix("'"): count for name, count in story.tally.counts.items()}


def assert_once(story: Story, expected: list[str], *, lost: int = 0) -> None:
    """These lines are documents once and were counted once; a daemon without any state makes the same documents."""
    assert sorted(expected) == shipped(story)
    assert dict.fromkeys(expected, 1) == counted(story)
    assert lost == story.lost_bytes()
    before = story.receiver.documents().keys()
    story.stop()
    story.state_directory = story.state_directory.with_name("state-anew")
    story.start()
    story.run(60.0)
    assert before == story.receiver.documents().keys()


def test_renamed(story: Story, unseen: Unseen) -> None:
    """While it is followed: all of it comes after five quiet seconds, the torn line as what it is."""
    story.append("app.log", TEXT)
    story.run(60.0)
    assert ["1"] == shipped(story)
    with unseen(story):
        story.path("app.log").rename(story.path(ROTATED))
        story.append("app.log", numbered(99))
    story.run(20.0)
    story.restart()
    story.run(20.0)

    assert_once(story, [*TWELVE, "99"])


def test_renamed_before_it_was_met(new_story: NewStory) -> None:
    """Its name says that it made room for the file that lies beside it."""
    story = new_story(format=Format.CRI, is_started=False)
    story.append(ROTATED, TEXT)
    story.append("app.log", numbered(99))
    story.start()
    story.run(20.0)

    assert_once(story, [*TWELVE, "99"])


def test_renamed_before_it_was_met_by_a_logger_that_goes_on_there(new_story: NewStory) -> None:
    """Such a name alone says nothing: the newest file may have it, and another lie beside it since long ago."""
    story = new_story(format=Format.CRI, is_started=False)
    story.append("app.log", numbered(99))
    story.append(ROTATED, TEXT)
    story.start()
    story.run(60.0)

    assert ["1", "99"] == shipped(story)


def test_deleted(story: Story) -> None:
    """It is open still, so nothing of it is lost."""
    story.append("app.log", TEXT)
    story.run()
    story.path("app.log").unlink()
    story.run(60.0)

    assert TWELVE == shipped(story)
    assert dict.fromkeys(TWELVE, 1) == counted(story)
    assert 0 == story.lost_bytes()


def test_compressed(story: Story, unseen: Unseen) -> None:
    """The same in the archive."""
    story.append("app.log", TEXT)
    story.run()
    with unseen(story):
        story.path("app.log").rename(story.path(ROTATED))
        story.compress(ROTATED)
    story.run(20.0)

    assert_once(story, TWELVE)


def test_an_archive_that_is_met_later(story: Story) -> None:
    """Nobody knew the file that it was made of."""
    story.append(f"{ROTATED}.gz", gzip.compress(TEXT))
    story.run(20.0)

    assert_once(story, TWELVE)


def test_an_archive_that_breaks_off_and_is_deleted(story: Story) -> None:
    """Nobody knows how it goes on; what could be read of it and was not is said to be lost."""
    whole = gzip.compress(TEXT, compresslevel=0)
    story.append(f"{ROTATED}.gz", whole[:-9])
    story.run(20.0)
    assert ["1"] == shipped(story)
    story.path(f"{ROTATED}.gz").unlink()
    story.run(60.0)

    assert 0 < len(TEXT) - len(numbered(1, stream="stdout")) - story.lost_bytes() < 9


@pytest.mark.parametrize("arrives", [False, True], ids=["lost on the way", "arrived"])
def test_killed_before_it_is_acknowledged(story: Story, *, arrives: bool) -> None:
    """The metrics have counted it and are committed: shipping goes the same way once more, to the same ids."""
    assert isinstance(story.receiver, MemoryReceiver | LocalReceiver)
    story.append("app.log", TEXT)
    story.run()
    story.path("app.log").rename(story.path(ROTATED))
    story.append("app.log", numbered(99))
    story.receiver.is_answering = False
    story.run(20.0)
    assert set(TWELVE) <= set(counted(story))
    story.kill(keeps_submitted=arrives)
    story.receiver.is_answering = True
    story.start()
    story.run(20.0)

    assert_once(story, [*TWELVE, "99"])


def test_while_the_output_takes_nothing(story: Story) -> None:
    """It waits, and is shipped and counted when there is room again."""
    story.append("app.log", TEXT)
    story.run()
    story.path("app.log").rename(story.path(ROTATED))
    story.block_output(is_blocked=True)
    story.run(60.0)
    assert ["1"] == shipped(story)
    story.block_output(is_blocked=False)
    story.run(20.0)

    assert_once(story, TWELVE)


@pytest.mark.parametrize(
    ("piece", "last"),
    [
        (line("stdout", "F", '2"}')[:-1], []),
        (line("stderr", "F", '{"n":50}')[:-1], ["50"]),
        (b"2024-01-15T10:00:00.0000", ["2024-01-15T10:00:00.0000"]),
    ],
    ids=["its end", "another line", "torn"],
)
def test_an_unterminated_line_behind_it(story: Story, unseen: Unseen, piece: bytes, last: list[str]) -> None:
    """It is the line's last part if it is one, else a line of its own."""
    story.append("app.log", TEXT + piece)
    story.run(60.0)
    assert ["1"] == shipped(story)
    with unseen(story):
        story.path("app.log").rename(story.path(ROTATED))
    story.append("app.log", numbered(99))
    story.run(20.0)

    assert_once(story, [*[each if last or each != TORN else "2" for each in TWELVE], *last, "99"])


def test_written_on_after_all(story: Story, unseen: Unseen) -> None:
    """What comes then are lines of their own, each shipped and counted once."""
    story.append("app.log", TEXT)
    story.run()
    story.path("app.log").rename(story.path(ROTATED))
    story.run(20.0)
    with unseen(story):
        story.append(ROTATED, numbered(20, 21) + line("stdout", "F", '2"}') + numbered(22))
    story.run(20.0)

    expected = sorted([*TWELVE, "20", "21", "22", '2"}'])
    assert expected == shipped(story)
    assert dict.fromkeys(expected, 1) == counted(story)


@pytest.mark.parametrize("has_end", [False, True])
def test_metrics_that_begin_within_it(new_story: NewStory, *, has_end: bool) -> None:
    """They count what comes after the very first start, which was within a line in parts; shipping begins before it."""
    story = new_story(format=Format.CRI, is_started=False, metrics_start=MetricsStart.NOW)
    story.append("app.log", TEXT)
    story.start()
    story.run(20.0)
    end = line("stdout", "F", '2"}') if has_end else b""
    story.append("app.log", numbered(20, 21) + end + numbered(22))
    story.run(20.0)
    story.path("app.log").rename(story.path(ROTATED))
    story.append("app.log", numbered(99))
    story.run(20.0)

    torn = "2" if has_end else TORN
    assert sorted([*[each if each != TORN else torn for each in TWELVE], "20", "21", "22", "99"]) == shipped(story)
    observed = ["20", "21", "22", "99", *(['2"}'] if has_end else [])]
    assert dict.fromkeys(observed, 1) == counted(story)
    assert all(each.is_joined for each in story.pipeline.roster.all())


def test_killed_where_metrics_began_within_it(new_story: NewStory) -> None:
    """Before what was shipped is acknowledged: the same ids come again, and nothing is counted again."""
    story = new_story(format=Format.CRI, is_started=False, metrics_start=MetricsStart.NOW)
    story.append("app.log", TEXT)
    story.start()
    story.run(20.0)
    story.append("app.log", numbered(20) + line("stderr", "P", "21") + numbered(22, stream="stderr"))
    assert isinstance(story.receiver, MemoryReceiver | LocalReceiver)
    story.receiver.is_answering = False
    story.path("app.log").rename(story.path(ROTATED))
    story.run(20.0)
    before = counted(story)
    story.kill(keeps_submitted=False)
    story.receiver.is_answering = True
    story.start()
    story.run(20.0)

    assert sorted([*TWELVE, "20", '21{"n":22}']) == shipped(story)
    assert {"20": 1, '21{"n":22}': 1} == before == counted(story)


@pytest.mark.parametrize("kind", ["archive", "rotated", "may go on"])
def test_read_once(new_story: NewStory, kind: str) -> None:
    """A run that ends takes it where it will not go on, and leaves it where it may."""
    story = new_story(format=Format.CRI, is_started=False, reads_once=True)
    story.clock_offset_seconds = 60.0
    if kind == "archive":
        story.append("app.log.gz", gzip.compress(TEXT))
    elif kind == "rotated":
        story.append(ROTATED, TEXT)
        story.append("app.log", numbered(99))
    else:
        story.append("app.log", TEXT)
    story.start()
    story.run_once()

    expected = {"archive": TWELVE, "rotated": sorted([*TWELVE, "99"]), "may go on": ["1"]}[kind]
    assert expected == shipped(story)
    assert dict.fromkeys(expected, 1) == counted(story)


def test_read_once_after_metrics_began_within_it(new_story: NewStory) -> None:
    """It ends, although shipping cannot come to where the metrics stand."""
    story = new_story(format=Format.CRI, is_started=False, metrics_start=MetricsStart.NOW)
    story.append("app.log", TEXT)
    story.start()
    story.run()
    story.stop()
    story.reads_once = True
    story.start()
    story.run_once()

    assert ["1"] == shipped(story)
