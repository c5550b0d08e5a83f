"""Routes of URLs: which segments are names, and that columns give what single URLs give, in bounded memory."""

from __future__ import annotations

import random
import string
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper import route as module
from shipper.batch import MISSING
from shipper.route import route, routes

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
    forms = module._forms
    assert len(forms._plain) + len(forms._other) <= module.MAX_FORMS
    assert len(forms._once) <= module.MAX_FORMS
    assert len(forms._names) <= module.MAX_FORMS


def test_names_with_digits_are_shorter_than_long_ids() -> None:
    """The fast way takes segments of eight characters with a digit for ids, which must not be names."""
    assert max(map(len, module._NAMES_WITH_DIGITS)) < 8
