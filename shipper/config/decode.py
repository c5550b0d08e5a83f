"""Nodes to settings: every value as the type that its field has, every problem with its line, all of them at once.

A scalar is typed by its field, not by how it looks: `password: 0123` stays text and `keep: "${KEEP}"` becomes a number.
What single values mean is in `values`; what must hold between fields is in `checks`, which is handed in.
"""

from __future__ import annotations

import glob
import os
import typing
from collections.abc import Callable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import msgspec

from shipper.config import values
from shipper.config.document import Items, Node, Problems, Scalar, Table
from shipper.config.structs import SHOWN_CHARACTERS, FieldType, dotted, field_type, nearest, unknown_key
from shipper.config.values import BadValue
from shipper.errors import ExpressionError
from shipper.expressions import compile_predicate
from shipper.settings import Config, Field, Kind, Secret, Settings

FAILED: Final = object()
"""Stands for a value that was refused; its problem is noted."""

MAX_PATTERN_CHARACTERS: Final = 2_000

AnyConfig = TypeVar("AnyConfig", bound=Config)


class Section(msgspec.Struct):
    """What was read of one struct, for the checks between its fields; they may replace values."""

    type: type[Config]
    where: str
    table: Table
    problems: Problems
    values: dict[str, Any] = msgspec.field(default_factory=dict)

    def is_given(self, key: str) -> bool:
        return key in self.table.entries

    def is_empty(self, key: str) -> bool:
        """True for a list or mapping that is given and has nothing in it."""
        node = self.table.entries.get(key)
        return isinstance(node, Items | Table) and node.weight == 1

    def line(self, key: str) -> int:
        return self.table.key_lines.get(key, self.table.line)

    def problem(self, key: str, message: str, *, line: int | None = None) -> None:
        self.problems.add(line or self.line(key), f"{dotted(self.where, key)}: {message}")

    def entry_line(self, key: str, entry: str) -> int:
        """The line of one key of a mapping."""
        node = self.table.entries.get(key)
        return node.key_lines.get(entry, node.line) if isinstance(node, Table) else self.line(key)


Check = Callable[[Section], None]


class Decoder:
    """Reads one file's tree. `environ` is for `${NAME}` (None: it means nothing there), `directory` is what relative
    paths start from, `root` is the struct of the whole file.
    """

    def __init__(
        self,
        *,
        problems: Problems,
        environ: Mapping[str, str] | None,
        directory: Path,
        checks: Mapping[type[Config], Check],
        root: type[Config] = Settings,
    ) -> None:
        self._problems = problems
        self._root = root
        self._environ = environ
        self._directory = directory
        self._checks = checks
        self._kinds: dict[Kind, Callable[[str], Any]] = {
            Kind.NAME: values.name,
            Kind.FIELD: values.field_name,
            Kind.EXPRESSION: expression,
            Kind.PATH: self._path,
            Kind.GLOB: self._glob,
            Kind.EXCLUDE: self._exclude,
            Kind.SIZE: values.size,
            Kind.DURATION: values.duration,
            Kind.INDEX: values.name,
            Kind.LISTEN: values.listen,
            Kind.URL: _url,
            Kind.FINGERPRINT: values.fingerprint,
            Kind.HEADER_NAME: values.header_name,
            Kind.HEADER_VALUE: values.header_value,
            Kind.PATTERN: pattern,
            Kind.SEGMENT: values.segment,
            Kind.ROUTE: values.route,
            Kind.FIELD_OR_NONE: lambda text: values.field_name(text) if text else "",
        }

    def section(self, struct: type[AnyConfig], node: Node, where: str) -> AnyConfig | None:
        """The struct in `node`, as far as it could be read; None where a field that it must have could not."""
        if not isinstance(node, Table):
            self._add(node, where, f"expected keys and values, got {_described(node)}")
            return None
        hints = typing.get_type_hints(struct, include_extras=True)
        section = Section(type=struct, where=where, table=node, problems=self._problems)
        for key, child in node.entries.items():
            if key not in hints:
                self._problems.add(node.key_lines[key], unknown_key(struct, key, where, root=self._root))
                continue
            value = self.value(hints[key], child, dotted(where, key))
            if value is not FAILED:
                section.values[key] = value
        if struct in self._checks:
            self._checks[struct](section)
        return self._built(struct, section)

    def _built(self, struct: type[AnyConfig], section: Section) -> AnyConfig | None:
        required = [item.name for item in msgspec.structs.fields(struct) if item.required]
        for name in required:
            if not section.is_given(name):
                section.problem(name, "is missing")
        return struct(**section.values) if all(name in section.values for name in required) else None

    def value(self, hint: Any, node: Node, where: str) -> Any:
        """What `node` means for a field of type `hint`; FAILED where it means nothing."""
        if field_type(hint).kind is Kind.JSON:
            return self._json(node, where)
        if isinstance(node, Scalar) and node.is_plain and node.text in values.NULLS:
            return self._add(node, where, "has no value; give it one, or leave the key out")
        wanted = field_type(hint)
        if isinstance(wanted.base, type) and issubclass(wanted.base, Config):
            return self.section(wanted.base, node, where) or FAILED
        match typing.get_origin(wanted.base):
            case origin if origin is tuple:
                return self._tuple(typing.get_args(wanted.base)[0], node, where)
            case origin if origin is dict:
                key, value = typing.get_args(wanted.base)
                return self._dict(key, value, node, where)
        return self._untyped(node, where) if wanted.base is Any else self._scalar(wanted, node, where)

    def _tuple(self, item: Any, node: Node, where: str) -> Any:
        if not isinstance(node, Items):
            hint = f"; write it in brackets: [{_shown(node.text)}]" if isinstance(node, Scalar) else ""
            return self._add(node, where, f"expected a list, got {_described(node)}{hint}")
        found = [self.value(item, child, f"{where}[{number}]") for number, child in enumerate(node.items)]
        return tuple(value for value in found if value is not FAILED)

    def _dict(self, key_hint: Any, value_hint: Any, node: Node, where: str) -> Any:
        if not isinstance(node, Table):
            return self._add(node, where, f"expected keys and values, got {_described(node)}")
        result = {}
        for key, child in node.entries.items():
            name = self._scalar(
                field_type(key_hint), Scalar(node.key_lines[key], key, is_plain=False), where, is_key=True
            )
            value = self.value(value_hint, child, dotted(where, key))
            if name is not FAILED and value is not FAILED:
                result[name] = value
        return result

    def _untyped(self, node: Node, where: str) -> Any:
        match node:
            case Items():
                return list(self._tuple(Any, node, where))
            case Table():
                return self._dict(Field, Any, node, where)
        try:
            text = self._text(node)
            return values.untyped(text, is_plain=node.is_plain and text == node.text)
        except BadValue as error:
            return self._add(node, where, str(error))

    def _json(self, node: Node, where: str) -> Any:
        """A value as JSON has it: null is one, and any text is a key."""
        match node:
            case Items():
                return [self._json(child, f"{where}[{number}]") for number, child in enumerate(node.items)]
            case Table():
                return {key: self._json(child, dotted(where, key)) for key, child in node.entries.items()}
        return None if node.is_plain and node.text in values.NULLS else self._untyped(node, where)

    def _scalar(self, wanted: FieldType, node: Node, where: str, *, is_key: bool = False) -> Any:
        if not isinstance(node, Scalar):
            return self._add(node, where, f"expected a single value, got {_described(node)}")
        try:
            text = node.text if is_key else self._text(node)
        except BadValue as error:
            return self._add(node, where, str(error))
        try:
            return self._converted(wanted, text)
        except BadValue as error:
            is_hidden = wanted.base is Secret or wanted.kind is Kind.HEADER_VALUE
            shown = "" if is_hidden else f", got {_shown(node.text)}"
            return self._add(node, where, f"{'key: ' if is_key else ''}{error}{shown}")

    def _text(self, node: Scalar) -> str:
        text = node.text if self._environ is None else values.substitute(node.text, self._environ)
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            raise BadValue("holds a NUL or what is not UTF-8")
        return text

    def _converted(self, wanted: FieldType, text: str) -> Any:
        if wanted.kind is not None:
            value = self._kinds[wanted.kind](text)
        elif typing.get_origin(wanted.base) is Literal:
            value = _one_of({option: option for option in typing.get_args(wanted.base)}, text)
        elif issubclass(wanted.base, Enum):
            value = _one_of({option.value: option for option in wanted.base}, text)
        else:
            value = _BASES[wanted.base](text)
        return within(wanted, value)

    def _path(self, text: str) -> str:
        return absolute(text, self._directory) if text else ""

    def _glob(self, text: str) -> str:
        if not text:
            raise BadValue("expected a path that is not empty")
        return absolute_glob(text, self._directory)

    def _exclude(self, text: str) -> str:
        if not text:
            raise BadValue("expected a pattern that is not empty")
        return absolute_glob(text, self._directory) if "/" in text else text

    def _add(self, node: Node, where: str, message: str) -> Any:
        self._problems.add(node.line, f"{where}: {message}" if where else message)
        return FAILED


def within(wanted: FieldType, value: Any) -> Any:
    """`value`, if it is one that the field takes."""
    if wanted.bounds and not wanted.bounds.low <= value <= wanted.bounds.high:
        low, high = (values.amount(bound, wanted.kind) for bound in (wanted.bounds.low, wanted.bounds.high))
        raise BadValue(f"expected {low} to {high}")
    return value


def expression(text: str) -> str:
    """`text`, if it is an expression."""
    try:
        compile_predicate(text)
    except ExpressionError as error:
        raise BadValue(f"column {error.column}: {error.message}") from None
    return text


def pattern(text: str) -> str:
    """`text`, if it is a regular expression that runs in linear time."""
    from shipper.redact.linear import compiled_own  # 2 MB of memory that only patterns need

    if len(text) > MAX_PATTERN_CHARACTERS:
        raise BadValue(f"the expression is longer than {MAX_PATTERN_CHARACTERS:,} characters")
    try:
        compiled_own(text)
    except ValueError as error:
        raise BadValue(str(error)) from None
    return text


def absolute(text: str, directory: Path) -> str:
    """A path from `directory`; `..` goes up in the text, whatever is a symlink."""
    return os.path.normpath(directory / text)


def absolute_glob(text: str, directory: Path) -> str:
    """A pattern from `directory`, whose own name is taken literally even if it has brackets."""
    return os.path.normpath(text if text.startswith("/") else f"{glob.escape(str(directory))}/{text}")


def _url(text: str) -> str:
    if text:
        values.url(text)
    return text


def _one_of(options: Mapping[str, Any], text: str) -> Any:
    if text in options:
        return options[text]
    *others, last = options
    near = nearest(text, list(options))
    raise BadValue(f"expected {', '.join(others)} or {last}" + (f" (did you mean {near}?)" if near else ""))


_BASES: Final[Mapping[type, Callable[[str], Any]]] = {
    bool: values.boolean,
    int: values.integer,
    float: values.number,
    str: str,
    Secret: values.secret,
}


def _described(node: Node) -> str:
    match node:
        case Items():
            return "a list"
        case Table():
            return "keys and values"
    return "a single value"


def _shown(text: str) -> str:
    """The text as the file has it: references stay references, so that no variable's value is printed."""
    safe = values.without_credentials(text)
    return repr(safe if len(safe) <= SHOWN_CHARACTERS else safe[:SHOWN_CHARACTERS] + "…")
