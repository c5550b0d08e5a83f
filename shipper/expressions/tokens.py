"""Cuts the text of an expression into tokens; says what is none, and what was probably meant. `syntax` comes next."""

from __future__ import annotations

import re
from typing import Final, NamedTuple, NoReturn

from shipper.errors import ExpressionError

KEYWORDS: Final = frozenset({"and", "or", "not", "in", "matches", "true", "false", "null"})
_ESCAPES: Final = {"\\": "\\", '"': '"', "'": "'", "n": "\n", "t": "\t", "r": "\r"}
_MISTAKES: Final = {
    "=": "write == to compare",
    "&&": "write and",
    "||": "write or",
    "!": "write not",
    "===": "write ==",
    "=~": 'write matches "..."',
    "~": 'write matches "..."',
    "%": "there is no remainder; only + - * /",
}
_TOKEN: Final = re.compile(
    r"""(?P<space>\s+)
    |(?P<number>(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)(?![\w])
    |(?P<name>[@$]?[^\W\d]\w*(?:\.[@$]?\w+)*)
    |`(?P<quoted>[^`]+)`
    |(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<mistake>===|=~|&&|\|\||!(?!=)|=(?!=)|~|%)
    |(?P<operator>==|!=|<=|>=|[<>+\-*/(),\[\]])""",
    re.VERBOSE | re.DOTALL,
)


class Token(NamedTuple):
    kind: str
    text: str
    column: int


def tokenize(text: str) -> list[Token]:
    """The tokens of a text, the last of kind "end". Raises ExpressionError at the first that is none."""
    tokens = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            _refuse_character(text, position)
        kind = match.lastgroup or ""
        token = Token(kind, match[kind], position + 1)
        if kind == "mistake":
            raise ExpressionError(f"{token.text!r} is not an operator: {_MISTAKES[token.text]}", column=token.column)
        if kind != "space":
            tokens.append(token)
        position = match.end()
    tokens.append(Token("end", "", len(text) + 1))
    return tokens


def _refuse_character(text: str, position: int) -> NoReturn:
    character = text[position]
    if character in "\"'":
        raise ExpressionError(f"the text that begins with {character} is not closed", column=position + 1)
    if character == "`":
        raise ExpressionError("the field name that begins with ` is not closed", column=position + 1)
    if character.isdigit():
        raise ExpressionError("a number cannot be followed by letters; quote text, or put ` around a field name",
                              column=position + 1)  # fmt: skip
    raise ExpressionError(f"unexpected character {character!r}", column=position + 1)


def field_text(name: str) -> str:
    """The expression that is a field of this name."""
    match = _TOKEN.fullmatch(name)
    is_plain = match is not None and match.lastgroup == "name" and name not in KEYWORDS
    return name if is_plain else f"`{name}`"


def spelled(token: Token) -> str:
    """A token as every spelling of it is written."""
    if token.kind == "string":
        text = unescape(token.text[1:-1]).replace("\\", "\\\\").replace('"', '\\"')
        return f'"{text}"'
    return field_text(token.text) if token.kind == "quoted" else token.text


class Called(NamedTuple):
    """A call in an expression: the texts of its arguments, in one spelling; the column of its closing bracket."""

    arguments: list[str]
    end: int


def calls_of(text: str, name: str) -> list[Called]:
    """The calls of a function, wherever they stand in an expression that can be parsed; inner ones come first."""
    found = []
    opened: list[tuple[bool, list[list[str]]]] = []
    tokens = tokenize(text)[:-1]
    for before, token in zip([None, *tokens], tokens, strict=False):
        mark = token.text if token.kind == "operator" else ""
        if mark in {")", "]"}:
            is_call, arguments = opened.pop()
            if is_call:
                found.append(Called([" ".join(argument) for argument in arguments if argument], token.column))
        for _, arguments in opened if mark != "," else opened[:-1]:
            arguments[-1].append(spelled(token))
        if mark == "," and opened:
            opened[-1][1].append([])
        if mark in {"(", "["}:
            opened.append((before is not None and (before.kind, before.text) == ("name", name), [[]]))
    return found


def unescape(text: str) -> str:
    """Resolves \\" \\' \\\\ \\n \\t \\r; any other backslash stays, so that "\\d+" needs no doubling."""
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[0]), text, flags=re.DOTALL)
