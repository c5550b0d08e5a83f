"""Turns URLs into routes: `/api/patients/17?full=1` becomes `/api/patients/:id`.

The route is a function of the URL alone; nothing is learned, so that history is labelled like the present. Those that
are written down (`routepatterns`) come first. Columns go through `str.translate`, which makes every digit a 0: few
forms remain, and a dictionary of bounded size knows the route of each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final
from urllib.parse import unquote

from shipper.batch import MISSING
from shipper.routepatterns import RoutePatterns

UNMATCHED: Final = ":unmatched"
ID: Final = ":id"
MAX_URL_CHARACTERS: Final = 2_048  # what stands behind them does not count
MAX_SEGMENTS: Final = 10  # a deeper path ends in /*
MAX_SEGMENT_CHARACTERS: Final = 40
MAX_WORDS: Final = 4  # a segment of more words is a title, not a name
MAX_FORMS: Final = 4_096
_MAX_FORM_CHARACTERS: Final = 256
_MAX_DIGIT_NAME_CHARACTERS: Final = 18  # of `v100.100.100beta10`
_MAX_JOINED_CHARACTERS: Final = 1 << 18

_ORIGIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/?#]*")
_CUT: Final = re.compile(r"[?#]")
_SEGMENT: Final = re.compile(r"[^/]+")
_DIGIT: Final = re.compile(r"[0-9]")
_VERSION: Final = re.compile(r"[vV][0-9]{1,3}(?:\.[0-9]{1,3}){0,2}(?:(?:alpha|beta|rc)[0-9]{0,2})?")
_NAME: Final = re.compile(r"[A-Za-z._~:*$-]+")
_WORD_BREAK: Final = re.compile(r"[._~:*$-]+")
_HEX_WORD: Final = re.compile(r"[a-fA-F]{8,}")
_CONSONANTS: Final = re.compile(r"[b-df-hj-np-tv-xzB-DF-HJ-NP-TV-XZ]{5}")
_VOWELS: Final = re.compile(r"[aeiouyAEIOUY]")
# fmt: off
_NAMES_WITH_DIGITS: Final = frozenset({
    "2fa", "a11y", "auth0", "b2b", "b2c", "base64", "co2", "covid19", "ec2", "h264", "h265", "hba1c", "hl7",
    "http2", "i18n", "icd10", "icd11", "icd9", "ipv4", "ipv6", "k8s", "l10n", "log4j", "md5", "mp3", "mp4", "o365",
    "oauth1", "oauth2", "p2p", "r4", "r4b", "r5", "s3", "sha1", "sha256", "sha512", "stu3", "utf8", "web3", "x509",
})
# fmt: on

_VERSIONS: Final = {digit: chr(int(digit)) for digit in "123456789"}
"""In forms a character that stands for a digit which stays as it is, of the versions that URLs are known to have."""
_KEPT_DIGITS: Final = str.maketrans({mark: digit for digit, mark in _VERSIONS.items()})
_MAX_VERSIONS: Final = 4
_ZERO_DIGITS: Final = str.maketrans("123456789#", "000000000?")
_LONG_ID: Final = re.compile(r"/(?![vV])(?=[^/\n]{8})[^/\n%;]*0[^/\n%;]*(?![^/\n])")
"""In joined forms: a segment with a digit that is too long for any name with digits."""
_AMBIGUOUS_NAMES: Final = frozenset(name.translate(_ZERO_DIGITS) for name in _NAMES_WITH_DIGITS)

MAX_PIECES: Final = 16


class _Pieces:
    """What is known of all URLs that differ in their digits only, where some digits matter (`v1`): their routes by the
    text of those segments. `spans` are these in URLs of the form, `numbers` their places between slashes."""

    __slots__ = ("numbers", "routes", "spans")

    def __init__(self, form: str, spans: Sequence[tuple[int, int]]) -> None:
        self.spans = spans
        self.numbers = [form.count("/", 0, start) for start, _ in spans]
        self.routes: dict[str, str] = {}

    def of_form(self, url: str) -> str:
        """The text that decides, of a URL of the form."""
        if len(self.spans) == 1:
            start, end = self.spans[0]
            return url[start:end]
        return "/".join([url[start:end] for start, end in self.spans])

    def of_other(self, url: str) -> str:
        """The same of a URL whose other segments may be of any length."""
        segments = url.split("/")
        return "/".join([segments[number] for number in self.numbers])


Form = str | _Pieces | None
"""What is known of all URLs that differ in their digits only: their route; or by which digits to find it; or None where
each URL must be looked at."""


def _path_route(segments: Sequence[str]) -> str:
    named = [segment for segment in segments if segment]
    if len(named) > MAX_SEGMENTS:
        named[MAX_SEGMENTS:] = ["*"]
    return "/" + "/".join(named)


def _spans(url: str) -> Iterator[tuple[int, int]]:
    """Start and end of the segments of the path, one more than are shown, without matrix parameters (`;a=b`)."""
    origin = _ORIGIN.match(url, 0, MAX_URL_CHARACTERS)
    start = origin.end() if origin else 0
    cut = _CUT.search(url, start, MAX_URL_CHARACTERS)
    end = cut.start() if cut else min(len(url), MAX_URL_CHARACTERS)
    for number, match in enumerate(_SEGMENT.finditer(url, start, end)):
        if number > MAX_SEGMENTS:
            return
        parameters = url.find(";", match.start(), match.end())
        yield match.start(), match.end() if parameters < 0 else parameters


def _decoded(segment: str) -> str:
    return unquote(segment[: 3 * MAX_SEGMENT_CHARACTERS + 1]) if "%" in segment else segment


def _segment_route(segment: str) -> str:
    segment = _decoded(segment)
    if not _DIGIT.search(segment):
        return segment if not segment or _is_name(segment) else ID
    if len(segment) > _MAX_DIGIT_NAME_CHARACTERS:
        return ID
    return segment if _VERSION.fullmatch(segment) or segment.lower() in _NAMES_WITH_DIGITS else ID


def _is_name(segment: str) -> bool:
    """Whether a segment without digits is a name that somebody gave: short, few words, none of them random letters."""
    if len(segment) > MAX_SEGMENT_CHARACTERS or not _NAME.fullmatch(segment):
        return False
    words = [word for word in _WORD_BREAK.split(segment) if word]
    return len(words) <= MAX_WORDS and not any(map(_is_random, words))


def _is_random(word: str) -> bool:
    if len(word) < 8:
        return False
    vowels = len(_VOWELS.findall(word))
    if not vowels or _HEX_WORD.fullmatch(word):
        return True
    return len(word) >= 16 and (vowels * 4 < len(word) or _CONSONANTS.search(word) is not None)


class Router:
    """Routes with what is written down, and routes by form, at most MAX_FORMS of these: a full table is emptied, and
    fills with what comes then. `is_complete`: what no pattern fits is UNMATCHED. For one thread.
    """

    def __init__(self, *, patterns: RoutePatterns | None = None, is_complete: bool = False) -> None:
        self._patterns = patterns or RoutePatterns(())
        self._is_complete = is_complete and bool(self._patterns)
        self._plain: dict[str, str] = {}
        self._other: dict[str, _Pieces | None] = {}
        self._versions: list[str] = []
        """Digits of versions that were met (`/v1/`): so that these need no looking at, and only for that."""
        self._once: set[str] = set()
        self._names: dict[str, str] = {}

    def route(self, url: Any) -> Any:
        """The route of one URL; MISSING for what is not text."""
        if url.__class__ is not str:
            return MISSING
        segments = [url[start:end] for start, end in _spans(url)]
        if self._patterns:
            named = self._patterns.match([_decoded(segment) for segment in segments if segment])
            if named is not None or self._is_complete:
                return named or UNMATCHED
        return _path_route(list(map(_segment_route, segments)))

    @property
    def has_patterns(self) -> bool:
        return bool(self._patterns)

    @property
    def is_complete(self) -> bool:
        """Whether there are no routes but those of patterns."""
        return self._is_complete

    @property
    def written_down(self) -> frozenset[str]:
        """The routes of patterns."""
        return frozenset(self._patterns.routes)

    def is_written_down(self, found: str) -> bool:
        """Whether a route that was given is that of a pattern."""
        return found in self._patterns.routes

    def routes(self, urls: Sequence[Any]) -> list[Any]:
        """The routes of a column."""
        if not urls:
            return []
        try:
            joined = "\n".join(urls)
        except TypeError:
            texts = [url for url in urls if url.__class__ is str]
            of_texts = iter(self.routes(texts))
            return [next(of_texts) if url.__class__ is str else MISSING for url in urls]
        if not joined.isascii() or len(joined) > _MAX_JOINED_CHARACTERS:
            return self._mixed_routes(urls)
        for version in self._versions:
            mark = _VERSIONS[version]
            if mark in joined:
                return self._mixed_routes(urls)
            joined = joined.replace(f"/v{version}/", f"/v{mark}/")
        forms = joined.translate(_ZERO_DIGITS).split("\n")
        if len(forms) != len(urls):
            return self._mixed_routes(urls)
        try:
            return list(map(self._plain.__getitem__, forms))  # most queries are of few forms, too
        except KeyError:
            paths = [form[: form.index("?")] if "?" in form else form for form in forms]
            found: list[Any] = list(map(self._plain.get, paths))
            self._fill(found, paths, urls)
            self._learn_query(forms, paths)
            return found

    def _learn_query(self, forms: Sequence[str], paths: Sequence[str]) -> None:
        """Learns a form with its query, if it is met again and the path's route is known; one of them is enough here
        as well.
        """
        for form, path in zip(forms, paths, strict=True):
            known = self._plain.get(path) if len(form) > len(path) and form not in self._plain else None
            if known is not None:
                if self._is_met_again(form):
                    self._make_room()
                    self._plain[form] = known
                return

    def _fill(self, found: list[Any], forms: list[str], urls: Sequence[str]) -> None:
        """Puts in the routes that are not known by form: of those with a part to copy, then of those with long ids."""
        unknown = [number for number, known in enumerate(found) if known is None]
        if self._other:
            for number in unknown:
                found[number] = self._other_route(forms[number], urls[number])
            unknown = [number for number in unknown if found[number] is None]
        if not unknown:
            return
        if self._patterns.looks_into_ids:
            for number in unknown:
                found[number] = self._path_route(urls[number][: len(forms[number])])
                self._met(forms[number])
            return
        lines = "\n".join([forms[number] for number in unknown])
        for number, short in zip(unknown, _LONG_ID.sub("/0", lines).split("\n"), strict=True):
            url = urls[number][: len(forms[number])]
            known = self._plain.get(short)
            pieces = self._other.get(short) if known is None and len(url) <= MAX_URL_CHARACTERS else None
            if pieces is not None:
                known = self._route_by(pieces, pieces.of_other(url), url)
            elif known is None or len(url) > MAX_URL_CHARACTERS:
                known = self._path_route(url)
                self._met(short)
            found[number] = known
        self._met(forms[unknown[0]])  # one is enough: forms that come often are soon met again

    def _mixed_routes(self, urls: Sequence[Any]) -> list[Any]:
        is_plain = [
            url.__class__ is str and len(url) <= MAX_URL_CHARACTERS and url.isascii() and url.isprintable()
            for url in urls
        ]
        plain = [url for url, is_one in zip(urls, is_plain, strict=True) if is_one]
        half = len(plain) if len(plain) < 64 else len(plain) // 2  # each part stays below the limit of the joined text
        found = iter(self.routes(plain[:half]) + self.routes(plain[half:]))
        return [next(found) if is_one else self.route(url) for url, is_one in zip(urls, is_plain, strict=True)]

    def _other_route(self, form: str, url: str) -> str | None:
        known = self._other.get(form, False)
        if isinstance(known, _Pieces):
            return self._route_by(known, known.of_form(url), url[: len(form)])
        return self._path_route(url[: len(form)]) if known is None else None

    def _route_by(self, pieces: _Pieces, text: str, url: str) -> str:
        """The route of a URL whose deciding segments have this text."""
        found = pieces.routes.get(text)
        if found is None:
            found = self._path_route(url)
            if len(pieces.routes) < MAX_PIECES:
                pieces.routes[text] = found
            self._note_version(text)
        return found

    def _note_version(self, text: str) -> None:
        is_version = len(text) == 2 and text[0] == "v" and text[1] in _VERSIONS
        if is_version and text[1] not in self._versions and len(self._versions) < _MAX_VERSIONS:
            self._versions.append(text[1])

    def _met(self, form: str) -> None:
        """Learns a form that is met again; forms with hex or random letters in them never are."""
        if self._is_met_again(form):
            self._learn(form)

    def _is_met_again(self, form: str) -> bool:
        """Whether a form that can be learned was met before; if not, it is the next time."""
        has_strange_mark = any(mark in form for version, mark in _VERSIONS.items() if version not in self._versions)
        if len(form) >= _MAX_FORM_CHARACTERS or has_strange_mark:
            return False
        if form in self._once:
            self._once.discard(form)
            return True
        if len(self._once) >= MAX_FORMS:
            self._once.clear()
        self._once.add(form)
        return False

    def _path_route(self, path: str) -> str:
        """As `route`, faster by remembering which segments are names."""
        if ";" in path or "%" in path or "://" in path or len(path) > _MAX_FORM_CHARACTERS:
            return str(self.route(path))
        if self._patterns:
            named = self._patterns.match([segment for segment in path.split("/") if segment][: MAX_SEGMENTS + 1])
            if named is not None or self._is_complete:
                return named or UNMATCHED
        segments = []
        for segment in path.split("/"):
            named = self._names.get(segment)
            if named is None:
                named = _segment_route(segment)
                if named is not ID:
                    if len(self._names) >= MAX_FORMS:
                        self._names.clear()
                    self._names[segment] = named
            segments.append(named)
        return _path_route(segments)

    def _learn(self, form: str) -> None:
        known = self._form_of(form)
        self._make_room()
        if isinstance(known, str):
            self._plain[form] = known
        elif not isinstance(known, bool):
            self._other[form] = known

    def _make_room(self) -> None:
        if len(self._plain) + len(self._other) >= MAX_FORMS:
            self._plain.clear()
            self._other.clear()

    def _form_of(self, form: str) -> Form | bool:
        """What holds for every URL that becomes `form` when its digits become 0 (which changes no length); False where
        random letters make it a form that hardly comes again."""
        spans = list(_spans(form))
        deciding = [(start, end) for start, end in spans if self._do_digits_decide(form[start:end])]
        form = form.translate(_KEPT_DIGITS)
        texts = [form[start:end] for start, end in spans]
        if self._patterns.has_digits_in_parts or any("%" in text for text in texts):
            return None
        if self._patterns and not deciding:
            known = self._patterns.match([text for text in texts if text])
            if known is not None or self._is_complete:
                return known or UNMATCHED
        segments = [_segment_route(text) for text in texts]
        if any(named is ID and not _DIGIT.search(text) for named, text in zip(segments, texts, strict=True)):
            return False
        return _Pieces(form, deciding) if deciding else _path_route(segments)

    def _do_digits_decide(self, text: str) -> bool:
        """Whether URLs with this segment, but for its digits, can have different routes."""
        if not _DIGIT.search(text):
            return False
        is_text = text in self._patterns.texts_with_digits or text.lower() in _AMBIGUOUS_NAMES
        return is_text or _segment_route(text) is not ID
