"""HTTP messages: reads the head of a request, writes the head of a response, weighs what a client accepts.

Pure functions over bytes and text; the sockets are `server`'s, what is answered is `site`'s.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs, unquote

import msgspec

MAX_HEAD_BYTES: Final = 16 << 10
NO_HEADERS: Final[Mapping[str, str]] = {}
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_Q: Final = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


class BadRequestError(Exception):
    """A request that cannot be answered as asked; `status` says why. The connection ends with it."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(status.phrase)
        self.status = status


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """The head of a request. Header names are in lower case; a header given twice is joined by commas."""

    method: str
    path: str
    query: Mapping[str, Sequence[str]] = msgspec.field(default_factory=dict)
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    is_kept_alive: bool = True
    address: str = ""
    """Of the client, without its port."""


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer. `on_sent` is called from the server's thread once all of it was handed to the client's socket."""

    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = "text/plain; charset=utf-8"
    headers: Mapping[str, str] = msgspec.field(default_factory=dict)
    on_sent: Callable[[], None] | None = None


def parse_head(head: bytes, *, address: str = "") -> Request:
    """The request whose head, without the blank line that ends it, this is. Raises BadRequestError."""
    try:
        first, *lines = head.decode("ascii").split("\r\n")
        method, target, version = first.split(" ")
    except ValueError:
        raise BadRequestError(HTTPStatus.BAD_REQUEST) from None
    if version not in {"HTTP/1.1", "HTTP/1.0"}:
        raise BadRequestError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
    headers = _headers(lines)
    if not _TOKEN.fullmatch(method) or not target.startswith("/") or (version == "HTTP/1.1" and "host" not in headers):
        raise BadRequestError(HTTPStatus.BAD_REQUEST)
    if "transfer-encoding" in headers or headers.get("content-length", "0") != "0":
        raise BadRequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)  # nothing here takes a body
    path, _, query = target.partition("?")
    connection = {token.strip().lower() for token in headers.get("connection", "").split(",")}
    return Request(
        method=method,
        path=unquote(path.partition("#")[0]),
        query=parse_qs(query, max_num_fields=50, keep_blank_values=True) if query.count("&") < 50 else {},
        headers=headers,
        is_kept_alive="close" not in connection if version == "HTTP/1.1" else "keep-alive" in connection,
        address=address,
    )


def _headers(lines: Sequence[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not _TOKEN.fullmatch(name) or "\n" in value or "\0" in value:
            raise BadRequestError(HTTPStatus.BAD_REQUEST)
        name, value = name.lower(), value.strip(" \t")
        if name in headers and name in {"host", "content-length"}:
            raise BadRequestError(HTTPStatus.BAD_REQUEST)
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers


def format_response(
    response: Response, *, is_head: bool, is_kept_alive: bool, extra: Mapping[str, str] = NO_HEADERS
) -> bytes:
    """The bytes of a response; without the body for HEAD. `extra` headers stand in place of ours."""
    headers = {
        "Content-Type": response.content_type,
        "Content-Length": str(len(response.body)),
        "Date": http_date(time.time()),
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
        **response.headers,
        **extra,
    }
    if not is_kept_alive:
        headers["Connection"] = "close"
    lines = [f"HTTP/1.1 {response.status.value} {response.status.phrase}", *(f"{k}: {v}" for k, v in headers.items())]
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    return head if is_head else head + response.body


def http_date(now: float) -> str:
    """A moment (Unix time) as HTTP writes it, whatever the locale. (`email.utils` can, and loads a parser of mail.)"""
    at = time.gmtime(now)
    return time.strftime(f"{_DAYS[at.tm_wday]}, %d {_MONTHS[at.tm_mon - 1]} %Y %H:%M:%S GMT", at)


def quality(header: str, *, offered: Sequence[str]) -> float:
    """The weight that an Accept or Accept-Encoding header gives to what is offered, 0 if it is not accepted.

    `offered` lists names for it from the most special to the most general (`text/plain`, `text/*`, `*/*`); the first
    that the header has counts. Parameters other than `q` and `version` are passed over.
    """
    weights: dict[str, float] = {}
    for item in header.lower().split(","):
        name, *parameters = (part.strip() for part in item.split(";"))
        values = dict(part.partition("=")[::2] for part in parameters)
        weight = values.get("q", "1").strip()
        key = f"{name};version={values['version']}" if "version" in values else name
        weights[key] = max(weights.get(key, 0.0), float(weight) if _Q.fullmatch(weight) else 0.0)
    return next((weights[name] for name in offered if name in weights), 0.0)
