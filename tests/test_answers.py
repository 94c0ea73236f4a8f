"""A server's answer is read without being trusted."""

import time
from collections.abc import Iterator
from email.utils import formatdate
from http import HTTPStatus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algolia_events._answers import asked_pause, error_message
from algolia_events._wire import Response

WALL = 1_750_000_000.0


def answer(body: bytes, status: int = 422) -> Response:
    return Response(status=status, headers={}, body=body)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"status":422,"message":"EventName is required"}', "EventName is required"),
        (b"<html><head><style>b{}</style></head><body><h1>Bad\n Request</h1></body></html>", "Bad Request"),
        (b"", HTTPStatus(422).phrase),
        (b'{"status":422,"mess', '{"status":422,"mess'),
        (b'{"message":17}', HTTPStatus(422).phrase),
        (b"[]", HTTPStatus(422).phrase),
        (b"\xff\xfe\x00", "\ufffd\ufffd"),
    ],
)
def test_the_words_of_an_error_are_found_in_whatever_comes(body: bytes, words: str) -> None:
    assert error_message(answer(body)) == words


def test_an_unknown_status_without_a_body_has_words_too() -> None:
    assert error_message(answer(b"", status=599)) == "no message"


@given(body=st.binary(max_size=2000), status=st.integers(100, 999))
def test_words_are_short_and_on_one_line(body: bytes, status: int) -> None:
    words = error_message(answer(body, status))

    assert 0 < len(words) <= 500
    assert words.isprintable()


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({"retry-after": "30"}, 30.0),
        ({"retry-after": "86400"}, 86_400.0),
        ({"retry-after": formatdate(WALL + 90, usegmt=True)}, 90.0),
        ({"retry-after": formatdate(WALL - 90, usegmt=True)}, 0.0),
        ({"x-ratelimit-reset": str(int(WALL) + 12)}, 12.0),
        ({"retry-after": "5", "x-ratelimit-reset": str(int(WALL) + 12)}, 5.0),
        ({"retry-after": "soon", "x-ratelimit-reset": str(int(WALL) + 12)}, 12.0),
        ({}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e400"}, None),
        ({"retry-after": "٣"}, None),
        ({"x-ratelimit-reset": "tomorrow"}, None),
    ],
)
def test_the_pause_that_a_server_asks_for(headers: dict[str, str], pause: float | None) -> None:
    assert asked_pause(headers, wall=WALL) == pause


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(("zone", "pause"), [(" GMT", 7290.0), (" -0000", 7290.0), ("", 7290.0), (" +0200", 90.0)])
def test_a_date_is_in_utc_unless_it_says_otherwise_wherever_the_client_is(
    far_east: None, zone: str, pause: float
) -> None:
    date = formatdate(WALL + 7290.0, usegmt=True).removesuffix(" GMT") + zone

    assert asked_pause({"retry-after": date}, wall=WALL) == pause


@given(text=st.text(max_size=60))
def test_no_header_can_break_the_reading(text: str) -> None:
    pause = asked_pause({"retry-after": text, "x-ratelimit-reset": text}, wall=WALL)

    assert pause is None or pause >= 0
