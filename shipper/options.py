"""What commands have in common: options, the configuration that they mean, how they answer and how they end.

Imports of what not every command needs stand in the functions, as in the commands themselves.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from shipper.endings import Exit
from shipper.errors import ConfigError
from shipper.escaping import printable

if TYPE_CHECKING:
    from shipper.config import Loaded

config_option = click.option("-c", "--config", "config_file", metavar="FILE", help="Configuration (YAML).")
output_option = click.option("--output", metavar="URL|DIR", help="As for `run`.")
json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")
state_option = click.option(
    "--state",
    metavar="DIR",
    help="State directory.  [default: as the configuration says; ./shipped/.shipper, ./.shipper]",
)


def loader(
    config_file: str | None,
    *,
    paths: Sequence[str] = (".",),
    is_over_sources: bool = False,
    reads_named_files: bool = False,
    **options: str | None,
) -> Callable[[], Loaded]:
    """A function that reads the configuration, with the `options` that were typed on top. It raises ConfigError.

    `paths` are what is followed without a file; with one, they replace those of its source if `is_over_sources`.
    `reads_named_files`: a configuration with problems is searched for more of them in the rules and other files that it
    names, which takes the exporter.
    """
    from shipper.config import CommandLine, load, zero_config

    here = Path.cwd()
    if config_file is None:
        return partial(zero_config, CommandLine(directory=here, paths=tuple(paths), **options))
    command_line = CommandLine(directory=here, paths=tuple(paths) if is_over_sources else (), **options)
    read = partial(load, Path(config_file), environ=os.environ, command_line=command_line)
    if not reads_named_files:
        return read
    from shipper.referred import file_problems

    return partial(read, also=partial(file_problems, is_whole=False))


def state_directory(config_file: str | None, state: str | None) -> Path:
    """The state that is meant: what was typed, the configuration's, or that of a `run` here. Raises ConfigError."""
    if state:
        return Path.cwd() / state
    if config_file is not None:
        return Path(loader(config_file)().settings.state)
    found = [path for path in (Path("shipped/.shipper"), Path(".shipper")) if path.is_dir()]
    if not found:
        raise ConfigError(["there is no state in ./shipped/.shipper or ./.shipper: give -c FILE or --state DIR"])
    return Path.cwd() / found[0]


def indented_json(value: object) -> str:
    """The answer of a command with `--json`."""
    import orjson

    return orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode()


def end(code: Exit, message: str) -> NoReturn:
    """Ends the command, and says why."""
    for line in message.split("\n"):
        click.echo(f"shipper: {printable(line)}", err=True)
    sys.exit(code)
