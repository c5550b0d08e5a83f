"""A set of ids that may be far larger than memory: their hashes, sorted, in a file that is mapped.

64 bits of each id are kept; that one of a million absent ids is taken for one of a hundred million present ones has a
chance of one in two hundred thousand.
"""

from __future__ import annotations

import mmap
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

from xxhash import xxh3_64_intdigest

_BUCKETS = 256
_HELD = 1 << 17
_BYTES = 8


class IdSet:
    """Filled by `add`, then frozen, then asked. `directory` is the set's own, and empty."""

    def __init__(self, *, directory: Path) -> None:
        self._directory = directory
        self._buckets = [array("Q") for _ in range(_BUCKETS)]
        self._held = 0
        self._sorted: memoryview | None = None
        self._starts: list[int] = []

    def add(self, keys: Iterable[bytes]) -> None:
        """Add keys; each may be there already."""
        for key in keys:
            digest = xxh3_64_intdigest(key)
            self._buckets[digest >> 56].append(digest)
            self._held += 1
        if self._held >= _HELD:
            self._flush()

    def _flush(self) -> None:
        for number, bucket in enumerate(self._buckets):
            if bucket:
                with self._path(number).open("ab") as file:
                    bucket.tofile(file)
                self._buckets[number] = array("Q")
        self._held = 0

    def _path(self, number: int) -> Path:
        return self._directory / f"{number:02x}"

    def freeze(self) -> int:
        """Make it ready to be asked; return how many keys were added that were there already."""
        repeated = 0
        self._flush()
        self._starts = [0]
        whole = self._directory / "sorted"
        with whole.open("w+b") as file:
            for number in range(_BUCKETS):
                digests = self._bucket(number)
                repeated += sum(one == other for one, other in pairwise(digests))
                digests.tofile(file)
                self._starts.append(self._starts[-1] + len(digests))
            file.flush()
            if self._starts[-1]:
                self._sorted = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)).cast("Q")
        return repeated

    def _bucket(self, number: int) -> array[int]:
        path = self._path(number)
        digests = array("Q")
        if path.exists():
            digests.frombytes(path.read_bytes())
            path.unlink()
        return array("Q", sorted(digests))

    def __len__(self) -> int:
        return self._starts[-1]

    def __contains__(self, key: bytes) -> bool:
        if self._sorted is None:
            return False
        digest = xxh3_64_intdigest(key)
        start, end = self._starts[digest >> 56], self._starts[(digest >> 56) + 1]
        at = bisect_left(self._sorted, digest, start, end)
        return at < end and self._sorted[at] == digest
