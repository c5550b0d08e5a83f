"""`shipper status`: what a running daemon says of itself, or what the state of one that is down says.

`status` is the daemon's side. Here it is asked, judged and put into words.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from shipper.control import asked
from shipper.cursor import NEVER
from shipper.errors import StateError
from shipper.escaping import printable
from shipper.letters import count_of
from shipper.positions import FilePosition, positions_in
from shipper.wording import number_of

QUESTION = "status"
_MOST_FILES = 20
_STATE = "state.db"


class Overview(msgspec.Struct, frozen=True):
    """How it goes. `data` is for programs."""

    is_running: bool
    is_good: bool
    """Running, and nothing is known to be wrong with the output."""
    data: dict[str, Any]


def overview(directory: Path) -> Overview:
    """How the daemon does whose state is in `directory`. Raises StateError and NoAnswerError; the first where there is
    no state either.
    """
    answer = asked(directory, QUESTION)
    letters = count_of(directory / "dead-letter")
    if answer is not None:
        output = answer["output"]
        is_good = bool(output["is_up"] or not output["error"])
        return Overview(True, is_good, {"is_running": True, **answer, "dead_letters": letters})
    return Overview(False, False, {"is_running": False, **_at_rest(directory), "dead_letters": letters})


def _at_rest(directory: Path) -> dict[str, Any]:
    """What the state says while nobody writes it."""
    path = directory / _STATE
    try:
        files = list(positions_in(path))
    except FileNotFoundError:
        raise StateError(
            f"there is no state in {str(directory)!r}: nothing has run with it; see -c and --state"
        ) from None
    written = [found.stat().st_mtime for name in (_STATE, f"{_STATE}-wal") if (found := directory / name).exists()]
    return {
        "state": str(path),
        "committed": f"{datetime.fromtimestamp(max(written), UTC):%Y-%m-%dT%H:%M:%SZ}",
        "sources": [_source(name, files) for name in sorted({file.source for file in files})],
        "files": [_file(file) for file in files if not file.is_gone],
        "forgotten_files": sum(file.is_gone for file in files),
    }


def _source(name: str, files: Sequence[FilePosition]) -> dict[str, Any]:
    own = [file for file in files if file.source == name and not file.is_gone]
    return {"name": name, "files": len(own), "bytes": sum(file.size for file in own)}


def _file(file: FilePosition) -> dict[str, Any]:
    return {
        "path": file.path,
        "source": file.source,
        "identity": file.identity,
        "size": file.size,
        "observed": _offset(file.observed),
        "shipped": _offset(file.shipped),
    }


def _offset(position: int) -> int | None:
    """None of a cursor that takes no part."""
    return position if 0 <= position < NEVER else None


# Words


def as_text(found: Overview) -> str:
    """For people."""
    rows = _running(found.data) if found.is_running else _resting(found.data)
    if found.data["dead_letters"]:
        rows.append(("dead letters", f"{found.data['dead_letters']}; see shipper dead-letter list"))
    return "".join(f"{name:<14}{text}\n" for name, text in rows)


def _running(data: dict[str, Any]) -> list[tuple[str, str]]:
    output, documents = data["output"], data["totals"]["documents"]
    rows = [
        ("shipper", f"{data['version']} is running, for {duration(data['uptime_seconds'])}"),
        ("output", f"{output['name']}: {_output_state(output)}"),
        ("", f"{output['pending']:,} documents under way, {output['spooled']} on disk for indices that are blocked"),
    ]
    for source in data["sources"]:
        behind = ", ".join(
            f"{cursor} {source['lag_bytes'][cursor]} bytes ({duration(source['lag_seconds'][cursor])})"
            for cursor in ("observed", "shipped")
        )
        read = f"{number_of(source['files'], 'file')}, {number_of(source['lines'], 'line')}"
        rows.append(("source", f"{source['name']}: {read}; behind: {behind}"))
        if source["lost_bytes"]:
            lost = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in source["lost_bytes"].items())
            rows.append(("", f"bytes that went away before they were read, since its start: {lost}"))
    rows.append(("documents", ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in documents.items())))
    rows.append(("series", str(data["series"])))
    rows += [("metric", f"{one['name']}: {trouble}") for one in data.get("metrics", ()) for trouble in _troubles(one)]
    if data["commit_error"]:
        rows.append(("state", f"cannot be written for {duration(data['commit_age_seconds'])}: {data['commit_error']}"))
    rows += [("unreadable", f"{one['path']}: {one['reason']}") for one in data["unreadable"]]
    return rows


def _troubles(metric: dict[str, Any]) -> list[str]:
    """What a metric's rules could not do as asked, since the start."""
    return [
        f"{number_of(count, 'line')} not counted: {reason.replace('_', ' ')}"
        for reason, count in metric["not_counted"].items()
    ] + [
        f"{number_of(count, 'line')} under __other__: the label {label} has used up its budget"
        for label, count in metric["overflow"].items()
    ]


def _output_state(output: dict[str, Any]) -> str:
    if output["is_up"]:
        return "up"
    return f"down: {output['error']}" if output["error"] else "not needed yet"


def _resting(data: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [("shipper", "is not running"), ("state", f"{printable(data['state'])}, committed {data['committed']}")]
    rows += [
        ("source", f"{source['name']}: {number_of(source['files'], 'file')}, {source['bytes']:,} bytes on disk")
        for source in data["sources"]
    ]
    for file in data["files"][:_MOST_FILES]:
        cursors = ", ".join(f"{name} {file[name]}" for name in ("observed", "shipped") if file[name] is not None)
        rows.append(("file", f"{file['path']}: {file['size']} bytes, {cursors or 'not read'}"))
    if len(data["files"]) > _MOST_FILES:
        rows.append(("", f"and {len(data['files']) - _MOST_FILES} more (--json has all)"))
    return rows


def duration(seconds: float) -> str:
    """Roughly: `12 s`, `3 min 5 s`, `2 h 10 min`, `3 d 4 h`."""
    whole = round(seconds)
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    parts: list[str] = []
    for name, size in units:
        count, whole = divmod(whole, size)
        if count or (name == "s" and not parts):
            parts.append(f"{count} {name}")
    return " ".join(parts[:2])
