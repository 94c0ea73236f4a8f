"""One logical call over a list of hosts: the next host is asked until one answers."""

import random
import secrets
import string
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final

from algolia_events._answers import api_error
from algolia_events._hosts import Hosts
from algolia_events._limits import MAX_RECOMMEND_ANSWER_BYTES
from algolia_events._wire import Request, Response, Timeouts, credential_headers
from algolia_events.abc import Transport
from algolia_events.errors import ApiError, ConfigurationError, TransportError, UnreachableError

_PATH: Final = "/1/indexes/*/recommendations"
_BASE62: Final = string.digits + string.ascii_letters
_REQUEST_ID_LENGTH: Final = 11
_APP_ID_ALPHABET: Final = frozenset(string.ascii_letters + string.digits + "-")


def recommend_urls(app_id: str) -> tuple[str, ...]:
    """List the hosts of an application: the nearest first, then three others in an order of this process's own.

    The order is drawn anew by each process, so that an outage of the first does not drive all of them to the second.

    Raises:
        ConfigurationError: the application ID cannot be part of a host's name.
    """
    if not app_id or not _APP_ID_ALPHABET.issuperset(app_id):
        raise ConfigurationError("app_id must be letters and digits: it is part of the hosts' names")
    others = random.sample(range(1, 4), k=3)
    return (f"https://{app_id}-dsn.algolia.net", *(f"https://{app_id}-{number}.algolianet.com" for number in others))


class FailoverCaller:
    """Sends a body to the Recommend API, to one host after another until one gives a final answer.

    What fails over: names, connections, time limits, certificates, and answers other than 2xx and 4xx. All hosts are
    asked at most once in a call, and at least one is.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        app_id: str,
        api_key: str,
        urls: Sequence[str],
        timeouts: Timeouts,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._transport = transport
        self._app_id = app_id
        self.set_api_key(api_key)
        self._hosts = Hosts([url.rstrip("/") for url in urls])
        self._timeouts = timeouts
        self._clock = clock

    def set_api_key(self, api_key: str) -> None:
        """Use another key from the next attempt on."""
        self._headers = credential_headers(self._app_id, api_key)

    async def send(self, body: bytes) -> Response:
        """Send and return an answer of success.

        Raises:
            ApiError: an answer of failure, in the class that fits: at once for 4xx, and for others when no host did
                better; the cause then lists what each host did.
            UnreachableError: no host answered at all.
        """
        request_id = "".join(secrets.choice(_BASE62) for _ in range(_REQUEST_ID_LENGTH))
        attempts: list[tuple[str, str]] = []
        failure: ApiError | None = None
        for url in self._hosts.order(now=self._clock()):
            try:
                response = await self._transport.send(self._request(url, body, request_id))
            except TransportError as exc:
                attempts.append((url, exc.reason))
                self._hosts.failed(url, now=self._clock())
                continue
            if HTTPStatus.OK <= response.status < HTTPStatus.MULTIPLE_CHOICES:
                self._hosts.answered(url)
                return response
            error = api_error(response, wall=time.time(), request_id=request_id)
            if HTTPStatus.BAD_REQUEST <= response.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                self._hosts.answered(url)
                raise error
            attempts.append((url, str(response.status)))
            self._hosts.failed(url, now=self._clock())
            failure = error
        unreachable = UnreachableError(attempts)
        if failure is None:
            raise unreachable
        raise failure from unreachable

    def _request(self, url: str, body: bytes, request_id: str) -> Request:
        return Request(
            method="POST",
            url=url + _PATH,
            headers={**self._headers, "request-id": request_id},
            body=body,
            timeouts=self._timeouts,
            max_answer_bytes=MAX_RECOMMEND_ANSWER_BYTES,
        )
