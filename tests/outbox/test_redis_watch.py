"""Who is dead is judged by what one process saw, by its own clock, while Redis answered it all the time."""

import pytest

from algolia_events.outbox._redis_watch import Watch

HOLDER = b"holder"


def looks(watch: Watch, sign: bytes, *times: float) -> None:
    """Look at these times, and see the one holder with this sign."""
    for now in times:
        watch.see([(HOLDER, sign)], asked=now, answered=now)


def test_who_shows_nothing_new_for_five_seconds_is_silent() -> None:
    watch = Watch()

    looks(watch, b"1-0/1", 0, 1, 2, 3, 4)
    before = watch.silent(4.9)
    after = watch.silent(5.0)

    assert before == []
    assert after == [(HOLDER, b"1-0/1")]


def test_each_new_sign_of_life_begins_the_silence_anew() -> None:
    watch = Watch()

    looks(watch, b"1-0/1", 0, 1, 2, 3, 4)
    looks(watch, b"1-0/2", 5, 6, 7, 8, 9)

    assert watch.silent(9.9) == []
    assert watch.silent(10.0) == [(HOLDER, b"1-0/2")]


def test_a_time_in_which_redis_answered_nothing_does_not_count() -> None:
    watch = Watch()

    looks(watch, b"1-0/1", 0, 1, 2, 9, 10, 11, 12, 13)

    assert watch.silent(13.9) == []
    assert watch.silent(14.0) == [(HOLDER, b"1-0/1")]


def test_an_answer_that_took_long_is_a_time_in_which_redis_answered_nothing() -> None:
    watch = Watch()

    looks(watch, b"1-0/1", 0, 1)
    watch.see([(HOLDER, b"1-0/1")], asked=1.5, answered=4.5)
    looks(watch, b"1-0/1", 5, 6)

    assert watch.silent(6.5) == []


@pytest.mark.parametrize("now", [6.1, 100.0, 1e9])
def test_whoever_has_not_looked_lately_takes_nobody_for_dead(now: float) -> None:
    watch = Watch()

    looks(watch, b"1-0/1", 0, 1, 2, 3, 4)

    assert watch.silent(now) == []


def test_who_holds_nothing_any_more_is_forgotten() -> None:
    watch = Watch()

    looks(watch, b"1-0/1", 0, 1, 2, 3, 4, 5)
    watch.see([], asked=5, answered=5)

    assert watch.silent(5.5) == []
    assert not watch.is_in_doubt


def test_who_has_shown_one_sign_of_life_is_in_doubt_until_he_shows_another() -> None:
    watch = Watch()

    looks(watch, b"1-0/1", 0)
    before = watch.is_in_doubt
    looks(watch, b"1-0/2", 1)

    assert before
    assert not watch.is_in_doubt
