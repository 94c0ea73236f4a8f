"""The sandbox as a whole: puts the parts together, owns their lifetimes, and is what a test talks to."""

import asyncio
import ssl
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final, Self

from aiohttp import web

from algolia_events.sandbox._assertions import Events, SandboxAssertions
from algolia_events.sandbox._attribution import Attribution, QueryIds
from algolia_events.sandbox._broadcast import Subscription
from algolia_events.sandbox._catalogue import Catalogue
from algolia_events.sandbox._credentials import Doorkeeper
from algolia_events.sandbox._faults import Api, Fault, FaultScript
from algolia_events.sandbox._gateway import Gateway
from algolia_events.sandbox._insights import InsightsApi, Reject
from algolia_events.sandbox._ledger import Counts, Ledger, Notice, Rejection, Request
from algolia_events.sandbox._listener import Listener, check_host
from algolia_events.sandbox._page import Page
from algolia_events.sandbox._recommend import RecommendApi

THIRTY_DAYS_S: Final = 30 * 86_400.0
_SHUTDOWN_S: Final = 0.1


class SandboxTimeoutError(TimeoutError):
    """What a test waited for did not happen; ``counts`` says what did."""

    def __init__(self, timeout: float, counts: Counts) -> None:
        super().__init__(f"not within {timeout} s; so far there were {counts}")
        self.counts = counts


class Faults:
    """The scripted faults of a sandbox. The first one added that concerns a request is the one it meets."""

    def __init__(self, script: FaultScript) -> None:
        self._script = script

    def add(
        self, fault: Fault, *, times: int | None = None, seconds: float | None = None, api: Api | None = None
    ) -> None:
        """Let the next ``times`` requests meet a fault, or all those of the next ``seconds``; by default the next one.

        With both, it is over when either is. ``api`` spares the requests of the other API.
        """
        self._script.add(fault, now=time.monotonic(), times=times, seconds=seconds, api=api)

    def script(self, faults: Iterable[Fault | None], *, api: Api | None = None) -> None:
        """Let the next requests meet these faults, one each; None leaves a request in peace."""
        self._script.script(faults, api=api)

    def during(self, fault: Fault, *, api: Api | None = None) -> AbstractContextManager[None]:
        """Let every request meet a fault as long as the context is open."""
        return self._script.during(fault, api=api)

    def clear(self) -> None:
        """Forget every fault, those of open contexts included."""
        self._script.clear()

    @property
    def pending(self) -> tuple[Fault | None, ...]:
        """What is still in force, in order."""
        return self._script.pending(now=time.monotonic())


class Sandbox(SandboxAssertions):
    """A local server that speaks Algolia's Insights and Recommend APIs as strictly as they do.

    Enter it with ``async with``; requests go to ``url``, and a browser finds a live page there. It judges by the wire
    contract and shares no code with the library's own models.

    Args:
        port: 0 takes a free one.
        host: a loopback address, unless ``allow_remote``.
        app_id, api_key: the credentials to ask for; None is content with any that are not empty.
        delete_api_key: the key to ask for when a user is deleted; None: ``api_key``.
        max_body_bytes: a request body of this size or larger is answered with 413.
        max_age: seconds that an event's timestamp may lie back.
        latency: seconds by which every answer is held back, after the request was handled.
        reject: gives the message with which to refuse an event that is valid otherwise, or None.
        deletes_per_minute: deletions of user tokens before 429.
        catalogues: records to recommend from, by index name; any other name is served from a built-in catalogue.
        missing_indices: index names that do not exist (404).
        models: the Recommend models that are enabled (402 for the others); None: all.
        max_kept: how many requests, events, refused events, tokens and query IDs to remember, the latest of each;
            None keeps everything.
        ssl_context: to serve https.
        routes: further routes of aiohttp, such as an application to try; ``request.app[SANDBOX]`` is the sandbox. They
            are neither recorded nor sabotaged.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        host: str = "127.0.0.1",
        allow_remote: bool = False,
        app_id: str | None = None,
        api_key: str | None = None,
        delete_api_key: str | None = None,
        max_body_bytes: int = 2_000_000,
        max_age: float = THIRTY_DAYS_S,
        latency: float = 0.0,
        reject: Reject | None = None,
        deletes_per_minute: int = 100,
        catalogues: Mapping[str, Catalogue] | None = None,
        missing_indices: Collection[str] = (),
        models: Collection[str] | None = None,
        max_kept: int | None = None,
        ssl_context: ssl.SSLContext | None = None,
        routes: Iterable[web.AbstractRouteDef] = (),
    ) -> None:
        check_host(host, allow_remote=allow_remote)
        script = FaultScript()
        self.faults: Faults = Faults(script)
        self._ledger = Ledger(max_kept)
        self._query_ids = QueryIds(max_kept)
        senders = Doorkeeper(app_id=app_id, api_key=api_key)
        self._insights = InsightsApi(
            ledger=self._ledger,
            query_ids=self._query_ids,
            senders=senders,
            deleters=Doorkeeper(app_id=app_id, api_key=api_key if delete_api_key is None else delete_api_key),
            max_age_s=max_age,
            deletes_per_minute=deletes_per_minute,
            reject=reject,
        )
        recommend = RecommendApi(
            ledger=self._ledger,
            query_ids=self._query_ids,
            senders=senders,
            catalogues=dict(catalogues or {}),
            missing_indices=frozenset(missing_indices),
            models=None if models is None else frozenset(models),
        )
        self._gateway = Gateway(
            handlers={"insights": self._insights, "recommend": recommend},
            ledger=self._ledger,
            script=script,
            max_body_bytes=max_body_bytes,
            latency=latency,
        )
        page = Page(ledger=self._ledger, query_ids=self._query_ids, script=script, host=host)
        self._runner = _runner(self, [*routes, *page.routes()], self._gateway)
        self._listener = Listener(
            host=host,
            port=port,
            factory=self._connect,
            ssl_context=ssl_context,
            should_reset=lambda: script.take(None, now=time.monotonic()) is not None,
        )
        self._was_started = False

    async def __aenter__(self) -> Self:
        if self._was_started:
            raise RuntimeError("a sandbox is entered only once; make a new one")
        self._was_started = True
        await self._runner.setup()
        try:
            await self._listener.open()
        except BaseException:
            await self._runner.cleanup()
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._listener.close()
        self._ledger.broadcast.close()
        await self._gateway.aclose()
        await self._runner.cleanup()

    @property
    def port(self) -> int:
        """The port, known once the sandbox was entered."""
        return self._listener.port

    @property
    def url(self) -> str:
        """Where it listens, such as ``http://127.0.0.1:49152``."""
        scheme = "http" if self._listener.ssl_context is None else "https"
        host = self._listener.host
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def events(self) -> Events:
        """The accepted events in the order of acceptance, also those whose answer was sabotaged afterwards.

        Call it to choose among them: ``sandbox.events(kind="click", user="user-1")``.
        """
        return Events(self._ledger.events)

    @property
    def attributions(self) -> tuple[Attribution, ...]:
        """The accepted events, each with the judgement whether it is attributed to an answer, and why not."""
        return self._ledger.attributions

    @property
    def rejected(self) -> tuple[Rejection, ...]:
        """The refused requests, with their events."""
        return self._ledger.rejections

    @property
    def requests(self) -> tuple[Request, ...]:
        """The requests in the order of their arrival, also those under way."""
        return self._ledger.requests

    @property
    def deleted_tokens(self) -> tuple[str, ...]:
        """The user tokens whose deletion was asked for; their events are still in ``events``."""
        return self._ledger.deleted_tokens

    @property
    def counts(self) -> Counts:
        """How much there was since the start, whatever is still kept."""
        return self._ledger.counts

    @property
    def latency(self) -> float:
        """Seconds by which every answer is held back."""
        return self._gateway.latency

    @latency.setter
    def latency(self, seconds: float) -> None:
        self._gateway.latency = seconds

    @property
    def reject(self) -> Reject | None:
        """The test's own rule: gives the message with which to refuse a valid event, or None."""
        return self._insights.reject

    @reject.setter
    def reject(self, rule: Reject | None) -> None:
        self._insights.reject = rule

    def _connect(self) -> asyncio.BaseProtocol:
        return _server_of(self._runner)()

    def fault(self, fault: Fault, *, api: Api | None = None) -> AbstractContextManager[None]:
        """Let every request meet a fault as long as the context is open; see ``faults``."""
        return self.faults.during(fault, api=api)

    def script(self, faults: Iterable[Fault | None], *, api: Api | None = None) -> None:
        """Let the next requests meet these faults, one each; see ``faults``."""
        self.faults.script(faults, api=api)

    def give_query_id(
        self, *, index: str, object_ids: Sequence[str], user_token: str | None = None, first_position: int = 1
    ) -> str:
        """Give out a query ID as a search would, for an answer with these objects to this user."""
        return self._query_ids.give(
            index=index,
            model="search",
            user_token=user_token,
            object_ids=object_ids,
            first_position=first_position,
            now=time.time(),
        )

    async def wait_for(self, what: int | Callable[[], bool], *, timeout: float = 10.0) -> None:  # noqa: ASYNC109 - a bound that a test states
        """Wait for so many accepted events in all, or until a condition about the sandbox is met.

        The condition is asked again whenever something was received, accepted, refused or answered.

        Raises:
            SandboxTimeoutError: it was not so within ``timeout`` seconds.
        """
        is_so = (lambda: self.counts.events >= what) if isinstance(what, int) else what
        try:
            async with asyncio.timeout(timeout):
                await self._ledger.wait_until(is_so)
        except TimeoutError:
            raise SandboxTimeoutError(timeout, self.counts) from None

    def subscribe(self, *, max_waiting: int = 1000) -> AbstractContextManager[Subscription[Notice]]:
        """Receive notices of what happens, by ``async for``; ends when the sandbox closes.

        Never slows the sandbox down: of a reader that is slow, the oldest notices are dropped and counted.
        """
        return self._ledger.broadcast.subscribe(max_waiting)

    async def stop_listening(self) -> None:
        """Refuse connections from now on, and end the open ones: requests that are here in full are answered first."""
        await self._listener.close()
        busy = self._gateway.busy_connections()
        for connection in list(_server_of(self._runner).connections):
            if connection in busy:
                connection.close()
            else:
                connection.force_close()

    async def listen_again(self) -> None:
        """Listen on the same port again."""
        await self._listener.open()


SANDBOX: Final = web.AppKey("sandbox", Sandbox)
"""Where a handler of ``routes`` finds the sandbox: ``request.app[SANDBOX]``."""


def _runner(sandbox: Sandbox, routes: Iterable[web.AbstractRouteDef], gateway: Gateway) -> web.AppRunner:
    """Make the HTTP server: the routes given come first, all else goes to the gateway."""
    app = web.Application()
    app[SANDBOX] = sandbox
    app.add_routes([*routes, web.route("*", "/{path:.*}", gateway.handle)])
    # an encoded body is refused, not decoded; no request is written to a log with its URL
    return web.AppRunner(app, access_log=None, shutdown_timeout=_SHUTDOWN_S, auto_decompress=False)


def _server_of(runner: web.AppRunner) -> web.Server:
    server = runner.server
    if server is None:
        raise RuntimeError("the sandbox is not open; use it with `async with`")
    return server
