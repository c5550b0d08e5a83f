"""`shipper setup`: installs the index template, and the lifecycle policy where the server has such a thing.

Asks the server what it takes and falls back by its own errors; changes nothing that is already so, and nothing that
somebody else made. Works with Elasticsearch and OpenSearch.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import msgspec

from shipper import __version__
from shipper.elastic.transport import Cluster, NotAnsweredError
from shipper.errors import ShipperError
from shipper.settings import ElasticsearchSettings
from shipper.templates import ALL_FEATURES, MANAGED_BY, Feature, index_template, name_of, policy

_FIRST_WITH_FLATTENED_OBJECTS = (8, 14)
"""The oldest version on which documents with objects were seen to be taken where `subobjects` is false."""
_HEADERS = {"content-type": "application/json"}


class Step(msgspec.Struct, frozen=True):
    """One thing on the server, and what is to be done: `state` is create, update, unchanged, kept or foreign."""

    what: str
    path: str
    body: dict[str, Any]
    state: str
    note: str = ""

    @property
    def is_to_be_sent(self) -> bool:
        return self.state in ("create", "update")


class RefusedError(ShipperError):
    """The server did not answer, or did not take a request of the setup; the message holds its reason."""


class _Server:
    """Requests in JSON."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        """Return status and JSON (None if the answer is none); raise RefusedError if nobody answers, or we may not."""
        sent = b"" if body is None else json.dumps(body).encode()
        try:
            answer = self._cluster.request(method, path, sent, headers=_HEADERS)
        except NotAnsweredError as error:
            raise RefusedError(f"the server does not answer: {error}") from None
        try:
            content = msgspec.json.decode(answer.body)
        except msgspec.MsgspecError:
            content = None
        if answer.status in (401, 403):
            raise RefusedError(f"{method} {path}: not allowed ({answer.status}): {_reason(content)}")
        return answer.status, content

    def __str__(self) -> str:
        return str(self._cluster)


def setup(
    settings: ElasticsearchSettings,
    *,
    dry_run: bool,
    echo: Callable[[str], None],
    force: bool = False,
    aliases: bool = True,
    taken: frozenset[str] = frozenset(),
    as_json: bool = False,
    complain: Callable[[str], None] | None = None,
) -> int:
    """Make the server ready, and say by `echo` what is done, and by `complain` (default: the same) what is in the way;
    return 0, or 1 if it is not ready.

    With `dry_run` it says what it would send. `force` replaces what somebody else made; `aliases` and `taken` as in
    `index_template`; `as_json` says it as one object. Raises OutputError where the settings can never work.
    """
    agent = f"shipper/{__version__}"
    cluster = Cluster(settings=settings, user_agent=agent, opaque_id=f"{agent} setup", monotonic=time.monotonic)
    server = _Server(cluster)
    try:
        steps, error = plan(server, settings.index, force=force, aliases=aliases, taken=taken), ""
        if not dry_run:
            steps, error = apply(server, steps)
    except RefusedError as refused:
        steps, error = [], str(refused)
    finally:
        cluster.close()
    if as_json:
        echo(json.dumps(as_data(steps, error=error, is_dry=dry_run), indent=2))
    else:
        _say(steps, echo, is_dry=dry_run)
        if error:
            (complain or echo)(error)
        else:
            _say_limits(steps, echo)
    return 0 if _is_ready(steps, error) else 1


def plan(
    server: _Server, pattern: str, *, force: bool = False, aliases: bool = True, taken: frozenset[str] = frozenset()
) -> list[Step]:
    """Return what would be sent, in order; changes nothing on the server."""
    name = name_of(pattern)
    policy_step = _policy_step(server, name, force=force)
    features = ALL_FEATURES if policy_step is not None else ALL_FEATURES - {Feature.LIFECYCLE}
    if not _takes_objects_as_fields(server):
        features -= {Feature.SUBOBJECTS}

    def body_for(features: frozenset[Feature]) -> dict[str, Any]:
        return index_template(pattern, features=features, aliases=aliases, taken=taken)

    body = body_for(_accepted(server, features, body_for))
    path = f"/_index_template/{name}"
    status, found = server.ask("GET", path)
    known = _existing_template(found, name) if status == 200 else None
    template_step = Step("index template", path, body, template_state(known, body, force=force))
    return [step for step in (policy_step, template_step) if step is not None]


def apply(server: _Server, steps: list[Step]) -> tuple[list[Step], str]:
    """Send what has to be sent; return the steps that are done, and why the others are not ('' if all are)."""
    for position, step in enumerate(steps):
        if not step.is_to_be_sent:
            continue
        try:
            status, answer = server.ask("PUT", step.path, step.body)
        except RefusedError as error:
            return steps[:position], str(error)
        if status >= 300:
            return steps[:position], f"PUT {step.path}: {status}: {_reason(answer)}"
    return steps, ""


def _is_ready(steps: list[Step], error: str) -> bool:
    return not error and all(step.state != "foreign" for step in steps)


def as_data(steps: list[Step], *, error: str, is_dry: bool) -> dict[str, Any]:
    """For programs; bodies are those that were sent, or would be."""
    return {
        "is_ready": _is_ready(steps, error),
        "is_dry": is_dry,
        "error": error,
        "steps": [
            {
                "what": step.what,
                "path": step.path,
                "state": step.state,
                "note": step.note,
                "body": step.body if step.is_to_be_sent else None,
            }
            for step in steps
        ],
    }


def _say(steps: list[Step], echo: Callable[[str], None], *, is_dry: bool) -> None:
    for step in steps:
        echo(f"# {_said(step, 'would be')}" if is_dry else _said(step, "is"))
        if is_dry and step.is_to_be_sent:
            echo(f"PUT {step.path}\n{json.dumps(step.body, indent=2)}\n")


_STATES = {
    "create": "created",
    "update": "updated",
    "unchanged": "unchanged",
    "kept": "kept as it is",
    "foreign": "left alone: somebody else made it; use another index name, or --force to replace it",
}


def _said(step: Step, verb: str) -> str:
    name = step.path.rpartition("/")[2]
    note = f" ({step.note})" if step.note else ""
    return f"{step.what} {name} {verb} {_STATES[step.state]}{note}"


def _say_limits(steps: list[Step], echo: Callable[[str], None]) -> None:
    if len(steps) == 1:
        echo("this server has no index lifecycle management: no index is ever deleted by it")
    echo("indices that are there already stay as they are; the template is for those made from now on")


# What the server has


def _takes_objects_as_fields(server: _Server) -> bool:
    try:
        status, answer = server.ask("GET", "/")
    except RefusedError:  # it needs a privilege that templates do not
        return False
    version = answer.get("version") if status == 200 and isinstance(answer, dict) else None
    if not isinstance(version, dict) or version.get("distribution", "elasticsearch") != "elasticsearch":
        return False
    return version_of(str(version.get("number", ""))) >= _FIRST_WITH_FLATTENED_OBJECTS


def version_of(number: str) -> tuple[int, ...]:
    """Return `8.14.3-SNAPSHOT` as (8, 14); empty if it is no version."""
    parts = number.split(".")[:2]
    return tuple(map(int, parts)) if len(parts) == 2 and all(part.isdecimal() for part in parts) else ()


def _accepted(
    server: _Server, features: frozenset[Feature], body_for: Callable[[frozenset[Feature]], dict[str, Any]]
) -> frozenset[Feature]:
    """The features that the server takes; asked about names that match nothing, it says which it does not know."""
    while True:
        body = {**body_for(features), "index_patterns": [f"{MANAGED_BY}-{uuid4().hex}"]}
        status, answer = server.ask("POST", "/_index_template/_simulate", body)
        if status in (200, 404, 405):  # or it cannot be asked, and will say it when the template is sent
            return features
        said = json.dumps(answer)
        lacking = {feature for feature in features if feature.value in said}
        if not lacking:
            raise RefusedError(f"the server does not take the index template: {status}: {_reason(answer)}")
        features -= lacking


def _policy_step(server: _Server, name: str, *, force: bool) -> Step | None:
    """The policy, or None where there are none. One that is there is left alone: its retention may have been chosen."""
    path = f"/_ilm/policy/{name}"
    status, answer = server.ask("GET", path)
    wanted = policy()
    if status == 404 and not _is_unknown_path(answer):
        return Step("lifecycle policy", path, wanted, "create", _retention(wanted["policy"]))
    if status != 200 or not isinstance(answer, dict) or name not in answer:
        return None
    known = answer[name].get("policy", {})
    is_same = _retention(known) == _retention(wanted["policy"])
    state = "unchanged" if is_same else "update" if force else "kept"
    return Step("lifecycle policy", path, wanted, state, _retention(wanted["policy"] if state == "update" else known))


def _is_unknown_path(answer: Any) -> bool:
    """Whether a 404 is not about the policy: servers without the plugin say so in different ways."""
    return not isinstance(answer, dict) or "no handler" in json.dumps(answer)


def _retention(found: dict[str, Any]) -> str:
    delete = found.get("phases", {}).get("delete")
    return f"deletes indices {delete.get('min_age')} after they were made" if delete else "deletes no index"


# Templates that are there


def _existing_template(answer: Any, name: str) -> dict[str, Any] | None:
    for entry in answer.get("index_templates", ()) if isinstance(answer, dict) else ():
        if entry.get("name") == name:
            found = entry.get("index_template")
            return found if isinstance(found, dict) else None
    return None


def template_state(known: dict[str, Any] | None, wanted: dict[str, Any], *, force: bool) -> str:
    """Return whether the template has to be made (create, update), is there (unchanged), or is another's (foreign)."""
    if known is None:
        return "create"
    if known.get("_meta", {}).get("managed_by") != MANAGED_BY and not force:
        return "foreign"
    return "unchanged" if _comparable(known) == _comparable(wanted) else "update"


def _comparable(template: dict[str, Any]) -> Any:
    """What says the same in the same words: servers give settings back nested, and all values as texts."""
    inner = template.get("template", {})
    return (
        sorted(template.get("index_patterns", ())),
        template.get("priority"),
        template.get("_meta"),
        _flat(inner.get("settings", {})),
        inner.get("mappings"),
    )


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = str(value).lower() if isinstance(value, bool) else str(value)
    return flat


def _reason(answer: Any) -> str:
    """The innermost reason of a server's error, in one line."""
    error = answer.get("error") if isinstance(answer, dict) else None
    while isinstance(error, dict) and isinstance(error.get("caused_by"), dict):
        error = error["caused_by"]
    said = error.get("reason") if isinstance(error, dict) else error
    return " ".join(str(said or answer or "no reason given").split())[:500]
