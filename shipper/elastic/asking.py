"""Single requests of a command to a server, with some patience where it is busy."""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus

import tenacity

from shipper import __version__
from shipper.elastic.transport import Answer, Cluster, NotAnsweredError
from shipper.errors import OutputError
from shipper.settings import ElasticsearchSettings

PATIENCE_SECONDS = 60.0


class NotServedError(OutputError):
    """The server does not answer, or may not be asked; the message says which."""


class _BusyError(NotServedError):
    """May be mended by waiting."""


class Asking:
    """A connection for one command; `close` it. Raises OutputError where the settings can never work."""

    def __init__(
        self,
        settings: ElasticsearchSettings,
        *,
        purpose: str,
        patience_seconds: float = PATIENCE_SECONDS,
        sleep: Callable[[float], None] = time.sleep,
        waits_for: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`waits_for` is told why it asks again."""
        agent = f"shipper/{__version__}"
        self._cluster = Cluster(
            settings=settings, user_agent=agent, opaque_id=f"{agent} {purpose}", monotonic=time.monotonic
        )
        self._retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_BusyError),
            wait=tenacity.wait_random_exponential(multiplier=0.5, max=10),
            stop=tenacity.stop_after_delay(patience_seconds),
            sleep=sleep,
            before_sleep=lambda state: waits_for(str(state.outcome and state.outcome.exception())),
            reraise=True,
        )

    def __str__(self) -> str:
        return str(self._cluster)

    def close(self) -> None:
        """Let the connections go."""
        self._cluster.close()

    def ask(self, method: str, target: str, body: bytes = b"", *, content_type: str = "application/json") -> Answer:
        """The answer, whatever it says of the request. Raises NotServedError."""
        return self._retrying(self._ask_once, method, target, body, content_type)

    def _ask_once(self, method: str, target: str, body: bytes, content_type: str) -> Answer:
        try:
            answer = self._cluster.request(method, target, body, headers={"content-type": content_type})
        except NotAnsweredError as error:
            raise _BusyError(f"the server does not answer: {error}") from None
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise _BusyError(f"{self}: the server is busy: status {answer.status}")
        if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise NotServedError(f"{self}: not allowed (status {answer.status}); check the credentials' privileges")
        return answer
