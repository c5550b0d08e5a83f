"""Synthetic log lines with identifiers in many writings, and clean ones that look like them. A seed makes a corpus."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from security.values import (
    Chance,
    api_key,
    base64_token,
    basic,
    birth_date,
    card,
    digits,
    email,
    hex_token,
    iban,
    jwt,
    letters,
    luhn,
    mrn,
    nhs,
    opaque,
    password,
    phone,
    private_key,
    ssn,
    uuid,
)
from security.writings import apart, assigned, in_text, named, record, styled, written
from shipper.settings import Pack


class Sample(NamedTuple):
    """A line that holds `secret`, of the kind `pattern`."""

    pattern: str
    pack: Pack
    line: bytes
    secret: str


_SECRETS: Final = (
    *("password", "passwd", "pwd", "passphrase", "secret", "client_secret", "token", "access_token", "refresh_token"),
    *("id_token", "auth_token", "csrf_token", "session_token", "session_id", "api_key", "private_key", "secret_key"),
    *("access_key", "encryption_key", "jwt", "db_password", "user_password", "new_password", "current_password"),
    *("password_hash", "password_confirmation", "x_api_key", "x_auth_token", "x_csrf_token", "xsrf_token"),
    *("aws_secret_access_key", "stripe_secret_key", "webhook_secret", "bearer_token", "otp", "device_token"),
)
_FIXED_SECRETS: Final = (
    "connect.sid",
    "PHPSESSID",
    "JSESSIONID",
    "authorization",
    "Authorization",
    "proxy-authorization",
)
_COOKIES: Final = ("cookie", "Cookie", "set-cookie", "Set-Cookie", "SET_COOKIE", "cookies", "setCookie")


def _names(chance: Chance) -> str:
    return chance.choice(_FIXED_SECRETS) if chance.random() < 0.1 else styled(chance, chance.choice(_SECRETS))


def credential_samples(chance: Chance) -> Iterator[Sample]:
    pack = Pack.CREDENTIALS
    secret = opaque(chance)
    yield Sample("field", pack, named(chance, _names(chance), secret), secret)
    secret = opaque(chance)
    yield Sample("field in a list", pack, named(chance, _names(chance), ["", secret]), secret)
    number = digits(chance, chance.randrange(5, 10)).lstrip("0") + "7731"
    yield Sample("numeric field", pack, named(chance, styled(chance, "password"), int(number)), number)
    secret = password(chance)
    yield Sample("name=value", pack, assigned(chance, _names(chance), secret), secret)
    secret = opaque(chance)
    yield Sample("name=value", pack, assigned(chance, _names(chance), secret), secret)
    secret = opaque(chance)
    cookie = f"theme=dark; sid={secret}; lang=en"
    yield Sample("cookie", pack, named(chance, chance.choice(_COOKIES), cookie), secret)
    yield Sample("cookie", pack, in_text(chance, f"> {chance.choice(_COOKIES[:4])}: {cookie}"), secret)
    secret = letters(chance, 32)
    header = f"connect.sid=s%3A{secret}; Path=/; Expires=Wed, 21 Oct 2026 07:28:00 GMT; HttpOnly; SameSite=Lax"
    yield Sample("cookie", pack, in_text(chance, f"Set-Cookie: {header}"), secret)
    secret = chance.choice((jwt, hex_token, base64_token, uuid))(chance)
    scheme = chance.choice(("Bearer", "bearer", "BEARER"))
    yield Sample(
        "bearer", pack, in_text(chance, f"{chance.choice(('sent', 'got', 'with', 'header'))} {scheme} {secret}"), secret
    )
    yield Sample("bearer", pack, named(chance, "value", f"{scheme} {secret}"), secret)
    secret = basic(chance)
    yield Sample("basic", pack, in_text(chance, f"proxy sent {chance.choice(('Basic', 'basic'))} {secret}"), secret)
    secret = jwt(chance)
    form = chance.choice(("decoded {}", "jwt {} is expired", "x={}", "({})", "/verify/{}", "[{}]", "{},", "id_{}"))
    yield Sample("jwt", pack, in_text(chance, form.format(secret)), secret)
    secret = api_key(chance)
    form = chance.choice(
        ("using {}", "key {} revoked", "({})", "https://a.example/?q={}&x", "x={}", "line\n{}", "[{}]")
    )
    yield Sample("api key", pack, in_text(chance, form.format(secret)), secret)
    secret = password(chance).replace("?", "").replace("#", "")
    scheme = chance.choice(("postgres", "redis", "mongodb+srv", "amqp", "https", "ftp"))
    yield Sample(
        "URL password", pack, in_text(chance, f"connecting to {scheme}://svc:{secret}@db.internal:5432/app"), secret
    )
    secret = private_key(chance)
    kind = chance.choice(("", "RSA ", "EC ", "OPENSSH ", "ENCRYPTED "))
    pem = f"-----BEGIN {kind}PRIVATE KEY-----\n{secret}\n-----END {kind}PRIVATE KEY-----\n"
    yield Sample("private key", pack, written(chance, record(chance, message=f"loaded {pem}")), secret.split("\n")[1])
    secret = letters(chance, 20) + "4"
    header = chance.choice(
        ("Authorization", "Cookie", "Set-Cookie", "X-Api-Key", "X-Auth-Token", "Proxy-Authorization")
    )
    yield Sample("name apart", pack, apart(chance, header, secret), secret)
    secret = letters(chance, 12) + "4"
    flag = chance.choice(("--password", "--db-password", "--token", "--client-secret"))
    yield Sample("name apart", pack, named(chance, "argv", ["node", "x.js", flag, secret, "-v"]), secret)
    secret = letters(chance, 20) + "4"
    yield Sample(
        "name and looks", pack, named(chance, chance.choice(("auth", "sid", "x-auth", "signature")), secret), secret
    )
    secret = digits(chance, chance.randrange(4, 9)).replace("0", "5")
    yield Sample("PIN", pack, named(chance, chance.choice(("pin", "PIN", "userPin", "pin_code")), secret), secret)
    secret = password(chance).replace("%", "").replace("|", "")
    form = chance.choice(
        ("curl -s -u bob:{} https://a.example", "curl --user bob:{} a", "sshpass -p {} ssh a", "mysql -u root -p{} db")
    )
    yield Sample("command", pack, in_text(chance, form.format(secret)), secret)
    secret = letters(chance, 12) + "4"
    form = chance.choice(
        ("&quot;{n}&quot;:&quot;{s}&quot;,&quot;a&quot;:1", "&lt;{n}&gt;{s}&lt;/{n}&gt;", "{n}=&#39;{s}&#39; x")
    )
    yield Sample("HTML", pack, in_text(chance, form.format(n=chance.choice(("password", "token")), s=secret)), secret)
    secret = letters(chance, 12) + "4"
    form = "GET /x?to=https%3A%2F%2Fsvc%3A{}%40db.internal%2Fapp&a=1"
    yield Sample("URL password", pack, in_text(chance, form.format(secret)), secret)
    secret = letters(chance, 39) + "4"
    name = chance.choice(("sig", "X-Amz-Signature", "auth", "key", "code"))
    yield Sample("URL signature", pack, in_text(chance, f"GET https://a.example/x?a=1&{name}={secret}&b=2"), secret)


def _in_words(chance: Chance, secret: str, *forms: str) -> bytes:
    return in_text(chance, chance.choice(forms).format(secret))


def personal_samples(chance: Chance) -> Iterator[Sample]:
    words: tuple[str, ...]
    secret = email(chance)
    words = (
        "mail to {} bounced",
        "user {} logged in",
        "<{}>",
        "mailto:{}",
        "to={}, cc=none",
        "({})",
        "{}: unknown",
        "a\n{}",
    )
    yield Sample("e-mail", Pack.CONTACT, _in_words(chance, secret, *words), secret)
    yield Sample("e-mail", Pack.CONTACT, named(chance, styled(chance, "user_email"), secret), secret)
    coded = email(chance).replace("@", "%40").replace("ü", "u")
    yield Sample("e-mail", Pack.CONTACT, in_text(chance, f"GET /api/users?q={coded}&page=2"), coded)
    secret = phone(chance)
    words = ("called {} twice", "SMS to {} failed", "tel:{}", "phone {}, no answer", "({})", "to={}", "reach me at {}.")
    yield Sample("phone", Pack.CONTACT, _in_words(chance, secret, *words), secret)
    yield Sample("phone", Pack.CONTACT, named(chance, styled(chance, "phone_number"), secret), secret)
    secret = "2025550" + digits(chance, 3)
    yield Sample("phone", Pack.CONTACT, named(chance, chance.choice(("phone", "mobile", "faxNumber")), secret), secret)
    secret = ssn(chance)
    yield Sample(
        "SSN",
        Pack.NATIONAL_IDS,
        _in_words(chance, secret, "SSN {}", "patient {} admitted", "({})", "id={}", "{}"),
        secret,
    )
    plain = secret.replace("-", "")
    yield Sample(
        "SSN",
        Pack.NATIONAL_IDS,
        _in_words(chance, plain, "SSN: {}", "ssn={}", "SSN {}", "social security number {}"),
        plain,
    )
    yield Sample("SSN", Pack.NATIONAL_IDS, named(chance, chance.choice(("ssn", "SSN", "patientSsn")), plain), plain)
    secret = mrn(chance)
    words = (
        "MRN: {}",
        "MRN {}",
        "mrn={}",
        "MRN#{}",
        "(MRN {})",
        "medical record number {}",
        "Medical Record No. {}",
        "MRN #{}",
    )
    yield Sample("MRN", Pack.NATIONAL_IDS, _in_words(chance, secret, *words), secret)
    yield Sample(
        "MRN",
        Pack.NATIONAL_IDS,
        named(chance, chance.choice(("mrn", "patientMrn", "medical_record_number")), secret),
        secret,
    )
    secret = nhs(chance)
    yield Sample(
        "NHS number", Pack.NATIONAL_IDS, _in_words(chance, secret, "NHS {}", "patient {} found", "({})"), secret
    )
    secret = card(chance)
    words = ("charged {}", "card {} declined", "({})", "pan={}", "number: {}", "{}", "x\n{}")
    yield Sample("card", Pack.PAYMENT, _in_words(chance, secret, *words), secret)
    number = luhn("4" + digits(chance, 14))
    yield Sample("card", Pack.PAYMENT, named(chance, "reference", int(number)), number)
    secret = iban(chance)
    yield Sample(
        "IBAN",
        Pack.PAYMENT,
        _in_words(chance, secret, "transfer to {}", "({})", "IBAN {}", "account {}, EUR 20"),
        secret,
    )
    secret = digits(chance, 3)
    yield Sample(
        "CVV",
        Pack.PAYMENT,
        named(chance, chance.choice(("cvv", "cvc", "CVV2", "cardCvc")), secret + "77"),
        secret + "77",
    )
    secret = birth_date(chance)
    words = (
        "DOB: {}",
        "DOB {}",
        "born on {}",
        "born {}",
        "date of birth: {}",
        "Date of Birth {}",
        "birth date {}",
        "dob={}",
        "D.O.B. {}",
    )
    yield Sample("date of birth", Pack.DATES_OF_BIRTH, _in_words(chance, secret, *words), secret)
    name = styled(chance, chance.choice(("date_of_birth", "birth_date", "dob", "patient_dob")))
    yield Sample("date of birth", Pack.DATES_OF_BIRTH, named(chance, name, secret), secret)


def samples(seed: int, rounds: int) -> Iterator[Sample]:
    """Lines that hold something, `rounds` of each kind."""
    chance = random.Random(seed)
    for _ in range(rounds):
        yield from credential_samples(chance)
        yield from personal_samples(chance)


def leaks(sample: Sample, redacted: bytes) -> bool:
    """Whether a redacted line has so much of the secret that it could be guessed: five characters on end, or all of it.

    What stands elsewhere in the line as well (a year, a word) does not count.
    """
    secret = sample.secret
    size = min(5, len(secret))
    pieces = {secret[i : i + size] for i in range(len(secret) - size + 1)}
    elsewhere = _plain(sample.line).replace(secret, "\0")
    return any(piece in _plain(redacted) and piece not in elsewhere for piece in pieces)


def _plain(line: bytes) -> str:
    """The line's text, slashes and letters as they are read, whatever the writer has escaped."""
    text = line.decode("utf-8", "replace").replace("\\/", "/")
    return re.sub(r"\\+u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), text)
