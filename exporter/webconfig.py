"""Reads exporter-toolkit's web config: TLS, client certificates, headers, users, rate limit. Text in, settings out.

Strict: every mistake at once, with its line. What Python's TLS cannot do is refused, never passed over. `tls` makes
contexts of it, `guard` applies it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from exporter.rulefile import Table, Text, Tree, read_tree
from exporter.suites import SUITES
from exporter.webvalues import (
    NULLS,
    VERIFYING,
    BadValue,
    Read,
    boolean,
    client_auth_type,
    count,
    curves,
    duration,
    header,
    names_of,
    nearest,
    shown,
    text_of,
    texts,
    version,
)  # fmt: skip
from shipper.errors import ConfigError

_HEADERS: Final[Mapping[str, tuple[str, ...]]] = {
    "Strict-Transport-Security": (),
    "X-Content-Type-Options": ("nosniff",),
    "X-Frame-Options": ("deny", "sameorigin"),
    "X-XSS-Protection": (),
    "Content-Security-Policy": (),
}
_BCRYPT: Final = re.compile(r"\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}")
FAILED: Final = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsSettings:
    """`tls_server_config`. Paths are absolute; of file and inline text one is given."""

    cert_file: str = ""
    cert: str = ""
    key_file: str = ""
    key: str = field(default="", repr=False)
    client_ca_file: str = ""
    client_ca: str = ""
    client_auth_type: str = "NoClientCert"
    client_allowed_sans: tuple[str, ...] = ()
    min_version: str = "TLS12"
    max_version: str = "TLS13"
    cipher_suites: tuple[str, ...] = ()
    prefer_server_cipher_suites: bool = True
    curve_preferences: tuple[str, ...] = ()

    @property
    def verifies_clients(self) -> bool:
        return self.client_auth_type in VERIFYING


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """A token each `seconds`, of which `burst` may be saved up."""

    seconds: float
    burst: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WebConfig:
    """What a file says. `lines` has the line of each key (`tls_server_config.cert_file`), for messages."""

    file: str
    tls: TlsSettings | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Hashed passwords by user."""
    rate_limit: RateLimit | None = None
    warnings: tuple[str, ...] = ()
    lines: Mapping[str, int] = field(default_factory=dict, repr=False)

    def at(self, key: str, message: str) -> str:
        """A message about a key, with its place."""
        return f"{self.file}:{self.lines.get(key, 1)}: {key}: {message}"


def parse_web_config(data: bytes, *, file: str, directory: Path) -> WebConfig:
    """The web config in `data`; relative paths start from `directory`. Raises ConfigError with every problem."""
    shown = file if file.isprintable() else repr(file)
    reader = _Reader(shown, directory)
    tree = read_tree(data, reader.problem)
    found = reader.table(tree or Table(1, {}, {}), "", reader.top)
    tls = reader.tls(found.get("tls_server_config"))
    limit = reader.rate_limit(found.get("rate_limit"))
    if reader.problems:
        raise ConfigError([f"{shown}:{line}: {message}" for line, message in sorted(reader.problems)])
    if tls is None and not found.get("basic_auth_users"):
        reader.warnings.append(f"{shown}: has neither tls_server_config nor basic_auth_users: it protects nothing")
    server: Mapping[str, Any] = found.get("http_server_config", {})
    return WebConfig(
        file=shown,
        tls=tls,
        headers=server.get("headers", {}),
        users=found.get("basic_auth_users", {}),
        rate_limit=limit,
        warnings=tuple(reader.warnings),
        lines=reader.lines,
    )


class _Reader:
    """Reads one tree, gathering problems and the lines of keys."""

    def __init__(self, file: str, directory: Path) -> None:
        self.problems: list[tuple[int, str]] = []
        self.warnings: list[str] = []
        self.lines: dict[str, int] = {}
        self._file = file
        self._directory = directory
        self.top: Mapping[str, Read] = {
            "tls_server_config": lambda tree: self.table(tree, "tls_server_config", self._tls),
            "http_server_config": lambda tree: self.table(tree, "http_server_config", self._http),
            "basic_auth_users": self._users,
            "rate_limit": lambda tree: self.table(tree, "rate_limit", {"interval": duration, "burst": count}),
        }
        self._tls: Mapping[str, Read] = {
            "cert": text_of,
            "cert_file": self._path,
            "key": text_of,
            "key_file": self._path,
            "client_ca": text_of,
            "client_ca_file": self._path,
            "client_auth_type": client_auth_type,
            "client_allowed_sans": texts,
            "min_version": version,
            "max_version": version,
            "cipher_suites": lambda tree: names_of(tree, "cipher suite", SUITES),
            "prefer_server_cipher_suites": boolean,
            "curve_preferences": curves,
        }
        self._http: Mapping[str, Read] = {"http2": self._http2, "headers": self._headers}

    def problem(self, line: int, message: str) -> None:
        self.problems.append((line, message))

    def table(self, tree: Tree, where: str, known: Mapping[str, Read]) -> dict[str, Any]:
        """What the known keys hold; the others are problems."""
        if isinstance(tree, Text) and tree.text in NULLS:
            return {}
        if not isinstance(tree, Table):
            self.problem(tree.line, f"{where or 'the file'}: expected keys and values")
            return {}
        found: dict[str, Any] = {}
        for key, value in tree.entries.items():
            name = f"{where}.{key}" if where else key
            self.lines[name] = tree.lines[key]
            if key not in known:
                self.problem(tree.lines[key], f"{shown(name)}: unknown key{nearest(key, known)}")
                continue
            try:
                found[key] = known[key](value)
            except BadValue as error:
                self.problem(value.line, f"{name}: {error}")
                found[key] = FAILED
        return found

    def tls(self, found: dict[str, Any] | None) -> TlsSettings | None:
        """The TLS settings; None where no key asks for TLS. What is missing or contradicts itself is a problem."""
        if not found:
            return None
        given = {key for key, value in found.items() if value not in ("", ())}
        for key, message in _contradictions(found, given):
            self.problem(self.lines.get(f"tls_server_config.{key}", self.lines["tls_server_config"]), message)
        return TlsSettings(**found) if not any(value is FAILED for value in found.values()) else None

    def rate_limit(self, found: dict[str, Any] | None) -> RateLimit | None:
        if not found or FAILED in found.values() or not found.get("interval"):
            return None
        if not found.get("burst"):
            self.problem(self.lines["rate_limit"], "rate_limit: needs a burst of at least 1, or nothing is answered")
        return RateLimit(seconds=found["interval"], burst=found.get("burst", 0))

    def _path(self, tree: Tree) -> str:
        text = text_of(tree)
        if "\0" in text:
            raise BadValue("not a file name")
        return str(self._directory / text) if text else ""

    def _http2(self, tree: Tree) -> bool:
        wanted = boolean(tree)
        if wanted:
            self.warnings.append(
                f"{self._file}:{tree.line}: http_server_config.http2: HTTP/1.1 is served, which every scraper speaks"
            )
        return wanted

    def _headers(self, tree: Tree) -> dict[str, str]:
        known: dict[str, Read] = {name: header(allowed) for name, allowed in _HEADERS.items()}
        found = self.table(tree, "http_server_config.headers", known)
        return {name: value for name, value in found.items() if value and value is not FAILED}

    def _users(self, tree: Tree) -> dict[str, str]:
        if isinstance(tree, Text) and tree.text in NULLS:
            return {}
        if not isinstance(tree, Table):
            raise BadValue("expected names, each with its hashed password")
        users: dict[str, str] = {}
        for name, value in tree.entries.items():
            if not isinstance(value, Text) or not _BCRYPT.fullmatch(value.text):
                line = tree.lines[name]
                self.problem(line, f"basic_auth_users: the password of {shown(name)} must be hashed by bcrypt ($2y$…)")
            elif ":" in name or not name:
                self.problem(tree.lines[name], f"basic_auth_users: {name!r} can be no user: a name holds no colon")
            else:
                users[name] = value.text
        return users


def _contradictions(found: Mapping[str, Any], given: set[str]) -> list[tuple[str, str]]:
    """What is wrong between the keys of `tls_server_config`: key and message."""
    wrong = []
    wrong += [
        ("", f"tls_server_config: needs {name}_file (or {name})")
        for name in ("cert", "key")
        if not given & {name, f"{name}_file"}
    ]
    wrong += [
        (f"{name}_file", f"tls_server_config.{name}_file: give either {name} or {name}_file")
        for name in ("cert", "key", "client_ca")
        if {name, f"{name}_file"} <= given
    ]
    kind = found.get("client_auth_type") or "NoClientCert"
    if kind is not FAILED:
        wrong += _client_contradictions(kind, has_ca=bool(given & {"client_ca", "client_ca_file"}), given=given)
    lowest, highest = found.get("min_version", "TLS12"), found.get("max_version", "TLS13")
    if (lowest, highest) == ("TLS13", "TLS12"):
        wrong.append(("max_version", "tls_server_config.max_version: is below min_version"))
    return wrong


def _client_contradictions(kind: str, *, has_ca: bool, given: set[str]) -> list[tuple[str, str]]:
    wrong = []
    if kind in VERIFYING and not has_ca:
        wrong.append(("client_auth_type", f"tls_server_config.client_auth_type: {kind} needs a client_ca_file"))
    if kind == "NoClientCert" and has_ca:
        message = "tls_server_config: client_ca_file needs client_auth_type: RequireAndVerifyClientCert"
        wrong.append(("client_ca_file" if "client_ca_file" in given else "client_ca", message))
    if "client_allowed_sans" in given and kind != "RequireAndVerifyClientCert":
        message = "tls_server_config.client_allowed_sans: needs client_auth_type: RequireAndVerifyClientCert"
        wrong.append(("client_allowed_sans", message))
    return wrong
