"""What is fuzzed: each target takes any bytes and raises only if the product is wrong.

Errors that the product promises (ConfigError for a bad configuration, Damaged for an archive) are answers, no findings.
"""

from __future__ import annotations

import gzip
import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

from exporter.exposition import accepts_gzip, negotiate
from exporter.messages import BadRequestError, Response, format_response, parse_head
from exporter.rules import default_rules, parse_rules
from exporter.scrape import ScrapeRequest
from exporter.site import ServerHooks, Site
from exporter.users import login_of
from exporter.webconfig import parse_web_config
from shipper.batch import MISSING, Columns
from shipper.config import CommandLine
from shipper.config.checks import checks
from shipper.config.compose import compose
from shipper.config.decode import Decoder
from shipper.config.document import Problems
from shipper.errors import ConfigError, ExpressionError
from shipper.explain import Explainer, Origin
from shipper.expressions import compile_predicate, compile_value
from shipper.openapi import openapi_patterns
from shipper.redact.rules import Rules
from shipper.route import Router
from shipper.routepatterns import RoutePatterns, parse_pattern
from shipper.settings import Format, Pack, RedactSettings, Settings, SourceSettings
from shipper.tail import Chunk, Damaged, LineReader, reader_for

SLOW_SECONDS = 3
_INDEX = re.compile(r"logs-(20[0-9]{2}\.[0-9]{2}\.[0-9]{2}|undated)", re.ASCII)
_HERE = Path("/etc/shipper")


class Target(NamedTuple):
    """A function over any bytes, and texts from which a fuzzer learns what it is about."""

    run: Callable[[bytes], None]
    seeds: Sequence[bytes]


@cache
def _explainer(line_format: Format) -> Explainer:
    source = SourceSettings(name="a", paths=("/logs/*",), format=line_format)
    settings = Settings(sources=(source,), redact=RedactSettings(packs=tuple(Pack), ip="truncate"))
    origin = Origin(source, "/logs/app.log", "app.log")
    return Explainer(settings=settings, rules=default_rules(), origin=origin)


def lines(data: bytes, line_format: Format = Format.JSON) -> None:
    """A line is parsed, redacted, enriched and counted: it becomes JSON, in an index of ours, or is set aside."""
    text = data.replace(b"\n", b" ") + b"\n"
    for found in _explainer(line_format).explain([Chunk(0, len(text), text)]):
        if not json.dumps(found.get("document", {})).startswith("{"):
            raise AssertionError(f"a document that is no object: {found['document']!r}")
        if "index" in found and not _INDEX.fullmatch(found["index"]):
            raise AssertionError(f"an index that is not ours: {found['index']!r}")


def docker(data: bytes) -> None:
    """A container runtime's line, its frame whole or broken."""
    lines(data, Format.DOCKER)


def cri(data: bytes) -> None:
    """The same, of Kubernetes."""
    lines(data, Format.CRI)


def joining(data: bytes) -> None:
    """Many framed lines, parts of lines among them: each byte of the file belongs to one line at most."""
    position = 0
    text = data + b"\n"
    for line_format in (Format.DOCKER, Format.CRI):
        for found in _explainer(line_format).explain([Chunk(0, len(text), text)]):
            if found["offset"] < position:
                raise AssertionError("a line begins before the one that stands before it")
            position = found["offset"]
        position = 0


def expressions(data: bytes) -> None:
    """A text is an expression, or it is said where it is none; over odd columns it gives a value a line."""
    text = data.decode("utf-8", "replace")
    columns: dict[str, Sequence[Any]] = {
        "a": [1, "2", None, MISSING, True, [1], {"b": 2}, 1e308],
        "b": ["x"] * 8,
        "url": ["/a/1?b"] * 8,
    }
    for compiled in (compile_predicate, compile_value):
        try:
            run = compiled(text)
        except ExpressionError as error:
            if not 1 <= error.column <= len(text) + 1:
                raise AssertionError(f"column {error.column} of {text!r}") from error
            continue
        if len(run(Columns((field, columns.get(field, [MISSING] * 8)) for field in run.fields), 8)) > 8:
            raise AssertionError(f"{text!r} gives more values than lines")


@cache
def _router() -> Router:
    return Router()


def routes(data: bytes) -> None:
    """Any text has a route, no longer than a label may be, and the route of a route is itself."""
    url = data.decode("utf-8", "surrogateescape")
    found = _router().route(url)
    if not isinstance(found, str) or len(found) > len(url) + 64:
        raise AssertionError(f"route({url!r}) is {found!r}")


def openapi(data: bytes) -> None:
    """A description of an API is read, or what is wrong with it is said with its file; its routes are routes, and
    any path fits one of them or none, soon.
    """
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        try:
            found = openapi_patterns(file.name)
        except ConfigError as error:
            if not error.problems or not all(file.name in problem for problem in error.problems):
                raise AssertionError(f"a problem without its file: {error.problems}") from error
            return
    router = Router(patterns=RoutePatterns(found), is_complete=True)
    for pattern in found[:20]:
        path = "/" + "/".join("7" if part.is_parameter else part.text for part in parse_pattern(pattern))
        for url in (path, path + "-" * 200, path.replace(":", "") + "/x"):
            _soon(router.route, url, f"the route of {url!r} by {pattern!r}")


def patterns(data: bytes) -> None:
    """Lines of patterns, and then of paths: what is no pattern is said, and each path has a route soon."""
    written, _, paths = data.decode("utf-8", "replace").partition("\n\n")
    good = []
    for text in written.split("\n"):
        try:
            parse_pattern(text)
        except ValueError:
            continue
        good.append(text)
    router = Router(patterns=RoutePatterns(good))
    for path in paths.split("\n"):
        _soon(router.route, path, f"the route of {path!r} by {good!r}")


def _soon(function: Callable[[Any], Any], argument: Any, what: str) -> Any:
    """What the function gives; raises if it takes seconds."""
    started = time.process_time()
    given = function(argument)
    if time.process_time() - started > SLOW_SECONDS:
        raise AssertionError(f"{what} takes seconds")
    return given


@cache
def _rules(*, is_all: bool) -> Rules:
    return Rules(RedactSettings(packs=tuple(Pack), ip="truncate") if is_all else RedactSettings(), key=b"")


SECRET = "q7Zk39vXw2LmT8"
_PLANTED: Sequence[Callable[[str], dict[str, Any]]] = (
    lambda noise: {"m": noise, "password": SECRET, noise: noise},
    lambda noise: {noise: {"a": [noise, {"token": [SECRET, noise]}]}},
    lambda noise: {"m": noise, "headers": [{"name": "Cookie", "value": SECRET, "x": noise}]},
    lambda noise: {"env": [{"value": SECRET, noise: noise, "name": "DB_PASSWORD"}], "m": noise},
    lambda noise: {"rawHeaders": ["Host", "a", "Authorization", SECRET, "X", noise], "m": noise},
    lambda noise: {"argv": [f"a{noise}", "b", "--password", SECRET], "m": noise},
    lambda noise: {"body": json.dumps({"m": noise, "secret": SECRET}), "m": noise},
    lambda noise: {"url": f"/x?a=1&token={SECRET}&b={noise}", "m": noise},
    lambda noise: {"m": f"password={SECRET} {noise}", noise: 1},
    lambda noise: {"m": f"{noise}\n password: '{SECRET}' {noise}"},
    lambda noise: {"m": f"Authorization: Bearer {SECRET} {noise}"},
    lambda noise: {"m": f"postgres://svc:{SECRET}@db/x {noise}"},
)


def redaction(data: bytes) -> None:
    """Of any line nothing planted is left, whatever stands around it; JSON stays JSON, the prefilter
    passes no line that would be changed, and long ones take no longer than their length says.
    """
    line = data.replace(b"\n", b" ").decode("utf-8", "replace").encode()
    rules = _rules(is_all=len(data) % 2 == 0)
    _redacted(line, rules)
    if data[:1] == b"!":
        stretched = line * ((1 << 15) // len(line))
        _soon(lambda text: rules.redact_line(text, []), stretched, "redacting 32 KiB")
    if data:
        document = json.dumps(_PLANTED[data[0] % len(_PLANTED)](data[1:].decode("utf-8", "replace")))
        redacted = _redacted(document.encode(), _rules(is_all=False))
        if SECRET.encode() in redacted:
            raise AssertionError(f"the secret is left in {redacted!r}")


def _redacted(line: bytes, rules: Rules) -> bytes:
    found: list[tuple[str, str]] = []
    redacted = rules.redact_line(line, found)
    if redacted == line:
        return line
    if not found or list(rules.suspects(line, [0])) != [0]:
        raise AssertionError(f"{line!r} is changed, and no rule or the prefilter does not know: {redacted!r}")
    if _is_object(line) and not _is_object(redacted):
        raise AssertionError(f"{line!r} was an object, and is none: {redacted!r}")
    return redacted


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def config(data: bytes) -> None:
    """A configuration is read, or its problems are said, each with a line."""
    problems = Problems(file="x.yml")
    try:
        node = compose(data, problems=problems)
        if node is None:
            return
        decoder = Decoder(problems=problems, environ={"HOME": "/"}, directory=_HERE, checks=checks())
        decoder.section(Settings, node, "")
        problems.raise_any()
    except ConfigError as error:
        _check_problems(error, "x.yml")


def rules(data: bytes) -> None:
    """The same of a file of rules."""
    try:
        parse_rules(data.decode("utf-8", "replace"), file="x.yml")
    except ConfigError as error:
        _check_problems(error, "x.yml")


def web_config(data: bytes) -> None:
    """The same of a web config."""
    try:
        parse_web_config(data, file="x.yml", directory=_HERE)
    except ConfigError as error:
        _check_problems(error, "x.yml")


def _check_problems(error: ConfigError, file: str) -> None:
    if not error.problems or not all(re.match(rf"{file}:\d+: .", problem) for problem in error.problems):
        raise AssertionError(f"a problem without its place: {error.problems}") from error


def archive(data: bytes) -> None:
    """A file, compressed or not, is read to its end or its damage, chunk by chunk, each byte once."""
    descriptor = os.memfd_create("archive")
    try:
        os.write(descriptor, data)
        reader = LineReader(reader_for(descriptor), position=0, max_line_bytes=1000)
        position = 0
        for _ in range(1000):
            try:
                chunk = reader.next_chunk() or reader.tail_chunk()
            except Damaged:
                break
            if chunk is None:
                break
            if not position <= chunk.start <= chunk.end:
                raise AssertionError(f"{chunk.start}..{chunk.end} after {position}")
            position = chunk.end
            if chunk.is_tail:
                break
    finally:
        os.close(descriptor)


@cache
def _site() -> Site:
    def metrics(request: ScrapeRequest) -> Response:
        return Response(body=repr(request).encode(), content_type=request.form.value)

    hooks = ServerHooks(
        metrics=metrics,
        healthy=lambda: (True, ""),
        ready=lambda: (False, "no"),
        status=lambda: {"files": [{"path": "<x>"}]},
        committed_recently=lambda: True,
    )
    return Site(hooks=hooks, host_name="here")


def http(data: bytes) -> None:
    """A request is answered, or refused by a status; no answer has a header that the request wrote."""
    try:
        request = parse_head(data, address="127.0.0.1")
    except BadRequestError as error:
        if error.status not in {400, 413, 505}:
            raise AssertionError(f"refused by {error.status}") from error
        return
    negotiate(request.headers.get("accept", ""))
    accepts_gzip(request.headers.get("accept-encoding", ""))
    login_of(request.headers.get("authorization", ""))
    response = _site().answer(request)
    head, _, _ = format_response(response, is_head=False, is_kept_alive=True).partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 %d " % HTTPStatus(response.status)) or b"\r" in head.replace(b"\r\n", b""):
        raise AssertionError(f"answered by {head!r}")


def command_line(data: bytes) -> None:
    """What is typed after --output, --listen and --drain is taken, or refused without showing a password."""
    from shipper.config import zero_config

    text = data.decode("utf-8", "replace").replace("\0", "")
    for option in ("output", "listen", "drain", "state"):
        typed: dict[str, Any] = {option: text}
        try:
            zero_config(CommandLine(directory=_HERE, paths=("x",), **typed))
        except ConfigError as error:
            if "hunter2" in str(error):
                raise AssertionError("a password is shown") from error


_REQUEST = (
    b'{"timestamp":"2024-01-15T10:30:45.123Z","level":"info","method":"POST","url":"/api/patients/7?token=a",'
    b'"statusCode":201,"duration":145,"ip":"192.168.1.100","password":"x","tags":["a"],"user":{"id":1}}'
)
_CONFIG = (
    b'sources: [{name: a, paths: [x.log], time: [ts], fields: {a.b: "${HOME:-x}"}}]\n'
    b"output: {elasticsearch: {hosts: [http://u:p@h:1], index: x-%Y, compression: none}}\n"
    b'tags: {slow: duration > 2000}\nredact: {fields: {a: mask}, patterns: {w: "W-[0-9]{4}"}}\n'
)
_WEB = (
    b"tls_server_config: {cert_file: a, key_file: b, client_auth_type: NoClientCert, min_version: TLS13}\n"
    b"basic_auth_users: {u: $2y$10$QOauhQNbBCuQDKes6eFzPeMqBSjb7Mr5DUmpZ/VcEd00UAV/LDeSi}\n"
    b"http_server_config: {http2: true, headers: {X-Frame-Options: deny}}\nrate_limit: {interval: 1s, burst: 2}\n"
)
_RULES = b'rules: [{name: a_total, type: counter, when: "exists(a)", labels: {r: "route(url)"}, init: [{r: x}]}]\n'
_HEAD = (
    b"GET /metrics?collect=self HTTP/1.1\r\nHost: here:1\r\nAccept: text/plain;q=0.5,*/*\r\nAuthorization: Basic YTpi"
)
_DOCKER = b'{"log":"{\\"a\\":1}\\n","stream":"stdout","time":"2024-01-15T10:30:45.1Z"}'
_CRI = b'2024-01-15T10:30:45.123456789Z stdout P {"a":'

TARGETS: Mapping[str, Target] = {
    "lines": Target(lines, [_REQUEST, b"plain text", b'{"a":[[[1e400]]]}', b'{"a":"\\ud800","\xff":1}']),
    "docker": Target(docker, [_DOCKER]),
    "cri": Target(cri, [_CRI, _CRI.replace(b" P ", b" F ") + b"1}"]),
    "joining": Target(joining, [_CRI + b"\n" + _CRI.replace(b" P ", b" F ") + b"1}", _DOCKER + b"\n" + _DOCKER]),
    "expressions": Target(expressions, [b'a > 1 and not b in ["x", 2]', b'coalesce(route(url), b) matches "a+"']),
    "routes": Target(routes, [b"/api/patients/7?x=1", b"http://h/a/0b1c/2024-01-15", b"/\xff/%2e%2e//"]),
    "patterns": Target(patterns, [b"/a/:id\n/{a}-{b}.json\n/v1/*\n\n/a/7\n/x-----y.json\n/v1/9/x"]),
    "openapi": Target(
        openapi,
        [
            b'{"openapi":"3.1.0","servers":[{"url":"https://h/api/"}],"paths":{"/a/{id}":{},"/b/{c}-{d}.json":{}}}',
            b"swagger: '2.0'\nbasePath: /v1\npaths:\n  /a/{b}: {get: &x {}}\n  /c: *x\n",
        ],
    ),
    "redaction": Target(
        redaction,
        [
            _REQUEST,
            b"!password=x token: 'y' <secret>z</secret> curl -u a:b &quot;pwd&quot;:&quot;c&quot;",
            b'{"rawHeaders":["Cookie","a"],"env":[{"value":"b","name":"token"}],"argv":["--pwd","c"],"auth":"a1"}',
            b'1{"password":"x"} p%61ssword=y https%3A%2F%2Fa%3Ab%40c eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.a',
        ],
    ),
    "config": Target(config, [_CONFIG, b"a: &a [*a]"]),
    "rules": Target(rules, [_RULES]),
    "web_config": Target(web_config, [_WEB, b"a: &a [x, x]\nb: [*a, *a]"]),
    "archive": Target(
        archive, [gzip.compress(b"{}\n" * 9) * 2, b"\x28\xb5\x2f\xfd\x04\x00\x19\x00\x00{}\n", b"{}\n\0"]
    ),
    "http": Target(http, [_HEAD, _HEAD.replace(b"/metrics", b"/status.json").replace(b"GET", b"HEAD")]),
    "command_line": Target(command_line, [b"http://u:hunter2@h:1/x", b"[::1]:9640", b"2m", b"out/dir"]),
}
