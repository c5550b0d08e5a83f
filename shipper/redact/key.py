"""The secret that hashes and the ids of redacted lines are made with, as `identity_key_file` holds it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from shipper.errors import ConfigError

LEAST_BYTES: Final = 16
MOST_BYTES: Final = 1 << 16


def read_key(path: str) -> bytes:
    """The key in a file, without the white space around it; b"" for no path. Raises ConfigError."""
    if not path:
        return b""
    try:
        with Path(path).open("rb") as file:
            key = file.read(MOST_BYTES).strip()
    except OSError as error:
        raise ConfigError([f"identity_key_file: {path!r} cannot be read: {error.strerror}"]) from None
    if len(key) < LEAST_BYTES:
        raise ConfigError([f"identity_key_file: {path!r} holds {len(key)} bytes; {LEAST_BYTES} are needed at least"])
    return key
