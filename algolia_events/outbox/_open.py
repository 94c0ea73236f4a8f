"""Choose an outbox by its address."""

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from algolia_events.abc import InspectableOutbox
from algolia_events.errors import ConfigurationError
from algolia_events.outbox._sqlite import SQLiteOutbox

_SQLITE_OPTIONS: Final[dict[str, Callable[[str], Any]]] = {"synchronous": str, "max_bytes": int}
_REDIS_OPTIONS: Final[dict[str, Callable[[str], Any]]] = {"stream": str, "group": str, "max_bytes": int}


def open_outbox(url: str) -> InspectableOutbox:
    """Make the outbox that a URL names; nothing is opened yet.

    `sqlite:///events.db` is a file in the working directory, `sqlite:////var/lib/shop/events.db` one with an absolute
    path, each with `?synchronous=full&max_bytes=…` where wanted. `redis://`, `rediss://` (TLS) and `unix://` are
    redis-py's own, with `stream`, `group` and `max_bytes` besides.

    Raises:
        ConfigurationError: the URL is none of these, or redis-py is missing. It never quotes the URL, which may hold a
            password.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # whose words hold the password
        raise ConfigurationError(
            "the outbox's address cannot be read: special characters in its name and password, such as [ and ],"
            " have to be percent-encoded"
        ) from None
    if parts.scheme == "sqlite":
        return _sqlite(parts)
    if parts.scheme in {"redis", "rediss", "unix"}:
        return _redis(parts)
    raise ConfigurationError("an outbox is sqlite:///path, redis://host, rediss://host or unix:///path")


def _sqlite(parts: SplitResult) -> SQLiteOutbox:
    path = unquote(parts.path.removeprefix("/"))
    if parts.netloc or not path:
        raise ConfigurationError("an SQLite outbox is sqlite:///relative/path or sqlite:////absolute/path")
    options, others = _options(parts.query, _SQLITE_OPTIONS)
    if others:
        raise ConfigurationError(f"the address of an SQLite outbox takes only {' and '.join(_SQLITE_OPTIONS)}")
    return SQLiteOutbox(path, **options)


def _redis(parts: SplitResult) -> InspectableOutbox:
    try:
        from algolia_events.outbox._redis import RedisOutbox  # noqa: PLC0415 - redis-py is an extra
    except ImportError as exc:
        raise ConfigurationError("a Redis outbox needs redis-py: pip install algolia-events[redis]") from exc
    options, others = _options(parts.query, _REDIS_OPTIONS)
    return RedisOutbox(parts._replace(query=urlencode(others)).geturl(), **options)


def _options(query: str, known: dict[str, Callable[[str], Any]]) -> tuple[dict[str, Any], dict[str, str]]:
    """Sort a URL's parameters into ours, converted, and those of others."""
    given = dict(parse_qsl(query))
    try:
        ours = {name: known[name](value) for name, value in given.items() if name in known}
    except ValueError:
        raise ConfigurationError("max_bytes in the outbox's address must be a whole number") from None
    return ours, {name: value for name, value in given.items() if name not in known}
