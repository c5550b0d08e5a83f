"""Sequences that long runs of the model have found, each with what was wrong; they check what the model checks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from harness.following import Following


@contextlib.contextmanager
def following() -> Iterator[Following]:
    """The model; what must have come of it is checked at the end."""
    state = Following()
    try:
        yield state
    except BaseException:
        state.give_up()
        raise
    state.teardown()


def test_a_content_has_marks_where_the_metrics_began_behind_its_beginning() -> None:
    """Without them, what lay in the same place later passed for it, and was taken as counted."""
    with following() as state:
        state.begin(has_ledger=False, before=1, has_header=True, open_limit=1, starts_now=False)
        state.rename_in_cascade()
        state.disturb(has_place=False, is_answering=False)
        state.write_without_newline()
        state.rename_in_cascade()
        state.stop()
        state.start()
        state.write_in_pieces(pieces=[1, 58], seconds=3.0)
        state.copytruncate(is_matched=True, regrown=0, seconds=3.0)
        state.write(count=30, size=50)
        state.rename_in_cascade()
        state.stop()
        state.delete(which=7)
        state.start()


def test_an_archive_is_no_whole_one_before_its_last_member() -> None:
    """Its first line was taken as whole although the second member went on with it."""
    with following() as state:
        state.begin(has_header=False, starts_now=False, has_ledger=True, open_limit=2, before=1)
        state.copytruncate(is_matched=True, regrown=60, seconds=3.0)
        state.compress(members=2, seconds=3.0, steps=2, which=4)
