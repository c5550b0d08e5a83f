"""Which files are followed: those that come later, those that are left out, and none twice."""

from __future__ import annotations

from pathlib import Path

from command import documents_in, run_to_end
from harness.story import NewStory, Story, Unseen


def test_files_that_come_later(story: Story, unseen: Unseen) -> None:
    """Each is read from its beginning, whatever it held when it was found."""
    for number in range(5):
        with unseen(story):
            story.write(f"app-{number}-x.log", 10 * number + 1)
        story.run()

    story.assert_exact()


def test_moved_in_from_elsewhere(story: Story, unseen: Unseen, tmp_path: Path) -> None:
    """A file that was written where nobody looks, and is put there whole."""
    (tmp_path / "ready").write_bytes(story.lines(20))
    with unseen(story):
        (tmp_path / "ready").rename(story.path("app.log"))
    story.run()

    story.assert_exact()


def test_what_is_left_out(new_story: NewStory) -> None:
    """Excluded by name or path, hidden, temporary, a directory with a log's name: nothing of it is read."""
    story = new_story(paths=["*"], exclude=("*.swp", "*-debug.log"))
    for name in (".hidden.log", "app-debug.log", "app.log.swp", "app.log.tmp", "app.zip"):
        story.append(name, b'{"n":0}\n')
    story.path("directory.log").mkdir()
    story.write("app.log", 3)
    story.run()

    assert ["app.log"] == story.names()
    story.assert_exact()


def test_patterns_that_overlap(new_story: NewStory) -> None:
    """A file that several patterns of a source match is read once."""
    story = new_story(paths=["*.log", "app*", "app.log", "**/*.log"])
    story.write("app.log", 3)
    story.run()

    story.assert_exact()


def test_its_own_files(tmp_path: Path) -> None:
    """Output and state lie among the logs, under a pattern that matches everything: they are read at no start."""
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/app.log").write_text('{"timestamp":"2024-01-15T10:30:45.123Z","n":1}\n')
    for _ in range(2):
        done = run_to_end("run", "logs/**/*", "--once", "--output", "logs/out", directory=tmp_path)
        assert 0 == done.returncode, done.stderr

    assert [1] == [document["_source"]["n"] for document in documents_in(tmp_path / "logs/out")]
