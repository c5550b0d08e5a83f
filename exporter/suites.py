"""Names of the web config, which are Go's, and what OpenSSL calls the same. Only what is safe to serve today."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from itertools import product
from typing import Final

VERSIONS: Final[Mapping[str, ssl.TLSVersion]] = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}

CURVES: Final[Mapping[str, str]] = {
    "CurveP256": "prime256v1",
    "CurveP384": "secp384r1",
    "CurveP521": "secp521r1",
    "X25519": "X25519",
}

_CIPHERS: Final = {
    "AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "CHACHA20_POLY1305_SHA256": "CHACHA20-POLY1305",
    "AES_128_CBC_SHA": "AES128-SHA",
    "AES_256_CBC_SHA": "AES256-SHA",
}

SUITES: Final[Mapping[str, str]] = {
    **{
        f"TLS_ECDHE_{key}_WITH_{cipher}": f"ECDHE-{key}-{name}"
        for key, (cipher, name) in product(("ECDSA", "RSA"), _CIPHERS.items())
    },
    # These are chosen by OpenSSL itself wherever TLS 1.3 is spoken, as in Go.
    **{f"TLS_{name}": "" for name in ("AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256")},
}
