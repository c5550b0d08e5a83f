"""What systemd is told, over a real socket."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipper.sdnotify import Notifier


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A listening socket and its address, as NOTIFY_SOCKET has it."""
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.settimeout(20)
        yield listener, address


def test_states_arrive_as_they_are_said(systemd: tuple[socket.socket, str]) -> None:
    """One datagram a message, its assignments on lines of their own."""
    listener, address = systemd
    notifier = Notifier(environ={"NOTIFY_SOCKET": address})
    notifier.ready("following 3 files")
    notifier.alive()
    notifier.stopping("delivering")
    expected = [b"READY=1\nSTATUS=following 3 files", b"WATCHDOG=1", b"STOPPING=1\nSTATUS=delivering"]
    assert expected == [listener.recv(1000) for _ in expected]


def test_a_reload_has_its_time(systemd: tuple[socket.socket, str]) -> None:
    """systemd matches it with the READY that follows."""
    listener, address = systemd
    Notifier(environ={"NOTIFY_SOCKET": address}).reloading()
    state, _, microseconds = listener.recv(1000).decode().partition("\nMONOTONIC_USEC=")
    assert "RELOADING=1" == state
    assert int(microseconds) > 0


def test_a_status_is_one_line(systemd: tuple[socket.socket, str]) -> None:
    """What a file is called cannot say anything else to systemd."""
    listener, address = systemd
    Notifier(environ={"NOTIFY_SOCKET": address}).ready("following x\nSTOPPING=1 \udcff")
    assert b"READY=1\nSTATUS=following x STOPPING=1 ?" == listener.recv(1000)


def test_an_abstract_address() -> None:
    """`@name` is a socket without a file."""
    name = f"shipper-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name)
        listener.settimeout(20)
        Notifier(environ={"NOTIFY_SOCKET": "@" + name}).alive()
        assert b"WATCHDOG=1" == listener.recv(1000)


def test_nobody_listens(tmp_path: Path) -> None:
    """Without systemd, or with one that has gone, nothing happens; when it is back it is told again."""
    Notifier(environ={}).ready("x")
    address = str(tmp_path / "gone")
    notifier = Notifier(environ={"NOTIFY_SOCKET": address})
    notifier.alive()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.settimeout(20)
        notifier.alive()
        assert b"WATCHDOG=1" == listener.recv(1000)


def test_a_listener_that_does_not_read_is_not_waited_for(systemd: tuple[socket.socket, str]) -> None:
    """Its queue is full: the message is dropped, and the daemon goes on."""
    _, address = systemd
    notifier = Notifier(environ={"NOTIFY_SOCKET": address})
    for _ in range(5000):
        notifier.alive()


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": ""}, None),
    ],
)
def test_how_often_the_watchdog_wants_to_hear(environ: dict[str, str], expected: float | None) -> None:
    """Twice in the time that systemd allows, if it watches this process."""
    assert expected == Notifier(environ=environ).watchdog_seconds
