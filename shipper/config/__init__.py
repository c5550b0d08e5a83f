"""Configuration: a YAML file, the environment and the command line become one `Settings`, or one ConfigError.

`compose` reads YAML strictly, `decode` types it by the `structs` of `settings`, `checks` looks between the fields,
`command_line` puts what was typed on top, `render` writes it back for people. The daemon comes next.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from shipper.config.checks import checks, warnings
from shipper.config.command_line import CommandLine, apply_command_line, secret_warnings
from shipper.config.decode import Decoder, absolute
from shipper.config.document import MAX_TEXT_BYTES, Problems, printable
from shipper.config.values import parse_listen
from shipper.errors import ConfigError
from shipper.redact.key import read_key
from shipper.settings import OutputSettings, Settings, SourceSettings

__all__ = [
    "CommandLine",
    "Loaded",
    "apply_command_line",
    "check_files",
    "load",
    "parse_listen",
    "rule_files",
    "zero_config",
]

ZERO_CONFIG_SOURCE: Final = "default"


class Loaded(msgspec.Struct, frozen=True, kw_only=True):
    """Settings that are complete and checked, and what is odd about them. All paths are absolute."""

    settings: Settings
    warnings: tuple[str, ...]
    file: Path | None
    """None where there was none (zero configuration)."""


def load(
    file: Path,
    *,
    environ: Mapping[str, str],
    command_line: CommandLine,
    also: Callable[[Settings], list[str]] = lambda _: [],
) -> Loaded:
    """The settings of `file` with the command line applied.

    `file` is from `command_line.directory` if it is relative. Raises ConfigError with all problems, each with its line.
    `also`: what else is wrong where there are problems, of the settings as far as they could be read.
    """
    from shipper.config.compose import compose  # YAML, which a command without a file does without

    path = Path(absolute(str(file), command_line.directory))
    problems = Problems(file=str(file))
    node = compose(_read(path, str(file)), problems=problems)
    if node is None:
        raise problems.fail(1, "is empty; it needs `sources`")
    decoder = Decoder(problems=problems, environ=environ, directory=path.parent, checks=checks())
    settings = decoder.section(Settings, node, "")
    if problems and settings is not None:
        raise ConfigError([*problems.error().problems, *also(settings)])
    problems.raise_any()
    if settings is None:
        raise AssertionError("settings that cannot be built have a problem")
    return _finished(settings, command_line=command_line, directory=path.parent, file=file)


def zero_config(command_line: CommandLine) -> Loaded:
    """The defaults with the command line applied: one source with its paths. Raises ConfigError with all problems."""
    if not command_line.paths:
        raise ConfigError(["nothing to follow: give a PATH (a file, a glob in quotes, a directory), or -c FILE"])
    settings = Settings(sources=(SourceSettings(name=ZERO_CONFIG_SOURCE, paths=command_line.paths),))
    return _finished(settings, command_line=command_line, directory=command_line.directory, file=None)


def _finished(settings: Settings, *, command_line: CommandLine, directory: Path, file: Path | None) -> Loaded:
    applied = _with_defaults(apply_command_line(settings, command_line), directory)
    odd = (*secret_warnings(command_line), *warnings(applied))
    return Loaded(settings=applied, warnings=odd, file=file)


def _with_defaults(settings: Settings, directory: Path) -> Settings:
    """Fills in the defaults that are paths. They start where the file lies, whoever starts us from wherever."""
    local = settings.output.local
    if local is not None:
        local = msgspec.structs.replace(local, directory=absolute(local.directory, directory))
        settings = msgspec.structs.replace(settings, output=OutputSettings(local=local))
    if settings.state:
        return settings
    beside = Path(local.directory) if local else directory
    return msgspec.structs.replace(settings, state=absolute(".shipper", beside))


def _read(path: Path, shown: str) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_TEXT_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a file name"
        raise ConfigError([f"{printable(shown)}: cannot be read: {reason}"]) from None


def rule_files(settings: Settings) -> tuple[list[Path], list[str]]:
    """The files that `metrics.rules` means, each once, in order; none where the default rules are in force.

    And a problem for each pattern that matches no file: without its rules the alerts would be silent.
    """
    found: dict[Path, None] = {}
    problems = []
    for pattern in settings.metrics.rules:
        matches = map(Path, sorted(glob.glob(pattern, recursive=True)))  # noqa: PTH207 - Path.glob wants relative ones
        files = [path for path in matches if path.is_file()]
        found |= dict.fromkeys(files)
        if not files:
            problems.append(f"metrics.rules: {pattern!r} matches no file")
    return list(found), problems


def check_files(settings: Settings) -> list[str]:
    """What is wrong with the files that the settings name (`*_file`, certificates), a line each."""
    return [*_key_file_problems(settings), *_server_file_problems(settings)]


def _key_file_problems(settings: Settings) -> list[str]:
    try:
        read_key(settings.identity_key_file)
    except ConfigError as error:
        return error.problems
    return []


def _server_file_problems(settings: Settings) -> list[str]:
    server = settings.output.elasticsearch
    if server is None:
        return []
    names = ("password_file", "api_key_file", "ca_file", "client_certificate", "client_key")
    found = {f"output.elasticsearch.{name}": getattr(server, name) for name in names}
    return [problem for key, path in found.items() if path and (problem := _file_problem(key, path))]


def _file_problem(key: str, path: str) -> str:
    try:
        with Path(path).open("rb") as stream:
            is_empty = not stream.read(1 << 16).strip()
    except OSError as error:
        return f"{key}: {path!r} cannot be read: {os.strerror(error.errno or 0)}"
    return f"{key}: {path!r} is empty" if is_empty else ""
