"""A batch's documents in parts of one index each, and what became of them by index. Pure."""

from __future__ import annotations

from dataclasses import replace

from shipper.batch import Documents


def split(documents: Documents, document_lines: int) -> list[Documents]:
    """The documents by index, so that what becomes of them is known by index; those of one day as they are.

    `document_lines`: of how many lines a framed document is.
    """
    if len(documents.segments) < 2:
        return [documents]
    bodies: dict[str, list[bytes]] = {}
    numbers: dict[str, list[int]] = {}
    first = 0
    for index, start, end in documents.segments:
        count = documents.body.count(b"\n", start, end) // document_lines
        bodies.setdefault(index, []).append(documents.body[start:end])
        numbers.setdefault(index, []).extend(documents.line_numbers[first : first + count])
        first += count
    letters = {next(iter(bodies)): documents.dead_letters}
    return [
        replace(
            documents,
            body=b"".join(pieces),
            count=len(numbers[index]),
            segments=[(index, 0, sum(map(len, pieces)))],
            line_numbers=numbers[index],
            dead_letters=letters.get(index, []),
            results={},
        )
        for index, pieces in bodies.items()
    ]


def count_results(part: Documents, indices: dict[str, dict[str, int]]) -> None:
    """Adds what became of documents, which are done, to the counts by index and result."""
    names = [index for index, _, _ in part.segments]
    if len(set(names)) == 1 and part.results:
        counts = indices.setdefault(names[0], {})
        for result, count in part.results.items():
            counts[result] = counts.get(result, 0) + count
    else:  # a local output's, over several days: all but those that it had are new
        had = part.results.get("duplicate", 0)
        for index, start, stop in part.segments:
            count = part.body.count(b"\n", start, stop)
            known = min(had, count)
            had -= known
            counts = indices.setdefault(index, {})
            for result, number in (("created", count - known), ("duplicate", known)):
                if number:
                    counts[result] = counts.get(result, 0) + number
    for letter in part.dead_letters:
        counts = indices.setdefault(letter.index, {})
        counts["dead_letter"] = counts.get("dead_letter", 0) + 1
