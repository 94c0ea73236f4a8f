"""How far an import has come is told exactly, in whatever order its records are settled."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from algolia_events.cli._records import Position
from algolia_events.cli._sources import Extent
from algolia_events.cli._state import State, StateFile, Window


def _position(number: int) -> Position:
    return Position(number=number, file=0, line=number + 1, start=number * 10, checksum=number)


@given(st.permutations(range(12)), st.integers(0, 12))
def test_after_any_part_of_any_order_exactly_the_settled_records_count_as_settled(order: list[int], part: int) -> None:
    window = Window(State())
    for number in range(12):
        window.add(_position(number))

    for number in order[:part]:
        window.settle(number, accepted=number % 2 == 0)

    state = window.state()
    reached = -1 if state.after is None else state.after.number
    settled = {number for number in range(12) if number <= reached or state.is_settled(number)}
    assert settled == set(order[:part])
    assert not state.is_settled(reached + 1)
    assert state.not_accepted == sum(number % 2 for number in order[:part])
    assert state.is_fresh == (part == 0)


def test_a_state_is_the_same_after_a_round_through_its_file(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "state", ["a", "-"])
    state = State(after=_position(7), settled_beyond=[(9, 12), (20, 20)], not_accepted=3, extents=(Extent(12, 345),))

    fresh = file.load()
    file.save(state)

    assert fresh == State()
    assert file.load() == state
    assert StateFile(tmp_path / "state", ["a", "-", "b"]).load() == state
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_a_state_knows_the_inputs_before_the_one_it_has_come_to_and_no_others() -> None:
    extents = [Extent(10, 1), Extent(20, 2), Extent(30, 3)]
    window = Window(State(), extents)
    window.add(_position(0)._replace(file=0))
    window.add(_position(1)._replace(file=2))

    unsettled = window.state()
    window.settle(1, accepted=True)
    out_of_order = window.state()
    window.settle(0, accepted=True)

    assert (unsettled.extents, out_of_order.extents) == ((), ())
    assert window.state().extents == (Extent(10, 1), Extent(20, 2))
