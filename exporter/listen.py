"""Where the server listens: reads `host:port` and binds it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from typing import Any

from shipper.errors import ConfigError, InUseError


def parse_listen(listen: str) -> tuple[str, int]:
    """Host and port of `host:port`; an IPv6 address stands in brackets, an empty host means every address.

    Raises ConfigError if it is neither.
    """
    host, colon, port = listen.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ConfigError([f"cannot listen on {listen!r}: it must be HOST:PORT, an IPv6 address as [::1]:9640"])
    return host, int(port)


def bind(listen: str, *, backlog: int) -> tuple[list[socket.socket], int]:
    """Listening sockets for every address of `listen`, not blocking, and the port that they share.

    Raises InUseError if the port is taken, ConfigError if it cannot be bound for another reason.
    """
    host, port = parse_listen(listen)
    listeners: list[socket.socket] = []
    error: OSError | None = None
    try:
        for family, address in _addresses(host, port):
            try:
                listeners.append(_listener(family, (address[0], port, *address[2:]), backlog))
                port = listeners[-1].getsockname()[1]  # the same for every address, where any port was asked for
            except OSError as failure:
                error = failure
                if failure.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:  # one of two families may be off
                    raise
    except OSError as failure:
        error = failure
        while listeners:
            listeners.pop().close()
    if listeners:
        return listeners, port
    if error is not None and error.errno == errno.EADDRINUSE:
        raise InUseError(f"{listen} is in use by another process; stop it, or listen on another address") from error
    raise ConfigError([f"cannot listen on {listen}: {error.strerror if error else 'no address'}"]) from error


def _listener(family: int, address: tuple[Any, ...], backlog: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(backlog)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def _addresses(host: str, port: int) -> Iterator[tuple[int, tuple[Any, ...]]]:
    seen = set()
    name = host.encode() if host.isascii() else host  # text loads the tables of all alphabets: a quarter of a megabyte
    for family, _, _, _, address in socket.getaddrinfo(
        name or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    ):
        if address not in seen:
            seen.add(address)
            yield family, address
