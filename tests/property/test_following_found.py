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


def test_a_file_that_is_restored_under_its_own_name_may_be_written_on() -> None:
    """It was taken for renamed, and the beginning of its next line for its last one."""
    with following() as state:
        state.begin(has_header=True, open_limit=100, has_ledger=True, before=1, starts_now=True)
        state.disturb(has_place=True, is_answering=False)
        state.directory_away(is_restored=True, seconds=3.0)
        state.write_without_newline()
        state.run(seconds=3.0)
        state.write_without_newline()
        state.kill(keeps_submitted=True)


def test_what_is_written_where_a_file_was_cut_is_new() -> None:
    """The ledger had those offsets of what had stood there, and they were taken as delivered."""
    with following() as state:
        state.begin(before=0, has_ledger=True, has_header=True, open_limit=2, starts_now=False)
        state.write(count=30, size=300)
        state.write(count=23, size=3000)
        state.write_in_pieces(pieces=[17, 40, 55, 20], seconds=3.0)
        state.cut(kept=31, is_torn=False)
        state.write_in_pieces(pieces=[52, 20], seconds=0.0)


def test_a_cut_is_remembered_although_more_was_written_before_the_next_line_goes_out() -> None:
    """The ledger could not tell any more which content had been cut."""
    with following() as state:
        state.begin(has_ledger=True, open_limit=2, before=3, has_header=False, starts_now=True)
        state.write(count=4, size=300)
        state.replace(count=5)
        state.copytruncate(is_matched=True, regrown=60, seconds=0.3)
        state.cut(kept=20, is_torn=False)
        state.cut(kept=30, is_torn=False)
        state.write(count=9, size=50)


def test_a_cut_is_remembered_although_the_process_ends_before_the_next_line_goes_out() -> None:
    """The ledger lacked a part then, as it seemed, and that was shipped again."""
    with following() as state:
        state.begin(has_header=True, starts_now=True, has_ledger=True, open_limit=2, before=3)
        state.cut(kept=14, is_torn=True)
        state.write(count=29, size=3000)
        state.cut(kept=31, is_torn=False)
        state.cut(kept=21, is_torn=False)
        state.write(count=34, size=300)
        state.unreadable(is_restarted=True, seconds=10.0, which=4)


def test_an_archive_in_the_making_of_a_file_that_cannot_be_read_is_waited_for() -> None:
    """Too short to be told from another file with the same header, it was counted anew."""
    with following() as state:
        state.begin(before=1, starts_now=False, has_header=True, open_limit=100, has_ledger=False)
        state.unreadable(is_restarted=True, seconds=10.0, which=4)
        state.rename_in_cascade()
        state.write(count=2, size=300)
        state.rename_in_cascade()
        state.delete(which=0)
        state.compress(members=2, seconds=3.0, steps=3, which=7)


def test_two_files_with_one_header_give_it_once() -> None:
    """The second had asked the ledger before the first was shipped."""
    with following() as state:
        state.begin(open_limit=1, before=0, has_header=True, starts_now=False, has_ledger=True)
        state.write(count=32, size=60)
        state.disturb(has_place=False, is_answering=True)
        state.rename(is_linked=True, is_recreated=False, seconds=0.0, style="date")
        state.write(count=10, size=60)
        state.rename(is_linked=True, is_recreated=False, seconds=3.0, style="number")


def test_a_reload_looks_at_what_it_is_handed() -> None:
    """A deleted file that had been emptied and written again was read on in the middle of its new content."""
    with following() as state:
        state.begin(before=3, has_ledger=False, starts_now=True, has_header=True, open_limit=1)
        state.copytruncate(is_matched=True, regrown=60, seconds=3.0)
        state.replace(count=5)
        state.reload()
        state.directory_away(is_restored=False, seconds=0.3)


def test_what_is_known_of_a_copy_outlives_the_absence_of_its_directory() -> None:
    """It was counted anew when it came back and had grown."""
    with following() as state:
        state.begin(starts_now=False, has_header=True, before=1, open_limit=1, has_ledger=False)
        state.write(count=10, size=3000)
        state.directory_away(is_restored=True, seconds=0.3)
        state.cut(kept=20, is_torn=False)
        state.write(count=38, size=300)
        state.directory_away(is_restored=False, seconds=3.0)


def test_a_cut_that_is_found_while_reading_is_a_cut_as_well() -> None:
    """Where a turn came before a look, the file passed for one that was written anew."""
    with following() as state:
        state.begin(has_header=False, before=2, open_limit=100, starts_now=False, has_ledger=True)
        state.copytruncate(is_matched=True, regrown=60, seconds=0.0)
        state.disturb(has_place=False, is_answering=False)
        state.cut(kept=17, is_torn=False)
        state.cut(kept=26, is_torn=False)
        state.write(count=34, size=300)


def test_an_empty_file_is_looked_at_as_often_as_any_other() -> None:
    """After a minute of nothing its first line was looked for every five seconds only."""
    with following() as state:
        state.begin(has_ledger=False, starts_now=True, has_header=False, before=2, open_limit=100)
        state.cut(kept=15, is_torn=True)
        state.run(seconds=100.0)
        state.truncate(regrown=60)
        state.cut(kept=12, is_torn=True)
        state.truncate(regrown=1)


def test_a_renamed_file_that_was_given_up_is_final_when_it_comes_back() -> None:
    """Its last line without an end was left there for ever."""
    with following() as state:
        state.begin(before=2, starts_now=False, open_limit=1, has_ledger=True, has_header=False)
        state.write_without_newline()
        state.rename(is_linked=False, is_recreated=False, seconds=0.0, style="date")
        state.write_in_pieces(pieces=[23, 13, 58, 7], seconds=0.3)
        state.reload()
        state.move_away(which=1)
        state.cut(kept=30, is_torn=False)
        state.bring_back(which=0)


def test_a_file_that_has_nothing_but_a_header_is_no_part_of_the_next_one() -> None:
    """The new file passed for a longer copy, and with it for one that is written no more."""
    with following() as state:
        state.begin(has_ledger=False, open_limit=100, starts_now=True, has_header=True, before=2)
        state.copytruncate(is_matched=True, regrown=0, seconds=0.0)
        state.rename(is_linked=False, is_recreated=True, seconds=0.0, style="date")
        state.rename(is_linked=False, is_recreated=False, seconds=0.0, style="date")
        state.move_away(which=2)
        state.compress(members=1, seconds=3.0, steps=2, which=3)
        state.write_in_pieces(pieces=[43, 15, 3, 21], seconds=3.0)


def test_a_short_file_that_is_cut_is_read_on() -> None:
    """Its first bytes were remembered beyond the cut, so it was taken for another one, again and again."""
    with following() as state:
        state.begin(has_ledger=False, before=3, has_header=False, starts_now=False, open_limit=100)
        state.write_without_newline()
        state.cut(is_torn=False, kept=3)
        state.cut(is_torn=False, kept=2)
        state.write_without_newline()


def test_a_last_line_that_was_counted_is_shipped_until_it_is_acknowledged() -> None:
    """Handed over by a second process, which ended before the answer, it was taken for delivered by the third."""
    with following() as state:
        state.begin(has_ledger=True, open_limit=100, has_header=True, before=1, starts_now=True)
        state.write_without_newline()
        state.disturb(has_place=True, is_answering=False)
        state.rename_in_cascade()
        state.compress(members=1, seconds=3.0, steps=3, which=1)
        state.reload()
        state.run(seconds=1.0)
        state.reload()


def test_an_archive_that_is_gone_before_anything_of_it_was_read_is_said_to_be_lost() -> None:
    """What is in it was known from reading alone, so that nothing was said."""
    with following() as state:
        state.begin(has_ledger=False, starts_now=False, has_header=False, before=0, open_limit=100)
        state.swap_link(count=1)
        state.stop()
        state.disturb(has_place=False, is_answering=False)
        state.start()
        state.compress(members=1, seconds=0.0, steps=1, which=0)
        state.run(seconds=3.0)
        state.delete(which=0)
        state.kill(keeps_submitted=False)


def test_what_was_cut_off_unread_while_nobody_ran_is_said_to_be_lost() -> None:
    """Nothing had been read of the file, so it passed for one of which nothing was gone."""
    with following() as state:
        state.begin(has_ledger=False, has_header=False, starts_now=False, before=0, open_limit=100)
        state.disturb(has_place=False, is_answering=False)
        state.write(count=4, size=60)
        state.cut(kept=3, is_torn=False)
        state.kill(keeps_submitted=False)
        state.cut(kept=2, is_torn=False)


def test_what_waits_of_a_file_that_is_cut_is_written_once() -> None:
    """Its lines went out again, and those that had gone out before had not been written yet, so nobody knew of them."""
    with following() as state:
        state.begin(has_ledger=True, has_header=False, starts_now=False, before=0, open_limit=100)
        state.disturb(has_place=True, is_answering=False)
        state.write(count=35, size=3000)
        state.run(seconds=3.0)
        state.cut(kept=34, is_torn=False)


def test_an_open_file_that_is_handed_over_is_its_own_not_that_of_an_earlier_file_on_its_inode() -> None:
    """A reload took it for the earlier one, which had no line left but was remembered, and shipped it under new ids."""
    with following() as state:
        state.begin(has_ledger=False, starts_now=False, has_header=True, before=1, open_limit=100)
        state.stop()
        state.replace(count=0)
        state.swap_link(count=2)
        state.copytruncate(is_matched=False, regrown=0, seconds=0.0)
        state.copytruncate(is_matched=True, regrown=0, seconds=0.0)
        state.clock_jumps(seconds=-86400.0)
        state.start()
        state.delete(which=0)
        state.replace(count=0)
        state.copytruncate(is_matched=True, regrown=1, seconds=0.0)
        state.compress(members=1, seconds=0.3, steps=1, which=1)
        state.write_in_pieces(pieces=[1], seconds=0.0)
        state.compress(members=1, seconds=3.0, steps=1, which=0)
        state.reload()


def test_a_ledger_ahead_of_the_state_knows_what_is_left_of_a_short_file_that_is_cut() -> None:
    """It knew by its end alone what it had, so that what was left of it was written again."""
    with following() as state:
        state.begin(has_ledger=True, starts_now=False, has_header=False, before=1, open_limit=100)
        state.write(count=2, size=50)
        state.reload()
        state.run(seconds=0.01)
        state.kill(keeps_submitted=False)
        state.cut(is_torn=False, kept=2)


def test_a_new_file_is_not_taken_for_one_that_cannot_be_read_because_both_have_a_header() -> None:
    """It went on where that one had been read to, which was a file of its own then: its last line was never one."""
    with following() as state:
        state.begin(has_ledger=False, starts_now=False, has_header=True, before=1, open_limit=100)
        state.rename(is_linked=False, is_recreated=False, seconds=0.0, style="date")
        state.write_without_newline()
        state.compress(members=1, seconds=3.0, steps=1, which=0)
        state.reload()
        state.rename_in_cascade()
        state.write(count=1, size=50)
        state.unreadable(is_restarted=False, seconds=0.3, which=2)


def test_what_one_cursor_hands_on_of_a_file_that_is_cut_is_written_once() -> None:
    """The other found the cut then, and what stood behind the last power of two was written again."""
    with following() as state:
        state.begin(has_ledger=True, starts_now=False, has_header=True, before=1, open_limit=100)
        state.disturb(has_place=True, is_answering=False)
        state.disturb(has_place=False, is_answering=False)
        state.cut(is_torn=False, kept=0)
        state.copytruncate(is_matched=True, regrown=60, seconds=0.0)
        state.cut(is_torn=False, kept=5)
        state.disturb(has_place=True, is_answering=True)
        state.cut(is_torn=False, kept=4)


def test_a_file_that_was_cut_while_down_is_not_taken_for_another_of_which_a_header_was_read() -> None:
    """That one was gone; where it had been read to, behind the header, it went on, and counted a line again."""
    with following() as state:
        state.begin(has_ledger=True, before=2, starts_now=True, open_limit=100, has_header=True)
        state.stop()
        state.start()
        state.replace(count=0)
        state.replace(count=0)
        state.rename_in_cascade()
        state.replace(count=3)
        state.cut(is_torn=False, kept=15)
        state.stop()
        state.delete(which=0)
        state.start()
        state.cut(is_torn=False, kept=1)


def test_what_a_server_had_of_a_file_that_was_cut_is_counted_as_lost_after_a_reload() -> None:
    """It was read, but not delivered when the engine ended, and was in the file no more."""
    with following() as state:
        state.begin(has_ledger=False, starts_now=False, has_header=False, before=0, open_limit=100)
        state.write(count=14, size=50)
        state.disturb(has_place=True, is_answering=False)
        state.cut(is_torn=False, kept=3)
        state.cut(is_torn=False, kept=2)
        state.reload()


def test_a_copy_goes_on_where_its_original_had_one_line_and_is_empty_and_unreadable() -> None:
    """What cannot be read was thought to have that line still, but it is too short for it."""
    with following() as state:
        state.begin(has_ledger=False, starts_now=False, has_header=False, before=1, open_limit=100)
        state.reload()
        state.copytruncate(is_matched=True, regrown=0, seconds=0.0)
        state.unreadable(is_restarted=False, seconds=0.3, which=0)


def _rotate_and_compress_unread(state: Following) -> None:
    state.begin(has_ledger=True, before=0, has_header=True, starts_now=True, open_limit=100)
    state.stop()
    state.start()
    state.stop()
    state.disturb(has_place=False, is_answering=False)
    state.start()
    state.write(count=32, size=50)
    state.stop()
    state.rename_in_cascade()
    state.write(count=31, size=50)
    state.start()
    state.compress(members=1, seconds=0.3, steps=1, which=0)


def test_a_file_that_is_cut_asks_the_ledger_again_before_its_first_line_goes_out() -> None:
    """Another one with the same header had been on its way meanwhile."""
    with following() as state:
        _rotate_and_compress_unread(state)
        state.cut(is_torn=False, kept=30)


def test_an_archive_is_told_from_the_deleted_file_that_is_held_open_over_a_reload() -> None:
    """Nothing had been read of either, so it was taken for another file with the same header."""
    with following() as state:
        _rotate_and_compress_unread(state)
        state.truncate(regrown=0)
        state.reload()


def test_a_ledger_tells_contents_apart_that_have_a_header_and_the_ends_of_long_lines_in_common() -> None:
    """The mark at the header's end was looked at, and not the one at a kilobyte, which has the beginning of a line."""
    with following() as state:
        state.begin(has_ledger=True, starts_now=False, has_header=True, before=0, open_limit=100)
        state.write_in_pieces(pieces=[1], seconds=0.3)
        state.reload()
        state.replace(count=0)
        state.write(count=27, size=3000)
        state.rename(is_linked=False, is_recreated=False, seconds=0.0, style="date")
        state.write(count=17, size=3000)


def test_an_archive_of_one_line_is_no_other_content_while_its_original_cannot_be_read() -> None:
    """After a start, the line that it holds and nothing more was counted again."""
    with following() as state:
        state.begin(has_ledger=True, has_header=False, before=0, starts_now=True, open_limit=100)
        state.write(count=1, size=50)
        state.rename(is_linked=False, is_recreated=True, seconds=0.0, style="number")
        state.hard_link(which=7)
        state.replace(count=4)
        state.cut(is_torn=True, kept=1)
        state.compress(members=1, seconds=0.0, steps=1, which=1)
        state.unreadable(is_restarted=True, seconds=10.0, which=7)


def test_a_closed_file_that_was_moved_is_not_given_up_for_a_copy_of_its_header() -> None:
    """It was not found under its name when a copy was compared with it, and was said to be truncated."""
    with following() as state:
        state.begin(has_ledger=True, before=1, open_limit=1, has_header=True, starts_now=True)
        state.delete_active(is_recreated=True)
        state.rename(is_linked=False, is_recreated=False, seconds=0.0, style="date")
        for _ in range(2):
            state.reload()
        for _ in range(2):
            state.unreadable(is_restarted=False, seconds=0.3, which=0)
        state.swap_link(count=0)
        state.hard_link(which=0)
        state.unreadable(is_restarted=False, seconds=0.3, which=0)
        state.replace(count=0)
        state.unreadable(is_restarted=False, seconds=0.3, which=3)
        state.disturb(has_place=False, is_answering=False)
        state.move_away(which=0)
        state.write_in_pieces(pieces=[1], seconds=0.0)
        state.copytruncate(is_matched=True, regrown=0, seconds=3.0)


def test_a_copy_of_one_line_is_no_other_content_while_its_original_cannot_be_read() -> None:
    """Its original had been emptied meanwhile, and written to the same length."""
    with following() as state:
        state.begin(has_ledger=False, starts_now=False, has_header=False, before=1, open_limit=100)
        state.reload()
        state.truncate(regrown=0)
        state.write_in_pieces(pieces=[1], seconds=0.0)
        state.copytruncate(is_matched=True, regrown=1, seconds=0.3)
        state.reload()
        state.unreadable(is_restarted=False, seconds=0.3, which=0)
