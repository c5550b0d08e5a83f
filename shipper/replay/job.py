"""What was typed, checked: one piece of work that can be interrupted, and goes on under the same name.

`conduct` runs it; `command` makes the request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from shipper.blake2 import blake2b
from shipper.elastic.bulk import check_index_pattern
from shipper.errors import ConfigError
from shipper.replay.entries import STANDARD_INPUT
from shipper.replay.plan import WHOLE, Shard, shard_of
from shipper.replay.streams import Limits
from shipper.settings import OutputSettings, Secret, Settings

_ALWAYS = "1 == 1"


class MetricsWish(msgspec.Struct, frozen=True):
    """What history is asked for."""

    directory: Path | None
    """Where the day files go; None: into the replay's own state, because only blocks are wanted."""
    blocks: Path | None = None
    """Where promtool puts blocks, if it is to make them."""
    step_seconds: float = 15.0
    labels: Mapping[str, str] = msgspec.field(default_factory=dict)


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What was typed."""

    settings: Settings
    paths: Sequence[str]
    directory: Path
    """Where relative paths begin."""
    arguments: Sequence[str]
    """Of this command, to say how to go on."""
    source: str = ""
    stem: str = ""
    since: str = ""
    until: str = ""
    where: str = ""
    index: str = ""
    tag: str = ""
    repairs: bool = False
    workers: int = 0
    """0: as many as there are cores."""
    shard: str = ""
    lines_per_second: float = 0.0
    metrics: MetricsWish | None = None
    ships: bool = True
    is_dry: bool = False
    limits: Limits = msgspec.field(default_factory=Limits)


class Job(msgspec.Struct, frozen=True):
    """A request that was checked: one piece of work that can be interrupted, and goes on under the same name."""

    name: str
    settings: Settings
    shard: Shard

    @property
    def directory(self) -> Path:
        """Its own state, beside that of a daemon."""
        part = "" if self.shard == WHOLE else f"-shard-{self.shard.number}-of-{self.shard.count}"
        return Path(self.settings.state) / "replay" / f"{self.name}{part}"


def job_of(request: Request) -> Job:
    """Raises ConfigError."""
    shard = shard_of(request.shard) if request.shard else WHOLE
    if shard != WHOLE and STANDARD_INPUT in request.paths:
        raise ConfigError(["--shard: standard input is one stream; shards are made of files"])
    if request.metrics is not None and shard != WHOLE:
        raise ConfigError(["--metrics: a day's metrics span files, so one process must see all: not with --shard"])
    if request.metrics is not None and STANDARD_INPUT in request.paths:
        raise ConfigError(["--metrics: standard input can be read only once; give files"])
    if request.repairs and request.settings.output.elasticsearch is None:
        raise ConfigError(["--repair: only a server has reduced documents; a directory takes every line as it is"])
    settings = _tagged(indexed(request.settings, request.index), request.tag)
    meaning = (
        msgspec.structs.replace(settings, state="", metrics=msgspec.structs.replace(settings.metrics, listen="")),
        *(request.paths, request.source, request.stem, request.since, request.until, request.where, request.repairs),
        shard.count,
    )
    text = msgspec.json.encode(meaning, enc_hook=_hidden, order="deterministic")
    return Job(blake2b(text, digest_size=6).hexdigest(), settings, shard)


def _hidden(value: Any) -> str:
    if isinstance(value, Secret):
        return "***"
    raise NotImplementedError(type(value))


def indexed(settings: Settings, index: str) -> Settings:
    """The settings with another index pattern, if one was typed. Raises ConfigError."""
    if not index:
        return settings
    server, local = settings.output.elasticsearch, settings.output.local
    problems = check_index_pattern(index, allow_data_stream=server is not None and server.allow_data_stream)
    if problems:
        raise ConfigError([f"--index: {index!r} {problem}" for problem in problems])
    changed = OutputSettings(
        elasticsearch=msgspec.structs.replace(server, index=index) if server is not None else None,
        local=msgspec.structs.replace(local, index=index) if local is not None else None,
    )
    return msgspec.structs.replace(settings, output=changed)


def _tagged(settings: Settings, tag: str) -> Settings:
    if not tag:
        return settings
    if not tag.isprintable() or tag != tag.strip():
        raise ConfigError([f"--tag: {tag!r} is no name"])
    if tag in settings.tags:
        raise ConfigError([f"--tag: the configuration has a tag {tag!r} with a meaning of its own"])
    return msgspec.structs.replace(settings, tags={**settings.tags, tag: _ALWAYS})
