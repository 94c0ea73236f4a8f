"""F22: whatever is given as an event is taken or refused, never anything else; what is taken, the server accepts."""

import json
import time
from typing import Any

import attrs
import pytest
from event_strategies import VALID_EVENTS
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.hostile import CYCLE, DEEP, FIELDS, HOSTILE_NUMBERS, HOSTILE_TEXTS, HOSTILE_VALUES, HUGE, Liar, LiarError
from support.rigs import LONG_S, click, rigs

from algolia_events import EventQueue, InvalidEventError, QueueOptions, parse_event, to_mapping
from algolia_events._retry import Accepted, Outcome
from algolia_events.sandbox import Sandbox

VALID_MAPPINGS = VALID_EVENTS.map(to_mapping)


@st.composite
def spoilt_mappings(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a valid mapping with some hostile fields: put in place of others, added, or one level down."""
    mapping = dict(draw(VALID_MAPPINGS))
    for _ in range(draw(st.integers(1, 3))):
        key = draw(st.sampled_from([*mapping, *FIELDS]) | HOSTILE_TEXTS)
        old = mapping.get(key)
        if isinstance(old, list) and old and draw(st.booleans()):
            old = list(old)
            place = draw(st.integers(0, len(old) - 1))
            if isinstance(old[place], dict) and draw(st.booleans()):
                old[place] = {**old[place], draw(st.sampled_from(FIELDS)): draw(HOSTILE_VALUES)}
            else:
                old[place] = draw(HOSTILE_VALUES)
            mapping[key] = old
        else:
            mapping[key] = draw(HOSTILE_VALUES)
    return mapping


@st.composite
def odd_mappings(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a valid mapping in which one value has become an odd one of its own type: many of these are legal."""
    mapping = dict(draw(VALID_MAPPINGS))
    key = draw(st.sampled_from(sorted(mapping)))
    mapping[key] = draw(odd(mapping[key]))
    return mapping


def odd(value: Any) -> st.SearchStrategy[Any]:
    if isinstance(value, str):
        return HOSTILE_TEXTS
    if isinstance(value, list) and value:
        return odd(value[0]).map(lambda first: [first, *value[1:]])
    if isinstance(value, dict) and value:
        name = max(value)
        return odd(value[name]).map(lambda changed: {**value, name: changed})
    return HOSTILE_NUMBERS


ANYTHING = st.one_of(
    odd_mappings(), spoilt_mappings(), HOSTILE_VALUES, st.dictionaries(st.sampled_from(FIELDS), HOSTILE_VALUES)
)


def known(mapping: Any) -> bool:
    """Say whether `parse_event` takes it; a refusal must name fields and stay readable."""
    try:
        parse_event(mapping)
    except InvalidEventError as exc:
        refusal = exc
    else:
        return True
    assert refusal.problems
    assert all(field and text for field, text in refusal.problems)
    assert len(str(refusal)) < 20_000, "the message does not carry the input"
    str(refusal).encode("utf-8", "strict")
    assert refusal.__cause__ is None or type(refusal.__cause__) is LiarError, "only foreign code may fail"
    return False


@settings(max_examples=600)
@given(ANYTHING)
@example(None)
@example(Liar())
@example({**to_mapping(click()), "objectIDs": ["\ud800"]})
@example({**to_mapping(click()), "index": "\udfff"})
def test_parse_event_answers_or_names_the_fields(given_value: Any) -> None:
    before = dict(given_value) if type(given_value) is dict else None

    known(given_value)

    assert before is None or given_value == before, "the caller's mapping is left alone"


HARD: dict[str, Any] = {
    "a type of 10 MB": {"eventType": HUGE},
    "a name of 10 MB": {HUGE: 1},
    "an object of 10 MB": {**to_mapping(click()), "objectIDs": [HUGE]},
    "a token of 10 MB": {**to_mapping(click()), "userToken": HUGE},
    "everything at once": {**to_mapping(click()), "eventName": HUGE, "index": DEEP, "timestamp": 10**400},
    "a hundred thousand object IDs": {**to_mapping(click()), "objectIDs": ["sku"] * 100_000},
    "a hundred thousand fields": {str(number): number for number in range(100_000)},
    "deep": DEEP,
    "deep inside": {**to_mapping(click()), "objectIDs": DEEP, "objectData": [DEEP]},
    "a cycle": CYCLE,
    "a cycle inside": {**to_mapping(click()), "objectData": [CYCLE], "filters": CYCLE},
    "a mapping that raises": Liar(),
    "a mapping that raises, inside": {**to_mapping(click()), "objectData": [Liar()]},
}


@pytest.mark.parametrize("value", HARD.values(), ids=HARD.keys())
def test_what_is_too_much_is_refused_or_taken_in_no_time(value: Any) -> None:
    began = time.process_time()

    known(value)

    assert time.process_time() - began < 2.0


async def test_what_track_takes_the_server_accepts() -> None:
    """One server and one queue see all examples; each example must find the sender alive."""
    taken = 0
    async with Sandbox(max_age=10**12) as sandbox, rigs() as make:
        lenient, strict = make(sandbox.url, max_event_age=10**11), make(sandbox.url, strict=True, max_event_age=10**11)
        values: list[Any] = [DEEP, CYCLE, Liar(), {HUGE: HUGE}, {**to_mapping(click()), "objectIDs": [HUGE]}]

        @settings(max_examples=400)
        @given(odd_mappings(), ANYTHING)
        def collect(odd_one: Any, anything: Any) -> None:
            values.extend((odd_one, anything))

        collect()
        for value in values:
            answer = lenient.queue.track(value)
            assert type(answer) is bool
            taken += answer
            try:
                assert strict.queue.track(value) is answer
            except InvalidEventError:
                assert not answer
        reports = [await one.queue.flush(LONG_S) for one in (lenient, strict)]
        stats = lenient.queue.stats()

        sandbox.assert_nothing_rejected()
        assert [(one.delivered, one.rejected, one.pending) for one in reports] == [(taken, 0, 0)] * 2
        assert sum(stats.dropped.values()) == len(values) - taken
        assert set(stats.dropped) <= {"invalid", "too_large"}
        assert taken > 20, "the fuzzer's values are not all nonsense"


@settings(max_examples=300)
@given(VALID_EVENTS, st.data())
def test_a_built_event_with_a_hostile_field_is_refused_when_it_is_built(event: Any, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([field.name for field in attrs.fields(type(event))]))

    try:
        changed = attrs.evolve(event, **{name: data.draw(HOSTILE_VALUES)})
    except InvalidEventError:
        return

    assert json.loads(json.dumps(to_mapping(changed), allow_nan=False))


@pytest.mark.parametrize(
    "wrong",
    [HUGE, DEEP, CYCLE, Liar(), {"eventName": DEEP}, b"\xff" * 1000, float("nan")],
    ids=["huge", "deep", "cycle", "liar", "inside", "bytes", "nan"],
)
async def test_nothing_hostile_stops_the_sender(wrong: Any) -> None:
    bodies: list[bytes] = []

    async def accept(body: bytes) -> Outcome:
        bodies.append(body)
        return Accepted()

    queue = EventQueue(accept, options=QueueOptions(linger=0))

    answers = [queue.track(wrong), queue.track(click(1)), queue.track(wrong)]
    report = await queue.aclose(LONG_S)

    assert answers == [False, True, False]
    assert (report.delivered, report.dropped) == (1, 2)
    assert len(bodies) == 1


async def test_an_event_of_ten_megabytes_is_refused_as_too_large() -> None:
    async with rigs() as make:
        rig = make("http://127.0.0.1:9")

        taken = rig.queue.track(click(0, index=HUGE))

        assert not taken
        assert rig.queue.stats().dropped == {"too_large": 1}
