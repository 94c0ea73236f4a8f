"""What a server's answer says, read without trusting it: it may be HTML, empty, cut or not what its headers claim."""

import math
import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

import orjson

from algolia_events._wire import Response
from algolia_events.errors import ApiError

_MAX_MESSAGE_LENGTH: Final = 500
# What is never closed ends the text, and no tag holds another: so each character is looked at once, whatever the page.
_MARKUP: Final = re.compile(r"<(script|style)\b.*?(?:</\1>|\Z)|<[^<>]*>", re.DOTALL | re.IGNORECASE)


def error_message(response: Response) -> str:
    """Find the server's words in an answer: its JSON message, else its text without markup, else the status's phrase.

    At most 500 characters, on one line.
    """
    try:
        content = orjson.loads(response.body)
    except orjson.JSONDecodeError:
        text = _MARKUP.sub(" ", response.body.decode("utf-8", "replace"))
    else:
        message = content.get("message") if isinstance(content, dict) else None
        text = message if isinstance(message, str) else ""
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return words[:_MAX_MESSAGE_LENGTH] or _phrase(response.status)


def api_error(response: Response, *, wall: float, request_id: str | None = None) -> ApiError:
    """Build the error of an answer that is no success; `wall` is the present as Unix seconds."""
    return ApiError.from_status(
        response.status,
        error_message(response),
        correlation_id=response.headers.get("correlation-id"),
        request_id=request_id,
        retry_after=asked_pause(response.headers, wall=wall),
    )


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "no message"


def asked_pause(headers: Mapping[str, str], *, wall: float) -> float | None:
    """Read how many seconds the server asks us to wait, from `Retry-After` or `x-ratelimit-reset`.

    `Retry-After` is seconds or an HTTP date (RFC 9110, 10.2.3), `x-ratelimit-reset` Unix seconds (Insights spec);
    `wall` is the present as Unix seconds. What cannot be read counts as absent; what lies in the past as 0.
    """
    pause = _retry_after(headers.get("retry-after", ""), wall)
    if pause is None:
        reset = _number(headers.get("x-ratelimit-reset", ""))
        pause = None if reset is None else reset - wall
    return None if pause is None else max(0.0, pause)


def _retry_after(text: str, wall: float) -> float | None:
    seconds = _number(text)
    if seconds is not None:
        return seconds
    try:
        moment = parsedate_to_datetime(text)
        if moment.tzinfo is None:  # "-0000", and dates without a zone: HTTP dates are always in UTC
            moment = moment.replace(tzinfo=UTC)
        return moment.timestamp() - wall
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _number(text: str) -> float | None:
    if not text.isascii() or "_" in text:  # which Python takes, and no protocol has
        return None
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
