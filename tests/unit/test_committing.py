"""The state's writer: retries, shows only what is durable, says when it is late, and ends when it is told to."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from shipper.committing import COMMIT_SECONDS, EARLY_SECONDS, LATE_SECONDS, URGENT_SECONDS, Committer
from shipper.errors import StateError
from shipper.pipeline import Pending
from shipper.state import Commit
from shipper.telemetry import Telemetry

DEADLINE_SECONDS = 20.0


class Disk:
    """A state that can be made to fail; remembers in which order things happened."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.failures = 0
        self.attempts = 0
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def commit(self, commit: Commit) -> None:
        self.may_go_on.wait(DEADLINE_SECONDS)
        self.attempts += 1
        if self.failures:
            self.failures -= 1
            raise StateError("cannot write state.db: disk full")
        self.events.append(f"committed {commit.forgotten[0]}")


class Clock:
    """Monotonic time that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Setup:
    """A committer on a disk, with a clock."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.clock = Clock()
        self.crashes: list[BaseException] = []
        self.telemetry = Telemetry(registry=CollectorRegistry())
        self.publish: Callable[[Any], None] = lambda changes: self.disk.events.append(f"published {changes}")
        self.committer = Committer(
            state=self.disk,  # type: ignore[arg-type] # of the state only `commit` is used
            publish=lambda changes: self.publish(changes),
            committed=lambda: self.disk.events.append("said"),
            telemetry=self.telemetry,
            on_crash=self.crashes.append,
            monotonic=self.clock,
            retry_seconds=0.001,
        )

    def put(self, number: int) -> None:
        self.committer.put(Pending(Commit([], [number]), number))

    def wait(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            assert time.monotonic() < end
            threading.Event().wait(0.001)

    def flush(self) -> bool:
        return self.committer.flush(deadline=self.clock.now + DEADLINE_SECONDS)


@pytest.fixture
def setup() -> Iterator[Setup]:
    made = Setup()
    made.committer.start()
    yield made
    made.disk.may_go_on.set()
    made.disk.failures = 0
    made.committer.close()


def test_a_commit_is_durable_before_it_is_shown(setup: Setup) -> None:
    """What a scrape has seen is never taken back; then whoever waits is told."""
    setup.put(1)
    assert setup.flush()
    setup.wait(lambda: len(setup.disk.events) == 3)
    assert ["committed 1", "published 1", "said"] == setup.disk.events
    assert 1 == setup.committer.commits


def test_a_failed_commit_is_repeated_and_nothing_is_shown_before(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once, however often it fails, and once when it is over."""
    caplog.set_level(logging.INFO)
    setup.disk.failures = 5
    setup.put(1)
    assert setup.flush()
    setup.wait(lambda: len(setup.disk.events) == 3)
    assert 6 == setup.disk.attempts
    assert ["committed 1", "published 1", "said"] == setup.disk.events
    assert ["ERROR", "INFO"] == [record.levelname for record in caplog.records]
    assert "disk full" in caplog.text
    assert "" == setup.committer.error


def test_the_error_stands_while_it_lasts(setup: Setup) -> None:
    """The status shows it."""
    setup.disk.failures = 1 << 60
    setup.put(1)
    setup.wait(lambda: setup.committer.error != "")
    assert "cannot write state.db: disk full" == setup.committer.error
    setup.disk.failures = 0
    assert setup.flush()


def test_commits_are_made_in_order_and_none_replaces_another(setup: Setup) -> None:
    """What is handed over while another fails is committed after it: counters and offsets stay together."""
    setup.disk.failures = 3
    setup.put(1)
    setup.put(2)
    assert setup.flush()
    setup.wait(lambda: len(setup.disk.events) == 6)
    assert ["committed 1", "published 1", "said", "committed 2", "published 2", "said"] == setup.disk.events


def test_the_next_commit_is_due_a_second_after_the_last(setup: Setup) -> None:
    """At most one a second (but where a file was cut), and none while another is under way."""
    assert setup.committer.is_due()
    setup.disk.may_go_on.clear()
    setup.put(1)
    setup.clock.now += 10
    assert not setup.committer.is_due(is_urgent=True)
    setup.disk.may_go_on.set()
    assert setup.flush()
    setup.wait(lambda: "said" in setup.disk.events)
    begun = setup.committer._last_at
    setup.clock.now = begun + COMMIT_SECONDS - EARLY_SECONDS - 0.001
    assert not setup.committer.is_due()
    assert setup.committer.is_due(is_urgent=True)
    setup.clock.now = begun + URGENT_SECONDS - 0.001
    assert not setup.committer.is_due(is_urgent=True)
    setup.clock.now = begun + COMMIT_SECONDS - EARLY_SECONDS + 0.001
    assert setup.committer.is_due()


def test_a_commit_that_waits_too_long_is_late(setup: Setup) -> None:
    """Then the scrape fails, so that somebody is paged; nothing to commit is never late."""
    setup.clock.now += 1000
    assert (0.0, False) == (setup.committer.age_seconds(), setup.committer.is_late())
    setup.disk.may_go_on.clear()
    setup.put(1)
    setup.clock.now += LATE_SECONDS
    assert (LATE_SECONDS, False) == (setup.committer.age_seconds(), setup.committer.is_late())
    setup.clock.now += 0.001
    assert setup.committer.is_late()
    setup.disk.may_go_on.set()
    assert setup.flush()
    assert (0.0, False) == (setup.committer.age_seconds(), setup.committer.is_late())


def test_each_commit_is_as_old_as_it_is(setup: Setup) -> None:
    """The second is not late because the first was."""
    setup.publish = lambda changes: setup.disk.may_go_on.clear()
    setup.disk.may_go_on.clear()
    setup.put(1)
    setup.clock.now += LATE_SECONDS + 1
    setup.put(2)
    assert setup.committer.is_late()
    setup.disk.may_go_on.set()
    setup.wait(lambda: setup.committer.commits == 1)
    setup.clock.now += 3
    assert 3 == setup.committer.age_seconds()


def test_closing_ends_after_what_was_handed_over(setup: Setup) -> None:
    """The last commit is made, then the thread is gone."""
    setup.disk.may_go_on.clear()
    setup.put(1)
    setup.put(2)
    setup.disk.may_go_on.set()
    setup.committer.close()
    assert ["committed 1", "committed 2"] == [event for event in setup.disk.events if event.startswith("committed")]
    assert not setup.committer.is_alive


def test_closing_while_commits_fail_gives_up_and_says_so(setup: Setup) -> None:
    """A full disk does not keep the daemon from ending; what is not durable is not said to be."""
    setup.disk.failures = 1 << 60
    setup.put(1)
    setup.wait(lambda: setup.committer.error != "")
    setup.committer.close()
    assert not setup.committer.is_alive
    assert not setup.committer.flush(deadline=setup.clock.now)
    assert [] == setup.disk.events
    assert [] == setup.crashes


def test_closing_without_work_ends_at_once(setup: Setup) -> None:
    """Nothing is waited for."""
    setup.committer.close()
    assert (False, 0) == (setup.committer.is_alive, setup.disk.attempts)


def test_what_is_not_expected_ends_the_process(setup: Setup) -> None:
    """An error that no repetition mends is told to whoever ends the daemon; the commit itself was made."""

    def publish(changes: Any) -> None:
        raise RuntimeError(f"cannot show {changes}")

    setup.publish = publish
    setup.put(1)
    setup.wait(lambda: not setup.committer.is_alive)
    assert ["cannot show 1"] == [str(error) for error in setup.crashes]
    assert ["committed 1"] == setup.disk.events


def test_the_duration_of_commits_is_observed(setup: Setup) -> None:
    """Failed attempts do not count."""
    setup.disk.failures = 2
    setup.put(1)
    assert setup.flush()
    count = setup.telemetry.registry.get_sample_value("shipper_state_commit_duration_seconds_count")
    assert 1 == count
