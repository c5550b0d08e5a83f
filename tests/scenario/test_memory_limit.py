"""A daemon whose memory is limited, as a sidecar's is: it stays below, and if an allocation fails nothing is lost."""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness.missing import MissingError
from harness.sink import Fault, Sink
from lives import Lives, line

LIMIT_BYTES = 96 << 20
GROUPS = Path("/sys/fs/cgroup")


@pytest.fixture
def limited() -> Iterator[Callable[[int], None]]:
    """Puts a process into a group of its own with so much memory, and none to swap; beyond it the kernel kills."""
    is_v1 = (GROUPS / "memory").is_dir()
    group = GROUPS / ("memory" if is_v1 else "") / f"shipper-test-{os.getpid()}"
    limit = "memory.limit_in_bytes" if is_v1 else "memory.max"
    try:
        group.mkdir()
        (group / limit).write_text(str(LIMIT_BYTES))
    except OSError as error:
        with contextlib.suppress(OSError):
            group.rmdir()
        raise MissingError(f"cannot limit memory by a control group: {error}", is_excused=True) from None

    def limit_process(pid: int) -> None:
        (group / "cgroup.procs").write_text(f"{pid}\n")

    yield limit_process
    group.rmdir()


def write_load(story: Lives) -> None:
    """Lines as they come, and some that are very long."""
    for _ in range(40):
        story.write(1000)
        with story.log.open("a") as file:
            for _ in range(3):
                story.written += 1
                file.write(line(story.written).replace("}", f', "stack": "{"x" * 300_000}"}}'))


def test_it_stays_below_a_sidecar_s_limit(tmp_path: Path, sink: Sink, limited: Callable[[int], None]) -> None:
    """With a backlog, a server that is down, then slow, then well."""
    story = Lives(tmp_path, sink=sink)
    write_load(story)
    sink.down()
    with story.start(is_ready=False) as running:
        limited(running.pid)
        running.wait_for(lambda: story.counted(running) > 10_000, "much is counted")
        sink.fault(Fault("slow", seconds=0.5))
        sink.up()
        running.wait_for(lambda: sink.count("logs-*") > 0, "the first documents")
        sink.fault()
        write_load(story)
        story.wait_for_everything(running, timeout_seconds=120)
        assert running.stop() == 0
    story.assert_clean()


def test_an_allocation_that_fails(tmp_path: Path, sink: Sink) -> None:
    """Whether the process ends by it or goes on, the next one finds everything in order."""
    story = Lives(tmp_path, sink=sink)
    story.write()
    with story.start() as running:
        story.wait_for_everything(running)
        # Of its data, not of its addresses: malloc has a gigabyte of those in reserve.
        data_bytes = 1024 * int(Path(f"/proc/{running.pid}/status").read_text().split("VmData:")[1].split()[0])
        resource.prlimit(running.pid, resource.RLIMIT_DATA, (data_bytes, resource.RLIM_INFINITY))
        write_load(story)
        running.wait_for_end_or(lambda: story.counted(running) == story.written)
        running.kill()
    assert "MemoryError" in running.log, running.log
    story.live_to_the_end()
    story.assert_clean()
