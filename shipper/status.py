"""How it goes, for the page and `/status.json`, and the gauges that are computed when they are asked for.

Reads what the pipeline's thread owns without a lock: single values, from copies of its lists.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from shipper import __version__
from shipper.aside import Why
from shipper.cursor import NEVER
from shipper.engine import Engine
from shipper.escaping import printable
from shipper.followed import Followed
from shipper.lettercounts import LetterCounts
from shipper.roster import Roster
from shipper.settings import Settings, SourceSettings
from shipper.telemetry import RESULTS, Telemetry, begin_source

MOST_FILES = 200
CURSORS = ("observed", "shipped")


def bind_gauges(telemetry: Telemetry, engine: Callable[[], Engine], settings: Settings) -> None:
    """Lets the gauges be computed at each scrape, from the engine that runs then."""
    telemetry.dead_letter_records.set_function(LetterCounts(Path(settings.state) / "dead-letter").by_reason)
    telemetry.state_commit_age.set_function(lambda: engine().committer.age_seconds())
    for source in settings.sources:
        name = source.name
        for cursor in CURSORS:
            telemetry.lag_bytes.labels(name, cursor).set_function(partial(_lag_bytes_now, engine, name, cursor))
            telemetry.lag_seconds.labels(name, cursor).set_function(partial(_lag_seconds_now, engine, name, cursor))
        telemetry.catching_up.labels(name).set_function(partial(_is_catching_up, engine, name))
        roster = partial(_roster, engine)
        telemetry.files.labels(name, "followed").set_function(partial(_count_followed, engine, name))
        telemetry.files.labels(name, "waiting").set_function(partial(_count_waiting, roster, name))
        telemetry.files.labels(name, "unreadable").set_function(partial(_count_unreadable, roster, source))
        begin_source(telemetry, name)


def _lag_bytes_now(engine: Callable[[], Engine], source: str, cursor: str) -> float:
    return lag_bytes(_files(engine(), source), cursor)


def _lag_seconds_now(engine: Callable[[], Engine], source: str, cursor: str) -> float:
    return lag_seconds(_files(engine(), source), cursor)


def _is_catching_up(engine: Callable[[], Engine], source: str) -> float:
    return float(any(not followed.is_joined for followed in _files(engine(), source)))


def _roster(engine: Callable[[], Engine]) -> Roster:
    return engine().pipeline.roster


def _count_followed(engine: Callable[[], Engine], source: str) -> float:
    return len(_files(engine(), source))


def _count_waiting(roster: Callable[[], Roster], source: str) -> float:
    return roster().count_aside(source, Why.NO_LINE)


def _count_unreadable(roster: Callable[[], Roster], source: SourceSettings) -> float:
    return roster().count_unreadable(source)


def _files(engine: Engine, source: str) -> list[Followed]:
    return [followed for followed in engine.pipeline.roster.all() if followed.source.name == source]


def position(followed: Followed, cursor: str) -> int | None:
    """Where a cursor stands; None if it takes no part."""
    if cursor == "observed":
        at = followed.observe_position if followed.source.metrics else NEVER
    else:
        at = followed.shipped if followed.source.ship else NEVER
    return None if at >= NEVER or at < 0 else at


def lag_of(followed: Followed, cursor: str) -> int:
    """Bytes on disk that a cursor has not passed; of a compressed file its size until its end is reached."""
    at = position(followed, cursor)
    if at is None or followed.is_gone:
        return 0
    if followed.is_compressed:
        farthest = max((one.position for one in followed.cursors() if one.position < NEVER), default=at)
        return max(0, farthest - at) if followed.is_at_end else followed.size
    return max(0, followed.size - at - followed.nuls_in(at, followed.size))


def lag_bytes(files: Iterable[Followed], cursor: str) -> int:
    return sum(lag_of(followed, cursor) for followed in files)


def lag_seconds(files: Iterable[Followed], cursor: str) -> float:
    """For how long the file that is behind longest has been behind."""
    now = time.monotonic()
    behind = (followed for followed in files if lag_of(followed, cursor))
    return max((now - followed.behind_since(cursor, followed.changed_at or now) for followed in behind), default=0.0)


def status_of(
    engine: Engine, telemetry: Telemetry, *, started_at: float, errors: Sequence[Mapping[str, str]] = ()
) -> dict[str, Any]:
    """The state of everything as plain data. `errors`: the last warnings and errors, the newest first."""
    output = engine.output.status()
    files = list(engine.pipeline.roster.all())
    return {
        "version": __version__,
        "started": f"{datetime.fromtimestamp(started_at, UTC):%Y-%m-%dT%H:%M:%SZ}",
        "uptime_seconds": round(time.time() - started_at, 1),
        "output": {
            "name": output.name,
            "is_up": output.is_up,
            "error": output.error,
            "pending": output.pending,
            "spooled": output.spooled,
        },
        "sources": [_source(source.name, files, telemetry) for source in engine.settings.sources],
        "files": [_file(followed) for followed in files[:MOST_FILES]],
        "files_left_out": max(0, len(files) - MOST_FILES),
        "unreadable": [{"path": printable(path), "reason": reason} for path, reason in engine.pipeline.roster.unread()],
        "not_followed": [
            {"path": printable(path), "reason": reason}
            for path, reason in sorted(engine.pipeline.roster.listing.left_out.items())[:MOST_FILES]
        ],
        "totals": totals_of(telemetry),
        "series": engine.exporter.series_count,
        "metrics": [_metric(name, count, telemetry) for name, count in engine.exporter.series_counts.items()],
        "commit_age_seconds": round(engine.committer.age_seconds(), 3),
        "commit_error": engine.committer.error,
        "errors": list(errors),
    }


def totals_of(telemetry: Telemetry) -> dict[str, Any]:
    """`lines`, and `documents` by result, of all sources since the process began."""
    documents = {result: _sum(telemetry.documents, result=result) for result in RESULTS}
    return {"lines": _sum(telemetry.lines), "documents": documents}


def _source(name: str, files: Iterable[Followed], telemetry: Telemetry) -> dict[str, Any]:
    own = [followed for followed in files if followed.source.name == name]
    return {
        "name": name,
        "files": len(own),
        "lines": _sum(telemetry.lines, source=name),
        "bytes": _sum(telemetry.bytes, source=name),
        "lag_bytes": {cursor: lag_bytes(own, cursor) for cursor in CURSORS},
        "lag_seconds": {cursor: round(lag_seconds(own, cursor), 1) for cursor in CURSORS},
        "lost_bytes": _by_label(telemetry.unread_lost_bytes, "reason", source=name),
    }


def _metric(name: str, series: int, telemetry: Telemetry) -> dict[str, Any]:
    """A metric of the rules, and what its rules could not do as asked."""
    errors = _by_label(telemetry.rule_errors, "reason", rule=name)
    overflow = _by_label(telemetry.label_overflow, "label", rule=name)
    return {
        "name": name,
        "series": series,
        "not_counted": {reason: count for reason, count in errors.items() if count},
        "overflow": {label: count for label, count in overflow.items() if count},
    }


def _file(followed: Followed) -> dict[str, Any]:
    return {
        "path": printable(followed.path),
        "source": followed.source.name,
        "identity": followed.identity,
        "size": followed.size,
        "observed": position(followed, "observed"),
        "shipped": position(followed, "shipped"),
        "behind_bytes": {cursor: lag_of(followed, cursor) for cursor in CURSORS},
        "state": _state(followed),
    }


def _state(followed: Followed) -> str:
    if followed.is_damaged:
        return "damaged"
    if followed.is_gone:
        return "gone"
    if followed.is_deleted or not followed.is_listed:
        return "deleted or moved away"
    return "renamed" if followed.is_renamed else "followed"


def _sum(metric: Any, **labels: str) -> int:
    return sum(int(sample.value) for sample in _totals(metric, labels))


def _by_label(metric: Any, name: str, **labels: str) -> dict[str, int]:
    """What was counted, by the value of one label; what was not is left out."""
    return {sample.labels[name]: int(sample.value) for sample in _totals(metric, labels) if sample.value}


def _totals(metric: Any, labels: Mapping[str, str]) -> Iterator[Any]:
    for family in metric.collect():
        for sample in family.samples:
            if sample.name.endswith("_total") and labels.items() <= sample.labels.items():
                yield sample
