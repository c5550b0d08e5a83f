"""Tells systemd how it goes (sd_notify), without a dependency; does nothing where nobody listens."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Mapping

log = logging.getLogger(__name__)

_KIND = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK


class Notifier:
    """Sends states to NOTIFY_SOCKET. Waits for nobody, and a failure to send is no failure of ours."""

    def __init__(self, *, environ: Mapping[str, str]) -> None:
        address = environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_seconds = _watchdog_seconds(environ)
        """How often WATCHDOG=1 is wanted at the latest; None if it is not."""

    def send(self, *states: str) -> None:
        if not self._address:
            return
        message = "\n".join(state.replace("\n", " ") for state in states).encode("utf-8", "replace")
        try:
            with socket.socket(socket.AF_UNIX, _KIND) as sender:
                sender.sendto(message, self._address)
        except OSError as error:
            log.debug("systemd was not told: %s", error)  # the next message may arrive; a missed one ends nothing

    def ready(self, status: str) -> None:
        self.send("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        self.send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str) -> None:
        self.send("STOPPING=1", f"STATUS={status}")

    def alive(self) -> None:
        self.send("WATCHDOG=1")


def _watchdog_seconds(environ: Mapping[str, str]) -> float | None:
    """Half of what systemd allows, if it watches this process."""
    text, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not text.isdecimal() or (pid and pid != str(os.getpid())):
        return None
    return int(text) / 2_000_000
