"""The Insights API without a queue: one call, one verdict."""

import time
from collections.abc import Awaitable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

import attrs

from algolia_events import _limits
from algolia_events._answers import api_error
from algolia_events._batching import ENVELOPE_BYTES, SEPARATOR, join_body
from algolia_events._codec import encode, parse_event
from algolia_events._retry import Outcome, classify_error, classify_response
from algolia_events._user_events import UserEvents
from algolia_events._wire import Request, Response, Timeouts, credential_headers
from algolia_events.abc import Transport
from algolia_events.config import RetryOptions, checked_credentials, insights_url_for
from algolia_events.errors import ApiError, InvalidEventError, TransportError
from algolia_events.events import Event, kind_of
from algolia_events.users import check_user_token

if TYPE_CHECKING:
    import aiohttp

    from algolia_events._http import AiohttpTransport


def aiohttp_transport(session: "aiohttp.ClientSession | None") -> "AiohttpTransport":
    """Make the transport that a client has unless it is given one.

    It is imported here, by the first client: aiohttp takes more than half of the time that all of the package would.
    """
    from algolia_events._http import AiohttpTransport  # noqa: PLC0415 - see above

    return AiohttpTransport(session)


class InsightsApi:
    """The wire's end: credentials, address and limits on one side, a transport on the other."""

    def __init__(self, transport: Transport, *, app_id: str, api_key: str, url: str, retry: RetryOptions) -> None:
        self.transport = transport
        self._app_id = app_id
        self._url = url
        self._timeouts = Timeouts(total=retry.attempt_timeout, connect=retry.connect_timeout, read=retry.read_timeout)
        self.set_api_key(api_key)

    def set_api_key(self, api_key: str) -> None:
        """Use another key from the next request on."""
        self._headers = self._headers_with(api_key)

    async def post_events(self, body: bytes) -> Response:
        """Send one body of `POST /1/events`; errors as `Transport.send`."""
        return await self._call("POST", "/1/events", self._headers, body)

    async def deliver(self, body: bytes) -> Outcome:
        """Send one body and say what it means for the events in it."""
        try:
            response = await self.post_events(body)
        except TransportError as error:
            return classify_error(error)
        return classify_response(response, wall=time.time())

    async def delete_user(self, user_token: str, api_key: str | None) -> Response:
        """Call `DELETE /1/usertokens/{userToken}`; errors as `Transport.send`."""
        headers = self._headers if api_key is None else self._headers_with(api_key)
        # "/", "+" and "=" are legal in tokens, and mean something else in a path.
        return await self._call("DELETE", f"/1/usertokens/{quote(user_token, safe='')}", headers, b"")

    def _headers_with(self, api_key: str) -> dict[str, str]:
        # A compressed answer could unfold into any size; these are a line long.
        return {**credential_headers(self._app_id, api_key), "accept-encoding": "identity"}

    async def _call(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> Response:
        return await self.transport.send(
            Request(
                method=method,
                url=self._url + path,
                headers=headers,
                body=body,
                timeouts=self._timeouts,
                max_answer_bytes=_limits.MAX_INSIGHTS_ANSWER_BYTES,
            )
        )


@attrs.frozen(kw_only=True)
class SendResult:
    """What `send_events()` did."""

    accepted: int
    """Events that the server took: well formed, which is all it says."""
    requests: int


class InsightsClient:
    """Sends at once what it is given, and says what became of it: no queue, no retries.

    Stands alone (`create`), or shares the transport of an `AlgoliaEvents` (its `insights`).
    """

    def __init__(self, api: InsightsApi, *, owns_transport: bool = False) -> None:
        self._api = api
        self._owns_transport = owns_transport

    @classmethod
    def create(
        cls,
        app_id: str,
        api_key: str,
        region: str | None = None,
        *,
        insights_url: str | None = None,
        session: "aiohttp.ClientSession | None" = None,
        retry: RetryOptions | None = None,
    ) -> Self:
        """Make a client of its own; close it with `aclose()` or `async with`.

        Raises:
            ConfigurationError: credentials are missing, the region is unknown, or the address is neither https nor
                on this machine.
        """
        app_id, api_key = checked_credentials(app_id, api_key)
        url = insights_url_for(region, insights_url)
        transport = aiohttp_transport(session)
        api = InsightsApi(transport, app_id=app_id, api_key=api_key, url=url, retry=retry or RetryOptions())
        return cls(api, owns_transport=True)

    async def send_events(
        self, events: Iterable[Event | Mapping[str, Any]], *, now_ms: int | None = None
    ) -> SendResult:
        """Send events, in as many requests as the limits ask for, one after the other.

        Events without a timestamp are stamped with `now_ms`, else with the present. One event that the server
        refuses costs all of its request: the queue's `deliver()` is the way to find it.

        Raises:
            InvalidEventError: a mapping breaks a rule (fields are named `events[3].eventName`), the list is empty,
                or one event is more than a request may hold. Nothing has been sent.
            ApiError: the server refused a request; a note says how many events it had accepted before.
            TransportError: no answer was had; the same note.
        """
        stamp = time.time_ns() // 1_000_000 if now_ms is None else now_ms
        bodies = list(_bodies(_encode_all(events, stamp)))
        accepted = 0
        for body, count in bodies:
            try:
                response = await self._api.post_events(body)
                _raise_for_status(response)
            except (ApiError, TransportError) as exc:
                exc.add_note(f"{accepted} events had been accepted in requests before this one")
                raise
            accepted += count
        return SendResult(accepted=accepted, requests=len(bodies))

    async def delete_user_token(self, token: str, api_key: str | None = None) -> None:
        """Delete all events of a user; Algolia has done so within 48 hours.

        The key needs the ACL `deleteObject`, which the key for events should not have: give it as `api_key`.

        Raises:
            InvalidEventError: the token is not a legal one.
            ApiError: the server refused; `RateLimitedError` for too many calls a minute, whose `retry_after` says
                how many seconds are left of it.
            TransportError: no answer was had. To ask again does no harm.
        """
        check_user_token(token)
        _raise_for_status(await self._api.delete_user(token, api_key))

    def user(self, user_token: str, authenticated_user_token: str | None = None) -> "InsightsUser":
        """Bind a user: the methods of what is returned send one event each, and are awaited."""
        return InsightsUser(self, user_token, authenticated_user_token)

    async def aclose(self) -> None:
        """Close the connection, if it is our own; to do so twice does no harm.

        The `insights` of an `AlgoliaEvents` leaves it to the client that it shares it with.
        """
        if self._owns_transport:
            await self._api.transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


class InsightsUser(UserEvents[Awaitable[SendResult]]):
    """A user whose events are sent at once."""

    def __init__(self, client: InsightsClient, user_token: str, authenticated_user_token: str | None) -> None:
        super().__init__(user_token, authenticated_user_token=authenticated_user_token)
        self._client = client

    def _emit(self, event: Event) -> Awaitable[SendResult]:
        return self._client.send_events([event])


def _encode_all(events: Iterable[Event | Mapping[str, Any]], stamp: int) -> list[bytes]:
    """Encode everything before anything is sent, and list every problem of every event."""
    if isinstance(events, Event | Mapping | str) or not isinstance(events, Iterable):
        raise InvalidEventError("events", [("events", f"expected a list of events, got {kind_of(events)}")])
    encoded: list[bytes] = []
    problems: list[tuple[str, str]] = []
    for index, event in enumerate(events):
        try:
            body = encode(event if isinstance(event, Event) else parse_event(event), stamp).encode()
        except InvalidEventError as exc:
            problems += [(f"events[{index}].{field}", text) for field, text in exc.problems]
            continue
        if len(body) + ENVELOPE_BYTES >= _limits.MAX_REQUEST_BYTES:
            problems.append((f"events[{index}]", f"takes {len(body)} bytes, more than a request may hold"))
        encoded.append(body)
    if not encoded and not problems:
        problems.append(("events", "at least one event is needed"))
    if problems:
        raise InvalidEventError("events", problems)
    return encoded


def _bodies(encoded: list[bytes]) -> Iterable[tuple[bytes, int]]:
    """Join encoded events into bodies within the limits; yield each with the number of its events."""
    run: list[bytes] = []
    size = ENVELOPE_BYTES
    for event in encoded:
        full = len(run) == _limits.MAX_EVENTS_PER_REQUEST or size + len(event) >= _limits.MAX_REQUEST_BYTES
        if run and full:
            yield join_body(run), len(run)
            run, size = [], ENVELOPE_BYTES
        run.append(event)
        size += len(event) + len(SEPARATOR)
    yield join_body(run), len(run)


def _raise_for_status(response: Response) -> None:
    if not 200 <= response.status < 300:  # noqa: PLR2004 - the class of success, RFC 9110, 15.3
        raise api_error(response, wall=time.time())
