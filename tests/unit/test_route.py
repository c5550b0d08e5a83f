"""Routes of URLs: which segments are names, and that columns give what single URLs give, in bounded memory."""

from __future__ import annotations

import random
import string
import time
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper import route as module
from shipper.batch import MISSING
from shipper.route import UNMATCHED, Router
from shipper.routepatterns import RoutePatterns

_router = Router()
route, routes = _router.route, _router.routes

CASES = [
    ("/", "/"),
    ("", "/"),
    ("/api/patients", "/api/patients"),
    ("/api/patients/", "/api/patients"),
    ("//api//patients", "/api/patients"),
    ("/api/patients/17", "/api/patients/:id"),
    ("/api/patients/17?full=1#top", "/api/patients/:id"),
    ("/api/patients#17", "/api/patients"),
    ("/api/patients/17/records/99", "/api/patients/:id/records/:id"),
    ("/v1/patients/17", "/v1/patients/:id"),
    ("/api/v2.1/x", "/api/v2.1/x"),
    ("/api/v1beta1/x", "/api/v1beta1/x"),
    ("/api/v1/x/v2/y", "/api/v1/x/v2/y"),
    ("/api/user-123", "/api/:id"),
    ("/api/req-abc123", "/api/:id"),
    ("/api/days/2024-01-15", "/api/days/:id"),
    ("/api/patients/3f2504e0-4f89-41d3-9a0c-0305e82c3301", "/api/patients/:id"),
    ("/api/patients/3F2504E0-4F89-41D3-9A0C-0305E82C3301/notes", "/api/patients/:id/notes"),
    ("/api/patients/aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "/api/patients/:id"),
    ("/api/patients/507f1f77bcf86cd799439011", "/api/patients/:id"),
    ("/files/deadbeef", "/files/:id"),
    ("/files/dGhpcyBpcyBhIHRlc3Q=", "/files/:id"),
    ("/files/QmFzZVNpeHR5Rm91clh", "/files/:id"),
    ("/oauth2/token", "/oauth2/token"),
    ("/oauth3/token", "/:id/token"),
    ("/fhir/R4/Patient/17", "/fhir/R4/Patient/:id"),
    ("/fhir/Patient/17/$everything", "/fhir/Patient/:id/$everything"),
    ("/getUserByIdAndDate", "/getUserByIdAndDate"),
    ("/auth/forgot-password", "/auth/forgot-password"),
    ("/blog/how-to-write-a-good-log-line", "/blog/:id"),
    ("/users/jane@example.com", "/users/:id"),
    ("/search/John%20Smith", "/search/:id"),
    ("/api/p%61tients/1%37", "/api/patients/:id"),
    ("/cart;jsessionid=AF12/items", "/cart/items"),
    ("https://api.example.org:8443/api/patients/17?x=1", "/api/patients/:id"),
    ("https://api.example.org", "/"),
    ("api/patients/17", "/api/patients/:id"),
    ("/caf\u00e9", "/:id"),
    ("/a\nb", "/:id"),
    ("/" + "/".join("abcdefghijkl"), "/a/b/c/d/e/f/g/h/i/j/*"),
    ("/" + "x" * 1_000_000, "/:id"),
    ("/api?" + "x" * 1_000_000, "/api"),
]


@pytest.mark.parametrize(("url", "expected"), CASES)
def test_a_url_has_this_route(url: str, expected: str) -> None:
    """Identifiers become :id, names stay, and query, fragment, origin and parameters are cut."""
    assert route(url) == expected


@pytest.mark.parametrize("value", [None, MISSING, 17, 1.5, True, ["/a"], {"a": 1}])
def test_what_is_no_text_has_no_route(value: object) -> None:
    """A value that is not text has a missing route, alone and in a column."""
    assert route(value) is MISSING
    assert routes(["/a/1", value, "/b"]) == ["/a/:id", MISSING, "/b"]


def test_a_column_gives_what_single_urls_give() -> None:
    """All the cases in one column, several times over, so that remembered forms are used too."""
    urls = [url for url, _ in CASES]
    for _ in range(4):
        assert routes(urls) == [expected for _, expected in CASES]


def test_an_empty_column_has_no_routes() -> None:
    """No lines, no routes."""
    assert routes([]) == []


_segments = st.one_of(
    st.sampled_from(["api", "patients", "v1", "V2.1", "oauth2", "oauth1", "s3", "", "i18n", "%41", "a;b=1", "x@y"]),
    st.integers(0, 10**12).map(str),
    st.uuids().map(str),
    st.text("abcdef0123456789", min_size=6, max_size=26),
    st.text("abvV012-._%;:?#é\n", max_size=12),
    st.sampled_from(["v1", "v2", "v9", "v0", "v12", "v\x01", "\x02"]),
)
_urls = st.builds(
    lambda start, segments: start + "/".join(segments),
    st.sampled_from(["/", "", "//", "https://h0st.example:81/", "x://"]),
    st.lists(_segments, max_size=12),
)


@given(st.lists(st.lists(st.one_of(_urls, st.just(MISSING), st.none(), st.integers())), max_size=4))
def test_columns_and_single_urls_agree(columns: list[list[object]]) -> None:
    """The fast way gives for every column, whatever came before it, what the slow way gives."""
    for column in columns * 3:
        assert routes(column) == [route(url) for url in column]


def test_identifiers_of_any_kind_make_no_variety() -> None:
    """Thousands of numbers, UUIDs and hashes below one path are one route."""
    source = random.Random(7)
    kinds = [
        lambda: str(source.randrange(10**9)),
        lambda: str(uuid.UUID(int=source.getrandbits(128))),
        lambda: f"{source.getrandbits(96):024x}",
        lambda: f"user-{source.randrange(10**6)}",
    ]
    urls = [f"/api/things/{source.choice(kinds)()}" for _ in range(5_000)]
    assert set(routes(urls)) == {"/api/things/:id"}


def test_memory_is_bounded_whatever_urls_come() -> None:
    """Random paths fill no cache beyond its limit."""
    source = random.Random(8)
    for _ in range(200):
        routes(["/" + "".join(source.choices(string.ascii_lowercase + "/", k=30)) for _ in range(100)] * 2)
    forms = _router
    assert len(forms._plain) + len(forms._other) <= module.MAX_FORMS
    assert len(forms._once) <= module.MAX_FORMS
    assert len(forms._names) <= module.MAX_FORMS


def test_a_control_character_is_not_taken_for_the_version_that_it_stands_for() -> None:
    """In forms digits of known versions are written as control characters, which a URL may hold as well."""
    router = Router()
    urls = ["/api/v1/x", "/api/v\x01/x", "/api/v2/x"]
    for url in urls * 4:
        assert router.routes([url] * 3) == [router.route(url)] * 3


def test_queries_of_few_forms_are_remembered_with_their_paths() -> None:
    """Then nothing needs to be cut; those of many forms leave no trace."""
    router = Router()
    for page in range(6):
        assert router.routes([f"/api/x/{page}?page={page}&size=2{page}", "/y#z"]) == ["/api/x/:id", "/y"]
    assert router._plain["/api/x/0?page=0&size=00"] == "/api/x/:id"
    source = random.Random(9)
    for _ in range(100):
        router.routes(["/y?q=" + "".join(source.choices(string.ascii_lowercase, k=9)) for _ in range(9)])
    assert len(router._plain) < 9


def test_names_with_digits_are_shorter_than_long_ids() -> None:
    """The fast way takes segments of eight characters with a digit for ids, which must not be names."""
    assert max(map(len, module._NAMES_WITH_DIGITS)) < 8


# Written down ---------------------------------------------------------------------------------------------------------

PATTERNS = [
    "/api/patients/:id",
    "/api/patients/search",
    "/api/patients/{patientId}/vitals/",
    "/api/v1/wards",
    "/api/v2/wards",
    "/api/reports/{name}.pdf",
    "/api/:kind/list",
    "/export-2024/:month",
    "/static/*",
    "/blog/:slug",
    "/caf%C3%A9/:table",
    "/",
]


@pytest.mark.parametrize(
    ("pattern", "segment", "fits"),
    [
        ("{a}.json", "7.json", True), ("{a}.json", ".json", False), ("{a}.json", "7.json.json", True),
        ("v{a}-{b}", "v1-2", True), ("v{a}-{b}", "v-1-2", True), ("v{a}-{b}", "v-1", False),
        ("v{a}-{b}", "v1-", False), ("{a}-{b}-{c}", "---", False), ("{a}-{b}-{c}", "-----", True),
        ("{a}aa{b}", "aaaa", True), ("{a}aa{b}", "aaa", False), ("x{a}x", "xx", False), ("x{a}x", "x\nx", True),
    ],
)  # fmt: skip
def test_parameters_within_a_segment(pattern: str, segment: str, fits: bool) -> None:
    """A parameter stands for one character or more."""
    assert fits == (RoutePatterns([f"/{pattern}"]).match([segment]) is not None)


def test_no_segment_takes_long_to_match() -> None:
    """Whatever a caller writes into a URL, for a pattern with many parameters."""
    patterns = RoutePatterns(["/x/{a}-{b}-{c}-{d}-{e}.json"])
    started = time.process_time()
    assert patterns.match(["x", "-" * 100]) is None
    assert time.process_time() - started < 0.5


WRITTEN = Router(patterns=RoutePatterns(PATTERNS))
WRITTEN_CASES = [
    ("/api/patients/17", "/api/patients/:id"),
    ("/api/patients/jane@example.com?x=1", "/api/patients/:id"),
    ("/api/patients/search", "/api/patients/search"),
    ("/api/patients/search/", "/api/patients/search"),
    ("/api/patients/17/vitals", "/api/patients/:patientId/vitals"),
    ("/api/patients/17/vitals/9", "/api/patients/:id/vitals/:id"),
    ("/api/patients", "/api/patients"),
    ("/api/patients/list", "/api/patients/:id"),
    ("/api/wards/list", "/api/:kind/list"),
    ("/api/v1/wards", "/api/v1/wards"),
    ("/api/v2/wards", "/api/v2/wards"),
    ("/api/v3/wards", "/api/v3/wards"),
    ("/api/reports/2024-01-15.pdf", "/api/reports/:name.pdf"),
    ("/api/reports/2024-01-15.csv", "/api/reports/:id"),
    ("/api/reports/.pdf", "/api/reports/.pdf"),
    ("/export-2024/07", "/export-2024/:month"),
    ("/export-2025/07", "/:id/:id"),
    ("/static/js/app.3f2504e0.js", "/static/*"),
    ("/static", "/static"),
    ("/blog/how-to-write-a-good-log-line", "/blog/:slug"),
    ("/bl%6Fg/x", "/blog/:slug"),
    ("/caf%c3%a9/7", "/caf\u00e9/:table"),
    ("/blog/a;b=c", "/blog/:slug"),
    ("https://h.example/blog/x#y", "/blog/:slug"),
    ("/", "/"),
    ("/wp-login.php", "/wp-login.php"),
    ("/" + "/".join("abcdefghijkl"), "/a/b/c/d/e/f/g/h/i/j/*"),
    ("/static/" + "/".join("abcdefghijkl"), "/static/*"),
]


@pytest.mark.parametrize(("url", "expected"), WRITTEN_CASES)
def test_a_url_has_the_route_that_is_written_down(url: str, expected: str) -> None:
    """Texts before parameters, whatever the order; what no pattern fits is as it would be without."""
    assert WRITTEN.route(url) == expected


def test_a_column_has_the_routes_that_are_written_down() -> None:
    """Also when the forms of URLs are remembered."""
    urls = [url for url, _ in WRITTEN_CASES]
    for _ in range(4):
        assert WRITTEN.routes(urls) == [expected for _, expected in WRITTEN_CASES]


_WORDS = """
api patients search 17 v1 v2 v9 wards reports a.pdf 12345678.pdf 7.pdf export-2024 export-2025 static blog list 00
3f2504e0-4f89-41d3-9a0c-0305e82c3301 caf%C3%A9 xkcdqwrtzplm
"""
_written_segments = st.sampled_from(_WORDS.split())
_written_urls = st.builds(
    lambda segments, end: "/" + "/".join(segments) + end,
    st.lists(_written_segments, max_size=12),
    st.sampled_from(["", "/", "?a=1", "#b", ";c"]),
)


@pytest.mark.parametrize(
    "patterns",
    [PATTERNS, ["/api/patients/:id", "/blog/:slug"], ["/x{n}/v1"], ["/a{n}7/b", "/:a/:b"], ["/0", "/00000000"]],
)
@pytest.mark.parametrize("is_complete", [False, True])
@settings(max_examples=25)
@given(columns=st.lists(st.lists(st.one_of(_written_urls, _urls)), max_size=4))
def test_columns_and_single_urls_agree_on_what_is_written_down(
    patterns: list[str], is_complete: bool, columns: list[list[str]]
) -> None:
    """The fast way gives what the slow way gives, for each set of patterns."""
    router = Router(patterns=RoutePatterns(patterns), is_complete=is_complete)
    for column in columns * 3:
        assert router.routes(column) == [router.route(url) for url in column]


def test_urls_outside_a_complete_list_are_one_value() -> None:
    """Where the list is complete, what no pattern fits is noise."""
    router = Router(patterns=RoutePatterns(["/api/patients/:id"]), is_complete=True)
    assert router.routes(["/api/patients/7", "/wp-login.php", "/", 5]) == [
        "/api/patients/:id",
        UNMATCHED,
        UNMATCHED,
        MISSING,
    ]


@pytest.mark.parametrize(
    ("pattern", "part"),
    [
        ("api/patients", "begins with /"),
        ("", "begins with /"),
        ("/a/*/b", "only at the end"),
        ("/a/b*", "'b*' is neither a text nor a parameter"),
        ("/a/{b", "'{b' is neither"),
        ("/a/{b}{c}", "is neither"),
        ("/a/:", "':' is neither"),
        ("/a/:id(\\d+)", "is neither"),
        ("/a?b=1", "is neither"),
        ("/" + "a/" * 11, "at most 10 segments"),
    ],
)
def test_a_pattern_that_is_none_is_refused(pattern: str, part: str) -> None:
    """With what is wrong with it."""
    with pytest.raises(ValueError, match=part.replace("*", "\\*").replace("{", "\\{")):
        RoutePatterns([pattern])
