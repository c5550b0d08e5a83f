"""`matches`: searches in time linear to the text, whatever the pattern, so that no line can stall the daemon.

Patterns without any special character become plain substring tests; the others go to RE2, which is imported with the
first of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from shipper.errors import ExpressionError
from shipper.expressions.values import label_text

MAX_PATTERN_CHARACTERS: Final = 2_000
_SPECIAL: Final = re.compile(r"[\\.^$|?*+()\[\]{}]")


def compile_pattern(pattern: str, *, column: int) -> Callable[[Any], bool]:
    """A test of one value: True if its text has the pattern somewhere. Numbers are searched as their label text;
    booleans, lists, objects and missing values never match. Raises ExpressionError at `column`.
    """
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        raise ExpressionError(f"the pattern is longer than {MAX_PATTERN_CHARACTERS:,} characters", column=column)
    search = _plain_search(pattern) or _re2_search(pattern, column=column)

    def matches(value: Any) -> bool:
        kind = value.__class__
        if kind is not str:
            if kind is not int and kind is not float:
                return False
            value = label_text(value)
        try:
            return search(value)
        except UnicodeEncodeError:
            return search(label_text(value))

    return matches


def _plain_search(pattern: str) -> Callable[[str], bool] | None:
    is_from_start, is_to_end = pattern.startswith("^"), pattern.endswith("$")
    text = pattern[is_from_start : len(pattern) - is_to_end]
    if _SPECIAL.search(text):
        return None
    if is_from_start and is_to_end:
        return text.__eq__
    if is_from_start:
        return lambda value: value.startswith(text)
    if is_to_end:
        return lambda value: value.endswith(text)
    return lambda value: text in value


def _re2_search(pattern: str, *, column: int) -> Callable[[str], bool]:
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(pattern, options)
        patterns = re2.Set.SearchSet(options)  # a set of one: about six times faster than Pattern.search
        patterns.Add(pattern)
        patterns.Compile()
    except (re2.error, UnicodeEncodeError, ValueError) as error:
        reason = error.args[0] if isinstance(error, re2.error) and error.args else error
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ExpressionError(f"the pattern cannot be used: {text} (RE2 syntax)", column=column) from error
    match = patterns.Match
    return lambda value: bool(match(value))
