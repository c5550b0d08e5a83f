"""What is to be done with a request, and what those are told who are not let in. `guard` decides it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from http import HTTPStatus
from typing import Final

from exporter.messages import Response


class Admission(Enum):
    """What is to be done with a request."""

    ADMITTED = auto()
    PROBE = auto()
    """Answered without its reason: nobody has logged in."""
    TO_CHECK = auto()
    """Its password must be hashed first, which takes time."""
    REFUSED = auto()
    LIMITED = auto()


REFUSALS: Final[Mapping[Admission, Response]] = {
    Admission.REFUSED: Response(
        status=HTTPStatus.UNAUTHORIZED,
        body=b"user and password, please\n",
        headers={"WWW-Authenticate": 'Basic realm="shipper", charset="UTF-8"', "Cache-Control": "no-store"},
    ),
    Admission.LIMITED: Response(
        status=HTTPStatus.TOO_MANY_REQUESTS, body=b"too many requests\n", headers={"Retry-After": "1"}
    ),
}
