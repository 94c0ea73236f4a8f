"""The composition root: picks the parts, owns their lifetimes, and is the only thing most users build."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio

from algolia_events._attribution import Attribution
from algolia_events._durable import DurableQueue
from algolia_events._insights import InsightsApi, InsightsClient, aiohttp_transport
from algolia_events._limits import MAX_EVENT_AGE
from algolia_events._queue import EventQueue
from algolia_events._recommend import RecommendClient
from algolia_events._retry import Outcome
from algolia_events._screening import BeforeSend, OptedOut, Screen
from algolia_events._user_events import UserEvents
from algolia_events._user_recommend import UserRecommend
from algolia_events.abc import AttributionStore, Hook, Outbox, Transport
from algolia_events.config import (
    QueueOptions,
    RetryOptions,
    checked_credentials,
    checked_url,
    insights_url_for,
    options_in,
    require_options,
)
from algolia_events.errors import ConfigurationError
from algolia_events.events import Event
from algolia_events.reports import DeliveryReport, Health, QueueStats

if TYPE_CHECKING:
    import aiohttp

    from algolia_events._http import AiohttpTransport


class User(UserEvents[bool], UserRecommend):
    """A user of the application: what he does is tracked, what is asked for him carries his token."""

    def __init__(self, client: "AlgoliaEvents", user_token: str, authenticated_user_token: str | None) -> None:
        UserEvents.__init__(self, user_token, authenticated_user_token=authenticated_user_token)
        UserRecommend.__init__(self, client.recommend, user_token, authenticated_user_token)
        self._events = client.events

    def _emit(self, event: Event) -> bool:
        return self._events.track(event)


class AlgoliaEvents:
    """Everything: the event queue, the Insights and Recommend clients, attribution.

    Use it as an async context manager, or call `start()` and `aclose()`, which may run in different tasks. Making one
    has no side effects: no connection, no task. Events may be tracked before it is started; they wait.

    Attributes:
        events: the `EventQueue`.
        insights: an `InsightsClient`, for calls past the queue.
        recommend: a `RecommendClient`.
        attribution: signs and resolves tokens; remembers and attributes.

    Args:
        app_id: the Algolia application.
        api_key: a key with the right to search, which is what events and recommendations need.
        region: the analytics region, "us" or "de"; None is the nearest.
        insights_url: another address for events; https, or http on this machine.
        recommend_urls: other addresses for recommendations, in the order in which they are asked.
        session: an `aiohttp.ClientSession` of yours; it is used, and never closed.
        transport: something else that sends requests; it is closed with the client.
        queue: bounds, batching, and what gives way when the queue is full.
        retry: time limits and pauses.
        attribution_keys: secrets for signed tokens; the first signs, all are accepted.
        attribution_store: where `attribution` remembers what was shown to whom; in memory by default.
        attribution_max_age: how long a signed token is good for, in seconds or as `timedelta`.
        remember_answers: whether each recommendation is remembered without being asked to.
        analytics_tags: tags for each recommendation.
        combine_requests: whether one user's recommendations asked for in one turn of the loop share a request.
        outbox: where events are safe before they are sent: a `SQLiteOutbox`, a `RedisOutbox`, one of your own, or
            the URL of one; None keeps them in memory. It is closed with the client.
        deliver: whether this process sends events too; False stores them only, for a relay to send.
        hooks: are told what the queue does.
        before_send: is called with each event, in the thread that tracks it; returns the event, another one, or
            None to drop it. One that raises costs the event.
        sample_rate: the share of users, from 0 to 1, whose events are kept.
        opted_out: is asked with each user token, when an event is tracked and again when it leaves; True drops it.

    Raises:
        ConfigurationError: an argument is wrong; the message names it.
    """

    def __init__(
        self,
        *,
        app_id: str,
        api_key: str,
        region: str | None = None,
        insights_url: str | None = None,
        recommend_urls: Sequence[str] | None = None,
        session: "aiohttp.ClientSession | None" = None,
        transport: Transport | None = None,
        queue: QueueOptions = QueueOptions(),  # noqa: B008 - frozen: one default for all is one default
        retry: RetryOptions = RetryOptions(),  # noqa: B008
        attribution_keys: Sequence[str | bytes] = (),
        attribution_store: AttributionStore | None = None,
        attribution_max_age: float | timedelta = MAX_EVENT_AGE,
        remember_answers: bool = False,
        analytics_tags: Iterable[str] = (),
        combine_requests: bool = False,
        outbox: Outbox | str | None = None,
        deliver: bool = True,
        hooks: Iterable[Hook] = (),
        before_send: BeforeSend | None = None,
        sample_rate: float = 1.0,
        opted_out: OptedOut | None = None,
    ) -> None:
        app_id, api_key = checked_credentials(app_id, api_key)
        if session is not None and transport is not None:
            raise ConfigurationError("give a session or a transport, not both: a transport brings its own connections")
        urls = None if recommend_urls is None else [checked_url("recommend_urls", url) for url in recommend_urls]
        self._own_transport: AiohttpTransport | None = None
        if transport is None:
            transport = self._own_transport = aiohttp_transport(session)
        self._transport = transport
        self._api = InsightsApi(
            self._transport, app_id=app_id, api_key=api_key, url=insights_url_for(region, insights_url), retry=retry
        )
        self.attribution: Attribution = Attribution(attribution_keys, attribution_store, max_age=attribution_max_age)
        self.insights: InsightsClient = InsightsClient(self._api)
        self.recommend: RecommendClient = RecommendClient(
            self._transport,
            app_id=app_id,
            api_key=api_key,
            urls=urls,
            analytics_tags=analytics_tags,
            retry=retry,
            combine=combine_requests,
            on_answer=self.attribution.remember_all if remember_answers else None,
        )
        screen = Screen(before_send=before_send, sample_rate=sample_rate, opted_out=opted_out)
        self.events: EventQueue = _make_queue(
            self._api.deliver, outbox, deliver=deliver, options=queue, retry=retry, hooks=hooks, screen=screen
        )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **options: Any) -> Self:
        """Make a client from the environment: the only place where it is read.

        `ALGOLIA_APP_ID` and `ALGOLIA_API_KEY` are needed; `ALGOLIA_REGION`, `ALGOLIA_INSIGHTS_URL`,
        `ALGOLIA_RECOMMEND_URL` (several divided by commas) and `ALGOLIA_OUTBOX` (see `open_outbox()`) are used where
        they are set. `options` are those of the constructor, and win.

        Raises:
            ConfigurationError: a variable is missing or wrong; the message names it.
        """
        environ = os.environ if environ is None else environ
        found: dict[str, Any] = {**options_in(environ, ("app_id", "api_key", "region", "insights_url", "outbox"))}
        if urls := environ.get("ALGOLIA_RECOMMEND_URL"):
            found["recommend_urls"] = [url.strip() for url in urls.split(",")]
        options = {**found, **options}
        require_options(options, ("app_id", "api_key"))
        return cls(**options)

    def user(self, user_token: str, authenticated_user_token: str | None = None) -> User:
        """Bind a user: `user.clicked_object_ids(…)` tracks, `await user.related_products(…)` asks.

        Raises:
            InvalidEventError: a token is not a legal one.
        """
        return User(self, user_token, authenticated_user_token)

    async def start(self) -> None:
        """Start the background task in the running loop; to do so twice does no harm.

        Raises:
            WrongLoopError: it runs in another loop already.
            ClientClosedError: the client was closed.
            ConfigurationError: the outbox can never work here.
        """
        await self.events.start()
        if self._own_transport is not None:
            self._own_transport.stay_here()

    async def aclose(self, timeout: float | timedelta | None = None) -> DeliveryReport:  # noqa: ASYNC109 - as EventQueue.aclose()
        """Send what there is, account for the rest, close what is ours; see `EventQueue.aclose()`.

        May be called more than once, at the same time, and from another task than `start()`: all get one report.
        """
        report = await self.events.aclose(timeout)
        async with AsyncExitStack() as stack:  # closes in the opposite order, each whatever the others do
            stack.push_async_callback(self._transport.aclose)
            stack.push_async_callback(self.attribution.aclose)
            stack.push_async_callback(self.recommend.aclose)
        return report

    def stats(self) -> QueueStats:
        """Take the queue's counters; see `EventQueue.stats()`."""
        return self.events.stats()

    def health(self) -> Health:
        """Say how the sending goes; see `EventQueue.health()`."""
        return self.events.health()

    def set_api_key(self, api_key: str) -> None:
        """Use another key from now on, and try again at once what waited for one.

        Raises:
            ConfigurationError: it is not fit to be a key.
        """
        _, api_key = checked_credentials("unchanged", api_key)
        self._api.set_api_key(api_key)
        self.recommend.set_api_key(api_key)
        self.events.reopen()

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except (ConfigurationError, asyncio.CancelledError):  # nobody calls `__aexit__` now, and tasks are at work
            with anyio.CancelScope(shield=True):
                await self.aclose()
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # A cancelled block still has events to send, and `shutdown_timeout` bounds how long that takes.
        with anyio.CancelScope(shield=True):
            await self.aclose()


def _make_queue(
    send: Callable[[bytes], Awaitable[Outcome]], outbox: Outbox | str | None, *, deliver: bool, **options: Any
) -> EventQueue:
    """Choose the queue: in memory, or in front of an outbox."""
    if outbox is None:
        if not deliver:
            raise ConfigurationError("deliver=False needs an outbox: the events would go nowhere")
        return EventQueue(send, **options)
    if isinstance(outbox, str):
        from algolia_events.outbox import open_outbox  # noqa: PLC0415 - who needs none does not load sqlite3

        outbox = open_outbox(outbox)
    return DurableQueue(send if deliver else None, outbox, **options)
