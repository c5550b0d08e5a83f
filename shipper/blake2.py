"""`blake2b` of the standard library without its `hashlib`, which brings OpenSSL: 3.5 MB that only TLS needs."""

from __future__ import annotations

try:
    from _blake2 import blake2b
except ImportError:  # a Python that is built otherwise
    from hashlib import blake2b

__all__ = ["blake2b"]
