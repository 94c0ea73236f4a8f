"""The Insights API: ``POST /1/events`` and ``DELETE /1/usertokens/{userToken}``."""

import time
from collections.abc import Callable, Mapping
from typing import Any, Final
from urllib.parse import unquote

import attrs

from algolia_events.sandbox import _insights_rules as rules
from algolia_events.sandbox._answers import Answer, RefusedError, html_answer, json_answer, refusal_answer
from algolia_events.sandbox._attribution import QueryIds
from algolia_events.sandbox._credentials import Credentials, Doorkeeper
from algolia_events.sandbox._ledger import Ledger

EVENTS_PATH: Final = "/1/events"
TOKENS_PATH: Final = "/1/usertokens/"
_MINUTE_S: Final = 60
_MILLISECONDS: Final = 1000

Reject = Callable[[Mapping[str, Any]], str | None]


@attrs.frozen(kw_only=True)
class Call:
    """A request that is here in full; ``body`` is None when it is too large to be read."""

    number: int
    method: str
    path: str
    headers: Mapping[str, str]
    credentials: Credentials
    body: bytes | None


@attrs.define(kw_only=True)
class InsightsApi:
    """Answers what is sent to the Insights API and enters it into the ledger.

    The checks in their order: path (404), method (405), credentials (401), size (413), encoding and syntax (400),
    and the rules of ``_insights_rules`` (422). The content type is not looked at:
    browsers' beacons send ``text/plain``.
    """

    ledger: Ledger
    query_ids: QueryIds
    senders: Doorkeeper
    deleters: Doorkeeper
    max_age_s: float
    deletes_per_minute: int
    reject: Reject | None
    _deletes: int = attrs.field(default=0, init=False)
    _period: int = attrs.field(default=0, init=False)

    def answer(self, call: Call) -> Answer:
        """Handle a request; what it did is in the ledger before this returns."""
        try:
            return self._dispatch(call)
        except RefusedError as refused:
            self.ledger.rejected(call.number, refused)
            return refusal_answer(refused)

    def count_events(self, call: Call) -> int:
        """Count the events of a request without handling it; 0 where there are none to be found."""
        if call.path != EVENTS_PATH or call.body is None:
            return 0
        try:
            return len(rules.parse_events(call.body))
        except (rules.MalformedBodyError, RefusedError):
            return 0

    def _dispatch(self, call: Call) -> Answer:
        if call.path == EVENTS_PATH:
            return self._events(call)
        if call.path.startswith(TOKENS_PATH) and len(call.path) > len(TOKENS_PATH):
            return self._delete(call)
        raise RefusedError(
            404,
            "Path not supported by Insights REST API. Please have a look at "
            "[https://www.algolia.com/doc/rest-api/insights/](https://www.algolia.com/doc/rest-api/insights) "
            "for the list of valid commands.",
        )

    def _events(self, call: Call) -> Answer:
        _expect(call, "POST", self.senders)
        if call.body is None:
            raise RefusedError(413, "Request Entity Too Large")
        if call.headers.get("content-encoding", "identity") != "identity":
            return self._malformed(call, "the body is encoded")
        try:
            events = rules.parse_events(call.body)
        except rules.MalformedBodyError:
            return self._malformed(call, "the body is not JSON")
        now = time.time()
        refusal = self._check(events, oldest_ms=(now - self.max_age_s) * _MILLISECONDS)
        if refusal is not None:
            position, refused = refusal
            self.ledger.rejected(call.number, refused, events=tuple(events), position=position)
            return refusal_answer(refused)
        self.ledger.accepted(call.number, tuple(self.query_ids.judge(event, now=now) for event in events))
        return json_answer(200, {"status": 200, "message": "OK"})

    def _check(self, events: list[Any], *, oldest_ms: float) -> tuple[int, RefusedError] | None:
        """Find the first event that is not acceptable: its place and what is wrong."""
        for position, event in enumerate(events):
            try:
                rules.check_event(event, oldest_ms=oldest_ms)
            except RefusedError as refused:
                return position, refused
            if self.reject is not None and (message := self.reject(event)) is not None:
                return position, RefusedError(422, message, detail="refused by the test's own rule")
        return None

    def _malformed(self, call: Call, detail: str) -> Answer:
        message = "Your client has issued a malformed or illegal request."
        self.ledger.rejected(call.number, RefusedError(400, message, detail=detail))
        return html_answer(400, message)

    def _delete(self, call: Call) -> Answer:
        """Take note of a deletion. It is said to be done within 48 h: the ledger keeps the user's events."""
        _expect(call, "DELETE", self.deleters)
        headers = self._take_delete()
        if headers is None:
            raise RefusedError(429, "Too Many Requests", headers=self._rate_headers())
        token = unquote(call.path.removeprefix(TOKENS_PATH), errors="replace")
        rules.check_user_token(token)
        self.ledger.deleted(call.number, token)
        return Answer(204, headers=headers)

    def _take_delete(self) -> Mapping[str, str] | None:
        """Use up one deletion of this minute; None when there is none left."""
        period = int(time.time()) // _MINUTE_S
        if period != self._period:
            self._period, self._deletes = period, 0
        if self._deletes >= self.deletes_per_minute:
            return None
        self._deletes += 1
        return self._rate_headers()

    def _rate_headers(self) -> Mapping[str, str]:
        return {
            "x-ratelimit-limit": str(self.deletes_per_minute),
            "x-ratelimit-remaining": str(self.deletes_per_minute - self._deletes),
            "x-ratelimit-reset": str((self._period + 1) * _MINUTE_S),
        }


def _expect(call: Call, method: str, doorkeeper: Doorkeeper) -> None:
    if call.method != method:
        raise RefusedError(405, "Method Not Allowed", headers={"allow": method})
    if not doorkeeper.admits(call.credentials):
        raise RefusedError(401, "Invalid credentials")
