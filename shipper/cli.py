"""The command line: `shipper run | check | explain | setup | demo`, and what other modules add (`test`, `replay` …).

Parses, calls, and turns errors into exit codes.

Imports of what only one command needs stand in that command: `run` is a sidecar, and every module costs memory.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from shipper import __version__
from shipper.endings import Exit
from shipper.errors import ConfigError, ShipperError
from shipper.escaping import EscapingFormatter, printable
from shipper.lettercommands import dead_letter
from shipper.operations import audit, status
from shipper.options import config_option, end, indented_json, json_option, loader, output_option
from shipper.replay.command import replay
from shipper.testing.command import test_command
from shipper.typed import COUNT, FiniteRange

_loader = partial(loader, reads_named_files=True)


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
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(EscapingFormatter(form))
    logging.basicConfig(level=logging.DEBUG if is_verbose else logging.INFO, handlers=[handler])
    for noisy in ("elastic_transport", "urllib3", "watchdog"):
        logging.getLogger(noisy).setLevel(logging.ERROR)


@main.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@config_option
@click.option(
    "--output",
    metavar="URL|DIR",
    help="http(s)://[user:password@]host:port of Elasticsearch or OpenSearch, or a directory.",
)
@click.option(
    "--state",
    metavar="DIR",
    help="State directory.  [default: .shipper in a local output's directory, else ./.shipper]",
)
@click.option("--listen", metavar="HOST:PORT", help="Page and metrics.  [default: 127.0.0.1:9640]")
@click.option("--once", is_flag=True, help="Read what is there to its end, deliver it, and exit.")
@click.option(
    "--drain",
    metavar="SECONDS",
    help="How long a stop goes on delivering; above 5 it first reads all files to their ends.  [default: 5]",
)
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
    from shipper.config.values import as_shown
    from shipper.daemon import CANNOT_BEGIN, Request
    from shipper.daemon import run as run_daemon

    request = Request(
        load=_loader(
            config_file, paths=paths, is_over_sources=True, output=output, state=state, listen=listen, drain=drain
        ),
        reads_once=once,
        listens=not once or bool(listen),
        arguments=("shipper", *map(as_shown, sys.argv[1:])),
    )
    try:
        code = run_daemon(request)
    except CANNOT_BEGIN as error:
        end(Exit.USAGE, str(error))
    sys.exit(code)


@main.command("check")
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@config_option
@output_option
@click.option("--state", metavar="DIR", help="As for `run`.")
@click.option("--listen", metavar="HOST:PORT", help="As for `run`.")
@click.option(
    "--print", "prints", is_flag=True, help="Print the effective configuration (secrets as ***), and nothing else."
)
@click.option("--offline", is_flag=True, help="Do not ask the server.")
@json_option
def check_command(
    *,
    paths: tuple[str, ...],
    config_file: str | None,
    output: str | None,
    state: str | None,
    listen: str | None,
    prints: bool,
    offline: bool,
    as_json: bool,
) -> None:
    """Check a configuration: what it says, which files it follows, whether it can write.

    Of the newest files of each source it reads the beginning, and suggests routes where URLs
    would make many labels.

    \b
    Examples:
      shipper check -c /etc/shipper/shipper.yml
      shipper check 'logs/*.log*' --output http://localhost:9200
      shipper check -c shipper.yml --print

    Exit codes: 0 usable; 2 not.
    """
    from shipper.check import as_text, check, ping
    from shipper.config.render import render

    try:
        loaded = _loader(config_file, paths=paths, is_over_sources=True, output=output, state=state, listen=listen)()
    except ConfigError as error:
        if as_json:
            click.echo(indented_json({"file": config_file or "(no file)", "problems": error.problems}))
            sys.exit(Exit.USAGE)
        end(Exit.USAGE, str(error))
    if prints:
        click.echo(render(loaded.settings), nl=False)
        return
    report = check(loaded, ping=None if offline else ping)
    click.echo(indented_json(report) if as_json else as_text(report))
    sys.exit(Exit.USAGE if report.problems else Exit.DONE)


@main.command()
@click.argument("path", default="-", metavar="[FILE]")
@config_option
@click.option(
    "--source", default="", metavar="NAME", help="The source whose settings apply, if the patterns do not say."
)
@click.option(
    "-n",
    "--lines",
    "count",
    type=COUNT,
    default=5,
    show_default=True,
    metavar="N",
    help="How many lines at most; 0 for all.",
)
@click.option("--json", "as_json", is_flag=True, help="For programs: one object a line.")
def explain(*, path: str, config_file: str | None, source: str, count: int, as_json: bool) -> None:
    """Show what becomes of a file's lines, and why: time, tags, drops, document, id, metrics.

    \b
    FILE is a log file, plain or compressed, or - for standard input. Nothing is sent or written.

    \b
    Examples:
      shipper explain logs/combined-2024-01-15.log
      tail -n 1 app.log | shipper explain -c shipper.yml
      echo '{"duration": 2500}' | shipper explain

    \b
    Exit codes: 0 explained, or there are no lines; 1 the file is damaged, after what could be read of it;
    2 usage, configuration, or the file cannot be read.
    """
    from itertools import islice

    from shipper.explain import Explainer, chunks_of, origin_of
    from shipper.referred import rules_of
    from shipper.tail import Damaged

    try:
        settings = _loader(config_file, paths=(path,))().settings
        origin = origin_of(settings, path, source_name=source)
        explainer = Explainer(settings=settings, rules=rules_of(settings), origin=origin)
        chunks = chunks_of(path, sys.stdin.buffer, source=origin.source)
        _print_explanations(islice(explainer.explain(chunks), count or None), as_json=as_json)
    except ConfigError as error:
        end(Exit.USAGE, str(error))
    except BrokenPipeError:  # nobody reads on: click ends it without a word
        raise
    except OSError as error:
        end(Exit.USAGE, f"{path}: {error.strerror or error}")
    except Damaged as error:
        end(Exit.UNFINISHED, f"{path}: damaged, and read only up to there: {error}")


def _print_explanations(explanations: Iterator[dict[str, Any]], *, as_json: bool) -> None:
    """Each as it comes. Raises what reading does, and BrokenPipeError."""
    from shipper.explain import UNKNOWN_BUDGETS, as_explanation

    is_empty, has_labels = True, False
    for explanation in explanations:
        is_empty = False
        has_labels |= any("{" in series for series in explanation["series"])
        click.echo(_json_line(explanation) if as_json else as_explanation(explanation))
    if has_labels and not as_json:
        click.echo(UNKNOWN_BUDGETS)
    if is_empty:
        click.echo("no lines", err=True)


def _json_line(value: object) -> str:
    import orjson

    return orjson.dumps(value).decode()


@main.command()
@click.argument("directory", default="demo", metavar="[DIRECTORY]")
@click.option(
    "--rate",
    type=FiniteRange(0, min_open=True),
    default=200.0,
    show_default=True,
    metavar="LINES",
    help="Lines a second.",
)
@click.option(
    "--seconds",
    type=FiniteRange(0),
    metavar="SECONDS",
    default=None,
    help="Stop by itself after so long.  [default: at Ctrl-C]",
)
@click.option(
    "--listen", metavar="HOST:PORT", default=None, help="Page and metrics.  [default: 127.0.0.1:9640, or a free port]"
)
@click.option("--output", metavar="URL|DIR", default=None, help="Where to ship.  [default: DIRECTORY/shipped]")
def demo(*, directory: str, rate: float, seconds: float | None, listen: str | None, output: str | None) -> None:
    """Write logs like a busy backend's, with rotation going on, and ship them.

    \b
    Everything lies in DIRECTORY (./demo): logs/ is written, shipped/ is the output.
    Ends at Ctrl-C with a summary: what was written, shipped and counted.

    \b
    Example:
      shipper demo
    """
    from shipper.demorun import run_demo

    try:
        code = run_demo(Path(directory), rate=rate, seconds=seconds, listen=listen, output=output, echo=click.echo)
    except ShipperError as error:
        end(Exit.USAGE, str(error))
    sys.exit(code)


@main.command()
@config_option
@click.option("--output", metavar="URL", help="The server, if there is no configuration.")
@click.option("--dry-run", is_flag=True, help="Show what would be sent, change nothing.")
@click.option("--force", is_flag=True, help="Replace a template or policy of this name that is not ours.")
@click.option("--no-aliases", is_flag=True, help="No ECS names: for services that write them themselves.")
@json_option
def setup(
    *, config_file: str | None, output: str | None, dry_run: bool, force: bool, no_aliases: bool, as_json: bool
) -> None:
    """Prepare the server: index template, and 30 full days of retention where it has ILM.

    \b
    Can be repeated: what is right already is left alone.

    \b
    Examples:
      shipper setup -c /etc/shipper/shipper.yml --dry-run
      shipper setup --output http://localhost:9200

    Exit codes: 0 done; 1 the server refused or did not answer; 2 usage or configuration.
    """
    from shipper.provision import setup as set_up
    from shipper.templates import own_fields

    try:
        settings = _loader(config_file, output=output)().settings
    except ConfigError as error:
        end(Exit.USAGE, str(error))
    server = settings.output.elasticsearch
    if server is None:
        end(Exit.USAGE, "setup needs a server: output.elasticsearch in the configuration, or --output URL")
    try:
        code = set_up(
            server,
            dry_run=dry_run,
            force=force,
            aliases=not no_aliases,
            taken=own_fields(settings.sources),
            echo=click.echo,
            as_json=as_json,
            complain=lambda text: click.echo(f"shipper: {printable(text)}", err=True),
        )
    except ShipperError as error:
        end(Exit.USAGE, str(error))
    sys.exit(code)


def _not_empty(context: click.Context, option: click.Parameter, value: Any) -> Any:
    """A variable of a script that is not set must not mean all lines, the default output, or the working directory."""
    if value == "" and context.get_parameter_source(str(option.name)) is ParameterSource.COMMANDLINE:
        end(Exit.USAGE, f"{option.opts[-1]}: is empty; give a value, or leave it out")
    return value


def _refuse_empty(command: click.Command) -> None:
    """Of all commands below it, for each option that takes text; `--listen ''` means that nothing is served."""
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        _refuse_empty(below)
    for option in command.params:
        if isinstance(option, click.Option) and option.type is click.STRING and option.name != "listen":
            option.callback = _not_empty


for _command in (status, audit, dead_letter, replay, test_command):
    main.add_command(_command)
_refuse_empty(main)
