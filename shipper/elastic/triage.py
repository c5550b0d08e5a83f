"""What becomes of single documents after one round: delivered, waiting, to be sent in another form, or set aside.

Decisions only. `elastic` does them for what comes from the files, and for what comes back from the spool.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from shipper.batch import DeadLetter
from shipper.document import inherited_time
from shipper.elastic.bulk import FAILURE_STORE, ItemError, Outcome, Results, Verdict, judge_item
from shipper.elastic.items import Item
from shipper.elastic.reduce import TOO_LARGE, Stage, next_form

SERVER_CHARS = 500
MALFORMED = "malformed"


class Delivered(msgspec.Struct):
    """A document that needs no more sending; `result` is the label of the metric."""

    item: Item
    result: str
    letter: DeadLetter | None = None


class Round(msgspec.Struct):
    """What became of the items of one round."""

    delivered: list[Delivered] = msgspec.field(default_factory=list)
    waiting: list[tuple[Item, Verdict]] = msgspec.field(default_factory=list)
    reduced: list[Item] = msgspec.field(default_factory=list)
    apart: list[Item] = msgspec.field(default_factory=list)
    """As they were, but not all at once."""


def sort_out(answers: Iterable[tuple[Item, int, ItemError | None]], *, is_alone: bool) -> Round:
    """Return what becomes of each item that got this status and error; those to be sent again have their next form.

    `is_alone`: nothing else was in the request.
    """
    result = Round()
    for item, status, error in answers:
        verdict = judge_item(status, error)
        match verdict:
            case Verdict.CREATED | Verdict.DUPLICATE:
                result.delivered.append(_accepted(item, verdict))
            case Verdict.RETRY | Verdict.HOLD:
                result.waiting.append((item, verdict))
            case Verdict.IN_FAILURE_STORE:
                letter = dead_letter(item, reason=FAILURE_STORE, is_reduced=True)
                result.delivered.append(Delivered(item, "reduced", letter))
            case Verdict.APART if not is_alone:
                result.apart.append(item)
            case Verdict.SET_ASIDE | Verdict.APART:
                result.delivered.append(_set_aside(item, error or ItemError("", "")))
            case Verdict.REDUCE:
                refuse(result, item, error or ItemError(f"status_{status}", ""))
    return result


def refuse(result: Round, item: Item, error: ItemError) -> None:
    """Add an item that was refused for its content, or for its size alone: in its next form, or set aside."""
    if item.form.stage > Stage.WHOLE or error.type == TOO_LARGE:
        item.error_type = item.error_type or error.type
        item.server = item.server or error.reason[:SERVER_CHARS]
    form = next_form(item.form, line=item.line, error=error)
    if form is None:
        result.delivered.append(_set_aside(item, error))
    else:
        item.form = form
        result.reduced.append(item)


def alone(items: Iterable[Item], outcome: Outcome) -> Round:
    """Return what becomes of a document whose request was refused although it was the only one in it."""
    result = Round()
    for item in items:
        if outcome is Outcome.TOO_LARGE:
            refuse(result, item, ItemError(TOO_LARGE, ""))
        else:
            result.delivered.append(_set_aside(item, ItemError(MALFORMED, "")))
    return result


class Tally(NamedTuple):
    """How documents sent together were answered; `others` are the positions of those that were not simply taken."""

    created: int
    duplicates: int
    others: list[int]


def tally(results: Results, start: int, count: int) -> Tally:
    """Return how the `count` documents from position `start` were answered."""
    if not results.statuses:
        return Tally(count, 0, [])
    created = duplicates = 0
    others = []
    for position in range(start, start + count):
        match judge_item(results.statuses[position], results.errors.get(position)):
            case Verdict.CREATED:
                created += 1
            case Verdict.DUPLICATE:
                duplicates += 1
            case _:
                others.append(position)
    return Tally(created, duplicates, others)


def dead_letter(item: Item, *, reason: str, server: str = "", is_reduced: bool) -> DeadLetter:
    """Return the record that keeps an item's line."""
    return DeadLetter(
        id=item.id,
        index=item.index,
        source=item.source,
        file=item.file,
        offset=item.offset,
        reason=reason,
        line=item.line,
        server=server,
        reduced=is_reduced,
        timestamp=inherited_time(item.whole, item.line),
    )


def _accepted(item: Item, verdict: Verdict) -> Delivered:
    is_reduced = item.form.stage > Stage.ASKED
    letter = None
    if is_reduced:
        letter = dead_letter(item, reason=item.error_type, server=item.server, is_reduced=True)
    if verdict is Verdict.DUPLICATE:
        return Delivered(item, "duplicate", letter)
    return Delivered(item, "reduced" if is_reduced else "created", letter)


def _set_aside(item: Item, error: ItemError) -> Delivered:
    reason, server = item.error_type or error.type, item.server or error.reason[:SERVER_CHARS]
    return Delivered(item, "dead_letter", dead_letter(item, reason=reason, server=server, is_reduced=False))
