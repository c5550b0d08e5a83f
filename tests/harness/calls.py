"""One small HTTP client for talking to the counterparts: a connection a call, JSON in and out.

Not the client under test, on purpose: what a test asks a server must not depend on the code that it judges.
"""

from __future__ import annotations

import http.client
import json
import ssl
import urllib.parse
from collections.abc import Mapping
from typing import Any, TypeAlias

Body: TypeAlias = bytes | str | dict[str, Any] | list[Any] | None


def call(
    url: str,
    method: str,
    path: str,
    body: Body = None,
    *,
    headers: Mapping[str, str] | None = None,
    context: ssl.SSLContext | None = None,
    timeout_seconds: float = 60.0,
) -> tuple[int, Any]:
    """Return (status, answer) of one request; the answer is parsed JSON, None if empty, text if it is no JSON.

    A dict or list is sent as JSON; bytes and str go as they are, as NDJSON if the path ends in `_bulk`.
    Raises OSError if there is no connection, http.client.HTTPException if the answer is no HTTP.
    """
    parts = urllib.parse.urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port
    connection = (
        http.client.HTTPSConnection(host, port, timeout=timeout_seconds, context=context)
        if parts.scheme == "https"
        else http.client.HTTPConnection(host, port, timeout=timeout_seconds)
    )
    is_bulk = path.partition("?")[0].endswith("_bulk")
    sent = {"content-type": "application/x-ndjson" if is_bulk else "application/json", **(headers or {})}
    try:
        connection.request(method, path, body=_encoded(body), headers=sent)
        response = connection.getresponse()
        return response.status, _decoded(response.read())
    finally:
        connection.close()


def _encoded(body: Body) -> bytes | None:
    if body is None or isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()


def _decoded(answer: bytes) -> Any:
    if not answer:
        return None
    try:
        return json.loads(answer)
    except ValueError:
        return answer.decode(errors="replace")
