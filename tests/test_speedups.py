"""What the extension builds and writes is what Python builds and writes; what it does not know, it hands on."""

import gc
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs
import pytest
from event_strategies import ODD_VALUES, VALID_EVENTS, kinds_and_fields
from hypothesis import given
from hypothesis import strategies as st

from algolia_events import events
from algolia_events._codec import ENCODERS
from algolia_events._codec._encode import encoder_in_python
from algolia_events._native import speedups
from algolia_events.errors import InvalidEventError
from algolia_events.events import (
    ClickedObjectIDs,
    ClickedObjectIDsAfterSearch,
    ConvertedObjectIDs,
    TypedEvent,
)

LEFT_OUT = "ALGOLIA_EVENTS_NO_EXTENSIONS"
SEARCHED: dict[str, Any] = {
    "event_name": "Product Clicked",
    "index": "products",
    "user_token": "anonymous-1",
    "authenticated_user_token": "user-1",
    "timestamp": 1_750_000_000_000,
    "object_ids": ["sku-1"],
    "positions": [7],
    "query_id": "0123456789abcdef" * 2,
}
CLICKED = {name: SEARCHED[name] for name in ("event_name", "index", "user_token", "object_ids")}
NOT_PLAIN = {
    events.ClickedFilters,
    events.ConvertedFilters,
    events.ViewedFilters,
    events.PurchasedObjectIDsAfterSearch,  # which is incomplete without its items
}


class Text(str):
    """A string that is none in the eyes of `type() is`."""

    __slots__ = ()


class Items(list[Any]):
    """A list of that kind."""


class Row(tuple[Any, ...]):
    """A tuple of that kind."""

    __slots__ = ()


@pytest.fixture(autouse=True)
def extension() -> None:
    if speedups is None and os.environ.get(LEFT_OUT):
        pytest.skip(f"{LEFT_OUT} is set")
    if speedups is None and os.environ.get("CI"):
        pytest.fail("the extension was not built, and CI must not skip what needs it")
    if speedups is None:
        pytest.skip("the extension was not built")


def in_python(cls: Any, fields: dict[str, Any]) -> Any:
    """Build an event past the extension, which takes the place of calling a class, and of nothing else."""
    event = object.__new__(cls)
    event.__init__(**fields)
    return event


def outcome(build: Callable[[Any, dict[str, Any]], Any], cls: Any, fields: dict[str, Any]) -> object:
    try:
        event = build(cls, fields)
    except InvalidEventError as exc:
        return exc.problems
    kept = {field.name: getattr(event, field.name) for field in attrs.fields(cls)}
    return type(event), kept, {name: type(value) for name, value in kept.items()}, event._is_small


def called(cls: Any, fields: dict[str, Any]) -> Any:
    return cls(**fields)


def written(encoder: Callable[[Any, int], str], event: object, now_ms: int) -> object:
    try:
        return encoder(event, now_ms)
    except (AttributeError, LookupError, TypeError, ValueError) as exc:
        return type(exc)


def frames_of(run: Callable[[], object]) -> set[str]:
    """Name the functions in Python that are entered meanwhile."""
    entered = set[str]()
    gc.disable()  # others have their functions called when it collects
    sys.setprofile(lambda frame, what, _: entered.add(frame.f_code.co_name) if what == "call" else None)
    try:
        run()
    finally:
        sys.setprofile(None)
        gc.enable()
    return entered - {"<lambda>"}


def plain_fields(kind: type[TypedEvent]) -> dict[str, Any]:
    return {field.name: SEARCHED[field.name] for field in attrs.fields(kind) if field.name in SEARCHED}


# --- that it is used ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in events.KINDS if kind not in NOT_PLAIN])
def test_plain_events_are_built_and_written_without_python(kind: Any) -> None:
    fields = plain_fields(kind)
    event = kind(**fields)

    assert frames_of(lambda: kind(**fields)) == set()
    assert frames_of(lambda: ENCODERS[kind](event, 1)) == set()


@pytest.mark.parametrize(
    "changed",
    [
        {"object_ids": [f"sku-{number}" for number in range(20)], "positions": list(range(90, 110))},
        {"object_ids": ("sku-1",), "positions": (2**63 - 1,)},
        {"object_ids": ["x" * 452], "index": "i" * 128},
        {"user_token": "u" * 128, "authenticated_user_token": None, "timestamp": None},
        {"event_name": "~ " * 32, "timestamp": 10**15 - 1},
        {"timestamp": 10**11},
    ],
    ids=["twenty", "tuples", "long", "longest token", "longest name", "oldest"],
)
def test_and_at_the_limits(changed: dict[str, Any]) -> None:
    fields = {**SEARCHED, **changed}
    event = ClickedObjectIDsAfterSearch(**fields)

    assert frames_of(lambda: ClickedObjectIDsAfterSearch(**fields)) == set()
    assert frames_of(lambda: ENCODERS[ClickedObjectIDsAfterSearch](event, 1)) == set()
    assert outcome(called, ClickedObjectIDsAfterSearch, fields) == outcome(
        in_python, ClickedObjectIDsAfterSearch, fields
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"object_ids": ["x"] * 21, "positions": [1] * 21},
        {"object_ids": ("x",) * 21, "positions": (1,) * 21},
        {"object_ids": Items(["x"])},
        {"object_ids": Row(["x"])},
        {"positions": Items([1])},
        {"positions": Row([1])},
        {"object_ids": ["x" * 453]},
        {"object_ids": [""]},
        {"object_ids": []},
        {"object_ids": ["\u00e4"]},
        {"object_ids": [Text("sku")]},
        {"object_ids": "sku"},
        {"object_ids": {"sku": 1}},
        {"positions": [1, 2]},
        {"positions": []},
        {"positions": [0]},
        {"positions": [True]},
        {"positions": [2**63]},
        {"positions": [1.0]},
        {"positions": None},
        {"index": "i" * 129},
        {"index": ""},
        {"index": "\u00e4"},
        {"index": "\ud800"},
        {"index": None},
        {"user_token": "u" * 129},
        {"user_token": ""},
        {"user_token": "a b"},
        {"user_token": Text("u")},
        {"authenticated_user_token": "a\u00e4"},
        {"event_name": "n" * 65},
        {"event_name": "\x1f"},
        {"event_name": "\x7f"},
        {"query_id": "f" * 31},
        {"query_id": "F" * 32},
        {"query_id": "message_1"},
        {"timestamp": 10**15},
        {"timestamp": 10**11 - 1},
        {"timestamp": 2**70},
        {"timestamp": 1.0},
        {"timestamp": True},
    ],
    ids=lambda changed: " ".join(f"{name} {value!a:.20}" for name, value in changed.items()),
)
def test_anything_else_is_left_to_python(changed: dict[str, Any]) -> None:
    fields = {**SEARCHED, **changed}

    def build() -> None:
        with suppress(InvalidEventError):
            ClickedObjectIDsAfterSearch(**fields)

    assert "__init__" in frames_of(build)
    assert outcome(called, ClickedObjectIDsAfterSearch, fields) == outcome(
        in_python, ClickedObjectIDsAfterSearch, fields
    )


@pytest.mark.parametrize("object_ids", [[], ()], ids=["list", "tuple"])
def test_no_objects_are_left_to_python_too(object_ids: Any) -> None:
    with pytest.raises(InvalidEventError):
        ClickedObjectIDs(**{**CLICKED, "object_ids": object_ids})


PATCHED = """
from algolia_events import ClickedObjectIDs
fields = {"event_name": "Clicked", "index": "products", "user_token": "u", "object_ids": ["sku-1"]}
calls = []
def %s(event, **fields):
    calls.append(fields)
    return object.__new__(ClickedObjectIDs)
setattr(ClickedObjectIDs, "__%s__", %s)
try:
    ClickedObjectIDs(**fields)
except TypeError:  # __init__ returns nothing
    pass
print(calls == [fields])
"""


@pytest.mark.parametrize("name", ["init", "new"])
def test_what_somebody_puts_in_place_of_the_constructor_is_called(name: str) -> None:
    # In a process of its own: a class of which `__new__` was replaced is never what it was.
    done = subprocess.run([sys.executable, "-c", PATCHED % (name, name, name)], capture_output=True, check=True)

    assert done.stdout == b"True\n"


# --- that it makes no difference ---------------------------------------------------------------------------------


@given(kinds_and_fields(), st.randoms(use_true_random=False))
def test_valid_events_are_the_same(drawn: tuple[type[TypedEvent], dict[str, Any]], order: random.Random) -> None:
    cls, fields = drawn
    names = list(fields)
    order.shuffle(names)
    fields = {name: fields[name] for name in names}

    assert outcome(called, cls, fields) == outcome(in_python, cls, fields)


@given(kinds_and_fields(), st.data())
def test_odd_values_come_to_the_same(drawn: tuple[type[TypedEvent], dict[str, Any]], data: st.DataObject) -> None:
    cls, fields = drawn
    for name in data.draw(st.lists(st.sampled_from(sorted(SEARCHED)), min_size=1, max_size=3, unique=True)):
        if name in attrs.fields_dict(cls):
            fields[name] = data.draw(ODD_VALUES)

    assert outcome(called, cls, fields) == outcome(in_python, cls, fields)


@given(VALID_EVENTS, st.integers(0, 10**15))
def test_events_are_written_the_same(event: TypedEvent, now_ms: int) -> None:
    assert ENCODERS[type(event)](event, now_ms) == encoder_in_python(type(event))(event, now_ms)


STORED = st.one_of(
    ODD_VALUES,
    st.just(Text("u")),
    st.text(st.characters(max_codepoint=0x80), max_size=5000),
    st.lists(ODD_VALUES | st.text("ab", max_size=500) | st.integers(1, 2**64), max_size=20).map(tuple),
)


@given(VALID_EVENTS, st.data())
def test_whatever_stands_in_a_slot_is_written_as_json_or_left_to_python(event: TypedEvent, data: st.DataObject) -> None:
    cls: Any = type(event)
    for name in data.draw(st.lists(st.sampled_from(sorted(attrs.fields_dict(cls))), min_size=1, max_size=2)):
        setattr(event, f"_{name}", data.draw(STORED))

    here, there = (written(encoder, event, 1) for encoder in (ENCODERS[cls], encoder_in_python(cls)))

    assert here == there or (isinstance(here, str) and json.loads(here)["eventType"] == cls.event_type)


@pytest.mark.parametrize("name", sorted(SEARCHED))
def test_an_empty_slot_is_the_same_error(name: str) -> None:
    event: Any = ClickedObjectIDsAfterSearch(**SEARCHED)
    delattr(event, f"_{name}")

    here = written(ENCODERS[ClickedObjectIDsAfterSearch], event, 1)

    assert here == written(encoder_in_python(ClickedObjectIDsAfterSearch), event, 1)
    assert here is AttributeError


def test_an_event_of_another_class_or_none_is_written_or_refused_as_in_python() -> None:
    here, there = ENCODERS[ClickedObjectIDs], encoder_in_python(ClickedObjectIDs)

    for other in (ConvertedObjectIDs(**CLICKED), object(), None, object.__new__(ClickedObjectIDs)):
        assert written(here, other, 1) == written(there, other, 1)
    for now_ms in (-1, 2**63 - 1, 2**63, 10**30):
        assert written(here, ClickedObjectIDs(**CLICKED), now_ms) == written(there, ClickedObjectIDs(**CLICKED), now_ms)


@pytest.mark.parametrize("name", ["event_name", "index", "query_id", "object_ids"])
@pytest.mark.parametrize("value", [None, ()], ids=["none", "empty"])
def test_what_no_constructor_lets_be_is_left_to_python(name: str, value: object) -> None:
    event: Any = ClickedObjectIDsAfterSearch(**SEARCHED)
    setattr(event, f"_{name}", value)

    here = written(ENCODERS[ClickedObjectIDsAfterSearch], event, 1)

    assert here == written(encoder_in_python(ClickedObjectIDsAfterSearch), event, 1)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_an_encoder_called_with_too_little_or_too_much_is_the_same_error(count: int) -> None:
    arguments: tuple[Any, ...] = (ClickedObjectIDs(**CLICKED), 1, 2)[:count]
    messages = []

    for encoder in (ENCODERS[ClickedObjectIDs], encoder_in_python(ClickedObjectIDs)):
        with pytest.raises(TypeError) as raised:
            encoder(*arguments)
        messages.append(str(raised.value))

    assert messages[0] == messages[1]


@pytest.mark.parametrize("cls", [ClickedObjectIDs, ClickedObjectIDsAfterSearch])
@pytest.mark.parametrize("size", [3700, 3800, 3900, 4000, 4100, 9000])
def test_events_of_any_size_are_written_the_same(cls: Any, size: int) -> None:
    encoders = ENCODERS[cls], encoder_in_python(cls)
    fields = SEARCHED if cls is ClickedObjectIDsAfterSearch else CLICKED
    for length in range(size, size + 100):
        for object_ids in (["x" * length], ["x" * (length // 20)] * 20):
            positions = {"positions": [7] * len(object_ids)} if "positions" in fields else {}
            event = cls(**{**fields, "object_ids": object_ids, **positions})
            assert encoders[0](event, 1) == encoders[1](event, 1)


@pytest.mark.parametrize(
    ("args", "fields"),
    [
        ((), {}),
        ((1,), CLICKED),
        (("sku-1",), {name: CLICKED[name] for name in ("event_name", "index", "user_token")}),
        ((), {"event_name": "Clicked"}),
        ((), {**CLICKED, "query_id": "f" * 32}),
        ((), {**CLICKED, **dict.fromkeys(map(str, range(20)), 1)}),
    ],
    ids=["nothing", "positional", "shifted", "missing", "unknown", "many unknown"],
)
def test_calls_that_do_not_fit_are_the_same_errors(args: tuple[Any, ...], fields: dict[str, Any]) -> None:
    cls: Any = ClickedObjectIDs

    with pytest.raises(TypeError) as here:
        cls(*args, **fields)
    with pytest.raises(TypeError) as there:
        object.__new__(cls).__init__(*args, **fields)

    assert str(here.value) == str(there.value)


def test_names_that_are_made_at_run_time_are_the_same() -> None:
    fields = {"".join(list(name)): value for name, value in CLICKED.items()}

    assert ClickedObjectIDs(**fields) == ClickedObjectIDs(**CLICKED)


def test_a_subclass_is_built_as_one() -> None:
    class Shown(ClickedObjectIDs):  # type: ignore[misc]
        pass

    assert type(Shown(**CLICKED)) is Shown


# --- that it does not break --------------------------------------------------------------------------------------


def test_a_list_that_a_finalizer_empties_meanwhile_does_no_harm() -> None:
    class Emptying:
        def __init__(self, items: list[Any]) -> None:
            self.items, self.itself = items, self

        def __del__(self) -> None:
            self.items.clear()

    thresholds, emptied = gc.get_threshold(), 0
    tuples = [tuple(range(20)) for _ in range(5000)]  # no tuple of this length is at hand: each takes an allocation
    gc.set_threshold(1)
    try:
        for _ in range(300):
            object_ids = [f"sku-{number}" for number in range(20)]
            Emptying(object_ids)
            try:
                event = ClickedObjectIDs(**{**CLICKED, "object_ids": object_ids})
            except InvalidEventError:
                emptied += 1
            else:
                assert event.object_ids in {(), tuple(f"sku-{number}" for number in range(20))}
                assert event.object_ids
    finally:
        gc.set_threshold(*thresholds)
    assert tuples


def test_nothing_is_kept_or_given_away_once_too_often() -> None:
    cls, encoder = ClickedObjectIDsAfterSearch, ENCODERS[ClickedObjectIDsAfterSearch]
    values = [*SEARCHED.values(), *(field.name for field in attrs.fields(cls)), cls, None, True]
    variants = [
        SEARCHED,
        {**SEARCHED, "timestamp": None},
        {**SEARCHED, "positions": [500]},
        {**SEARCHED, "positions": [1, 2]},
        {**SEARCHED, "object_ids": ["\u00e4"]},
        {**SEARCHED, "query_id": "F" * 32},
    ]

    def run() -> None:
        for fields in variants:
            with suppress(InvalidEventError):
                encoder(cls(**fields), SEARCHED["timestamp"])
        with suppress(TypeError):
            cls(**SEARCHED, unknown=1)  # type: ignore[call-arg]

    def held() -> list[int]:
        gc.collect()  # what other tests have left behind
        return [sys.getallocatedblocks(), *map(sys.getrefcount, values)]

    run()
    before = held()
    for _ in range(1000):
        run()
    after = held()

    assert all(abs(new - old) < 300 for old, new in zip(before, after, strict=True))


def test_wrong_descriptions_are_refused() -> None:
    assert speedups is not None

    class Other:
        __slots__ = ("own",)

        def __init__(self) -> None:
            """Take nothing."""

    class Bare:
        __slots__ = ("own",)

    class Meta(type):
        pass

    own = vars(Other)["own"]
    field = ("index", own, True, "t", b"a", 1, 2, 0)
    foreign = ClickedObjectIDs._is_small

    for cls, fields, is_small, problem in (
        (Other, (), own, "1 to 16 fields, not 0"),
        (Other, (field,) * 17, own, "1 to 16 fields, not 17"),
        (Other, (field[:-1],), own, "exactly 8 arguments"),
        (Other, [field], own, "must be tuple"),
        (Other, (field,), 1, "1 is no slot of"),
        (Other, (field,), foreign, "is no slot of"),
        (Other, (("index", property(), *field[2:]),), own, "is no slot of"),
        (Bare, (field,), own, "no __init__ of its own"),
        (Meta("Odd", (), {"__slots__": ("own",), "__init__": Other.__init__}), (field,), own, "has a metaclass"),
    ):
        with pytest.raises((TypeError, ValueError), match=problem):
            speedups.accelerate(cls, fields, is_small)
    for start, members, problem in (
        ("{", (("a",),), "exactly 3 arguments"),
        ("{", (("a", 1, "-"),), "1 is no slot of"),
        ("{", (("a", foreign, "-"),), "is no slot of"),
        ("{", [("a", own, "-")], "must be tuple"),
        ("\u00e4", (), "is not ASCII"),
        ("{", (("\u00e4", own, "-"),), "are ASCII"),
        ("{", (("", own, "-"),) * 17, "more than 16 members"),
    ):
        with pytest.raises((TypeError, ValueError), match=problem):
            speedups.Encoder(Other, start, members, repr)
    with pytest.raises(TypeError, match="no keyword arguments"):
        speedups.Encoder(Other, "{", (), repr, more=1)
    assert type(Other()) is Other
