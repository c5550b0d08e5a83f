"""Samples as they are written in a test (`http_requests_total{status="200"}`), found among those of an exposition.

As for Prometheus, a label that is empty is one that is not there, and the order of labels means nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from exporter.texts import number_text
from shipper.config.structs import nearest

ABSENT: Final = "absent"
"""Written for the value of a sample that there must not be."""
NOTHING: Final = "nothing"
MOST_SHOWN: Final = 10
_TOLERANCE: Final = 1e-9
_NAME: Final = re.compile(r"\s*([a-zA-Z_:][a-zA-Z0-9_:]*)\s*")
_PAIR: Final = re.compile(r'\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*=\s*"((?:[^"\\]|\\.)*)"\s*(,|$)')
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)


class Sample(msgspec.Struct, frozen=True):
    """A metric's name and its labels, without those that are empty."""

    name: str
    labels: Mapping[str, str]

    def is_part_of(self, other: Sample) -> bool:
        """Whether `other` has this name, and these labels among its own."""
        return self.name == other.name and self.labels.items() <= other.labels.items()


def parse_sample(text: str) -> Sample:
    """Raises ValueError, which says what is wrong."""
    match = _NAME.match(text)
    if match is None:
        raise ValueError("expected the name of a metric")
    rest = text[match.end() :]
    if not rest:
        return Sample(match[1], {})
    if not (rest.startswith("{") and rest.rstrip().endswith("}")):
        raise ValueError('expected labels in braces behind the name: {status="200"}')
    return Sample(match[1], {name: value for name, value in _labels(rest.rstrip()[1:-1]).items() if value})


def _labels(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    position = 0
    while text[position:].strip():
        match = _PAIR.match(text, position)
        if match is None:
            raise ValueError(f'expected NAME="VALUE" at {text[position:].strip()!r}')
        if match[1] in found:
            raise ValueError(f"the label {match[1]} is given twice")
        found[match[1]] = _ESCAPE.sub(lambda escape: "\n" if escape[1] == "n" else escape[1], match[2])
        position = match.end()
    return found


class Shown(msgspec.Struct, frozen=True):
    """One line of an exposition."""

    text: str
    sample: Sample
    value: float


def shown_samples(lines: Iterable[str]) -> list[Shown]:
    """The samples in lines of the text format, without comments, time or exemplar."""
    found = []
    for line in lines:
        text, _, value = line.rpartition(" ")
        found.append(Shown(text, parse_sample(text), float(value)))
    return found


def contradiction(
    text: str, wanted: float | str, shown: Sequence[Shown], *, known: Mapping[str, Sequence[str]]
) -> tuple[str, str] | None:
    """What was expected of a sample and what is there, if they differ. `known`: label names by sample name.

    A metric or label that no rule makes differs always: a misspelled one would be `absent` for ever.
    """
    sample = parse_sample(text)
    expected = ABSENT if isinstance(wanted, str) else number_text(wanted)
    mistake = _mistake(sample, known)
    if mistake:
        return expected, mistake
    if isinstance(wanted, str):
        there = [one for one in shown if sample.is_part_of(one.sample)]
        return (expected, _listed(there)) if there else None
    found = next((one for one in shown if one.sample == sample), None)
    if found is None:
        others = [one for one in shown if one.sample.name == sample.name]
        return expected, f"{NOTHING}; there is {_listed(others)}" if others else f"{NOTHING} of that name"
    if _are_equal(found.value, wanted):
        return None
    return expected, number_text(found.value)


def _mistake(sample: Sample, known: Mapping[str, Sequence[str]]) -> str:
    if sample.name not in known:
        near = nearest(sample.name, list(known))
        return f"no rule makes {sample.name}" + (f"; did you mean {near}?" if near else "")
    unknown = sorted(set(sample.labels).difference(known[sample.name]))
    if not unknown:
        return ""
    return f"{sample.name} has no label {', '.join(unknown)}; it has {', '.join(known[sample.name]) or 'none'}"


def _are_equal(found: float, wanted: float) -> bool:
    """Sums of fractions differ in their last digits."""
    return abs(found - wanted) <= _TOLERANCE * max(abs(found), abs(wanted))


def _listed(shown: Sequence[Shown]) -> str:
    texts = [f"{one.text} {number_text(one.value)}" for one in shown[:MOST_SHOWN]]
    more = len(shown) - len(texts)
    return "\n".join(texts + ([f"and {more} more"] if more else []))
