"""Which files a command is about, and to which source each belongs: for `audit`, of files that somebody else ships.

PATHs are looked for as sources' patterns are. A file belongs to the source that follows it, else to the first whose
pattern's base name matches, else to the one that is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from shipper.config.decode import absolute_glob
from shipper.discover import ARCHIVES, Found, Listing, directory_matcher, has_wildcard, name_matcher, scan
from shipper.errors import ConfigError
from shipper.identity import without_compression
from shipper.settings import Settings, SourceSettings

Key = tuple[int, int]


class Targets(msgspec.Struct):
    """What was found."""

    files: list[Found] = msgspec.field(default_factory=list)
    followed: set[Key] = msgspec.field(default_factory=set)
    """Device and inode of those that the configuration follows."""
    left_out: dict[str, str] = msgspec.field(default_factory=dict)
    """By path: what is not followed, and why."""
    problems: dict[str, str] = msgspec.field(default_factory=dict)
    """By path: what could not be looked at."""


def targets(
    settings: Settings,
    paths: Sequence[str],
    *,
    own_directories: Sequence[str],
    directory: Path,
    source_name: str = "",
    archived: bool = False,
) -> Targets:
    """The files of `paths` (relative ones are from `directory`), or all that are followed if there are none.

    `archived`: also what only `replay` reads.

    Raises ConfigError for a source that does not exist, and for a file that belongs to none.
    """
    sources = {source.name: source for source in settings.sources}
    if source_name and source_name not in sources:
        raise ConfigError([f"--source: there is no source {source_name!r}; there are {', '.join(sources)}"])
    followed = scan(settings.sources, own_directories=own_directories, archived=archived)
    typed = followed
    if paths:
        patterns = tuple(absolute_glob(path, directory) for path in paths)
        typed = scan([SourceSettings(name="", paths=patterns)], own_directories=own_directories, archived=archived)
    return _matched(settings, typed, followed, sources.get(source_name), archived=archived)


def _matched(
    settings: Settings, typed: Listing, followed: Listing, named: SourceSettings | None, *, archived: bool
) -> Targets:
    known = {(found.device, found.inode): found for found in followed.files}
    result = Targets(followed=set(known), problems=dict(typed.problems))
    homeless = []
    left_out = {**typed.left_out, **{path: why for path, why in followed.left_out.items() if path in typed.left_out}}
    for found in typed.files:
        if found.path in followed.left_out:
            left_out[found.path] = followed.left_out[found.path]
            continue
        own = known.get((found.device, found.inode))
        source = named or (own.source if own is not None else None) or source_by_name(settings.sources, found.path)
        if source is None and archived:
            source = _by_archived_name(settings.sources, found.path)
        if source is None:
            homeless.append(found.path)
        else:
            result.files.append(found._replace(source=source))
    for found in followed.files:
        if found.path in left_out:  # followed all the same: `errors_too`, or named
            del left_out[found.path]
            result.files.append(found)
    result.left_out = left_out
    if homeless:
        names = ", ".join(source.name for source in settings.sources)
        raise ConfigError(
            [f"{path}: no source's patterns match it; name one with --source ({names})" for path in homeless]
        )
    return result


def _by_archived_name(sources: Sequence[SourceSettings], path: str) -> SourceSettings | None:
    """The source of a log that was compressed since; of an archive any, because each of its logs has its own."""
    return sources[0] if path.endswith(ARCHIVES) else source_by_name(sources, without_compression(path))


def source_by_name(sources: Sequence[SourceSettings], path: str) -> SourceSettings | None:
    """The only source, or the first of which a pattern's last part matches the file's name."""
    if len(sources) == 1:
        return sources[0]
    name = Path(path).name
    for source in sources:
        for pattern in source.paths:
            is_directory = not has_wildcard(pattern) and Path(pattern).is_dir()
            names = directory_matcher() if is_directory else name_matcher((Path(pattern).name,))
            if names.match(name):
                return source
    return None
