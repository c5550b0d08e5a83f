"""What a bulk answer means, as tables of cases; most are what real servers said."""

import json
from typing import Any

import pytest

from shipper.elastic.bulk import (
    FAILURE_STORE,
    LIGHT_BYTES,
    ItemError,
    Outcome,
    Results,
    Verdict,
    check_index_pattern,
    is_to_be_parted,
    judge_item,
    judge_request,
    read_results,
)

ITEMS: list[tuple[int, str, str, Verdict]] = [
    (201, "", "", Verdict.CREATED),
    (200, "", "", Verdict.CREATED),  # OpenSearch: a pipeline dropped it
    (409, "version_conflict_engine_exception", "", Verdict.DUPLICATE),
    (409, "", "", Verdict.DUPLICATE),
    (409, "resource_already_exists_exception", "", Verdict.RETRY),
    (429, "es_rejected_execution_exception", "", Verdict.RETRY),
    (429, "rejected_execution_exception", "", Verdict.RETRY),
    (429, "circuit_breaking_exception", "", Verdict.RETRY),
    (429, "cluster_block_exception", "", Verdict.HOLD),  # the disk is full
    (403, "cluster_block_exception", "", Verdict.HOLD),
    (403, "security_exception", "", Verdict.HOLD),
    (401, "security_exception", "", Verdict.HOLD),
    (404, "index_not_found_exception", "", Verdict.HOLD),
    (404, "resource_not_found_exception", "", Verdict.HOLD),
    (404, "", "", Verdict.HOLD),
    (400, "index_closed_exception", "closed", Verdict.HOLD),
    (400, "validation_exception", "", Verdict.HOLD),  # this action would add [2] shards
    (503, "unavailable_shards_exception", "", Verdict.RETRY),
    (500, "refresh_failed_engine_exception", "", Verdict.RETRY),
    (500, "not_x_content_exception", "", Verdict.REDUCE),  # 8.14 for a source that is no object
    (500, "fail_processor_exception", "", Verdict.REDUCE),
    (500, "null_pointer_exception", "", Verdict.REDUCE),
    (400, "action_request_validation_exception", "", Verdict.APART),
    (400, "document_parsing_exception", "", Verdict.REDUCE),
    (400, "mapper_parsing_exception", "", Verdict.REDUCE),
    (400, "strict_dynamic_mapping_exception", "", Verdict.REDUCE),
    (400, "parse_exception", "", Verdict.REDUCE),
    (400, "something_new_exception", "", Verdict.REDUCE),
    (413, "", "", Verdict.REDUCE),
    (400, "illegal_argument_exception", "", Verdict.REDUCE),  # asked for its reason first, which may change it
    (400, "illegal_argument_exception", "Limit of total fields [5] has been exceeded", Verdict.REDUCE),
    (400, "illegal_argument_exception", "mapper [m] cannot be changed from type [long] to [text]", Verdict.REDUCE),
    (400, "illegal_argument_exception", "pipeline with id [nope] does not exist", Verdict.HOLD),
    (400, "illegal_argument_exception", "no write index is defined for alias [a]. The write index", Verdict.HOLD),
    (400, "illegal_argument_exception", "this action would add [2] total shards, but this", Verdict.HOLD),
    (400, "mapper_parsing_exception", "Failed to parse mapping: analyzer [x] has not been configured", Verdict.HOLD),
    (400, "invalid_index_name_exception", "", Verdict.SET_ASIDE),
    (201, FAILURE_STORE, "", Verdict.IN_FAILURE_STORE),
    (100, "", "", Verdict.RETRY),
]


@pytest.mark.parametrize(("status", "kind", "reason", "expected"), ITEMS)
def test_an_item(status: int, kind: str, reason: str, expected: Verdict) -> None:
    """Each answer about one document has one consequence."""
    assert expected == judge_item(status, ItemError(kind, reason) if kind else None)


def _said(kind: str, reason: str = "") -> bytes:
    return json.dumps({"error": {"root_cause": [], "type": kind, "reason": reason}, "status": 400}).encode()


def _pressure(size: int, limit: str) -> str:
    """What a server says that has 800 bytes of room, for a request of that size."""
    said = f"coordinating_and_primary_bytes=200, replica_bytes=0, all_bytes=200, coordinating_operation_bytes={size}"
    return f"rejected execution of coordinating operation [{said}, max_{limit}_bytes=800]"


_PAGE = b"<html><head><title>no</title></head></html>\r\n"
REQUESTS: list[tuple[int, bytes, Outcome, str]] = [
    (200, b'{"errors":false,"items":[{"create":{"status":201}},{"create":{"status":201}}]}', Outcome.ANSWERED, "ok"),
    (
        200,
        b'{"errors":true,"items":[{"create":{"status":201}},{"create":{"status":409}}]}',
        Outcome.ANSWERED,
        "partial",
    ),
    (200, b'{"errors":false,"items":[{"create":{"status":201}}]}', Outcome.WAIT, "incomplete"),
    (200, b'{"errors":false}', Outcome.WAIT, "garbage"),
    (200, b"", Outcome.WAIT, "garbage"),
    (200, _PAGE, Outcome.WAIT, "garbage"),
    (200, b'{"errors":false,"items":[{"create":{"status":201}},{"create":{"status":201}}', Outcome.WAIT, "garbage"),
    (201, b"{}", Outcome.WAIT, "garbage"),
    (302, b"", Outcome.WAIT, "redirect"),
    (400, _said("illegal_argument_exception", "Malformed action/metadata line [3]"), Outcome.MALFORMED, "malformed"),
    (400, _said("x_content_parse_exception"), Outcome.MALFORMED, "malformed"),
    (400, _said("json_parse_exception"), Outcome.MALFORMED, "malformed"),
    (400, _said("action_request_validation_exception", "id is too long"), Outcome.MALFORMED, "malformed"),
    (400, _said("parse_exception"), Outcome.MALFORMED, "malformed"),
    (
        400,
        _said("illegal_argument_exception", "request [/_bulk] contains unrecognized parameter: [x]"),
        Outcome.WAIT,
        "refused",
    ),
    (400, _said("media_type_header_exception"), Outcome.WAIT, "refused"),
    (400, _PAGE, Outcome.WAIT, "refused"),  # the plain HTTP request was sent to HTTPS port
    (400, b'{"error":"no handler found for uri"}', Outcome.WAIT, "refused"),
    (401, b"", Outcome.UNAUTHORIZED, "unauthorized"),
    (401, _PAGE, Outcome.UNAUTHORIZED, "unauthorized"),
    (403, _said("security_exception"), Outcome.UNAUTHORIZED, "forbidden"),
    (403, _said("cluster_block_exception"), Outcome.WAIT, "forbidden"),
    (403, _PAGE, Outcome.WAIT, "refused"),
    (404, _PAGE, Outcome.WAIT, "not_found"),
    (406, b"{}", Outcome.WAIT, "refused"),
    (407, b"", Outcome.WAIT, "proxy_unauthorized"),
    (408, b"", Outcome.WAIT, "timeout"),
    (413, b"", Outcome.TOO_LARGE, "too_large"),
    (413, _PAGE, Outcome.TOO_LARGE, "too_large"),
    (429, _said("es_rejected_execution_exception"), Outcome.REJECTED, "rejected"),
    (429, _said("es_rejected_execution_exception", _pressure(900, "coordinating")), Outcome.TOO_LARGE, "too_large"),
    (
        429,
        _said("rejected_execution_exception", _pressure(900, "coordinating_and_primary")),
        Outcome.TOO_LARGE,
        "too_large",
    ),
    (429, _said("es_rejected_execution_exception", _pressure(700, "coordinating")), Outcome.REJECTED, "rejected"),
    (500, b"", Outcome.WAIT, "server_error"),
    (502, _PAGE, Outcome.WAIT, "server_error"),
    (503, _said("cluster_block_exception"), Outcome.WAIT, "server_error"),
]


@pytest.mark.parametrize(("status", "body", "outcome", "reason"), REQUESTS)
def test_a_request(status: int, body: bytes, outcome: Outcome, reason: str) -> None:
    """Each answer to a request of two documents has one consequence, whoever gave it."""
    verdict = judge_request(status, body, count=2)
    assert (outcome, reason) == (verdict.outcome, verdict.reason)
    assert (verdict.results is not None) == (outcome is Outcome.ANSWERED)


def _answer(*items: dict[str, Any], errors: bool = True) -> bytes:
    return json.dumps({"errors": errors, "items": [{"create": item} for item in items]}).encode()


def test_reasons_are_kept_up_to_a_length() -> None:
    """A reason comes with its cause's, each cut: a server may repeat a megabyte of the document."""
    error = {"type": "a", "reason": "r" * 10_000, "caused_by": {"type": "b", "reason": "why"}}
    results = read_results(_answer({"status": 201}, {"status": 400, "error": error}), count=2)
    assert isinstance(results, Results)
    assert [201, 400] == results.statuses
    assert {1: ItemError("a", "r" * 4000 + "; why")} == results.errors


def test_a_document_in_the_failure_store_is_seen_among_good_ones() -> None:
    """`errors: false` is not enough where a data stream has a failure store."""
    body = b'{"errors":false,"items":[{"create":{"status":201,"failure_store":"used"}},{"create":{"status":201}}]}'
    results = read_results(body, count=2)
    assert isinstance(results, Results)
    assert {0: ItemError(FAILURE_STORE, "")} == results.errors


@pytest.mark.parametrize(
    "pattern", ["logs-%Y.%m.%d", "caredroid", "a-%G.%V", "x.%j", "ünicode-%d", "%%-%y", "a" * 245 + "%Y.%m.%d"]
)
def test_names_that_an_index_may_have(pattern: str) -> None:
    """These are patterns of index names."""
    assert check_index_pattern(pattern) == []


@pytest.mark.parametrize(
    ("pattern", "word"),
    [
        ("", "no name"),
        (".", "no name"),
        ("..", "no name"),
        ("Logs-%Y", "lower case"),
        ("logs-%H", "%H"),
        ("logs-%b", "%b"),
        ("logs-%", "%"),
        ("logs %Y", "' '"),
        ("a/b", "'/'"),
        ("a,b#c", "'#' ','"),
        ("a\nb", "'\\n'"),
        ("a\0b", "'\\n'"),
        ("_logs", "'_'"),
        ("-logs", "'-'"),
        ("+logs", "'+'"),
        ("a" * 246 + "%Y.%m.%d", "255"),
        ("ü" * 128, "255"),
    ],
)
def test_names_that_no_index_may_have(pattern: str, word: str) -> None:
    """What a server would refuse is refused before, in words."""
    problems = check_index_pattern(pattern)
    assert problems
    assert word in " ".join(problems)


@pytest.mark.parametrize(
    ("pattern", "is_data_stream"),
    [
        ("logs-%Y.%m.%d", False),
        ("logs-%Y-%m-%d", True),
        ("logs-caredroid-%Y.%m.%d", True),
        ("caredroid-logs-%Y.%m.%d", False),
        ("metrics-a-b", True),
    ],
)
def test_names_that_become_data_streams(pattern: str, is_data_stream: bool) -> None:
    """A name that Elasticsearch's own templates match is refused unless it is meant."""
    assert is_data_stream == bool(check_index_pattern(pattern, allow_data_stream=False))
    assert check_index_pattern(pattern) == []


@pytest.mark.parametrize(
    ("reason", "count", "size", "failures", "others_pass", "expected"),
    [
        pytest.param("refused", 2, 1000, 3, True, True, id="others pass"),
        pytest.param("refused", 2, 1000, 2, True, False, id="it may have been a moment"),
        pytest.param("refused", 2, 1 << 20, 9, False, False, id="perhaps nothing passes"),
        pytest.param("refused", 2, 1000, 10, False, True, id="there are no others"),
        pytest.param("network", 2, 1 << 20, 3, False, True, id="perhaps too large"),
        pytest.param("timeout", 2, 1 << 20, 3, False, True, id="perhaps too heavy"),
        pytest.param("network", 2, LIGHT_BYTES, 3, False, False, id="not too large"),
        pytest.param("network", 1, 1 << 20, 99, True, False, id="a single document"),
    ],
)
def test_when_a_request_that_fails_goes_on_in_halves(
    reason: str, count: int, size: int, failures: int, *, others_pass: bool, expected: bool
) -> None:
    """Nothing was said of its documents, so it is told by what else passes, and by its size."""
    assert expected == is_to_be_parted(reason, count=count, size=size, failures=failures, others_pass=others_pass)
