"""What the sandbox answers, as values: status, headers and a body that is ready to be written."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import attrs
import orjson

JSON_HEADERS: Mapping[str, str] = {"content-type": "application/json; charset=UTF-8"}
HTML_HEADERS: Mapping[str, str] = {"content-type": "text/html; charset=UTF-8"}


@attrs.frozen
class Answer:
    """An HTTP answer. An empty body comes without a content type."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = attrs.field(factory=dict)

    def raw(self) -> bytes:
        """Give the whole answer as it stands on the wire, for a connection that closes after it."""
        head = {**self.headers, "content-length": str(len(self.body)), "connection": "close"}
        lines = [f"HTTP/1.1 {self.status} {reason(self.status)}", *(f"{name}: {value}" for name, value in head.items())]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + self.body


class RefusedError(Exception):
    """The sandbox refuses a request, in the server's words.

    ``message`` is what the answer says. ``detail`` says for the ledger what the real servers keep to themselves,
    such as ``events[3].currency: required with an amount``.
    """

    def __init__(
        self, status: int, message: str, *, detail: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.detail = detail
        self.headers: Mapping[str, str] = headers or {}


def json_answer(status: int, document: Any, headers: Mapping[str, str] | None = None) -> Answer:
    """Answer with a JSON document."""
    return Answer(status, orjson.dumps(document), {**JSON_HEADERS, **(headers or {})})


def refusal_answer(refused: RefusedError) -> Answer:
    """Answer with an error: JSON, but HTML for the Insights API's 400 (see WIRE, errors)."""
    return json_answer(refused.status, {"status": refused.status, "message": refused.message}, refused.headers)


def html_answer(status: int, message: str) -> Answer:
    """Answer with a small HTML page, as the Insights API does for a malformed request."""
    title = f"{status} {reason(status)}"
    page = f"<html><head><title>{title}</title></head>\n<body><h1>Error: {reason(status)}</h1>\n<p>{message}</p></body>"
    return Answer(status, f"{page}</html>\n".encode(), HTML_HEADERS)


def reason(status: int) -> str:
    """Give the standard phrase of a status, or ``Unknown``."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
