"""Log files to measure with: the same bytes for the same seed. Request lines are as CareDroid writes them."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

BEGIN = datetime(2024, 1, 15, 10, 0, tzinfo=UTC)
PATHS = (
    "/api/patients/{}",
    "/api/patients/{}/vitals",
    "/api/appointments/{}",
    "/api/users/{}/sessions",
    "/api/v1/medications/{}",
    "/api/emergency/{}/alerts?severity=high",
)
STATUSES = (200,) * 12 + (201, 201, 204, 304, 400, 401, 404, 500)
METHODS = ("GET", "GET", "GET", "POST", "PUT", "DELETE")
LONG_BYTES = 1_000_000

Line = Callable[[random.Random, datetime], bytes]
"""Makes one line, without its newline."""


def request_line(chance: random.Random, moment: datetime) -> str:
    """About 310 bytes with a newline; nearly every URL is unique, one request in fifty is slow."""
    path = chance.choice(PATHS).format(chance.randrange(10**8))
    duration = chance.randrange(2001, 9000) if chance.random() < 0.02 else chance.randrange(1, 900)
    return (
        f'{{"timestamp":"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z","level":"info",'
        f'"service":"caredroid-backend","environment":"production","requestId":"req-{chance.getrandbits(96):024x}",'
        f'"method":"{chance.choice(METHODS)}","url":"{path}","statusCode":{chance.choice(STATUSES)},'
        f'"duration":{duration},"userId":"user-{chance.randrange(20_000)}",'
        f'"ip":"192.168.{chance.randrange(256)}.{chance.randrange(256)}","contentLength":{chance.randrange(50_000)}}}\n'
    )


def request(chance: random.Random, moment: datetime) -> bytes:
    """The usual line."""
    return request_line(chance, moment).encode()[:-1]


def with_own_field(chance: random.Random, moment: datetime) -> bytes:
    """Every fourth carries a field called like one of ours, so that ours have to move."""
    line = request(chance, moment)
    return b'%b,"host":"web-%d"}' % (line[:-1], chance.randrange(9)) if chance.random() < 0.25 else line


def hostile(chance: random.Random, moment: datetime) -> bytes:
    """One in ten is no JSON, one in a hundred no UTF-8, one in a thousand has a megabyte."""
    drawn = chance.random()
    if drawn < 0.1:
        return b"%s ERROR worker %d: connection reset by peer, retrying in %d ms" % (
            moment.isoformat().encode(),
            chance.randrange(99),
            chance.randrange(9999),
        )
    line = request(chance, moment)
    if drawn < 0.11:
        return line.replace(b'"service":"caredroid', b'"service":"care\xff\xfedroid')
    if drawn < 0.111:
        return b'%b,"stack":"%b"}' % (line[:-1], b"at Object.handle (app.js:1:2) " * (LONG_BYTES // 30))
    return line


def pino(chance: random.Random, moment: datetime) -> bytes:
    """As pino-http writes it: nested objects, the time as a number."""
    return (
        b'{"level":30,"time":%d,"pid":7,"hostname":"web-1","req":{"id":%d,"method":"%b","url":"/api/patients/%d",'
        b'"remoteAddress":"10.0.0.%d"},"res":{"statusCode":%d},"responseTime":%d,"msg":"request completed"}'
    ) % (
        moment.timestamp() * 1000,
        chance.randrange(10**6),
        chance.choice(METHODS).encode(),
        chance.randrange(10**8),
        chance.randrange(256),
        chance.choice(STATUSES),
        chance.randrange(1, 900),
    )


def cri(chance: random.Random, moment: datetime) -> bytes:
    """The usual line as Kubernetes' container runtimes wrap it."""
    return b"%b stdout F %b" % (moment.strftime("%Y-%m-%dT%H:%M:%S.%f000Z").encode(), request(chance, moment))


def write_lines(path: Path, count: int, *, line: Line = request, seed: int = 1) -> int:
    """Writes `count` lines over about an hour; returns the bytes."""
    chance = random.Random(seed)
    moment = BEGIN
    step = timedelta(seconds=3600 / count)
    with path.open("wb") as file:
        for _ in range(count):
            moment += step
            file.write(line(chance, moment) + b"\n")
    return path.stat().st_size
