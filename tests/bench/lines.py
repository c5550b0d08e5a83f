"""Log files to measure with: request lines as CareDroid writes them, the same bytes for the same seed."""

from __future__ import annotations

import random
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


def request_line(chance: random.Random, moment: datetime) -> str:
    """About 310 bytes; nearly every URL is unique, one request in fifty is slow."""
    path = chance.choice(PATHS).format(chance.randrange(10**8))
    duration = chance.randrange(2001, 9000) if chance.random() < 0.02 else chance.randrange(1, 900)
    return (
        f'{{"timestamp":"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z","level":"info",'
        f'"service":"caredroid-backend","environment":"production","requestId":"req-{chance.getrandbits(96):024x}",'
        f'"method":"{chance.choice(METHODS)}","url":"{path}","statusCode":{chance.choice(STATUSES)},'
        f'"duration":{duration},"userId":"user-{chance.randrange(20_000)}",'
        f'"ip":"192.168.{chance.randrange(256)}.{chance.randrange(256)}","contentLength":{chance.randrange(50_000)}}}\n'
    )


def write_requests(path: Path, count: int, *, seed: int = 1) -> int:
    """Writes `count` request lines over about an hour; returns the bytes."""
    chance = random.Random(seed)
    moment = BEGIN
    step = timedelta(seconds=3600 / count)
    with path.open("w", encoding="ascii") as file:
        for _ in range(count):
            moment += step
            file.write(request_line(chance, moment))
    return path.stat().st_size
