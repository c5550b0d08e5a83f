"""What single values of the web config mean, from the tree's nodes; each raises BadValue with what is expected.

For `webconfig`, which knows where they stand.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from exporter.rulefile import Items, Text, Tree
from exporter.suites import CURVES, VERSIONS

VERIFYING: Final = ("VerifyClientCertIfGiven", "RequireAndVerifyClientCert")
CLIENT_AUTH_TYPES: Final = ("NoClientCert", "RequestClientCert", *VERIFYING)
_UNCHECKED: Final = ("RequireAnyClientCert", "RequireClientCert")
NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h)")
_SECONDS: Final = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
Read = Callable[[Tree], Any]


class BadValue(Exception):  # noqa: N818 - a finding, turned into a line of ConfigError by `webconfig`
    """A value is not what its key needs; the message says what is, and never repeats a secret."""


def text_of(tree: Tree) -> str:
    if not isinstance(tree, Text):
        raise BadValue("expected a single value")
    return "" if tree.text in NULLS else tree.text


def texts(tree: Tree) -> tuple[str, ...]:
    if isinstance(tree, Text) and tree.text in NULLS:
        return ()
    if not isinstance(tree, Items):
        raise BadValue("expected a list")
    return tuple(text_of(item) for item in tree.items)


def boolean(tree: Tree) -> bool:
    value = _BOOLEANS.get(text_of(tree).lower())
    if value is None:
        raise BadValue("expected true or false")
    return value


def count(tree: Tree) -> int:
    text = text_of(tree) or "0"
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise BadValue("expected a whole number")
    return int(text)


def duration(tree: Tree) -> float:
    text = text_of(tree) or "0"
    match = _DURATION.fullmatch(text)
    if text != "0" and not match:
        raise BadValue("expected a duration such as 500ms, 1s or 2m")
    return float(match[1]) * _SECONDS[match[2]] if match else 0.0


def version(tree: Tree) -> str:
    text = text_of(tree)
    if text in ("TLS10", "TLS11"):
        raise BadValue(f"{text} is broken; the lowest that is served is TLS12")
    if text not in VERSIONS:
        raise BadValue(f"expected {' or '.join(VERSIONS)}")
    return text


def client_auth_type(tree: Tree) -> str:
    text = text_of(tree) or "NoClientCert"
    if text in _UNCHECKED:
        raise BadValue(f"{text} takes a certificate that anybody can make; use RequireAndVerifyClientCert")
    if text not in CLIENT_AUTH_TYPES:
        raise BadValue(f"unknown; there are {', '.join(CLIENT_AUTH_TYPES)}")
    return text


def names_of(tree: Tree, what: str, known: Mapping[str, str]) -> tuple[str, ...]:
    names = texts(tree)
    for name in names:
        if name not in known:
            raise BadValue(f"{shown(name)} is no {what} that is served{nearest(name, known)}")
    return names


def curves(tree: Tree) -> tuple[str, ...]:
    names = names_of(tree, "curve", CURVES)
    if len(names) > 1:
        raise BadValue("one curve can be set, not several; leave the key out for the system's preference")
    return names


def header(allowed: tuple[str, ...]) -> Read:
    def read(tree: Tree) -> str:
        text = text_of(tree)
        if allowed and text not in ("", *allowed):
            raise BadValue(f"expected {' or '.join(allowed)}")
        if not text.isascii() or not text.isprintable():
            raise BadValue("expected printable ASCII")
        return text

    return read


def shown(name: str) -> str:
    return name if name.isprintable() and len(name) <= 60 else repr(name[:60])


def nearest(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, 1)
    return f"; do you mean {near[0]}?" if near else f"; there are {', '.join(known)}"
