"""Strict YAML: lines of every node, and what is refused before anything is understood."""

import time

import pytest

from shipper.config.compose import MAX_DEPTH, MAX_NODES, compose
from shipper.config.document import MAX_TEXT_BYTES, Items, Problems, Scalar, Table
from shipper.errors import ConfigError


def problems_of(data: bytes) -> list[str]:
    """What is said about a text, without the file's name."""
    problems = Problems(file="f")
    with pytest.raises(ConfigError) as caught:  # noqa: PT012 - the second line raises what the first only noted
        compose(data, problems=problems)
        problems.raise_any()
    return [problem.removeprefix("f:") for problem in caught.value.problems]


def test_nodes_know_their_lines() -> None:
    """Scalars, lists, mappings and keys have the line where they begin, counted from 1."""
    root = compose(b"a: 1\nb:\n  - x\n  - 'y'\n", problems=Problems(file="f"))
    assert isinstance(root, Table)
    assert dict(root.key_lines) == {"a": 1, "b": 2}
    items = root.entries["b"]
    assert isinstance(items, Items)
    assert [(item.line, item.text, item.is_plain) for item in items.items if isinstance(item, Scalar)] == [
        (3, "x", True),
        (4, "y", False),
    ]


@pytest.mark.parametrize("data", [b"", b"\n\n", b"# only a comment\n", b"\xef\xbb\xbf"])
def test_a_text_without_a_value_is_nothing(data: bytes) -> None:
    """An empty file gives None, which the caller explains."""
    assert compose(data, problems=Problems(file="f")) is None


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"a: 1\nb: [\n", "3: is not YAML: did not find expected node content"),
        (b"a: 1\na: 2\n", "2: key 'a' is repeated, first in line 1"),
        (b"a: 1\nb: \x01\n", "2: is not YAML: holds the control character '\\x01'"),
        (b"a: 1\n\xff\n", "2: is not UTF-8"),
        (b"a: !!python/object:os.system x\n", "1: tags (!) are not supported"),
        (b"a: !x [1]\n", "1: tags (!) are not supported"),
        (b"a: 1\n---\nb: 2\n", "2: a second document (---) is not supported"),
        (b"a: *b\n", "1: alias 'b' names nothing before it"),
        (b"a: &a\n  - *a\n", "2: alias 'a' contains itself"),
        (b"a: &x {b: 1}\nc:\n  <<: *x\n", "3: merge keys (<<) are not supported; write the keys out"),
        (b"? [a, b]\n: c\n", "1: a key must be a single value"),
        (b"[" * (MAX_DEPTH + 1), f"1: is nested deeper than {MAX_DEPTH}"),
        (b"[" * 500_000, f"1: is nested deeper than {MAX_DEPTH}"),
        (b"a: " + b"x" * MAX_TEXT_BYTES, f"1: is larger than {MAX_TEXT_BYTES} bytes"),
    ],
)
def test_texts_that_are_refused(data: bytes, expected: str) -> None:
    """Each is refused with its line."""
    assert [expected] == problems_of(data)


def test_a_bomb_of_aliases_is_refused_at_once() -> None:
    """Aliases count as what they expand to, without being expanded."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 40)]
    before = time.process_time()
    found = problems_of("\n".join(lines).encode())
    assert found == [f"5: has more than {MAX_NODES} values, aliases expanded"]
    assert time.process_time() - before < 5


def test_aliases_within_the_limit_are_followed() -> None:
    """An alias stands for what its anchor marks."""
    root = compose(b"a: &x [1, 2]\nb: *x\n", problems=Problems(file="f"))
    assert isinstance(root, Table)
    assert root.entries["a"] is root.entries["b"]


def test_problems_are_told_in_the_order_of_the_lines() -> None:
    """Problems come out by line, each once, whatever order they were found in."""
    problems = Problems(file="a\nb")
    problems.add(7, "late")
    problems.add(2, "early")
    problems.add(7, "late")
    assert problems.error().problems == ["'a\\nb':2: early", "'a\\nb':7: late"]
