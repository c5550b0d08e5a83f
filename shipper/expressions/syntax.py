"""Reads the text of an expression into a tree. Knows the grammar only; what functions exist is for `emitter` to check.

or := and ("or" and)*        and := not ("and" not)*      not := "not" not | comparison
comparison := sum (op sum | "in" list | "matches" string)?
sum := product (("+"|"-") product)*      product := unary (("*"|"/") unary)*      unary := "-" unary | primary
primary := number | string | true | false | field | name "(" arguments ")" | "(" or ")"
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple, NoReturn

import msgspec

from shipper.errors import ExpressionError

MAX_CHARACTERS = 10_000
MAX_DEPTH = 30
COMPARISON_OPERATORS: Final = ("==", "!=", "<=", ">=", "<", ">")
_KEYWORDS: Final = frozenset({"and", "or", "not", "in", "matches", "true", "false", "null"})
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


class Node(msgspec.Struct, frozen=True, eq=False):
    """A piece of the expression; two are equal if they mean the same, wherever they stand."""

    column: int

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and type(self) is type(other) and self._meaning() == other._meaning()

    def __hash__(self) -> int:
        return hash(self._meaning())

    def _meaning(self) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in self.__struct_fields__ if name != "column")


class Field(Node, frozen=True, eq=False):
    name: str


class Literal(Node, frozen=True, eq=False):
    value: str | int | float | bool

    @property
    def type(self) -> str:
        return type(self.value).__name__

    def _meaning(self) -> tuple[object, ...]:
        return self.type, self.value  # keeps 1 and true apart, which are equal in Python


class Constants(Node, frozen=True, eq=False):
    items: tuple[Literal, ...]


class Call(Node, frozen=True, eq=False):
    name: str
    arguments: tuple[Node, ...]


class Arithmetic(Node, frozen=True, eq=False):
    operator: str
    left: Node
    right: Node


class Compare(Node, frozen=True, eq=False):
    operator: str
    left: Node
    right: Node


class In(Node, frozen=True, eq=False):
    value: Node
    items: Constants


class Matches(Node, frozen=True, eq=False):
    value: Node
    pattern: Literal


class All(Node, frozen=True, eq=False):
    items: tuple[Node, ...]


class Some(Node, frozen=True, eq=False):
    items: tuple[Node, ...]


class Not(Node, frozen=True, eq=False):
    item: Node


def parse(text: str) -> tuple[Node, str]:
    """The tree of an expression, and its text in one spelling (tokens with single spaces). Raises ExpressionError."""
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(f"longer than {MAX_CHARACTERS:,} characters", column=1)
    tokens = tokenize(text)
    canonical = " ".join(map(_spelled, tokens[:-1]))
    return _Parser(tokens).parse(), canonical


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
            arguments[-1].append(_spelled(token))
        if mark == "," and opened:
            opened[-1][1].append([])
        if mark in {"(", "["}:
            opened.append((before is not None and (before.kind, before.text) == ("name", name), [[]]))
    return found


def field_text(name: str) -> str:
    """The expression that is a field of this name."""
    match = _TOKEN.fullmatch(name)
    is_plain = match is not None and match.lastgroup == "name" and name not in _KEYWORDS
    return name if is_plain else f"`{name}`"


def _spelled(token: Token) -> str:
    """A token as every spelling of it is written."""
    if token.kind == "string":
        text = _unescape(token.text[1:-1]).replace("\\", "\\\\").replace('"', '\\"')
        return f'"{text}"'
    return field_text(token.text) if token.kind == "quoted" else token.text


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


class _Parser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._next = 0
        self._depth = 0

    def parse(self) -> Node:
        if self._peek().kind == "end":
            raise ExpressionError("the expression is empty", column=1)
        node = self._or()
        token = self._peek()
        if token.kind != "end":
            self._unexpected(token, "the end, or and/or")
        return node

    def _peek(self) -> Token:
        return self._tokens[self._next]

    def _take(self) -> Token:
        token = self._tokens[self._next]
        self._next += 1
        return token

    def _is_next(self, *texts: str) -> bool:
        token = self._peek()
        return token.kind in {"name", "operator"} and token.text in texts

    def _expect(self, text: str) -> Token:
        if not self._is_next(text):
            self._unexpected(self._peek(), text)
        return self._take()

    def _unexpected(self, token: Token, wanted: str) -> NoReturn:
        found = "the expression ends" if token.kind == "end" else f"found {token.text!r}"
        raise ExpressionError(f"expected {wanted}, {found}", column=token.column)

    def _deeper(self, column: int) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpressionError(f"nested deeper than {MAX_DEPTH}", column=column)

    def _or(self) -> Node:
        items = [self._and()]
        while self._is_next("or"):
            self._take()
            items.append(self._and())
        return items[0] if len(items) == 1 else Some(items[0].column, tuple(items))

    def _and(self) -> Node:
        items = [self._not()]
        while self._is_next("and"):
            self._take()
            items.append(self._not())
        return items[0] if len(items) == 1 else All(items[0].column, tuple(items))

    def _not(self) -> Node:
        if not self._is_next("not"):
            return self._comparison()
        column = self._take().column
        self._deeper(column)
        node = Not(column, self._not())
        self._depth -= 1
        return node

    def _comparison(self) -> Node:
        left = self._sum()
        token = self._peek()
        if self._is_next(*COMPARISON_OPERATORS):
            self._take()
            node: Node = Compare(token.column, token.text, left, self._sum())
        elif self._is_next("in"):
            self._take()
            if not self._is_next("["):
                self._unexpected(self._peek(), 'a list such as ["a", "b"] after in')
            node = In(token.column, left, self._list())
        elif self._is_next("matches"):
            self._take()
            node = Matches(token.column, left, self._pattern())
        elif self._is_next("not"):
            raise ExpressionError("write not (x in [...])", column=token.column)
        else:
            return left
        if self._is_next(*COMPARISON_OPERATORS):
            raise ExpressionError("comparisons do not chain; join them with and", column=self._peek().column)
        return node

    def _pattern(self) -> Literal:
        token = self._peek()
        if token.kind != "string":
            self._unexpected(token, "a quoted pattern after matches")
        return self._literal(self._take())

    def _sum(self) -> Node:
        return self._chain(("+", "-"), lambda: self._chain(("*", "/"), self._unary))

    def _chain(self, operators: tuple[str, ...], operand: Any) -> Node:
        node: Node = operand()
        length = 0
        while self._is_next(*operators):
            token = self._take()
            length += 1
            if length > MAX_DEPTH:
                raise ExpressionError(f"more than {MAX_DEPTH} operations in a row; use brackets", column=token.column)
            node = Arithmetic(token.column, token.text, node, operand())
        return node

    def _unary(self) -> Node:
        if not self._is_next("-"):
            return self._primary()
        column = self._take().column
        self._deeper(column)
        operand = self._unary()
        self._depth -= 1
        if isinstance(operand, Literal) and operand.type in {"int", "float"}:
            return Literal(column, -operand.value)  # type: ignore[operator]
        return Arithmetic(column, "-", Literal(column, 0), operand)

    def _primary(self) -> Node:
        token = self._peek()
        if token.kind in {"number", "string"} or self._is_next("true", "false"):
            return self._literal(self._take())
        if token.kind == "quoted":
            return Field(self._take().column, token.text)
        if self._is_next("null"):
            raise ExpressionError("nothing compares with null; write exists(field) or not exists(field)",
                                  column=token.column)  # fmt: skip
        if self._is_next("["):
            raise ExpressionError("a list stands only after in, or in bucket(...)", column=token.column)
        if self._is_next("("):
            self._deeper(self._take().column)
            node = self._or()
            self._expect(")")
            self._depth -= 1
            return node
        if token.kind != "name" or token.text in _KEYWORDS:
            self._unexpected(token, "a field, a value or a function")
        self._take()
        return self._call(token) if self._is_next("(") else Field(token.column, token.text)

    def _call(self, name: Token) -> Node:
        self._deeper(self._take().column)
        arguments: list[Node] = []
        while not self._is_next(")"):
            if arguments:
                self._expect(",")
            arguments.append(self._list() if self._is_next("[") else self._or())
        self._take()
        self._depth -= 1
        return Call(name.column, name.text, tuple(arguments))

    def _list(self) -> Constants:
        opening = self._expect("[")
        items: list[Literal] = []
        while not self._is_next("]"):
            if items:
                self._expect(",")
            items.append(self._constant())
        self._take()
        if not items:
            raise ExpressionError("the list is empty", column=opening.column)
        return Constants(opening.column, tuple(items))

    def _constant(self) -> Literal:
        token = self._peek()
        node = self._unary() if self._is_next("-") or token.kind in {"number", "string"} else None
        if node is None and self._is_next("true", "false"):
            node = self._literal(self._take())
        if not isinstance(node, Literal):
            self._unexpected(token, "a constant: a number, a quoted text, true or false")
        return node

    def _literal(self, token: Token) -> Literal:
        if token.kind == "number":
            return Literal(token.column, _number(token))
        if token.kind == "string":
            return Literal(token.column, _unescape(token.text[1:-1]))
        return Literal(token.column, token.text == "true")


def _number(token: Token) -> int | float:
    if token.text.isdigit() and len(token.text) < 400:
        return int(token.text)
    number = float(token.text)
    if number == float("inf"):
        raise ExpressionError("the number is too large", column=token.column)
    return number


def _unescape(text: str) -> str:
    """Resolves \\" \\' \\\\ \\n \\t \\r; any other backslash stays, so that "\\d+" needs no doubling."""
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[0]), text, flags=re.DOTALL)
