"""`shipper dead-letter list | show | retry`, as they are typed.

Parse, call, and turn errors into exit codes. `letters` reads the records, `resend` sends them again. Imports stand in
the commands, as in `cli`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from shipper.endings import Exit
from shipper.errors import ConfigError, InUseError, ShipperError
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
    from shipper.carrier import Carrier
    from shipper.letters import Wanted
    from shipper.resend import Outcome
    from shipper.settings import Settings

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _selecting(command: _Command) -> _Command:
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
@config_option
@state_option
@json_option
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
        end(Exit.USAGE, str(error))
    click.echo(indented_json(counts.as_data()) if as_json else counts.as_text())


@dead_letter.command("show")
@_selecting
@click.option("--limit", type=COUNT, default=20, show_default=True, metavar="N", help="How many at most; 0 for all.")
@config_option
@state_option
@json_option
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

    import msgspec

    from shipper.letters import as_text, letters_in

    shown = 0
    try:
        found = letters_in(_letters_of(config_file, state), _wanted(reason, index, source, record_id))
        for letter in islice(found, limit or None):
            click.echo(msgspec.json.encode(letter).decode() if as_json else as_text(letter))
            shown += 1
    except ShipperError as error:
        end(Exit.USAGE, str(error))
    if not shown:
        end(Exit.UNFINISHED, "there is no such dead letter")


@dead_letter.command("retry")
@_selecting
@click.option("--force", is_flag=True, help="Also those whose time has not come yet (time_in_future).")
@config_option
@output_option
@state_option
@json_option
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
        settings = loader(config_file, output=output, state=state)().settings
    except ConfigError as error:
        end(Exit.USAGE, str(error))
    wanted = _wanted(reason, index, source, record_id)
    try:
        outcome = _retried(settings, wanted, is_forced=force)
    except (InUseError, ConfigError) as error:
        end(Exit.USAGE, str(error))
    except (ShipperError, OSError) as error:
        end(Exit.UNFINISHED, f"not finished: {error}")
    click.echo(indented_json(outcome.as_data()) if as_json else outcome.as_text())
    if not outcome.is_finished:
        sys.exit(Exit.UNFINISHED)
    sys.exit(Exit.DEAD_LETTERS if outcome.stay else Exit.DONE)


def _retried(settings: Settings, wanted: Wanted, *, is_forced: bool) -> Outcome:
    from shipper.letters import day_files
    from shipper.progress import Progress
    from shipper.resend import Outcome, Rebuilder, Retry

    directory = _in_state(Path(settings.state))
    files = day_files(directory)
    if not files:
        return Outcome()
    progress = Progress(what="retry", total=sum(path.stat().st_size for path in files), stream=sys.stderr)
    with ExitStack() as stack:
        stack.callback(progress.clear)
        stack.enter_context(progress.beating())
        retry = Retry(
            directory=directory,
            wanted=wanted,
            rebuilder=Rebuilder(settings=settings, is_forced=is_forced),
            carrier=_carrier(settings, stack, waits_for=progress.wait_for),
            advance=progress.advance,
        )
        return retry.run()


def _carrier(settings: Settings, stack: ExitStack, *, waits_for: Callable[[str], None]) -> Carrier:
    server = settings.output.elasticsearch
    if server is not None:
        from shipper.elastic.asking import Asking
        from shipper.elastic.resend import ServerCarrier

        asking = Asking(server, purpose="retry", waits_for=waits_for)
        stack.callback(asking.close)
        return ServerCarrier(asking=asking, settings=server)
    from shipper.local.resend import DirectoryCarrier
    from shipper.settings import LocalSettings

    carrier = DirectoryCarrier(settings=settings.output.local or LocalSettings(), state=Path(settings.state))
    carrier.start()
    stack.callback(carrier.close)
    return carrier


def _wanted(reason: str, index: str, source: str, record_id: str) -> Wanted:
    from shipper.letters import Wanted

    return Wanted(reason=reason, index=index, source=source, id=record_id)


def _letters_of(config_file: str | None, state: str | None) -> Path:
    """Where they lie. Raises ConfigError, also where there is no state at all."""
    return _in_state(state_directory(config_file, state))


def _in_state(state: Path) -> Path:
    if not state.is_dir():
        raise ConfigError([f"there is no state in {str(state)!r}: nothing has run with it; see -c and --state"])
    return state / "dead-letter"
