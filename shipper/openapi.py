"""The paths of an OpenAPI (or Swagger 2) description, as route patterns."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import yaml

from shipper.errors import ConfigError
from shipper.routepatterns import parse_pattern

MAX_FILE_BYTES: Final = 32 << 20
MAX_DEPTH: Final = 100


def openapi_patterns(path: str) -> list[str]:
    """A pattern for each path below each server's base path. Raises ConfigError."""
    document = _document(path)
    paths = document.get("paths") if isinstance(document, dict) else None
    if not isinstance(paths, dict) or not paths:
        raise ConfigError([f"metrics.openapi: {path!r} has no paths; is it an OpenAPI description?"])
    names = [name for name in paths if isinstance(name, str) and name.startswith("/")]
    patterns = [f"{base}{name}" for base in dict.fromkeys(_bases(document)) for name in names]
    problems = []
    for pattern in patterns:
        try:
            parse_pattern(pattern)
        except ValueError as error:
            problems.append(f"metrics.openapi: {path!r}: path {pattern!r}: {error}")
    if problems:
        raise ConfigError(problems)
    return patterns


def _document(path: str) -> Any:
    try:
        with Path(path).open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError([f"metrics.openapi: {path!r} cannot be read: {error.strerror}"]) from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigError([f"metrics.openapi: {path!r} is larger than {MAX_FILE_BYTES >> 20} MiB"])
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        _refuse_deep(data, loader)
        return yaml.load(data, Loader=loader)  # noqa: S506 - safe loaders; JSON is YAML  # nosec B506
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError([f"{path}:{line}: is neither YAML nor JSON: {error.problem}"]) from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError([f"metrics.openapi: {path!r} is neither YAML nor JSON: {reason}"]) from None


def _refuse_deep(data: bytes, loader: Any) -> None:
    """Raises ValueError for nesting that would end the process: PyYAML's composer recurses in C."""
    depth = 0
    for event in yaml.parse(data, Loader=loader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH}")


def _bases(document: dict[str, Any]) -> Iterator[str]:
    """The paths that stand before all others: of the servers' URLs, or Swagger's basePath."""
    base = document.get("basePath")
    if isinstance(base, str):
        yield base.rstrip("/")
        return
    servers = document.get("servers")
    urls = [server.get("url") for server in servers if isinstance(server, dict)] if isinstance(servers, list) else []
    yield from [_path(url) for url in urls if isinstance(url, str)] or [""]


def _path(url: str) -> str:
    """The path of a server's URL, in which variables may stand (`https://{host}/v1`)."""
    try:
        path = urlsplit(url).path
    except ValueError:
        return ""
    return path.rstrip("/") if path.startswith("/") else ""
