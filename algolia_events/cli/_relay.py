"""`algolia-events relay`: sends what other processes have stored."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any

from cyclopts import Parameter, validators

from algolia_events.cli import _options
from algolia_events.cli._console import NOT_ALL_WELL, OK, OutputError, note, say_json
from algolia_events.cli._outbox_options import Outbox
from algolia_events.cli._signals import on_stop_signal
from algolia_events.config import QueueOptions
from algolia_events.errors import OutboxError
from algolia_events.relay import Relay

_Seconds = Annotated[float, Parameter(validator=validators.Number(gt=0))]


def relay(  # noqa: D417 - `_options` describes what several commands have
    *,
    outbox: Outbox = None,
    in_flight: Annotated[int, Parameter(validator=validators.Number(gte=1))] = 4,
    timeout: _Seconds = 10.0,
    stats_interval: _Seconds | None = None,
    region: _options.Region = None,
    insights_url: _options.InsightsUrl = None,
) -> int:
    """Send what other processes have stored in an outbox.

    Any number of relays may work on one outbox; what one of them held when it died, another sends. SIGTERM and Ctrl-C
    end it once the requests under way are answered; SIGUSR1 has it write a line of figures to the standard output.

    ```
    algolia-events relay --outbox sqlite:////var/lib/shop/events.db
    ALGOLIA_OUTBOX=redis://queue.internal/0 algolia-events relay --stats-interval 60
    ```

    Args:
        in_flight: Requests under way at once.
        timeout: How many seconds to wait for answers when it ends.
        stats_interval: Write a line of figures every so many seconds.
    """
    options = _options.given(outbox=outbox, region=region, insights_url=insights_url)
    queue = QueueOptions(in_flight=in_flight, shutdown_timeout=timeout)
    return asyncio.run(_run(Relay.from_env(queue=queue, **options), stats_interval))


async def _run(worker: Relay, interval: float | None) -> int:
    stopped = asyncio.Event()
    with on_stop_signal(stopped.set), _on_stats_signal(worker):
        await worker.start()
        note(f"the relay works; {'it is well' if worker.health().ok else worker.health().reason}")
        while not stopped.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(interval):
                    await stopped.wait()
            if not stopped.is_set():
                _tell(worker)
        try:
            stats = await worker.aclose()
        except OutboxError as exc:
            note(f"algolia-events: {exc}")
            return NOT_ALL_WELL
    _tell(worker)
    return OK if not stats.in_flight else NOT_ALL_WELL


@contextmanager
def _on_stats_signal(worker: Relay) -> Iterator[None]:
    """Write figures on SIGUSR1, where there is such a signal."""
    loop = asyncio.get_running_loop()
    number = getattr(signal, "SIGUSR1", None)
    if number is None:
        yield
        return
    loop.add_signal_handler(number, _tell, worker)
    try:
        yield
    finally:
        loop.remove_signal_handler(number)


def _tell(worker: Relay) -> None:
    """Write the figures; where they cannot be written, events are sent all the same."""
    try:
        say_json(_figures(worker))
    except OutputError as exc:
        note(f"algolia-events: {exc}")


def _figures(worker: Relay) -> dict[str, Any]:
    """What monitoring reads, and people can."""
    stats, health = worker.stats(), worker.health()
    return {
        "claimed": stats.claimed,
        "accepted": stats.accepted,
        "rejected": stats.rejected,
        "dropped": {str(reason): count for reason, count in stats.dropped.items()},
        "given_back": stats.given_back,
        "in_flight": stats.in_flight,
        "health": str(health.state),
        "reason": health.reason,
    }
