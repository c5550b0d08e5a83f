"""When and how much is sent: the queue with a clock that the test sets, and the pace."""

from collections.abc import Iterator

import pytest
from deliveries import documents_of, id_of, lines_of

from shipper.elastic.gather import MIN_BULK_BYTES, Pace, Queue
from shipper.elastic.items import ASKING_COUNT, Bulk, Item, Pending, Settled, items_of
from shipper.elastic.reduce import Stage


class Clock:
    """Set by the test."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> Iterator[Queue]:
    """A queue that gathers 10,000 bytes or half a second, two requests at once, with room for 30,000 bytes."""
    queue = Queue(pace=Pace(bulk_bytes=10_000, concurrency=2), linger_seconds=0.5, room_bytes=30_000, monotonic=clock)
    yield queue
    queue.stop()


def _next(queue: Queue, clock: Clock) -> Bulk | Settled | None:
    work = queue._next(clock.now)
    queue._in_flight += isinstance(work, Bulk)
    return work


def _bulk(queue: Queue, clock: Clock) -> Bulk:
    work = _next(queue, clock)
    assert isinstance(work, Bulk)
    return work


def _wait(queue: Queue, clock: Clock) -> float | None:
    return queue._wait_seconds(clock.now)


def test_a_little_waits_for_company(queue: Queue, clock: Clock) -> None:
    """A few documents go when they have waited long enough, not before; the wait is known in advance."""
    queue.put(documents_of(lines_of(3)))
    assert _next(queue, clock) is None
    assert _wait(queue, clock) == 0.5
    clock.now += 0.4
    queue.put(documents_of(lines_of(3)))
    assert _wait(queue, clock) == pytest.approx(0.1)
    clock.now += 0.1
    assert _bulk(queue, clock).count == 6
    assert _wait(queue, clock) is None


def test_enough_goes_at_once_and_no_more_than_that(queue: Queue, clock: Clock) -> None:
    """As soon as there is enough for a request it goes, without splitting what belongs together."""
    for _ in range(3):
        queue.put(documents_of(lines_of(20)))
    first = _bulk(queue, clock)
    assert 20 <= first.count <= 40
    assert first.size <= 10_000 or first.count == 20


def test_a_flush_takes_what_is_there(queue: Queue, clock: Clock) -> None:
    """What was put in before a flush goes; what comes after waits as usual."""
    queue.put(documents_of(lines_of(3)))
    queue.flush()
    assert _bulk(queue, clock).count == 3
    queue.put(documents_of(lines_of(3)))
    assert _next(queue, clock) is None


def test_so_many_at_once(queue: Queue, clock: Clock) -> None:
    """No more requests are under way than the pace says; an end of one lets the next go."""
    for _ in range(3):
        queue.put(documents_of(lines_of(60)))
    assert _bulk(queue, clock)
    assert _bulk(queue, clock)
    assert _next(queue, clock) is None
    assert _wait(queue, clock) is None
    queue.release()
    assert _bulk(queue, clock)


def test_room_ends_and_comes_back(queue: Queue, clock: Clock) -> None:
    """There is room until enough is under way, and again when it is done."""
    while queue.has_room():
        queue.put(documents_of(lines_of(20)))
    under_way = queue.documents_under_way
    assert under_way == 20 * len(queue._under_way)
    bulk = _bulk(queue, clock)
    settled = queue.settle([(part, part.documents.count) for part in bulk.parts])
    assert list(bulk.parts) == settled.pendings
    queue.forget(settled.pendings)
    assert queue.has_room()
    assert under_way - bulk.count == queue.documents_under_way


def test_a_pause_and_one_at_a_time_after_it(queue: Queue, clock: Clock) -> None:
    """After a failure nothing goes for a while, then one request alone, until the server answers."""
    for _ in range(3):
        queue.put(documents_of(lines_of(60)))
    failed = _bulk(queue, clock)
    queue.pause(5.0)
    queue.give_back([failed])
    queue.release()
    assert _next(queue, clock) is None
    assert _wait(queue, clock) == 5.0
    clock.now += 5.0
    assert failed is _next(queue, clock)
    assert _next(queue, clock) is None
    queue.resume()
    assert _bulk(queue, clock)


def _items_of(count: int) -> list[Item]:
    documents = documents_of(lines_of(count))
    return items_of(Pending(documents, count, []))


def test_single_documents_go_again_when_they_are_due(queue: Queue, clock: Clock) -> None:
    """They go together, once their time has come, before new ones."""
    queue.again(_items_of(3), seconds=2.0)
    queue.again(_items_of(2), seconds=1.0)
    assert _wait(queue, clock) == 1.0
    clock.now += 1.0
    assert _bulk(queue, clock).count == 2
    clock.now += 1.0
    assert _bulk(queue, clock).count == 3


def test_those_that_ask_go_alone_and_few_at_once(queue: Queue, clock: Clock) -> None:
    """Requests that ask for reasons are small, since each reason may be as long as its document."""
    items = _items_of(ASKING_COUNT + 10)
    for item in items[:-1]:
        item.form = item.form._replace(stage=Stage.ASKED)
    queue.pace.bulk_bytes = 1 << 20
    queue.again(items, seconds=0.0)
    kinds = []
    while (work := _next(queue, clock)) is not None:
        assert isinstance(work, Bulk)
        kinds.append((work.is_asking, work.count))
        queue.release()
    assert [(False, 1), (True, ASKING_COUNT), (True, 9)] == kinds


def test_closing_ends_all_waits(queue: Queue, clock: Clock) -> None:
    """A pause of an hour, documents due in an hour and a linger end when the queue is closed; new pauses are short."""
    queue.pause(3600.0)
    queue.again(_items_of(1), seconds=3600.0)
    queue.put(documents_of(lines_of(1)))
    queue.close()
    assert not queue.has_room()
    assert _bulk(queue, clock).count == 1
    queue.release()
    assert _bulk(queue, clock).count == 1
    queue.release()
    queue.again(_items_of(1), seconds=3600.0)
    wait = _wait(queue, clock)
    assert wait is not None
    assert wait < 1.0


def test_what_the_disk_refused_is_finished_later(queue: Queue, clock: Clock) -> None:
    """Documents that wait only for their dead letters come back by themselves, also while the server is down."""
    queue.pause(3600.0)
    queue.put(documents_of([]))
    settled = _next(queue, clock)
    assert isinstance(settled, Settled)
    queue.unsettled(settled)
    assert _next(queue, clock) is None
    wait = _wait(queue, clock)
    assert wait is not None
    clock.now += wait
    assert settled is _next(queue, clock)


def test_halves() -> None:
    """A bulk falls into two with all of its documents, down to single ones."""
    queue = Queue(
        pace=Pace(bulk_bytes=1 << 20, concurrency=1), linger_seconds=0.0, room_bytes=1 << 30, monotonic=lambda: 0.0
    )
    for start in (0, 5, 10):
        queue.put(documents_of(lines_of(5, first=start), first=start))
    whole = queue._next(0.0)
    assert isinstance(whole, Bulk)
    bulks, singles = [whole], []
    while bulks:
        bulk = bulks.pop(0)
        halves = bulk.halves()
        if halves == [bulk]:
            singles.append(bulk)
        else:
            assert bulk.count == sum(half.count for half in halves)
            bulks += halves
    ids = sorted(bulk.items[0].id for bulk in singles)
    assert [id_of(number) for number in range(15)] == ids


def test_the_pace_gives_way_and_comes_back() -> None:
    """429 halves the size down to a floor and takes one request away; accepted bulks bring both back to what is set."""
    pace = Pace(bulk_bytes=1 << 20, concurrency=3)
    for _ in range(10):
        pace.rejected()
    assert (MIN_BULK_BYTES, 1, 10) == (pace.bulk_bytes, pace.in_flight, pace.rejections)
    for _ in range(20):
        pace.accepted()
    assert (1 << 20, 3, 0) == (pace.bulk_bytes, pace.in_flight, pace.rejections)


def test_a_limit_of_size_stays() -> None:
    """After a 413 no request comes near that size again, and the floor holds."""
    pace = Pace(bulk_bytes=1 << 20, concurrency=3)
    pace.too_large(600_000)
    for _ in range(50):
        pace.accepted()
    assert pace.bulk_bytes == 300_000
    for _ in range(10):
        pace.too_large(1000)
    assert pace.bulk_bytes == MIN_BULK_BYTES
