"""What the structs of `settings` say of themselves: a field's type, the keys there are, the key that a mistake meant.

`decode` reads files by it.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec

from shipper.settings import Config, Kind, Settings, Within

SHOWN_CHARACTERS: Final = 60


class FieldType(NamedTuple):
    """A type without Optional and Annotated, and what stood in Annotated."""

    base: Any
    kind: Kind | None
    bounds: Within | None


def field_type(hint: Any) -> FieldType:
    """Takes `Annotated[X, ...]` and `X | None` apart."""
    marks = getattr(hint, "__metadata__", ())
    base = hint.__origin__ if marks else hint
    if typing.get_origin(base) in (typing.Union, types.UnionType):
        base = next(option for option in typing.get_args(base) if option is not types.NoneType)
    return FieldType(
        base,
        next((mark for mark in marks if isinstance(mark, Kind)), None),
        next((mark for mark in marks if isinstance(mark, Within)), None),
    )


def dotted(where: str, key: str) -> str:
    shown = key if key.isprintable() and len(key) <= SHOWN_CHARACTERS else repr(key[:SHOWN_CHARACTERS])
    return f"{where}.{shown}" if where else shown


def unknown_key(struct: type[Config], key: str, where: str, *, root: type[Config] = Settings) -> str:
    """What to say of a key that `struct` does not have, in a file of `root`."""
    shown = dotted(where, key)
    known = [item.name for item in msgspec.structs.fields(struct)]
    near = nearest(key, known)
    if near:
        return f"{shown}: unknown key, did you mean {near}?"
    homes = [place for place, names in _places(root, "") if key in names]
    if homes:
        return f"{shown}: unknown key here; it belongs in {' or '.join(homes)}"
    return f"{shown}: unknown key; known here are {', '.join(known)}"


def nearest(text: str, options: list[str]) -> str:
    """The option that `text` was probably meant to be, '' if none is near."""
    from difflib import get_close_matches  # only a mistake needs it

    return next(iter(get_close_matches(text[:SHOWN_CHARACTERS].lower(), options, n=1)), "")


def _places(struct: type[Config], where: str) -> Iterator[tuple[str, list[str]]]:
    yield where or "the top level", [item.name for item in msgspec.structs.fields(struct)]
    for name, hint in typing.get_type_hints(struct).items():
        base = field_type(hint).base
        is_list = typing.get_origin(base) is tuple
        inner = typing.get_args(base)[0] if is_list else base
        if isinstance(inner, type) and issubclass(inner, Config):
            yield from _places(inner, dotted(where, name) + ("[]" if is_list else ""))
