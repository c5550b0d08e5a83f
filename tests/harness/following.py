"""Files are written, rotated, copied, cut, compressed, replaced, hidden and deleted, in any order, while the daemon
runs, stops, dies, reloads and stalls.

The ledger: every line that was not destroyed is one document and was counted once; of those that were destroyed before
they were read, at least the bytes that the daemon had seen are in `unread_lost_bytes`.

What cannot be known, and is not asked for: bytes that came and went between two looks, or while nobody ran; which half
of a line the writer had in its hands when the file was emptied; that a file whose only line has no end was renamed
before the daemon met it (the writer finishes its line there); how much was in a file that was replaced while it was
closed for want of descriptors, or of which nothing was read but the header that another begins with as well; where a
file differs that was cut to its first lines and grew longer than it had been before anybody looked; that a file
of which only such a header was read, for its line has no end, was copied and emptied; that it was cut just after it
came back from a backup, with an inode that nobody had seen, or as a copy of the deleted file that was held open, by a
process that was killed then (for another file, or for a copy in the making).

Run by `property/test_following`; its methods can be called one by one, too, to repeat a sequence.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from harness.privileges import ordinary_permissions
from harness.receiver import LocalReceiver, MemoryReceiver, Receiver
from harness.world import World
from harness.written import Written
from shipper.identity import FIRST_POWER
from shipper.settings import MetricsStart

HEADER = b'{"msg":"log opened","version":"1.2.3"}\n'
LINK_HEADER = b'{"msg":"another log opened"}\n'
"""What is told by its header alone is another content where that is another."""
ACTIVE = "app.log"
LINK = "current.log"
SEEN_SECONDS = 3.0
"""After so long a running daemon has looked at every file."""
RETRY_SECONDS = 6.0
"""After so long it has tried again to read what it could not."""
MOST_FILES = 8
MEMORY = Path("/dev/shm")
"""Where the state and the output lie: no power is cut here, so no disk is waited for. The logs do not lie there, since
only disks use inodes again.
"""
STYLES = st.sampled_from(["date", "number"])
PAUSES = st.sampled_from([0.0, 0.0, 0.3, 3.0])


class Following(RuleBasedStateMachine):
    """The world, and what must come of it."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="shipper-following-"))
        self.kept = Path(tempfile.mkdtemp(prefix="shipper-kept-", dir=MEMORY if MEMORY.is_dir() else None))
        self.written = Written()
        self.files = self.written.files
        self.is_unterminated = False
        self.is_inode_new = False
        self.suffix = 0

    # What is there to begin with

    @initialize(
        has_ledger=st.booleans(),
        starts_now=st.booleans(),
        has_header=st.booleans(),
        before=st.integers(0, 3),
        open_limit=st.sampled_from([100, 1, 2]),
        has_metrics=st.sampled_from([True, True, False]),
        held_bytes=st.sampled_from([0, 0, 20_000]),
    )
    def begin(
        self,
        *,
        has_ledger: bool,
        starts_now: bool,
        has_header: bool,
        before: int,
        open_limit: int,
        has_metrics: bool = True,
        held_bytes: int = 0,
    ) -> None:
        """`held_bytes`: so much disk space deleted files may hold; without limit if it is 0."""
        receiver: Receiver = LocalReceiver(self.kept / "out") if has_ledger else MemoryReceiver()
        self.world = World(
            self.directory,
            receiver=receiver,
            metrics_start=MetricsStart.NOW if starts_now else MetricsStart.BEGINNING,
            open_limit=open_limit,
            held_deleted_bytes=held_bytes,
            metrics=has_metrics,
        )
        self.world.state_directory = self.kept / "state"
        self.written.are_counted = has_metrics
        self.has_header = has_header
        self.is_loss_exact = not has_header and open_limit >= MOST_FILES
        self.write(count=before, size=60)
        for line in self.written.lines.values():
            line.is_counted = has_metrics and not starts_now
        self.world.start()
        self.run(seconds=SEEN_SECONDS)

    # The writer

    def _start_file(self) -> None:
        if ACTIVE not in self.files:
            self.files[ACTIVE] = []
            self.world.append(ACTIVE, b"")
        if self.has_header and not self.world.path(ACTIVE).stat().st_size:
            self.world.append(ACTIVE, HEADER)

    def _new_line(self, size: int, name: str = ACTIVE) -> bytes:
        data = self.world.line(size=size)
        self.written.add(name, self.world.written, len(data))
        return data

    def _finish_line(self) -> bytes:
        is_unterminated, self.is_unterminated = self.is_unterminated, False
        return b"\n" if is_unterminated else b""

    @rule(count=st.integers(0, 40), size=st.sampled_from([50, 60, 300, 3000]))
    def write(self, *, count: int, size: int) -> None:
        if count:
            self._start_file()
            self.world.append(ACTIVE, self._finish_line() + b"".join(self._new_line(size) for _ in range(count)))

    @rule(pieces=st.lists(st.integers(1, 60), min_size=1, max_size=4), seconds=st.sampled_from([0.0, 0.3, 3.0]))
    def write_in_pieces(self, *, pieces: list[int], seconds: float) -> None:
        """A line comes in pieces, the daemon looking in between."""
        self._start_file()
        self.world.append(ACTIVE, self._finish_line())
        data = self._new_line(size=300)
        for length in pieces:
            piece, data = data[:length], data[length:]
            self.world.append(ACTIVE, piece)
            self._pass(seconds)
        self.world.append(ACTIVE, data)
        self.written.lines[self.world.written].is_seen = False

    @rule()
    def write_without_newline(self) -> None:
        self._start_file()
        data = self._finish_line() + self._new_line(size=60)
        self.world.append(ACTIVE, data[:-1])
        self.is_unterminated = True

    # Rotation

    def _new_name(self, style: str) -> str:
        self.suffix += 1
        if style == "date":
            return f"app-2024-01-{self.suffix % 28 + 1:02d}.{self.suffix}.log"
        return f"app.log.{self.suffix}"

    def _end_of_renamed(self, new: str, *, is_known: bool) -> None:
        """What was renamed is not continued, but where the daemon could not know it."""
        if self.is_unterminated and not is_known:
            self.world.append(new, b"\n")
        self.is_unterminated = False

    def _is_known(self, name: str) -> bool:
        """Whether the daemon has met the file under its earlier name, with a line that it could tell it by."""
        lines = [self.written.lines[number] for number in self.files[name]]
        met = any(line.is_seen for line in lines[:-1])
        return self.world.is_running and (met or (self.has_header and bool(lines) and lines[-1].is_seen))

    @precondition(lambda self: ACTIVE in self.files and len(self.files) < MOST_FILES)
    @rule(style=STYLES, is_recreated=st.booleans(), is_linked=st.booleans(), seconds=PAUSES)
    def rename(self, *, style: str, is_recreated: bool, is_linked: bool, seconds: float) -> None:
        """In one step, or by a hard link first, so that the file has two names for a while."""
        new, is_known = self._new_name(style), self._is_known(ACTIVE)
        if is_linked:
            self.world.path(new).hardlink_to(self.world.path(ACTIVE))
            self._pass(seconds)
            self.world.path(ACTIVE).unlink()
        else:
            self.world.path(ACTIVE).rename(self.world.path(new))
        self.written.moved(ACTIVE, new)
        self._end_of_renamed(new, is_known=is_known)
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
            if not self.world.path(new).exists():
                self.world.path(f"app.log.{number}").rename(self.world.path(new))
                self.written.moved(f"app.log.{number}", new)
        self.suffix = max([self.suffix, 1, *(number + 1 for number in numbered)])
        if "app.log.1" not in self.files:
            is_known = self._is_known(ACTIVE)
            self.world.path(ACTIVE).rename(self.world.path("app.log.1"))
            self.written.moved(ACTIVE, "app.log.1")
            self._end_of_renamed("app.log.1", is_known=is_known)

    @precondition(lambda self: ACTIVE in self.files and len(self.files) < MOST_FILES)
    @rule(is_matched=st.booleans(), seconds=PAUSES, regrown=st.sampled_from([0, 0, 1, 60]))
    def copytruncate(self, *, is_matched: bool, seconds: float, regrown: int) -> None:
        """The copy lies where the pattern looks, or not; the file may be longer than before when it is looked at."""
        name = self._new_name("number") if is_matched else f"copy-{self.suffix}.txt"
        shutil.copyfile(self.world.path(ACTIVE), self.world.path(name))
        if is_matched:
            self.written.copied(ACTIVE, name)
            is_met = len(self.files[name]) > 1
            if self.is_unterminated and not (is_met and self._is_known(name)):
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
        self.written.emptied(ACTIVE)
        self.is_unterminated = False

    @precondition(lambda self: self.files.get(ACTIVE))
    @rule(kept=st.integers(0, 40), is_torn=st.booleans())
    def cut(self, *, kept: int, is_torn: bool) -> None:
        """To its first lines and perhaps a piece of the next, which is no line any more; looked at before it grows."""
        kept = min(kept, len(self.files[ACTIVE]) - 1)
        first = self.files[ACTIVE][kept]
        size = self.world.offset_of(ACTIVE, first)
        if self.is_inode_new or (size < FIRST_POWER and kept + self.has_header < 2):
            kept, size, is_torn = 0, 0, False  # an equal first line says nothing: it counts as written anew
        elif is_torn:
            size += self.written.tear(first)
        os.truncate(self.world.path(ACTIVE), size)
        self.written.emptied(ACTIVE, kept=kept)
        self.is_unterminated = False
        if not self.world.is_running:
            self.world.start()
        self._pass(SEEN_SECONDS)
        self.world.append(ACTIVE, b"\n" if is_torn else b"")

    @rule(count=st.integers(0, 5))
    def replace(self, *, count: int) -> None:
        """Another file is moved to its place."""
        if ACTIVE in self.files:
            self.written.deleted(ACTIVE)
        self.is_unterminated = False
        self.files[ACTIVE] = []
        new = self.world.elsewhere / "next"
        header = HEADER if self.has_header else b""
        new.write_bytes(header + b"".join(self._new_line(300) for _ in range(count)))
        new.rename(self.world.path(ACTIVE))

    # Archives

    def _rotated(self) -> list[str]:
        return sorted(name for name in self.files if name != ACTIVE)

    def _plain_rotated(self) -> list[str]:
        return [name for name in self._rotated() if not name.endswith(".gz") and f"{name}.gz" not in self.files]

    @precondition(lambda self: self._plain_rotated())
    @rule(
        which=st.integers(0, 7),
        members=st.sampled_from([1, 1, 2]),
        steps=st.sampled_from([1, 1, 2, 3]),
        seconds=st.sampled_from([0.0, 0.3, 3.0]),
    )
    def compress(self, *, which: int, members: int, steps: int, seconds: float) -> None:
        """In place: the archive grows beside the file, then the file is deleted."""
        names = self._plain_rotated()
        name = names[which % len(names)]
        text = self.world.path(name).read_bytes()
        piece = len(text) // members + 1
        data = b"".join(gzip.compress(text[at : at + piece], mtime=0) for at in range(0, len(text) + 1, piece))
        size = len(data) // steps + 1
        for start in range(0, len(data), size):
            self.world.append(f"{name}.gz", data[start : start + size])
            self._pass(seconds)
        self.world.path(name).unlink()
        self.written.moved(name, f"{name}.gz")

    # Gone, hidden, elsewhere

    @precondition(lambda self: self._rotated())
    @rule(which=st.integers(0, 7))
    def delete(self, *, which: int) -> None:
        names = self._rotated()
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
        self.written.deleted(name)

    def _own_rotated(self) -> list[str]:
        """Those whose names have the same stem."""
        return [name for name in self._plain_rotated() if name != LINK]

    @precondition(lambda self: self._own_rotated() and len(self.files) < MOST_FILES)
    @rule(which=st.integers(0, 7))
    def hard_link(self, *, which: int) -> None:
        names = self._own_rotated()
        name, new = names[which % len(names)], self._new_name("number")
        self.world.path(new).hardlink_to(self.world.path(name))
        self.written.copied(name, new)

    @precondition(lambda self: self._rotated())
    @rule(which=st.integers(0, 7))
    def move_away(self, *, which: int) -> None:
        names = self._rotated()
        name = names[which % len(names)]
        self.world.path(name).rename(self.world.elsewhere / name)
        self.written.moved_away(name)

    @precondition(lambda self: self.written.away)
    @rule(which=st.integers(0, 7))
    def bring_back(self, *, which: int) -> None:
        names = sorted(self.written.away)
        name = names[which % len(names)]
        if not self.world.path(name).exists():
            (self.world.elsewhere / name).rename(self.world.path(name))
            self.written.brought_back(name)

    @precondition(lambda self: LINK in self.files or len(self.files) < MOST_FILES)
    @rule(count=st.integers(0, 5))
    def swap_link(self, *, count: int) -> None:
        """A link leads to another file, elsewhere, which is written in the meantime."""
        if LINK in self.files:
            self.written.deleted(LINK)
        self.suffix += 1
        self.files[LINK] = []
        target = self.world.elsewhere / f"current-2024-02-{self.suffix % 28 + 1:02d}.{self.suffix}.log"
        header = LINK_HEADER if self.has_header else b""
        target.write_bytes(header + b"".join(self._new_line(300, LINK) for _ in range(count)))
        new = self.world.elsewhere / "link"
        new.symlink_to(target)
        new.rename(self.world.path(LINK))

    @precondition(lambda self: LINK in self.files)
    @rule(count=st.integers(1, 5))
    def write_behind_link(self, *, count: int) -> None:
        self.world.append(LINK, b"".join(self._new_line(300, LINK) for _ in range(count)))

    @rule(seconds=st.sampled_from([0.3, 3.0, 100.0]), is_restored=st.booleans())
    def directory_away(self, *, seconds: float, is_restored: bool) -> None:
        """The directory has another name for a while, or is removed and comes back from a backup."""
        kept = self.directory / "kept"
        if is_restored:
            shutil.copytree(self.world.logs, kept, symlinks=True)
            shutil.rmtree(self.world.logs)
            self.is_inode_new = True
        else:
            self.world.logs.rename(kept)
        self._run(seconds)
        kept.rename(self.world.logs)

    @precondition(lambda self: self.files)
    @rule(which=st.integers(0, 7), seconds=st.sampled_from([0.3, 10.0]), is_restarted=st.booleans())
    def unreadable(self, *, which: int, seconds: float, is_restarted: bool) -> None:
        """Nobody may read a file for a while."""
        names = sorted(self.files)
        path = self.world.path(names[which % len(names)])
        mode = path.stat().st_mode
        path.chmod(0)
        with ordinary_permissions():
            if is_restarted and self.world.is_running:
                self.world.kill()
                self.world.start()
            self._run(seconds)
        path.chmod(mode)
        self._run(RETRY_SECONDS)

    # Time

    @rule(seconds=st.sampled_from([-86_400.0, -60.0, 3600.0, 86_400.0]))
    def clock_jumps(self, *, seconds: float) -> None:
        self.world.clock_offset += seconds

    @precondition(lambda self: self.files)
    @rule(which=st.integers(0, 7), seconds=st.sampled_from([-86_400.0, 86_400.0]))
    def touch(self, *, which: int, seconds: float) -> None:
        """A file has a time of long ago, or of the future."""
        names = sorted(self.files)
        at = self.world.clock() + seconds
        os.utime(self.world.path(names[which % len(names)]), (at, at))

    # The daemon

    def _run(self, seconds: float) -> None:
        if self.world.is_running:
            self.world.run(seconds)

    def _pass(self, seconds: float) -> None:
        if not self.world.is_running or not seconds:
            return
        self.world.run(seconds)
        if seconds >= SEEN_SECONDS:
            self.is_inode_new &= not self.world.follows(ACTIVE)
            for name, numbers in self.files.items():
                is_only = not self.has_header and len(numbers) == 1
                self.written.see(name, but_last=is_only and name == ACTIVE and self.is_unterminated)

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

    @precondition(lambda self: self.world.is_running)
    @rule()
    def reload(self) -> None:
        self.world.reload()

    # The output

    @rule(has_place=st.booleans(), is_answering=st.booleans())
    def disturb(self, *, has_place: bool, is_answering: bool) -> None:
        receiver = self.world.receiver
        assert isinstance(receiver, MemoryReceiver | LocalReceiver)
        receiver.has_place, receiver.is_answering = has_place, is_answering

    @rule(number=st.integers(0, 7), is_whole=st.booleans())
    def answer_out_of_order(self, *, number: int, is_whole: bool) -> None:
        """One batch is answered before the others; or some of its documents, the others being refused for now."""
        receiver = self.world.receiver
        if isinstance(receiver, MemoryReceiver) and receiver.under_way:
            answer = receiver.answer_one if is_whole else receiver.keep_a_part
            answer(number % len(receiver.under_way))

    # What must have come of it

    def teardown(self) -> None:
        try:
            if hasattr(self, "world"):
                self.check()
        finally:
            self.give_up()

    def give_up(self) -> None:
        """Leaves nothing behind."""
        if hasattr(self, "world") and self.world.is_running:
            self.world.kill()
        shutil.rmtree(self.directory)
        shutil.rmtree(self.kept)

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
        for number, line in self.written.lines.items():
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
        self.world.state_directory = self.kept / "other-state"
        self.world.reads_once = True
        self.world.start()
        self.world.run_once()
        assert self.world.receiver.documents().keys() == before
