"""The way past the rules, for fields that the server knows and this library does not."""

import json
from collections.abc import Mapping
from typing import Any, Final, NoReturn, final

import attrs

from algolia_events import _limits
from algolia_events.errors import InvalidEventError
from algolia_events.events._kinds import Event
from algolia_events.events._rules import kind_of

_STAMP_LENGTH: Final = len(f',"timestamp":{_limits.MAX_TIMESTAMP_MS}')


def _written(fields: Mapping[str, Any]) -> str:
    if not isinstance(fields, Mapping):
        _refuse(f"expected a mapping, got {kind_of(fields)}")
    given = {name: value for name, value in fields.items() if not (name == "timestamp" and value is None)}
    try:
        # Written out now: what the caller does to the mapping later changes nothing.
        text = json.dumps(given, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        text.encode()
    except RecursionError:
        _refuse("is nested too deeply, or holds itself")
    except UnicodeEncodeError:
        _refuse("holds a lone surrogate, which UTF-8 cannot carry")
    except (TypeError, ValueError) as exc:
        _refuse(
            f"is not JSON ({type(exc).__name__}): only strings, finite numbers, booleans, None, lists and dicts are"
        )
    return text if text.isascii() else json.dumps(given, allow_nan=False, separators=(",", ":"))


def _refuse(problem: str) -> NoReturn:
    raise InvalidEventError("RawEvent", [("fields", problem)]) from None


@final
@attrs.frozen
class RawEvent(Event):
    """A mapping sent to the server as it is, unchecked, with a timestamp put in where it has none.

    The server refuses a whole request for one event that it dislikes; the queue finds out which, at a price.

    Raises:
        InvalidEventError: it is not a mapping, or JSON cannot hold it.
    """

    text: str = attrs.field(converter=_written, alias="fields")
    """The mapping as one line of ASCII JSON."""
    user_token: str | None = attrs.field(init=False)
    """The mapping's `userToken` where it is a string."""
    timestamp: int | None = attrs.field(init=False)
    """The mapping's `timestamp` where it is an integer; None when the queue puts it in."""
    stamped: bool = attrs.field(init=False)
    """Whether the mapping has a `timestamp` of whatever kind."""

    def __attrs_post_init__(self) -> None:
        fields = json.loads(self.text)
        token, timestamp = fields.get("userToken"), fields.get("timestamp")
        object.__setattr__(self, "user_token", token if isinstance(token, str) else None)
        object.__setattr__(self, "timestamp", timestamp if type(timestamp) is int else None)
        object.__setattr__(self, "stamped", "timestamp" in fields)

    @property
    def _is_small(self) -> bool:  # type: ignore[override]
        return len(self.text) <= _limits.SMALL_EVENT_BYTES - _STAMP_LENGTH

    @property
    def _timestamp(self) -> int | None:  # type: ignore[override]
        return self.timestamp
