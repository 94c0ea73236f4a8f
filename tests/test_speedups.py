"""What the extension builds and writes is what Python builds and writes; what it does not know, it hands on."""

import gc
import json
import os
import random
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
    clicked, converted = ENCODERS[ClickedObjectIDs], encoder_in_python(ClickedObjectIDs)

    for other in (ConvertedObjectIDs(**CLICKED), object(), None, object.__new__(ClickedObjectIDs)):
        assert written(clicked, other, 1) == written(converted, other, 1)
    for now_ms in (-1, 2**63 - 1, 2**63, 10**30):
        assert written(clicked, ClickedObjectIDs(**CLICKED), now_ms) == written(
            converted, ClickedObjectIDs(**CLICKED), now_ms
        )


@pytest.mark.parametrize("size", [3800, 3900, 4000, 4050, 4100, 4200, 9000])
def test_events_of_any_size_are_written_the_same(size: int) -> None:
    encoders = ENCODERS[ClickedObjectIDs], encoder_in_python(ClickedObjectIDs)
    for length in range(size, size + 50):
        for object_ids in (["x" * length], ["x" * (length // 20)] * 20):
            event = ClickedObjectIDs(**{**CLICKED, "object_ids": object_ids})
            assert encoders[0](event, 1) == encoders[1](event, 1)


@pytest.mark.parametrize(
    ("args", "fields"),
    [
        ((), {}),
        ((1,), CLICKED),
        ((), {"event_name": "Clicked"}),
        ((), {**CLICKED, "query_id": "f" * 32}),
        ((), {**CLICKED, **dict.fromkeys(map(str, range(20)), 1)}),
    ],
    ids=["nothing", "positional", "missing", "unknown", "many unknown"],
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
    values = [*SEARCHED.values(), *(field.name for field in attrs.fields(ClickedObjectIDsAfterSearch))]
    refused = {**SEARCHED, "query_id": "F" * 32}
    python = {**SEARCHED, "object_ids": ["\u00e4"]}
    encoder = ENCODERS[ClickedObjectIDsAfterSearch]

    def run() -> None:
        for fields in (SEARCHED, refused, python, {**SEARCHED, "timestamp": None}):
            with suppress(InvalidEventError):
                encoder(ClickedObjectIDsAfterSearch(**fields), SEARCHED["timestamp"])
        with suppress(TypeError):
            ClickedObjectIDsAfterSearch(**SEARCHED, unknown=1)  # type: ignore[call-arg]

    run()
    before = [sys.getrefcount(value) for value in [*values, ClickedObjectIDsAfterSearch, None, True]]
    for _ in range(1000):
        run()
    after = [sys.getrefcount(value) for value in [*values, ClickedObjectIDsAfterSearch, None, True]]

    assert all(abs(new - old) < 100 for old, new in zip(before, after, strict=True))


def test_wrong_descriptions_are_refused() -> None:
    assert speedups is not None
    slot = ClickedObjectIDs._is_small
    field = ("index", ClickedObjectIDs._index, True, "t", b"a", 1, 2, 0)  # type: ignore[attr-defined]

    class Other:
        __slots__ = ("own",)

    own = vars(Other)["own"]

    for fields, is_small in (
        ([], slot),
        ([field] * 17, slot),
        ([field[:-1]], slot),
        ([field], 1),
        ([field], own),
        ([("index", property(), *field[2:])], slot),
    ):
        with pytest.raises(TypeError):
            speedups.accelerate(Other, fields, is_small)
    for members in ([("a",)], [("a", 1, "-")], [("a", slot, "-")]):
        with pytest.raises(TypeError):
            speedups.Encoder(Other, "{", members, repr)
    for start, members in (("\u00e4", []), ("{", [("\u00e4", own, "-")]), ("{", [("", own, "-")] * 17)):
        with pytest.raises(ValueError, match="ASCII"):
            speedups.Encoder(Other, start, members, repr)
    assert type(Other()) is Other
