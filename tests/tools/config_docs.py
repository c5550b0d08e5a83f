"""Fills the generated parts of docs/configuration.md: tables of keys, functions, and whole example files.

A part stands between `<!-- begin WHAT -->` and `<!-- end -->`; the rest is written by hand. The text of a key is the
comment of its field in shipper/settings.py. `python -m tools.config_docs` (with tests/ on the path) rewrites the file.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import tokenize
import types
import typing
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import msgspec

from shipper import settings
from shipper.config import values
from shipper.config.structs import field_type
from shipper.expressions import FUNCTIONS
from shipper.settings import Config, Kind, Secret, Within

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "configuration.md"
SECTIONS: dict[type[Config], str] = {
    settings.SourceSettings: "sources",
    settings.DropSettings: "drop",
    settings.RedactSettings: "redact",
    settings.OutputSettings: "output",
    settings.ElasticsearchSettings: "outputelasticsearch",
    settings.LocalSettings: "outputlocal",
    settings.MetricsSettings: "metrics",
}
"""Where each section is explained: the anchor of its heading."""
_PART = re.compile(r"(<!-- begin (?P<what>[^\n]*?) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(document: str) -> str:
    """`document` with every generated part made anew."""
    return _PART.sub(lambda match: f"{match[1]}{_part(match['what'])}{match[3]}", document)


def _part(what: str) -> str:
    kind, _, name = what.partition(" ")
    match kind:
        case "fields":
            return _fields(getattr(settings, name))
        case "functions":
            return _table(("Function", "Result"), [(f"`{item.signature}`", item.help) for item in FUNCTIONS.values()])
        case "file":
            return f"```yaml\n{(ROOT / name).read_text()}```\n"
    raise ValueError(what)


def _fields(struct: type[Config]) -> str:
    comments = field_comments(struct)
    hints = typing.get_type_hints(struct, include_extras=True)
    rows = [
        (f"`{item.name}`", _type(hints[item.name]), _default(struct, item), comments[item.name])
        for item in msgspec.structs.fields(struct)
    ]
    return _table(("Key", "Type", "Default", "Meaning"), rows)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def field_comments(struct: type[Config]) -> dict[str, str]:
    """What stands behind each field, or in the lines right above it; '' where there is nothing."""
    source = inspect.getsource(struct)
    comments: dict[int, tuple[str, bool]] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            comments[token.start[0]] = (token.string.lstrip("# "), not token.line[: token.start[1]].strip())
    body = typing.cast(ast.ClassDef, ast.parse(source).body[0]).body
    return {
        item.target.id: _comment(item, comments)
        for item in body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    }


def _comment(item: ast.AnnAssign, comments: dict[int, tuple[str, bool]]) -> str:
    behind = comments.get(item.end_lineno or item.lineno)
    if behind:
        return behind[0]
    above: list[str] = []
    line = item.lineno - 1
    while line in comments and comments[line][1]:
        above.insert(0, comments[line][0])
        line -= 1
    return " ".join(above)


def _type(hint: Any) -> str:
    wanted = field_type(hint)
    base = wanted.base
    if isinstance(base, type) and issubclass(base, Config):
        return f"[section](#{SECTIONS[base]})"
    if typing.get_origin(base) is tuple:
        inner = typing.get_args(base)[0]
        is_section = isinstance(inner, type) and issubclass(inner, Config)
        return f"list of [sections](#{SECTIONS[inner]})" if is_section else f"list ({_type(inner)})"
    if isinstance(base, types.GenericAlias) and typing.get_origin(base) is dict:
        key, value = typing.get_args(base)
        return f"mapping ({_type(key)}: {_type(value)})"
    return _scalar_type(base, wanted.kind) + _bounds(wanted.bounds, wanted.kind)


def _scalar_type(base: Any, kind: Kind | None) -> str:
    if kind is not None:
        return kind.value
    if typing.get_origin(base) is Literal:
        return _alternatives(typing.get_args(base))
    if isinstance(base, type) and issubclass(base, Enum):
        return _alternatives(tuple(option.value for option in base))
    return {bool: "`true` or `false`", int: "whole number", float: "number", str: "text", Secret: "secret"}.get(
        base, "any"
    )


def _alternatives(options: tuple[str, ...]) -> str:
    *others, last = (f"`{option}`" for option in options)
    return f"{', '.join(others)} or {last}"


def _bounds(bounds: Within | None, kind: Kind | None) -> str:
    if bounds is None or bounds.high >= 1 << 60:
        return ""
    shown = (values.amount(number, kind) for number in (bounds.low, bounds.high))
    return ", " + " to ".join(shown)


def _default(struct: type[Config], item: msgspec.structs.FieldInfo) -> str:
    if item.required:
        return "**required**"
    if item.default_factory is not msgspec.NODEFAULT:
        default = item.default_factory()
        return "see below" if default and isinstance(default, dict) else "none"
    match item.default:
        case bool():
            return f"`{str(item.default).lower()}`"
        case int() | float():
            hints = typing.get_type_hints(struct, include_extras=True)
            return f"`{values.amount(item.default, field_type(hints[item.name]).kind)}`"
        case Enum():
            return f"`{item.default.value}`"
        case tuple():
            shown = (value.value if isinstance(value, Enum) else value for value in item.default)
            return f"`[{', '.join(shown)}]`" if item.default else "none"
        case None | "":
            return "none"
        case str():
            return f"`{item.default}`"
    return f"see [there](#{item.name})"


if __name__ == "__main__":
    DOCUMENT.write_text(filled(DOCUMENT.read_text()))
