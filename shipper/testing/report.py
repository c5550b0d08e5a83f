"""What became of cases, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final

from shipper.escaping import printable
from shipper.testing.trial import Failure, Outcome

_MOST_CHARACTERS: Final = 2_000
_LINE_CHARACTERS: Final = 200


def as_data(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """For programs."""
    failed = sum(bool(outcome.failures) for outcome in outcomes)
    return {
        "passed": len(outcomes) - failed,
        "failed": failed,
        "cases": [
            {
                "file": outcome.case.file,
                "line": outcome.case.line,
                "name": outcome.case.settings.name,
                "passed": not outcome.failures,
                "failures": [
                    {
                        "line": failure.line,
                        "of_line": failure.of,
                        "what": failure.what,
                        "expected": failure.expected,
                        "got": failure.got,
                    }
                    for failure in outcome.failures
                ],
            }
            for outcome in outcomes
        ],
    }


def as_text(outcomes: Sequence[Outcome]) -> str:
    """For people: what failed, and how many did not."""
    lines: list[str] = []
    for outcome in outcomes:
        if outcome.failures:
            lines += [*_failed(outcome), ""]
    for file, group in groupby(outcomes, key=_file_of):
        found = list(group)
        failed = sum(bool(outcome.failures) for outcome in found)
        lines.append(f"{file}: {len(found) - failed} passed" + (f", {failed} failed" if failed else ""))
    return "\n".join(printable(line) for line in lines)


def _file_of(outcome: Outcome) -> str:
    return outcome.case.file


def _failed(outcome: Outcome) -> Iterator[str]:
    case = outcome.case
    yield f"FAILED {case.file}:{case.line}: {case.settings.name}"
    for of, group in groupby(outcome.failures, key=_line_of):
        failures = list(group)
        if of is not None:
            yield f"  line {of}: {_shortened(failures[0].text, _LINE_CHARACTERS)}"
        for failure in failures:
            yield f"  {case.file}:{failure.line}: {failure.what}"
            yield from _indented("      expected ", failure.expected)
            yield from _indented("      got      ", failure.got)


def _line_of(failure: Failure) -> int | None:
    return failure.of


def _indented(head: str, text: str) -> Iterator[str]:
    first, *others = text.split("\n")
    yield head + _shortened(first, _MOST_CHARACTERS)
    for other in others:
        yield " " * len(head) + _shortened(other, _MOST_CHARACTERS)


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
