"""Which names of fields, parameters and headers say that a secret follows.

One vocabulary for JSON keys, `name=value` in text and URL queries.

A name is judged in lower case, with `-`, `_`, `.` or nothing between its words. `text` finds names and their values,
`fields` asks about keys, `rules` makes the prefilter of the same expressions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum
from functools import cached_property
from typing import Final, NamedTuple

from shipper.settings import Pack

MAX_NAME_BYTES: Final = 100
_GAP: Final = "[-_. ]*"
_ANY: Final = ".*"


class Speaks(Enum):
    """How the name is used where it is no secret's: what follows it in prose is then left alone."""

    OF_SECRETS = "secrets"
    OF_EVENTS = "events"
    """`session: started`"""
    OF_THINGS = "things"
    """`phone: rang`; what it is in earnest has digits."""
    OF_ANYTHING = "anything"
    """`Bad credentials: no such user`; in prose nothing is taken for a value."""


class Name(NamedTuple):
    """One kind of names. In `core`, `before` and `after` a `~` stands for what may separate words."""

    rule: str
    core: str
    before: str = _ANY
    after: str = ""
    count_digits: int = 0
    """Numbers of so many digits at most are counts (`tokens: 512`), no secrets (a PIN as `password`)."""
    speaks: Speaks = Speaks.OF_SECRETS
    only_opaque: bool = False
    """Where it names other things too (`auth: ldap`): a value is a secret only if it looks made by a machine."""
    only_single: bool = False
    """An object or list of that name is another thing (a `pin` on a map)."""


_CREDENTIALS: Final = "credentials.name"
_OWNERS: Final = "x|http|proxy|original|forwarded|amz|req|request|res|response|headers?"
_LOGINS: Final = (
    "user|login|admin|root|db|database|my|sql|pg|postgres|mysql|mongo|redis|rabbit|mq|smtp|imap|ldap|ftp|sftp|mail"
    "|email|proxy|http|auth|account|app|service|web"
)
_PIN_OWNERS: Final = "user|login|patient|staff|card|access|security|account|door|device|sms|new|old|current|my"
# fmt: off
NAMES: Final[dict[Pack, Sequence[Name]]] = {
    Pack.CREDENTIALS: (
        Name(_CREDENTIALS, "pass~word|pass~wd|passwort|pass~phrase|pass~code", after=r"[\w.-]*"),
        Name(_CREDENTIALS, r"pwd(?:~hash|\d{1,2})?"),
        Name(_CREDENTIALS, r"secrets?(?:~(?:access~)?keys?|~hash|~id|~value|\d{1,2})?"),
        Name(_CREDENTIALS, r"token(?:~hash|~value|\d{1,2})?"),
        Name(_CREDENTIALS, "tokens", count_digits=12),
        Name(_CREDENTIALS, "(?:api|app|priv(?:ate)?|secret|access|signing|encryption|decryption|auth|session|account"
             "|shared|master|ssh|hmac|consumer|subscription|client|license|deploy)~keys?(?:~id)?"),
        Name(_CREDENTIALS, "jwt|[cx]srf|basic~auth|sess(?:ion)?~id|connect~sid"),
        Name(_CREDENTIALS, "auth(?:ori[sz]ation)?~(?:code|header)|(?:mfa|otp|2fa|verification)~code|code~verifier"
             "|saml~(?:response|assertion)|(?:secret|security)~answer"),
        Name(_CREDENTIALS, "(?:access|recovery|backup|unlock|activation|login|device|one~time)~codes?", count_digits=3,
             speaks=Speaks.OF_THINGS),
        Name(_CREDENTIALS, "pin(?:~(?:code|number|no))?", before=f"(?:(?:{_PIN_OWNERS})~)*", count_digits=3,
             speaks=Speaks.OF_THINGS, only_single=True),
        Name(_CREDENTIALS, "sid|auth|sig|signature", before=f"(?:(?:{_OWNERS}|user|web|client)~)*", only_opaque=True,
             only_single=True),
        Name(_CREDENTIALS, "(?:amz|goog)~(?:signature|credential)"),
        Name(_CREDENTIALS, "cookies?|set~cookie2", count_digits=9),
        Name(_CREDENTIALS, "authori[sz]ation", before=f"(?:(?:{_OWNERS})~)*"),
        Name(_CREDENTIALS, "credentials?|creds?", before="(?:(?:user|login|db|database|aws|api|auth)~)*",
             speaks=Speaks.OF_ANYTHING),
        Name(_CREDENTIALS, "session", before=f"(?:(?:{_OWNERS}|user|web|php|login|auth|client|express|current)~)*",
             count_digits=4, speaks=Speaks.OF_EVENTS),
        Name(_CREDENTIALS, "pass", before=f"(?:(?:{_LOGINS})~)*", count_digits=9, speaks=Speaks.OF_EVENTS),
        Name(_CREDENTIALS, "[ht]?otp", before=f"(?:(?:{_LOGINS}|sms|mfa|phone)~)*"),
        Name(_CREDENTIALS, "psk", before="(?:(?:wifi|wlan|wpa2?|ipsec|vpn)~)*"),
        Name(_CREDENTIALS, "bearer", before="", speaks=Speaks.OF_EVENTS),
    ),
    Pack.CONTACT: (
        Name("contact.email", "e~mail(?:~addr(?:ess)?)?|mail~addr(?:ess)?", count_digits=9),
        Name("contact.phone", "(?:tele)?phone(?:~(?:number|no|num))?|(?:mobile|cell|fax|tel)(?:~(?:number|no|num))",
             speaks=Speaks.OF_THINGS),
        Name("contact.phone", "tel|mobile|fax", before="(?:(?:home|work|office|private|patient|contact)~)*",
             speaks=Speaks.OF_THINGS),
    ),
    Pack.NATIONAL_IDS: (
        Name("national_ids.ssn", "ssn|social~security(?:~(?:number|no|num))?"),
        Name("national_ids.mrn", "mrn|medical~record~(?:number|no|num|id)"),
        Name("national_ids.nhs", "nhs~(?:number|no|num|id)"),
        Name("national_ids.other", "passport(?:~(?:number|no|num|id))?|national~(?:id|insurance~(?:number|no))"
             "|tax~id|driver'?s?~licen[cs]e(?:~(?:number|no))?"),
    ),
    Pack.PAYMENT: (
        Name("payment.card", "(?:credit|debit|bank|payment)~card(?:~(?:number|no|num))?|card~(?:number|no|num)"
             "|cc~(?:number|num)"),
        Name("payment.card", "pan", before=""),
        Name("payment.cvv", r"(?:cvv|cvc|csc)\d?|card~(?:verification|security)~(?:code|value)"),
        Name("payment.iban", "iban|(?:bank~)?account~(?:number|no)|routing~(?:number|no)|sort~code"),
    ),
    Pack.DATES_OF_BIRTH: (
        Name("dates_of_birth.date", "dob|d[.]o[.]b|dates?~of~birth|birth~(?:date|day)|geburts~(?:datum|tag)"),
        Name("dates_of_birth.date", "born(?:~on)?", before="(?:patient~)?", count_digits=3,
             speaks=Speaks.OF_THINGS),
    ),
}
# fmt: on

_HARMLESS: Final = re.compile(
    rb".*(?:pass[-_. ]*(?:word|wd|phrase|code)|passwort)s?[-_.]?(?:"
    rb"less|len|length|min(?:imum)?|max(?:imum)?|(?:min|max)[-_.]?length|polic(?:y|ies)|strength|score|age|count|attempts?"
    rb"|tries|retries|required|enabled|disabled|valid(?:ity)?|invalid|set|exists|type|algorithm|rounds|ur[li]|link|path"
    rb"|file|field|name|id|errors?|status|state|version|rules?|resets?|changes?|reset[-_.]?url|protected|prompt|input"
    rb"|label|placeholder|expir(?:y|ed|es|ation)|(?:last[-_.]?)?(?:changed|updated|created|set|reset|modified|expires?|expired)"
    rb"[-_.]?(?:at|on|date|time)?|needs[-_.]?\w+|must[-_.]?\w+|login|flow|grant|auth|service|controller|module|manager|util)"
)
_NO_SECRET: Final = re.compile(
    rb".*(?:page|next|prev|previous|continuation|cancel(?:l?ation)?|sync|resume|scroll)[-_. ]*tokens?"
    rb"|.*(?:consent|accept|acceptance|policy)[-_. ]*cookies?"
)
_NAME: Final = re.compile(rb"(?:.*[:\x80-\xff])?([a-z0-9_.$@' -]+)", re.DOTALL)


class Names:
    """The names of some packs. `find` is asked once a name: `rules` remembers the answers."""

    def __init__(self, packs: Sequence[Pack]) -> None:
        self.names = [name for pack in packs for name in NAMES[pack]]

    @cached_property
    def _wanted(self) -> list[tuple[re.Pattern[bytes], Name]]:
        """Made when a name is first asked for: a run whose lines hold nothing to redact asks for none."""
        return [(re.compile(_spread(f"(?:{n.before})(?:{n.core}){n.after}").encode()), n) for n in self.names]

    def find(self, name: bytes) -> Name | None:
        """What kind of secret `name` says it is, None if none.

        Of `user[password]` what is in the brackets counts, of `wsse:Password` what is behind the colon, of a name that
        is very long its end.
        """
        readable = _NAME.fullmatch(name.lower().rpartition(b"[")[2].rstrip(b"] \t:="))
        if readable is None:
            return None
        lowered = readable[1].strip(b" -._$@")[-MAX_NAME_BYTES:]
        if _HARMLESS.fullmatch(lowered) or _NO_SECRET.fullmatch(lowered):
            return None
        return next((kind for pattern, kind in self._wanted if pattern.fullmatch(lowered)), None)

    @property
    def expression(self) -> str:
        """An expression for how each of the names ends; '' if there is none."""
        return "|".join(_spread(f"(?:{name.core}){name.after}") for name in self.names)


def _spread(expression: str) -> str:
    return expression.replace("~", _GAP)
