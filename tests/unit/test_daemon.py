"""The daemon's decisions: when a run that is to end gives up, what a reload cannot change, which rules apply."""

from __future__ import annotations

import msgspec
import pytest

from shipper.batch import OutputStatus
from shipper.endings import REFUSED_SECONDS, STUCK_SECONDS, cannot_deliver
from shipper.errors import ConfigError
from shipper.reloading import check_same, is_another_output
from shipper.settings import (
    ElasticsearchSettings,
    LocalSettings,
    MetricsSettings,
    OutputSettings,
    Settings,
    SourceSettings,
)

NOW = 10_000.0


def status(*, progress: float = NOW, refused: float | None = None, pending: int = 1) -> OutputStatus:
    return OutputStatus(
        "es:9200", is_up=True, error="it said", progress_at=progress, refused_since=refused, pending=pending
    )


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (status(), ""),
        (status(progress=NOW - STUCK_SECONDS + 1), ""),
        (status(progress=NOW - STUCK_SECONDS), "es:9200 accepted nothing for 5 minutes: it said"),
        (status(progress=NOW - STUCK_SECONDS, pending=0), ""),
        (status(refused=NOW - REFUSED_SECONDS + 1), ""),
        (status(refused=NOW - REFUSED_SECONDS), "es:9200 refuses: it said"),
    ],
)
def test_gives_up(given: OutputStatus, expected: str) -> None:
    """After five minutes without progress, or fifteen seconds of nothing but refused credentials."""
    assert expected == cannot_deliver(given, now=NOW, started=NOW - 2 * STUCK_SECONDS)


def test_a_start_counts_as_progress() -> None:
    """What was before this run says nothing about it."""
    assert cannot_deliver(status(progress=0.0), now=NOW, started=NOW - 1) == ""


def settings(**changes: object) -> Settings:
    return msgspec.structs.replace(Settings(sources=(SourceSettings(name="a", paths=("x",)),), state="s"), **changes)


def test_a_reload_cannot_move_the_state_or_the_port() -> None:
    """Both are named at once; everything else may change."""
    check_same(settings(), settings(host="other"))
    other = settings(state="t", metrics=MetricsSettings(listen="127.0.0.1:1"))

    with pytest.raises(ConfigError) as caught:
        check_same(settings(), other)

    hint = "; where none is given it lies in the output's directory"  # so that another output moves it too
    assert caught.value.problems == [
        f"state cannot change while running (from 's' to 't'{hint}): restart for it",
        "metrics.listen cannot change while running (from '127.0.0.1:9640' to '127.0.0.1:1'): restart for it",
    ]


def local(directory: str) -> OutputSettings:
    return OutputSettings(local=LocalSettings(directory=directory))


def servers(*hosts: str) -> OutputSettings:
    return OutputSettings(elasticsearch=ElasticsearchSettings(hosts=hosts))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (local("/a"), local("/a"), False),
        (local("/a"), local("/b"), True),
        (local("/a"), servers("http://a:9200"), True),
        (servers("http://a:9200"), local("/a"), True),
        (servers("http://a:9200"), servers("http://b:9200"), True),
        (servers("http://a:9200", "http://b:9200"), servers("http://b:9200", "http://c:9200"), False),
    ],
)
def test_another_output(old: OutputSettings, new: OutputSettings, expected: bool) -> None:
    """A directory is known by its name; a server that keeps one of its addresses is the same."""
    assert expected == is_another_output(old, new)
