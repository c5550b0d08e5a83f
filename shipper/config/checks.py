"""What must hold between the fields of a section, and what is odd about settings that are otherwise good.

One function a struct, over what `decode` could read of it; a field that was refused already is simply not there. May
complete values: credentials move from the hosts' URLs to their own fields.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from shipper.config import values
from shipper.config.decode import Check, Section
from shipper.elastic.bulk import check_index_pattern
from shipper.settings import (
    Config,
    DropSettings,
    ElasticsearchSettings,
    LocalSettings,
    MetricsSettings,
    OutputSettings,
    Pack,
    RedactAction,
    RedactSettings,
    Secret,
    Settings,
    SourceSettings,
)

OWN_FIELDS: Final = ("@timestamp", "tags", "host.name", "log.file.path", "log.offset", "shipper", "shipper_fields")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def checks() -> Mapping[type[Config], Check]:
    """The checks for one file (they remember the sources' names)."""
    names: dict[str, int] = {}

    def source(section: Section) -> None:
        _unique_name(section, names)
        _not_empty(section, "paths", "time")
        _added_fields(section)

    return {
        SourceSettings: source,
        ElasticsearchSettings: _elasticsearch,
        LocalSettings: _index,
        OutputSettings: _one_output,
        MetricsSettings: _metrics,
        Settings: _settings,
    }


def _unique_name(section: Section, names: dict[str, int]) -> None:
    name = section.values.get("name")
    if name in names:
        section.problem("name", f"{name!r} is the name of another source, in line {names[name]}")
    elif name is not None:
        names[name] = section.line("name")


def _not_empty(section: Section, *keys: str) -> None:
    for key in keys:
        if section.is_empty(key):
            section.problem(key, "is empty")


def _added_fields(section: Section) -> None:
    fields = list(_leaves(section.values.get("fields", {})))
    copies: dict[str, str] = section.values.get("copy", {})
    added = [("fields", name) for name in fields] + [("copy", name) for name in copies]
    for position, (key, name) in enumerate(added):
        line = section.entry_line(key, name)
        own = next((own for own in OWN_FIELDS if overlap(name, own)), None)
        if own:
            section.problem(key, f"{name!r} collides with {own}, which shipper adds itself", line=line)
        for other_key, other in added[:position]:
            if overlap(name, other):
                section.problem(key, f"{name!r} collides with {other!r} of {other_key}", line=line)
    for name, origin in copies.items():
        if name == origin:
            section.problem("copy", f"{name!r} would be copied to itself", line=section.entry_line("copy", name))
    for name in section.values.get("coerce", {}):
        if any(name == other for _, other in added):
            line = section.entry_line("coerce", name)
            section.problem("coerce", f"{name!r} is added by shipper; coerce is for the line's own fields", line=line)


def overlap(name: str, other: str) -> bool:
    """Whether two dotted names cannot stand in one document: equal, or one within the other."""
    return name == other or name.startswith(other + ".") or other.startswith(name + ".")


def _leaves(fields: Mapping[str, Any], before: str = "") -> Iterator[str]:
    for name, value in fields.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{before}{name}.")
        else:
            yield before + name


def _elasticsearch(section: Section) -> None:
    _not_empty(section, "hosts")
    _hosts(section)
    given = section.values
    for first, second in (("password", "password_file"), ("api_key", "api_key_file"), ("ca_file", "fingerprint")):
        if given.get(first) and given.get(second):
            section.problem(second, f"give either {first} or {second}")
    has_password = given.get("password") or given.get("password_file")
    login = ("username", "password", "password_file")
    is_told = any(section.is_given(key) and key not in given for key in login)  # why it could not be read
    if not is_told and bool(given.get("username")) != bool(has_password):
        missing = "a password (or password_file)" if given.get("username") else "a username"
        section.problem("username" if given.get("username") else "password", f"needs {missing} beside it")
    _one_way_to_log_in(section)
    if given.get("client_key") and not given.get("client_certificate"):
        section.problem("client_key", "needs a client_certificate beside it")
    if given.get("verify") is False and (given.get("ca_file") or given.get("fingerprint")):
        section.problem("verify", "false accepts any certificate, so ca_file or fingerprint would mean nothing")
    _index(section)


def _one_way_to_log_in(section: Section) -> None:
    given = section.values
    ways = {
        "username": bool(given.get("username")),
        "api_key": bool(given.get("api_key") or given.get("api_key_file")),
        "headers": any(name.lower() == "authorization" for name in given.get("headers", {})),
    }
    used = [way for way, is_used in ways.items() if is_used]
    if len(used) > 1:
        shown = " and ".join("headers.Authorization" if way == "headers" else way for way in used)
        section.problem(used[1], f"{shown} are two ways to log in; give one")


def _hosts(section: Section) -> None:
    if "hosts" not in section.values:
        return
    urls = [values.url(host) for host in section.values["hosts"]]
    section.values["hosts"] = tuple(url.address for url in urls)
    logins = {(url.username, url.password) for url in urls}
    if logins <= {("", "")}:
        return
    if len(logins) > 1:
        section.problem("hosts", "all need the same user and password; give username and password_file instead")
    elif any(section.values.get(key) for key in ("username", "password", "password_file")):
        section.problem("hosts", "user and password are given twice: in the URL and beside it")
    else:
        section.values["username"], password = logins.pop()
        section.values["password"] = Secret(password) if password else None


def _index(section: Section) -> None:
    if "index" not in section.values:
        return
    is_server = section.type is ElasticsearchSettings
    may_be_stream = not is_server or section.values.get("allow_data_stream", False)
    for problem in check_index_pattern(section.values["index"], allow_data_stream=may_be_stream):
        section.problem("index", problem)


def _one_output(section: Section) -> None:
    given = [key for key in ("elasticsearch", "local") if section.is_given(key)]
    if len(given) == 2:
        section.problem("local", "there is one output: give either elasticsearch or local")
    elif not given and not section.table.entries:
        section.problems.add(section.table.line, f"{section.where}: give either elasticsearch or local")


def _metrics(section: Section) -> None:
    given = section.values
    if given.get("routes_only") and not (given.get("routes") or given.get("openapi")):
        section.problem("routes_only", "needs routes or openapi beside it; without, every URL would be :unmatched")


def _settings(section: Section) -> None:
    _not_empty(section, "sources")
    redact: RedactSettings | None = section.values.get("redact")
    if redact is not None and not section.values.get("identity_key_file"):
        hashed = [name for name, action in redact.fields.items() if action is RedactAction.HASH]
        if hashed:
            section.problem("redact", f"fields: hash (of {', '.join(hashed)}) needs an identity_key_file")


def warnings(settings: Settings) -> list[str]:
    """What is odd about settings that can be used, for `check` and the log at start; holds no secrets."""
    return [
        *_source_warnings(settings.sources),
        *_drop_warnings(settings.drop),
        *_redact_warnings(settings),
        *_output_warnings(settings.output),
    ]


def _source_warnings(sources: Iterable[SourceSettings]) -> Iterator[str]:
    for source in sources:
        if not source.metrics and not source.ship:
            yield f"source {source.name!r} neither ships nor counts: both ship and metrics are false"


def _drop_warnings(drops: Iterable[DropSettings]) -> Iterator[str]:
    for drop in drops:
        if drop.keep == 1:
            yield f"drop when {drop.when!r} drops nothing: keep is 1"


def _redact_warnings(settings: Settings) -> Iterator[str]:
    redact = settings.redact
    if Pack.CREDENTIALS not in redact.packs:
        yield "redact.packs is without credentials: passwords and tokens that stand in lines are shipped"
    if not redact.allow_only:
        return
    allowed = {name.lower() for name in redact.allow_only}
    for source in settings.sources:
        if not any(_is_within(name.lower(), allowed) for name in source.time):
            yield f"source {source.name!r}: redact.allow_only passes none of its time fields, so its lines have no time"


def _is_within(name: str, allowed: set[str]) -> bool:
    parts = name.split(".")
    return any(".".join(parts[:length]) in allowed for length in range(1, len(parts) + 1))


def _output_warnings(output: OutputSettings) -> Iterator[str]:
    elasticsearch = output.elasticsearch
    if elasticsearch is None:
        return
    logs_in = bool(elasticsearch.username or elasticsearch.api_key or elasticsearch.api_key_file)
    for host in elasticsearch.hosts:
        parts = urlsplit(host)
        if parts.scheme == "http" and logs_in and parts.hostname not in _LOOPBACK:
            yield f"{host}: the credentials are sent unencrypted; use https"
    if not elasticsearch.verify:
        yield "output.elasticsearch.verify is false: any certificate is accepted, so the server may be anybody"
    if all(host.startswith("http:") for host in elasticsearch.hosts):
        for name in ("ca_file", "fingerprint", "client_certificate"):
            if getattr(elasticsearch, name):
                yield f"output.elasticsearch.{name} means nothing: every host is http://"
