"""The expression language: what it accepts and refuses, and what each construct yields."""

from __future__ import annotations

import time
from typing import Any

import pytest

from shipper.batch import MISSING, Columns
from shipper.errors import ExpressionError
from shipper.expressions import FUNCTIONS, Kind, compile_predicate, compile_value, functions_with, label_text
from shipper.route import UNMATCHED, Router
from shipper.routepatterns import RoutePatterns


def _columns(**fields: Any) -> Columns:
    return Columns((name, [value]) for name, value in fields.items())


def _is_true(text: str, **fields: Any) -> bool:
    return list(compile_predicate(text)(_columns(**fields), 1)) == [0]


def _value(text: str, **fields: Any) -> Any:
    return compile_value(text)(_columns(**fields), 1)[0]


TRUTHS = [
    ("duration > 2000", {"duration": 2001}, True),
    ("duration > 2000", {"duration": 2000}, False),
    ("duration > 2000", {"duration": 2000.5}, True),
    ("duration > 200", {"duration": "250"}, True),
    ("duration > 200", {"duration": "abc"}, False),
    ("duration > 200", {"duration": True}, False),
    ("duration >= 1", {"duration": True}, False),
    ("duration > 200", {"duration": None}, False),
    ("duration > 200", {}, False),
    ("duration > 200", {"duration": [300]}, False),
    ("duration != 200", {}, False),
    ("duration != 200", {"duration": float("nan")}, False),
    ("duration != 200", {"duration": 201}, True),
    ("duration != 200", {"duration": "200"}, False),
    ("not duration > 200", {}, True),
    ("2000 < duration", {"duration": 2001}, True),
    ('level == "error"', {"level": "error"}, True),
    ('level == "error"', {"level": ["error"]}, False),
    ('level != "error"', {"level": "info"}, True),
    ('level != "error"', {"level": 5}, False),
    ('level != "error"', {}, False),
    ("level == 'error'", {"level": "error"}, True),
    ('a < "b"', {"a": "a"}, True),
    ('a < "b"', {"a": 1}, False),
    ('status == "200"', {"status": 200}, True),
    ('status == "200"', {"status": "200"}, True),
    ('status == "1"', {"status": True}, False),
    ('status > "99"', {"status": 200}, True),
    ('status > "99"', {"status": "200"}, False),
    ("a == b", {"a": 1, "b": "1"}, True),
    ("a == b", {"a": "1.0", "b": "1"}, False),
    ("a == b", {"a": True, "b": 1}, False),
    ("a == b", {"a": None, "b": None}, False),
    ("a == b", {"a": [1], "b": [1]}, False),
    ("cached == true", {"cached": True}, True),
    ("cached == true", {"cached": 1}, False),
    ("cached != true", {"cached": False}, True),
    ("cached != true", {"cached": "x"}, False),
    ("cached", {"cached": True}, True),
    ("cached", {"cached": 1}, False),
    ("cached", {"cached": "true"}, False),
    ("not cached", {}, True),
    ("a > 1 and b > 1 or c > 1", {"a": 2, "b": 0, "c": 2}, True),
    ("a > 1 and (b > 1 or c > 1)", {"a": 0, "b": 2, "c": 2}, False),
    ("status in [200, 204]", {"status": 204}, True),
    ("status in [200, 204]", {"status": "204"}, True),
    ("status in [0, 1]", {"status": True}, False),
    ("status in [200, 204]", {}, False),
    ('level in ["error", "fatal"]', {"level": "fatal"}, True),
    ('level in ["error", "fatal"]', {"level": ["fatal"]}, False),
    ('level in ["error", 3]', {"level": 3}, True),
    ('lower(level) in ["error"]', {"level": "ERROR"}, True),
    ('not (level in ["error"])', {}, True),
    ("status in [-1, true]", {"status": True}, True),
    ('url matches "^/api/"', {"url": "/api/x"}, True),
    ('url matches "^/api/"', {"url": "/x/api/"}, False),
    ('url matches "log$"', {"url": "a.log"}, True),
    ('url matches "^exact$"', {"url": "exact"}, True),
    (r'url matches "\d+/x"', {"url": "/17/x"}, True),
    (r'url matches "a|\.b"', {"url": "c.b"}, True),
    ('url matches "caf[é]"', {"url": "café"}, True),
    ('url matches "[a]b"', {"url": "\ud800ab"}, True),
    ('status matches "^5"', {"status": 503}, True),
    ('status matches "."', {"status": True}, False),
    ('status matches "."', {}, False),
    ('user.id == "x"', {"user.id": "x"}, True),
    ("`content-length` > 5", {"content-length": 6}, True),
    ("@timestamp == 5", {"@timestamp": 5}, True),
    ("exists(a)", {"a": 0}, True),
    ("exists(a)", {"a": None}, False),
    ("exists(a)", {}, False),
    ("exists(a / b)", {"a": 1, "b": 0}, False),
    ("duration / 1000 > 2", {"duration": "2001"}, True),
    ("1 / n > 0", {"n": 0}, False),
    ("n / 2 > 0", {"n": 10**400}, False),
    ("n + 0.5 > 0", {"n": 10**400}, False),
    ("n > 0.5", {"n": 10**400}, True),
    ("a - b - 1 == 1", {"a": 5, "b": 3}, True),
    ("-a == 5", {"a": -5}, True),
    ("2 + 3 * 4 == 14", {}, True),
    ("true", {}, True),
    ('startswith(url, "/api")', {"url": "/api/x"}, True),
    ('endswith(url, "x")', {"url": "/api/x"}, True),
    ('contains(url, "pi")', {"url": "/api/x"}, True),
    ('contains(roles, "admin")', {"roles": ["user", "admin"]}, True),
    ("contains(roles, 1)", {"roles": [True]}, False),
    ('contains(url, "pi")', {"url": 3}, False),
    ("length(url) > 3", {"url": "/api"}, True),
    ("length(url) > 3", {"url": 12345}, False),
    ('status_class(status) == "5xx"', {"status": "503"}, True),
    ('route(url) == "/a/:id"', {"url": "/a/1"}, True),
    ('coalesce(a, b) == "x"', {"a": None, "b": "x"}, True),
    ("coalesce(a, 5) > 4", {}, True),
]


@pytest.mark.parametrize(("text", "fields", "expected"), TRUTHS)
def test_a_condition_is_true_or_not(text: str, fields: dict[str, Any], expected: bool) -> None:
    """Missing, null and incomparable values make comparisons false, and never raise."""
    assert _is_true(text, **fields) is expected


VALUES = [
    ("duration", {"duration": 145}, 145),
    ("duration", {}, MISSING),
    ("duration / 1000", {"duration": 145}, 0.145),
    ("duration / 1000", {"duration": "145"}, 0.145),
    ("duration / 1000", {"duration": "x"}, MISSING),
    ("duration / 1000", {}, MISSING),
    ("a / b", {"a": 1, "b": 0}, MISSING),
    ("a * b", {"a": 10**400, "b": 0.5}, MISSING),
    ("a + b", {"a": 1, "b": True}, MISSING),
    ("lower(a)", {"a": "ABC"}, "abc"),
    ("upper(a)", {"a": "abc"}, "ABC"),
    ("lower(a)", {"a": 5}, MISSING),
    ("status_class(a)", {"a": 204}, "2xx"),
    ("status_class(a)", {"a": 99}, MISSING),
    ("status_class(a)", {"a": 600}, MISSING),
    ("route(url)", {"url": "/a/1"}, "/a/:id"),
    ("route(coalesce(path, url))", {"url": "/a/1"}, "/a/:id"),
    ("coalesce(a, b, 7)", {}, 7),
    ("coalesce(a / 0, 7)", {"a": 1}, 7),
    ("coalesce(1, 2) + 1", {}, 2),
    ("bucket(a, [10, 100.5])", {"a": 10}, "10"),
    ("bucket(a, [10, 100.5])", {"a": 11}, "100.5"),
    ("bucket(a, [10, 100.5])", {"a": 101}, "+Inf"),
    ("bucket(a, [10, 100.5])", {"a": "x"}, MISSING),
    ("length(a)", {"a": [1, 2]}, 2),
    ("length(a)", {"a": 1}, MISSING),
    ("seconds(a)", {"a": "13.2ms"}, 0.0132),
    ("seconds(a)", {"a": "1h2m3.5s"}, 3723.5),
    ("seconds(a)", {"a": "250µs"}, 0.00025),
    ("seconds(a)", {"a": "145 ms"}, 0.145),
    ("seconds(a)", {"a": "-.5s"}, -0.5),
    ("seconds(a) * 2", {"a": "1d"}, 172_800.0),
    ("seconds(a)", {"a": 7}, 7),
    ("seconds(a)", {"a": "7.5"}, 7.5),
    ("seconds(a)", {"a": "soon"}, MISSING),
    ("seconds(a)", {"a": "ms"}, MISSING),
    ("seconds(a)", {"a": "1ms2"}, MISSING),
    ("seconds(a)", {"a": "1" * 1_000_000 + "ms"}, MISSING),
    ("seconds(a)", {"a": True}, MISSING),
    ("seconds(a)", {}, MISSING),
    ("a > 1", {"a": 2}, True),
    ("a > 1", {}, False),
    ('"text"', {}, "text"),
    (r'"a\"b\n\\c\d"', {}, 'a"b\n\\c\\d'),
    ("1e3", {}, 1000.0),
]


@pytest.mark.parametrize(("text", "fields", "expected"), VALUES)
def test_an_expression_has_a_value(text: str, fields: dict[str, Any], expected: object) -> None:
    """What is undefined is missing; nothing raises."""
    found = _value(text, **fields)
    assert (found, type(found)) == (expected, type(expected))


REFUSALS = [
    ("", 1, "empty"),
    ("duration >", 11, "the expression ends"),
    ("duration = 5", 10, "=="),
    ("a && b", 3, "and"),
    ("a == null", 6, "exists"),
    ("routee(url) == 1", 1, "did you mean route?"),
    ("nonsense(url)", 1, "known are exists"),
    ("route(url, 1, 2) == 1", 1, "wrong number"),
    ("exists()", 1, "exists(field)"),
    ('a > "x" and 5 > "x"', 17, "'x' is none"),
    ("duration + 1", 1, "number; compare"),
    ("length(a)", 1, "number; compare"),
    ('"a"', 1, "string; compare"),
    ("(a > 1) + 1 > 0", 4, "true or false"),
    ("a and 5", 7, "a number"),
    ("(a > 1) == 1", 9, "compare neither"),
    ("a > true", 3, "no order"),
    ("1 < a < 3", 7, "do not chain"),
    ("a not in [1]", 3, "not (x in"),
    ("a in 5", 6, "list"),
    ("a in [b]", 7, "constant"),
    ("a in []", 6, "empty"),
    ("a matches b", 11, "quoted pattern"),
    ('a matches "("', 11, "RE2"),
    (r'a matches "(a)\1"', 11, "RE2"),
    ('a == "x', 6, "not closed"),
    ("a == `x", 6, "not closed"),
    ("a == 5xx", 6, "followed by letters"),
    ("a == 5 b", 8, "'b'"),
    ("(a == 5", 8, "expected )"),
    ("a ? b", 3, "unexpected character"),
    ("bucket(a, [2, 1]) == 1", 11, "ascending"),
    ("bucket(a, 1) == 1", 1, "bounds"),
    ("exists([1])", 8, "no list"),
    ("[1] == 1", 1, "list"),
    ("a == 1e999", 6, "too large"),
    ("(" * 40 + "a" + ")" * 40, 31, "nested"),
    ("a" + "+ 1" * 40 + " > 1", 0, "in a row"),
    ("a == 1 " + " " * 10_000, 1, "longer than"),
]


@pytest.mark.parametrize(("text", "column", "part"), REFUSALS)
def test_a_mistake_is_named_with_its_column(text: str, column: int, part: str) -> None:
    """Each message says what is wrong; the column is that of the mistake."""
    with pytest.raises(ExpressionError) as caught:
        compile_predicate(text)
    assert part in caught.value.message
    assert column in {0, caught.value.column}


def test_fields_are_the_columns_that_are_needed() -> None:
    """Fields of nested calls count; functions and constants do not."""
    predicate = compile_predicate('route(coalesce(path, req.url)) == "x" or not exists(`a b`)')
    assert predicate.fields == {"path", "req.url", "a b"}
    assert compile_value("duration / 1000").fields == {"duration"}
    assert compile_value("1").fields == frozenset()


def test_kinds_are_known_as_far_as_they_can_be() -> None:
    """A field may hold anything; the rest follows from the construct."""
    texts = {
        "a": Kind.ANY,
        "a + 1": Kind.NUMBER,
        "a > 1": Kind.BOOLEAN,
        "lower(a)": Kind.STRING,
        "coalesce(a, 1)": Kind.ANY,
        "coalesce(1, 2)": Kind.NUMBER,
    }
    assert {text: compile_value(text).kind for text in texts} == texts


def test_positions_ascend_and_all_of_them_are_a_range() -> None:
    """A batch gives positions; one where all lines match gives a range, which costs nothing to take."""
    predicate = compile_predicate("a > 1")
    assert list(predicate(Columns({"a": [1, 2, 3, 0, 5]}), 5)) == [1, 2, 4]
    assert predicate(Columns({"a": [2, 3]}), 2) == range(2)
    assert list(predicate(Columns(), 3)) == []
    assert predicate(Columns(), 0) == range(0)


def test_one_odd_line_does_not_change_the_others() -> None:
    """A division by zero on one line of a batch leaves the values of the others as they are."""
    columns = Columns([("a", [1, 1, 6]), ("b", [2, 0, "3"])])
    assert list(compile_value("a / b")(columns, 3)) == [0.5, MISSING, 2.0]


def test_a_bare_field_gives_its_column_itself() -> None:
    """No copy is made of a column that is only passed on."""
    column = ["GET", "PUT"]
    assert compile_value("method")(Columns({"method": column}), 2) is column


def test_spelling_does_not_change_the_canonical_text() -> None:
    """Rules that differ in spaces only are the same rule."""
    first, second = compile_value("a+`b c`   / 2"), compile_value("a + `b c`/2")
    assert first.canonical == second.canonical == "a + `b c` / 2"


LABELS = [
    (MISSING, ""),
    (None, ""),
    (True, "true"),
    (False, "false"),
    (200, "200"),
    (200.0, "200"),
    (0.5, "0.5"),
    (-0.0, "0"),
    (1e300, "1e+300"),
    (float("inf"), "Inf"),
    (float("nan"), "NaN"),
    ("text", "text"),
    ("café", "café"),
    ("a\0b", "a\ufffdb"),
    ("\ud800x", "\ufffdx"),
    ("\ud83d\ude00", "\U0001f600"),
    ([1, "a"], '[1,"a"]'),
    ({"a": None}, '{"a":null}'),
    (["\ud800"], "?"),
]


@pytest.mark.parametrize(("value", "expected"), LABELS)
def test_a_value_as_a_label(value: object, expected: str) -> None:
    """Every value has a text that can be encoded."""
    assert label_text(value) == expected
    label_text(value).encode()


def test_an_integer_too_long_for_decimal_is_a_label_in_hex() -> None:
    """Python refuses to print it in decimal; it must not end the daemon."""
    assert label_text(1 << 20_000) == "0x1" + "0" * 5_000


def test_every_function_is_documented_and_can_be_called() -> None:
    """The catalogue names each function as it is called, and its signature compiles."""
    for name, function in FUNCTIONS.items():
        assert function.name == name
        assert function.signature.startswith(f"{name}(")
        assert function.help.endswith(".")
        example = function.signature.replace("bound, ...", "1, 2").replace(", ...", "")
        compile_value(example)


def test_not_found_pages_that_no_pattern_fits_are_one_route() -> None:
    """Where routes are written down and the status is given; numbers and texts alike. The rest is as without it."""
    functions = functions_with(Router(patterns=RoutePatterns(["/api/patients/:id"])))
    columns = Columns(
        {
            "url": ["/api/patients/7", "/wp-login.php", "/wp-login.php", "/x/9", "/x/9", 5],
            "status": [404, 404, "404", 200, MISSING, 404],
        }
    )
    expected = ["/api/patients/:id", UNMATCHED, UNMATCHED, "/x/:id", "/x/:id", MISSING]
    assert list(compile_value("route(url, status)", functions=functions)(columns, 6)) == expected
    without = ["/api/patients/:id", "/wp-login.php", "/wp-login.php", "/x/:id", "/x/:id", MISSING]
    assert list(compile_value("route(url)", functions=functions)(columns, 6)) == without
    assert list(compile_value("route(url, status)")(columns, 6)) == without


def test_a_route_has_a_status_by_which_it_is_believed() -> None:
    """Wherever the call stands; spelled as the same expression elsewhere. Routes that are written down are believed."""
    value = compile_value('lower(route(coalesce(url, "a,b"),coalesce(status , `x,y`)))')
    assert value.status is not None
    assert value.status.canonical == compile_value("coalesce(status, `x,y`)").canonical
    assert not value.known
    assert not value.lacks_status
    assert compile_value("lower(url)").status is None
    written = functions_with(Router(patterns=RoutePatterns(["/a", "/b/{id}"])))
    value = compile_value("route(url, status)", functions=written)
    assert value.status is not None
    assert value.known == {"/a", "/b/:id"}


def test_a_route_without_a_status_can_be_given_one() -> None:
    """As if it had been written; what has one keeps its own, and what has no route needs none."""
    value = compile_value('coalesce(route(url), route(path, code), "(")')
    assert value.lacks_status
    given = compile_value(value.text, status="a + 1")
    assert given.canonical == compile_value('coalesce(route(url, a + 1), route(path, code), "(")').canonical
    assert not given.lacks_status
    assert not compile_value("lower(url)").lacks_status
    complete = functions_with(Router(patterns=RoutePatterns(["/a"]), is_complete=True))
    assert not compile_value("route(url)", functions=complete).needs_status
    assert compile_value("route(url)").needs_status


def test_matching_takes_linear_time() -> None:
    """A pattern that makes others go through every way of splitting a text finds this one at once."""
    predicate = compile_predicate('x matches "^(a+)+$"')
    started = time.process_time()
    assert list(predicate(Columns({"x": ["a" * 100_000 + "b"]}), 1)) == []
    assert time.process_time() - started < 60, "backtracking would need longer than the universe has existed"
