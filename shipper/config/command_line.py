"""The command line on top of the settings: each option replaces one of them, checked as a file's value is."""

from __future__ import annotations

import glob
import os
import re
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from shipper.config import values
from shipper.config.decode import absolute, absolute_glob, within
from shipper.config.structs import field_type
from shipper.config.values import BadValue
from shipper.elastic.bulk import check_index_pattern
from shipper.errors import ConfigError
from shipper.settings import (
    ElasticsearchSettings,
    LocalSettings,
    MetricsSettings,
    OutputSettings,
    Secret,
    Settings,
    SourceSettings,
)

_CREDENTIALS: Final = ("username", "password", "password_file", "api_key", "api_key_file")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """What was typed beside the file; it wins. Relative paths are from `directory`."""

    directory: Path
    paths: tuple[str, ...] = ()
    output: str | None = None
    state: str | None = None
    listen: str | None = None
    drain: str | None = None
    leads_to: tuple[str, ...] = field(init=False)
    """Patterns of the files that symlinks among `paths` lead to: those that were meant when they were typed. A reload
    asks again for none of them, since somebody else may have swapped a link.
    """

    def __post_init__(self) -> None:
        links = (Path(absolute_glob(path, self.directory)) for path in self.paths if path and "\0" not in path)
        leads_to = tuple(glob.escape(os.path.realpath(path)) for path in links if path.is_symlink())
        object.__setattr__(self, "leads_to", leads_to)


def apply_command_line(settings: Settings, command_line: CommandLine) -> Settings:
    """`settings` with what was typed in place of theirs. Raises ConfigError with all problems."""
    problems: list[str] = []
    changes: dict[str, Any] = {}
    steps: Sequence[tuple[str, str, object, Callable[[Settings, CommandLine], Any]]] = (
        ("sources", "PATH", command_line.paths or None, _sources),
        ("output", "--output", command_line.output, _output),
        ("state", "--state", command_line.state, _state),
        ("metrics", "--listen", command_line.listen, _metrics),
        ("drain_seconds", "--drain", command_line.drain, _drain),
    )
    for name, option, given, apply in steps:
        if given is None:
            continue
        try:
            changes[name] = apply(settings, command_line)
        except BadValue as error:
            problems.append(f"{option}: {error}")
    if problems:
        raise ConfigError(problems)
    return msgspec.structs.replace(settings, **changes)


def secret_warnings(command_line: CommandLine) -> list[str]:
    """What is said about a secret that was typed: others on this machine can read it in the list of processes."""
    text = command_line.output or ""
    if values.without_credentials(text) == text:
        return []
    seen = "which every user of this machine can read in the list of processes"
    return [f"--output holds a password, {seen}; use -c FILE with password_file or api_key_file"]


def _sources(settings: Settings, command_line: CommandLine) -> tuple[SourceSettings, ...]:
    if len(settings.sources) != 1:
        names = ", ".join(source.name for source in settings.sources)
        raise BadValue(f"replaces the paths of one source, but the configuration has {len(settings.sources)} ({names})")
    if not all(command_line.paths):
        raise BadValue("expected a path that is not empty")
    return (typed_source(settings.sources[0], command_line),)


def typed_source(source: SourceSettings, command_line: CommandLine) -> SourceSettings:
    """The source with the paths that were typed. Where one is a symlink, whoever typed it means what it leads to."""
    paths = tuple(absolute_glob(path, command_line.directory) for path in command_line.paths)
    return msgspec.structs.replace(source, paths=paths, symlinks=(*source.symlinks, *command_line.leads_to))


def _output(settings: Settings, command_line: CommandLine) -> OutputSettings:
    """The other output with the same index pattern, or the same one with its other settings kept."""
    text = command_line.output or ""
    before = settings.output
    index = (before.elasticsearch or before.local or LocalSettings()).index
    if re.match(r"(?i)https?://", text):
        return OutputSettings(elasticsearch=_server(text, before.elasticsearch, index))
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
        raise BadValue("expected http://…, https://… or a directory")
    directory = _path(text, command_line.directory)
    return OutputSettings(
        local=msgspec.structs.replace(before.local or LocalSettings(index=index), directory=directory)
    )


def _server(text: str, before: ElasticsearchSettings | None, index: str) -> ElasticsearchSettings:
    url = values.url(text)
    server = before or ElasticsearchSettings(hosts=(), index=index)
    problems = check_index_pattern(server.index, allow_data_stream=server.allow_data_stream)
    if problems:  # of a pattern that was good for files
        raise BadValue(f"the index pattern {server.index!r} {problems[0]}")
    changes: dict[str, Any] = {"hosts": (url.address,)}
    if url.username:
        fresh = ElasticsearchSettings(hosts=())
        changes |= {name: getattr(fresh, name) for name in _CREDENTIALS}
        changes |= {"username": url.username, "password": Secret(url.password)}
    return msgspec.structs.replace(server, **changes)


def _state(_: Settings, command_line: CommandLine) -> str:
    return _path(command_line.state or "", command_line.directory)


def _metrics(settings: Settings, command_line: CommandLine) -> MetricsSettings:
    return msgspec.structs.replace(settings.metrics, listen=values.listen(command_line.listen or ""))


def _drain(_: Settings, command_line: CommandLine) -> float:
    hint = typing.get_type_hints(Settings, include_extras=True)["drain_seconds"]
    return float(within(field_type(hint), values.duration(command_line.drain or "")))


def _path(text: str, directory: Path) -> str:
    if not text or "\0" in text:
        raise BadValue("expected a path that is not empty")
    return absolute(text, directory)
