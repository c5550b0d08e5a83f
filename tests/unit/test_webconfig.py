"""The web config file: what is read of it, what is refused and where, and that promtool thinks alike."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
import trustme
from harness.prometheus import promtool

from exporter.guard import read_web_config
from exporter.tls import alternative_names, is_allowed
from exporter.users import Login, login_of
from exporter.webconfig import RateLimit, TlsSettings, parse_web_config
from shipper.errors import ConfigError

HASH = "$2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi"
HERE = Path("/etc/shipper")


def problems_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_web_config(text.encode(), file="web.yml", directory=HERE)
    return caught.value.problems


def test_everything_that_a_file_can_say() -> None:
    """Paths start from the file; what is left out has exporter-toolkit's defaults."""
    text = f"""\
tls_server_config:
  cert_file: web.crt
  key_file: /keys/web.key
  client_ca_file: ca.pem
  client_auth_type: RequireAndVerifyClientCert
  client_allowed_sans: [prometheus.example.org, 10.0.0.1]
  min_version: TLS13
  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]
  prefer_server_cipher_suites: false
  curve_preferences: [CurveP384]
http_server_config:
  http2: false
  headers:
    X-Frame-Options: deny
    Strict-Transport-Security: ""
basic_auth_users:
  prometheus: {HASH}
rate_limit: {{interval: 500ms, burst: 20}}
"""
    config = parse_web_config(text.encode(), file="web.yml", directory=HERE)

    assert config.tls == TlsSettings(
        cert_file="/etc/shipper/web.crt",
        key_file="/keys/web.key",
        client_ca_file="/etc/shipper/ca.pem",
        client_auth_type="RequireAndVerifyClientCert",
        client_allowed_sans=("prometheus.example.org", "10.0.0.1"),
        min_version="TLS13",
        cipher_suites=("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",),
        prefer_server_cipher_suites=False,
        curve_preferences=("CurveP384",),
    )
    assert config.headers == {"X-Frame-Options": "deny"}
    assert config.users == {"prometheus": HASH}
    assert config.rate_limit == RateLimit(seconds=0.5, burst=20)
    assert config.warnings == ()


TLS = "tls_server_config:\n  cert_file: a\n  key_file: b\n"

MISTAKES = [
    ("tls_server_confg: {}\n", ["1: tls_server_confg: unknown key; do you mean tls_server_config?"]),
    (TLS + "  cert_fil: x\n", ["4: tls_server_config.cert_fil: unknown key; do you mean cert_file?"]),
    (
        "tls_server_config:\n  client_auth_type: Sometimes\n",
        [
            "1: tls_server_config: needs cert_file (or cert)",
            "1: tls_server_config: needs key_file (or key)",
            "2: tls_server_config.client_auth_type: unknown; there are NoClientCert, RequestClientCert",
        ],
    ),
    (TLS + "  cert: x\n", ["2: tls_server_config.cert_file: give either cert or cert_file"]),
    (TLS + "  client_auth_type: RequireAndVerifyClientCert\n", ["4: tls_server_config.client_auth_type: Require"]),
    (TLS + "  client_ca_file: c\n", ["4: tls_server_config: client_ca_file needs client_auth_type"]),
    (TLS + "  client_allowed_sans: [a]\n", ["4: tls_server_config.client_allowed_sans: needs client_auth_type"]),
    (TLS + "  client_auth_type: RequireAnyClientCert\n", ["4: tls_server_config.client_auth_type: RequireAny"]),
    (TLS + "  min_version: TLS11\n", ["4: tls_server_config.min_version: TLS11 is broken"]),
    (TLS + "  min_version: 1.2\n", ["4: tls_server_config.min_version: expected TLS12 or TLS13"]),
    (TLS + "  min_version: TLS13\n  max_version: TLS12\n", ["5: tls_server_config.max_version: is below"]),
    (
        TLS + "  cipher_suites:\n  - TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA265\n",
        ["5: tls_server_config.cipher_suites: TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA265 is no cipher suite that is"],
    ),
    (TLS + "  cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]\n", ["4: tls_server_config.cipher_suites: TLS_RSA_WITH_RC4"]),
    (TLS + "  curve_preferences: [CurveP256, X25519]\n", ["4: tls_server_config.curve_preferences: one curve can be"]),
    (TLS + "  prefer_server_cipher_suites: perhaps\n", ["4: tls_server_config.prefer_server_cipher_suites: expected"]),
    (TLS + "  cert_file: again\n", ["4: 'cert_file' is given twice, first in line 2"]),
    ("http_server_config: {headers: {X-Frame-Options: never}}\n", ["1: http_server_config.headers.X-Frame-Options"]),
    ("http_server_config: {headers: {Server: x}}\n", ["1: http_server_config.headers.Server: unknown key"]),
    ("basic_auth_users:\n  a: secret\n", ["2: basic_auth_users: the password of a must be hashed by bcrypt"]),
    (f"basic_auth_users:\n  'a:b': {HASH}\n", ["2: basic_auth_users: 'a:b' can be no user: a name holds no colon"]),
    ("basic_auth_users: [a]\n", ["1: basic_auth_users: expected names, each with its hashed password"]),
    ("rate_limit: {interval: often}\n", ["1: rate_limit.interval: expected a duration"]),
    ("rate_limit: {interval: 1s}\n", ["1: rate_limit: needs a burst of at least 1"]),
    ("- a\n", ["1: the file: expected keys and values"]),
    ("a: [\n", ["2: is not YAML"]),
    ("a: \xff", ["1: a: unknown key"]),
]  # fmt: skip


@pytest.mark.parametrize(("text", "expected"), MISTAKES)
def test_mistakes_are_named_with_their_line(text: str, expected: list[str]) -> None:
    """All of them at once, in the order of the lines, and what to write instead."""
    found = problems_of(text)
    starts = [problem.removeprefix("web.yml:")[: len(start)] for problem, start in zip(found, expected, strict=True)]
    assert expected == starts


def test_no_message_and_no_repr_shows_a_secret() -> None:
    """Neither a password that stands there in plain text, nor a key or hash that is right."""
    assert "hunter2" not in str(problems_of("basic_auth_users: {a: hunter2}\nhttp_server_config: 1\n"))
    text = f"tls_server_config: {{cert_file: a, key: hunter2}}\nbasic_auth_users: {{a: {HASH}}}\n"
    shown = repr(parse_web_config(text.encode(), file="w", directory=HERE))
    assert "hunter2" not in shown
    assert HASH not in shown
    assert "hunter2" not in repr(Login("a", b"hunter2"))


@pytest.mark.parametrize("text", ["", "{}", "tls_server_config:\n", "basic_auth_users: {}\n"])
def test_a_file_that_protects_nothing_says_so(text: str) -> None:
    """It is accepted, as elsewhere."""
    config = parse_web_config(text.encode(), file="web.yml", directory=HERE)
    assert config.warnings == ("web.yml: has neither tls_server_config nor basic_auth_users: it protects nothing",)
    assert (config.tls, config.users) == (None, {})


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def files(tmp_path: Path, authority: trustme.CA) -> Path:
    """Certificate, key and authority beside a web config that is still to be written."""
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(tmp_path / "web.crt")
    certificate.private_key_pem.write_to_path(tmp_path / "web.key")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return tmp_path


AGREED = [
    ("", True),
    ("tls_server_config: {cert_file: web.crt, key_file: web.key}\n", True),
    (
        """\
tls_server_config: {cert_file: web.crt, key_file: web.key, client_ca_file: ca.pem, min_version: TLS13,
  client_auth_type: VerifyClientCertIfGiven, cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256]}
""",
        True,
    ),
    (
        f"basic_auth_users: {{a: {HASH}}}\nhttp_server_config: {{http2: false, headers: {{X-XSS-Protection: a}}}}\n",
        True,
    ),
    ("tls_server_config: {cert_file: web.crt}\n", False),
    ("tls_server_config: {cert_file: web.crt, key_file: ca.pem}\n", False),
    ("tls_server_config: {cert_file: nothing.crt, key_file: web.key}\n", False),
    ("tls_server_config: {cert_file: web.crt, key_file: web.key, client_ca_file: ca.pem}\n", False),
    ("tls_server_config: {cert_file: web.crt, key_file: web.key, cipher_suites: [NONE]}\n", False),
    ("tls_server_config: {cert_file: web.crt, key_file: web.key, min_version: TLS14}\n", False),
    ("basic_auth_users: {a: plain}\n", False),
    ("http_server_config: {headers: {Server: a}}\n", False),
    ("http_server_config: {headers: {X-Frame-Options: a}}\n", False),
    ("users: {}\n", False),
]


@pytest.mark.parametrize(("text", "is_good"), AGREED)
def test_promtool_thinks_alike(files: Path, text: str, is_good: bool) -> None:
    """What `promtool check web-config` takes and refuses, shipper takes and refuses."""
    path = files / "web.yml"
    path.write_text(text)
    done = promtool("check", "web-config", path)
    assert (done.returncode == 0) is is_good, done.stderr
    if is_good:
        read_web_config(path)
    else:
        with pytest.raises(ConfigError):
            read_web_config(path)


UNUSABLE = [
    ("{cert_file: web.crt, key_file: ca.pem}", "cert_file"),
    ("{cert_file: web.key, key_file: web.key}", "cert_file"),
    ("{cert_file: web.crt, key_file: other.key}", "cert_file: the key does not belong to the certificate"),
    ("{cert_file: web.crt, key_file: none.key}", "key_file: '{}/none.key' cannot be read: No such file or directory"),
    ("{cert_file: web.crt, key_file: locked.key}", "cert_file: the key is encrypted"),
    (
        "{cert_file: web.crt, key_file: web.key, client_ca_file: web.key, client_auth_type: VerifyClientCertIfGiven}",
        "client_ca_file: holds no certificate",
    ),
]


@pytest.mark.parametrize(("tls", "expected"), UNUSABLE)
def test_unusable_files_are_named(files: Path, authority: trustme.CA, tls: str, expected: str) -> None:
    """With the line of the key that names them."""
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        PrivateFormat,
        load_pem_private_key,
    )

    key = load_pem_private_key((files / "web.key").read_bytes(), None)
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    (files / "locked.key").write_bytes(locked)
    authority.issue_cert("other").private_key_pem.write_to_path(files / "other.key")
    (files / "web.yml").write_text(f"\ntls_server_config: {tls}\n")
    with pytest.raises(ConfigError) as caught:
        read_web_config(files / "web.yml")
    [problem] = caught.value.problems
    assert problem.startswith(f"{files}/web.yml:2: tls_server_config.{expected.format(files)}")


def test_inline_certificate_and_key(files: Path) -> None:
    """They stand in the file itself, and reach OpenSSL through memory."""
    names = {"cert": "web.crt", "key": "web.key", "client_ca": "ca.pem"}
    lines = ["tls_server_config:", "  client_auth_type: RequireAndVerifyClientCert"]
    for key, name in names.items():
        lines += [f"  {key}: |", *(f"    {line}" for line in (files / name).read_text().splitlines())]
        (files / name).unlink()
    (files / "web.yml").write_text("\n".join(lines) + "\n")
    context = read_web_config(files / "web.yml").context
    assert context is not None
    assert context.cert_store_stats()["x509_ca"] == 1


LOGINS = [
    ("Basic YTpi", Login("a", b"b")),
    ("basic  YTpi", Login("a", b"b")),
    ("Basic YTo=", Login("a", b"")),
    ("Basic YTpiOmM=", Login("a", b"b:c")),
    ("Basic YQ==", None),
    ("Basic ", None),
    ("Basic !!!", None),
    ("Basic /zpi", None),
    ("Bearer YTpi", None),
    ("", None),
]


@pytest.mark.parametrize(("header", "expected"), LOGINS)
def test_a_login_is_read_or_there_is_none(header: str, expected: Login | None) -> None:
    """Nothing that a client sends is an error of ours."""
    assert expected == login_of(header)


def test_more_of_a_password_than_bcrypt_looks_at_is_cut() -> None:
    """As htpasswd and Go do, whatever the library's version thinks of it."""
    import base64

    login = login_of("Basic " + base64.b64encode(b"a:" + b"x" * 100).decode())
    assert login == Login("a", b"x" * 72)


def test_a_clients_names() -> None:
    """Every kind of alternative name counts, addresses in their short form."""
    kinds = (("DNS", "a.example"), ("IP Address", "0:0:0:0:0:0:0:1\n"), ("email", "x@y"), ("URI", "spiffe://a/b"))
    certificate = {"subjectAltName": kinds}
    assert alternative_names(certificate) == {"a.example", "::1", "x@y", "spiffe://a/b"}
    assert is_allowed(certificate, ("spiffe://a/b",))
    assert not is_allowed(certificate, ("spiffe://a/c",))
    assert is_allowed(certificate, ())
    assert not is_allowed(None, ("a.example",))


def test_an_expired_certificate_is_served_as_it_is(files: Path, authority: trustme.CA) -> None:
    """The client says so; the server would only go blind by refusing it."""
    past = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    expired = authority.issue_cert("localhost", not_after=past, not_before=past - dt.timedelta(days=1))
    expired.cert_chain_pems[0].write_to_path(files / "web.crt")
    expired.private_key_pem.write_to_path(files / "web.key")
    (files / "web.yml").write_text("tls_server_config: {cert_file: web.crt, key_file: web.key}\n")
    assert read_web_config(files / "web.yml").context is not None
