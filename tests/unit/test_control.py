"""The control socket: who is answered, what hostile clients can do, what is left of dead processes."""

from __future__ import annotations

import json
import socket
import stat
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from shipper import control
from shipper.control import ControlServer, NoAnswerError, ask, asked, may_ask


def failing() -> Iterable[bytes]:
    yield b'{"half":'
    raise RuntimeError("in the middle")


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A state directory with a server that answers three questions."""
    server = ControlServer(
        directory=tmp_path,
        answers={
            "status": lambda: [b'{"how":', b'"well"}'],
            "much": lambda: [b'["', b"x" * 5_000_000, b'"]'],
            "failing": failing,
        },
    )
    server.start()
    yield tmp_path
    server.close()


def talk(directory: Path, sent: bytes) -> bytes:
    """What is answered to these bytes, until the other side closes."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(directory / control.NAME))
        client.sendall(sent)
        pieces = []
        while piece := client.recv(1 << 16):
            pieces.append(piece)
        return b"".join(pieces)


def test_a_question_is_answered_with_one_line(directory: Path) -> None:
    """Whoever asks gets the answer as it was given, in one line of JSON."""
    assert ask(directory, "status") == b'{"how":"well"}\n'
    assert asked(directory, "status") == {"how": "well"}


def test_a_long_answer_arrives_whole(directory: Path) -> None:
    """Five megabytes are more than a socket holds."""
    assert ask(directory, "much") == b'["' + b"x" * 5_000_000 + b'"]\n'


def test_only_the_owner_can_connect(directory: Path) -> None:
    """The socket has mode 0600 from the moment that it has its name."""
    assert 0o600 == stat.S_IMODE((directory / control.NAME).stat().st_mode)
    assert not (directory / f"{control.NAME}.new").exists()


@pytest.mark.parametrize(("peer", "own", "expected"), [(5, 5, True), (0, 5, True), (6, 5, False), (5, 0, False)])
def test_who_may_ask(peer: int, own: int, *, expected: bool) -> None:
    """The daemon's own user, and root."""
    assert expected == may_ask(peer, own)


def test_another_user_gets_no_answer(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that may not ask is cut off without a byte."""
    monkeypatch.setattr(control, "may_ask", lambda peer, own: False)

    with pytest.raises(NoAnswerError, match="does not answer"):
        ask(directory, "status")


@pytest.mark.parametrize(
    "sent",
    [
        b"\n",
        b"status\n",
        b"[1]\n",
        b'{"ask":5}\n',
        b'{"ask":"nothing"}\n',
        b"\xff\xfe\n",
        b"[" * 4000 + b"\n",
        b"x" * 9000,
    ],
)
def test_what_is_no_question_is_answered_with_a_problem(directory: Path, sent: bytes) -> None:
    """And the next question is answered as ever."""
    try:
        answer = talk(directory, sent)
    except ConnectionError:  # of more than is read, the rest is thrown away
        answer = b'{"error":""}'

    assert "error" in json.loads(answer)
    assert asked(directory, "status") == {"how": "well"}


def test_a_problem_is_raised_for_the_asking_side(directory: Path) -> None:
    """With what can be asked."""
    with pytest.raises(NoAnswerError, match="ask for status or much"):
        asked(directory, "else")


def test_clients_that_say_nothing_hold_the_thread_only_for_a_moment(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that connects and is silent, one that sends half a question, one that leaves: the next is answered."""
    monkeypatch.setattr(control, "REQUEST_SECONDS", 0.05)
    silent, half = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    with silent, half:
        silent.connect(str(directory / control.NAME))
        half.connect(str(directory / control.NAME))
        half.sendall(b'{"ask"')
        with socket.socket(socket.AF_UNIX) as leaving:
            leaving.connect(str(directory / control.NAME))

        assert asked(directory, "status") == {"how": "well"}


def test_a_client_that_does_not_read_holds_the_thread_only_for_a_moment(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An answer that nobody takes is dropped."""
    monkeypatch.setattr(control, "ANSWER_SECONDS", 0.1)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(directory / control.NAME))
        client.sendall(b'{"ask":"much"}\n')

        assert ask(directory, "status", timeout_seconds=10) == b'{"how":"well"}\n'


def test_an_answer_that_fails_is_no_answer(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Half a line is not taken for one; the log has the reason, and the thread goes on."""
    with pytest.raises(NoAnswerError, match="does not answer"):
        ask(directory, "failing")

    assert "could not be answered" in caplog.text
    assert asked(directory, "status") == {"how": "well"}


def test_nobody_answers_where_no_daemon_is(tmp_path: Path) -> None:
    """Without a socket, with that of a dead process, and without a directory."""
    assert ask(tmp_path, "status") is None
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / control.NAME))
    assert ask(tmp_path, "status") is None
    assert ask(tmp_path / "nowhere", "status") is None


def test_a_socket_of_a_dead_process_is_replaced(tmp_path: Path) -> None:
    """So is a half-made one; after a close the name is gone."""
    for name in (control.NAME, f"{control.NAME}.new"):
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(tmp_path / name))
    server = ControlServer(directory=tmp_path, answers={"status": lambda: [b"{}"]})
    server.start()

    assert ask(tmp_path, "status") == b"{}\n"

    server.close()
    assert ask(tmp_path, "status") is None
    assert not (tmp_path / control.NAME).exists()
    server.close()


def test_a_directory_with_a_long_name_works(tmp_path: Path) -> None:
    """A socket's address has 107 bytes, a path 4095."""
    directory = tmp_path / ("d" * 100) / ("é" * 60)
    directory.mkdir(parents=True)
    server = ControlServer(directory=directory, answers={"status": lambda: [b"{}"]})
    server.start()

    assert ask(directory, "status") == b"{}\n"
    server.close()


def test_without_a_socket_the_daemon_runs_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A directory that is away is a warning, not an end."""
    server = ControlServer(directory=tmp_path / "nowhere", answers={})

    server.start()
    server.close()

    assert "no control socket" in caplog.text


def test_a_daemon_that_hangs_is_told_apart_from_none(tmp_path: Path) -> None:
    """Who listens and does not answer is not down."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / control.NAME))
        listener.listen()

        with pytest.raises(NoAnswerError, match="does not answer"):
            ask(tmp_path, "status", timeout_seconds=0.05)


def test_many_ask_at_once(directory: Path) -> None:
    """Each gets its whole answer."""
    answers: list[bytes | None] = []
    threads = [threading.Thread(target=lambda: answers.append(ask(directory, "status"))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [b'{"how":"well"}\n'] * 12 == answers


def test_descriptors_are_given_back(tmp_path: Path) -> None:
    """A server that ends leaves none open, however long its path."""
    directory = tmp_path / ("d" * 120)
    directory.mkdir()
    before = len(list(Path("/proc/self/fd").iterdir()))
    server = ControlServer(directory=directory, answers={"status": lambda: [b"{}"]})
    server.start()
    ask(directory, "status")
    server.close()

    assert before == len(list(Path("/proc/self/fd").iterdir()))
