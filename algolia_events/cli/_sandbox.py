"""`algolia-events sandbox`: a local server that speaks Algolia's APIs."""

import asyncio
from contextlib import AsyncExitStack
from typing import Final

from cyclopts import types

from algolia_events.cli._console import OK, UsageError, note, say
from algolia_events.cli._signals import on_stop_signal
from algolia_events.sandbox import Sandbox

_DEFAULT_PORT: Final = 8765
_MAX_KEPT: Final = 10_000


def sandbox(
    *,
    port: types.Port = _DEFAULT_PORT,
    host: str = "127.0.0.1",
    allow_remote: bool = False,
    app_id: str | None = None,
    api_key: str | None = None,
) -> int:
    """Run a local server that speaks Algolia's Insights and Recommend APIs, as strictly as they do.

    Writes its address, and ends on Ctrl-C (or SIGTERM). Nothing that it gets leaves this machine.

    ```
    algolia-events sandbox
    ALGOLIA_APP_ID=a ALGOLIA_API_KEY=k algolia-events send events.ndjson --insights-url http://127.0.0.1:8765
    ```

    Args:
        port: Where to listen; 0 takes a free port.
        host: The address to listen on; other machines are served only with --allow-remote.
        allow_remote: Serve other machines too. There is no encryption.
        app_id: The only application ID to accept; any, if not given.
        api_key: The only key to accept; any, if not given. Made up for the occasion: never a real one.
    """
    try:
        server = Sandbox(
            port=port, host=host, allow_remote=allow_remote, app_id=app_id, api_key=api_key, max_kept=_MAX_KEPT
        )
    except ValueError as exc:
        raise UsageError(f"{exc}; --allow-remote says that you mean it") from None
    return asyncio.run(_serve(server))


async def _serve(server: Sandbox) -> int:
    stopped = asyncio.Event()
    async with AsyncExitStack() as stack:
        stack.enter_context(on_stop_signal(stopped.set))
        try:
            await stack.enter_async_context(server)
        except OSError as exc:
            raise UsageError(f"the port cannot be listened on: {exc.strerror}; --port 0 takes a free one") from None
        say(server.url)
        note(f"ALGOLIA_INSIGHTS_URL={server.url} ALGOLIA_RECOMMEND_URL={server.url}")
        note("Ctrl-C ends it")
        await stopped.wait()
    counts = server.counts
    note(f"requests {counts.requests}, events accepted {counts.events}, refused {counts.rejected_events}")
    return OK
