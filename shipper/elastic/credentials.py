"""What a connection to a cluster needs: addresses, secrets, TLS, each as it stands in the configuration or on disk now.

Files may be replaced while we run (a mounted secret, a renewed certificate): they are read again. For `transport`.
"""

from __future__ import annotations

import base64
import logging
import re
import ssl
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import certifi

from shipper.errors import OutputError
from shipper.settings import ElasticsearchSettings, Secret

log = logging.getLogger(__name__)

DEFAULT_PORT = 9200


class Address(NamedTuple):
    """One of the configured hosts, taken apart."""

    scheme: str
    host: str
    port: int
    prefix: str
    username: str
    password: Secret

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}{self.prefix}"


def parse_address(url: str) -> Address:
    """Return the parts of `http(s)://[user:password@]host[:port][/prefix]`; raise ValueError, which tells no secret."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("not a URL") from None
    where = parts.hostname or ""
    if parts.scheme not in ("http", "https") or not where:
        raise ValueError("must be http://HOST:PORT or https://HOST:PORT")
    if parts.query or parts.fragment:
        raise ValueError(f"{where}: a query or a fragment cannot be part of a host")
    return Address(
        parts.scheme,
        where,
        port or DEFAULT_PORT,
        parts.path.rstrip("/"),
        unquote(parts.username or ""),
        Secret(unquote(parts.password or "")),
    )


class WatchedFile:
    """A file that may be replaced while we run (a mounted secret, a renewed certificate)."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self._seen: tuple[int, int, int] | None = None

    def has_changed(self) -> bool:
        """True at the first call, and whenever another file or version of it stands there since the last call."""
        try:
            found = self.path.stat()
        except OSError:
            return self._seen is None
        version = (found.st_mtime_ns, found.st_ino, found.st_size)
        if version == self._seen:
            return False
        self._seen = version
        return True


class SecretSource:
    """A secret given in the configuration or in a file, which is read again when it changes.

    `is_for_header`: it goes into a header as it is, whose own error would show it. Raises OutputError if it cannot.
    """

    def __init__(self, *, value: Secret | None, path: str, is_for_header: bool = False) -> None:
        self._value = value
        self._file = WatchedFile(path) if path else None
        self._is_for_header = is_for_header
        problem = self._problem(value.reveal()) if value is not None and is_for_header else ""
        if problem:
            raise OutputError(f"the API key cannot be used: {problem}")

    def value(self) -> Secret | None:
        """Return the secret as it is now; raise OutputError if its file cannot be read and none is known yet."""
        if self._file is not None and self._file.has_changed():
            self._read(self._file.path)
        return self._value

    def _read(self, path: Path) -> None:
        try:
            text = path.read_text().strip()
            problem = self._problem(text)
        except (OSError, UnicodeDecodeError) as error:
            text, problem = "", plain(error)
        if not problem:
            self._value = Secret(text)
        elif self._value is None:
            raise OutputError(f"the secret in {str(path)!r} cannot be read: {problem}")
        else:
            log.warning("the secret in %r cannot be read, the last one stays in use: %s", str(path), problem)

    def _problem(self, text: str) -> str:
        """Why a secret cannot be used, without showing it; "" if it can."""
        if not text:
            return "it is empty"
        if not text.isprintable():
            return "it holds a line break or another control character"
        return "it holds letters beyond ASCII" if self._is_for_header and not text.isascii() else ""


def authorization(*, api_key: Secret | None, username: str, password: Secret | None) -> str | None:
    """Return the Authorization header: the API key if there is one, else basic authentication, else None."""
    if api_key is not None:
        return f"ApiKey {api_key.reveal()}"
    if username:
        pair = f"{username}:{password.reveal() if password else ''}"
        return "Basic " + base64.b64encode(pair.encode()).decode()
    return None


def tls_context(settings: ElasticsearchSettings) -> ssl.SSLContext:
    """Return the TLS settings as they stand on disk now; raise OSError (also ssl.SSLError) if a file is unusable."""
    context = ssl.create_default_context(cafile=ca_bundle(settings))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not settings.verify or settings.fingerprint:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.client_certificate:
        context.load_cert_chain(settings.client_certificate, settings.client_key or None, password=_no_passphrase)
    return context


def ca_bundle(settings: ElasticsearchSettings) -> str:
    """Return the file of trusted certificates: the configured one, else the system's, else certifi's."""
    return settings.ca_file or ssl.get_default_verify_paths().cafile or certifi.where()


def _no_passphrase() -> str:
    raise ssl.SSLError("the client key is encrypted; give one without a passphrase")


def fingerprint_of(text: str) -> str:
    """Return a SHA-256 fingerprint as 64 lower-case hex digits; raise ValueError if it is none."""
    digits = text.replace(":", "").strip().lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise ValueError("the fingerprint must be SHA-256: 64 hexadecimal digits, with or without colons")
    return digits


def plain(error: BaseException) -> str:
    """Return an error as one short line: what the system said, or its own text."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text.replace("\n", " ")[:200] or type(error).__name__
