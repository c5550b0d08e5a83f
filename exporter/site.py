"""What is served where: `/metrics`, `/healthz`, `/readyz`, `/status.json` and the page at `/`.

Knows nothing of the daemon but the hooks that it is given. Page and status tell file names and errors, so they are
refused to requests that reached us by a foreign name (a web page whose name was made to point here).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec

from exporter.messages import Request, Response
from exporter.page import page_headers, render_page
from exporter.scrape import ScrapeRequest, scrape_request

METHODS: Final = ("GET", "HEAD")
_NO_STORE: Final = {"Cache-Control": "no-store"}


class ServerHooks(msgspec.Struct, frozen=True, kw_only=True):
    """What the server asks of the daemon, from several threads at once."""

    metrics: Callable[[ScrapeRequest], Response]
    healthy: Callable[[], tuple[bool, str]]
    """True, or False and why not, in a few words for people."""
    ready: Callable[[], tuple[bool, str]]
    status: Callable[[], Mapping[str, Any]]
    """What `/status.json` and the page show; plain data."""
    committed_recently: Callable[[], bool]
    """False if the state could not be committed for so long that somebody must be paged."""


class Site:
    """Answers requests."""

    def __init__(self, *, hooks: ServerHooks, host_name: str | None = None) -> None:
        self._hooks = hooks
        self._host_name = (socket.gethostname() if host_name is None else host_name).lower()
        self._known_paths = b"not found; there are /, /metrics, /healthz, /readyz, /status.json\n"
        self._routes: dict[str, Callable[[Request], Response]] = {
            "/": self._page,
            "/metrics": self._metrics,
            "/healthz": lambda _: _verdict(*hooks.healthy()),
            "/readyz": lambda _: _verdict(*hooks.ready()),
            "/status.json": self._status,
        }

    def answer(self, request: Request) -> Response:
        """The response to a request."""
        route = self._routes.get(request.path)
        if route is None:
            return Response(status=HTTPStatus.NOT_FOUND, body=self._known_paths)
        if request.method not in METHODS:
            text = b"only GET and HEAD are answered\n"
            return Response(status=HTTPStatus.METHOD_NOT_ALLOWED, body=text, headers={"Allow": ", ".join(METHODS)})
        return route(request)

    def probe(self, request: Request) -> Response:
        """The response to a probe of one who has not logged in: good or not, without the reason."""
        answer = self.answer(request)
        return msgspec.structs.replace(answer, body=b"ok\n" if answer.status is HTTPStatus.OK else b"not ok\n")

    def _metrics(self, request: Request) -> Response:
        if not self._hooks.committed_recently():
            text = b"the state cannot be committed; see the log\n"
            return Response(status=HTTPStatus.SERVICE_UNAVAILABLE, body=text, headers=_NO_STORE)
        asked = scrape_request(request)
        return asked if isinstance(asked, Response) else self._hooks.metrics(asked)

    def _page(self, request: Request) -> Response:
        if not self._is_own_name(request):
            return _foreign_name()
        body = render_page(self._hooks.status())
        return Response(body=body, content_type="text/html; charset=utf-8", headers=page_headers())

    def _status(self, request: Request) -> Response:
        if not self._is_own_name(request):
            return _foreign_name()
        body = msgspec.json.format(msgspec.json.encode(self._hooks.status()), indent=2) + b"\n"
        return Response(body=body, content_type="application/json", headers=_NO_STORE)

    def _is_own_name(self, request: Request) -> bool:
        return is_own_name(request.headers.get("host", ""), host_name=self._host_name)


def is_own_name(host: str, *, host_name: str) -> bool:
    """Whether a Host header names us: an IP address, localhost, this host, or a name without a dot, which only the
    local network can resolve; HTTP/1.0 may send none."""
    if host.startswith("["):
        name = host[1:].partition("]")[0]
    else:
        name = host.partition(":")[0]
    name = name.lower().removesuffix(".")
    if "." not in name and ":" not in name:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name == host_name or name.endswith(".localhost")
    return True


def _foreign_name() -> Response:
    text = b"this page is shown by IP address, localhost or the name of the host only\n"
    return Response(status=HTTPStatus.FORBIDDEN, body=text)


def _verdict(is_good: bool, reason: str) -> Response:
    status = HTTPStatus.OK if is_good else HTTPStatus.SERVICE_UNAVAILABLE
    return Response(status=status, body=f"{reason or ('ok' if is_good else 'not ok')}\n".encode(), headers=_NO_STORE)
