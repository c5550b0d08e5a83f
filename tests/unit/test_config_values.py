"""Single values of the configuration: what each text means, and which texts are refused."""

from typing import Any

import pytest

from shipper.config import values
from shipper.config.values import BadValue

ENVIRON = {"HOST": "es", "EMPTY": "", "TRICK": "${HOST}: [x]", "B\u00e9": "x"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("${HOST}", "es"),
        ("https://${HOST}:${PORT:-9200}/", "https://es:9200/"),
        ("${MISSING:-}", ""),
        ("${EMPTY}", ""),
        ("${EMPTY:-default}", "default"),
        ("${HOST:-default}", "es"),
        ("$${HOST}", "${HOST}"),
        ("$$${HOST}", "$${HOST}"),
        ("$HOST costs 5$", "$HOST costs 5$"),
        ("${TRICK}", "${HOST}: [x]"),
        ("${MISSING:-a:-b}", "a:-b"),
        ("^\\d{3}$", "^\\d{3}$"),
    ],
)
def test_references_to_the_environment(text: str, expected: str) -> None:
    """References are replaced once, defaults stand in for what is unset or empty, `$${` is literal."""
    assert expected == values.substitute(text, ENVIRON)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${MISSING}", "environment variable MISSING is not set; set it or write ${MISSING:-default}"),
        ("${HOST", "`${` begins ${NAME}"),
        ("${}", "`${` begins ${NAME}"),
        ("${1A}", "`${` begins ${NAME}"),
        ("${B\u00e9}", "`${` begins ${NAME}"),
        ("${HOST:default}", "`${` begins ${NAME}"),
    ],
)
def test_references_that_cannot_be_replaced(text: str, message: str) -> None:
    """An unset variable without default and a malformed reference are errors, never an empty text."""
    with pytest.raises(BadValue) as caught:
        values.substitute(text, ENVIRON)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("read", "text", "expected"),
    [
        (values.boolean, "true", True),
        (values.boolean, "FALSE", False),
        (values.integer, "08", 8),
        (values.integer, "-3", -3),
        (values.number, "1e3", 1000.0),
        (values.number, ".5", 0.5),
        (values.size, "1024", 1024),
        (values.size, "10GB", 10_000_000_000),
        (values.size, "20 MB", 20_000_000),
        (values.size, "512KiB", 524_288),
        (values.size, "1.5mib", 1_572_864),
        (values.duration, "5", 5.0),
        (values.duration, "0.5", 0.5),
        (values.duration, "500ms", 0.5),
        (values.duration, "2m", 120.0),
        (values.duration, "1h", 3600.0),
        (values.listen, "", ""),
        (values.listen, "127.0.0.1:9640", "127.0.0.1:9640"),
        (values.listen, "localhost:0", "localhost:0"),
        (values.listen, ":9640", "0.0.0.0:9640"),
        (values.listen, "[::1]:9640", "[::1]:9640"),
        (values.fingerprint, "", ""),
        (values.fingerprint, "AB:" * 31 + "cd", "ab" * 31 + "cd"),
        (values.header_name, "X-Tenant", "X-Tenant"),
        (values.header_value, "Bearer a b", "Bearer a b"),
        (values.field_name, "@timestamp", "@timestamp"),
        (values.field_name, "user.id", "user.id"),
        (values.name, "slow request", "slow request"),
        (values.parse_listen, "[fe80::1%eth0]:80", ("fe80::1%eth0", 80)),
        (values.parse_listen, ":80", ("0.0.0.0", 80)),
    ],
)
def test_values_that_are_good(read: Any, text: str, expected: Any) -> None:
    """Each kind of value reads what its documentation promises."""
    assert expected == read(text)


@pytest.mark.parametrize(
    ("read", "texts"),
    [
        (values.boolean, ["yes", "on", "1", "", "tRue"]),
        (values.integer, ["", "1.0", "1_000", "0x10", "\u0663", "9" * 5000, "1e3"]),
        (values.number, ["", "nan", ".inf", "inf", "1e999", "1_0", "\u0663", "."]),
        (values.size, ["", "20m", "10 G", "-1", "1..5GB", "GB", "\u0663MB"]),
        (values.duration, ["", "-1", "5x", "1m30s", "5M", "ms"]),
        (
            values.listen,
            ["9640", "localhost", "::1:9640", "[::1]", "a:b", "a:65536", "a:-1", "[a]:1", "a b:1", "a/b:1"],
        ),
        (values.fingerprint, ["ab", "g" * 64, "a" * 63]),
        (values.header_name, ["", "a b", "a:b", "Host", "Content-Type", "x-opaque-id", "\u00e9"]),
        (values.header_value, ["a\r\nb", "\u00e9"]),
        (values.field_name, ["", ".", "a.", ".a", "a..b"]),
        (values.name, ["", " ", "a\nb", "\x1b[31m"]),
        (
            values.url,
            ["", "es:9200", "ftp://es:9200", "https://es", "https://:9200", "https://es:0", "https://es:70000"],
        ),
        (values.url, ["https://es:9200/?a=b", "https://es:9200/#a", "https://e s:9200", "https://u:a/b@es:9200"]),
        (values.url, ["https://[::1:9200", "https://es:9200\n", "https://es:port"]),
    ],
)
def test_values_that_are_refused(read: Any, texts: list[str]) -> None:
    """What is not of the kind raises BadValue, whose message does not repeat the text (it may be a secret)."""
    for text in texts:
        with pytest.raises(BadValue) as caught:
            read(text)
        assert len(text) < 4 or text not in str(caught.value), text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://es:9200", ("https://es:9200", "", "")),
        ("HTTPS://ES:9200/", ("https://es:9200", "", "")),
        ("http://u:p%40%2F@es:80/prefix/x/", ("http://es:80/prefix/x", "u", "p@/")),
        ("http://[::1]:9200", ("http://[::1]:9200", "", "")),
        ("https://u@es:9200", ("https://es:9200", "u", "")),
    ],
)
def test_urls_are_taken_apart(text: str, expected: tuple[str, str, str]) -> None:
    """The address has no credentials, no trailing slash, and its port; user and password are decoded."""
    assert expected == tuple(values.url(text))


@pytest.mark.parametrize(
    ("text", "is_plain", "expected"),
    [
        ("5", True, 5),
        ("5", False, "5"),
        ("1.10", True, 1.1),
        ("true", True, True),
        ("no", True, "no"),
        ("2024-01-15", True, "2024-01-15"),
        ("0x1f", True, "0x1f"),
        ("12:30", True, "12:30"),
        ("18446744073709551615", True, 18446744073709551615),
        (".inf", True, ".inf"),
    ],
)
def test_untyped_values(text: str, is_plain: bool, expected: Any) -> None:
    """Where any type is allowed only true, false and decimal numbers without quotes are other than text."""
    found = values.untyped(text, is_plain=is_plain)
    assert (expected, type(expected)) == (found, type(found))


@pytest.mark.parametrize("text", ["18446744073709551616", "-9223372036854775809", "9" * 30, "9" * 5000, "1e999"])
def test_untyped_numbers_that_no_document_can_hold(text: str) -> None:
    """A number beyond 64 bits is refused rather than rounded."""
    with pytest.raises(BadValue):
        values.untyped(text, is_plain=True)


@pytest.mark.parametrize("text", ["https://u:secret@es:9200", "https://u:sec/ret@es:9200", "x https://secret:a@b@c"])
def test_urls_are_shown_without_credentials(text: str) -> None:
    """Whatever stands between the slashes and the last @ is hidden, well-formed or not."""
    assert "sec" not in values.without_credentials(text)
