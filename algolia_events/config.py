"""Options: frozen values that are passed in, checked when they are made."""

import math
from collections.abc import Iterable, Mapping
from datetime import timedelta
from ipaddress import ip_address
from typing import Any, Final, Literal, get_args
from urllib.parse import urlsplit

import attrs

from algolia_events import _limits
from algolia_events.errors import ConfigurationError

Overflow = Literal["drop-newest", "drop-oldest", "raise"]
OnAmbiguous = Literal["retry", "drop"]

INSIGHTS_URLS: Final[Mapping[str | None, str]] = {
    None: "https://insights.algolia.io",
    "us": "https://insights.us.algolia.io",
    "de": "https://insights.de.algolia.io",
}
"""The Insights hosts by analytics region; None is the nearest (Insights spec, `servers`)."""


def seconds(value: float | timedelta) -> float:
    """Turn a duration into seconds."""
    return value.total_seconds() if isinstance(value, timedelta) else value


def limit_seconds(timeout: float | timedelta) -> float:
    """Turn the time limit of a call into seconds; infinity is none, what is negative is over.

    Raises:
        ConfigurationError: it is neither a number nor a `timedelta`.
    """
    limit: object = seconds(timeout)
    if not isinstance(limit, int | float) or isinstance(limit, bool) or math.isnan(limit):
        raise _fail("timeout", timeout, "a number of seconds or a timedelta")
    return limit


def _fail(name: str, value: object, wanted: str) -> ConfigurationError:
    return ConfigurationError(f"{name} must be {wanted}, not {value!r}")


def _whole(low: int, high: int | None = None) -> Any:
    wanted = f"a whole number of at least {low}" + ("" if high is None else f" and at most {high}")

    def check(_: object, attribute: "attrs.Attribute[int]", value: object) -> None:
        if type(value) is not int or value < low or (high is not None and value > high):
            raise _fail(attribute.name, value, wanted)

    return check


def _duration(low: float = 0.0, *, zero: bool = True) -> Any:
    wanted = f"a finite number of seconds, {low:g} or more" if zero else "a finite number of seconds above 0"

    def check(_: object, attribute: "attrs.Attribute[float]", value: object) -> None:
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not number or value < low or (value == 0 and not zero):  # type: ignore[operator]
            raise _fail(attribute.name, value, wanted)

    return check


def _one_of(choices: object) -> Any:
    allowed = get_args(choices)

    def check(_: object, attribute: "attrs.Attribute[str]", value: object) -> None:
        if value not in allowed:
            raise _fail(attribute.name, value, "one of " + ", ".join(map(repr, allowed)))

    return check


def _flag(_: object, attribute: "attrs.Attribute[bool]", value: object) -> None:
    if not isinstance(value, bool):
        raise _fail(attribute.name, value, "True or False")


@attrs.frozen(kw_only=True)
class QueueOptions:
    """How much the queue holds and when it sends. Durations are seconds or `timedelta`.

    Raises:
        ConfigurationError: a value is of the wrong type or out of range; the message names it.
    """

    max_events: int = attrs.field(default=100_000, validator=_whole(1))
    """Events held at most, those in flight included."""
    max_bytes: int = attrs.field(default=64 * 1024 * 1024, validator=_whole(1))
    """Bytes of encoded events held at most, those in flight included."""
    batch_events: int = attrs.field(default=1000, validator=_whole(1, _limits.MAX_EVENTS_PER_REQUEST))
    """Events in a request at most. A group that another process has stored in an outbox leaves whole."""
    batch_bytes: int = attrs.field(default=1_900_000, validator=_whole(1, _limits.MAX_REQUEST_BYTES - 1))
    """Bytes of a request's body, envelope included, that a batch aims to stay within. One event that is larger
    goes alone, as long as the server's limit allows it."""
    linger: float = attrs.field(default=1.0, converter=seconds, validator=_duration())
    """How long the first event of a batch waits for company."""
    in_flight: int = attrs.field(default=4, validator=_whole(1))
    """Requests under way at once."""
    overflow: Overflow = attrs.field(default="drop-newest", validator=_one_of(Overflow))
    """What gives way when the queue is full."""
    max_event_age: float = attrs.field(
        default=_limits.MAX_EVENT_AGE, converter=seconds, validator=_duration(zero=False)
    )
    """An event older than this when its turn comes is dropped as expired."""
    shutdown_timeout: float = attrs.field(default=10.0, converter=seconds, validator=_duration())
    """What `aclose()` and `async with` allow when no timeout is given."""
    strict: bool = attrs.field(default=False, validator=_flag)
    """Whether `track()` raises `InvalidEventError` for an invalid mapping, rather than counting it as dropped."""
    on_ambiguous: OnAmbiguous = attrs.field(default="retry", validator=_one_of(OnAmbiguous))
    """What happens to a batch whose request broke after bytes had left: a second request may count it twice
    (it is counted in `possible_duplicates`), none may lose it (dropped as ambiguous)."""


@attrs.frozen(kw_only=True)
class RetryOptions:
    """How long an attempt may take and how long to wait between two. Durations are seconds or `timedelta`.

    Raises:
        ConfigurationError: a value is of the wrong type or out of range; the message names it.
    """

    attempt_timeout: float = attrs.field(default=10.0, converter=seconds, validator=_duration(zero=False))
    """For one request from the connection to the last byte of its answer."""
    connect_timeout: float = attrs.field(default=2.0, converter=seconds, validator=_duration(zero=False))
    """For the connection, the handshake included."""
    read_timeout: float = attrs.field(default=5.0, converter=seconds, validator=_duration(zero=False))
    """Between two pieces of an answer."""
    backoff_base: float = attrs.field(default=0.5, converter=seconds, validator=_duration(zero=False))
    """The most that the first pause lasts; it doubles with each failure in a row, and each pause is drawn evenly
    between 0 and that (full jitter)."""
    backoff_cap: float = attrs.field(default=60.0, converter=seconds, validator=_duration(zero=False))
    """The most that any such pause lasts."""
    max_retry_after: float = attrs.field(default=3600.0, converter=seconds, validator=_duration())
    """The longest pause that a server may ask for; what it asks beyond is cut to this."""
    probe_interval: float = attrs.field(default=60.0, converter=seconds, validator=_duration(zero=False))
    """Between two requests while credentials, an address or a certificate are wrong."""


def options_in(environ: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """Find the options with these names that an environment sets: `ALGOLIA_APP_ID` is `app_id`."""
    values = {name: environ.get(_variable(name)) for name in names}
    return {name: value for name, value in values.items() if value}


def require_options(options: Mapping[str, object], names: Iterable[str]) -> None:
    """Raise `ConfigurationError` with the variables that are missing, where options with these names are."""
    missing = [_variable(name) for name in names if name not in options]
    if missing:
        raise ConfigurationError(f"the environment lacks {' and '.join(missing)}")


def _variable(option: str) -> str:
    return f"ALGOLIA_{option.upper()}"


def insights_url_for(region: str | None, url: str | None) -> str:
    """Find the address of the Insights API: `url` where given, else the region's.

    Raises:
        ConfigurationError: the region is unknown, or the address is not one to send credentials to.
    """
    if region not in INSIGHTS_URLS:
        raise _fail("region", region, "'us', 'de' or None for the nearest")
    return INSIGHTS_URLS[region] if url is None else checked_url("insights_url", url)


def checked_url(name: str, url: str) -> str:
    """Return an address without its trailing slash, once it is known to be https, or on this machine.

    Raises:
        ConfigurationError: it is something else; the key would travel in the clear, or not at all.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except (ValueError, AttributeError, TypeError):
        raise ConfigurationError(f"{name} is not an address") from None
    if not host or port == 0 or parts.query or parts.fragment or parts.username is not None:
        raise ConfigurationError(f"{name} must be https://host[:port][/path], without credentials, query or fragment")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        raise ConfigurationError(f"{name} must be https: only this machine is spoken to without, and {host} is not it")
    return url.rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def checked_credentials(app_id: object, api_key: object) -> tuple[str, str]:
    """Return both, once they are known to be fit for a header.

    Raises:
        ConfigurationError: one is empty, no string, or holds what a header cannot; its value is not shown.
    """
    return _header_value("app_id", app_id), _header_value("api_key", api_key)


def _header_value(name: str, value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ConfigurationError(f"{name} must be a non-empty string")
    if not value.isascii() or not value.isprintable() or " " in value:
        raise ConfigurationError(f"{name} holds a character that has no place in a header")
    return value
