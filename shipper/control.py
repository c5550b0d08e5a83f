"""The control socket: other commands ask a running daemon how it goes, over `STATE/control.sock`.

One JSON line in, one JSON line out, then the connection ends. Only the daemon's own user (and root) is answered; a
request is short and must come soon, so that nobody can hold the thread. `status`, `audit` and `replay` ask.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from shipper.errors import ShipperError

log = logging.getLogger(__name__)

NAME = "control.sock"
REQUEST_BYTES = 4096
ANSWER_BYTES = 256 << 20
"""More than a hundred thousand files say about themselves."""
REQUEST_SECONDS = 1.0
ANSWER_SECONDS = 10.0
_PATH_BYTES = 107
_PEER = struct.Struct("iII")  # pid, uid, gid

Answer = Callable[[], Iterable[bytes]]
"""Gives an answer's JSON in pieces, without a newline, so that a long one is never held whole."""


class NoAnswerError(ShipperError):
    """A daemon is there and does not answer, or not as expected."""


class _Question(msgspec.Struct):
    ask: str


class ControlServer:
    """Answers questions from a thread of its own, one after another. The state's lock must be held while it lives.

    Whatever goes wrong here is said in the log and costs no line: the daemon runs on without it.
    """

    def __init__(self, *, directory: Path, answers: Mapping[str, Answer]) -> None:
        self._directory = directory
        self._answers = answers
        self._listener: socket.socket | None = None
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def start(self) -> None:
        """Listen; a socket that a dead process has left is replaced, as whoever has the state has this too."""
        try:
            self._listener = _listening(self._directory)
        except OSError as error:
            log.warning("no control socket in %r (%s): status cannot ask this daemon", str(self._directory), error)
            return
        self._thread.start()

    def close(self) -> None:
        """Listen no more; a question that is being answered is dropped with the process."""
        if self._listener is None:
            return
        with contextlib.suppress(OSError):
            (self._directory / NAME).unlink()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(REQUEST_SECONDS)
        self._listener.close()
        self._listener = None

    def _run(self) -> None:
        listener = self._listener
        while listener is not None:
            try:
                connection, _ = listener.accept()
            except OSError:  # closed
                return
            with connection, contextlib.suppress(OSError):
                self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        if not may_ask(_peer(connection), os.geteuid()):
            return
        line = _received(connection, deadline=time.monotonic() + REQUEST_SECONDS)
        deadline = time.monotonic() + ANSWER_SECONDS
        for piece in self._answer(line):
            connection.settimeout(max(0.001, deadline - time.monotonic()))
            connection.sendall(piece)

    def _answer(self, line: bytes) -> Iterator[bytes]:
        """An answer that fails half-way ends without its newline: it is no whole line then."""
        try:
            question = msgspec.json.decode(line, type=_Question)
            answer = self._answers.get(question.ask)
        except (msgspec.MsgspecError, RecursionError):
            yield _problem('expected one line like {"ask":"status"}')
            return
        if answer is None:
            yield _problem(f"cannot say that; ask for {' or '.join(self._answers)}")
            return
        try:
            yield from answer()
            yield b"\n"
        except Exception:  # a question must not end the daemon
            log.exception("the question %r could not be answered", question.ask)


def may_ask(peer: int, own: int) -> bool:
    """Whether a process of user `peer` is answered by one of user `own`."""
    return peer in (own, 0)


def _peer(connection: socket.socket) -> int:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    return int(_PEER.unpack(credentials)[1])


def _received(connection: socket.socket, *, deadline: float) -> bytes:
    """The first line of what is sent, or the beginning of one that is too long. Raises TimeoutError."""
    line = b""
    while b"\n" not in line and len(line) < REQUEST_BYTES:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        if not (piece := connection.recv(REQUEST_BYTES)):
            break
        line += piece
    return line.partition(b"\n")[0]


def _problem(text: str) -> bytes:
    return msgspec.json.encode({"error": text}) + b"\n"


def _listening(directory: Path) -> socket.socket:
    """A listening socket that took its name when nobody but the owner could connect any more. Raises OSError."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    fresh = f"{NAME}.new"
    try:
        with _short(directory) as short:
            (directory / fresh).unlink(missing_ok=True)
            listener.bind(f"{short}/{fresh}")
        (directory / fresh).chmod(0o600)
        listener.listen(16)
        (directory / fresh).replace(directory / NAME)
    except BaseException:
        listener.close()
        raise
    return listener


@contextlib.contextmanager
def _short(directory: Path) -> Iterator[str]:
    """A path to the directory that fits into a socket's address, which has 107 bytes."""
    if len(os.fsencode(directory)) + len(NAME) + len("/.new") <= _PATH_BYTES:
        yield str(directory)
        return
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


# Asking -------------------------------------------------------------------------------------------------------------


def ask(directory: Path, question: str, *, timeout_seconds: float = ANSWER_SECONDS) -> bytes | None:
    """The answer (a line of JSON) of the daemon that has the state in `directory`; None if none is running.

    Raises NoAnswerError.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    deadline = time.monotonic() + timeout_seconds
    connection.settimeout(timeout_seconds)
    with connection:
        try:
            with _short(directory) as short:
                connection.connect(f"{short}/{NAME}")
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError):
            return None
        except OSError as error:
            raise NoAnswerError(f"cannot ask at {str(directory / NAME)!r}: {error.strerror or error}") from None
        try:
            connection.sendall(msgspec.json.encode({"ask": question}) + b"\n")
            return _whole_line(connection, directory, deadline)
        except OSError as error:
            raise NoAnswerError(f"the daemon at {str(directory / NAME)!r} does not answer: {error}") from None


def _whole_line(connection: socket.socket, directory: Path, deadline: float) -> bytes:
    pieces: list[bytes] = []
    size = 0
    while size < ANSWER_BYTES:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        piece = connection.recv(1 << 16)
        pieces.append(piece)
        size += len(piece)
        if not piece or piece.endswith(b"\n"):
            break
    line = b"".join(pieces)
    if not line.endswith(b"\n"):
        raise NoAnswerError(f"the daemon at {str(directory / NAME)!r} does not answer; is it another user's?")
    return line


def asked(directory: Path, question: str) -> dict[str, Any] | None:
    """What `ask` answers, as plain data. Raises NoAnswerError."""
    line = ask(directory, question)
    if line is None:
        return None
    try:
        answer = msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.MsgspecError:
        raise NoAnswerError(f"the daemon at {str(directory / NAME)!r} answers with something else") from None
    if "error" in answer:
        raise NoAnswerError(f"the daemon at {str(directory / NAME)!r} says: {answer['error']}")
    return answer
