"""Files are written, rotated, copied, cut, compressed and deleted while the daemon runs, stops, dies and stalls.

The ledger: every line that was not destroyed is one document and was counted once; of those that were destroyed before
they were read, at least the bytes that the daemon had seen are in `unread_lost_bytes`.

What cannot be known, and is not asked for: bytes that came and went between two looks, or while nobody ran; which half
of a line the writer had in its hands when the file was emptied; that a file whose only line has no end was renamed
before the daemon met it (the writer finishes its line there); how much was in a file that was replaced while it was
closed for want of descriptors, or of which nothing was read but the header that another begins with as well.

`SHIPPER_MODEL_RUNS=20000` makes a long run of it.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from harness.receiver import LocalReceiver, MemoryReceiver, Receiver
from harness.world import World
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from shipper.settings import MetricsStart

RUNS = int(os.environ.get("SHIPPER_MODEL_RUNS", "50"))
OPEN_LIMITS = [1, 2, 100] if "SHIPPER_MODEL_RUNS" in os.environ else [100]
"""Long runs search where files are closed between looks too; the usual one repeats the same examples each time."""
HEADER = b'{"msg":"log opened","version":"1.2.3"}\n'
ACTIVE = "app.log"
SEEN_SECONDS = 3.0
"""After so long a running daemon has looked at every file."""
MOST_FILES = 8


@dataclass
class Line:
    """One line that was written."""

    number: int
    size: int
    is_seen: bool = False
    """The daemon could see it before it was destroyed."""
    places: set[str] = field(default_factory=set)
    """In which files it stands that a pattern matches."""
    is_counted: bool = True
    """False if it was there at the very first start."""


class Following(RuleBasedStateMachine):
    """The world, and what must come of it."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="shipper-following-"))
        self.lines: dict[int, Line] = {}
        self.files: dict[str, list[int]] = {}  # the lines of each file, those without newline at its end too
        self.is_unterminated = False
        self.suffix = 0

    # What is there to begin with

    @initialize(
        has_ledger=st.booleans(),
        starts_now=st.booleans(),
        has_header=st.booleans(),
        before=st.integers(0, 3),
        open_limit=st.sampled_from(OPEN_LIMITS),
    )
    def begin(self, *, has_ledger: bool, starts_now: bool, has_header: bool, before: int, open_limit: int) -> None:
        receiver: Receiver = LocalReceiver(self.directory / "out") if has_ledger else MemoryReceiver()
        self.world = World(
            self.directory,
            receiver=receiver,
            metrics_start=MetricsStart.NOW if starts_now else MetricsStart.BEGINNING,
            open_limit=open_limit,
        )
        self.has_header = has_header
        self.is_loss_exact = not has_header and open_limit >= MOST_FILES
        self.write(count=before, size=60)
        for line in self.lines.values():
            line.is_counted = not starts_now
        self.world.start()
        self.run(seconds=SEEN_SECONDS)

    # The writer

    def _start_file(self) -> None:
        if ACTIVE not in self.files:
            self.files[ACTIVE] = []
            self.world.append(ACTIVE, b"")
        if self.has_header and not self.world.path(ACTIVE).stat().st_size:
            self.world.append(ACTIVE, HEADER)

    def _new_line(self, size: int) -> bytes:
        self._start_file()
        data = self.world.line(size=size)
        number = self.world.written
        self.lines[number] = Line(number, len(data), places={ACTIVE})
        self.files[ACTIVE].append(number)
        return data

    def _finish_line(self) -> bytes:
        is_unterminated, self.is_unterminated = self.is_unterminated, False
        return b"\n" if is_unterminated else b""

    @rule(count=st.integers(0, 40), size=st.sampled_from([50, 60, 300, 3000]))
    def write(self, *, count: int, size: int) -> None:
        data = self._finish_line() if count else b""
        for _ in range(count):
            data += self._new_line(size)
        if data:
            self.world.append(ACTIVE, data)

    @rule(pieces=st.lists(st.integers(1, 60), min_size=1, max_size=4), seconds=st.sampled_from([0.0, 0.3, 3.0]))
    def write_in_pieces(self, *, pieces: list[int], seconds: float) -> None:
        """A line comes in pieces, the daemon looking in between."""
        data = self._finish_line()
        self.world.append(ACTIVE, data) if data else None
        data = self._new_line(size=300)
        for length in pieces:
            piece, data = data[:length], data[length:]
            self.world.append(ACTIVE, piece)
            self._pass(seconds)
        self.world.append(ACTIVE, data)
        self.lines[self.world.written].is_seen = False

    @rule()
    def write_without_newline(self) -> None:
        data = self._finish_line() + self._new_line(size=60)
        self.world.append(ACTIVE, data[:-1])
        self.is_unterminated = True

    # Rotation

    def _new_name(self, style: str) -> str:
        self.suffix += 1
        if style == "date":
            return f"app-2024-01-{self.suffix % 28 + 1:02d}.{self.suffix}.log"
        return f"app.log.{self.suffix}"

    def _moved(self, name: str, new: str) -> None:
        for number in self.files[name]:
            self.lines[number].places.discard(name)
            self.lines[number].places.add(new)
        self.files[new] = self.files.pop(name)

    def _rename_active(self, new: str) -> None:
        self.world.path(ACTIVE).rename(self.world.path(new))
        self._moved(ACTIVE, new)
        if self.is_unterminated and not self._is_known(new):
            self.world.append(new, b"\n")
        self.is_unterminated = False

    def _is_known(self, name: str) -> bool:
        """Whether the daemon has met the file under its earlier name, with a line that it could tell it by."""
        met = self.world.is_running and any(self.lines[number].is_seen for number in self.files[name][:-1])
        return met or (self.world.is_running and self.has_header and self.lines[self.files[name][-1]].is_seen)

    @precondition(lambda self: ACTIVE in self.files and len(self.files) < MOST_FILES)
    @rule(style=st.sampled_from(["date", "number"]), is_recreated=st.booleans())
    def rename(self, *, style: str, is_recreated: bool) -> None:
        self._rename_active(self._new_name(style))
        if is_recreated:
            self._start_file()

    @precondition(lambda self: ACTIVE in self.files and len(self.files) < MOST_FILES)
    @rule()
    def rename_in_cascade(self) -> None:
        """As logrotate does: each file one number on, from the last."""
        numbered = sorted(
            (int(name.rsplit(".", 1)[1]) for name in self.files if name.startswith("app.log.") and name[8:].isdigit()),
            reverse=True,
        )
        for number in numbered:
            new = f"app.log.{number + 1}"
            if new not in self.files:
                self.world.path(f"app.log.{number}").rename(self.world.path(new))
                self._moved(f"app.log.{number}", new)
        self.suffix = max([self.suffix, *(number + 1 for number in numbered)])
        if "app.log.1" not in self.files:
            self._rename_active("app.log.1")
            self.suffix = max(self.suffix, 1)

    def _destroyed(self, name: str) -> None:
        for number in self.files[name]:
            self.lines[number].places.discard(name)
        self.files[name] = []

    @precondition(lambda self: ACTIVE in self.files and len(self.files) < MOST_FILES)
    @rule(
        is_matched=st.booleans(),
        seconds=st.sampled_from([0.0, 0.0, 0.3, 3.0]),
        regrown=st.sampled_from([0, 0, 1, 60]),
    )
    def copytruncate(self, *, is_matched: bool, seconds: float, regrown: int) -> None:
        """The copy lies where the pattern looks, or not; the file may be longer than before when it is looked at."""
        name = self._new_name("number") if is_matched else f"copy-{self.suffix}.txt"
        shutil.copyfile(self.world.path(ACTIVE), self.world.path(name))
        if is_matched:
            self.files[name] = list(self.files[ACTIVE])
            for number in self.files[name]:
                self.lines[number].places.add(name)
            if self.is_unterminated and not self._is_known(name):
                self.world.append(name, b"\n")
        self._pass(seconds)
        self._empty()
        self.write(count=regrown, size=300)

    @precondition(lambda self: ACTIVE in self.files)
    @rule(regrown=st.sampled_from([0, 0, 1, 60]))
    def truncate(self, *, regrown: int) -> None:
        self._empty()
        self.write(count=regrown, size=300)

    def _empty(self) -> None:
        os.truncate(self.world.path(ACTIVE), 0)
        self._destroyed(ACTIVE)
        self.is_unterminated = False

    # Archives

    def _plain_rotated(self) -> list[str]:
        plain = (name for name in self.files if name != ACTIVE and not name.endswith(".gz"))
        return sorted(name for name in plain if f"{name}.gz" not in self.files)

    @precondition(lambda self: self._plain_rotated())
    @rule(which=st.integers(0, 7), steps=st.sampled_from([1, 1, 2, 3]), seconds=st.sampled_from([0.0, 0.3, 3.0]))
    def compress(self, *, which: int, steps: int, seconds: float) -> None:
        """In place: the archive grows beside the file, then the file is deleted."""
        names = self._plain_rotated()
        name = names[which % len(names)]
        data = gzip.compress(self.world.path(name).read_bytes(), mtime=0)
        size = len(data) // steps + 1
        for start in range(0, len(data), size):
            self.world.append(f"{name}.gz", data[start : start + size])
            self._pass(seconds)
        self.world.path(name).unlink()
        self._moved(name, f"{name}.gz")

    @precondition(lambda self: any(name != ACTIVE for name in self.files))
    @rule(which=st.integers(0, 7))
    def delete(self, *, which: int) -> None:
        names = sorted(name for name in self.files if name != ACTIVE)
        self._delete(names[which % len(names)])

    @precondition(lambda self: ACTIVE in self.files)
    @rule(is_recreated=st.booleans())
    def delete_active(self, *, is_recreated: bool) -> None:
        self._delete(ACTIVE)
        self.is_unterminated = False
        if is_recreated:
            self._start_file()

    def _delete(self, name: str) -> None:
        self.world.path(name).unlink()
        self._destroyed(name)
        del self.files[name]

    # The daemon

    def _pass(self, seconds: float) -> None:
        if not self.world.is_running or not seconds:
            return
        self.world.run(seconds)
        if seconds >= SEEN_SECONDS:
            for name, numbers in self.files.items():
                has_line = self.has_header or len(numbers) > 1 or not (name == ACTIVE and self.is_unterminated)
                for number in numbers:
                    self.lines[number].is_seen |= has_line

    @rule(seconds=st.sampled_from([0.01, 0.2, 1.0, 3.0, 10.0, 100.0]))
    def run(self, *, seconds: float) -> None:
        self._pass(seconds)

    @precondition(lambda self: self.world.is_running)
    @rule()
    def stop(self) -> None:
        self.world.stop()

    @precondition(lambda self: self.world.is_running)
    @rule(keeps_submitted=st.booleans())
    def kill(self, *, keeps_submitted: bool) -> None:
        self.world.kill(keeps_submitted=keeps_submitted)

    @precondition(lambda self: not self.world.is_running)
    @rule()
    def start(self) -> None:
        self.world.start()

    # The output

    @rule(has_place=st.booleans(), is_answering=st.booleans())
    def disturb(self, *, has_place: bool, is_answering: bool) -> None:
        receiver = self.world.receiver
        assert isinstance(receiver, MemoryReceiver | LocalReceiver)
        receiver.has_place, receiver.is_answering = has_place, is_answering

    @rule(number=st.integers(0, 7))
    def answer_out_of_order(self, *, number: int) -> None:
        receiver = self.world.receiver
        if isinstance(receiver, MemoryReceiver) and receiver.under_way:
            receiver.answer_one(number % len(receiver.under_way))

    # What must have come of it

    def teardown(self) -> None:
        try:
            if hasattr(self, "world"):
                self.check()
        finally:
            if hasattr(self, "world") and self.world.is_running:
                self.world.kill()
            shutil.rmtree(self.directory)

    def check(self) -> None:
        self.disturb(has_place=True, is_answering=True)
        if self.is_unterminated:
            self.world.append(ACTIVE, self._finish_line())
        if not self.world.is_running:
            self.world.start()
        self.world.run(700.0)
        shipped, counted = self.world.shipped(), self.world.counted()
        assert len(shipped) == len(set(shipped)), "a line has two ids"
        missing = 0
        for number, line in self.lines.items():
            times = counted.get(number, 0)
            assert times <= line.is_counted, f"line {number} was counted {times} times"
            is_there = number in shipped and times == line.is_counted
            assert is_there or not line.places, f"line {number} is in {line.places}, counted {times} times"
            if not is_there and line.is_seen:
                missing += line.size - 1  # its newline may not have been there
        assert missing <= self.world.lost_bytes() or not self.is_loss_exact, "lines are missing without a word"
        self.check_again()

    def check_again(self) -> None:
        """A daemon without any state adds nothing to what is there."""
        before = self.world.receiver.documents().keys()
        self.world.stop()
        self.world.state_directory = self.directory / "other-state"
        self.world.reads_once = True
        self.world.start()
        self.world.run_once()
        assert self.world.receiver.documents().keys() == before


Following.TestCase.settings = settings(
    max_examples=RUNS,
    derandomize="SHIPPER_MODEL_RUNS" not in os.environ,
    stateful_step_count=30 if "SHIPPER_MODEL_RUNS" in os.environ else 8,
    phases=list(Phase) if "SHIPPER_MODEL_RUNS" in os.environ else [Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
)
TestFollowing = Following.TestCase
