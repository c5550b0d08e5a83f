"""Container runtimes cut long lines into parts: takes their frames off and joins the parts (docker json-file, CRI).

A group of parts that is still open holds the cursor at its first part, so that nothing is kept between batches
and a restart joins the same parts. Where a group ends depends on nothing but what stands in the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

import msgspec

from shipper.columns import DECODE_ERRORS, look_like_objects

MOST_SPANNED: Final = 8
"""A group that began so many times the longest line ago is closed, whatever follows: it would hold the cursor, and what
other streams write, for ever."""
LEAST_RAW_BYTES: Final = 128 << 10
"""A line of the file may have so many bytes even where lines are to be short: a part of 16 KiB, escaped by docker."""


def longest_raw_bytes(max_line_bytes: int) -> int:
    """The longest line of the file that is looked into; a longer one is taken as it stands, up to `max_line_bytes`."""
    return max(max_line_bytes, LEAST_RAW_BYTES)


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
    is_framed: bool = True
    """False for a line that is not as the runtime writes."""
    is_barrier: bool = False
    """What is open before it is closed: it is longer than what is looked into, or begins with a hole."""


class Started(Protocol):
    """What begins somewhere in the file."""

    @property
    def start(self) -> int: ...


@dataclass(slots=True)
class Group:
    """The parts of one line of the application. Of a line that is too long only the beginning is kept."""

    start: int
    end: int
    raws: list[bytes] = field(default_factory=list)
    texts: list[bytes] = field(default_factory=list)
    time: str = ""
    size: int = 0
    is_framed: bool = True

    def add(self, part: Part, *, max_line_bytes: int) -> None:
        if self.size <= max_line_bytes:
            self.raws.append(part.raw)
            self.texts.append(part.text)
        self.time = self.time or part.time
        self.size += len(part.text)
        self.end = part.end
        self.is_framed = part.is_framed

    @property
    def text(self) -> bytes:
        return b"".join(self.texts).removesuffix(b"\r")


def join(parts: Iterable[Part], *, max_line_bytes: int, is_final: bool) -> tuple[list[Group], int | None]:
    """Groups in order of their first parts, and where reading must begin again because a group is open (None: nowhere).

    Streams (stdout, stderr) may interleave. `is_final`: nothing will follow, so what is open is closed.
    """
    opened: dict[str, Group] = {}
    done: list[Group] = []
    for part in parts:
        if part.is_barrier:
            done += _close(opened, opened)
        group = opened.pop(part.stream, None) or Group(part.start, part.end)
        group.add(part, max_line_bytes=max_line_bytes)
        if part.is_open:
            opened[part.stream] = group
        else:
            done.append(group)
        if opened:
            done += _close(opened, overdue(opened, part.end, max_line_bytes=max_line_bytes))
    if is_final:
        done += opened.values()
        opened = {}
    done.sort(key=lambda group: group.start)
    hold = _hold(done, opened.values())
    return (done if hold is None else [group for group in done if group.start < hold]), hold


def overdue(opened: Mapping[str, Started], end: int, *, max_line_bytes: int) -> list[str]:
    """The streams whose groups are closed behind a line that ends at `end`, as they began too far before it."""
    return [stream for stream, group in opened.items() if end - group.start >= MOST_SPANNED * max_line_bytes]


def _close(opened: dict[str, Group], streams: Iterable[str]) -> list[Group]:
    return [opened.pop(stream) for stream in list(streams)]


def _hold(done: Sequence[Group], opened: Iterable[Group]) -> int | None:
    """The earliest first part of an open group, and of any group that reaches across that place."""
    hold = min((group.start for group in opened), default=None)
    if hold is None:
        return None
    for group in reversed(done):
        if group.start < hold < group.end:
            hold = group.start
    return hold


class Whole(NamedTuple):
    """Lines of which none was cut: what the application wrote, and the runtime's times."""

    texts: list[bytes]
    times: list[str]


class Framing(NamedTuple):
    """How one runtime packs lines."""

    part: Callable[[bytes, int, int], Part | None]
    """One line (raw, start, end) without its frame; None if it has none."""
    whole: Callable[[bytes, list[bytes]], Whole | None]
    """All lines (the data, and split) at once; None where some were cut, are blank, or are not as usual."""


class _DockerFrame(msgspec.Struct, gc=False):
    log: str
    stream: str = ""
    time: str = ""


def part_of(
    line: bytes, start: int, end: int, *, framing: Framing, max_line_bytes: int, has_hole: bool = False
) -> Part:
    """What one line of the file is, whatever stands beside it. `has_hole`: NULs stand before it that are not given."""
    text = line.removesuffix(b"\r").lstrip(b"\0")
    is_long = len(text) > longest_raw_bytes(max_line_bytes)
    part = None if is_long else framing.part(text, start, end)
    if part is None:
        raw = text[:max_line_bytes] if is_long else text
        part = Part(start, end, raw, text, f"?{start}", "", is_open=False, is_framed=False)
    if is_long or has_hole or line[:1] == b"\0":
        part = part._replace(is_open=False, is_barrier=True)
    return part


_docker_decoder = msgspec.json.Decoder(_DockerFrame)
_DOCKER_STREAMS = ("stdout", "stderr")


def _docker_part(raw: bytes, start: int, end: int) -> Part | None:
    try:
        frame = _docker_decoder.decode(raw)
    except DECODE_ERRORS:
        return None
    text = frame.log.encode()
    is_open = not text.endswith(b"\n")
    stream = frame.stream if frame.stream in _DOCKER_STREAMS else ""  # else each line could open one of its own
    return Part(start, end, raw, text if is_open else text[:-1], stream, frame.time, is_open)


def _docker_whole(data: bytes, lines: list[bytes]) -> Whole | None:
    if not look_like_objects(lines):
        return None
    try:
        frames = _docker_decoder.decode_lines(data)
    except DECODE_ERRORS:
        return None
    logs = [frame.log for frame in frames]
    text = "".join(logs)
    if len(frames) != len(lines) or text.count("\n") != len(lines) or {log[-1:] for log in logs} != {"\n"}:
        return None
    texts = text.encode().split(b"\n")
    texts.pop()
    if "\r" in text:  # a container with a terminal
        texts = [line.removesuffix(b"\r") for line in texts]
    return Whole(texts, [frame.time for frame in frames]) if all(map(bytes.strip, texts)) else None


DOCKER = Framing(_docker_part, _docker_whole)
"""Docker's json-file driver: `{"log":"TEXT\\n","stream":"stdout","time":"…"}`."""

_CRI_STREAMS = (b"stdout", b"stderr")
_WHOLE_KINDS = {(b"stdout", b"F"), (b"stderr", b"F")}


def _cri_part(raw: bytes, start: int, end: int) -> Part | None:
    pieces = raw.split(b" ", 3)
    if len(pieces) < 3 or pieces[1] not in _CRI_STREAMS:
        return None
    flag = pieces[2].split(b":", 1)[0]
    if flag not in (b"P", b"F"):
        return None
    text = pieces[3] if len(pieces) == 4 else b""
    return Part(start, end, raw, text, pieces[1].decode(), pieces[0].decode("ascii", "replace"), flag == b"P")


def _cri_whole(data: bytes, lines: list[bytes]) -> Whole | None:
    if b"\r" in data or b"\0" in data:
        return None
    try:
        times, streams, flags, texts = zip(*[line.split(b" ", 3) for line in lines], strict=True)
    except ValueError:
        return None
    if not set(zip(streams, flags, strict=True)) <= _WHOLE_KINDS or not all(map(bytes.strip, texts)):
        return None
    return Whole(list(texts), b"\n".join(times).decode("ascii", "replace").split("\n"))


CRI = Framing(_cri_part, _cri_whole)
"""containerd and CRI-O: `TIME STREAM P|F TEXT`; P is a part, of which the rest follows."""
