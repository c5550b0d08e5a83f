"""The status of a rule's lines, where its routes are not told it."""

from __future__ import annotations

import pytest
from counted import Bench

from exporter.rules import parse_rules
from exporter.statuses import status_advice
from shipper.expressions import FUNCTIONS, UNMATCHED, functions_with
from shipper.expressions.syntax import MAX_CHARACTERS
from shipper.route import Router
from shipper.routepatterns import RoutePatterns

COUNTER = "name: a_total, type: counter"


@pytest.mark.parametrize(
    ("keys", "status"),
    [
        ("labels: {path: route(url), status: statusCode}", "statusCode"),
        ("labels: {code: res.status_code, path: route(req.url)}", "res.status_code"),
        ("labels: {path: route(url), class: status_class(code)}", "code"),
        ('labels: {path: route(url), status: "coalesce(a, b)"}', "coalesce ( a , b )"),
        ('labels: {path: route(url), x: "coalesce(status, `http-status`)"}', "coalesce ( status , `http-status` )"),
        ("when: DownstreamStatus < 500, labels: {path: route(RequestPath)}", "DownstreamStatus"),
        ("when: exists(`the response_code`), labels: {path: lower(route(url))}", "`the response_code`"),
        ('labels: {path: "route(url, code)", status: statusCode}', "code"),
        ("labels: {path: route(url), status: lower(outcome)}", ""),
        ("labels: {path: route(url), user: userId}", ""),
        ("when: status < 500 and statusCode < 500, labels: {path: route(url)}", ""),
        ("labels: {status: route(url)}", ""),
    ],
)
def test_a_route_is_told_the_status_that_its_rule_names(keys: str, status: str) -> None:
    """By the names of labels and fields; the one that is written goes first, and of two in `when` it is neither."""
    (rule,) = parse_rules(f"rules:\n  - {{{COUNTER}, {keys}}}\n", file="r.yml")
    (value,) = [value for _, value in rule.labels if "route" in value.text]
    assert status == ("" if value.status is None else value.status.canonical)
    assert value.lacks_status == (not status)
    assert bool(status_advice([rule])) == (not status)


def test_a_rule_means_the_same_however_it_knows_the_status() -> None:
    """So that a reload to the longer spelling resets no counter."""
    text = "rules:\n  - {%s, labels: {path: %s, status: statusCode}}\n"
    short, long = (
        parse_rules(text % (COUNTER, path), file="r.yml") for path in ("route(url)", '"route(url,statusCode)"')
    )
    assert [rule.meaning for rule in short] == [rule.meaning for rule in long]


def test_an_expression_that_has_no_room_for_the_status_stays_as_it_is() -> None:
    """It is right as it was written, and refused by nobody."""
    path = f"\"route(coalesce(url, '{'x' * (MAX_CHARACTERS - 30)}'))\""
    (rule,) = parse_rules(f"rules:\n  - {{{COUNTER}, labels: {{path: {path}, status: statusCode}}}}\n", file="r.yml")
    assert rule.labels[0][1].lacks_status
    (advice,) = status_advice([rule])
    assert len(advice) < 1_000


def test_what_is_written_down_changes_no_meaning() -> None:
    """So that a reload with routes, or with `routes_only`, resets no counter; with it no status is needed."""
    text = f"rules:\n  - {{{COUNTER}, labels: {{path: route(url), status: statusCode}}}}\n"
    patterns = RoutePatterns(["/a"])
    written, complete = (functions_with(Router(patterns=patterns, is_complete=is_one)) for is_one in (False, True))
    rules = [parse_rules(text, file="r.yml", functions=functions)[0] for functions in (FUNCTIONS, written, complete)]
    assert len({rule.meaning for rule in rules}) == 1
    told_none = f"rules:\n  - {{{COUNTER}, labels: {{path: route(url)}}}}\n"
    assert status_advice(parse_rules(told_none, file="r.yml", functions=complete)) == []
    assert len(status_advice(parse_rules(told_none, file="r.yml", functions=written))) == 1


def test_scanners_are_kept_off_where_the_rule_has_the_status() -> None:
    """A tenth of the label's values may be theirs, as with the status written into the call."""
    bench = Bench(f"  - {{{COUNTER}, labels: {{path: route(url), status: statusCode}}, max_values: 20}}\n")
    bench.observe(url=["/a", "/b", "/c", "/d"], statusCode=[404, 403, 404, 200])
    bench.commit()
    assert {labels[1:] for labels in bench.see()} == {("/a", "404"), ("/b", "403"), (UNMATCHED, "404"), ("/d", "200")}


def test_what_is_told_no_status_is_told_apart() -> None:
    """With what to write: the status of another rule about the same field, or that there must be one."""
    text = (
        f"rules:\n  - {{{COUNTER}, labels: {{path: route(url), status: code}}}}\n"
        "  - {name: b_total, type: counter, labels: {path: route(url)}}\n"
        "  - {name: c_total, type: counter, labels: {page: route(page)}}\n"
    )
    same, other = status_advice(parse_rules(text, file="r.yml"))
    assert same.startswith("r.yml:3: rule b_total: the label path, route(url), is told no HTTP status")
    assert same.endswith("write route(url, code)")
    assert other.startswith("r.yml:4: rule c_total: the label page")
    assert other.endswith("write route(page, STATUS), where STATUS is the field that has it")


@pytest.mark.parametrize("status", [401, 404])
def test_routes_that_are_written_down_are_believed_whatever_the_status(status: int) -> None:
    """Beside them a scanner has the same tenth: also where it is answered with 401."""
    written = functions_with(Router(patterns=RoutePatterns([f"/api/{number}x" for number in range(8)])))
    bench = Bench(f'  - {{{COUNTER}, labels: {{path: "route(url, code)"}}, max_values: 20}}\n', functions=written)
    bench.observe(url=[f"/{letter}" for letter in "abcdef"], code=[status] * 6)
    bench.observe(url=[f"/api/{number}x" for number in range(8)], code=[status] * 8)
    bench.commit()
    seen = {labels[1]: value for labels, value in bench.see().items()}
    assert {path for path in seen if path.startswith("/api/")} == {f"/api/{number}x" for number in range(8)}
    assert seen[UNMATCHED] == (6 if status == 404 else 4)
    bench.restart()
    bench.observe(url=["/g", "/api/7x"], code=[401, 401])
    bench.commit()
    seen = {labels[1]: value for labels, value in bench.see().items()}
    assert seen["/api/7x"] == 2
    assert ("/g" in seen) == (status == 404)
