"""The command line: `shipper run | check | explain | setup | demo`. Parses, calls, and turns errors into exit codes.

Imports of what only one command needs stand in that command: `run` is a sidecar, and every module costs memory.
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from shipper import __version__
from shipper.errors import ConfigError, ShipperError

PATHS_HELP = "PATH is a file, a glob in quotes ('logs/*.log*', '**' too), or a directory (its own *.log, *.json, …)."


class ExitWithUsage(click.ClickException):
    """Ends with exit code 2 and our own message."""

    exit_code = 2

    def show(self, file: object = None) -> None:  # noqa: ARG002 - click's signature
        for line in self.message.splitlines():
            click.echo(f"shipper: {line}", err=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="shipper")
@click.option("-v", "--verbose", is_flag=True, help="Say more (debug messages).")
def main(*, verbose: bool) -> None:
    """Tails rotating JSON logs, ships them into Elasticsearch or local files, and derives Prometheus metrics.

    \b
    Try:  shipper demo
          shipper run 'logs/*.log*'
          shipper run -c conf/shipper.yml
    """
    start_logging(is_verbose=verbose)


def start_logging(*, is_verbose: bool) -> None:
    """Messages go to standard error; the time is left to systemd's journal where that reads them."""
    form = "%(levelname)s %(message)s" if "JOURNAL_STREAM" in os.environ else "%(asctime)s %(levelname)s %(message)s"
    logging.basicConfig(level=logging.DEBUG if is_verbose else logging.INFO, format=form, stream=sys.stderr)
    for noisy in ("elastic_transport", "urllib3", "watchdog"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


@main.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option("-c", "--config", "config_file", metavar="FILE", help="Configuration (YAML).")
@click.option("--output", metavar="URL|DIR", help="http(s)://[user:password@]host:port of Elasticsearch or OpenSearch, or a directory.")
@click.option("--state", metavar="DIR", help="State directory.  [default: .shipper in a local output's directory, else ./.shipper]")
@click.option("--listen", metavar="HOST:PORT", help="Page and metrics.  [default: 127.0.0.1:9640]")
@click.option("--once", is_flag=True, help="Read what is there to its end, deliver it, and exit.")
@click.option("--drain", metavar="SECONDS", help="How long a stop goes on delivering; above 5 it first reads all files to their ends.  [default: 5]")
def run(
    *,
    paths: tuple[str, ...],
    config_file: str | None,
    output: str | None,
    state: str | None,
    listen: str | None,
    once: bool,
    drain: str | None,
) -> None:
    """Follow files, ship their lines, count them.

    \b
    PATH is a file, a glob in quotes ('logs/*.log*', '**' too), or a directory.
    Without -c and --output, lines go to daily files in ./shipped/.

    \b
    Examples:
      shipper run 'logs/*.log*'
      shipper run logs/ --output http://localhost:9200
      shipper run -c /etc/shipper/shipper.yml
      shipper run 'archive/*.log.gz' --once --output ./shipped

    \b
    Exit codes: 0 ended by a signal, or (--once) all delivered; 1 (--once) not finished;
    2 usage or configuration; 3 (--once) done, with dead letters.
    """
    from shipper.daemon import CANNOT_BEGIN, Request
    from shipper.daemon import run as run_daemon

    request = Request(
        load=_loader(config_file, paths=paths, output=output, state=state, listen=listen, drain=drain),
        reads_once=once,
        listens=not once or listen is not None,
        arguments=tuple(["shipper", *sys.argv[1:]]),
    )
    try:
        code = run_daemon(request)
    except CANNOT_BEGIN as error:
        _fail(error)
    sys.exit(int(code))


def _loader(config_file: str | None, **options: object):  # type: ignore[no-untyped-def] # noqa: ANN202
    from shipper.config import CommandLine, Loaded, load, zero_config

    command_line = CommandLine(directory=Path.cwd(), **options)  # type: ignore[arg-type] # click's types

    def read() -> Loaded:
        if config_file is None:
            return zero_config(command_line)
        return load(Path(config_file), environ=os.environ, command_line=command_line)

    return read


def _fail(error: ShipperError) -> NoReturn:
    raise ExitWithUsage(str(error)) from None
