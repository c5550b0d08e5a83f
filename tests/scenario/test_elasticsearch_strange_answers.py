"""Answers that are none: half, cut, garbage, HTML from a proxy, a redirect, an error of the server, silence."""

from pathlib import Path

import pytest
from deliveries import Delivery, lines_of
from harness.sink import Fault, Sink

ANSWERS = {
    "for half of the items": Fault("half_items", times=3),
    "cut in the middle": Fault("cut_answer", times=3),
    "garbage": Fault("garbage", times=3),
    "HTML with 502": Fault("html", status=502, times=3),
    "HTML with 200": Fault("html", status=200, times=3),
    "HTML with 400": Fault("html", status=400, times=3),
    "HTML with 403": Fault("html", status=403, times=3),
    "a redirect": Fault("redirect", times=3),
    "503, partly applied": Fault("status", status=503, applied=0.3, times=3),
    "500": Fault("status", status=500, times=3),
    "404": Fault("html", status=404, times=3),
    "the connection is cut while sending": Fault("cut_request", bytes=5000, times=3),
    "the connection is cut, partly applied": Fault("cut_request", bytes=5000, applied=1.0, times=3),
    "400, partly applied": Fault("status", status=400, type="illegal_argument_exception", applied=0.5, times=3),
    "HTML with 413": Fault("html", status=413, times=3),
    "HTML with 429": Fault("html", status=429, times=3),
    "401 for a moment, for a valid key": Fault("status", status=401, times=3),
    "late, when we have given up": Fault("slow", seconds=1.6, times=2),
    "none at all": Fault("silent", times=2),
}


@pytest.mark.parametrize("fault", ANSWERS.values(), ids=ANSWERS.keys())
@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_what_was_not_surely_answered_is_sent_again(sink: Sink, tmp_path: Path, fault: Fault, compression: str) -> None:
    """Whatever the answer is, every document is there once in the end, and counted once."""
    sink.fault(fault)
    with Delivery(tmp_path, sink.url, compression=compression, request_seconds=1.0) as delivery:
        delivery.ship(lines_of(500))
        delivery.wait_done()
        assert delivery.output.status().is_up
    assert [fault.times] == sink.fired()
    delivery.assert_exact(sink.docs(), 500)
    assert delivery.documents("created") + delivery.documents("duplicate") == 500
    assert delivery.metric("unexpected_conflicts_total") == 0
    assert delivery.letters() == []
