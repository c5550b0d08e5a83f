"""Requests to a cluster: several hosts in turn, directly or through a proxy.

Carries bytes and knows nothing of what they mean; `elastic` sends bulks through it, `provision` templates. The only
module that imports `elastic_transport`.
"""

from __future__ import annotations

import logging
import re
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import urllib3
from elastic_transport import NodeConfig, TransportError, Urllib3HttpNode
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProxyError

from shipper.elastic.credentials import (
    Address,
    SecretSource,
    WatchedFile,
    authorization,
    fingerprint_of,
    parse_address,
    plain,
    tls_context,
)
from shipper.errors import OutputError, ShipperError
from shipper.settings import ElasticsearchSettings

log = logging.getLogger(__name__)

CONNECT_SECONDS = 10.0
DEAD_SECONDS_FIRST = 1.0
DEAD_SECONDS_MAX = 30.0
_NODE_IS_ILL = frozenset({502, 503, 504})
_SAID_OF_CONNECTION = re.compile(r"^(<[^>]*>|\w+\([^)]*\)): ")

Body = bytes | Sequence[bytes]


class Answer(NamedTuple):
    """What a server, or a proxy before it, answered."""

    status: int
    body: bytes
    may_be_applied: bool = False
    """Another host did not answer before, and may have done it."""


class NotAnsweredError(ShipperError):
    """No host answered. `reason` is one word for the metric; `may_be_applied`: can anything have arrived?"""

    def __init__(self, message: str, *, reason: str, may_be_applied: bool) -> None:
        super().__init__(message)
        self.reason = reason
        self.may_be_applied = may_be_applied


class _Forwarded:
    """A pool of connections to an HTTP proxy that passes plain requests on: it wants the whole URL as target."""

    def __init__(self, pool: urllib3.HTTPConnectionPool, *, origin: str) -> None:
        self._pool = pool
        self._origin = origin

    def urlopen(self, method: str, target: str, **options: Any) -> urllib3.BaseHTTPResponse:
        return self._pool.urlopen(method, self._origin + target, assert_same_host=False, **options)

    def close(self) -> None:
        self._pool.close()


class _Node(Urllib3HttpNode):
    """A node with exactly our TLS context (its own would trust certifi's authorities too), behind a proxy if wanted.

    It tells no logger what it sends: bodies are documents.
    """

    def __init__(self, config: NodeConfig, *, context: ssl.SSLContext | None, proxy: str) -> None:
        super().__init__(config)
        options: dict[str, Any] = {
            "timeout": self.pool.timeout,
            "maxsize": config.connections_per_node,
            "block": True,
        }
        if context is not None:
            fingerprint = config.ssl_assert_fingerprint
            options |= {"ssl_context": context, "cert_reqs": context.verify_mode, "assert_fingerprint": fingerprint}
            options |= {} if context.check_hostname else {"assert_hostname": False}
        manager = _proxy_manager(proxy) if proxy else urllib3.PoolManager()
        manager.pool_classes_by_scheme = {"http": urllib3.HTTPConnectionPool, "https": type(self.pool)}
        pool: Any = manager.connection_from_host(config.host, config.port, config.scheme, pool_kwargs=options)
        if proxy and config.scheme == "http":
            pool = _Forwarded(pool, origin=self.base_url.removesuffix(self.path_prefix))
        self.pool = pool

    def _log_request(self, *_: Any, **__: Any) -> None:
        pass


def _proxy_manager(url: str) -> urllib3.ProxyManager:
    parts = urlsplit(url)
    credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}" if parts.username else None
    return urllib3.ProxyManager(
        f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}",
        proxy_headers=urllib3.make_headers(proxy_basic_auth=credentials),
    )


class _Host:
    """A host and how it did lately. Guarded by the cluster's lock."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.node: Urllib3HttpNode | None = None
        self.failures = 0
        self.dead_until = 0.0


class Cluster:
    """The hosts of one cluster. Safe to use from many threads; holds connections until `close`.

    A host that does not answer, or answers 502 to 504, is left alone for a while that doubles from 1 to 30 s, as long
    as another one is left; what it answers otherwise (429 and 413 too) says nothing against the host.
    """

    def __init__(
        self,
        *,
        settings: ElasticsearchSettings,
        user_agent: str,
        opaque_id: str,
        monotonic: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._monotonic = monotonic
        self._common = {"user-agent": user_agent, "x-opaque-id": opaque_id, "accept": "application/json"}
        self._api_key = SecretSource(value=settings.api_key, path=settings.api_key_file, is_for_header=True)
        self._password = SecretSource(value=settings.password, path=settings.password_file)
        self._hosts = [_Host(_address(url)) for url in settings.hosts]
        self._turn = 0  # guarded by _lock
        self._lock = threading.Lock()
        tls_files = (settings.ca_file, settings.client_certificate, settings.client_key)
        self._tls_files = [WatchedFile(path) for path in tls_files if path]
        _check(settings, self._hosts)
        self._renew_nodes()
        self._headers(self._hosts[0].address)

    def __str__(self) -> str:
        return ", ".join(str(host.address) for host in self._hosts)

    def request(
        self,
        method: str,
        target: str,
        body: Body = b"",
        *,
        headers: Mapping[str, str] | None = None,
        timeout_seconds: float | None = None,
    ) -> Answer:
        """Return the first answer that a host gives, whatever its status; raise NotAnsweredError if none does.

        A body given as several pieces goes out piece by piece, without a copy of the whole.
        """
        may_be_applied = False
        self._renew_nodes()
        for host in self._in_turn():
            try:
                answer = self._ask(host, method, target, body, headers or {}, timeout_seconds)
            except NotAnsweredError as error:
                self._mark(host, is_ill=True)
                may_be_applied = may_be_applied or error.may_be_applied
                last = error
                continue
            self._mark(host, is_ill=answer.status in _NODE_IS_ILL)
            return answer._replace(may_be_applied=may_be_applied)
        raise NotAnsweredError(str(last), reason=last.reason, may_be_applied=may_be_applied)

    def close(self) -> None:
        """Close the connections that are not in use."""
        for host in self._hosts:
            if host.node is not None:
                host.node.close()

    def _ask(
        self,
        host: _Host,
        method: str,
        target: str,
        body: Body,
        headers: Mapping[str, str],
        timeout_seconds: float | None,
    ) -> Answer:
        node = host.node
        assert node is not None  # noqa: S101 - set by _renew_nodes  # nosec B101
        total = min(timeout_seconds or self._settings.request_seconds, self._settings.request_seconds)
        timeout: Any = urllib3.Timeout(connect=min(total, CONNECT_SECONDS), read=total)
        sent: Any = body
        length = {} if isinstance(body, bytes) else {"content-length": str(sum(map(len, body)))}
        all_headers: Any = {**self._headers(host.address), **length, **headers, **self._settings.headers}
        try:
            meta, content = node.perform_request(method, target, sent, all_headers, timeout)
        except TransportError as error:
            raise _not_answered(host.address, error) from None
        return Answer(meta.status, content)

    def _headers(self, address: Address) -> dict[str, str]:
        value = authorization(
            api_key=self._api_key.value(), username=self._settings.username, password=self._password.value()
        ) or authorization(api_key=None, username=address.username, password=address.password)
        return self._common if value is None else {**self._common, "authorization": value}

    def _in_turn(self) -> list[_Host]:
        """The hosts to try, the next in turn first; if all are dead, only the one that is due soonest."""
        with self._lock:
            self._turn += 1
            start = self._turn % len(self._hosts)
            turn = self._hosts[start:] + self._hosts[:start]
            now = self._monotonic()
            alive = [host for host in turn if host.dead_until <= now]
            return alive or [min(turn, key=lambda host: host.dead_until)]

    def _mark(self, host: _Host, *, is_ill: bool) -> None:
        with self._lock:
            host.failures = host.failures + 1 if is_ill else 0
            pause = min(DEAD_SECONDS_FIRST * 2.0 ** (host.failures - 1), DEAD_SECONDS_MAX)
            host.dead_until = self._monotonic() + pause if is_ill else 0.0

    def _renew_nodes(self) -> None:
        """Make the connections anew if a certificate on disk was renewed; keep the old ones if the new is unusable."""
        with self._lock:
            has_changed = [file.has_changed() for file in self._tls_files]
            if self._hosts[0].node is not None and not any(has_changed):
                return
            try:
                nodes = [self._node(host.address) for host in self._hosts]
            except (OSError, ValueError) as error:
                if self._hosts[0].node is None:
                    raise OutputError(f"the TLS files of the output cannot be used: {plain(error)}") from None
                log.warning("renewed TLS files cannot be used, the old ones stay in use: %s", plain(error))
                return
            for host, node in zip(self._hosts, nodes, strict=True):
                host.node = node

    def _node(self, address: Address) -> Urllib3HttpNode:
        settings = self._settings
        is_tls = address.scheme == "https"
        config = NodeConfig(
            scheme=address.scheme,
            host=address.host,
            port=address.port,
            path_prefix=address.prefix,
            connections_per_node=settings.concurrency + 2,
            request_timeout=settings.request_seconds,
            verify_certs=settings.verify or not is_tls,
            ssl_assert_fingerprint=fingerprint_of(settings.fingerprint) if settings.fingerprint and is_tls else None,
            ssl_show_warn=False,
        )
        return _Node(config, context=tls_context(settings) if is_tls else None, proxy=settings.proxy)


def _check(settings: ElasticsearchSettings, hosts: Sequence[_Host]) -> None:
    if not hosts:
        raise OutputError("the Elasticsearch output has no hosts")
    if settings.fingerprint:
        try:
            fingerprint_of(settings.fingerprint)
        except ValueError as error:
            raise OutputError(str(error)) from None
    if settings.proxy:
        try:
            parse_address(settings.proxy)
        except ValueError as error:
            raise OutputError(f"the output's proxy: {error}") from None
    if not settings.verify and any(host.address.scheme == "https" for host in hosts):
        log.warning("the certificate of the output's server is not checked (verify: false)")


def _address(url: str) -> Address:
    try:
        return parse_address(url)
    except ValueError as error:
        raise OutputError(f"a host of the Elasticsearch output: {error}") from None


def _not_answered(address: Address, error: TransportError) -> NotAnsweredError:
    cause = error.errors[0] if error.errors else error
    kind = type(error).__name__
    reason = {"TlsError": "tls", "ConnectionTimeout": "timeout"}.get(kind, "network")
    never_arrived = isinstance(cause, NewConnectionError | ConnectTimeoutError | ProxyError) or kind == "TlsError"
    return NotAnsweredError(
        f"{address}: {_SAID_OF_CONNECTION.sub('', plain(cause))}", reason=reason, may_be_applied=not never_arrived
    )
