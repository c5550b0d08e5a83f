"""What the files hold that a configuration refers to: rules, routes, logins, keys; all that is wrong with them at once.

`config` reads the configuration's own file; who runs it asks here before anything is opened.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.rule import Rule
from exporter.rules import default_rules, load_rules
from shipper.config import check_files, rule_files
from shipper.errors import ConfigError
from shipper.expressions import FUNCTIONS, Function
from shipper.routing import functions_of
from shipper.settings import Settings

if TYPE_CHECKING:
    from exporter.guard import Guard


def rules_of(
    settings: Settings, *, functions: Mapping[str, Function] | None = None, known: Sequence[str] = ()
) -> list[Rule]:
    """The rules of the settings' files, or the two default ones; with the settings' functions, unless others are given.

    Raises ConfigError with all problems: of routes, of missing files, of rules, of what these name; and those `known`.
    """
    rules, problems = _rules(settings, functions)
    problems += _unknown_sources(settings, rules)
    if known or problems:
        raise ConfigError([*known, *problems])
    return rules


def file_problems(settings: Settings, *, is_whole: bool = True) -> list[str]:
    """What is wrong with all files that are referred to, a line each.

    `is_whole`: whether the settings have all their sources; they may have been read from a file with mistakes.
    """
    rules, problems = _rules(settings, None)
    if is_whole:
        problems += _unknown_sources(settings, rules)
    return [*check_files(settings), *problems, *web_config_problems(settings)]


def guard_of(settings: Settings) -> Guard | None:
    """What `metrics.web_config` asks for; None where there is none. Raises ConfigError."""
    if not settings.metrics.web_config:
        return None
    from exporter.guard import Guard  # TLS and logins, which most do without

    return Guard(path=Path(settings.metrics.web_config))


def web_config_problems(settings: Settings) -> list[str]:
    """What is wrong with `metrics.web_config`."""
    try:
        guard_of(settings)
    except ConfigError as error:
        return error.problems
    return []


def _rules(settings: Settings, functions: Mapping[str, Function] | None) -> tuple[list[Rule], list[str]]:
    """The rules, none where any is wrong, and the problems."""
    files, problems = rule_files(settings)
    try:
        functions = functions or functions_of(settings)
    except ConfigError as error:
        functions = FUNCTIONS  # which has all of them, for rules to be read with
        problems += error.problems
    try:
        named = settings.metrics.rules
        rules = load_rules(files, functions=functions) if named else default_rules(functions=functions)
    except ConfigError as error:
        return [], [*problems, *error.problems]
    return rules, problems


def _unknown_sources(settings: Settings, rules: Sequence[Rule]) -> list[str]:
    names = {source.name for source in settings.sources}
    unknown = sorted({name for rule in rules for name in rule.sources} - names)
    known = ", ".join(sorted(names))
    return [f"metrics.rules: there is no source {name!r}; there are {known}" for name in unknown]
