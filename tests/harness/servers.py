"""Real Elasticsearch and OpenSearch nodes on loopback, a process each, from Maven Central's jars; no container engine.

What they lack compared with a downloaded one is said at `Server`. What cannot be had here raises MissingError.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import ssl
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trustme

from harness.calls import Body, call
from harness.missing import MissingError
from harness.nodes import prepared
from harness.process import Counterpart, DiedError, Process, free_port, scratch, wait_until

_READY_SECONDS = 120
_NO_SHARD_YET = 503
_TERMINATED = 143  # what a JVM exits with after SIGTERM, its hooks done
_FLAGS = (
    "-XX:+UseSerialGC",
    "-Xshare:auto",
    "-Xlog:disable",
    "-Xlog:all=error:stderr",
    "-Djava.awt.headless=true",
    "-Dio.netty.noUnsafe=true",
)
_SETTINGS = {
    "cluster.name": "harness",
    "node.name": "harness",
    "discovery.type": "single-node",
    "network.host": "127.0.0.1",
    "transport.port": "0",
    "indices.breaker.total.use_real_memory": "false",
    "cluster.routing.allocation.disk.threshold_enabled": "false",  # a full disk of a CI machine is not the subject
}


def missing(flavour: str) -> str | None:
    """Return why this flavour cannot be had here, or None; downloads it at the first call."""
    try:
        prepared(flavour)
    except MissingError as error:
        return error.reason
    return None


class Remote(Counterpart):
    """A server to test against that somebody else runs (`ES_URL`): its `url`, and what tests ask of it.

    A user and password may stand in the URL; `ca_file` is what its certificate is checked with.
    """

    def __init__(self, url: str, *, flavour: str, ca_file: Path | None = None) -> None:
        parts = urllib.parse.urlsplit(url)
        port = "" if parts.port is None else f":{parts.port}"
        self.url = f"{parts.scheme}://{parts.hostname}{port}"
        self.flavour = flavour
        self.user: str | None = parts.username and urllib.parse.unquote(parts.username)
        self.password: str | None = parts.password and urllib.parse.unquote(parts.password)
        self.ca_file = ca_file
        self.fingerprint: str | None = None
        """SHA-256 of the server's own certificate, if known; None without TLS."""

    @property
    def is_opensearch(self) -> bool:
        """True for OpenSearch of any version."""
        return self.flavour.startswith("opensearch")

    def stop(self) -> None:
        """End it; a server that somebody else runs goes on."""

    def kill(self) -> None:
        """End it as `kill -9` does."""
        raise MissingError("a server that somebody else runs (ES_URL) cannot be killed: start one with `start_server`")

    def restart(self, *, is_waiting: bool = True) -> None:
        """Start it again on the same port and data."""
        raise MissingError("a server that somebody else runs (ES_URL) cannot be restarted: use `start_server`")

    def request(
        self, method: str, path: str, body: Body = None, *, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """Return (status, JSON) of one request, as the administrator unless `headers` say otherwise."""
        sent = {**self._authorization(), **(headers or {})}
        return call(self.url, method, path, body, headers=sent, context=self._context())

    def ask(self, method: str, path: str, body: Body = None) -> Any:
        """Return the JSON of one request that must succeed; raise ValueError with the answer if it does not."""
        status, answer = self.request(method, path, body)
        if status >= 300:
            raise ValueError(f"{method} {path}: {status} {answer}")
        return answer

    def refresh(self, index: str = "*") -> None:
        """Make all that was written visible to searches."""
        self.ask("POST", f"/{index}/_refresh?ignore_unavailable=true")

    def count(self, index: str) -> int:
        """Return how many documents the indices that match have, after a refresh; 0 if there are none."""
        path = f"/{index}/_count?ignore_unavailable=true"
        self.refresh(index)
        what = f"shards of {index}"  # those of an index that was made just now answer 503
        wait_until(lambda: self.request("GET", path)[0] != _NO_SHARD_YET, what=what, timeout_seconds=30)
        return int(self.ask("GET", path)["count"])

    def search_all(self, index: str) -> list[dict[str, Any]]:
        """Return every document of the indices that match, after a refresh: `{"_index", "_id", "_source"}`, sorted."""
        self.refresh(index)
        query = {"size": 5000, "sort": ["_doc"], "query": {"match_all": {}}}
        answer = self.ask("POST", f"/{index}/_search?scroll=1m&ignore_unavailable=true", query)
        found: list[dict[str, Any]] = []
        while hits := answer["hits"]["hits"]:
            found += [{name: hit[name] for name in ("_index", "_id", "_source")} for hit in hits]
            answer = self.ask("POST", "/_search/scroll", {"scroll": "1m", "scroll_id": answer["_scroll_id"]})
        if "_scroll_id" in answer:  # else no index matched, on OpenSearch
            self.request("DELETE", "/_search/scroll", {"scroll_id": [answer["_scroll_id"]]})  # 404: it ended by itself
        return sorted(found, key=lambda hit: (hit["_index"], hit["_id"]))

    def delete_all(self, prefix: str) -> None:
        """Delete the indices, templates and pipelines whose names begin so."""
        rows = self.ask("GET", f"/_cat/indices/{prefix}*?format=json&h=index&expand_wildcards=all")
        for row in rows or ():
            self.ask("DELETE", f"/{row['index']}")
        for kind in ("_index_template", "_component_template", "_ingest/pipeline"):
            status, answer = self.request("GET", f"/{kind}/{prefix}*")
            for name in _names(answer) if status == 200 else ():
                self.ask("DELETE", f"/{kind}/{name}")

    def create_api_key(self, roles: Mapping[str, Any] | None = None, *, expiration: str | None = None) -> str:
        """Return a new API key as `Authorization: ApiKey …` wants it; without roles it may do all that the user may."""
        body: dict[str, Any] = {"name": f"key-{os.urandom(4).hex()}", "role_descriptors": dict(roles or {})}
        if expiration is not None:
            body["expiration"] = expiration
        return str(self.ask("POST", "/_security/api_key", body)["encoded"])

    def _authorization(self) -> dict[str, str]:
        if self.user is None:
            return {}
        token = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        return {"authorization": f"Basic {token}"}

    def _context(self) -> ssl.SSLContext | None:
        if not self.url.startswith("https:"):
            return None
        return ssl.create_default_context(cafile=self.ca_file)


def _names(answer: Any) -> list[str]:
    for kind in ("index_templates", "component_templates"):
        if kind in answer:
            return [entry["name"] for entry in answer[kind]]
    return list(answer)


class Server(Remote):
    """A server of our own: started by the constructor, ended by `stop()`, its data deleted then.

    `kill()` is kill -9; after it `restart()` comes back on the same port with the same data. `extra_settings` are node
    settings, such as `{"thread_pool.write.queue_size": 1}`. `is_full_speed` is for benchmarks: it starts slower.
    `is_waiting=False` is for settings that keep the cluster from forming, see `restart`.

    As they come from Maven Central, the Elasticsearch nodes have no ILM (400), no painless, no ingest processors, no
    `_data_stream` API, no built-in `logs-*-*` template, and not all field types (no match_only_text, constant_keyword,
    wildcard, scaled_float); OpenSearch has painless and processors, but no ISM. Elasticsearch's `GET /` is the
    harness's own: it asks for no privilege.
    """

    def __init__(
        self,
        flavour: str,
        *,
        extra_settings: Mapping[str, object] | None = None,
        heap_mb: int = 512,
        is_full_speed: bool = False,
        is_waiting: bool = True,
    ) -> None:
        self._distribution = prepared(flavour)
        self._kind = self._distribution.flavour
        super().__init__(f"{'https' if self._kind.is_secure else 'http'}://127.0.0.1:{free_port()}", flavour=flavour)
        self.directory = scratch(flavour)
        for folder in ("config", "tmp"):
            (self.directory / folder).mkdir()
        if self._kind.is_secure:
            self._secure()
        self._settings = {**_SETTINGS, **self._kind.settings, **(extra_settings or {})}
        self._jvm = [f"-Xms{heap_mb}m", f"-Xmx{heap_mb}m", *([] if is_full_speed else ["-XX:TieredStopAtLevel=1"])]
        self._process: Process | None = None
        self._new_archive = self.directory / "classes.jsa"
        self.restart(is_waiting=is_waiting)

    @property
    def pid(self) -> int | None:
        """The process id; None while it does not run."""
        return None if self._process is None else self._process.pid

    @property
    def log(self) -> Path:
        """What the node prints."""
        return self.directory / "log"

    def stop(self) -> None:
        """End it (SIGTERM) and delete its data; may be repeated."""
        self.pause()
        shutil.rmtree(self.directory, ignore_errors=True)

    def pause(self) -> None:
        """End it (SIGTERM), but keep its port and data for `restart()`."""
        if self._process is None:
            return
        status = self._process.stop(timeout_seconds=40)
        self._process = None
        if self._new_archive.exists() and status == _TERMINATED:
            self._keep_archive()

    def kill(self) -> None:
        """End it as `kill -9` does; its port and data stay for `restart()`."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def restart(self, *, is_waiting: bool = True) -> None:
        """Start it (again) on the same port and data; return once every shard that it had is back.

        Without `is_waiting` it returns as soon as the port is open: as in production there are then some seconds with
        503, with 401 for valid API keys, and with bulks that wait.
        """
        self.pause()
        self._process = Process(self._command(), log=self.log)
        try:
            self._process.wait_ready(timeout_seconds=_READY_SECONDS)
            if is_waiting:
                wait_until(self._has_recovered, what=f"{self.flavour} has its shards", timeout_seconds=_READY_SECONDS)
        except (DiedError, TimeoutError):
            self.stop()
            raise

    def _has_recovered(self) -> bool:
        status, health = self.request("GET", "/_cluster/health?wait_for_status=yellow&timeout=5s")
        return status == 200 and not health["timed_out"]

    def _command(self) -> list[str | Path]:
        distribution = self._distribution
        settings = {
            "path.home": distribution.home,
            "path.data": self.directory / "data",
            "path.logs": self.directory / "logs",
            "http.port": urllib.parse.urlsplit(self.url).port,
            **self._settings,
        }
        return [
            distribution.jdk.java,
            *_FLAGS,
            *self._jvm,
            *self._kind.flags,
            *self._class_data_flags(),
            *(self._zstd_flags() if self._kind.uses_zstd else []),
            f"-Djava.io.tmpdir={self.directory / 'tmp'}",
            *distribution.launch_flags,
            self._kind.main,
            ",".join(self._kind.plugins) or distribution.home / "modules",
            self.directory / "config",
            *(f"{key}={value}" for key, value in settings.items()),
        ]

    def _class_data_flags(self) -> list[str]:
        """The archive of loaded classes, which halves the start; where there is none, this run leaves one."""
        archive = self._distribution.class_data_archive
        option = f"SharedArchiveFile={archive}" if archive.exists() else f"ArchiveClassesAtExit={self._new_archive}"
        return [f"-XX:{option}"]

    def _keep_archive(self) -> None:
        archive = self._distribution.class_data_archive
        beside = archive.with_name(f"{archive.name}.{self.directory.name}")
        shutil.move(self._new_archive, beside)
        beside.replace(archive)  # at once: others may be starting

    def _zstd_flags(self) -> list[str]:
        for library in (*Path("/usr/lib").glob("*/libzstd.so.1"), *Path("/").glob("usr/lib*/libzstd.so.1")):
            native = self.directory / "native"
            native.mkdir(exist_ok=True)
            shutil.copyfile(library, native / "libzstd.so")
            return [f"-Des.nativelibs.path={native}", "-Dorg.elasticsearch.nativeaccess.enableVectorLibrary=false"]
        return []

    def _secure(self) -> None:
        """TLS by a certificate authority of this node alone, and an administrator in the file realm."""
        config = self.directory / "config"
        authority = trustme.CA()
        certificate = authority.issue_cert("127.0.0.1", "localhost")
        certificate.private_key_pem.write_to_path(config / "http.key")
        for blob in certificate.cert_chain_pems:
            blob.write_to_path(config / "http.pem", append=True)
        self.ca_file = self.directory / "ca.pem"
        authority.cert_pem.write_to_path(self.ca_file)
        own = ssl.PEM_cert_to_DER_cert(certificate.cert_chain_pems[0].bytes().decode())
        self.fingerprint = fingerprint_of(own)
        self.user, self.password = "admin", "a password of the tests"
        (config / "users").write_text(f"{self.user}:{_password_hash(self.password)}\n")
        (config / "users_roles").write_text(f"superuser:{self.user}\n")


def fingerprint_of(certificate: bytes) -> str:
    """Return the SHA-256 of a certificate in DER, as `ssl_assert_fingerprint` wants it."""
    return hashlib.sha256(certificate).hexdigest()


def _password_hash(password: str) -> str:
    salt = os.urandom(32)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, 10_000)[:32]
    return "{{PBKDF2}}10000${}${}".format(*(base64.b64encode(part).decode() for part in (salt, digest)))
