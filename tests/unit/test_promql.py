"""What the check of alerts sees in an expression."""

from __future__ import annotations

import pytest
from tools.promql import Use, groupings, made_labels, uses


def _use(metric: str, *labels: str) -> Use:
    return Use(metric, frozenset(labels))


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("up == 0", [_use("up")]),
        ('up{job="shipper"} == 0', [_use("up", "job")]),
        ('sum by (job) (rate(a_total{status=~"5..",x!="{"}[5m])) > 0.1', [_use("a_total", "status", "x")]),
        ("a:b:rate5m offset 1w / on (slo) group_left () c", [_use("a:b:rate5m"), _use("c")]),
        ("(a unless a offset 1h) and on (job) group by (job) (up offset 1h)", [_use("a"), _use("a"), _use("up")]),
        ('label_replace(a, "b", "$1", "c", "(.*)") > 2 * 1024', [_use("a")]),
        ("vector(0.001)", []),
    ],
)
def test_selectors_are_found(expression: str, expected: list[Use]) -> None:
    """Metrics with the labels of their selectors; no function, keyword, number, text or duration."""
    assert expected == list(uses(expression))


def test_labels_of_groupings_are_found() -> None:
    """All of `by`, `on` and the others; strings are left alone."""
    assert groupings('sum by (job, le) (a{x="by (y)"}) / on (job) group_left (z) b') == {"job", "le", "z"}


def test_labels_that_are_made_are_found() -> None:
    """The new label of `label_replace`."""
    assert made_labels('sum(label_replace(rate(a[5m]), "b", "$1", "c", ""))') == {"b"}
