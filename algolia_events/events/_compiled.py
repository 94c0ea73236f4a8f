"""Compile constructors that accept valid values quickly and explain invalid ones fully.

`attrs` builds a frozen slotted class one `object.__setattr__` a field, and a rule a field is one call more: two
thirds of what an event would cost. The constructor compiled here holds one boolean expression for values of the plain
types that need no conversion. Where it says no, `_settle` runs the rules, the converters of the fields, one by one;
they decide. `tests/test_events_compiled.py` holds the two against each other.
"""

import linecache
import sys
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any, ClassVar, Final, NoReturn, TypeVar, cast

import attrs

from algolia_events import _limits
from algolia_events.errors import InvalidEventError
from algolia_events.events._plain import accelerate
from algolia_events.events._rules import MAX_INT32, MAX_INT64, BrokenRuleError, event_name, non_empty

C = TypeVar("C", bound="Checked")

_BOUND: Final[int] = 10 ** (_limits.MAX_AMOUNT_LENGTH - 1)
_MAX_KNOWN: Final = 1024
_MAX_KNOWN_LENGTH: Final = 256
_known_names: Final[set[str]] = set()
_known_indexes: Final[set[str]] = set()


class Checked:
    """What `checked` asks of a class beyond its fields: rules that hold between them."""

    __slots__ = ()

    fast_rule: ClassVar[str] = "True"
    """An expression over the fields' names, true only where the methods below have nothing to say or to do."""
    small_rule: ClassVar[str] = ""
    """For events: an expression over the fields' names and `size`, the length of what has no bound of its own; true
    only of what takes at most `SMALL_EVENT_BYTES` once it is encoded, and some microseconds until then."""
    plain_will_do: ClassVar[bool] = True
    """For events: whether one is complete with nothing but the fields that have no default."""

    @classmethod
    def judge_together(cls, values: dict[str, Any]) -> Iterator[tuple[str, str]]:  # noqa: ARG003 - for subclasses
        """Yield (path, problem) pairs of fields that do not fit each other.

        A field that is wrong by itself is among the values too, as given or as what remains of it.
        """
        yield from ()

    @classmethod
    def complete(cls, values: dict[str, Any]) -> None:
        """Fill in what fields say for each other, once nothing is wrong with any."""


def _remembers(rule: Callable[[str], str], known: set[str]) -> Callable[[str], bool]:
    """Make the function that tells whether a string keeps a rule, and notes in `known` that it does.

    For names of which an application has few: to find one in a set is quickest.
    """

    def keeps(value: str) -> bool:
        try:
            rule(value)
        except BrokenRuleError:
            return False
        if len(known) < _MAX_KNOWN and len(value) <= _MAX_KNOWN_LENGTH:
            known.add(value)
        return True

    return keeps


def _is_plain_amount(value: object) -> bool:
    """Tell whether a number goes out as it is: at most 16 characters and no exponent. NaN is never within bounds."""
    if type(value) is int:
        return -_BOUND < value < _BOUND
    if type(value) is float and -_BOUND < value < _BOUND:
        digits = repr(value)
        return len(digits) <= _limits.MAX_AMOUNT_LENGTH and "e" not in digits
    return False


# Sorts each byte of a token or a query ID: one pass in C, a third of the time of a regular expression. Deleting the
# legal bytes instead takes longer, since `bytes.translate` then makes its table anew at each call.
_ILLEGAL, _LEGAL, _HEX = 0, 1, 255
_SORTED_BYTES: Final = bytes(
    _HEX if chr(byte) in _limits.QUERY_ID_ALPHABET else _LEGAL if chr(byte) in _limits.USER_TOKEN_ALPHABET else _ILLEGAL
    for byte in range(256)
)
_WIDE: Final = 1 << 30
"""The size of a text beyond ASCII, which takes long to encode."""
_LIST_OR_TUPLE: Final = "((kind := type({0})) is list or kind is tuple)"
_LIST: Final = f"{_LIST_OR_TUPLE} and ({{0}} := tuple({{0}})) and len({{0}}) <= {{1}}"
_QUERY_ID: Final = f"type(query_id) is str and len(query_id) == {_limits.QUERY_ID_LENGTH}"
# One object is what most events are about, and worth a way of its own: a tuple of it costs a third of `tuple()`.
_ONE_OBJECT: Final = (
    "type(only := object_ids[0]) is str and (size := len(only))"
    " and (only.isascii() or only.encode() and (size := WIDE)) and (object_ids := (only,))"
)
_OBJECTS: Final = (
    f"(object_ids := tuple(object_ids)) and len(object_ids) <= {_limits.MAX_OBJECT_IDS} and all(object_ids)"
    " and (size := len(joined := ''.join(object_ids))) and (joined.isascii() or joined.encode() and (size := WIDE))"
)
_MAX_USUAL_POSITION: Final = 100
_ONE_POSITION: Final = (
    f"type(only := positions[0]) is int and (positions := ONE_POSITION[only] if 0 < only <= {_MAX_USUAL_POSITION}"
    " else are_positions((only,)) and (only,))"
)
_OBJECTS_RULE: Final = (
    f"{_LIST_OR_TUPLE.format('object_ids')} and ({_ONE_OBJECT} if len(object_ids) == 1 else {_OBJECTS})"
)
_OBJECTS_AND_POSITIONS_RULE: Final = (
    f"{_LIST_OR_TUPLE.format('object_ids')} and {_LIST_OR_TUPLE.format('positions')}"
    f" and ({_ONE_OBJECT} and {_ONE_POSITION} if len(object_ids) == 1 == len(positions)"
    f" else {_OBJECTS} and (positions := tuple(positions)) and len(positions) == len(object_ids)"
    " and are_positions(positions))"
)
_FAST_RULES: Final = {
    "event_name": "type(event_name) is str and (event_name in known_names or is_event_name(event_name))",
    "index": "type(index) is str and (index in known_indexes or is_index(index))",
    "user_token": "type(user_token) is str and user_token",
    "authenticated_user_token": "type(authenticated_user_token) is str and authenticated_user_token",
    "timestamp": (f"type(timestamp) is int and {_limits.MIN_TIMESTAMP_MS} <= timestamp < {_limits.MAX_TIMESTAMP_MS}"),
    "object_ids": _OBJECTS_RULE,
    "filters": (
        _LIST.format("filters", _limits.MAX_FILTERS) + " and are_filters(filters)"
        " and (size := len(joined) if (joined := ''.join(filters)).isascii() else WIDE)"
    ),
    "positions": "True",  # with the objects
    "query_id": f"{_QUERY_ID} and query_id.encode().translate(SORTED_BYTES) == HEX_DIGITS",
    "object_data": _LIST.format("object_data", _limits.MAX_OBJECT_IDS),
    "currency": "type(currency) is str and len(currency) == 3 and currency.isascii() and currency.isalpha()",
    "value": "is_plain_amount(value)",
    "price": "is_plain_amount(price)",
    "discount": "is_plain_amount(discount)",
    "quantity": f"type(quantity) is int and {-MAX_INT32} <= quantity <= {MAX_INT32}",
    "agent_id": "type(agent_id) is str and agent_id and (agent_id.isascii() or agent_id.encode())",
}
# A token that is None reads "None", which is legal, and costs less than the question whether it is. Both together are
# rarely longer than one may be: then neither needs a look of its own.
_LENGTHS: Final = (
    f"len(user_token) <= {_limits.MAX_USER_TOKEN_LENGTH} and (authenticated_user_token is None"
    f" or len(authenticated_user_token) <= {_limits.MAX_USER_TOKEN_LENGTH})"
)
_TOKENS_RULE: Final = (
    f"{_ILLEGAL} not in (codes := f'{{user_token}}{{authenticated_user_token}}'.encode().translate(SORTED_BYTES))"
    f" and (len(codes) <= {_limits.MAX_USER_TOKEN_LENGTH} or {_LENGTHS})"
)
# In one pass with the query ID. Nothing sorts above a digit, so only digits make the whole no less than digits alone.
_TOKENS_AND_QUERY_ID_RULE: Final = (
    "(codes := f'{query_id}{user_token}{authenticated_user_token}'.encode().translate(SORTED_BYTES)) >= HEX_DIGITS"
    f" and {_ILLEGAL} not in codes"
    f" and (len(codes) <= {_limits.QUERY_ID_LENGTH + _limits.MAX_USER_TOKEN_LENGTH} or {_LENGTHS})"
)


def _are_positions(items: tuple[object, ...]) -> bool:
    return all(type(item) is int and 0 < item <= MAX_INT64 for item in items)


def _are_filters(items: tuple[Any, ...]) -> bool:
    # A colon that is neither first nor last is what splits a pair; more of them change nothing.
    return all(
        type(item) is str and ":" in item[1:-1] and item[0] != ":" and (item.isascii() or item.encode())
        for item in items
    )


def checked(cls: type[C]) -> type[C]:
    """Give a frozen, slotted attrs class whose fields' converters are its rules the compiled constructor.

    The constructor raises `InvalidEventError` with every problem at once.
    """
    fields: tuple[attrs.Attribute[Any], ...] = cast("Any", attrs.fields)(cls)
    defaults = {f"default_{field.name}": field.default for field in fields if field.default is not attrs.NOTHING}
    scope: dict[str, Any] = {
        **vars(sys.modules[cls.__module__]),  # for the names in `fast_rule`
        "cls": cls,
        "settle": _settle,
        "known_names": _known_names,
        "is_event_name": _remembers(event_name, _known_names),
        "known_indexes": _known_indexes,
        "is_index": _remembers(non_empty, _known_indexes),
        "is_plain_amount": _is_plain_amount,
        "are_positions": _are_positions,
        "ONE_POSITION": [(position,) for position in range(_MAX_USUAL_POSITION + 1)],
        "are_filters": _are_filters,
        "WIDE": _WIDE,
        "SORTED_BYTES": _SORTED_BYTES,
        "HEX_DIGITS": bytes([_HEX]) * _limits.QUERY_ID_LENGTH,
        **defaults,
    }
    init = _compile(cls, _source(cls, [field.name for field in fields], defaults), scope)
    init.__doc__ = cls.__init__.__doc__
    init.__annotations__ = cls.__init__.__annotations__
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    init.__module__ = cls.__module__
    cls.__init__ = init  # type: ignore[method-assign]
    _make_read_only(cls, [field.name for field in fields])
    if cls.small_rule:
        accelerate(cls)
    return cls


def _make_read_only(cls: Any, names: list[str]) -> None:
    """Have properties refuse assignment, and not a `__setattr__` that the constructor would have to get past, too.

    It stores into `_name` what `name` reads: both are the same slot. That saves it a sixth of its time, and costs
    whoever reads a field some 20 ns.
    """
    for name in names:
        setattr(cls, f"_{name}", getattr(cls, name))
        setattr(cls, name, property(attrgetter(f"_{name}"), _refuse, _refuse, ""))
    cls.__setattr__, cls.__delattr__ = object.__setattr__, object.__delattr__
    cls.__setstate__ = _restore


def _refuse(*_: object) -> NoReturn:
    raise attrs.exceptions.FrozenInstanceError


def _restore(self: Any, state: dict[str, Any]) -> None:
    """Take in what `attrs` has written down for `copy` and `pickle`."""
    for field in attrs.fields(type(self)):
        if field.name in state:
            setattr(self, f"_{field.name}", state[field.name])
    if self.small_rule:
        self._is_small = False  # nobody has looked


def _source(cls: type[Checked], names: list[str], defaults: dict[str, Any]) -> str:
    parameters = ", ".join(f"{name}=default_{name}" if f"default_{name}" in defaults else name for name in names)
    return "\n".join(
        [
            f"def __init__(self, *, {parameters}):",
            "    try:",
            # A condition is compiled to fewer and quicker steps than a value.
            "        if (",
            "            " + "\n            and ".join(_rules(cls, names, defaults)),
            "        ):",
            f"            is_small = {cls.small_rule or False}",
            "        else:",
            "            is_small = None",
            "    except (AttributeError, IndexError, TypeError, ValueError):",
            "        is_small = None",
            "    if is_small is None:",
            f"        {', '.join(names)}, = settle(cls, {{{', '.join(f'{name!r}: {name}' for name in names)}}})",
            "        is_small = False",
            *(f"    self._{name} = {name}" for name in names),
            *(["    self._is_small = is_small"] if cls.small_rule else []),
            "",
        ]
    )


def _rules(cls: type[Checked], names: list[str], defaults: dict[str, Any]) -> list[str]:
    rules = dict(_FAST_RULES)
    if "positions" in names:
        rules["object_ids"] = _OBJECTS_AND_POSITIONS_RULE
    more = [cls.fast_rule]
    if "user_token" in names and "query_id" in names and "default_query_id" not in defaults:
        rules["query_id"] = _QUERY_ID
        more.append(_TOKENS_AND_QUERY_ID_RULE)
    elif "user_token" in names:
        more.append(_TOKENS_RULE)
    return [
        *(f"({name} is None or {rules[name]})" if f"default_{name}" in defaults else rules[name] for name in names),
        *more,
    ]


def _compile(cls: type, source: str, scope: dict[str, Any]) -> Callable[..., None]:
    filename = f"<compiled constructor of {cls.__module__}.{cls.__qualname__}>"
    exec(compile(source, filename, "exec"), scope)  # noqa: S102 - as attrs does; every part of the source stands above
    # Tracebacks and debuggers find the source here.
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    init: Callable[..., None] = scope["__init__"]
    return init


def _settle(cls: type[Checked], given: dict[str, Any]) -> tuple[Any, ...]:
    """Run every rule over the values given, in the order of the fields, and return what to keep."""
    kept, problems = find_problems(cls, given)
    if problems:
        raise InvalidEventError(cls.__name__, problems)
    return tuple(kept[name] for name in given)


def find_problems(cls: type[Checked], given: dict[str, Any]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Apply the rules of a class to those of its fields that were given.

    Returns what to keep, of use only where there are no problems, and (path, problem) pairs.
    """
    values: dict[str, Any] = {}
    problems: list[tuple[str, str]] = []
    for field in cast("Any", attrs.fields)(cls):
        if field.name not in given:
            continue
        try:
            values[field.name] = field.converter(given[field.name])
        except BrokenRuleError as exc:
            values[field.name] = given[field.name] if exc.remains is None else exc.remains
            problems += [(field.name + path, what) for path, what in exc.problems]
    problems += cls.judge_together(values)
    if not problems:
        cls.complete(values)
    return values, problems
