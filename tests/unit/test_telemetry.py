"""The daemon's own metrics about rules: born as 0, and gone with their rules."""

from prometheus_client import CollectorRegistry

from shipper.telemetry import RULE_ERRORS, RuleCounts, Telemetry


def test_what_rules_may_report_begins_at_0_and_ends_with_them() -> None:
    """Errors and overflow are there before the first, so that their first increase is seen; the series of a rule that
    is gone are no longer told."""
    registry = CollectorRegistry()
    counts = RuleCounts(Telemetry(registry=registry))
    counts.begin({"a_total": ("x", "y"), "b": ()})
    counts.series("a_total", 5)
    counts.rule_error("b", "missing", 2)
    found = {(reason, registry.get_sample_value("shipper_rule_errors_total", {"rule": "a_total", "reason": reason}))
             for reason in RULE_ERRORS}  # fmt: skip
    assert found == {(reason, 0) for reason in RULE_ERRORS}
    overflow = {"rule": "a_total", "label": "y"}
    assert registry.get_sample_value("shipper_label_overflow_total", overflow) == 0
    counts.begin({"b": ()})
    assert registry.get_sample_value("shipper_series", {"rule": "a_total"}) is None
    assert registry.get_sample_value("shipper_rule_errors_total", {"rule": "b", "reason": "missing"}) == 2
