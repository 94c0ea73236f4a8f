"""Tests of an application without sockets: a transport that keeps what it is given, and answers as Algolia would.

For anything that concerns the wire itself (what is valid, what is attributed, what happens in an outage) use the real
thing, `algolia_events.sandbox.Sandbox`.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from algolia_events._wire import Request, Response
from algolia_events.sandbox import Events
from algolia_events.sandbox._assertions import EventAssertions

__all__ = ["RecordingTransport", "Request", "Response", "answer"]

_OK: Final = 200
_HEADERS: Final = {"content-type": "application/json"}


def answer(status: int, document: Any = None, headers: Mapping[str, str] | None = None) -> Response:
    """Make an answer; without a document, the body is `{"status": …, "message": …}` as Algolia's errors have it."""
    content = {"status": status, "message": f"scripted {status}"} if document is None else document
    named = {name.lower(): value for name, value in (headers or {}).items()}
    return Response(status=status, headers={**_HEADERS, **named}, body=orjson.dumps(content))


class RecordingTransport(EventAssertions):
    """A `Transport` that opens no connection: `AlgoliaEvents(…, transport=RecordingTransport())`.

    Requests are answered with success unless `script()` says otherwise; nothing is checked. Recommendations have the
    hits given for their index, and a query ID of their own when click analytics were asked for.

    Attributes:
        requests: each request in the order of its arrival, failed ones included.
        is_closed: whether `aclose()` was called.
    """

    def __init__(self, *, hits: Mapping[str, Sequence[Mapping[str, Any]]] | None = None) -> None:
        self.requests: list[Request] = []
        self.is_closed: bool = False
        self._hits = dict(hits or {})
        self._script: deque[Response | Exception] = deque()
        self._events: list[Mapping[str, Any]] = []
        self._query_ids = 0

    @property
    def events(self) -> Events:
        """The events of the requests that were answered with success, in order, as they stood on the wire."""
        return Events(self._events)

    def script(self, *outcomes: Response | Exception) -> None:
        """Let the next requests meet these outcomes, one each: an `answer()` to give, or an error to raise."""
        self._script.extend(outcomes)

    async def send(self, request: Request) -> Response:
        """Keep a request, and answer it."""
        self.requests.append(request)
        outcome = self._script.popleft() if self._script else None
        if isinstance(outcome, Exception):
            raise outcome
        response = self._respond(request) if outcome is None else outcome
        if response.status == _OK and request.url.endswith("/1/events"):
            self._events += orjson.loads(request.body)["events"]
        return response

    async def aclose(self) -> None:
        """Note that the owner is done."""
        self.is_closed = True

    def _respond(self, request: Request) -> Response:
        if request.url.endswith("/recommendations"):
            queries = orjson.loads(request.body)["requests"]
            return answer(_OK, {"results": [self._result(query) for query in queries]})
        if request.method == "DELETE":
            return Response(status=204, headers={}, body=b"")
        return answer(_OK, {"status": _OK, "message": "OK"})

    def _result(self, query: Mapping[str, Any]) -> dict[str, Any]:
        index = query["indexName"]
        hits = self._hits.get(index, ())[: query.get("maxRecommendations")]
        result: dict[str, Any] = {"index": index, "hits": [{"_score": 100.0, **hit} for hit in hits]}
        if query.get("queryParameters", {}).get("clickAnalytics"):
            self._query_ids += 1
            result["queryID"] = f"{self._query_ids:032x}"
        return result
