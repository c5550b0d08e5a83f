"""Which of the files that are kept open without a name are given up."""

from __future__ import annotations

import pytest

from shipper.held import Held, to_give_up

READ, UNREAD, NAMED = Held(100, is_done=True), Held(100, is_done=False), Held(0, is_done=False)


@pytest.mark.parametrize(
    ("held", "most_bytes", "most_files", "given_up"),
    [
        ([], 100, 1, []),
        ([UNREAD], 100, 1, []),
        ([UNREAD, UNREAD, UNREAD], 200, 9, [0]),
        ([UNREAD, UNREAD, UNREAD], 199, 9, [0, 1]),
        ([UNREAD, UNREAD, UNREAD], 99, 9, [0, 1, 2]),
        ([UNREAD, UNREAD, UNREAD], 0, 9, []),
        ([UNREAD, READ, UNREAD], 200, 9, [1]),
        ([UNREAD, READ, UNREAD], 100, 9, [1, 0]),
        ([NAMED, UNREAD, UNREAD], 100, 9, [1]),
        ([NAMED, UNREAD, UNREAD], 0, 2, [0]),
        ([NAMED, READ, UNREAD], 0, 1, [1, 0]),
    ],
)
def test_what_is_done_goes_first_and_then_what_was_held_longest(
    held: list[Held], most_bytes: int, most_files: int, given_up: list[int]
) -> None:
    """As many as it takes, and none that frees nothing of what there is too much of."""
    assert given_up == to_give_up(dict(enumerate(held)), most_bytes=most_bytes, most_files=most_files)
