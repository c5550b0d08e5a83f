"""Basic authentication by the web config's hashed passwords.

A password is hashed once: what has succeeded is known again by a keyed hash, so that a scrape costs microseconds and no
password stays in memory. Only what `has_succeeded` does not know needs `check`, which takes as long as bcrypt does.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from collections.abc import Mapping
from typing import Final, NamedTuple

from shipper.errors import ConfigError

MAX_REMEMBERED: Final = 1_000
_BCRYPT_BYTES: Final = 72
"""More of a password is never looked at; libraries disagree on whether to say so."""


class Login(NamedTuple):
    """What an Authorization header says."""

    user: str
    password: bytes

    def __repr__(self) -> str:
        return f"Login({self.user!r})"


def login_of(header: str) -> Login | None:
    """The login in an Authorization header; None if there is none, or none that can be read."""
    scheme, _, text = header.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(text.strip(), validate=True).partition(b":")
        return Login(user.decode(), password[:_BCRYPT_BYTES]) if colon else None
    except (binascii.Error, ValueError):
        return None


class Passwords:
    """Checks logins. `check` may be called from one thread, `has_succeeded` from any."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._succeeded: dict[bytes, None] = {}  # the oldest first; only `check` changes it

    def has_succeeded(self, login: Login, users: Mapping[str, str]) -> bool:
        """Whether this login was right before, and the user's hash is still the same."""
        return login.user in users and self._digest(login, users[login.user]) in self._succeeded

    def check(self, login: Login, users: Mapping[str, str]) -> bool:
        """Whether the login is right. As slow for users who do not exist, so that nobody can find out who does."""
        hashed = users.get(login.user) or next(iter(users.values()), "")
        is_right = _matches(login.password, hashed) and login.user in users
        if is_right:
            self._succeeded[self._digest(login, hashed)] = None
            while len(self._succeeded) > MAX_REMEMBERED:
                del self._succeeded[next(iter(self._succeeded))]
        return is_right

    def _digest(self, login: Login, hashed: str) -> bytes:
        text = b"\0".join((login.user.encode(), hashed.encode(), login.password))
        return hashlib.blake2b(text, key=self._key, digest_size=32).digest()


def _matches(password: bytes, hashed: str) -> bool:
    import bcrypt  # memory that only basic authentication needs

    try:
        return bcrypt.checkpw(password, hashed.encode())
    except ValueError:  # a NUL in the password, for some versions
        return False


def require_bcrypt() -> None:
    """Raises ConfigError where passwords could not be checked."""
    try:
        import bcrypt  # noqa: F401
    except ImportError as error:
        raise ConfigError([f"basic_auth_users needs the Python package bcrypt: {error}"]) from None
