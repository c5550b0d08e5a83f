"""Answers a scrape: what to collect, in which format, compressed or not, and for which scraper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final

import msgspec

from exporter.births import Scraper
from exporter.exposition import EOF_LINE, Format, accepts_gzip, family_text, gzipped, negotiate
from exporter.messages import Request, Response
from exporter.selfmetrics import SelfMetrics
from exporter.series import Exporter
from shipper.expressions import label_text

SCRAPER_HEADER: Final = "x-prometheus-scrape-timeout-seconds"
PARTS: Final = ("rules", "self")
_MAX_AGENT_CHARACTERS: Final = 200
_MIN_GZIP_BYTES: Final = 1_000


class ScrapeRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a request to `/metrics` asks for. `scraper` is None for those that are no scraper, and for HEAD."""

    form: Format = Format.TEXT
    parts: Sequence[str] = PARTS
    is_gzip: bool = False
    scraper: Scraper | None = None


def scrape_request(request: Request) -> ScrapeRequest | Response:
    """What a request asks for, or the answer that says why that is not possible."""
    parts = request.query.get("collect", PARTS)
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        text = f"collect={unknown[0]!a} is unknown; there are collect=rules and collect=self\n"
        return Response(status=HTTPStatus.BAD_REQUEST, body=text.encode())
    is_scraper = SCRAPER_HEADER in request.headers and request.method == "GET" and "rules" in parts
    agent = label_text(request.headers.get("user-agent", ""))[:_MAX_AGENT_CHARACTERS]
    name = label_text(request.query.get("scraper", [""])[0])[:_MAX_AGENT_CHARACTERS]
    return ScrapeRequest(
        form=negotiate(request.headers.get("accept", "")),
        parts=[part for part in PARTS if part in parts],
        is_gzip=accepts_gzip(request.headers.get("accept-encoding", "")),
        scraper=Scraper(request.address, agent, name) if is_scraper else None,
    )


class Scrapes:
    """The `metrics` hook of the server: called from several threads at once."""

    def __init__(self, *, exporter: Callable[[], Exporter], self_metrics: SelfMetrics) -> None:
        self._exporter = exporter  # asked at each scrape, since a reload makes another
        self._self_metrics = self_metrics

    def __call__(self, request: ScrapeRequest) -> Response:
        chunks = []
        on_sent = None
        if "rules" in request.parts:
            snapshots, on_sent = self._exporter().read(request.scraper)
            chunks += [family_text(snapshot, request.form) for snapshot in snapshots]
        if "self" in request.parts:
            chunks.append(self._self_metrics.text(request.form))
        if request.form is Format.OPENMETRICS:
            chunks.append(EOF_LINE)
        body = "".join(chunks).encode()
        headers = {"Vary": "Accept, Accept-Encoding", "Cache-Control": "no-store"}
        if request.is_gzip and len(body) >= _MIN_GZIP_BYTES:
            body = gzipped(body)
            headers["Content-Encoding"] = "gzip"
        return Response(body=body, content_type=request.form.value, headers=headers, on_sent=on_sent)
