"""Reads the tokens of an expression into a tree. Knows the grammar only; `emitter` checks which functions there are.

or := and ("or" and)*        and := not ("and" not)*      not := "not" not | comparison
comparison := sum (op sum | "in" list | "matches" string)?
sum := product (("+"|"-") product)*      product := unary (("*"|"/") unary)*      unary := "-" unary | primary
primary := number | string | true | false | field | name "(" arguments ")" | "(" or ")"
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NoReturn

from shipper.errors import ExpressionError
from shipper.expressions.tokens import KEYWORDS, Token, spelled, tokenize, unescape
from shipper.expressions.tree import (
    All,
    Arithmetic,
    Call,
    Compare,
    Constants,
    Field,
    In,
    Literal,
    Matches,
    Node,
    Not,
    Some,
)

MAX_CHARACTERS = 10_000
MAX_DEPTH = 30
COMPARISON_OPERATORS: Final = ("==", "!=", "<=", ">=", "<", ">")


def parse(text: str) -> tuple[Node, str]:
    """The tree of an expression, and its text in one spelling (tokens with single spaces). Raises ExpressionError."""
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(f"longer than {MAX_CHARACTERS:,} characters", column=1)
    tokens = tokenize(text)
    canonical = " ".join(map(spelled, tokens[:-1]))
    return _Parser(tokens).parse(), canonical


class _Parser:
    """Reads one expression by recursive descent: a method for each line of the grammar."""

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

    def _chain(self, operators: tuple[str, ...], operand: Callable[[], Node]) -> Node:
        node = operand()
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
        if token.kind != "name" or token.text in KEYWORDS:
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
            return Literal(token.column, unescape(token.text[1:-1]))
        return Literal(token.column, token.text == "true")


def _number(token: Token) -> int | float:
    if token.text.isdigit() and len(token.text) < 400:
        return int(token.text)
    number = float(token.text)
    if number == float("inf"):
        raise ExpressionError("the number is too large", column=token.column)
    return number
