"""The page at `/`: one HTML file without anything from elsewhere, filled in here, kept fresh by its own script.

Without JavaScript it shows what was when it was loaded. Everything that comes from the status is escaped.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, Final

MAX_FILES: Final = 200
_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB")


def render_page(status: Mapping[str, Any]) -> bytes:
    """The page for a status as `/status.json` has it; what the status lacks is left out."""
    html = _template()
    for name, content in _contents(status).items():
        html = html.replace(f"<!--{name}-->", content)
    return html.encode("utf-8", "replace")


def page_headers() -> Mapping[str, str]:
    """Headers that let the page do what it does and nothing else."""
    html = _template()
    policy = (
        f"default-src 'none'; style-src {_hash(html, 'style')}; script-src {_hash(html, 'script')}; "
        "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }


@cache
def _template() -> str:
    return Path(__file__).with_name("page.html").read_text(encoding="utf-8")


def _hash(html: str, element: str) -> str:
    content = html.partition(f"<{element}>")[2].partition(f"</{element}>")[0]
    import hashlib  # with OpenSSL: only where somebody looks at the page

    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _contents(status: Mapping[str, Any]) -> dict[str, str]:
    output = _part(status, "output")
    totals = _part(status, "totals")
    return {
        "version": _text(status.get("version", "")),
        "started": _text(status.get("started", "")),
        "uptime": _duration(status.get("uptime_seconds")),
        "output-name": _text(output.get("name", "")),
        "output-state": _output_state(output),
        "output-error": _text(output.get("error", "")),
        "pending": _count(output.get("pending", 0)),
        "spooled": _count(output.get("spooled", 0)),
        "lines": _count(totals.get("lines", 0)),
        "series": _count(status.get("series", 0)),
        "commit-age": _duration(status.get("commit_age_seconds")),
        "documents": _rows([_text(name), _count(count)] for name, count in _part(totals, "documents").items()),
        "sources": _rows(map(_source_row, _list(status, "sources"))),
        "metrics": _rows(map(_metric_row, _list(status, "metrics"))),
        "files": _rows(map(_file_row, _list(status, "files")[:MAX_FILES])),
        "more-files": _more(status.get("files_left_out")),
        "unread": _items(map(_unread_words, [*_list(status, "unreadable"), *_list(status, "not_followed")])),
        "problems": _items(map(_problem, _list(status, "errors"))),
    }


def _output_state(output: Mapping[str, Any]) -> str:
    """`waiting`: nothing had to be sent yet; the page's script says the same."""
    if output.get("is_up"):
        return "up"
    return "down" if output.get("error") else "waiting"


def _part(status: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = status.get(name)
    return value if isinstance(value, Mapping) else {}


def _list(status: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    value = status.get(name)
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def _problem(item: Any) -> str:
    return f"{item.get('time', '')} {item.get('message', '')}".strip() if isinstance(item, Mapping) else str(item)


def _source_row(source: Mapping[str, Any]) -> list[str]:
    lag_bytes, lag_seconds = _part(source, "lag_bytes"), _part(source, "lag_seconds")
    return [
        _text(source.get("name", "")),
        _count(source.get("files", 0)),
        _count(source.get("lines", 0)),
        _size(source.get("bytes", 0)),
        *(
            f"{_size(lag_bytes.get(cursor, 0))}, {_duration(lag_seconds.get(cursor, 0))}"
            for cursor in ("observed", "shipped")
        ),
    ]


def _metric_row(metric: Mapping[str, Any]) -> list[str]:
    return [
        _text(metric.get("name", "")),
        _count(metric.get("series", 0)),
        *(_text(_counts(_part(metric, name))) for name in ("not_counted", "overflow")),
    ]


def _counts(counts: Mapping[str, Any]) -> str:
    """`missing 3, negative 1`"""
    return ", ".join(f"{name} {_count(count)}" for name, count in counts.items())


def _file_row(file: Mapping[str, Any]) -> list[str]:
    behind = _part(file, "behind_bytes")
    return [
        _text(file.get("path", "")),
        _text(file.get("source", "")),
        _size(file.get("size", 0)),
        *(_progress(file.get(cursor), behind.get(cursor)) for cursor in ("observed", "shipped")),
        _text(file.get("state", "")),
    ]


def _unread_words(item: Mapping[str, Any]) -> str:
    return f"{item.get('path', '')}: {item.get('reason', '')}"


def _rows(rows: Iterable[Sequence[str]]) -> str:
    return "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)


def _items(texts: Iterable[str]) -> str:
    return "".join(f"<li>{_text(text)}</li>" for text in texts)


def _more(count: Any) -> str:
    return f"Not shown: {_count(count)} more." if count else ""


def _text(value: Any) -> str:
    return escape(str(value))


def _count(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else _text(value)


def _size(value: Any) -> str:
    """A number of bytes to three digits or so; the page's script writes them alike."""
    if not isinstance(value, int | float):
        return "" if value is None else _text(value)
    size, unit = float(value), 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.1f} {_UNITS[unit]}" if unit and size < 100 else f"{size:.0f} {_UNITS[unit]}"


def _progress(position: Any, behind_bytes: Any) -> str:
    """How far a file was read; of a compressed one that is no part of its size. A dash where nothing is to be read."""
    if not isinstance(position, int | float):
        return "\N{EN DASH}"
    return "all" if behind_bytes == 0 else _size(position)


def _duration(value: Any) -> str:
    if not isinstance(value, int | float):
        return ""
    seconds = int(value)
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h" if seconds < 172_800 else f"{seconds // 86_400} d"
