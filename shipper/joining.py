"""Container runtimes cut long lines into parts: takes their frames off and joins the parts again (docker json-file, CRI).

A group of parts that is still open holds the cursor at its first part, so that nothing is kept in memory between batches
and a restart joins the same parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec


class Part(NamedTuple):
    """One line of the file without its frame, `[start, end)` in the file."""

    start: int
    end: int
    raw: bytes
    text: bytes
    stream: str
    time: str
    is_open: bool
    """More of the same line follows."""


@dataclass(slots=True)
class Group:
    """The parts of one line of the application."""

    start: int
    end: int
    raws: list[bytes] = field(default_factory=list)
    texts: list[bytes] = field(default_factory=list)
    time: str = ""
    size: int = 0
    is_cut: bool = False

    def add(self, part: Part) -> None:
        self.raws.append(part.raw)
        self.texts.append(part.text)
        self.time = self.time or part.time
        self.size += len(part.text)
        self.end = part.end


def join(parts: Iterable[Part], *, max_line_bytes: int, is_final: bool) -> tuple[list[Group], int | None]:
    """Groups in order of their first parts, and where reading must begin again because a group is open (None: nowhere).

    Streams (stdout, stderr) may interleave. A group that reaches `max_line_bytes` is closed there, whatever follows.
    `is_final`: nothing will follow, so what is open is closed.
    """
    opened: dict[str, Group] = {}
    done: list[Group] = []
    for part in parts:
        group = opened.pop(part.stream, None) or Group(part.start, part.end)
        group.add(part)
        group.is_cut = part.is_open and group.size >= max_line_bytes
        if part.is_open and not group.is_cut:
            opened[part.stream] = group
        else:
            done.append(group)
    if is_final:
        done += opened.values()
        opened = {}
    done.sort(key=lambda group: group.start)
    hold = _hold(done, opened.values())
    return (done if hold is None else [group for group in done if group.start < hold]), hold


def _hold(done: Sequence[Group], opened: Iterable[Group]) -> int | None:
    """The earliest first part of an open group, and of any group that reaches across that place."""
    hold = min((group.start for group in opened), default=None)
    if hold is None:
        return None
    for group in reversed(done):
        if group.start < hold < group.end:
            hold = group.start
    return hold


class _DockerFrame(msgspec.Struct, gc=False):
    log: str
    stream: str = ""
    time: str = ""


_docker_decoder = msgspec.json.Decoder(_DockerFrame)


def docker_part(raw: bytes, start: int, end: int) -> Part | None:
    """A line of Docker's json-file driver; None if it is none."""
    try:
        frame = _docker_decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    text = frame.log.encode("utf-8", "replace")
    is_open = not text.endswith(b"\n")
    return Part(start, end, raw, text if is_open else text[:-1], frame.stream, frame.time, is_open)


def cri_part(raw: bytes, start: int, end: int) -> Part | None:
    """A line as containerd and CRI-O write: `TIME STREAM P|F TEXT`; None if it is none."""
    pieces = raw.split(b" ", 3)
    if len(pieces) < 3 or pieces[1] not in (b"stdout", b"stderr") or not pieces[2]:
        return None
    flag = pieces[2].split(b":", 1)[0]
    if flag not in (b"P", b"F"):
        return None
    text = pieces[3] if len(pieces) == 4 else b""
    return Part(start, end, raw, text, pieces[1].decode(), pieces[0].decode("ascii", "replace"), flag == b"P")
