"""Stories of files: a world whose ledger can be asked for whole, and the ways in which something happens unseen."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from harness.receiver import LocalReceiver, MemoryReceiver
from harness.world import World
from shipper.batch import Documents


class Story(World):
    """A world whose wall clock can be set, and whose ledger can be asked for whole."""

    clock_offset_seconds = 0.0

    def clock(self) -> float:
        return super().clock() + self.clock_offset_seconds

    def restart(self) -> None:
        """An orderly end, and a new daemon on the same state."""
        self.stop()
        self.start()

    def block_output(self, *, is_blocked: bool) -> None:
        """Nothing is taken over any more, until it is again."""
        assert isinstance(self.receiver, MemoryReceiver | LocalReceiver)
        self.receiver.has_place = not is_blocked

    def run_until(self, condition: Callable[[], bool], *, seconds: float = 600.0) -> None:
        """Lets time pass until it is so, but no more than that."""
        end = self.now + seconds
        while not condition():
            assert self.now < end, "it does not come to that"
            self.run(1.0)

    def read_one_batch(self) -> None:
        """Lets it read until it has handed over one batch; it stands there then, for the output takes nothing more."""
        output = self.receiver.output
        submit = output.submit

        def submit_last(documents: Documents) -> None:
            submit(documents)
            self.block_output(is_blocked=True)

        output.submit = submit_last  # type: ignore[method-assign]
        self.run(2.0)
        output.submit = submit  # type: ignore[method-assign]
        assert 0 < len(self.shipped()) < self.written

    def write_anew_unseen(self, name: str, *, header: bytes) -> None:
        """A file of which the header was read, and whose next line has no end yet, is emptied and written anew between
        two looks, with the same header and 60 lines of 300 bytes; these are read.
        """
        self.append(name, header + b'{"msg":"a line that is nev')
        self.run()
        with between_two_looks(self):
            os.truncate(self.path(name), 0)
            self.append(name, header + self.lines(60, size=300))
        self.run()

    def compress(self, name: str) -> None:
        """In place, as gzip does: the archive is complete, then the file is deleted."""
        path = self.path(name)
        self.path(f"{name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
        path.unlink()

    def copy_and_truncate(self, name: str, copy: str | Path) -> None:
        """As logrotate's copytruncate does."""
        path = self.path(name)
        self.path(str(copy)).write_bytes(path.read_bytes())
        with path.open("r+b") as file:
            file.truncate(0)

    def assert_exact(self, *, lost: int = 0) -> None:
        """Also for a daemon without any state, afterwards: what the files still hold is nothing new to the output.

        (It ends the daemon.)
        """
        super().assert_exact(lost=lost)
        before = self.receiver.documents().keys()
        self.stop()
        self.state_directory = self.state_directory.with_name("state-anew")
        self.reads_once = True
        self.start()
        self.run_once()
        assert before == self.receiver.documents().keys(), "a daemon with a fresh state made other documents"

    def assert_exact_but(self, numbers: Iterable[int], *, lost: int) -> None:
        """These lines could not be read: no documents, not counted, and so many bytes are said to be lost."""
        missing = set(numbers)
        there = [number for number in range(1, self.written + 1) if number not in missing]
        assert there == self.shipped()
        assert dict.fromkeys(there, 1) == self.counted()
        assert lost == self.lost_bytes()


# When something happens ----------------------------------------------------------------------------------------------

Unseen = Callable[[Story], AbstractContextManager[None]]
"""What happens within `with unseen(story):` happens before the daemon looks again."""

NewStory = Callable[..., Story]


@contextmanager
def between_two_looks(_story: Story) -> Iterator[None]:
    """The daemon runs on."""
    yield


@contextmanager
def while_stopped(story: Story) -> Iterator[None]:
    """An orderly end before, a start after it."""
    story.stop()
    yield
    story.start()


@contextmanager
def after_a_kill(story: Story) -> Iterator[None]:
    """The daemon dies without a word before."""
    story.kill()
    yield
    story.start()
