"""An alarm rings at the moment that was set last, once, and leaves no timer behind."""

import math

import pytest
from support.clock import HandClock

from algolia_events._clock import Alarm


@pytest.fixture
def rung() -> list[float]:
    return []


@pytest.fixture
def alarm(clock: HandClock, rung: list[float]) -> Alarm:
    return Alarm(clock, lambda: rung.append(clock.now))


def test_it_rings_at_the_moment_that_was_set_last(clock: HandClock, alarm: Alarm, rung: list[float]) -> None:
    for seconds in (1.0, 3.0, 2.0):
        alarm.set(clock.now + seconds)

    for _ in range(8):
        clock.advance(0.5)

    assert rung == [1002.0]


def test_the_same_moment_once_more_is_the_same_timer(clock: HandClock, alarm: Alarm, rung: list[float]) -> None:
    for _ in range(3):
        alarm.set(clock.now + 1.0)
    timers = clock.timers
    clock.advance(1.0)

    assert timers == 1
    assert rung == [1001.0]


@pytest.mark.parametrize("how", ["never", "stop"])
def test_what_was_called_off_leaves_no_timer(clock: HandClock, alarm: Alarm, rung: list[float], how: str) -> None:
    alarm.set(clock.now + 1.0)

    if how == "never":
        alarm.set(math.inf)
    else:
        alarm.stop()
    timers = clock.timers
    clock.advance(2.0)

    assert timers == 0
    assert rung == []


def test_once_it_has_rung_the_same_moment_can_be_set_again(clock: HandClock, alarm: Alarm, rung: list[float]) -> None:
    """A timer may come too early; whoever hears it then sets it again."""
    when = clock.now + 1.0
    alarm.set(when)
    clock.advance(1.0)
    clock.now -= 0.5

    alarm.set(when)
    clock.advance(0.5)

    assert rung == [1001.0, 1001.0]
