"""What a bulk request's answer means: decisions only, no sockets, no threads.

`judge_request` says what becomes of the whole request, `judge_item` of one document. `elastic` does what they say;
`reduce` makes a document that the server takes of one that it refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date
from enum import Enum, auto
from fnmatch import fnmatchcase
from typing import NamedTuple

import msgspec

from shipper.batch import Frame

FRAME = Frame(b'{"create":{"_index":"', b'","_id":"', b'"}}\n', b"\n")
"""A document is two lines, action and source. `create` of an id that is there already answers 409: delivered."""

FILTER = "errors,items.*.status,items.*.error.type"
FILTER_WITH_REASONS = FILTER + ",items.*.error.reason,items.*.error.caused_by.reason"
FILTER_FAILURE_STORE = ",items.*.failure_store"  # of data streams; an unknown name in a filter finds nothing
_REASON_CHARS = 4000
_ITEM_IS_GOOD = b'{"create":{"status":20'
_CREATED = b'{"create":{"status":201}},'


class Verdict(Enum):
    """What becomes of one document."""

    CREATED = auto()
    DUPLICATE = auto()
    RETRY = auto()  # the server is busy or ill: the same again, later
    HOLD = auto()  # an operator can mend it: the same again, from disk if it takes long
    REDUCE = auto()  # refused for its content: another form of it
    APART = auto()  # refused together with others, perhaps for one of them: fewer at once
    IN_FAILURE_STORE = auto()  # the server has it, but not where it should be: delivered, with a dead letter
    SET_ASIDE = auto()  # no form of it can ever be accepted


class Outcome(Enum):
    """What becomes of a whole request."""

    ANSWERED = auto()  # every document has its own answer
    WAIT = auto()  # the same again, later, for ever
    UNAUTHORIZED = auto()  # as WAIT, and the operator must know
    REJECTED = auto()  # as WAIT, and less at once
    TOO_LARGE = auto()  # in halves; a single document is reduced
    MALFORMED = auto()  # in halves; a single document is set aside


class ItemError(NamedTuple):
    """Why a document was refused; `reason` is empty unless it was asked for, and may repeat the document's text."""

    type: str
    reason: str


class Results(NamedTuple):
    """The answer's items, in the order of the documents. `statuses` is empty where all were created."""

    documents: int
    statuses: Sequence[int]
    errors: Mapping[int, ItemError]


class RequestVerdict(NamedTuple):
    """`reason` is one word for metrics and status; `results` only with ANSWERED."""

    outcome: Outcome
    reason: str
    results: Results | None = None


class _Error(msgspec.Struct):
    type: str = ""
    reason: str | None = None
    caused_by: _Error | None = None


class _Result(msgspec.Struct):
    status: int
    error: _Error | None = None
    failure_store: str = ""


class _Item(msgspec.Struct):
    create: _Result


class _Answer(msgspec.Struct):
    items: list[_Item]


class _Refusal(msgspec.Struct):
    error: _Error


_answers = msgspec.json.Decoder(_Answer)
_refusals = msgspec.json.Decoder(_Refusal)

_MENDABLE_TYPES = frozenset(
    {
        "index_closed_exception",
        "cluster_block_exception",
        "index_create_block_exception",
        "index_not_found_exception",
        "resource_not_found_exception",
        "alias_not_found_exception",
        "validation_exception",  # the limit of shards in the cluster
        "security_exception",
        "authorization_exception",
        "settings_exception",
    }
)
_AMBIGUOUS_TYPES = frozenset({"illegal_argument_exception", "mapper_parsing_exception", "illegal_state_exception"})
_MENDABLE_PHRASES = (
    "pipeline with id [",  # … does not exist
    "no write index is defined for alias [",
    "maximum normal shards open",
    "this action would add [",
    "Failed to parse mapping",  # of the template that the new index takes
    "please check that any required plugins are installed",
    "no matching index template found for data stream",
    "matches with template [",  # … that creates data streams only
    "does not match pattern '^.*-(",  # index.lifecycle.parse_origination_date
)
_OF_THE_CONTENT = frozenset(
    {
        "not_x_content_exception",  # 8.14
        "fail_processor_exception",  # an ingest pipeline's
        "null_pointer_exception",
        "class_cast_exception",
        "index_out_of_bounds_exception",
        "array_index_out_of_bounds_exception",
        "string_index_out_of_bounds_exception",
    }
)
"""Said with status 500, as if the server were ill; but the same document would meet the same again, for ever."""
_REFUSED_TOGETHER = "action_request_validation_exception"
"""9.x takes large requests in parts, and says this of each document of a part when one of them cannot be."""
_MALFORMED_TYPES = frozenset(
    {
        "illegal_argument_exception",
        "x_content_parse_exception",
        "json_parse_exception",
        "parse_exception",
        "parsing_exception",
        "not_x_content_exception",
        "action_request_validation_exception",
    }
)
_NOT_THE_BODY = ("unrecognized parameter", "no handler found", "Content-Type", "request [/_bulk]")
FAILURES_BEFORE_PARTING = 3
FAILURES_WITHOUT_COMPANY = 10
LIGHT_BYTES = 64 * 1024
"""A request of this size is not too heavy for anybody."""
_PERHAPS_TOO_HEAVY = ("network", "timeout", "server_error")
_PRESSURE = re.compile(rb"coordinating_operation_bytes=(\d{1,18}), max_\w{1,40}_bytes=(\d{1,18})\b")
FAILURE_STORE = "failure_store"


def judge_item(status: int, error: ItemError | None) -> Verdict:
    """Return what becomes of a document that got this answer.

    Without a reason an ambiguous type is taken for a refusal of the content; `reduce` asks for the reason first.
    """
    kind, reason = error or ItemError("", "")
    if kind == FAILURE_STORE:
        return Verdict.IN_FAILURE_STORE
    if 200 <= status < 300:
        return Verdict.CREATED
    if status == 409:
        return Verdict.DUPLICATE if not kind or kind.startswith("version_conflict") else Verdict.RETRY
    if kind == "invalid_index_name_exception":
        return Verdict.SET_ASIDE
    if kind == _REFUSED_TOGETHER:
        return Verdict.APART
    if kind in _MENDABLE_TYPES or status in (401, 403, 404):
        return Verdict.HOLD
    if kind in _AMBIGUOUS_TYPES and any(phrase in reason for phrase in _MENDABLE_PHRASES):
        return Verdict.HOLD
    if kind in _OF_THE_CONTENT:
        return Verdict.REDUCE
    if status == 429 or status >= 500 or status < 400:
        return Verdict.RETRY
    return Verdict.REDUCE


def judge_request(status: int, body: bytes, *, count: int) -> RequestVerdict:
    """Return what becomes of a request of `count` documents that got this answer, which may come from a proxy."""
    if status == 200:
        results = read_results(body, count=count)
        if isinstance(results, str):
            return RequestVerdict(Outcome.WAIT, results)
        is_good = not results.statuses
        return RequestVerdict(Outcome.ANSWERED, "ok" if is_good else "partial", results)
    if status in (400, 403):
        return _judge_refusal(status, body)
    if status == 429 and _never_fits(body):
        return RequestVerdict(Outcome.TOO_LARGE, "too_large")
    outcome, reason = _BY_STATUS.get(status, (Outcome.WAIT, ""))
    return RequestVerdict(outcome, reason or _class_of(status))


_BY_STATUS = {
    401: (Outcome.UNAUTHORIZED, "unauthorized"),
    404: (Outcome.WAIT, "not_found"),
    407: (Outcome.WAIT, "proxy_unauthorized"),
    408: (Outcome.WAIT, "timeout"),
    413: (Outcome.TOO_LARGE, "too_large"),
    429: (Outcome.REJECTED, "rejected"),
}


def _class_of(status: int) -> str:
    if status >= 500:
        return "server_error"
    if status >= 400:
        return "refused"
    return "redirect" if status >= 300 else "garbage"


def _judge_refusal(status: int, body: bytes) -> RequestVerdict:
    """400 and 403 are said by servers and proxies alike: only what is surely about the body may cost a document."""
    try:
        error = _refusals.decode(body).error
    except msgspec.MsgspecError:
        return RequestVerdict(Outcome.WAIT, _class_of(status))
    if status == 403:
        is_security = error.type in ("security_exception", "authorization_exception")
        return RequestVerdict(Outcome.UNAUTHORIZED if is_security else Outcome.WAIT, "forbidden")
    said = error.reason or ""
    if error.type in _MALFORMED_TYPES and not any(phrase in said for phrase in _NOT_THE_BODY):
        return RequestVerdict(Outcome.MALFORMED, "malformed")
    return RequestVerdict(Outcome.WAIT, "refused")


def is_to_be_parted(reason: str, *, count: int, size: int, failures: int, others_pass: bool) -> bool:
    """Whether a request that failed so often, without a word about its documents, goes on in halves.

    It may be for one of them (a firewall before the server that does not like a text, a document that the server breaks
    at): that is so where other requests were answered meanwhile. Or it is too heavy, for a proxy that ends what takes
    long, or cuts the connection to what is large; then smaller ones help, and cost little where nothing would. Where
    there are no other requests to tell by, it is tried after a while.
    """
    if count < 2 or failures < FAILURES_BEFORE_PARTING:
        return False
    is_heavy = reason in _PERHAPS_TOO_HEAVY and size > LIGHT_BYTES
    return others_pass or is_heavy or failures >= FAILURES_WITHOUT_COMPANY


def _never_fits(body: bytes) -> bool:
    """Whether a 429 says that this request alone is more than the server has room for: waiting would not help."""
    found = _PRESSURE.search(body)
    return found is not None and int(found[1]) > int(found[2])


def read_results(body: bytes, *, count: int) -> Results | str:
    """Return the items of a 200; a word where it is no whole answer for `count` documents: `garbage` or `incomplete`.

    9.x answers half a body with 200 and half the items. That all is well is seen without parsing, and nearly always
    without looking for each item (60 ns).
    """
    is_good = b'"errors":false' in body[:64]
    if is_good and body.endswith(b"".join((b'"items":[', _CREATED * (count - 1), _CREATED[:-1], b"]}"))):
        return Results(count, (), {})
    if is_good and body.count(_ITEM_IS_GOOD) == count and b'"failure_store"' not in body and body.endswith(b"]}"):
        return Results(count, (), {})
    try:
        items = [item.create for item in _answers.decode(body).items]
    except msgspec.MsgspecError:
        return "garbage"
    if len(items) != count:
        return "incomplete"
    errors = {i: _item_error(item) for i, item in enumerate(items) if item.error is not None}
    errors |= {i: ItemError(FAILURE_STORE, "") for i, item in enumerate(items) if item.failure_store == "used"}
    return Results(count, [item.status for item in items], errors)


def _item_error(item: _Result) -> ItemError:
    error = item.error or _Error()
    cause = error.caused_by.reason if error.caused_by is not None else None
    said = [text[:_REASON_CHARS] for text in (error.reason, cause) if text]
    return ItemError(error.type, "; ".join(said))


_DATE_TOKENS = "YymdjGVuUW"
_TOKEN = re.compile(r"%(.?)", re.DOTALL)
_ILLEGAL_IN_INDEX = re.compile(r'[\\/*?"<>| ,#:\x00-\x1f\x7f]')
_MAX_INDEX_BYTES = 255
_DATA_STREAM_PATTERNS = ("logs-*-*", "metrics-*-*", "synthetics-*-*")
"""Of the templates that Elasticsearch brings along: an index that matches is made a data stream."""


def check_index_pattern(pattern: str, *, allow_data_stream: bool = True) -> list[str]:
    """Return what is wrong with a pattern of index names, in words; empty if nothing is."""
    strange = sorted({found[0] for found in _TOKEN.finditer(pattern) if found[1] not in [*_DATE_TOKENS, "%"]})
    if strange:
        return [f"{' and '.join(strange)}: only the parts of a day can stand there, such as %Y, %m and %d"]
    name = date(2024, 12, 30).strftime(pattern.replace("\0", "\n"))  # strftime would end there
    problems = []
    if not name or name in (".", ".."):
        problems.append("is no name")
    if name != name.lower():
        problems.append("has upper-case letters; index names are lower case")
    if found := sorted(set(_ILLEGAL_IN_INDEX.findall(name))):
        problems.append(f"has {' '.join(map(repr, found))}, which no index name may have")
    if name.startswith(("-", "_", "+")):
        problems.append(f"begins with {name[0]!r}, which no index name may")
    if len(name.encode()) > _MAX_INDEX_BYTES:
        problems.append(f"is longer than {_MAX_INDEX_BYTES} bytes")
    if not allow_data_stream and (problem := _data_stream_problem(name)):
        problems.append(problem)
    return problems


def _data_stream_problem(name: str) -> str:
    for theirs in _DATA_STREAM_PATTERNS:
        if fnmatchcase(name, theirs):
            return (
                f"matches {theirs!r}, which Elasticsearch makes a data stream a day; "
                "use another name, such as logs-%Y.%m.%d, or set allow_data_stream: true"
            )
    return ""
