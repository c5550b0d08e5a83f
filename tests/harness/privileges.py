"""Makes the permissions of files count for root too, so that a file that is unreadable is unreadable in every test.

Takes the two capabilities that override them out of the effective set of the calling thread, and gives them back.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

_VERSION_3 = 0x20080522
_OVERRIDES = (1 << 1) | (1 << 2)
"""CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""

_Words = ctypes.c_uint32 * 6
"""Effective, permitted and inheritable capabilities, the low words and then the high ones."""


@contextlib.contextmanager
def ordinary_permissions() -> Iterator[None]:
    """Within it nobody reads a file whose mode forbids it. Raises OSError where the system refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_VERSION_3, 0)
    before, within = _Words(), _Words()
    _call(libc.capget, header, before)
    ctypes.pointer(within)[0] = before
    within[0] = before[0] & ~_OVERRIDES
    _call(libc.capset, header, within)
    try:
        yield
    finally:
        _call(libc.capset, header, before)


def _call(function: ctypes._NamedFuncPointer, header: object, words: object) -> None:
    if function(header, words) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
