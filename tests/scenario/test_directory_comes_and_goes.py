"""The directory of the logs appears late, is renamed, removed, comes back, or another one has its place."""

from __future__ import annotations

import shutil

import pytest
from harness.story import NewStory, Story, Unseen


@pytest.fixture
def story(new_story: NewStory) -> Story:
    """The pattern leads through a directory that is not there yet."""
    return new_story(paths=["var/app/*.log*"])


def test_it_appears(story: Story, unseen: Unseen) -> None:
    """With all that leads to it, and a file in it at once."""
    with unseen(story):
        story.path("var/app").mkdir(parents=True)
        story.write("var/app/app.log", 5)
    story.run()
    story.write("var/app/app.log", 2)
    story.run()

    story.assert_exact()


def test_it_is_renamed_and_made_anew(story: Story, unseen: Unseen) -> None:
    """Deployment by directory: the old one is open still, the new one has a file of the same name."""
    story.path("var/app").mkdir(parents=True)
    story.write("var/app/app.log", 5)
    story.run()
    with unseen(story):
        story.path("var/app").rename(story.path("var/app.old"))
        story.path("var/app").mkdir()
        story.write("var/app/app.log", 3)
    story.run(20.0)

    story.assert_exact()


def test_lines_that_came_just_before_it_was_renamed(story: Story) -> None:
    """They are read in the file that is open."""
    story.path("var/app").mkdir(parents=True)
    story.write("var/app/app.log", 5)
    story.run()
    story.write("var/app/app.log", 2)
    story.path("var/app").rename(story.path("var/app.old"))
    story.run(20.0)

    story.assert_exact()


def test_it_is_removed_and_comes_back(story: Story, unseen: Unseen) -> None:
    """Another file then, with the same name."""
    story.path("var/app").mkdir(parents=True)
    story.write("var/app/app.log", 5)
    story.run()
    with unseen(story):
        shutil.rmtree(story.path("var"))
    story.run(130.0)
    with unseen(story):
        story.path("var/app").mkdir(parents=True)
        story.write("var/app/app.log", 3)
    story.run(20.0)

    story.assert_exact()


def test_it_is_away_for_a_while(story: Story, unseen: Unseen) -> None:
    """A file system that is unmounted and mounted again: its files go on where they were read, and nothing is lost."""
    story.path("var/app").mkdir(parents=True)
    story.write("var/app/app.log", 5)
    story.run()
    with unseen(story):
        story.path("var").rename(story.path("away"))
    story.run(400.0)
    with unseen(story):
        story.path("away").rename(story.path("var"))
        story.write("var/app/app.log", 3)
    story.run(130.0)

    story.assert_exact()


def test_another_is_mounted_over_it(story: Story, unseen: Unseen) -> None:
    """As a bind mount does: the path leads to another directory, then to the first again; each file goes on."""
    story.path("var/app").mkdir(parents=True)
    story.path("other").mkdir()
    story.write("var/app/app.log", 5)
    story.run()
    for below, above in (("first", "other"), ("other", "first")):
        with unseen(story):
            story.path("var/app").rename(story.path(below))
            story.path(above).rename(story.path("var/app"))
            story.write("var/app/app.log", 4)
        story.run(20.0)

    story.assert_exact()


def test_a_wildcard_in_its_name(new_story: NewStory, unseen: Unseen) -> None:
    """A directory for each pod: new ones are found, old ones go."""
    story = new_story(paths=["pods/*/app.log"])
    story.path("pods").mkdir()
    for number in range(5):
        with unseen(story):
            story.path(f"pods/{number}").mkdir()
            story.write(f"pods/{number}/app.log", 3)
        story.run()
        if number:
            shutil.rmtree(story.path(f"pods/{number - 1}"))
    story.run(60.0)

    story.assert_exact()


def test_all_below(new_story: NewStory) -> None:
    """`**` finds directories at any depth, also those that come later; hidden ones are left alone."""
    story = new_story(paths=["**/*.log"])
    for directory in ("", "a/", "a/b/c/", ".git/"):
        story.path(directory).mkdir(parents=True, exist_ok=True)
        if directory.startswith("."):
            story.append(f"{directory}x.log", b'{"n":0}\n')
        else:
            story.write(f"{directory}app.log", 2)
        story.run()

    story.assert_exact()
