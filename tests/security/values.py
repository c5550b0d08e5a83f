"""Made-up identifiers and secrets: nobody's, but with check digits by the rules of their kind."""

from __future__ import annotations

import base64
import json
import random
import string
from typing import Any, Final

Chance = random.Random
ALNUM: Final = string.ascii_letters + string.digits
WORDS: Final = (
    "river",
    "stone",
    "maple",
    "cloud",
    "amber",
    "tiger",
    "violet",
    "harbor",
    "meadow",
    "falcon",
    "copper",
    "winter",
)
MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November"),
    "December",
)
BRANDS: Final = (
    *(("4", 16), ("51", 16), ("55", 16), ("2221", 16), ("2720", 16), ("34", 15), ("37", 15), ("6011", 16), ("65", 16)),
    *(("3528", 16), ("36", 14), ("62", 16)),
)
HOSTS: Final = ("example.com", "mail.example.co.uk", "klinik-nord.example.de", "st-mary.hospital", "müller.example")


def letters(chance: Chance, count: int, alphabet: str = ALNUM) -> str:
    return "".join(chance.choice(alphabet) for _ in range(count))


def digits(chance: Chance, count: int) -> str:
    return letters(chance, count, string.digits)


def password(chance: Chance) -> str:
    """What people and generators choose; no white space and no quotes."""
    kind = chance.randrange(5)
    if kind == 0:
        return chance.choice(WORDS).capitalize() + chance.choice(WORDS) + digits(chance, 3)
    if kind == 1:
        return "-".join(chance.choice(WORDS) for _ in range(4))
    if kind == 2:
        return letters(chance, chance.randrange(8, 24))
    if kind == 3:
        return letters(chance, 6) + letters(chance, 2, "!@#$%^*-_+=.?~:") + letters(chance, 6)
    return letters(chance, chance.randrange(10, 40), string.ascii_lowercase + string.digits)


def hex_token(chance: Chance) -> str:
    return f"{chance.getrandbits(160):040x}"


def base64_token(chance: Chance) -> str:
    return base64.b64encode(chance.randbytes(chance.choice((18, 24, 32)))).decode()


def uuid(chance: Chance) -> str:
    text = f"{chance.getrandbits(128):032x}"
    return "-".join((text[:8], text[8:12], "4" + text[13:16], "a" + text[17:20], text[20:]))


def jwt(chance: Chance) -> str:
    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).decode().rstrip("=")

    head = part({"alg": chance.choice(("HS256", "RS256", "ES256")), "typ": "JWT"})
    body = part({"sub": str(chance.randrange(10**6)), "iat": chance.randrange(1_600_000_000, 1_800_000_000)})
    return f"{head}.{body}.{letters(chance, 43, ALNUM + '-_')}"


def opaque(chance: Chance) -> str:
    return chance.choice((password, hex_token, base64_token, uuid, jwt))(chance)


def luhn(number: str) -> str:
    """The number with its check digit."""
    doubled = [int(digit) * (2 - i % 2) for i, digit in enumerate(reversed(number))]
    total = sum(sum(divmod(value, 10)) for value in doubled)
    return number + str(-total % 10)


def card(chance: Chance) -> str:
    prefix, length = chance.choice(BRANDS)
    number = luhn(prefix + digits(chance, length - 1 - len(prefix)))
    mark = chance.choice(("", "", " ", "-"))
    sizes = (4, 6, len(number) - 10) if len(number) < 16 else (4, 4, 4, 4)
    groups, position = [], 0
    for size in sizes:
        groups.append(number[position : position + size])
        position += size
    return mark.join(groups)


def iban(chance: Chance) -> str:
    country, account = chance.choice(
        (("DE", digits(chance, 18)), ("GB", "WEST" + digits(chance, 14)), ("FR", digits(chance, 20) + "X05"),
         ("NL", "ABNA" + digits(chance, 10)), ("AT", digits(chance, 16)), ("CH", digits(chance, 17)))
    )  # fmt: skip
    number = int("".join(str(int(character, 36)) for character in account + country + "00"))
    text = f"{country}{98 - number % 97:02d}{account}"
    return " ".join(text[i : i + 4] for i in range(0, len(text), 4)) if chance.random() < 0.4 else text


def ssn(chance: Chance) -> str:
    area = chance.choice([number for number in range(1, 900) if number != 666])
    return f"{area:03d}-{chance.randrange(1, 100):02d}-{chance.randrange(1, 10_000):04d}"


def nhs(chance: Chance) -> str:
    while True:
        number = digits(chance, 9)
        check = -sum(int(digit) * weight for digit, weight in zip(number, range(10, 1, -1), strict=True)) % 11
        if check < 10:
            return f"{number[:3]} {number[3:6]} {number[6:]}{check}"


def email(chance: Chance) -> str:
    name = chance.choice(WORDS) + chance.choice((".", "_", "-", "", "+")) + chance.choice(WORDS)
    host = chance.choice(HOSTS)
    return f"{name}{chance.choice(('', digits(chance, 2)))}@{host}"


def phone(chance: Chance) -> str:
    area, exchange, line = chance.randrange(201, 990), chance.randrange(200, 999), chance.randrange(10_000)
    return chance.choice(
        (
            f"({area}) {exchange}-{line:04d}", f"{area}-{exchange}-{line:04d}", f"{area}.{exchange}.{line:04d}",
            f"+1 {area} {exchange} {line:04d}", f"+1-{area}-{exchange}-{line:04d}", f"+1{area}{exchange}{line:04d}",
            f"+49 {chance.randrange(150, 180)} {digits(chance, 7)}", f"+44 20 {digits(chance, 4)} {digits(chance, 4)}",
            f"+33 {chance.randrange(1, 8)} {' '.join(digits(chance, 2) for _ in range(4))}",
            f"+49{chance.randrange(150, 180)}{digits(chance, 8)}", f"+1 ({area}) {exchange}-{line:04d}",
        )
    )  # fmt: skip


def birth_date(chance: Chance) -> str:
    year, month, day = chance.randrange(1925, 2020), chance.randrange(1, 13), chance.randrange(1, 29)
    name = MONTHS[month - 1]
    return chance.choice(
        (
            f"{year}-{month:02d}-{day:02d}", f"{month:02d}/{day:02d}/{year}", f"{day:02d}.{month:02d}.{year}",
            f"{day} {name} {year}", f"{name} {day}, {year}", f"{day}-{name[:3]}-{year}", f"{year}{month:02d}{day:02d}",
        )
    )  # fmt: skip


def mrn(chance: Chance) -> str:
    return chance.choice(("", "", "H", "MR", "A-")) + digits(chance, chance.randrange(6, 10))


def api_key(chance: Chance) -> str:
    return chance.choice(
        (
            "AKIA" + letters(chance, 16, string.ascii_uppercase + "234567"), "ghp_" + letters(chance, 35) + "7",
            f"xoxb-{digits(chance, 11)}-{digits(chance, 12)}-{letters(chance, 24)}",
            "sk_live_" + letters(chance, 23) + "4",
            "AIza" + letters(chance, 34, ALNUM + "-_") + "5", "glpat-" + letters(chance, 19) + "3",
            f"SG.{letters(chance, 21)}8.{letters(chance, 43)}", "npm_" + letters(chance, 35) + "2",
            "sk-proj-" + letters(chance, 39) + "6", "hvs." + letters(chance, 23) + "9",
        )
    )  # fmt: skip


def basic(chance: Chance) -> str:
    return base64.b64encode(f"{chance.choice(WORDS)}:{password(chance)}".encode()).decode()


def private_key(chance: Chance) -> str:
    return "\n".join(base64.b64encode(chance.randbytes(48)).decode() for _ in range(4))
