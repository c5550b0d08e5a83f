"""Submit, crash at any step, tear what was not committed, restart with or without a pipeline's state: every line once.

Each run of the output is a forked process, so that a crash is one: killed in the middle, locks and all gone.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from local_support import FakeContent, documents_of, ids, new_output, not_every_third, text

from shipper.batch import Documents
from shipper.failpoints import chosen

# Newer Pythons warn of a fork when any other test has left a thread; the child uses nothing that such a thread holds.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

PLACES = ["before_write", "after_write", "after_sync", "before_commit", "after_commit"]
INDICES = ["logs-2024.01.15", "logs-2024.01.16", "logs-undated"]
CRASHED = -signal.SIGKILL


@dataclass
class Log:
    """One log file: its present content, all lines it ever held, and how far a pipeline has it acknowledged."""

    content: FakeContent
    all_ids: set[str] = field(default_factory=set)
    acknowledged: int = 0


def in_child(work: Callable[[int], None]) -> tuple[int, list[tuple[int, int]]]:
    """Runs `work` in a fork; returns its exit code and the pairs of numbers that it wrote to the descriptor."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        code = 1
        try:
            work(writing)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = [line.split() for line in pipe]
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), [(int(number), int(end)) for number, end in said]


def batch_ends(data: bytes, start: int, lines: int) -> list[int]:
    """Where batches of so many lines end, from `start` to the end of the data."""
    ends, count = [], 0
    for at in range(start, len(data)):
        if data[at] == 0x0A:
            count += 1
            if count % lines == 0 or at + 1 == len(data):
                ends.append(at + 1)
    return ends


def run_output(
    directory: Path,
    logs: list[Log],
    writing: int,
    *,
    has_state: bool,
    lines: int,
    batches: int,
    is_threaded: bool,
    unwanted: Callable[[bytes], bool] = lambda _: False,
) -> None:
    """What a daemon (or a replay that chooses) does with the logs as they are, up to a clean stop; says which batches
    are done.
    """
    output = new_output(directory)
    output.start() if is_threaded else output.open()
    for number, log in enumerate(logs):

        def done(documents: Documents, number: int = number) -> None:
            os.write(writing, b"%d %d\n" % (number, documents.batch.end))

        covered = output.covered(log.content)
        start = log.acknowledged if has_state else 0
        for count, end in enumerate(batch_ends(log.content.data, start, lines), 1):
            output.submit(
                documents_of(log.content, start=start, end=end, covered=covered, unwanted=unwanted, done=done)
            )
            start = end
            if not is_threaded and count % batches == 0:
                assert output.deliver(output.take())
    if is_threaded:
        assert output.close(deadline=time.monotonic() + 60)
    else:
        assert output.deliver(output.take())
        output.release()


class OutputMachine(RuleBasedStateMachine):
    """Logs that grow or begin again with an equal first line, and an output that is killed wherever it hurts."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="shipper-property-"))
        self.logs: list[Log] = []
        self.written = 0
        self.required: set[str] = set()

    @initialize(count=st.integers(1, 2))
    def begin(self, count: int) -> None:
        for number in range(count):
            self.logs.append(Log(FakeContent(identity=f"{number:012x}")))
            self.append(number, 3, INDICES[0])

    @rule(number=st.integers(0, 1), lines=st.integers(1, 60), index_name=st.sampled_from(INDICES))
    def append(self, number: int, lines: int, index_name: str) -> None:
        log = self.logs[number % len(self.logs)]
        log.content.data += text(lines, first=self.written, index_name=index_name)
        log.all_ids |= set(log.content.ids())
        self.written += lines

    @rule(number=st.integers(0, 1), lines=st.integers(1, 60))
    def truncate_and_begin_again(self, number: int, lines: int) -> None:
        """What was not delivered of the old content is lost to us; the first line stays the same document."""
        log = self.logs[number % len(self.logs)]
        first_line = log.content.data[: log.content.data.index(b"\n") + 1]
        log.content = FakeContent(first_line, identity=log.content.identity)
        log.acknowledged = 0
        self.append(number, lines, INDICES[1])

    @rule(
        place=st.sampled_from(PLACES),
        passing=st.sampled_from([1, 1, 2, 4]),
        torn=st.integers(0, 5000),
        has_state=st.booleans(),
        lines=st.integers(1, 30),
        batches=st.integers(1, 3),
        is_threaded=st.booleans(),
    )
    def run_and_crash(
        self, place: str, passing: int, torn: int, has_state: bool, lines: int, batches: int, is_threaded: bool
    ) -> None:
        def work(writing: int) -> None:
            import shipper.local.dayfiles
            import shipper.local.groupcommit

            for module in (shipper.local.dayfiles, shipper.local.groupcommit):
                vars(module)["failpoint"] = chosen(f"local.{place}:{passing}")
            run_output(
                self.directory,
                self.logs,
                writing,
                has_state=has_state,
                lines=lines,
                batches=batches,
                is_threaded=is_threaded,
            )

        code, done = in_child(work)
        assert code in (0, CRASHED)  # 0: the place was not passed so often
        self.acknowledge(done)
        if code == CRASHED:
            self.tear(torn)

    @rule(
        place=st.sampled_from(["", *PLACES]),
        passing=st.sampled_from([1, 2, 4]),
        torn=st.integers(0, 5000),
        lines=st.integers(1, 30),
        batches=st.integers(1, 3),
    )
    def replay_every_third(self, place: str, passing: int, torn: int, lines: int, batches: int) -> None:
        """Perhaps not to its end; of the others nothing is said, so nobody may take them for delivered."""

        def work(writing: int) -> None:
            import shipper.local.dayfiles
            import shipper.local.groupcommit

            for module in (shipper.local.dayfiles, shipper.local.groupcommit):
                vars(module)["failpoint"] = chosen(f"local.{place}:{passing}" if place else "")
            run_output(
                self.directory,
                self.logs,
                writing,
                has_state=False,
                lines=lines,
                batches=batches,
                is_threaded=False,
                unwanted=not_every_third,
            )

        code, _ = in_child(work)
        assert code in (0, CRASHED)
        if code == CRASHED:
            self.tear(torn)
            return
        for log in self.logs:
            each = zip(log.content.ids(), log.content.data.splitlines(), strict=True)
            self.required |= {one for one, line in each if not not_every_third(line)}
        assert set(ids(self.directory)) >= self.required

    @rule(has_state=st.booleans(), lines=st.integers(1, 30), batches=st.integers(1, 3), is_threaded=st.booleans())
    def run_to_the_end(self, has_state: bool, lines: int, batches: int, is_threaded: bool) -> None:
        def work(writing: int) -> None:
            run_output(
                self.directory,
                self.logs,
                writing,
                has_state=has_state,
                lines=lines,
                batches=batches,
                is_threaded=is_threaded,
            )

        code, done = in_child(work)
        assert code == 0
        self.acknowledge(done)
        for log in self.logs:
            assert log.acknowledged == len(log.content.data)
            self.required |= set(log.content.ids())
        self.check()

    def acknowledge(self, done: list[tuple[int, int]]) -> None:
        for number, end in done:
            log = self.logs[number]
            log.acknowledged = max(log.acknowledged, end)
        for log in self.logs:
            first = FakeContent(log.content.data[: log.acknowledged], log.content.identity)
            self.required |= set(first.ids())

    def tear(self, count: int) -> None:
        """What a power cut does: bytes that no commit covers may be missing from the end."""
        connection = sqlite3.connect(self.directory / ".shipper" / "ledger.db")
        committed = dict(connection.execute("SELECT name, length FROM file").fetchall())
        connection.close()
        for path in self.directory.glob("*.ndjson"):
            os.truncate(path, max(committed[path.name], path.stat().st_size - count))

    def check(self) -> None:
        found = ids(self.directory)
        assert len(set(found)) == len(found), "a line twice"
        assert set(found) >= self.required, "a line is missing"
        assert set(found) <= set().union(*(log.all_ids for log in self.logs)), "a line that nobody wrote"
        assert {path.name for path in self.directory.glob("*.ndjson")} <= {f"{name}.ndjson" for name in INDICES}

    def teardown(self) -> None:
        try:
            if self.logs:
                self.run_to_the_end(has_state=False, lines=7, batches=2, is_threaded=False)
        finally:
            shutil.rmtree(self.directory)


IS_LONG = "SHIPPER_MODEL_RUNS" in os.environ
RUNS = int(os.environ.get("SHIPPER_MODEL_RUNS", "800")) // 10
"""A tenth of what the other model makes: each of these forks processes."""

OutputMachine.TestCase.settings = settings(
    max_examples=max(1, RUNS),
    stateful_step_count=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=not IS_LONG,
    print_blob=True,
)
TestOutput = OutputMachine.TestCase
TestOutput.__doc__ = "Whatever the order of appending, truncating, crashing and running: every line is there once."
