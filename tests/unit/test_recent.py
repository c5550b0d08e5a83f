"""The last warnings and errors are kept for those who look later."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from shipper.recent import LONGEST, Recent


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    logger = logging.getLogger("test.recent")
    logger.propagate = False
    yield logger
    logger.handlers.clear()


def test_the_newest_stand_first_and_only_so_many(log: logging.Logger) -> None:
    recent = Recent(most=2)
    log.addHandler(recent)
    for number in range(3):
        log.warning("number %d", number)

    assert ["number 2", "number 1"] == [one["message"] for one in recent.messages()]


def test_what_is_no_warning_is_not_kept(log: logging.Logger) -> None:
    recent = Recent()
    log.addHandler(recent)
    log.setLevel(logging.DEBUG)
    log.info("all is well")

    assert [] == recent.messages()


def test_a_message_has_its_time_level_and_cause(log: logging.Logger) -> None:
    recent = Recent()
    log.addHandler(recent)
    try:
        raise OSError("disk full")
    except OSError:
        log.exception("cannot write")

    (message,) = recent.messages()
    assert ("ERROR", "cannot write: disk full") == (message["level"], message["message"])
    assert len("2024-01-15T10:30:45Z") == len(message["time"])


def test_a_long_message_is_cut(log: logging.Logger) -> None:
    recent = Recent()
    log.addHandler(recent)
    log.error("x" * 2 * LONGEST)

    assert ["x" * LONGEST] == [one["message"] for one in recent.messages()]
