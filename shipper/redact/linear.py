"""Regular expressions in linear time, whatever the text: RE2, over bytes.

`compiled` is for our own expressions, `compiled_own` for those of a configuration, `one_pass` asks many at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final

import re2

_OPTIONS: Final = {"encoding": re2.Options.Encoding.LATIN1, "case_sensitive": False, "log_errors": False}


class Late:
    """An expression that is compiled when it is first used: most logs have nothing that most of ours are for, and all
    of them take 25 ms and a megabyte.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._made = cache(make)

    def __getattr__(self, name: str) -> Any:
        """A method, which takes its place here, so that it is looked for once."""
        found = getattr(self._made(), name)
        setattr(self, name, found)
        return found


def compiled(expression: str) -> Any:
    """RE2 over bytes, without regard to case."""
    return Late(lambda: re2.compile(expression.encode("latin-1"), _options()))


def compiled_own(expression: str, *, within_lines: bool = False) -> Any:
    """RE2 over UTF-8, as it is written; `within_lines`: no match goes over a line's end.

    Raises ValueError with the reason for what it cannot take.
    """
    options = re2.Options()
    options.log_errors = False
    options.never_nl = within_lines
    try:
        found = re2.compile(expression.encode(), options)
    except re2.error as error:
        reason = error.args[0] if error.args else "not a regular expression"
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"{text} (RE2 syntax)") from None
    if found.search(b"") is not None:
        raise ValueError("the expression matches the empty text")
    return found


def one_pass(expressions: Sequence[str]) -> Callable[[bytes], Sequence[int]]:
    """Which of the expressions match somewhere in a text, in one pass."""

    def make() -> Any:
        patterns = re2.Set.SearchSet(_options())
        for expression in expressions:
            patterns.Add(expression.encode("latin-1"))
        patterns.Compile()
        return patterns

    patterns = Late(make)
    return lambda text: patterns.Match(text) or ()


def _options() -> Any:
    options = re2.Options()
    for name, value in _OPTIONS.items():
        setattr(options, name, value)
    return options
