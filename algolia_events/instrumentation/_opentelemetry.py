"""Meters in OpenTelemetry's manner. Without an SDK the API's meters do nothing, and so does this hook."""

import itertools
import threading
import weakref
from collections.abc import Callable, Iterable
from types import MethodType
from typing import Final

import attrs
from opentelemetry import context, metrics

from algolia_events._version import __version__
from algolia_events.abc import Hook
from algolia_events.reports import DropReason, QueueStats

_SUPPRESS: Final = ("suppress_instrumentation", "suppress_http_instrumentation")
"""The keys that OpenTelemetry's instrumentations of HTTP clients look for in the context."""
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
"""Those of `http.client.request.duration` in OpenTelemetry's semantic conventions. An SDK's own are meant for
milliseconds: of its buckets, nearly every request would be in the first."""


@attrs.frozen
class _Queue:
    """A queue that is watched, without keeping it alive."""

    reference: Callable[[], Callable[[], QueueStats] | None]
    """Finds what takes its counters; None once the queue is gone."""
    capacity: int
    attributes: dict[str, str]


class _Gauges:
    """The observable meters of one meter provider: an SDK keeps the first of a name, so all queues share them."""

    def __init__(self, meter: metrics.Meter) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._queues: list[_Queue] = []
        meter.create_observable_up_down_counter(
            "algolia_events.queue.size", [self._sizes], unit="{event}", description="Events waiting or in flight"
        )
        meter.create_observable_up_down_counter(
            "algolia_events.queue.capacity", [self._capacities], unit="{event}", description="The bound of the queue"
        )

    def watch(self, stats: Callable[[], QueueStats], capacity: int) -> None:
        """Observe a queue for as long as it lives."""
        reference = weakref.WeakMethod(stats) if isinstance(stats, MethodType) else lambda: stats
        with self._lock:
            name = f"algolia_events/{next(self._numbers)}"
            self._queues.append(_Queue(reference, capacity, {"otel.component.name": name}))

    def _alive(self) -> list[tuple[_Queue, QueueStats]]:
        with self._lock:
            self._queues = [queue for queue in self._queues if queue.reference() is not None]
            queues = tuple(self._queues)
        return [(queue, take_stats()) for queue in queues if (take_stats := queue.reference()) is not None]

    def _sizes(self, _: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        return [metrics.Observation(stats.pending, queue.attributes) for queue, stats in self._alive()]

    def _capacities(self, _: metrics.CallbackOptions) -> Iterable[metrics.Observation]:
        return [metrics.Observation(queue.capacity, queue.attributes) for queue, _ in self._alive()]


class _Global:
    """Stands for the global meter provider, whichever it is."""


_GLOBAL: Final = _Global()
_gauges: Final[weakref.WeakKeyDictionary[metrics.MeterProvider | _Global, _Gauges]] = weakref.WeakKeyDictionary()


def _gauges_of(provider: metrics.MeterProvider, meter: metrics.Meter) -> _Gauges:
    """Find the gauges of a provider, or make them; the global one may stand in at first for the one to come."""
    keys: list[metrics.MeterProvider | _Global] = [provider]
    if provider is metrics.get_meter_provider():
        keys.append(_GLOBAL)
    gauges = next((_gauges[key] for key in keys if key in _gauges), None) or _Gauges(meter)
    for key in keys:
        _gauges.setdefault(key, gauges)
    return gauges


class OpenTelemetryHook(Hook):
    """Keeps four meters, named after those of OpenTelemetry's own batch processors.

    - `algolia_events.queue.size` {event}: waiting or in flight, by `otel.component.name`, "algolia_events/0" for the
      first queue that the meter provider sees
    - `algolia_events.queue.capacity` {event}: the bound, likewise
    - `algolia_events.processed` {event}: by `error.type`, which is absent for those that were accepted, a drop's
      reason ("queue_full"), or the status of a refusal ("422")
    - `algolia_events.batch.duration` s: of a request, by `algolia_events.result`

    The requests of the background task are hidden from instrumentations of aiohttp: they are no part of any request
    of the application, and telemetry that reports on itself has no end.
    """

    def __init__(self, meter_provider: metrics.MeterProvider | None = None) -> None:
        provider = meter_provider or metrics.get_meter_provider()
        meter = metrics.get_meter("algolia_events", __version__, provider)
        self._gauges = _gauges_of(provider, meter)
        self._processed = meter.create_counter(
            "algolia_events.processed", unit="{event}", description="Events whose fate is known, by error.type"
        )
        self._duration = meter.create_histogram(
            "algolia_events.batch.duration",
            unit="s",
            description="From a request's start to its verdict",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )

    def attached(self, stats: Callable[[], QueueStats], max_events: int) -> None:
        """Watch a queue's size."""
        self._gauges.watch(stats, max_events)

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
