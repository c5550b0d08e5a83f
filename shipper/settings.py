"""What can be configured: the structs that the stages are constructed from, with every default.

Plain data, read from YAML and checked by `config`. The comment of a field (behind it, or above it where it is long) is
its line in docs/configuration.md. Secrets are `Secret`, so that no `repr`, traceback or status shows them.
"""

from __future__ import annotations

import socket
from enum import Enum
from typing import Annotated, Any, Literal

import msgspec

MAX_LINE_BYTES = 1 << 20
DEFAULT_TIME_FIELDS = ("timestamp", "@timestamp", "time", "ts", "date")
DEFAULT_TAGS = {
    "slow_request": "duration > 2000",
    "error_response": "statusCode >= 400",
    "server_error": 'statusCode >= 500 or level == "error"',
}
DEFAULT_INDEX = "logs-%Y.%m.%d"
DEFAULT_LISTEN = "127.0.0.1:9640"


class Secret:
    """A value that prints as `***`. `reveal()` where it is used."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class Format(Enum):
    JSON = "json"
    DOCKER = "docker"
    CRI = "cri"


class Placement(Enum):
    ECS = "ecs"
    SHIPPER = "shipper"


class Start(Enum):
    BEGINNING = "beginning"
    END = "end"


class MetricsStart(Enum):
    NOW = "now"
    BEGINNING = "beginning"


class Coercion(Enum):
    NUMBER = "number"
    STRING = "string"


class Pack(Enum):
    CREDENTIALS = "credentials"
    CONTACT = "contact"
    NATIONAL_IDS = "national_ids"
    PAYMENT = "payment"
    DATES_OF_BIRTH = "dates_of_birth"


class RedactAction(Enum):
    MASK = "mask"
    DROP = "drop"
    TRUNCATE = "truncate"
    HASH = "hash"
    KEEP = "keep"


class Kind(Enum):
    """What a text or a number means beyond its type; `config` reads and checks each in its own way."""

    NAME = "name"
    FIELD = "field name"
    EXPRESSION = "expression"
    PATH = "path"
    GLOB = "path or glob"
    EXCLUDE = "pattern"
    SIZE = "size"
    DURATION = "duration"
    INDEX = "index pattern"
    LISTEN = "host:port"
    URL = "URL"
    FINGERPRINT = "hex"
    HEADER_NAME = "header name"
    HEADER_VALUE = "header value"
    PATTERN = "regular expression"
    SEGMENT = "path segment"
    ROUTE = "route"
    FIELD_OR_NONE = 'field name, or `""`'
    JSON = "JSON value"


class Within(msgspec.Struct, frozen=True):
    """The bounds of a number, both allowed."""

    low: float
    high: float


DEFAULT_SYMLINKS = ("/var/log/pods/*.log*", "/var/lib/docker/containers/*-json.log*")
"""Kubernetes: /var/log/containers leads to /var/log/pods, and from there, with Docker, to its own directory."""

Name = Annotated[str, Kind.NAME]
Field = Annotated[str, Kind.FIELD]
Expression = Annotated[str, Kind.EXPRESSION]
FilePath = Annotated[str, Kind.PATH]
Glob = Annotated[str, Kind.GLOB]
Exclude = Annotated[str, Kind.EXCLUDE]
IndexPattern = Annotated[str, Kind.INDEX]
Listen = Annotated[str, Kind.LISTEN]
Url = Annotated[str, Kind.URL]
Fingerprint = Annotated[str, Kind.FINGERPRINT]
HeaderName = Annotated[str, Kind.HEADER_NAME]
HeaderValue = Annotated[str, Kind.HEADER_VALUE]
Pattern = Annotated[str, Kind.PATTERN]
Segment = Annotated[str, Kind.SEGMENT]
Route = Annotated[str, Kind.ROUTE]
FieldOrNone = Annotated[str, Kind.FIELD_OR_NONE]


class Config(msgspec.Struct, frozen=True):
    """Base of all sections. (`kw_only` is not inherited, and mypy wants `frozen` said again.)"""


class SourceSettings(Config, frozen=True, kw_only=True):
    name: Name  # label of the source in metrics and dead letters; unique
    # files, globs (`**` too) or directories; a file belongs to the first source that matches it
    paths: tuple[Glob, ...]
    exclude: tuple[Exclude, ...] = ()  # patterns of base names or paths that are left alone
    # where symlinks may lead outside the directories of `paths`: directories, or patterns of real paths, in which `*`
    # takes `/` too
    symlinks: tuple[Glob, ...] = DEFAULT_SYMLINKS
    # how a line is packed: `json` is one object a line; `docker` (json-file) and `cri` (Kubernetes) wrap such a line,
    # and their partial lines are joined
    format: Format = Format.JSON
    # the first field that holds a usable time decides; a time without zone is UTC; numbers are s, ms, µs or ns by size
    time: tuple[Field, ...] = DEFAULT_TIME_FIELDS
    start: Start = Start.BEGINNING  # where shipping begins in a file that was there at the very first start
    metrics: bool = True  # do its lines feed the rules?
    ship: bool = True  # do its lines go to the output?
    errors_too: bool = False  # follow Winston's `errors-*` beside `combined-*` as well, although it repeats them
    fields: dict[Field, Any] = {}  # added to every document; a dotted name makes nested objects
    copy: dict[Field, Field] = {}  # new field: name of the field whose value it gets; nothing is renamed
    # rewrites that field in the document, for servers whose mapping insists; without it only expressions convert
    coerce: dict[Field, Coercion] = {}
    # where our own fields go: `ecs` (`host.name`, `log.file.path`, `log.offset`), or `shipper` (all of it below
    # `shipper.`)
    placement: Placement = Placement.ECS
    # a longer line becomes its prefix, tagged `line_too_long`
    max_line_bytes: Annotated[int, Kind.SIZE, Within(1, 64 << 20)] = MAX_LINE_BYTES


class DropSettings(Config, frozen=True, kw_only=True):
    when: Expression  # lines for which it is true are not shipped (the rules still count them)
    # share of them that is shipped all the same, chosen by the id: the same lines every time
    keep: Annotated[float, Within(0, 1)] = 0.0


class RedactSettings(Config, frozen=True, kw_only=True):
    # what is looked for everywhere in a line; giving any replaces the default one
    packs: tuple[Pack, ...] = (Pack.CREDENTIALS,)
    # what happens to the values of a field at any depth, whatever the case of its name; `keep`: left alone by all else
    fields: dict[Field, RedactAction] = {}
    patterns: dict[Name, Pattern] = {}  # name: what is masked wherever it stands in a text (RE2 syntax)
    ip: Literal["keep", "truncate"] = "keep"  # `truncate` leaves the network of each address: /24 of v4, /48 of v6
    url_segments: tuple[Segment, ...] = ()  # the part of a path after each of these is masked: `/patients/***`
    allow_only: tuple[Field, ...] = ()  # if any is given, all other fields are dropped


class ElasticsearchSettings(Config, frozen=True, kw_only=True):
    hosts: tuple[Url, ...]  # `http(s)://[user:password@]host:port[/prefix]`, tried in turn
    index: IndexPattern = DEFAULT_INDEX  # name with `%Y`, `%m`, `%d` of the event's UTC day
    # accept an index name that the server's own `logs-*-*` template makes a data stream
    allow_data_stream: bool = False
    username: str = ""  # basic authentication
    password: Secret | None = None  # of `username`; or `password_file`
    password_file: FilePath = ""  # file that holds it; read again when it changes
    api_key: Secret | None = None  # base64 form, as the server gives it; or `api_key_file`
    api_key_file: FilePath = ""  # file that holds it; read again when it changes
    ca_file: FilePath = ""  # PEM of the authority that signed the server's certificate; default: the system's
    fingerprint: Fingerprint = ""  # SHA-256 of the server's certificate, instead of an authority
    client_certificate: FilePath = ""  # PEM file, for servers that ask for one
    client_key: FilePath = ""  # PEM file; default: the key is in `client_certificate`
    verify: bool = True  # false accepts any certificate; said at every start
    proxy: Url = ""  # `http://[user:password@]host:port`
    headers: dict[HeaderName, HeaderValue] = {}  # sent with every request
    pipeline: str = ""  # ingest pipeline
    compression: Literal["gzip", "none"] = "gzip"  # of the bulk requests
    # size of a bulk request before compression; gives way where the server asks for it
    bulk_bytes: Annotated[int, Kind.SIZE, Within(1 << 10, 100 << 20)] = 2 << 20
    bulk_seconds: Annotated[float, Kind.DURATION, Within(0, 60)] = 0.5  # how long lines wait for company
    concurrency: Annotated[int, Within(1, 8)] = 2  # bulk requests in flight
    request_seconds: Annotated[float, Kind.DURATION, Within(0.1, 3600)] = 90.0  # how long an answer is waited for

    def __repr__(self) -> str:
        """Without headers and proxy, which may hold secrets as plain text."""
        return f"ElasticsearchSettings(hosts={self.hosts!r}, index={self.index!r})"


class LocalSettings(Config, frozen=True, kw_only=True):
    directory: FilePath = "./shipped"  # one NDJSON file a day
    index: IndexPattern = DEFAULT_INDEX  # name with `%Y`, `%m`, `%d` of the event's UTC day; the file is `NAME.ndjson`
    # files whose last write is longer ago are deleted; 0: never
    keep_days: Annotated[int, Within(0, 36500)] = 0
    # the oldest files are deleted beyond this size in all; 0: never
    max_bytes: Annotated[int, Kind.SIZE, Within(0, (1 << 63) - 1)] = 0


class OutputSettings(Config, frozen=True, kw_only=True):
    elasticsearch: ElasticsearchSettings | None = None  # Elasticsearch 8.11+ and 9, OpenSearch 2 and 3
    local: LocalSettings | None = None  # files in a directory; the default


class MetricsSettings(Config, frozen=True, kw_only=True):
    listen: Listen = DEFAULT_LISTEN  # address of page and metrics; `""` for none
    # TLS, users and client certificates for them: a file in the form of Prometheus's exporters
    web_config: FilePath = ""
    # where counting begins in files that are there at the very first start; files met later, and `--once`, count from
    # their beginning
    start: MetricsStart = MetricsStart.NOW
    rules: tuple[Glob, ...] = ()  # rule files; none: the two HTTP rules
    # what `route()` looks for first: paths with `:id` or `{id}` for what varies, `*` at the end for all that is below
    routes: tuple[Route, ...] = ()
    openapi: FilePath = ""  # OpenAPI or Swagger file (JSON or YAML) whose paths are routes as well
    # the field that counters and buckets show as exemplar, to find a line by (OpenMetrics only); `""` for none
    exemplar: FieldOrNone = "requestId"
    created: bool = False  # serve since when each series counts, as `_created` (OpenMetrics only)
    routes_only: bool = False  # every URL that no route fits is `:unmatched`; else only those that were not found (404)


class Settings(Config, frozen=True, kw_only=True):
    sources: tuple[SourceSettings, ...]  # what is read, at least one
    host: str = "auto"  # `host.name` of the documents; `auto`: this machine's; not part of any id
    identity_scope: str = ""  # part of every id; only for fleets whose lines carry neither time nor request id
    state: FilePath = ""  # directory; default: `DIR/.shipper` of a local output, else `./.shipper`
    # tag: when a line gets it; the order here is that in the document; giving any replaces the default ones
    tags: dict[Name, Expression] = msgspec.field(default_factory=lambda: dict(DEFAULT_TAGS))
    drop: tuple[DropSettings, ...] = ()  # lines that are counted, not shipped; the first rule that matches decides
    redact: RedactSettings = RedactSettings()  # what is taken out of the lines before anything else sees them
    # file with a secret of 16 bytes at least: makes `hash`, and the ids of redacted lines, impossible to guess
    identity_key_file: FilePath = ""
    output: OutputSettings = OutputSettings(local=LocalSettings())  # exactly one of the two
    metrics: MetricsSettings = MetricsSettings()  # page, exposition and rules
    # disk space that deleted files may hold that are kept open until they have been delivered; beyond it the oldest are
    # given up, counted as lost and said; 0: no limit
    held_deleted_bytes: Annotated[int, Kind.SIZE, Within(0, (1 << 63) - 1)] = 1 << 30
    # how long a stop goes on delivering (`--drain`)
    drain_seconds: Annotated[float, Kind.DURATION, Within(0, 86400)] = 5.0


def host_name(settings: Settings) -> str:
    """`host.name` of the documents."""
    return socket.gethostname() if settings.host == "auto" else settings.host


def own_directories(settings: Settings) -> list[str]:
    """Directories whose files are never read, whatever the patterns say."""
    local = settings.output.local
    return [settings.state, *([local.directory] if local is not None else [])]
