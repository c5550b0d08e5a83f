"""TLS of the server as the web config wants it: contexts from settings, and whether a client's names are allowed.

Keys that stand in the web config itself never touch a disk. For `guard`.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import ssl
import stat
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from exporter.suites import CURVES, SUITES, VERSIONS
from exporter.webconfig import WebConfig
from shipper.errors import ConfigError

_ENCRYPTED: Final = "the key is encrypted; give one without a passphrase"


def server_context(config: WebConfig) -> ssl.SSLContext | None:
    """The context for new connections; None where the config has no TLS. Raises ConfigError, with place and reason."""
    tls = config.tls
    if tls is None:
        return None
    _check_readable(config)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = VERSIONS[tls.min_version]
    context.maximum_version = VERSIONS[tls.max_version]
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET
    context.num_tickets = 0  # nothing is resumed, so that a withdrawn certificate is not taken from an old session
    if tls.prefer_server_cipher_suites:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    suites = ":".join(filter(None, (SUITES[name] for name in tls.cipher_suites)))
    if suites:
        context.set_ciphers(suites)
    for name in tls.curve_preferences:
        context.set_ecdh_curve(CURVES[name])
    context.set_alpn_protocols(["http/1.1"])
    _load_certificate(context, config)
    _load_client_authorities(context, config)
    return context


def _load_certificate(context: ssl.SSLContext, config: WebConfig) -> None:
    tls = config.tls
    if tls is None:
        return
    with _path_of(tls.cert_file, tls.cert) as cert, _path_of(tls.key_file, tls.key) as key:
        try:
            context.load_cert_chain(cert, key, password=_no_passphrase)
        except (ssl.SSLError, OSError) as error:
            raise ConfigError([config.at(_given(config, "cert"), _reason(error))]) from None


def _load_client_authorities(context: ssl.SSLContext, config: WebConfig) -> None:
    tls = config.tls
    if tls is None or not tls.verifies_clients:
        return
    try:
        with _path_of(tls.client_ca_file, tls.client_ca) as path:
            context.load_verify_locations(cafile=path)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError([config.at(_given(config, "client_ca"), _reason(error))]) from None
    requires = tls.client_auth_type == "RequireAndVerifyClientCert"
    context.verify_mode = ssl.CERT_REQUIRED if requires else ssl.CERT_OPTIONAL


def _given(config: WebConfig, name: str) -> str:
    """The key that a certificate or key was given by."""
    key = f"tls_server_config.{name}_file"
    return key if key in config.lines else f"tls_server_config.{name}"


def _check_readable(config: WebConfig) -> None:
    """Says which of the files cannot be read: OpenSSL would not."""
    problems = []
    for name, path in files_of(config).items():
        try:
            with Path(path).open("rb") as stream:
                stream.read(1)
        except OSError as error:
            problems.append(config.at(f"tls_server_config.{name}", f"{path!r} cannot be read: {error.strerror}"))
    if problems:
        raise ConfigError(problems)


def files_of(config: WebConfig) -> dict[str, str]:
    """The files that a config names, by key: they are to be watched too."""
    tls = config.tls
    if tls is None:
        return {}
    named = {"cert_file": tls.cert_file, "key_file": tls.key_file, "client_ca_file": tls.client_ca_file}
    return {name: path for name, path in named.items() if path}


def open_to_all(config: WebConfig) -> list[str]:
    """Warnings about secrets that every user of this machine can read."""
    secret = [config.tls.key_file] if config.tls and config.tls.key_file else []
    if config.users or (config.tls and config.tls.key):
        secret.append(config.file)
    return [f"{path}: can be read by everybody on this machine; chmod o-r" for path in secret if _is_open_to_all(path)]


def _is_open_to_all(path: str) -> bool:
    try:
        return bool(Path(path).stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


@contextlib.contextmanager
def _path_of(path: str, text: str) -> Iterator[str]:
    """A path to what is a file already, or stands in memory: OpenSSL's interface in Python takes paths only."""
    if path:
        yield path
        return
    descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as stream:
            stream.write(text.encode())
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _no_passphrase() -> str:
    raise ssl.SSLError(0, _ENCRYPTED)


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        words = (getattr(error, "reason", None) or error.strerror or str(error)).replace("_", " ").lower()
        known = {
            "key values mismatch": "the key does not belong to the certificate",
            "no certificate or crl found": "holds no certificate",
            "pem lib": "certificate or key is not in PEM form",
            _ENCRYPTED: _ENCRYPTED,
        }
        return known.get(words, f"cannot be used: {words}")
    return f"cannot be read: {error.strerror or error}"


def alternative_names(certificate: Mapping[str, Any]) -> set[str]:
    """A certificate's subject alternative names as the web config writes them: DNS, address, e-mail, URI."""
    names = set()
    for kind, value in certificate.get("subjectAltName", ()):
        if kind == "IP Address":
            with contextlib.suppress(ValueError):
                value = str(ipaddress.ip_address(value.strip()))
        names.add(str(value))
    return names


def is_allowed(certificate: Mapping[str, Any] | None, allowed: Collection[str]) -> bool:
    """Whether a verified client may connect: it has one of the names, or none are asked for."""
    return not allowed or bool(alternative_names(certificate or {}) & set(allowed))
