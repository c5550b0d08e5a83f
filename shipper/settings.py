"""What can be configured: the structs that the stages are constructed from, with every default.

Plain data, checked by `config` (which reads the YAML). Each field's comment is its line in docs/configuration.md. Secrets
are `Secret`, so that no `repr`, traceback or status shows them.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Literal

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


class _Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base: immutable, by keyword."""


class SourceSettings(_Settings):
    name: str  # label of the source in metrics and dead letters; unique
    paths: tuple[str, ...]  # files, globs (`**` too) or directories; a file belongs to the first source that matches it
    exclude: tuple[str, ...] = ()  # patterns of base names or paths that are left alone
    format: Format = Format.JSON  # json | docker | cri
    time: tuple[str, ...] = DEFAULT_TIME_FIELDS  # the first field that holds a usable time; without zone: UTC
    start: Start = Start.BEGINNING  # shipping of a file that was there at the very first start: beginning | end
    metrics: bool = True  # do its lines feed the rules?
    ship: bool = True  # do its lines go to the output?
    errors_too: bool = False  # follow Winston's errors-* beside combined-* as well, although it repeats them
    fields: dict[str, Any] = {}  # added to every document; a dotted name makes nested objects
    copy: dict[str, str] = {}  # new field: name of the field whose value it gets; nothing is renamed
    coerce: dict[str, Coercion] = {}  # field: number | string; rewrites that field in the document
    placement: Placement = Placement.ECS  # ecs: host.name, log.file.path, log.offset; shipper: all of it below `shipper`
    max_line_bytes: int = MAX_LINE_BYTES  # a longer line becomes its prefix, tagged line_too_long


class DropSettings(_Settings):
    when: str  # expression: lines that are not shipped (the rules still count them)
    keep: float = 0.0  # share from 0 to 1 that is shipped all the same, chosen by the id: the same lines every time


class ElasticsearchSettings(_Settings):
    hosts: tuple[str, ...]  # http(s)://[user:password@]host:port[/prefix], tried in turn
    index: str = DEFAULT_INDEX  # strftime pattern of the event's UTC day
    allow_data_stream: bool = False  # accept an index name that the server's own logs-*-* template makes a data stream
    username: str = ""  # basic authentication
    password: Secret | None = None  # (or password_file)
    password_file: str = ""  # read again when it changes
    api_key: Secret | None = None  # base64 form, as the server gives it (or api_key_file)
    api_key_file: str = ""  # read again when it changes
    ca_file: str = ""  # PEM; default: the system's
    fingerprint: str = ""  # SHA-256 of the server's certificate, hex, instead of a CA
    client_certificate: str = ""  # PEM file
    client_key: str = ""  # PEM file
    verify: bool = True  # false accepts any certificate; said at every start
    proxy: str = ""  # http://[user:password@]host:port
    headers: dict[str, str] = {}  # sent with every request
    pipeline: str = ""  # ingest pipeline
    compression: Literal["gzip", "none"] = "gzip"  # of the bulk requests
    bulk_bytes: int = 2 << 20  # size of a bulk request before compression
    bulk_seconds: float = 0.5  # how long lines wait for company
    concurrency: int = 2  # bulk requests in flight, 1 to 8
    request_seconds: float = 90.0  # how long an answer is waited for


class LocalSettings(_Settings):
    directory: str = "./shipped"  # one NDJSON file a day
    index: str = DEFAULT_INDEX  # strftime pattern of the event's UTC day; the file is INDEX.ndjson
    keep_days: int = 0  # files whose last write is longer ago are deleted; 0: never
    max_bytes: int = 0  # oldest files are deleted beyond this size (10GB); 0: never


class OutputSettings(_Settings):
    elasticsearch: ElasticsearchSettings | None = None  # one of the two
    local: LocalSettings | None = None  # the default


class MetricsSettings(_Settings):
    listen: str = DEFAULT_LISTEN  # host:port of page and metrics; "" for none
    start: MetricsStart = MetricsStart.NOW  # files there at the very first start are counted from: now | beginning
    rules: tuple[str, ...] = ()  # rule files or globs; none: the two HTTP rules


class Settings(_Settings):
    sources: tuple[SourceSettings, ...]
    host: str = "auto"  # host.name of the documents; auto: this machine's; not part of any id
    identity_scope: str = ""  # part of every id; only for fleets whose lines carry neither time nor request id
    state: str = ""  # directory; default: DIR/.shipper of a local output, else ./.shipper
    tags: dict[str, str] = msgspec.field(default_factory=lambda: dict(DEFAULT_TAGS))  # name: expression; the order is that in the document
    drop: tuple[DropSettings, ...] = ()  # lines that are counted, not shipped; the first rule that matches decides
    output: OutputSettings = OutputSettings(local=LocalSettings())  # elasticsearch or local
    metrics: MetricsSettings = MetricsSettings()  # page, exposition and rules
    drain_seconds: float = 5.0  # how long a stop goes on delivering (--drain)
