"""Who may ask, and how: applies the web config as it stands on disk now, to new connections and to each request.

A file that became unusable while we run, or that would take protection away, leaves the last good one in force; that
takes a restart, so that a half-written file opens nothing. Probes are answered without a login, in one word.
"""

from __future__ import annotations

import logging
import os
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from exporter.admission import Admission
from exporter.messages import Request
from exporter.tls import files_of, is_allowed, open_to_all, server_context
from exporter.users import Login, Passwords, login_of, require_bcrypt
from exporter.webconfig import RateLimit, WebConfig, parse_web_config
from shipper.errors import ConfigError

log: Final = logging.getLogger(__name__)

PROBES: Final = frozenset({"/healthz", "/readyz"})
MAX_FILE_BYTES: Final = 1 << 20
LOOK_SECONDS: Final = 1.0
"""The file is looked at once in this time at most."""


class Bucket:
    """Tokens that come back with time; not more than `burst` are kept."""

    def __init__(self, limit: RateLimit, *, now: float) -> None:
        self.limit = limit
        self._tokens = float(limit.burst)
        self._at = now

    def take(self, now: float) -> bool:
        """Whether there was a token left at this moment."""
        self._tokens = min(self.limit.burst, self._tokens + (now - self._at) / self.limit.seconds)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


Versions = tuple[tuple[int, int, int] | None, ...]


class InForce(NamedTuple):
    """A config, the TLS context for it, and which versions of which files they were made of."""

    config: WebConfig
    context: ssl.SSLContext | None
    versions: Versions


def read_web_config(path: Path) -> InForce:
    """The config in a file and what it needs. Raises ConfigError with every problem."""
    version = _version(str(path))  # before reading: what changes meanwhile is read again
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError([f"metrics.web_config: {str(path)!r} cannot be read: {error.strerror}"]) from None
    config = parse_web_config(data, file=str(path), directory=path.parent)
    if config.users:
        require_bcrypt()
    versions = (version, *map(_version, files_of(config).values()))
    return InForce(config, server_context(config), versions)


class Guard:
    """One web config file in force. Raises ConfigError if it cannot be used at the start; later it only says so."""

    def __init__(self, *, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._in_force = read_web_config(path)  # replaced as a whole
        self._seen = self._in_force.versions  # guarded by _lock, as all below
        self._looked_at = clock()
        self._bucket = self._new_bucket(None)
        self.passwords = Passwords()

    @property
    def config(self) -> WebConfig:
        return self._in_force.config

    @property
    def has_tls(self) -> bool:
        return self._in_force.context is not None

    def warnings(self) -> list[str]:
        """What is odd about the file, to be said once at the start."""
        return [*self.config.warnings, *open_to_all(self.config)]

    def context(self) -> ssl.SSLContext | None:
        """TLS for a new connection; None for a plain one."""
        self._look()
        return self._in_force.context

    def admits(self, certificate: Mapping[str, object] | None) -> bool:
        """Whether a client whose certificate was verified may connect."""
        tls = self.config.tls
        return tls is None or is_allowed(certificate, tls.client_allowed_sans)

    def admission(self, request: Request) -> Admission:
        """What is to be done with a request."""
        self._look()
        is_probe = request.path in PROBES
        if not is_probe and not self._has_token():
            return Admission.LIMITED
        config = self.config
        if not config.users:
            return Admission.ADMITTED
        login = login_of(request.headers.get("authorization", ""))
        if login is not None and self.passwords.has_succeeded(login, config.users):
            return Admission.ADMITTED
        if is_probe:
            return Admission.PROBE
        return Admission.REFUSED if login is None else Admission.TO_CHECK

    def check(self, request: Request) -> bool:
        """Whether a request's login is right; hashes. From one thread only."""
        login: Login | None = login_of(request.headers.get("authorization", ""))
        return login is not None and self.passwords.check(login, self.config.users)

    def headers(self) -> Mapping[str, str]:
        """What is sent with every response."""
        return self.config.headers

    def _has_token(self) -> bool:
        with self._lock:
            return self._bucket is None or self._bucket.take(self._clock())

    def _look(self) -> None:
        """Takes up another version of the file, or of one that it names."""
        with self._lock:
            now = self._clock()
            if now - self._looked_at < LOOK_SECONDS:
                return
            self._looked_at = now
            versions = (_version(str(self._path)), *map(_version, files_of(self.config).values()))
            if versions == self._seen:
                return
            self._seen = versions
            try:
                renewed = read_web_config(self._path)
                _refuse_less(self.config, renewed.config)
            except ConfigError as error:
                log.error("the web config was not read again, the former one stays in force: %s", error)  # noqa: TRY400 - no bug
                return
            self._in_force, self._seen = renewed, renewed.versions
            self._bucket = self._new_bucket(self._bucket)
        log.info("the web config was read again: %r", str(self._path))

    def _new_bucket(self, old: Bucket | None) -> Bucket | None:
        limit = self.config.rate_limit
        if old is not None and limit == old.limit:
            return old
        return Bucket(limit, now=self._clock()) if limit is not None else None


def _version(path: str) -> tuple[int, int, int] | None:
    try:
        facts = os.stat(path)  # noqa: PTH116 - once a second for each file
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_ino, facts.st_size


def _refuse_less(old: WebConfig, new: WebConfig) -> None:
    """Raises ConfigError where the new file would let in those whom the old one keeps out."""
    problems = []
    if old.tls is not None and new.tls is None:
        problems.append("tls_server_config is gone")
    if old.users and not new.users:
        problems.append("basic_auth_users are gone")
    if old.tls and new.tls and old.tls.verifies_clients and not new.tls.verifies_clients:
        problems.append("client certificates are not verified any more")
    if problems:
        raise ConfigError([f"{new.file}: {', '.join(problems)}; restart to serve with less protection"])
