"""What redaction finds and what it masks wrongly, over corpora made of a seed; `make bench-redaction` shows the table.

CI gives each run a seed of its own (REDACTION_SEED), which a failure names.
"""

import os

import pytest

from security.corpus import Sample, leaks, samples
from security.lookalikes import clean_lines
from shipper.redact.rules import Rules
from shipper.redact.stage import Redactor
from shipper.settings import Pack, RedactSettings

SEED = int(os.environ.get("REDACTION_SEED", "1"))
ALL = Redactor(settings=RedactSettings(packs=tuple(Pack)))
DEFAULT = Redactor(settings=RedactSettings())


@pytest.fixture(scope="module")
def corpus() -> list[Sample]:
    return list(samples(SEED, 150))


def test_recall(corpus: list[Sample]) -> None:
    """Of the identifiers and secrets of each kind at most one in 200 is left, in all at most one in 200."""
    by_pattern: dict[str, list[Sample]] = {}
    for sample in corpus:
        by_pattern.setdefault(sample.pattern, []).append(sample)
    missed = {
        pattern: [sample.line for sample in found if leaks(sample, ALL.redact_line(sample.line))]
        for pattern, found in by_pattern.items()
    }
    shares = {pattern: len(missed[pattern]) / len(found) for pattern, found in by_pattern.items()}
    assert {} == {pattern: missed[pattern][:3] for pattern, share in shares.items() if share > 0.02}, f"seed {SEED}"
    assert sum(map(len, missed.values())) <= len(corpus) * 0.005, f"seed {SEED}: {missed}"


def test_false_masking() -> None:
    """Of the clean lines at most one in a thousand is changed, with every pack on."""
    lines = [clean.line for clean in clean_lines(SEED, 60)]  # so many that chance does not decide
    changed = [line for line in lines if ALL.redact_line(line) != line]
    assert len(changed) <= len(lines) * 0.001, f"seed {SEED}: {changed[:5]}"


def test_the_default_leaks_no_credential(corpus: list[Sample]) -> None:
    """Without any configuration, no line of the corpus keeps a credential."""
    credentials = [sample for sample in corpus if sample.pack is Pack.CREDENTIALS]
    assert [] == [one.line for one in credentials if leaks(one, DEFAULT.redact_line(one.line))], f"seed {SEED}"


def test_the_prefilter_finds_every_line_of_the_corpus(corpus: list[Sample]) -> None:
    """Whole batches are searched as they are written; each line with something in it is among the suspects."""
    rules = Rules(RedactSettings(packs=tuple(Pack)), key=b"")
    lines = [sample.line for sample in corpus]
    starts = [0]
    for line in lines[:-1]:
        starts.append(starts[-1] + len(line) + 1)
    suspects = set(rules.suspects(b"\n".join(lines), starts))
    changed = {i for i, line in enumerate(lines) if rules.redact_line(line, []) != line}
    assert set() == changed - suspects
    assert len(changed) > 0.99 * len(lines)


def test_clean_lines_are_mostly_no_suspects() -> None:
    """The prefilter passes what only looks alike, so that it costs no second look."""
    rules = Rules(RedactSettings(), key=b"")
    lines = [clean.line for clean in clean_lines(SEED, 5) if clean.pattern == "usual lines"]
    assert all(rules.is_clean(line) for line in lines)
