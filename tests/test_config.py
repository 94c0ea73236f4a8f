"""Options are checked when they are made; the message names the option and what it may be."""

from datetime import timedelta
from typing import Any

import pytest

from algolia_events import ConfigurationError, QueueOptions, RetryOptions
from algolia_events.config import checked_credentials, checked_url, insights_url_for


def test_the_defaults_are_those_of_the_design() -> None:
    options = QueueOptions()

    assert (options.max_events, options.max_bytes) == (100_000, 64 * 1024 * 1024)
    assert (options.batch_events, options.batch_bytes, options.linger, options.in_flight) == (1000, 1_900_000, 1.0, 4)
    assert (options.overflow, options.max_event_age, options.shutdown_timeout) == ("drop-newest", 30 * 86_400, 10.0)
    assert (options.strict, options.on_ambiguous) == (False, "retry")


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("max_events", 0, "at least 1"),
        ("max_events", 1.5, "whole number"),
        ("max_events", True, "whole number"),
        ("max_bytes", "1", "whole number"),
        ("batch_events", 1001, "at most 1000"),
        ("batch_bytes", 2_000_000, "at most 1999999"),
        ("linger", -1, "0 or more"),
        ("linger", float("nan"), "finite"),
        ("linger", "1", "finite"),
        ("in_flight", 0, "at least 1"),
        ("overflow", "drop", "'drop-newest', 'drop-oldest', 'raise'"),
        ("max_event_age", 0, "above 0"),
        ("shutdown_timeout", float("inf"), "finite"),
        ("strict", 1, "True or False"),
        ("on_ambiguous", None, "'retry', 'drop'"),
    ],
)
def test_a_wrong_queue_option_is_named(name: str, value: Any, wanted: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name} must be") as caught:
        QueueOptions(**{name: value})

    assert wanted in str(caught.value)


@pytest.mark.parametrize("name", ["attempt_timeout", "connect_timeout", "read_timeout", "backoff_base", "backoff_cap"])
def test_a_wrong_retry_option_is_named(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name} must be"):
        RetryOptions(**{name: 0})


def test_durations_may_be_timedeltas() -> None:
    options = QueueOptions(linger=timedelta(milliseconds=250), max_event_age=timedelta(days=4))

    assert (options.linger, options.max_event_age) == (0.25, 345_600.0)


@pytest.mark.parametrize(
    ("region", "url"),
    [
        (None, "https://insights.algolia.io"),
        ("us", "https://insights.us.algolia.io"),
        ("de", "https://insights.de.algolia.io"),
    ],
)
def test_each_region_has_its_host(region: str | None, url: str) -> None:
    assert insights_url_for(region, None) == url


@pytest.mark.parametrize("region", ["", "eu", "US", 1])
def test_another_region_is_refused(region: Any) -> None:
    with pytest.raises(ConfigurationError, match="region"):
        insights_url_for(region, None)


@pytest.mark.parametrize(
    "url",
    [
        "https://proxy.example/algolia",
        "http://127.0.0.1:8080",
        "http://127.9.9.9",
        "http://localhost:1",
        "http://[::1]:8080",
    ],
)
def test_https_and_this_machine_are_fine(url: str) -> None:
    assert checked_url("insights_url", url + "/") == url


@pytest.mark.parametrize(
    "url",
    [
        "http://insights.algolia.io",
        "http://192.168.1.5",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "ftp://localhost",
        "localhost:8080",
        "https://",
        "https://user:secret@host",
        "https://host?x=1",
        "https://host:99999",
        "",
        None,
        5,
    ],
)
def test_any_other_address_is_refused_by_name(url: Any) -> None:
    with pytest.raises(ConfigurationError, match="insights_url") as caught:
        checked_url("insights_url", url)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("app_id", "key", "name"), [("", "K", "app_id"), ("A", "", "api_key"), ("A", None, "api_key")])
def test_missing_credentials_are_named(app_id: Any, key: Any, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name}"):
        checked_credentials(app_id, key)


@pytest.mark.parametrize("key", ["secret\nx-injected: 1", "se cret", "clé", "sec\x00ret"])
def test_credentials_cannot_break_out_of_a_header_and_are_not_shown(key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        checked_credentials("APP", key)

    assert key not in str(caught.value)
