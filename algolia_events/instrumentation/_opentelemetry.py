"""Meters in OpenTelemetry's manner. Without an SDK the API's meters do nothing, and so does this hook."""

from collections.abc import Callable, Iterable
from typing import Final

from opentelemetry import context, metrics

from algolia_events._version import __version__
from algolia_events.abc import Hook
from algolia_events.reports import DropReason, QueueStats

_SUPPRESS: Final = ("suppress_instrumentation", "suppress_http_instrumentation")
"""The keys that OpenTelemetry's instrumentations of HTTP clients look for in the context."""


class OpenTelemetryHook(Hook):
    """Keeps four meters, named after those of OpenTelemetry's own batch processors.

    - `algolia_events.queue.size` {event}: waiting or in flight
    - `algolia_events.queue.capacity` {event}: the bound
    - `algolia_events.processed` {event}: by `error.type`, which is absent for those that were accepted, a drop's
      reason ("queue_full"), or the status of a refusal ("422")
    - `algolia_events.batch.duration` s: of a request, by `algolia_events.result`

    The requests of the background task are hidden from instrumentations of aiohttp: they are no part of any request
    of the application, and telemetry that reports on itself has no end.
    """

    def __init__(self, meter_provider: metrics.MeterProvider | None = None) -> None:
        meter = metrics.get_meter("algolia_events", __version__, meter_provider)
        self._meter = meter
        self._processed = meter.create_counter(
            "algolia_events.processed", unit="{event}", description="Events whose fate is known, by error.type"
        )
        self._duration = meter.create_histogram(
            "algolia_events.batch.duration", unit="s", description="From a request's start to its verdict"
        )

    def attached(self, stats: Callable[[], QueueStats], max_events: int) -> None:
        """Watch a queue's size."""

        def size(_: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
            yield metrics.Observation(stats().pending)

        def capacity(_: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
            yield metrics.Observation(max_events)

        self._meter.create_observable_up_down_counter(
            "algolia_events.queue.size", [size], unit="{event}", description="Events waiting or in flight"
        )
        self._meter.create_observable_up_down_counter(
            "algolia_events.queue.capacity", [capacity], unit="{event}", description="The bound of the queue"
        )

    def background(self) -> None:
        """Hide the requests of the background task from instrumentations."""
        hidden = context.get_current()
        for key in _SUPPRESS:
            hidden = context.set_value(key, True, hidden)  # noqa: FBT003 - OpenTelemetry's signature
        context.attach(hidden)

    def dropped(self, reason: DropReason, count: int) -> None:
        """Count events that were given up."""
        self._processed.add(count, {"error.type": str(reason)})

    def batch_settled(self, events: int, result: str, seconds: float) -> None:
        """Time an attempt, and count what was accepted."""
        self._duration.record(seconds, {"algolia_events.result": result})
        if result == "accepted":
            self._processed.add(events)

    def rejected(self, event: bytes, status: int, message: str) -> None:  # noqa: ARG002 - the hook's signature
        """Count a refusal; the words would make a series each."""
        self._processed.add(1, {"error.type": str(status)})
