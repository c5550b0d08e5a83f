"""What can go wrong, by what the program does about it.

A retry or a set-aside line is an outcome, not an exception (see `bulk`); only what must stop something is raised.
"""


class ShipperError(Exception):
    """Root of our own errors. The message says what, where, and what the operator can do."""


class ConfigError(ShipperError):
    """The configuration (or the command line) cannot be used; `problems` has one line each, `file:line: what`."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ExpressionError(ShipperError):
    """An expression cannot be compiled; `column` is 1-based within its text."""

    def __init__(self, message: str, *, column: int) -> None:
        super().__init__(message)
        self.message = message
        self.column = column


class InUseError(ShipperError):
    """A state or output directory belongs to another running process."""


class StateError(ShipperError):
    """The state cannot be written; the daemon says so on `/metrics` and goes on trying."""


class OutputError(ShipperError):
    """The output can never work as configured (its directory is a file, its certificate unreadable)."""


class UndeliveredError(ShipperError):
    """A run that was to end (`--once`) could not deliver everything; the message holds the command to go on."""
