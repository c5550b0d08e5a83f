"""Judges the keys of JSON objects: which rule of the configuration, or which pack, has something to say of a value.

`fields` walks over the values; `names` knows the packs' vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

from shipper.redact.actions import decoded
from shipper.redact.apart import Part, part_of
from shipper.redact.text import Redaction
from shipper.settings import RedactAction

MOST_KEYS_KEPT: Final = 4_096
LONGEST_KEY_KEPT: Final = 200


class KeyRule(NamedTuple):
    """What happens to a key's value."""

    rule: str
    action: RedactAction
    count_digits: int = 0
    """Numbers of so many digits at most are left alone."""
    only_opaque: bool = False
    """What does not look made by a machine is left alone."""
    only_single: bool = False
    """What is within an object or list is left alone."""
    covers_booleans: bool = False


class Path(NamedTuple):
    """A rule for a dotted name: `parents` are the keys that must stand before, the nearest last; in lower case."""

    parents: tuple[bytes, ...]
    rule: KeyRule


class Key(NamedTuple):
    """What is known of one key, as it is written in a line."""

    lowered: bytes
    named: KeyRule | None
    """What the configuration says of fields that are called so."""
    sensed: KeyRule | None
    """What a pack says."""
    paths: Sequence[Path]
    shown: bytes
    """The key redacted as a text; as it was if there was nothing."""
    redactions: Sequence[Redaction]
    part: Part
    is_plain: bool
    """Whether nothing is the matter with it."""


class Keys:
    """Remembers its answers, since a service has few keys. Forgets all of them rather than grow."""

    def __init__(
        self,
        *,
        named: Mapping[bytes, KeyRule],
        paths: Mapping[bytes, Sequence[Path]],
        sense: Callable[[bytes], KeyRule | None],
        redact: Callable[[bytes, list[Redaction]], bytes],
    ) -> None:
        """`named` and `paths` by name (its last part) in lower case."""
        self._named = named
        self._paths = paths
        self._sense = sense
        self._redact = redact
        self.known: dict[bytes, Key] = {}

    def key(self, raw: bytes) -> Key:
        """`raw` is what stands between the quotes."""
        known = self.known.get(raw)
        if known is None:
            if len(self.known) >= MOST_KEYS_KEPT:
                self.known.clear()
            known = self._judged(raw)
            if len(raw) <= LONGEST_KEY_KEPT:
                self.known[raw] = known
        return known

    def _judged(self, raw: bytes) -> Key:
        name = decoded(raw)
        lowered = name.lower()
        found: list[Redaction] = []
        shown = self._redact(name, found)
        named, sensed, paths = self._named.get(lowered), self._sense(name), self._paths.get(lowered, ())
        part = part_of(lowered)
        is_plain = part is Part.NOTHING and not (named or sensed or paths or found)
        return Key(lowered, named, sensed, paths, shown, found, part, is_plain)
