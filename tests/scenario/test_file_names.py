"""Names that nobody would choose: each is a name like another, in patterns, documents, state and logs."""

from __future__ import annotations

import json
import os

import pytest
from harness.receiver import LocalReceiver, MemoryReceiver
from harness.story import NewStory, Story, Unseen

NAMES = {
    "a newline": "app\nx.log",
    "a carriage return and a tab": "app\r\tx.log",
    "invalid UTF-8": os.fsdecode(b"app-\xff\xfe.log"),
    "glob characters": "app-[a]*?.log",
    "an escape sequence": "app-\x1b[31m.log",
    "quotes and a backslash": "app-\"'\\.log",
    "a space and a dash": "- app .log",
    "another script": "журнал-日誌-🩺.log",
    "a composed letter, and one in parts": "é-e\u0301.log",
    "255 bytes": "a" * 251 + ".log",
    "a percent sign": "app-%Y%s.log",
    "a colon and a dollar": "c:$HOME${X}.log",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_followed_rotated_and_restarted(story: Story, unseen: Unseen, name: str) -> None:
    """It is found by a pattern, grows, is renamed, and is known again after a restart."""
    renamed = f"{name}.1" if len(name) < 250 else "b" * 251 + ".log"
    story.write(name, 3)
    story.run()
    with unseen(story):
        story.write(name, 2)
        story.path(name).rename(story.path(renamed))
        story.write(name, 2)
    story.run()

    assert sorted([name, renamed]) == story.names()
    assert list(range(1, story.written + 1)) == story.shipped()
    assert dict.fromkeys(range(1, story.written + 1), 1) == story.counted()


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_named_without_a_wildcard(new_story: NewStory, name: str) -> None:
    """A path that lies there is that file, although it could be read as a pattern."""
    story = new_story(is_started=False, paths=[name])
    story.write(name, 3)
    story.write("app-aX.log", 1)  # which app-[a]*?.log would match as a pattern
    story.start()
    story.run()

    assert [name] == story.names()
    assert [1, 2, 3] == story.shipped()


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_the_document_is_valid(story: Story, name: str) -> None:
    """`log.file.path` is the path as text: what is no UTF-8 in it is replaced, so that any server takes it."""
    story.write(name, 1)
    story.run()

    assert isinstance(story.receiver, MemoryReceiver | LocalReceiver)
    (document,) = story.receiver.documents().values()
    path = document["log"]["file"]["path"]
    assert os.fsencode(story.path(name)).decode("utf-8", "replace") == path
    assert path == json.loads(json.dumps(path).encode())


def test_two_names_that_look_alike(story: Story) -> None:
    """They are two files, with each line of each."""
    for name in ("é.log", "e\u0301.log", os.fsdecode(b"\xff.log"), os.fsdecode(b"\xfe.log")):
        story.write(name, 2)
    story.run()

    assert 4 == len(story.names())
    story.assert_exact()
