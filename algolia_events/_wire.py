"""A request and an answer as values, and the headers that each request carries."""

from collections.abc import Mapping
from typing import Final

import attrs

from algolia_events._version import __version__

USER_AGENT: Final = f"Algolia for Python ({__version__}); Algolia Events ({__version__})"
"""Segments are "name (version)", names of letters, dots and spaces only: Algolia's servers parse this."""


@attrs.frozen(kw_only=True)
class Timeouts:
    """Limits of one attempt, in seconds: in all, for the connection, and between two pieces of the answer."""

    total: float
    connect: float
    read: float


@attrs.frozen(kw_only=True)
class Request:
    """One attempt at a call: all that a transport needs to know."""

    method: str
    url: str
    """Absolute, its path percent-encoded already."""
    headers: Mapping[str, str]
    body: bytes = b""
    timeouts: Timeouts
    max_answer_bytes: int
    """What a transport reads of the answer's body at most."""


@attrs.frozen(kw_only=True)
class Response:
    """An answer, whatever its status."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    complete: bool = True
    """False when the body was longer than `max_answer_bytes` and was cut there."""


def credential_headers(app_id: str, api_key: str) -> dict[str, str]:
    """Build the headers of a call; credentials never go into a URL, where proxies log them."""
    return {
        "x-algolia-application-id": app_id,
        "x-algolia-api-key": api_key,
        "content-type": "application/json",
        "accept": "application/json",
        "user-agent": USER_AGENT,
    }
