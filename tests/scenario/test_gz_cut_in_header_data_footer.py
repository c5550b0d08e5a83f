"""An archive that ends within its header, its data or its footer: what can be read is, and the rest once it comes."""

from __future__ import annotations

import gzip
import zlib

import pytest
from harness.story import NewStory, Story

LINES = 400


def archive_of(text: bytes) -> bytes:
    """With a name in its header, as gzip writes it."""
    stream = zlib.compressobj(6, zlib.DEFLATED, -15)
    header = b"\x1f\x8b\x08\x08" + bytes(4) + b"\0\x03app.log.1\0"
    footer = zlib.crc32(text).to_bytes(4, "little") + len(text).to_bytes(4, "little")
    return header + stream.compress(text) + stream.flush() + footer


HEADER_BYTES = 20
FOOTER_BYTES = 8


def cut_at(archive: bytes, place: str) -> int:
    """Where the archive ends for now."""
    places = {
        "magic": 1,
        "header": 8,
        "name": HEADER_BYTES - 3,
        "no data": HEADER_BYTES,
        "data": len(archive) // 2,
        "no footer": len(archive) - FOOTER_BYTES,
        "footer": len(archive) - 3,
    }
    return places[place]


PLACES = ["magic", "header", "name", "no data", "data", "no footer", "footer"]


@pytest.fixture
def archive(story: Story) -> bytes:
    text = story.lines(LINES)
    made = archive_of(text)
    assert text == gzip.decompress(made)
    return made


@pytest.mark.parametrize("place", PLACES)
def test_the_rest_comes_later(story: Story, archive: bytes, place: str) -> None:
    """The daemon has looked at the cut archive for minutes when somebody goes on writing it."""
    cut = cut_at(archive, place)
    story.append("app.log.1.gz", archive[:cut])
    story.run(100.0)
    assert (LINES if "footer" in place else 0) <= len(story.shipped()) <= LINES
    story.append("app.log.1.gz", archive[cut:])
    story.run(20.0)

    story.assert_exact()


@pytest.mark.parametrize("place", PLACES)
def test_the_rest_comes_while_down(story: Story, archive: bytes, place: str) -> None:
    """The daemon ends at the cut, and finds the whole archive when it starts."""
    cut = cut_at(archive, place)
    story.append("app.log.1.gz", archive[:cut])
    story.run()
    story.stop()
    story.append("app.log.1.gz", archive[cut:])
    story.start()
    story.run(20.0)

    story.assert_exact()


@pytest.mark.parametrize("place", PLACES)
def test_the_rest_never_comes(story: Story, archive: bytes, place: str) -> None:
    """What stands before the cut is delivered, as far as it unfolds to whole lines; a second daemon adds nothing."""
    cut = cut_at(archive, place)
    story.append("app.log.1.gz", archive[:cut])
    story.append("other.log", b'{"n":0}\n')
    story.run(100.0)
    readable = zlib.decompressobj(wbits=31).decompress(archive[:cut]).count(b"\n")
    story.restart()
    story.run(100.0)

    assert list(range(readable + 1)) == story.shipped()
    assert dict.fromkeys(range(readable + 1), 1) == story.counted()


@pytest.mark.parametrize("damaged", ["data", "checksum"])
def test_damaged(story: Story, archive: bytes, damaged: str) -> None:
    """Other bytes stand in data or checksum: what came before them is delivered once, and the damage is said."""
    at = len(archive) // 2 if damaged == "data" else len(archive) - FOOTER_BYTES
    story.append("app.log.1.gz", archive[:at] + b"\xff\xff\xff\xff" + archive[at + 4 :])
    story.run(100.0)
    documents, counted = story.receiver.documents(), story.tally.counts.copy()
    story.restart()
    story.run(100.0)

    readable = zlib.decompressobj(wbits=31).decompress(archive[:at]).count(b"\n")
    assert [] == sorted({*range(1, readable + 1)} - {*story.shipped()})
    assert documents == story.receiver.documents()
    assert counted == story.tally.counts
    assert len(documents) == counted.total()
    assert 1 <= story.metric("parse_failures_total", source="app", reason="damaged_file")


def test_once_says_nothing_is_left(new_story: NewStory) -> None:
    """A run that reads once ends at the cut, with the lines before it."""
    story = new_story(is_started=False, reads_once=True)
    made = archive_of(story.lines(LINES))
    story.append("app.log.1.gz", made[: len(made) - FOOTER_BYTES])
    story.start()
    story.run_once()

    assert list(range(1, LINES + 1)) == story.shipped()
