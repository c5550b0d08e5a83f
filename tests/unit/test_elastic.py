"""The output's edges: what `done` waits for, what is counted, what happens at a stop. Its stories are in scenario/."""

import itertools
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from deliveries import Delivery, documents_of, id_of, lines_of
from harness.process import wait_until
from harness.sink import Fault, Sink
from prometheus_client import CollectorRegistry

from shipper.batch import DeadLetter
from shipper.elastic.exchange import Health, compressed
from shipper.elastic.output import full_jitter
from shipper.elastic.settle import Patience
from shipper.elastic.transport import Answer
from shipper.telemetry import Telemetry


def _letter(number: int) -> DeadLetter:
    return DeadLetter(f"late-{number}", "logs-2030.01.01", "app", "/var/log/app.log", number, "time_in_future", b"{}")


def test_documents_of_a_batch_are_done_once_and_in_any_size(sink: Sink, tmp_path: Path) -> None:
    """Batches of one line and of many, through several senders: each is done exactly once."""
    with Delivery(tmp_path, sink.url, concurrency=4, bulk_bytes=64 * 1024) as delivery:
        first = 0
        for size in [1, 700, 3, 250, 1, 1, 999]:
            delivery.ship(lines_of(size, first=first), first=first, batch_lines=size)
            first += size
        delivery.wait_done()
        assert delivery.close()
    assert {id_of(n) for n in range(first)} == {hit["_id"] for hit in sink.docs()}
    assert (first, 0) == (delivery.documents("created"), delivery.metric("unexpected_conflicts_total"))
    assert first == sink.stats()["documents"]


def test_a_sender_that_waits_keeps_nothing(sink: Sink, tmp_path: Path) -> None:
    """What was delivered leaves the memory at once, and not when there is more to send."""
    documents = documents_of(lines_of(3))
    before = sys.getrefcount(documents)
    with Delivery(tmp_path, sink.url) as delivery:
        delivery.submit(documents)
        delivery.wait_done()
        noted = 1  # by the test's own list
        wait_until(lambda: sys.getrefcount(documents) == before + noted, what="nobody else has them", timeout_seconds=5)


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_the_documents_arrive_byte_for_byte(sink: Sink, tmp_path: Path, compression: str) -> None:
    """What enrichment framed is what the server gets, compressed or not."""
    lines = [b'{"a":1.10,"b":"\\u00e9\xc3\xa9"}', b"no json \xc3\xa9"]
    with Delivery(tmp_path, sink.url, compression=compression) as delivery:
        delivery.ship(lines)
        delivery.wait_done()
    first, second = (hit["_source"] for hit in sink.docs())
    assert (1.1, "éé") == (first["a"], first["b"])
    assert second["message"] == "no json é"
    stats = sink.stats()
    assert (stats["wire_bytes"] < stats["body_bytes"]) == (compression == "gzip")


def test_lines_that_were_set_aside_before_are_written_before_done(sink: Sink, tmp_path: Path) -> None:
    """Dead letters of enrichment are kept, with documents beside them and without any."""
    sink.down()
    with Delivery(tmp_path, sink.url) as delivery:
        delivery.submit(documents_of([], dead_letters=[_letter(1)]))
        delivery.wait_done()
        assert ["late-1"] == [letter["_id"] for letter in delivery.letters()]
        delivery.submit(documents_of(lines_of(2), dead_letters=[_letter(2)]))
        sink.up()
        delivery.wait_done()
    assert ["late-1", "late-2"] == [letter["_id"] for letter in delivery.letters()]
    assert len(sink.docs()) == 2


def test_nothing_is_done_while_the_dead_letter_cannot_be_written(sink: Sink, tmp_path: Path) -> None:
    """With its directory in the way of a file the batch waits; when it can be written the batch is done."""
    (tmp_path / "dead-letter").write_text("in the way")
    with Delivery(tmp_path, sink.url) as delivery:
        delivery.submit(documents_of(lines_of(2), dead_letters=[_letter(1)]))
        wait_until(lambda: len(sink.docs()) == 2, what="documents", timeout_seconds=30)
        assert delivery.done_count == 0
        (tmp_path / "dead-letter").unlink()
        delivery.wait_done()
    assert len(delivery.letters()) == 1


def test_a_spool_that_cannot_be_written_holds_the_batch(
    sink: Sink, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Documents that could not be spooled are not done; it is said once; they arrive when the index is free."""
    sink.fault(Fault("items", status=403, type="cluster_block_exception"))
    (tmp_path / "spool").write_text("in the way")
    with Delivery(tmp_path, sink.url, patience=Patience(hold_seconds=0.0)) as delivery:
        delivery.ship(lines_of(10))
        wait_until(lambda: sink.fired()[0] >= 50, what="five rounds", timeout_seconds=30)
        assert delivery.done_count == 0
        sink.fault()
        delivery.wait_done()
    assert len(sink.docs()) == 10
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 1


def test_an_unexpected_conflict_is_told_from_an_expected_one(sink: Sink, tmp_path: Path) -> None:
    """A 409 on the very first attempt is unexpected; one after an attempt that may have arrived is not."""
    with Delivery(tmp_path, sink.url) as first:
        first.ship(lines_of(10))
        first.wait_done()
    with Delivery(tmp_path, sink.url) as second:
        second.ship(lines_of(10))
        second.wait_done()
        assert (10, 10) == (second.documents("duplicate"), second.metric("unexpected_conflicts_total"))
        sink.fault(Fault("cut_answer", times=1))
        second.ship(lines_of(10, first=10), first=10)
        second.wait_done()
    assert (20, 10) == (second.documents("duplicate"), second.metric("unexpected_conflicts_total"))


def test_a_document_that_is_busy_too_long_goes_to_the_spool(sink: Sink, tmp_path: Path) -> None:
    """One index whose shard is away (503 by item) holds up nothing for long; its documents arrive in the end."""
    sink.fault(Fault("items", status=503, index="red-*"))
    with Delivery(tmp_path, sink.url, patience=Patience(busy_seconds=0.1)) as delivery:
        delivery.ship(lines_of(5), index="red-1")

        numbers = itertools.count(100)

        def goes_on() -> bool:
            delivery.ship(lines_of(1), first=next(numbers))
            return delivery.output.status().spooled == 5

        wait_until(goes_on, what="five are spooled", timeout_seconds=30)
        delivery.wait_done()
        sink.fault()
        wait_until(lambda: not delivery.output.status().spooled, what="an empty spool", timeout_seconds=30)
    assert {id_of(n) for n in range(5)} == {hit["_id"] for hit in sink.docs("red-1")}


def test_what_the_server_cannot_take_waits_in_memory(sink: Sink, tmp_path: Path) -> None:
    """If nothing at all is taken, documents are not spooled: the log files are the buffer."""
    sink.fault(Fault("items", status=429))
    with Delivery(tmp_path, sink.url, patience=Patience(busy_seconds=0.0)) as delivery:
        delivery.ship(lines_of(10))
        wait_until(lambda: sink.fired()[0] >= 50, what="five rounds", timeout_seconds=30)
        assert (0, 10) == (delivery.output.status().spooled, delivery.output.status().pending)
        sink.fault()
        delivery.wait_done()


def test_a_spooled_document_is_reduced_like_any_other(sink: Sink, tmp_path: Path) -> None:
    """What comes back from the spool is halved at 413, isolated at 400, reduced for its content, with dead letters."""
    sink.fault(Fault("items", status=403, type="cluster_block_exception"))
    lines = [*lines_of(40), lines_of(1, first=40, text="x" * 60_000)[0], *lines_of(5, first=41)]
    with Delivery(tmp_path, sink.url, patience=Patience(hold_seconds=0.0)) as delivery:
        delivery.ship(lines)
        delivery.wait_done()
        reason = "failed to parse field [duration] of type [long] in document with id 'x'"
        sink.fault(
            Fault("too_large", bytes=50_000),
            Fault(
                "items",
                status=400,
                reason=reason,
                contains='"n": 3, "method": "POST", "url": "/api/patients", "duration"',
            ),
        )
        wait_until(lambda: not delivery.output.status().spooled, what="an empty spool", timeout_seconds=30)
    documents = {hit["_id"]: hit["_source"] for hit in sink.docs()}
    assert {id_of(n) for n in range(46)} == documents.keys()
    refused = f"document_parsing_exception: {reason}"
    assert documents[id_of(3)]["shipper"] == {"unmapped": {"duration": "145"}, "refused": refused}
    assert documents[id_of(40)]["tags"] == ["line_too_long"]
    assert {"document_parsing_exception", "too_large"} == {letter["reason"] for letter in delivery.letters()}
    assert (44, 2) == (delivery.documents("created"), delivery.documents("reduced"))


def test_a_stop_spools_what_is_blocked(sink: Sink, tmp_path: Path) -> None:
    """At a stop nobody waits for an operator: blocked documents go to disk, and are not called delivered."""
    sink.fault(Fault("items", status=403, type="cluster_block_exception", index="blocked"))
    delivery = Delivery(tmp_path, sink.url, patience=Patience(hold_seconds=3600.0))
    delivery.ship(lines_of(5), index="blocked")
    delivery.ship(lines_of(5, first=5), first=5)
    wait_until(lambda: len(sink.docs()) == 5, what="the free ones", timeout_seconds=30)
    assert not delivery.close(seconds=20.0)
    assert (2, 5) == (delivery.done_count, delivery.output.status().spooled)


def test_the_pipeline_is_named(sink: Sink, tmp_path: Path) -> None:
    """The ingest pipeline is asked for with the request."""
    seen: list[str] = []
    with Delivery(tmp_path, sink.url, pipeline="a b") as delivery:
        cluster = delivery.output._cluster
        request = cluster.request

        def noted(method: str, target: str, *given: Any, **named: Any) -> Answer:
            seen.append(target)
            return request(method, target, *given, **named)

        cluster.request = noted  # type: ignore[method-assign]
        delivery.ship(lines_of(1))
        delivery.wait_done()
    assert ["/_bulk?filter_path=errors,items.*.status,items.*.error.type&pipeline=a+b&timeout=5000ms"] == seen


def test_a_bug_in_a_thread_is_told(sink: Sink, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A thread that ends by an exception says so and calls `on_crash`, so that the daemon ends."""
    delivery = Delivery(tmp_path, sink.url)
    documents = documents_of(lines_of(1))
    delivery.submit(documents)

    def fail(_: object) -> None:
        raise RuntimeError("a bug")

    documents.done = fail
    wait_until(lambda: delivery.crashes == 1, what="the crash is told", timeout_seconds=30)
    assert ["CRITICAL"] == [record.levelname for record in caplog.records]
    delivery.crashes = 0
    assert not delivery.close(seconds=0.1)


def test_threads_end_with_a_stop(sink: Sink, tmp_path: Path) -> None:
    """After a stop that delivered everything no thread and no connection is left."""
    before = set(threading.enumerate())
    delivery = Delivery(tmp_path, sink.url, concurrency=3)
    delivery.ship(lines_of(10))
    assert delivery.close()
    assert before >= set(threading.enumerate())
    assert list(tmp_path.iterdir()) == []
    assert () == delivery.output.covered(None)  # type: ignore[arg-type]


def test_waits_are_drawn_evenly_below_a_bound_that_grows() -> None:
    """Full jitter: from 0 up to a bound that doubles, and stays at the most."""
    wait = full_jitter(first_seconds=0.5, most_seconds=30.0)
    for failures, bound in [(1, 0.5), (2, 1.0), (4, 4.0), (20, 30.0), (5000, 30.0)]:
        drawn = [wait(failures) for _ in range(200)]
        assert 0 <= min(drawn) < bound / 4
        assert bound * 3 / 4 < max(drawn) <= bound


WITHOUT_DESCRIPTORS = """
import os, resource
from shipper.elastic.output import full_jitter

wait = full_jitter(first_seconds=0.5, most_seconds=30.0)
unlimited = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (32, unlimited[1]))
opened = []
try:
    while True:
        opened.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    assert wait(20) == 0.5
resource.setrlimit(resource.RLIMIT_NOFILE, unlimited)
assert 1 < max(wait(20) for _ in range(100)) <= 30
"""


def test_a_failure_for_want_of_descriptors_is_waited_for_as_others_are() -> None:
    """What draws the waits is imported by the first failure, which must not end the sender in that way."""
    done = subprocess.run([sys.executable, "-c", WITHOUT_DESCRIPTORS], capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)


def test_pieces_are_one_stream() -> None:
    """The pieces of a body are compressed into one gzip member."""
    import gzip

    assert gzip.decompress(compressed([b"one", *[b"two" * 100_000] * 5, b""])) == b"one" + b"two" * 500_000


def test_a_change_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Down is said once, whatever the reasons do; a reason that needs a person once more; then up."""
    caplog.set_level("INFO")
    telemetry = Telemetry(registry=CollectorRegistry())
    health = Health(name="es", telemetry=telemetry, monotonic=lambda: 5.0)
    for _ in range(3):
        health.failed("network", "refused", is_refusal=None)
        health.failed("timeout", "no answer", is_refusal=None)
        health.failed("unauthorized", "unauthorized (status 401)", is_refusal=True)
    assert (False, 5.0, 9) == (health.is_up, health.refused_since, health.failures)
    health.answered()
    health.answered()
    assert (True, None, 0, "") == (health.is_up, health.refused_since, health.failures, health.error)
    assert ["WARNING", "ERROR", "INFO"] == [record.levelname for record in caplog.records]
    assert "check the credentials" in caplog.records[1].message


def test_few_busy_documents_slow_nothing_down(sink: Sink, tmp_path: Path) -> None:
    """A server that has no time for some documents of each request gets as much at once as before; for many, less."""
    with Delivery(tmp_path, sink.url, bulk_bytes=256 * 1024) as delivery:
        pace = delivery.output._queue.pace
        sink.fault(Fault("items", status=429, rate=0.05))
        delivery.ship(lines_of(2000))
        delivery.wait_done()
        assert (256 * 1024, 2) == (pace.bulk_bytes, pace.in_flight)
        sink.fault(Fault("items", status=429, times=2000))
        delivery.ship(lines_of(1000, first=2000), first=2000)
        wait_until(lambda: pace.rejections > 0, what="less at once", timeout_seconds=30)
        delivery.wait_done()
    assert len(sink.docs()) == 3000
