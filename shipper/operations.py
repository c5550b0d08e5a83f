"""The commands that look at what a daemon does or did: `shipper status | audit | dead-letter`.

Parse, call, and turn errors into exit codes; `cli` has the others. Imports stand in the commands, as in `cli`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from shipper.errors import ConfigError, InUseError, ShipperError
from shipper.escaping import printable
from shipper.typed import COUNT

if TYPE_CHECKING:
    from shipper.carrier import Carrier
    from shipper.config import Loaded
    from shipper.enrich import Choice
    from shipper.letters import Wanted
    from shipper.resend import Outcome
    from shipper.settings import Settings

DONE, UNFINISHED, USAGE, DEAD_LETTERS = range(4)
_Function = TypeVar("_Function", bound=Callable[..., Any])

_config = click.option("-c", "--config", "config_file", metavar="FILE", help="Configuration (YAML).")
_output = click.option("--output", metavar="URL|DIR", help="As for `run`.")
_state = click.option(
    "--state",
    metavar="DIR",
    help="State directory.  [default: as the configuration says; ./shipped/.shipper, ./.shipper]",
)
_json = click.option("--json", "as_json", is_flag=True, help="For programs.")


def add_commands(group: click.Group) -> None:
    """Adds this module's commands to `shipper`."""
    for command in (status, audit, dead_letter):
        group.add_command(command)


@click.command()
@_config
@_state
@_json
def status(*, config_file: str | None, state: str | None, as_json: bool) -> None:
    """Show how a daemon does: output, files, cursors, what waits; or what the state of one that is down says.

    \b
    Examples:
      shipper status -c /etc/shipper/shipper.yml
      shipper status --state ./shipped/.shipper --json

    \b
    Exit codes: 0 running, and nothing is wrong with the output; 1 not running, not answering, or the output
    does not take documents; 2 usage, or there is no such state.
    """
    from shipper.control import NoAnswerError
    from shipper.overview import as_text, overview

    try:
        found = overview(_state_directory(config_file, state))
    except NoAnswerError as error:
        _end(UNFINISHED, str(error))
    except ShipperError as error:
        _end(USAGE, str(error))
    click.echo(_as_json(found.data) if as_json else as_text(found), nl=as_json)
    sys.exit(DONE if found.is_good else UNFINISHED)


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@_config
@_output
@_state
@click.option("--source", default="", metavar="NAME", help="The source of files that no pattern matches.")
@click.option("--stem", default="", metavar="NAME", help="The log's name if the files have another, as for `replay`.")
@click.option("--index", default="", metavar="PATTERN", help="The indices that a `replay --index` sent into.")
@click.option("--since", default="", metavar="T", help="Ask only about lines of this time or later, as `replay`.")
@click.option("--until", default="", metavar="T", help="Ask only about lines before this time; of a day the whole.")
@click.option("--where", default="", metavar="EXPR", help="Ask only about lines for which this is true.")
@click.option(
    "--show", type=COUNT, default=5, show_default=True, metavar="N", help="How many missing lines to name of each file."
)
@_json
def audit(
    *,
    paths: tuple[str, ...],
    config_file: str | None,
    output: str | None,
    state: str | None,
    source: str,
    stem: str,
    index: str,
    since: str,
    until: str,
    where: str,
    show: int,
    as_json: bool,
) -> None:
    """Look for every line of these files in the output, and say where each is.

    \b
    PATH is a file, plain or compressed, a glob in quotes, a directory or a tar archive: all that `replay` reads;
    with -c the default is all that is followed. Each line's id and index are made as the daemon makes them. A line is
      present      in the output, perhaps reduced (then it has a dead letter as well);
      dropped      by a rule;
      set aside    in the dead letters;
      not shipped yet: behind the daemon's shipped cursor, or on disk for a blocked index. While a daemon is
                   running this is no fault; while none is, it is;
      missing      nowhere.
    Nothing is sent or changed.

    \b
    Examples:
      shipper audit -c /etc/shipper/shipper.yml
      shipper audit 'logs/*.log*' --output http://localhost:9200
      shipper audit 'archive/*.gz' -c shipper.yml --json
      shipper audit backup.tar.gz -c shipper.yml --since 2024-01-15 --until 2024-01-15

    \b
    Exit codes: 0 every line is accounted for; 1 some are missing, or not everything could be asked;
    2 usage or configuration.
    """
    from shipper.audit import audit as run_audit
    from shipper.audit import bytes_to_read
    from shipper.progress import Progress
    from shipper.replay.job import indexed
    from shipper.settings import own_directories
    from shipper.targets import targets

    try:
        settings = indexed(_loaded(config_file, paths=paths, output=output, state=state).settings, index)
        found = targets(
            settings,
            paths,
            own_directories=own_directories(settings),
            directory=Path.cwd(),
            source_name=source,
            archived=bool(paths),
        )
        choice = _choice(settings, since=since, until=until, where=where)
    except ConfigError as error:
        _end(USAGE, str(error))
    if not found.files:
        _end(USAGE, _no_file(found.problems | found.left_out))
    progress = Progress(what="audit", total=bytes_to_read(settings, found), stream=sys.stderr)
    try:
        report = run_audit(
            settings,
            found,
            show=show,
            advance=progress.advance,
            archived=bool(paths),
            stem_name=stem,
            choice=choice,
        )
    except (ShipperError, OSError) as error:
        progress.clear()
        _end(UNFINISHED, f"not finished: {error}")
    progress.clear()
    if not report.files:
        _end(USAGE, _no_file(report.problems | report.left_out))
    click.echo(_as_json(report.as_data()) if as_json else report.as_text())
    sys.exit(DONE if report.is_good else UNFINISHED)


def _choice(settings: Settings, *, since: str, until: str, where: str) -> Choice | None:
    """Which lines are asked about; None for all. Raises ConfigError."""
    if not (since or until or where):
        return None
    from datetime import UTC, datetime

    from shipper.replay.choice import Choice, choice_of, end_of, moment
    from shipper.routing import functions_of

    now = datetime.now(UTC)
    choice_of(since="", until="", where=where)
    begin, end = moment(since, now=now, option="--since"), end_of(until, now=now, option="--until")
    if begin and end and begin >= end:
        raise ConfigError([f"--since {begin} is not before --until {end}"])
    return Choice(
        since=begin,
        until=end,
        where=where,
        functions=functions_of(settings),
    )


def _no_file(reasons: Mapping[str, str]) -> str:
    return "\n".join(["there is no file to audit", *(f"{path}: {why}" for path, why in reasons.items())])


# Dead letters


def _selecting(command: _Function) -> _Function:
    """Options that say which records are meant."""
    options = (
        click.option("--reason", default="", metavar="R", help="Only those set aside for this reason."),
        click.option("--index", default="", metavar="NAME", help="Only those of this index."),
        click.option("--source", default="", metavar="NAME", help="Only those of this source."),
        click.option("--id", "record_id", default="", metavar="ID", help="Only the one with this id."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group("dead-letter", no_args_is_help=True)
def dead_letter() -> None:
    """List, show and retry the lines that could not become the documents that they should have been.

    \b
    Examples:
      shipper dead-letter list -c /etc/shipper/shipper.yml
      shipper dead-letter retry -c /etc/shipper/shipper.yml --reason document_parsing_exception
    """


@dead_letter.command("list")
@_selecting
@_config
@_state
@_json
def list_letters(
    *,
    reason: str,
    index: str,
    source: str,
    record_id: str,
    config_file: str | None,
    state: str | None,
    as_json: bool,
) -> None:
    """Count the dead letters by reason, index and source.

    \b
    Example:
      shipper dead-letter list --state /var/lib/shipper

    Exit codes: 0 listed, whether there are any or not; 2 usage, or they cannot be read.
    """
    from shipper.letters import counted

    try:
        counts = counted(_letters_of(config_file, state), _wanted(reason, index, source, record_id))
    except ShipperError as error:
        _end(USAGE, str(error))
    click.echo(_as_json(counts.as_data()) if as_json else counts.as_text())


@dead_letter.command("show")
@_selecting
@click.option("--limit", type=COUNT, default=20, show_default=True, metavar="N", help="How many at most; 0 for all.")
@_config
@_state
@_json
def show_letters(
    *,
    reason: str,
    index: str,
    source: str,
    record_id: str,
    limit: int,
    config_file: str | None,
    state: str | None,
    as_json: bool,
) -> None:
    """Show dead letters, the oldest first, with what the server said and the line. With --json one object a line.

    \b
    Examples:
      shipper dead-letter show -c shipper.yml --reason time_in_future
      shipper dead-letter show --state /var/lib/shipper --id 0123456789ab-0000000100-89abcdef --json

    Exit codes: 0 shown; 1 there is none like that; 2 usage, or they cannot be read.
    """
    from itertools import islice

    from shipper.letters import as_text, letters_in

    shown = 0
    try:
        found = letters_in(_letters_of(config_file, state), _wanted(reason, index, source, record_id))
        for letter in islice(found, limit or None):
            click.echo(_as_json_line(letter) if as_json else as_text(letter))
            shown += 1
    except ShipperError as error:
        _end(USAGE, str(error))
    if not shown:
        _end(UNFINISHED, "there is no such dead letter")


@dead_letter.command("retry")
@_selecting
@click.option("--force", is_flag=True, help="Also those whose time has not come yet (time_in_future).")
@_config
@_output
@_state
@_json
def retry_letters(
    *,
    reason: str,
    index: str,
    source: str,
    record_id: str,
    force: bool,
    config_file: str | None,
    output: str | None,
    state: str | None,
    as_json: bool,
) -> None:
    """Send the documents of dead letters again, after the mapping, template or clock was mended.

    \b
    Each document is made anew from its line, whole, under its own id and in its own index; it replaces the
    reduced one that stands for it. Records whose documents are accepted move to retried-DATE.ndjson; those that
    are refused again stay, with the new reason. May be repeated, and run beside a daemon; into a local output
    only while no daemon has it.

    \b
    Examples:
      shipper dead-letter retry -c /etc/shipper/shipper.yml
      shipper dead-letter retry -c shipper.yml --index logs-2024.01.15 --reason document_parsing_exception

    \b
    Exit codes: 0 all were accepted; 3 done, and some stay (refused again, or not due yet); 1 not finished: the
    output did not answer, or did not take them just now; 2 usage, configuration, or the output is in use.
    """
    try:
        settings = _loaded(config_file, paths=(), output=output, state=state).settings
    except ConfigError as error:
        _end(USAGE, str(error))
    wanted = _wanted(reason, index, source, record_id)
    try:
        outcome = _retried(settings, wanted, is_forced=force)
    except (InUseError, ConfigError) as error:
        _end(USAGE, str(error))
    except (ShipperError, OSError) as error:
        _end(UNFINISHED, f"not finished: {error}")
    click.echo(_as_json(outcome.as_data()) if as_json else outcome.as_text())
    sys.exit(DEAD_LETTERS if outcome.is_finished and outcome.stay else DONE if outcome.is_finished else UNFINISHED)


def _retried(settings: Settings, wanted: Wanted, *, is_forced: bool) -> Outcome:
    from contextlib import ExitStack

    from shipper.letters import day_files
    from shipper.progress import Progress
    from shipper.resend import Outcome, Rebuilder, Retry

    directory = Path(settings.state) / "dead-letter"
    files = day_files(directory)
    if not files:
        return Outcome()
    progress = Progress(what="retry", total=sum(path.stat().st_size for path in files), stream=sys.stderr)
    with ExitStack() as stack:
        stack.callback(progress.clear)
        retry = Retry(
            directory=directory,
            wanted=wanted,
            rebuilder=Rebuilder(settings=settings, is_forced=is_forced),
            carrier=_carrier(settings, stack),
            advance=progress.advance,
        )
        return retry.run()


def _carrier(settings: Settings, stack: Any) -> Carrier:
    server = settings.output.elasticsearch
    if server is not None:
        from shipper.elastic.asking import Asking
        from shipper.elastic.resend import ServerCarrier

        asking = Asking(server, purpose="retry")
        stack.callback(asking.close)
        return ServerCarrier(asking=asking, settings=server)
    from shipper.local.resend import DirectoryCarrier
    from shipper.settings import LocalSettings

    carrier = DirectoryCarrier(settings=settings.output.local or LocalSettings(), state=Path(settings.state))
    carrier.start()
    stack.callback(carrier.close)
    return carrier


# What was typed


def _wanted(reason: str, index: str, source: str, record_id: str) -> Wanted:
    from shipper.letters import Wanted

    return Wanted(reason=reason, index=index, source=source, id=record_id)


def _loaded(config_file: str | None, *, paths: tuple[str, ...], output: str | None, state: str | None) -> Loaded:
    """The configuration; without a file that of these paths. Raises ConfigError."""
    from shipper.config import CommandLine, load, zero_config

    if config_file is None:
        line = CommandLine(directory=Path.cwd(), paths=paths or (".",), output=output, state=state)
        return zero_config(line)
    return load(
        Path(config_file),
        environ=os.environ,
        command_line=CommandLine(directory=Path.cwd(), output=output, state=state),
    )


def _state_directory(config_file: str | None, state: str | None) -> Path:
    """Raises ConfigError."""
    if state:
        return Path.cwd() / state
    if config_file is not None:
        return Path(_loaded(config_file, paths=(), output=None, state=None).settings.state)
    found = [path for path in (Path("shipped/.shipper"), Path(".shipper")) if path.is_dir()]
    if not found:
        raise ConfigError(["there is no state in ./shipped/.shipper or ./.shipper: give -c FILE or --state DIR"])
    return Path.cwd() / found[0]


def _letters_of(config_file: str | None, state: str | None) -> Path:
    return _state_directory(config_file, state) / "dead-letter"


def _as_json(value: object) -> str:
    import orjson

    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()


def _as_json_line(value: object) -> str:
    import msgspec

    return msgspec.json.encode(value).decode()


def _end(code: int, message: str) -> NoReturn:
    for line in message.splitlines():
        click.echo(f"shipper: {printable(line)}", err=True)
    sys.exit(code)
