"""`shipper audit`: is every line of these files in the output, or is it known why not?

Reads the files as the daemon does, asks the output for each id, and looks what is absent up in the dead letters, in the
spool, and behind the cursors. Sends and writes nothing; memory does not grow with the files.
"""

from __future__ import annotations

import tempfile
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from operator import itemgetter
from pathlib import Path

import msgspec

from shipper.archived import Log, Logs
from shipper.batch import Mark
from shipper.contents import content_agrees, digests_at
from shipper.discover import COMPRESSED, NEVER_READ, NOT_READ_LIVE, Found
from shipper.enrich import Choice
from shipper.idset import IdSet
from shipper.letters import Wanted, letters_in
from shipper.local.presence import DirectoryShelf
from shipper.local.standing import readable_files
from shipper.positions import FilePosition, Positions, by_identity, positions_at
from shipper.presence import AT_ONCE, Presence, Ranges, Shelf
from shipper.reread import Line, Piece, Reread, Rereader
from shipper.settings import LocalSettings, Settings
from shipper.tail import ByteReader, Damaged
from shipper.targets import Key, Targets
from shipper.verdicts import FileReport, Place, Report

_HELD = 4 * AT_ONCE
_SPOOLED_AT_ONCE = 4096


class _Spooled(msgspec.Struct, rename={"id": "_id"}):
    id: str


class KeptAside(msgspec.Struct, frozen=True):
    """The ids that are not in the output although the daemon is done with them."""

    set_aside: IdSet
    reduced: IdSet
    spooled: IdSet


def kept_aside(state: Path, *, scratch: Path) -> KeptAside:
    """What dead letters and spools in a state directory hold, those of replays too. Raises StateError."""
    sets = []
    for name in ("set-aside", "reduced", "spooled"):
        (scratch / name).mkdir()
        sets.append(IdSet(directory=scratch / name))
    kept = KeptAside(*sets)
    replays = sorted((state / "replay").glob("*"))
    for spool in (state / "spool", *(spool for replay in replays for spool in sorted(replay.glob("spool-*")))):
        kept.spooled.add(_spooled(spool))  # before the dead letters: what leaves the spool may become one
    for directory in (state, *replays):
        for letter in letters_in(directory / "dead-letter", Wanted()):
            (kept.reduced if letter.reduced else kept.set_aside).add([letter.id.encode()])
    for one in sets:
        one.freeze()
    return kept


def _spooled(directory: Path) -> Iterator[bytes]:
    decoder = msgspec.json.Decoder(_Spooled)
    for path in sorted(directory.glob("*.ndjson")):
        try:
            with path.open("rb") as file:
                for line in file:
                    yield decoder.decode(line).id.encode()
        except (FileNotFoundError, msgspec.MsgspecError):  # delivered just now; half-written just now
            continue


class _Judge(msgspec.Struct):
    """Says of one file what it means that a line of it is absent."""

    report: FileReport
    position: FilePosition | None
    is_own: bool
    """The position is that of this very file, not of another that begins alike."""
    is_coming: bool
    """A running daemon will find it: it is followed, and not known yet."""
    deleted: Ranges
    """Offsets that were delivered; their day files may have been deleted since."""

    def absent(self, line: Line, *, has_index: bool) -> Place:
        if self.position is not None:
            if line.offset < self.position.shipped_from:
                return Place.SKIPPED
            if line.offset >= self.position.shipped and (self.is_own or self._has(self.position, line.offset)):
                return Place.WAITING
        elif self.is_coming:
            return Place.WAITING
        if not has_index and _is_in(self.deleted, line.offset):
            return Place.EXPIRED
        return Place.MISSING

    def _has(self, position: FilePosition, offset: int) -> bool:
        """Whether another file of this identity has anything there that could be on its way; it may be an older one
        under the same header. (Of one that is compressed the size says nothing.)
        """
        is_compressed = position.path.endswith(COMPRESSED) and not position.is_gone
        return self.is_coming or is_compressed or offset < position.size


def _is_in(ranges: Ranges, offset: int) -> bool:
    """Whether one of the ranges, which ascend and are apart, has it."""
    at = bisect_right(ranges, offset, key=itemgetter(1))
    return at < len(ranges) and ranges[at][0] <= offset


class _Held(msgspec.Struct):
    """A line that the output is still to be asked for."""

    line: Line
    judge: _Judge
    is_unfinished: bool


class Auditor:
    """Audits files one after another; what is asked of the output is gathered over files, and by index."""

    def __init__(
        self,
        *,
        shelf: Shelf,
        kept: KeptAside,
        positions: Positions | None,
        identities: frozenset[str],
        show: int,
    ) -> None:
        """`identities`: those of all files to be audited. Of each file the first `show` missing lines are kept."""
        self._shelf = shelf
        self._kept = kept
        self._is_running = positions is not None and positions.is_running
        self._positions = by_identity(positions.files, identities) if positions is not None else {}
        self._show = show
        self._held: dict[str, list[_Held]] = {}
        self._count = 0

    def audit(
        self,
        opening: AbstractContextManager[Reread],
        *,
        path: str,
        source: str,
        is_followed: bool,
        advance: Callable[[int], None],
    ) -> FileReport:
        """One file; its report is complete after `finish`. Raises OutputError."""
        report = FileReport(path, source)
        try:
            with opening as file:
                report.identity = file.identity
                with suppress(Damaged):
                    self._audit(file, report, is_followed=is_followed, advance=advance)
                report.problem = file.problem
        except Damaged as error:
            report.problem = f"damaged from its beginning: {error}"
        except OSError as error:
            report.problem = f"cannot be read: {error.strerror or error}"
        return report

    def _audit(self, file: Reread, report: FileReport, *, is_followed: bool, advance: Callable[[int], None]) -> None:
        position = position_of(self._positions.get(file.identity, ()), device=file.device, inode=file.inode)
        deleted = self._shelf.deleted(_Content(file.identity, file.reader, file.size)) if file.identity else ()
        is_own = position is not None and _is_of(position, device=file.device, inode=file.inode)
        judge = _Judge(report, position, is_own, self._is_running and is_followed, deleted)
        passed = 0
        for piece in file.pieces():
            self._take(piece, judge, is_unfinished=piece.is_tail and not file.is_complete)
            if file.is_plain:
                advance(piece.end - passed)
                passed = piece.end
        advance(file.size - passed)

    def _take(self, piece: Piece, judge: _Judge, *, is_unfinished: bool) -> None:
        judge.report.counts[Place.DROPPED] += piece.dropped
        judge.report.counts[Place.UNCHOSEN] += piece.unwanted
        for line in piece.lines:
            held = self._held.setdefault(line.index_name, [])
            held.append(_Held(line, judge, is_unfinished))
            self._count += 1
            if len(held) == AT_ONCE:
                self._ask(line.index_name)
        if self._count >= _HELD:
            self.finish()

    def finish(self) -> None:
        """Ask for all that is held. Raises OutputError."""
        for index_name in list(self._held):
            self._ask(index_name)

    def _ask(self, index_name: str) -> None:
        held = self._held.pop(index_name)
        self._count -= len(held)
        answers = self._shelf.look_up(index_name, [one.line.id for one in held])
        has_index = self._shelf.has_index(index_name)
        for one, answer in zip(held, answers, strict=True):
            place = self._place(one, answer, has_index=has_index)
            one.judge.report.counts[place] += 1
            if place is Place.MISSING:
                one.judge.report.note_missing(one.line, most=self._show)

    def _place(self, held: _Held, answer: Presence, *, has_index: bool) -> Place:
        key = held.line.id.encode()
        if answer is Presence.THERE:
            return Place.REDUCED if key in self._kept.reduced else Place.PRESENT
        if key in self._kept.set_aside:
            return Place.SET_ASIDE
        if key in self._kept.spooled:
            return Place.WAITING
        if answer is Presence.UNKNOWN:
            return Place.UNKNOWN
        if held.is_unfinished:
            return Place.UNFINISHED
        return held.judge.absent(held.line, has_index=has_index)


class _Content(msgspec.Struct, frozen=True):
    """A file as a local output's ledger asks for it (batch.Content)."""

    identity: str
    reader: ByteReader
    size: int

    def has(self, marks: Sequence[Mark]) -> bool | None:
        return content_agrees(self.reader, marks, self.size)

    def digests_at(self, position: int) -> Sequence[int] | None:
        return digests_at(self.reader, position)

    def marks_at(self, position: int) -> Sequence[Mark]:
        raise AssertionError(f"nothing is written here, so nobody asks for marks ({position})")


def position_of(positions: Iterable[FilePosition], *, device: int, inode: int) -> FilePosition | None:
    """Of what is known of an identity, the file itself, else the content that was shipped farthest (its archive)."""
    found = sorted(positions, key=lambda p: (_is_of(p, device=device, inode=inode), p.shipped))
    return found[-1] if found else None


def _is_of(position: FilePosition, *, device: int, inode: int) -> bool:
    """Whether a position is that of the file itself."""
    return (position.device, position.inode) == (device, inode) and not position.is_gone


# The whole


def audit(
    settings: Settings,
    targets: Targets,
    *,
    show: int,
    advance: Callable[[int], None],
    archived: bool = False,
    stem_name: str = "",
    choice: Choice | None = None,
    waits_for: Callable[[str], None] = lambda _: None,
) -> Report:
    """The report on all files; of each the first `show` missing lines. `advance` is told how many bytes were read, and
    `waits_for` why the server must be asked again.

    `archived`: also what only `replay` reads. `stem_name`: as its `--stem`. `choice`: which lines are asked about.
    Raises OutputError if the output cannot be asked, and StateError or NoAnswerError.
    """
    state = Path(settings.state)
    left_out = dict(targets.left_out)
    files = [found for found in targets.files if not _is_left_out(found, left_out, archived=archived)]
    rereaders = {
        source.name: Rereader(settings=settings, source=source, stem_name=stem_name, choice=choice)
        for source in settings.sources
    }
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shipper-audit-")))
        positions = positions_at(state)  # first: whatever it says to be delivered must be found by all that follows
        kept = kept_aside(state, scratch=scratch)
        logs = Logs(settings=settings, rereaders=rereaders, archived=archived)
        stack.callback(logs.close)
        found_in = [(found, *logs.within(found, left_out)) for found in files]
        identities = _identities(logs, [log for _, within, _ in found_in for log in within])
        shelf = _shelf(settings, stack, scratch=scratch, identities=identities, advance=advance, waits_for=waits_for)
        auditor = Auditor(shelf=shelf, kept=kept, positions=positions, identities=identities, show=show)
        is_running = positions is not None and positions.is_running
        report = Report(output=str(shelf), is_running=is_running, left_out=left_out, problems=dict(targets.problems))
        for found, within, problem in found_in:
            report.files += _audited(auditor, logs, within, followed=targets.followed, advance=advance)
            if problem:
                report.problems[found.path] = problem
        auditor.finish()
        report.problems |= {f"index {index}": why for index, why in shelf.problems.items()}
        report.repeated = shelf.repeated
        return report


def _audited(
    auditor: Auditor, logs: Logs, within: Sequence[Log], *, followed: set[Key], advance: Callable[[int], None]
) -> Iterator[FileReport]:
    """The reports on the logs of one file."""
    for log in within:
        found = log.found
        is_live = log.entry is None and not found.path.endswith(NOT_READ_LIVE)
        yield auditor.audit(
            logs.open(log),
            path=log.path,
            source=log.source,
            is_followed=is_live and (found.device, found.inode) in followed,
            advance=advance if log.entry is None else lambda _: None,
        )
    if within and within[0].entry is not None:
        advance(within[0].found.size)


def bytes_to_read(settings: Settings, targets: Targets) -> int:
    """What `advance` is told in all, about."""
    own = sum(found.size for found in targets.files)
    local = settings.output.local
    return own + (
        sum(path.stat().st_size for path in readable_files(Path(local.directory))) if local is not None else 0
    )


def _is_left_out(found: Found, left_out: dict[str, str], *, archived: bool) -> bool:
    """Whether nobody would ship it; then `left_out` says why."""
    if found.path.endswith(NEVER_READ if archived else NOT_READ_LIVE):
        left_out[found.path] = "such files are not read" if archived else "the daemon does not read such files"
    elif not found.source.ship:
        left_out[found.path] = f"source {found.source.name} has ship: false"
    return found.path in left_out


def _identities(logs: Logs, all_logs: Iterable[Log]) -> frozenset[str]:
    identities = set()
    for log in all_logs:
        with suppress(OSError, Damaged), logs.open(log) as file:
            identities.add(file.identity)
    return frozenset(identities)


def _shelf(
    settings: Settings,
    stack: ExitStack,
    *,
    scratch: Path,
    identities: frozenset[str],
    advance: Callable[[int], None],
    waits_for: Callable[[str], None],
) -> Shelf:
    server = settings.output.elasticsearch
    if server is not None:
        from shipper.elastic.asking import Asking  # 10 MB of memory that a local output does without
        from shipper.elastic.presence import ServerShelf

        asking = Asking(server, purpose="audit", waits_for=waits_for)
        stack.callback(asking.close)
        return ServerShelf(asking=asking)
    local = settings.output.local or LocalSettings()
    ids = scratch / "ids"
    ids.mkdir()
    shelf = DirectoryShelf(settings=local, scratch=ids)
    shelf.read(identities=identities, advance=advance)
    return shelf
