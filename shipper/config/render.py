"""Settings as YAML for people (`check --print`), secrets as `***`. Without secrets it reads back as the same ones."""

from __future__ import annotations

from enum import Enum
from typing import Any

import yaml

from shipper.config import values
from shipper.settings import Config, Secret, Settings

HIDDEN = "***"


class _Dumper(yaml.SafeDumper):
    """Block style, lists indented; text in quotes wherever `values.untyped` would take it for something else."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002 - PyYAML's signature
        super().increase_indent(flow, indentless=False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    try:
        is_text = text not in values.NULLS and isinstance(values.untyped(text, is_plain=True), str)
    except values.BadValue:
        is_text = False
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if is_text else '"')


_Dumper.add_representer(str, _text)


def render(settings: Settings) -> str:
    """Every setting with its effective value, in the order of the documentation."""
    return yaml.dump(_plain(settings), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def _plain(value: Any) -> Any:
    match value:
        case Config():
            shown = {name: _shown(value, name) for name in value.__struct_fields__}
            return {name: inner for name, inner in shown.items() if inner is not None}
        case Secret():
            return HIDDEN
        case Enum():
            return value.value
        case dict():
            return {key: _plain(inner) for key, inner in value.items()}
        case tuple() | list():
            return [_plain(inner) for inner in value]
        case str():
            return value.replace("${", values.LITERAL_REFERENCE)
    return value


def _shown(section: Config, name: str) -> Any:
    value = getattr(section, name)
    if name == "headers":
        return dict.fromkeys(value, HIDDEN)
    return values.without_credentials(value) if name == "proxy" else _plain(value)
