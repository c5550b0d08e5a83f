"""The commands that look at what a daemon does or did, and change nothing: `shipper status` and `shipper audit`.

Parse, call, and turn errors into exit codes. Imports stand in the commands, as in `cli`.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shipper.endings import Exit
from shipper.errors import ConfigError, ShipperError
from shipper.options import (
    config_option,
    end,
    indented_json,
    json_option,
    loader,
    output_option,
    state_directory,
    state_option,
)
from shipper.typed import COUNT

if TYPE_CHECKING:
    from shipper.replay.choice import Choice
    from shipper.settings import Settings
    from shipper.targets import Targets
    from shipper.verdicts import Report


@click.command()
@config_option
@state_option
@json_option
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
        found = overview(state_directory(config_file, state))
    except NoAnswerError as error:
        end(Exit.UNFINISHED, str(error))
    except ShipperError as error:
        end(Exit.USAGE, str(error))
    click.echo(indented_json(found.data) if as_json else as_text(found), nl=as_json)
    sys.exit(Exit.DONE if found.is_good else Exit.UNFINISHED)


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@config_option
@output_option
@state_option
@click.option("--source", default="", metavar="NAME", help="The source of files that no pattern matches.")
@click.option("--stem", default="", metavar="NAME", help="The log's name if the files have another, as for `replay`.")
@click.option("--index", default="", metavar="PATTERN", help="The indices that a `replay --index` sent into.")
@click.option("--since", default="", metavar="T", help="Ask only about lines of this time or later, as `replay`.")
@click.option("--until", default="", metavar="T", help="Ask only about lines before this time; of a day the whole.")
@click.option("--where", default="", metavar="EXPR", help="Ask only about lines for which this is true.")
@click.option(
    "--show", type=COUNT, default=5, show_default=True, metavar="N", help="How many missing lines to name of each file."
)
@json_option
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
    Exit codes: 0 every line is accounted for; 1 some are missing, or not everything could be read or asked;
    2 usage or configuration, or there is no such output directory.
    """
    from shipper.replay.job import indexed

    if not paths and config_file is None:
        end(Exit.USAGE, "nothing to audit: give a PATH (a file, a glob in quotes, a directory, an archive), or -c FILE")
    try:
        settings = indexed(loader(config_file, paths=paths or (".",), output=output, state=state)().settings, index)
        _check_directory(settings)
        found = _targets(settings, paths, source)
        choice = _choice(settings, since=since, until=until, where=where)
    except ConfigError as error:
        end(Exit.USAGE, str(error))
    if not found.files:
        end(Exit.USAGE, _no_file(found.problems | found.left_out))
    try:
        report = _audited(settings, found, show=max(0, show), is_archived=bool(paths), stem=stem, choice=choice)
    except (ShipperError, OSError) as error:
        end(Exit.UNFINISHED, f"not finished: {error}")
    if not report.files:
        end(Exit.USAGE, _no_file(report.problems | report.left_out))
    click.echo(indented_json(report.as_data()) if as_json else report.as_text())
    sys.exit(Exit.DONE if report.is_good else Exit.UNFINISHED)


def _check_directory(settings: Settings) -> None:
    """Raises ConfigError where a local output is not there: that is no place in which lines are missing."""
    local = settings.output.local
    if local is not None and not Path(local.directory).is_dir():
        raise ConfigError(
            [f"there is no directory {local.directory!r}: nothing was shipped into it; see -c and --output"]
        )


def _targets(settings: Settings, paths: Sequence[str], source: str) -> Targets:
    """The files to audit: those that were typed, which may be archives, or all that is followed. Raises ConfigError."""
    from shipper.settings import own_directories
    from shipper.targets import targets

    return targets(
        settings,
        paths,
        own_directories=own_directories(settings),
        directory=Path.cwd(),
        source_name=source,
        archived=bool(paths),
    )


def _audited(
    settings: Settings, found: Targets, *, show: int, is_archived: bool, stem: str, choice: Choice | None
) -> Report:
    """Reads and asks, behind a bar. Raises ShipperError or OSError."""
    from shipper.audit import audit as run_audit
    from shipper.audit import bytes_to_read
    from shipper.progress import Progress

    progress = Progress(what="audit", total=bytes_to_read(settings, found), stream=sys.stderr)
    try:
        with progress.beating():
            return run_audit(
                settings,
                found,
                show=show,
                advance=progress.advance,
                archived=is_archived,
                stem_name=stem,
                choice=choice,
                waits_for=progress.wait_for,
            )
    finally:
        progress.clear()


def _choice(settings: Settings, *, since: str, until: str, where: str) -> Choice | None:
    """Which lines are asked about; None for all. Raises ConfigError."""
    if not (since or until or where):
        return None
    from datetime import UTC, datetime

    from shipper.replay.choice import Choice, choice_of, end_of, moment
    from shipper.routing import functions_of

    now = datetime.now(UTC)
    choice_of(since="", until="", where=where)
    begin, before = moment(since, now=now, option="--since"), end_of(until, now=now, option="--until")
    if begin and before and begin >= before:
        raise ConfigError([f"--since {since} is not before --until {until}"])
    return Choice(since=begin, until=before, where=where, functions=functions_of(settings))


def _no_file(reasons: Mapping[str, str]) -> str:
    return "\n".join(["there is no file to audit", *(f"{path}: {why}" for path, why in reasons.items())])
