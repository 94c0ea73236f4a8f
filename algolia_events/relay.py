"""The relay as a program uses it; `algolia-events relay` is the same as a command."""

import os
from collections.abc import Iterable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio

from algolia_events._insights import InsightsApi, aiohttp_transport
from algolia_events._relay import RelayWork
from algolia_events.abc import Hook, Outbox
from algolia_events.config import (
    QueueOptions,
    RetryOptions,
    checked_credentials,
    insights_url_for,
    limit_seconds,
    options_in,
    require_options,
)
from algolia_events.outbox import open_outbox
from algolia_events.reports import Health, SendingStats

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Relay"]


class Relay:
    """Claims from an outbox and sends, side by side with any number of others.

    Use it as an async context manager; it works from entering to leaving. Web workers that share the outbox then run
    with `deliver=False`, and open no connection to Algolia.

    Args:
        app_id, api_key, region, insights_url, session, queue, retry, hooks: as for `AlgoliaEvents`.
        outbox: what to send from, or its URL; it is closed with the relay.

    Raises:
        ConfigurationError: an argument is wrong; the message names it.
    """

    def __init__(
        self,
        *,
        app_id: str,
        api_key: str,
        outbox: Outbox | str,
        region: str | None = None,
        insights_url: str | None = None,
        session: "aiohttp.ClientSession | None" = None,
        queue: QueueOptions = QueueOptions(),  # noqa: B008 - frozen: one default for all is one default
        retry: RetryOptions = RetryOptions(),  # noqa: B008
        hooks: Iterable[Hook] = (),
    ) -> None:
        app_id, api_key = checked_credentials(app_id, api_key)
        url = insights_url_for(region, insights_url)
        self._transport = aiohttp_transport(session)
        api = InsightsApi(self._transport, app_id=app_id, api_key=api_key, url=url, retry=retry)
        self._work = RelayWork(
            api.deliver,
            open_outbox(outbox) if isinstance(outbox, str) else outbox,
            options=queue,
            retry=retry,
            hooks=hooks,
        )

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None, **options: Any) -> Self:
        """Make a relay from the environment, with the variables that `AlgoliaEvents.from_env()` reads.

        Raises:
            ConfigurationError: a variable is missing or wrong; the message names it.
        """
        names = ("app_id", "api_key", "region", "insights_url", "outbox")
        options = {**options_in(os.environ if environ is None else environ, names), **options}
        require_options(options, ("app_id", "api_key", "outbox"))
        return cls(**options)

    async def start(self) -> None:
        """Begin to claim and to send; to do so twice does no harm.

        Raises:
            ConfigurationError: the outbox can never work here.
        """
        await self._work.start()

    async def aclose(self, timeout: float | timedelta | None = None) -> SendingStats:  # noqa: ASYNC109 - as EventQueue.aclose()
        """Claim no more, wait for the answers under way (`QueueOptions.shutdown_timeout`), give back the rest.

        All who close get the same counters; one that is cancelled can be taken up by another.

        Raises:
            ConfigurationError: `timeout` is no time limit; nothing has changed.
        """
        limit = None if timeout is None else limit_seconds(timeout)
        try:
            return await self._work.aclose(limit)
        finally:
            if self._work.is_closed:  # else whoever waited was cancelled, and requests are still under way
                await self._transport.aclose()

    def stats(self) -> SendingStats:
        """Take the counters, all at one moment."""
        return self._work.stats()

    def health(self) -> Health:
        """Say how the sending goes, and why, if it does not go well."""
        return self._work.health()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with anyio.CancelScope(shield=True):
            await self.aclose()
