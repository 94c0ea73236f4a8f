"""The rules for single fields: each a converter that returns the value to keep, or names what is wrong with it.

They are the definition. `_compiled` takes a short cut past them for values of the plain types that have nothing to
convert. A problem speaks of kinds, lengths and places, never of the value: values are tokens and content of events.
"""

import datetime as dt
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from itertools import islice
from typing import Any, Final, TypeVar

from algolia_events import _limits

T = TypeVar("T")

MAX_INT64: Final = 2**63 - 1
MAX_INT32: Final = 2**31 - 1
MAX_NAMED_ITEMS: Final = 20
"""How many wrong items of one list are named: a hostile list must not become a hostile message."""
_MOST_READ: Final = 10_000
"""How many items of one list are looked at."""

_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MILLISECOND: Final = dt.timedelta(milliseconds=1)
_NOT_IN_NAME: Final = re.compile(r"[^\x20-\x7e]")
_NOT_IN_TOKEN: Final = re.compile(f"[^{re.escape(_limits.USER_TOKEN_ALPHABET)}]")
_SEARCH_QUERY_ID: Final = re.compile(f"[{_limits.QUERY_ID_ALPHABET}]{{{_limits.QUERY_ID_LENGTH}}}")
_MESSAGE_QUERY_ID: Final = re.compile(_limits.MESSAGE_QUERY_ID_PREFIX + "[!-~]+")
_CURRENCY: Final = re.compile("[A-Za-z]{3}")
_KINDS: Final[tuple[tuple[Any, str], ...]] = (
    (type(None), "null"),
    (bool, "boolean"),  # before the numbers, of which it is one
    (int | float | Decimal, "number"),
    (str, "string"),
    (list | tuple, "array"),
    (Mapping, "object"),
)


class BrokenRuleError(ValueError):
    """What is wrong with one value: (path below the field, text) pairs, the path empty for the field itself.

    `remains` is what the rules between fields can still ask of the value, where that is not the value as given.
    """

    def __init__(self, *problems: tuple[str, str], remains: Any = None) -> None:
        super().__init__("; ".join(text for _, text in problems))
        self.problems = problems
        self.remains = remains


def broken(text: str) -> BrokenRuleError:
    """Say what is wrong with the value itself."""
    return BrokenRuleError(("", text))


def kind_of(value: object) -> str:
    """Name the kind of a value in the words that Algolia's server uses."""
    for kinds, name in _KINDS:
        if isinstance(value, kinds):
            return name
    return type(value).__name__


def shown(name: object) -> str:
    """Make a name from outside fit for a message: ASCII, short, whatever it was."""
    text = str.__str__(name) if isinstance(name, str) else kind_of(name)
    return ascii(text)[1:-1] if len(text) <= _limits.MAX_EVENT_NAME_LENGTH else f"(a name of {len(text)} characters)"


def text(value: str) -> str:
    """Keep a string that UTF-8 can carry, a subclass of `str` as plain `str`."""
    if not isinstance(value, str):
        raise broken(f"expected string, got {kind_of(value)}")
    plain = str.__str__(value)
    try:
        plain.encode()
    except UnicodeEncodeError as exc:
        raise broken(f"holds a lone surrogate at position {exc.start}, which UTF-8 cannot carry") from None
    return plain


def non_empty(value: str) -> str:
    """Keep a string of at least one character."""
    plain = text(value)
    if not plain:
        raise broken("is empty; give at least one character")
    return plain


def event_name(value: str) -> str:
    """Keep 1 to 64 visible ASCII characters, spaces among them."""
    plain = _of_length(non_empty(value), _limits.MAX_EVENT_NAME_LENGTH)
    if found := _NOT_IN_NAME.search(plain):
        raise broken(f"may hold visible ASCII characters and spaces only, unlike the one at position {found.start()}")
    return plain


def user_token(value: str) -> str:
    """Keep 1 to 128 characters of the alphabet of tokens."""
    plain = _of_length(non_empty(value), _limits.MAX_USER_TOKEN_LENGTH)
    if found := _NOT_IN_TOKEN.search(plain):
        raise broken(
            f"may hold letters, digits and _=/+- only, unlike the one at position {found.start()};"
            " pseudonymous_user_token() makes a legal token of any user id"
        )
    return plain


def search_query_id(value: str) -> str:
    """Keep the query ID of a search."""
    plain = text(value)
    if not _SEARCH_QUERY_ID.fullmatch(plain):
        raise broken(_describe_query_id(plain))
    return plain


def query_id(value: str) -> str:
    """Keep the query ID of a search, or of a message of an agent (`message_...`)."""
    plain = text(value)
    if _MESSAGE_QUERY_ID.fullmatch(plain):
        return _of_length(plain, _limits.MAX_MESSAGE_QUERY_ID_LENGTH)
    if not _SEARCH_QUERY_ID.fullmatch(plain):
        raise broken(_describe_query_id(plain))
    return plain


def _describe_query_id(plain: str) -> str:
    wanted = f"must be {_limits.QUERY_ID_LENGTH} hexadecimal digits in lower case, as `queryID` of an answer has them"
    if len(plain) != _limits.QUERY_ID_LENGTH:
        return f"{wanted}; this has {len(plain)} characters"
    if _SEARCH_QUERY_ID.fullmatch(plain.lower()):
        return f"{wanted}; this has upper case"
    return f"{wanted}; this has other characters"


def _of_length(plain: str, most: int) -> str:
    if len(plain) > most:
        raise broken(f"has {len(plain)} characters; at most {most} are allowed")
    return plain


def currency(value: str) -> str:
    """Keep a currency code of three letters."""
    plain = text(value)
    if not _CURRENCY.fullmatch(plain):
        raise broken("must be three letters, as in ISO 4217: EUR")
    return plain


def timestamp(value: int | dt.datetime) -> int:
    """Keep milliseconds since 1970; an aware `datetime` becomes that."""
    if isinstance(value, dt.datetime):
        if value.utcoffset() is None:
            raise broken("is a datetime without a time zone; use datetime.now(timezone.utc) or add tzinfo")
        value = (value - _EPOCH) // _MILLISECOND
    if isinstance(value, float):
        raise broken("expected integer milliseconds, got number with a fraction; use int(seconds * 1000)")
    number = whole(value)
    if number < _limits.MIN_TIMESTAMP_MS:
        raise broken("looks like seconds; give milliseconds since 1970, as in int(time.time() * 1000)")
    if number >= _limits.MAX_TIMESTAMP_MS:
        raise broken("looks like microseconds or nanoseconds; give milliseconds since 1970")
    return number


def position(value: int) -> int:
    """Keep a rank, counted from 1 over all pages."""
    number = whole(value)
    if number < 1:
        raise broken("must be 1 or more; the first hit of the first page is at 1")
    return _within(number, MAX_INT64)


def quantity(value: int) -> int:
    """Keep a whole number of 32 bits."""
    return _within(whole(value), MAX_INT32)


def whole(value: int) -> int:
    """Keep an `int`, or what stands for one in indexing (an `IntEnum`, NumPy's integers); no `bool`."""
    if isinstance(value, bool) or not hasattr(type(value), "__index__"):
        raise broken(f"expected integer, got {kind_of(value)}")
    return operator.index(value)


def _within(number: int, most: int) -> int:
    if not -most <= number <= most:
        raise broken(f"must be at most {most}")
    return number


def object_ids(value: Iterable[str]) -> tuple[str, ...]:
    """Keep 1 to 20 object IDs."""
    return each(value, non_empty, most=_limits.MAX_OBJECT_IDS)


def positions(value: Iterable[int]) -> tuple[int, ...]:
    """Keep 1 to 20 positions."""
    return each(value, position, most=_limits.MAX_OBJECT_IDS)


def filters(value: Iterable[str]) -> tuple[str, ...]:
    """Keep 1 to 20 filters."""
    return each(value, filter_pair, most=_limits.MAX_FILTERS)


def filter_pair(value: str) -> str:
    """Keep `attribute:value`. Whether both are percent-encoded cannot be told from outside."""
    plain = non_empty(value)
    attribute, colon, wanted = plain.partition(":")
    if not (attribute and colon and wanted):
        raise broken("must be attribute:value with neither part empty; filter_(attribute, value) builds one")
    return plain


def each(value: Iterable[Any], rule: Callable[[Any], T], *, most: int) -> tuple[T, ...]:
    """Keep a list of 1 to `most` items, each as `rule` keeps it; wrong ones are named by their place.

    Of a wrong list a tuple as long as what was read of it remains, with what remains of each wrong item.
    """
    if isinstance(value, str | bytes | bytearray | Mapping) or not isinstance(value, Iterable):
        raise broken(f"expected array, got {kind_of(value)}; write [item] for a single one")
    items = tuple(islice(value, _MOST_READ + 1))  # an iterator may have no end
    problems: list[tuple[str, str]] = []
    if not 0 < len(items) <= most:
        count = len(items) if len(items) <= _MOST_READ else f"more than {_MOST_READ}"
        way_out = "; split() cuts longer lists into several events" if items else ""
        problems.append(("", f"holds {count} items; 1 to {most} are allowed{way_out}"))
    kept: list[Any] = []
    for place, item in enumerate(items):
        try:
            kept.append(rule(item))
        except BrokenRuleError as exc:
            kept.append(exc.remains)
            problems += [(f"[{place}]{path}", what) for path, what in exc.problems]
        if len(problems) > MAX_NAMED_ITEMS:
            break
    if problems:
        unread = (None,) * (len(items) - len(kept))
        raise BrokenRuleError(*problems[:MAX_NAMED_ITEMS], remains=(*kept, *unread))
    return tuple(kept)


def optional_user_token(value: str | None) -> str | None:
    """As `user_token`, or None."""
    return None if value is None else user_token(value)


def optional_timestamp(value: int | dt.datetime | None) -> int | None:
    """As `timestamp`, or None for the time at which the event is tracked."""
    return None if value is None else timestamp(value)


def optional_search_query_id(value: str | None) -> str | None:
    """As `search_query_id`, or None."""
    return None if value is None else search_query_id(value)


def optional_currency(value: str | None) -> str | None:
    """As `currency`, or None."""
    return None if value is None else currency(value)


def optional_quantity(value: int | None) -> int | None:
    """As `quantity`, or None."""
    return None if value is None else quantity(value)


def optional_non_empty(value: str | None) -> str | None:
    """As `non_empty`, or None."""
    return None if value is None else non_empty(value)


def user_token_problems(value: str, name: str) -> list[tuple[str, str]]:
    """Say what is wrong with a user token that stands outside an event, as (name, problem) pairs."""
    try:
        user_token(value)
    except BrokenRuleError as exc:
        return [(name, what) for _, what in exc.problems]
    return []
