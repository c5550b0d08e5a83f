"""`shipper check`: is the configuration right, which files does it follow, can it write where it should?

Starts nothing, writes nothing. What would stop `run` is a problem; what `run` would wait for is a warning. What would
make few series of many is a suggestion.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec

from exporter.rules import catalogue, label_warnings
from exporter.statuses import status_advice
from shipper import __version__
from shipper.config import Loaded, check_files
from shipper.discover import Listing, scan
from shipper.elastic.transport import Cluster, NotAnsweredError
from shipper.errors import ConfigError, OutputError, ShipperError
from shipper.escaping import printable
from shipper.expressions import UNMATCHED
from shipper.referred import guard_of, rules_of
from shipper.sampled import tried_on_sample
from shipper.settings import ElasticsearchSettings, Settings, own_directories
from shipper.suggest import MANY_NAMES, Seen, Suggestion, noise, routes_of_sample, suggested
from shipper.wording import number_of

MOST_FILES = 20
PING_SECONDS = 5.0

Ping = Callable[[ElasticsearchSettings], str]
"""What the server is (`Elasticsearch 8.19.3`). Raises OSError or ShipperError with the reason if it does not answer."""


@dataclass(slots=True)
class Report:
    """What was found. `problems` would stop `run`."""

    file: str
    output: str
    state: str
    listen: str
    sources: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, list[str]] = field(default_factory=dict)
    sampled: int = 0
    """Lines that the rules were tried on."""
    unused: list[str] = field(default_factory=list)
    """Metrics that none of those lines is about."""
    routes: list[Suggestion] = field(default_factory=list)
    """What a sample of the lines suggests for `metrics.routes`."""
    warnings: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def check(loaded: Loaded, *, ping: Ping | None) -> Report:
    """The report on a loaded configuration. `ping` asks the server; None leaves it alone."""
    settings = loaded.settings
    report = Report(
        file=str(loaded.file or "(no file)"),
        output="",
        state=settings.state,
        listen=settings.metrics.listen or "(none)",
    )
    report.warnings += loaded.warnings
    file_problems = check_files(settings)
    report.problems += file_problems
    listing = scan(settings.sources, own_directories=own_directories(settings))
    _check_sources(settings, listing, report)
    try:
        rules = rules_of(settings)
        report.metrics = {name: list(labels) for name, labels in catalogue(rules).items()}
        report.warnings += [*label_warnings(rules), *status_advice(rules)]
    except ConfigError as error:
        report.problems += error.problems
    _check_web_config(settings, report)
    _check_directory("state", settings.state, report)
    if settings.output.elasticsearch is not None:
        _check_server(settings.output.elasticsearch, report, None if file_problems else ping)
    elif settings.output.local is not None:
        report.output = settings.output.local.directory
        _check_directory("output", settings.output.local.directory, report)
    if not report.problems:
        sampled = tried_on_sample(settings, listing.files)
        report.sampled, report.unused = sampled.lines, sampled.unused
        report.warnings += sampled.warnings
        _check_routes(routes_of_sample(settings, listing.files), report)
    return report


def _check_routes(sample: Mapping[Seen, int], report: Report) -> None:
    report.routes = suggested(sample)
    count = noise(sample)
    if count >= MANY_NAMES:
        report.warnings.append(
            f"{count:,} paths were only ever refused (4xx): a tenth of a label's max_values may be such, the others "
            f"are one, {UNMATCHED}; where routes are written down (metrics.routes, metrics.openapi), all 404s are"
        )


def _check_sources(settings: Settings, listing: Listing, report: Report) -> None:
    for source in settings.sources:
        files = [found for found in listing.files if found.source.name == source.name]
        report.sources.append(
            {
                "name": source.name,
                "format": source.format.value,
                "paths": list(source.paths),
                "files": len(files),
                "bytes": sum(found.size for found in files),
                "first_files": [printable(found.path) for found in files[:MOST_FILES]],
            }
        )
        if not files:
            report.warnings.append(f"source {source.name!r}: no file matches now; files that appear later are followed")
        report.warnings += [
            f"{printable(found.path)}: cannot be read: Permission denied"
            for found in files
            if not os.access(found.path, os.R_OK)
        ]
    report.warnings += [f"{printable(path)}: {problem}" for path, problem in listing.problems.items()]
    report.warnings += [
        f"{printable(path)} is not followed: {reason}" for path, reason in sorted(listing.left_out.items())
    ]


def _check_web_config(settings: Settings, report: Report) -> None:
    try:
        guard = guard_of(settings)
        report.warnings += guard.warnings() if guard is not None else []
    except ConfigError as error:
        report.problems += error.problems


def _check_directory(what: str, directory: str, report: Report) -> None:
    """Whether it can be written, or made."""
    path = Path(directory)
    while not path.exists() and path != path.parent:
        path = path.parent
    if not path.is_dir():
        report.problems.append(f"{what}: {path} is not a directory")
    elif not os.access(path, os.W_OK | os.X_OK):
        report.problems.append(f"{what}: no permission to write in {path}")


def _check_server(settings: ElasticsearchSettings, report: Report, ping: Ping | None) -> None:
    report.output = ", ".join(settings.hosts)
    if ping is None:
        return
    try:
        report.output += f" ({ping(settings)})"
    except (ShipperError, OSError) as error:
        report.warnings.append(f"output: {error}; `run` would wait for it")


def ping(settings: ElasticsearchSettings) -> str:
    """Asks the server what it is: `Elasticsearch 8.19.3`. Raises OutputError with the reason if it does not say."""
    agent = f"shipper/{__version__}"
    cluster = Cluster(
        settings=msgspec.structs.replace(settings, request_seconds=PING_SECONDS),
        user_agent=agent,
        opaque_id=f"{agent} check",
        monotonic=time.monotonic,
    )
    try:
        answer = cluster.request("GET", "/")
    except NotAnsweredError as error:
        raise OutputError(f"{cluster} does not answer: {error}") from None
    finally:
        cluster.close()
    if answer.status == HTTPStatus.UNAUTHORIZED:
        raise OutputError(f"{cluster} refuses the credentials (401)")
    if answer.status == HTTPStatus.FORBIDDEN:
        return "answers; these credentials may not ask for its version, which shipping does not need"
    if answer.status == HTTPStatus.METHOD_NOT_ALLOWED:
        return "answers"
    if answer.status != HTTPStatus.OK:
        raise OutputError(f"{cluster} answers {answer.status} to GET /")
    return _product(answer.body)


def _product(body: bytes) -> str:
    try:
        version = msgspec.json.decode(body)["version"]
        name = "OpenSearch" if version.get("distribution") == "opensearch" else "Elasticsearch"
        return f"{name} {version['number']}"
    except (msgspec.MsgspecError, LookupError, TypeError, AttributeError):
        return "answers, but not like Elasticsearch: is the address right?"


def _why(suggestion: Suggestion) -> str:
    return f"({suggestion.names} names, one label)" if suggestion.names else "(a page among names: keeps its label)"


def as_text(report: Report) -> str:
    """For people."""
    lines = [f"configuration  {report.file}"]
    for source in report.sources:
        count = f"{number_of(source['files'], 'file')}, {number_of(source['bytes'], 'byte')}"
        lines.append(f"source         {source['name']} ({source['format']}): {count}")
        lines += [f"               - {path}" for path in source["first_files"]]
        if source["files"] > len(source["first_files"]):
            lines.append(f"               … and {source['files'] - len(source['first_files'])} more")
    lines.append(f"output         {report.output}")
    lines.append(f"state          {report.state}")
    lines.append(f"listen         {report.listen}")
    lines += [f"metric         {name}{{{','.join(labels)}}}" for name, labels in report.metrics.items()]
    if report.unused:
        names = ", ".join(report.unused)
        lines.append(f"unused         no line of the sample ({number_of(report.sampled, 'line')}) is about {names}")
    lines += [f"suggestion     metrics.routes: {printable(one.route)} {_why(one)}" for one in report.routes]
    lines += [f"warning        {warning}" for warning in report.warnings]
    lines += [f"PROBLEM        {problem}" for problem in report.problems]
    lines.append("not usable" if report.problems else "ok")
    return "\n".join(lines)
