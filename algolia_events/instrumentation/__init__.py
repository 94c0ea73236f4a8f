"""Ready-made hooks: `LoggingHook` writes a line a request, `OpenTelemetryHook` keeps meters (extra `otel`)."""

from typing import Any

from algolia_events.instrumentation._logging import LoggingHook

__all__ = ["LoggingHook", "OpenTelemetryHook"]


def __getattr__(name: str) -> Any:
    # OpenTelemetry is an extra: it is imported when somebody asks for its hook, and not before.
    if name == "OpenTelemetryHook":
        from algolia_events.instrumentation._opentelemetry import OpenTelemetryHook  # noqa: PLC0415

        return OpenTelemetryHook
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
