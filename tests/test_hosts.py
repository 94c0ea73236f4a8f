"""Hosts that answered are asked before those that failed; one call at a time finds out whether a host is back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algolia_events._hosts import DOWN_SECONDS, Hosts
from algolia_events.errors import ConfigurationError

URLS = ("https://a", "https://b", "https://c", "https://d")


def test_hosts_are_asked_in_the_order_given() -> None:
    hosts = Hosts(URLS)

    assert hosts.order(now=0.0) == URLS


def test_a_host_that_failed_comes_last() -> None:
    hosts = Hosts(URLS)

    hosts.failed("https://a", now=10.0)

    assert hosts.order(now=11.0) == ("https://b", "https://c", "https://d", "https://a")


def test_of_hosts_that_failed_the_one_that_failed_first_comes_first() -> None:
    hosts = Hosts(URLS)

    hosts.failed("https://b", now=10.0)
    hosts.failed("https://a", now=11.0)

    assert hosts.order(now=12.0)[2:] == ("https://b", "https://a")


def test_after_five_minutes_one_call_tries_a_failed_host_at_its_place_and_others_do_not() -> None:
    hosts = Hosts(URLS)
    hosts.failed("https://a", now=0.0)

    before = hosts.order(now=DOWN_SECONDS - 1)
    first = hosts.order(now=DOWN_SECONDS)
    second = hosts.order(now=DOWN_SECONDS)

    assert before[0] == "https://b"
    assert first[0] == "https://a"
    assert second[0] == "https://b"


def test_one_call_tries_at_most_one_host_that_failed_before_the_healthy_ones() -> None:
    hosts = Hosts(URLS)
    hosts.failed("https://a", now=0.0)
    hosts.failed("https://b", now=0.0)

    order = hosts.order(now=DOWN_SECONDS)

    assert order == ("https://a", "https://c", "https://d", "https://b")


def test_a_host_that_answered_is_back_at_its_place() -> None:
    hosts = Hosts(URLS)
    hosts.failed("https://a", now=0.0)

    hosts.answered("https://a")

    assert hosts.order(now=1.0) == URLS


def test_a_host_named_twice_is_asked_once() -> None:
    hosts = Hosts(["https://a", "https://b", "https://a"])

    assert hosts.order(now=0.0) == ("https://a", "https://b")


def test_a_list_of_no_hosts_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="recommend_urls"):
        Hosts([])


_steps = st.lists(
    st.tuples(st.sampled_from(["order", "failed", "answered"]), st.sampled_from(URLS), st.floats(0, 200)), max_size=40
)


@given(_steps)
def test_every_call_gets_every_host_once_and_those_that_answered_last_first(
    steps: list[tuple[str, str, float]],
) -> None:
    hosts = Hosts(URLS)
    now = 0.0
    failed: dict[str, float] = {}

    for step, url, pause in steps:
        now += pause
        if step == "failed":
            hosts.failed(url, now=now)
            failed[url] = now
        elif step == "answered":
            hosts.answered(url)
            failed.pop(url, None)
        else:
            order = hosts.order(now=now)
            surely_down = {url for url, since in failed.items() if now - since < DOWN_SECONDS}
            up = len(URLS) - len(failed)

            assert sorted(order) == sorted(URLS)
            assert not surely_down & set(order[:up])
