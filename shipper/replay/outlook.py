"""What a server's lifecycle policies would do with replayed indices: for `--dry-run`, before anything is sent in vain.

Only asks. A server without lifecycle management (OpenSearch, a bare node) says nothing, and nothing is said of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from typing import Any
from urllib.parse import quote

import msgspec

from shipper.elastic.asking import Asking
from shipper.errors import OutputError
from shipper.settings import ElasticsearchSettings

_DAY_MS = 86_400_000
_UNITS = {"d": _DAY_MS, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_AGE = re.compile(r"(\d+)(d|h|m|s|ms)")
_DAY = re.compile(r"(\d{4})[.-]?(\d{2})[.-]?(\d{2})")


class Fate(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an index that would be written to."""

    index: str
    policy: str
    kept_ms: int | None
    """How long the policy keeps an index; None if it never deletes."""
    born_ms: int | None
    """Since when its age counts; None if it would be made by the replay."""


def notes(fates: Iterable[Fate], *, now_ms: int) -> list[str]:
    """Warnings for people, one for each policy and kind. Pure."""
    doomed: dict[tuple[str, int], list[str]] = {}
    fresh: dict[tuple[str, int], list[str]] = {}
    for fate in fates:
        if fate.kept_ms is None:
            continue
        if fate.born_ms is None:
            fresh.setdefault((fate.policy, fate.kept_ms), []).append(fate.index)
        elif now_ms - fate.born_ms >= fate.kept_ms:
            doomed.setdefault((fate.policy, fate.kept_ms), []).append(fate.index)
    return [
        *(
            f"warning: {_named(names)} would be deleted by your policy {policy} at its next run: "
            f"older than {_age(kept)}"
            for (policy, kept), names in doomed.items()
        ),
        *(
            f"{_named(names)} would be new; policy {policy} keeps {_them(names)} {_age(kept)} from now, "
            "whatever day the lines are of"
            for (policy, kept), names in fresh.items()
        ),
    ]


def _named(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]} ({len(names)} indices)"


def _them(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "them"


def _age(milliseconds: int) -> str:
    days = milliseconds / _DAY_MS
    return f"{days:g} days" if days >= 1 else f"{milliseconds / 3_600_000:g} hours"


def age_ms(text: str) -> int | None:
    """Milliseconds of an age as policies have it (`30d`); None for what is none."""
    match = _AGE.fullmatch(text)
    return int(match[1]) * _UNITS[match[2]] if match else None


class Oracle:
    """Asks a server about indices; what it answers about policies is asked once."""

    def __init__(self, settings: ElasticsearchSettings) -> None:
        """Raises OutputError where the settings can never work."""
        self._asking = Asking(settings, purpose="dry run", patience_seconds=5.0)
        self._kept: dict[str, int | None] = {}

    def close(self) -> None:
        self._asking.close()

    def fates(self, indices: Iterable[str]) -> list[Fate]:
        """Of those that a policy is in charge of. Raises OutputError if the server cannot be asked."""
        found = []
        for index in indices:
            existing = self._existing(index)
            settings = existing if existing is not None else self._template(index)
            lifecycle = settings.get("lifecycle") or {}
            policy = str(lifecycle.get("name") or "")
            if policy:
                born = born_ms(index, lifecycle, settings.get("creation_date") if existing is not None else None)
                found.append(Fate(index=index, policy=policy, kept_ms=self._kept_ms(policy), born_ms=born))
        return found

    def _existing(self, index: str) -> dict[str, Any] | None:
        status, answer = self._ask("GET", f"/{quote(index, safe='')}/_settings")
        if status != 200 or not answer:
            return None
        first = next(iter(answer.values()))
        return _at(first, "settings", "index")

    def _template(self, index: str) -> dict[str, Any]:
        _, answer = self._ask("POST", f"/_index_template/_simulate_index/{quote(index, safe='')}")
        return _at(answer, "template", "settings", "index")

    def _kept_ms(self, policy: str) -> int | None:
        if policy not in self._kept:
            _, answer = self._ask("GET", f"/_ilm/policy/{quote(policy, safe='')}")
            delete = _at(answer, policy, "policy", "phases", "delete")
            self._kept[policy] = age_ms(str(delete.get("min_age", "0ms"))) if delete.get("actions") else None
        return self._kept[policy]

    def _ask(self, method: str, target: str) -> tuple[int, dict[str, Any]]:
        answer = self._asking.ask(method, target)
        try:
            return answer.status, msgspec.json.decode(answer.body, type=dict[str, Any])
        except msgspec.MsgspecError:
            return answer.status, {}


def born_ms(index: str, lifecycle: dict[str, Any], created: Any) -> int | None:
    """Since when an index's age counts: its origination date, the day in its name if so asked for, its creation."""
    if origination := lifecycle.get("origination_date"):
        return int(origination)
    match = _DAY.search(index)
    if str(lifecycle.get("parse_origination_date", "")).lower() == "true" and match:
        day = date(int(match[1]), int(match[2]), int(match[3]))
        return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)
    return int(created) if created is not None else None


def _at(answer: Any, *path: str) -> dict[str, Any]:
    """An object within an answer; an empty one if it is not there."""
    for name in path:
        answer = answer.get(name) if isinstance(answer, dict) else None
    return answer if isinstance(answer, dict) else {}


def outlook(settings: ElasticsearchSettings, indices: Iterable[str]) -> list[str]:
    """The notes on indices, or why there are none."""
    try:
        oracle = Oracle(settings)
        try:
            return notes(oracle.fates(indices), now_ms=int(datetime.now(UTC).timestamp() * 1000))
        finally:
            oracle.close()
    except OutputError as error:
        return [f"the server could not be asked about retention: {error}"]
