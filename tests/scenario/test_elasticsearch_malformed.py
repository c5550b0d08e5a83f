"""The server refuses a whole request (400) because of one document in it."""

from pathlib import Path

from deliveries import Delivery, documents_of, id_of, lines_of
from harness.sink import Sink


def test_only_the_culprit_is_set_aside(sink: Sink, tmp_path: Path) -> None:
    """A document whose id no server takes is isolated and becomes a dead letter; all others arrive."""
    documents = documents_of(lines_of(200))
    bad_id = "x" * 600
    documents.body = documents.body.replace(id_of(123).encode(), bad_id.encode())
    with Delivery(tmp_path, sink.url) as delivery:
        delivery.submit(documents)
        delivery.wait_done()
    assert {id_of(n) for n in range(200)} - {id_of(123)} == {hit["_id"] for hit in sink.docs()}
    [letter] = delivery.letters()
    assert ("malformed", bad_id, lines_of(1, first=123)[0].decode()) == (
        letter["reason"],
        letter["_id"],
        letter["line"],
    )
    assert delivery.documents("created") + delivery.documents("duplicate") == 199
    assert delivery.documents("dead_letter") == 1
