"""`shipper replay`, as it is typed: options in, exit code out. Imports nothing that `run` does not need."""

from __future__ import annotations

import logging
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from shipper.endings import Exit
from shipper.errors import ConfigError, InUseError, OutputError, ShipperError
from shipper.options import end, indented_json, loader, output_option
from shipper.typed import FiniteRange

if TYPE_CHECKING:
    from shipper.replay.job import MetricsWish, Request

log = logging.getLogger(__name__)

_STEP_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """The options as click hands them over."""

    paths: tuple[str, ...]
    config_file: str | None
    output: str | None
    state: str | None
    since: str
    until: str
    where: str
    source: str
    stem: str
    index: str
    tag: str
    repair: bool
    workers: int | None
    shard: str
    rate: float | None
    max_ratio: int
    max_size: str
    metrics: str | None
    blocks: str | None
    step: float | None
    labels: tuple[str, ...]
    no_ship: bool
    dry_run: bool
    summary: str | None
    as_json: bool


@click.command()
@click.argument("paths", nargs=-1, metavar="PATH...")
@click.option("-c", "--config", "config_file", metavar="FILE", help="Configuration (YAML): that of the live daemon.")
@output_option
@click.option("--state", metavar="DIR", help="As for `run`; a replay keeps its own below DIR/replay.")
@click.option("--since", default="", metavar="T", help="Only lines of this time or later: 2024-01-15, …T10:30, 7d.")
@click.option("--until", default="", metavar="T", help="Only lines before this time; of a day the whole.")
@click.option("--where", default="", metavar="EXPR", help="Only lines for which this is true: 'statusCode >= 500'.")
@click.option("--source", default="", metavar="NAME", help="The source of files that no pattern matches.")
@click.option("--stem", default="", metavar="NAME", help="The log's name if the files have another (and for -).")
@click.option("--index", default="", metavar="PATTERN", help="Into other indices than the configuration says.")
@click.option("--tag", default="", metavar="TAG", help="A tag for every document that is new.")
@click.option("--repair", is_flag=True, help="Replace reduced documents by whole ones, once the mapping is mended.")
@click.option("--workers", type=click.IntRange(1, 64), metavar="N", help="Processes.  [default: cores]")
@click.option("--shard", default="", metavar="I/N", help="Only part I (from 0) of N; the other parts run elsewhere.")
@click.option("--rate", type=FiniteRange(0, min_open=True), metavar="LINES", help="At most so many lines a second.")
@click.option(
    "--max-ratio",
    type=click.IntRange(0),
    default=250,
    show_default=True,
    metavar="N",
    help="Stop reading a file that decompresses to more than N times its size; 0: never.",
)
@click.option(
    "--max-size",
    default="256GB",
    show_default=True,
    metavar="SIZE",
    help="Stop reading a file that decompresses to more; 0: never.",
)
@click.option("--metrics", metavar="DIR", help="Also write Prometheus history: OpenMetrics files, one a UTC day.")
@click.option("--blocks", metavar="TSDB_DIR", help="Also make TSDB blocks of such files with promtool.")
@click.option(
    "--step",
    type=FiniteRange(1, 3600),
    metavar="SECONDS",
    help="Time between samples of history: the scrape interval.  [default: 15]",
)
@click.option(
    "--label",
    "labels",
    multiple=True,
    metavar="NAME=VALUE",
    help="A label of all history, such as job and instance of the live target; may be repeated.",
)
@click.option("--no-ship", is_flag=True, help="Send nothing: for --metrics alone.")
@click.option("--dry-run", is_flag=True, help="Read everything, send nothing, and say what would be sent where.")
@click.option("--summary", metavar="DIR", help="Add up the ledgers of all shards below DIR, and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="The ledger for programs.")
def replay(**options: Any) -> None:
    """Send history: each line once, whatever was sent before, by whom, and from which copy.

    \b
    PATH is a file, a glob in quotes, a directory, a tar archive, or - for standard input (with --stem);
    plain, or compressed with gzip, zstd, bzip2 or xz. Ids, indices, tags and redaction are those of the
    configuration, so what the daemon has shipped is already there, and what it missed is added. Interrupted,
    the same command goes on where it was.

    \b
    Examples:
      shipper replay -c /etc/shipper/shipper.yml 'archive/**/*.gz'
      shipper replay logs/ --output http://localhost:9200 --since 2024-01-01 --until 2024-01-31
      shipper replay backup.tar.gz -c shipper.yml --dry-run
      shipper replay archive/ -c shipper.yml --metrics history/ --label job=shipper --label instance=app1:9640
      zcat combined.gz | shipper replay - --stem combined.log --output ./shipped

    \b
    Exit codes: 0 all delivered; 3 done, with dead letters; 1 not finished: interrupted, not deliverable, or a
    file could not be read to its end; 2 usage or configuration, or a daemon has the output's directory.
    """
    typed = Typed(**options)
    if typed.summary is not None:
        _summarize(Path(typed.summary), as_json=typed.as_json)
    if not typed.paths:
        end(Exit.USAGE, "nothing to replay: give a PATH (a file, a glob in quotes, a directory, an archive, or -)")
    from shipper.replay.conduct import replay as run_replay
    from shipper.replay.ledger import Ledger, as_text

    def show(ledger: Ledger) -> None:
        click.echo(indented_json(ledger.as_data()) if typed.as_json else as_text(ledger))

    try:
        code = run_replay(_request(typed), say=lambda text: click.echo(f"shipper: {text}", err=True), show=show)
    except (ConfigError, InUseError, OutputError) as error:
        end(Exit.USAGE, str(error))
    except (ShipperError, OSError) as error:
        end(Exit.UNFINISHED, f"not finished: {error}")
    sys.exit(code)


def _request(typed: Typed) -> Request:
    """Reads the configuration, and tells what is odd about it. Raises ConfigError."""
    from shipper.config import values
    from shipper.replay.job import Request
    from shipper.replay.streams import Limits

    size_bytes = _size_bytes(typed.max_size)
    files = tuple(path for path in typed.paths if path != "-") or (".",)
    loaded = loader(typed.config_file, paths=files, output=typed.output, state=typed.state)()
    for warning in loaded.warnings:
        log.warning("%s", warning)
    return Request(
        settings=loaded.settings,
        paths=typed.paths,
        directory=Path.cwd(),
        arguments=("shipper", *map(values.as_shown, sys.argv[1:])),
        source=typed.source,
        stem=typed.stem,
        since=typed.since,
        until=typed.until,
        where=typed.where,
        index=typed.index,
        tag=typed.tag,
        repairs=typed.repair,
        workers=typed.workers or 0,
        shard=typed.shard,
        lines_per_second=typed.rate or 0.0,
        metrics=_metrics_wish(typed),
        ships=not typed.no_ship,
        is_dry=typed.dry_run,
        limits=Limits(ratio=typed.max_ratio, size_bytes=size_bytes),
    )


def _size_bytes(max_size: str) -> int:
    """0 for no limit. Raises ConfigError."""
    from shipper.config import values

    try:
        return values.size(max_size) if max_size != "0" else 0
    except values.BadValue as error:
        raise ConfigError([f"--max-size: {error}"]) from None


def _metrics_wish(typed: Typed) -> MetricsWish | None:
    """What history is asked for, if any is. Raises ConfigError."""
    from shipper.replay.job import MetricsWish

    metrics, blocks = typed.metrics, typed.blocks
    if metrics is None and blocks is None:
        in_vain = {"--label": bool(typed.labels), "--step": typed.step is not None}
        problems = [f"{option}: is for --metrics and --blocks" for option, is_typed in in_vain.items() if is_typed]
        if typed.no_ship:
            problems.append("--no-ship: leaves nothing to do; give --metrics or --blocks")
        if problems:
            raise ConfigError(problems)
        return None
    pairs = [re.fullmatch(r"([a-zA-Z_][a-zA-Z0-9_]*)=(.*)", label, re.DOTALL) for label in typed.labels]
    bad = [label for label, pair in zip(typed.labels, pairs, strict=True) if pair is None]
    problems = [f"--label: {label!r} is not NAME=VALUE" for label in bad]
    for option, directory in (("--metrics", metrics), ("--blocks", blocks)):
        if directory is not None and Path(directory).exists() and not Path(directory).is_dir():
            problems.append(f"{option}: {directory!r} is there and no directory")
    if problems:
        raise ConfigError(problems)
    return MetricsWish(
        directory=Path.cwd() / metrics if metrics is not None else None,
        blocks=Path.cwd() / blocks if blocks is not None else None,
        step_seconds=typed.step or _STEP_SECONDS,
        labels={pair[1]: pair[2] for pair in pairs if pair is not None},
    )


def _summarize(directory: Path, *, as_json: bool) -> NoReturn:
    """Answers `--summary`: what all shards together have done."""
    import msgspec

    from shipper.replay.ledger import ledgers_in, summaries

    try:
        found = summaries(ledgers_in(directory))
    except ShipperError as error:
        end(Exit.USAGE, str(error))
    if not found:
        end(Exit.USAGE, f"there is no ledger of a replay below {str(directory)!r}")
    if as_json:
        click.echo(indented_json([msgspec.to_builtins(one) for one in found]))
    else:
        click.echo("\n\n".join(one.as_text() for one in found))
    if not all(one.is_finished for one in found):
        sys.exit(Exit.UNFINISHED)
    sys.exit(Exit.DEAD_LETTERS if any(one.has_dead_letters for one in found) else Exit.DONE)
