"""Lines in which there is nothing to redact, although they look so. A seed makes a corpus."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from security.values import Chance, base64_token, digits, hex_token, letters, luhn, uuid
from security.writings import PATHS, in_text, named, record, written


class Clean(NamedTuple):
    """A line in which nothing is to be redacted, though it looks like `pattern`."""

    pattern: str
    line: bytes


_PROSE: Final = (
    *(
        "Password must be at least 8 characters",
        "password is required",
        "Invalid password for user bob",
        "Password changed",
    ),
    *(
        "Unexpected token } in JSON at position 5",
        "Unexpected token: <",
        "token expired",
        "jwt expired",
        "invalid token",
    ),
    *(
        "The token is missing",
        "refresh token rotated",
        "session started",
        "session opened for user root",
        "Session: started",
    ),
    *(
        "dialysis session: 45 minutes",
        "cookie policy accepted",
        "Accept cookies to continue",
        "secret santa is on Friday",
    ),
    *(
        "authorization failed for bob",
        "Authorization required",
        "prior authorization: approved",
        "bearer token is required",
    ),
    *(
        "WWW-Authenticate: Bearer realm=example",
        "Bearer authentication",
        "Basic metabolic panel ordered",
        "basic auth is off",
    ),
    *(
        "Total tokens: 512",
        "prompt_tokens=12 completion_tokens=380",
        "max_tokens: 4096",
        "used 5 tokens, 7 left",
        "tokens=17",
    ),
    *(
        "key=value",
        "primary key: 17",
        "cache key user:17:profile",
        "keyboard layout: de",
        "monkey patching done",
        "public key: RSA",
    ),
    *(
        "passed: 12, failed: 3",
        "bypass=true",
        "compass: north",
        "passenger: Bob",
        "pass: 12",
        "password: must be longer",
    ),
    *(
        "secretary: Alice",
        "author: Bob",
        "authority=main",
        "tokenizer: bpe",
        "session timeout in 30 s",
        "otpauth is enabled",
    ),
    *(
        "born in the USA",
        "airborne since 2024-01-15",
        "reborn",
        "birthday cake",
        "newborn ward, 12 beds",
        "updated: 2024-01-15",
    ),
    *(
        "lodash@4.17.21 installed",
        "icon@2x.png",
        "git@github.com:org/repo.git",
        "@nestjs/core",
        "user@localhost",
        "a @ b",
    ),
    *(
        "deploy@host-7 done",
        "10:30:45.123",
        "offset +01:00",
        "at +48.8566, 2.3522",
        "10.0.0.1:8080",
        "fe80::1",
        "std::vector",
    ),
    *(
        "GET /api/users/5/sessions",
        "GET /password/reset 200",
        "GET /oauth/token 200",
        "POST /api/v1/auth/login",
        "/token?",
    ),
    *(
        "?tokenType=a&page=2",
        "?session_duration=5",
        "?key=patients",
        "?code=200&x=1",
        "/a?cursor=2&pageToken=3",
        "?auth=1",
    ),
    *("social security office", "medical record opened", "MRN missing", "SSN: missing", "DOB unknown", "the NHS trust"),
    *(
        "ICD-10 E11.9",
        "LOINC 4548-4",
        "SNOMED 44054006",
        "room 123-45",
        "555-1234",
        "phone rang",
        "+5 points",
        "call 911",
    ),
    *(
        "x-request-id: 17",
        "https://a.example:8080/@scope/pkg",
        "http://a.example/b:c@d",
        "cookie=true",
        "token=null",
        "pwd=***",
    ),
    *(
        "password: [REDACTED]",
        "Authorization: [FILTERED]",
        "secret=<hidden>",
        "token: undefined",
        "session=none",
        "api_key=",
    ),
    *(
        "allowed headers: ['Authorization', 'Content-Type']",
        "missing ['password', 'email']",
        "docker run -u 1000:1000 -p 8080:80 app",
        "curl -u bob https://a.example:8443/",
        "tail -u a:b",
        "ssh -p 2222 a.example",
        "pin: blue",
        "GPIO pin: 17",
        "auth: ldap",
        "access code: none",
        "&quot;a&quot;:&quot;b&quot;",
        "100%41",
        "to=https%3A%2F%2Fa.example%3A8443%2Fx%3Fm%3Da",
    ),
)
_CLEAN_FIELDS: Final[tuple[tuple[str, Callable[[Chance], Any]], ...]] = (
    ("tokens", lambda chance: chance.randrange(10_000)),
    ("max_tokens", lambda chance: chance.randrange(10_000)),
    ("usage", lambda chance: {"prompt_tokens": 12, "completion_tokens": chance.randrange(500), "total_tokens": 99}),
    ("tokenType", lambda _: "Bearer"),
    ("token_expires_at", lambda _: "2024-01-15T10:30:45Z"),
    ("nextPageToken", lambda chance: letters(chance, 12)),
    ("passwordless", lambda _: "yes"),
    ("passwordLength", lambda chance: chance.randrange(30)),
    ("password_changed_at", lambda _: "2024-01-15T10:30:45Z"),
    ("password_required", lambda _: True),
    ("hasPassword", lambda _: True),
    ("secretary", lambda _: "Alice"),
    ("secretName", lambda _: "tls-cert"),
    ("author", lambda _: "Bob"),
    ("authenticated", lambda _: True),
    ("priorAuthorization", lambda chance: f"PA-{digits(chance, 6)}"),
    ("cookieConsent", lambda _: "accepted"),
    ("sessionDuration", lambda chance: chance.randrange(3600)),
    ("sessions", lambda chance: chance.randrange(30)),
    ("sessionType", lambda _: "dialysis"),
    ("session", lambda chance: chance.randrange(12)),
    ("cacheKey", lambda chance: f"user:{digits(chance, 4)}:profile"),
    ("publicKey", lambda _: "ssh-ed25519"),
    ("keyId", lambda chance: digits(chance, 4)),
    ("partitionKey", lambda _: "ward-7"),
    ("headers", lambda _: ["Accept", "Content-Type"]),
    ("allowedHeaders", lambda _: ["Authorization", "Content-Type", "X-Api-Key", "Accept"]),
    ("required", lambda _: ["password", "email", "token"]),
    ("env", lambda _: [{"name": "NODE_ENV", "value": "production"}, {"name": "PORT", "value": "3000"}]),
    ("gauge", lambda chance: {"name": "sessions", "value": chance.randrange(100)}),
    ("changed", lambda _: [{"field": "passwordChangedAt", "value": "2024-01-15"}]),
    ("argv", lambda _: ["node", "x.js", "--verbose", "--port", "3000"]),
    ("auth", lambda _: {"method": "ldap", "user": "3f2a1b4c5d6e7f80"}),
    ("authMethod", lambda _: "saml2"),
    ("pin", lambda chance: {"lat": round(chance.uniform(-90, 90), 6), "lng": 2.352219}),
    ("sid", lambda _: "S-1-5-21-3623811015-3361044348-30300820-1013"),
    ("passed", lambda chance: chance.randrange(90)),
    ("compass", lambda _: "north"),
    ("requestId", uuid),
    ("traceId", lambda chance: f"{chance.getrandbits(128):032x}"),
    ("sha", hex_token),
    ("etag", base64_token),
    ("time", lambda chance: 1_705_000_000_000 + chance.randrange(10**9)),
    ("nanos", lambda chance: 1_705_000_000_000_000_000 + chance.randrange(10**15)),
    ("snowflake", lambda chance: str(1_100_000_000_000_000_000 + chance.randrange(10**17))),
    ("bytes", lambda chance: chance.randrange(10**9)),
    ("version", lambda chance: f"{chance.randrange(9)}.{chance.randrange(30)}.{chance.randrange(30)}"),
    ("userAgent", lambda _: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/120.0.6099.109 Safari/537.36"),
    ("url", lambda chance: f"/api/patients/{digits(chance, 8)}/vitals?from=2024-01-15&to=2024-02-15"),
    ("ip", lambda chance: f"192.168.{chance.randrange(256)}.{chance.randrange(256)}"),
    ("mac", lambda chance: ":".join(f"{chance.randrange(256):02x}" for _ in range(6))),
    ("host", lambda chance: f"ip-10-0-{chance.randrange(256)}-{chance.randrange(256)}.internal"),
    ("position", lambda chance: [round(chance.uniform(-90, 90), 6), round(chance.uniform(-180, 180), 6)]),
    ("diagnosis", lambda _: "E11.9"),
    ("bloodPressure", lambda chance: f"{chance.randrange(90, 180)}/{chance.randrange(50, 110)}"),
    ("appointment", lambda chance: f"2024-{chance.randrange(1, 13):02d}-{chance.randrange(1, 29):02d} 14:30"),
    ("order", lambda chance: f"ORD-{digits(chance, 8)}"),
    ("part", lambda chance: f"{digits(chance, 3)}-{digits(chance, 3)}-{digits(chance, 3)}"),
    ("zip", lambda chance: f"{digits(chance, 5)}-{digits(chance, 4)}"),
    ("invoice", lambda chance: f"{chance.choice('17890')}{digits(chance, 15)}"),
    ("isbn", lambda chance: f"978-3-{digits(chance, 3)}-{digits(chance, 5)}-{digits(chance, 1)}"),
    ("flight", lambda _: "LH 1234"),
    ("reference", lambda chance: f"AB{digits(chance, 2)}{letters(chance, 3, string.ascii_uppercase)}"),
)  # fmt: skip


def _not_luhn(chance: Chance) -> str:
    number = luhn("4" + digits(chance, 14))
    return number[:-1] + str((int(number[-1]) + chance.randrange(1, 10)) % 10)


def _unissued_ssn(chance: Chance) -> str:
    area = chance.choice(("000", "666", f"9{digits(chance, 2)}"))
    return f"{area}-{digits(chance, 2)}-{digits(chance, 4)}"


def clean_lines(seed: int, rounds: int) -> Iterator[Clean]:
    """Lines in which nothing is to be redacted, by any pack; `rounds` of each kind."""
    chance = random.Random(seed)
    for _ in range(rounds):
        for text in _PROSE:
            yield Clean("words", in_text(chance, text))
        for name, make in _CLEAN_FIELDS:
            yield Clean("fields", named(chance, name, make(chance)))
        yield Clean("usual lines", written(chance, record(chance, url=chance.choice(PATHS), method="GET")))
        yield Clean("digits", named(chance, "reference", _not_luhn(chance)))
        yield Clean("digits", in_text(chance, f"part {_unissued_ssn(chance)} ordered"))
        yield Clean(
            "digits", in_text(chance, f"case {digits(chance, 4)}-{digits(chance, 2)}-{digits(chance, 3)} closed")
        )
