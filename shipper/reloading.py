"""What a reload may change, and what it means: decisions over two configurations. `daemon` does the reload."""

from __future__ import annotations

from shipper.errors import ConfigError
from shipper.settings import OutputSettings, Settings


def check_same(old: Settings, new: Settings) -> None:
    """What a reload cannot change. Raises ConfigError."""
    problems = [
        f"{name} cannot change while running (from {before!r} to {after!r}{hint}): restart for it"
        for name, before, after, hint in (
            ("state", old.state, new.state, "; where none is given it lies in the output's directory"),
            ("metrics.listen", old.metrics.listen, new.metrics.listen, ""),
            ("metrics.web_config", old.metrics.web_config, new.metrics.web_config, ""),
        )
        if before != after
    ]
    if problems:
        raise ConfigError(problems)


def is_another_output(old: OutputSettings, new: OutputSettings) -> bool:
    """Whether documents go to another place: another directory, or a server by none of its former addresses."""
    if old.local is not None and new.local is not None:
        return old.local.directory != new.local.directory
    if old.elasticsearch is not None and new.elasticsearch is not None:
        return not set(old.elasticsearch.hosts) & set(new.elasticsearch.hosts)
    return old != new


def moved_text(old: str, new: str, *, has_ledger: bool) -> str:
    """What to tell of a reload that sends documents to another place: what the new output gets and what it does not."""
    if has_ledger:
        return (
            f"{new!r} gets all that the files still hold, also what {old!r} has: a directory has what its own ledger "
            "says (to move an output, stop, move its directory whole, and start again)"
        )
    rest = "what was there before, `shipper replay` brings"
    return f"{new} gets what comes from now on and what {old} has not taken; {rest}"
