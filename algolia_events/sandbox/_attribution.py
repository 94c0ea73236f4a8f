"""Which event belongs to which answer: the query IDs given out, and the judgement of events against them.

The real servers join in the same way, but hours later and without telling; see WIRE, Recommend.
"""

import enum
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any, Final

import attrs

MAX_AGE_S: Final = 3600.0
"""A click or conversion counts within one hour of its search."""


_Claim = tuple[str, str | None, int | None]  # object ID, query ID, position


class Reason(enum.StrEnum):
    """Why an object of an event is attributed to an answer, or is not."""

    ATTRIBUTED = "attributed"
    NO_QUERY_ID = "no query ID"
    UNKNOWN_QUERY_ID = "query ID was not given out here"
    OTHER_INDEX = "query ID was given out for another index"
    OTHER_USER = "query ID was given to another user"
    NOT_IN_ANSWER = "object is not in the answer"
    WRONG_POSITION = "object stands at another position"
    TOO_LATE = "more than one hour after the answer"


@attrs.frozen(kw_only=True)
class GivenQueryId:
    """An answer whose query ID was given out: what it held, and whom it was for (None: nobody was named)."""

    query_id: str
    index: str
    model: str
    user_token: str | None
    positions: Mapping[str, int]
    given_at: float


@attrs.frozen(kw_only=True)
class ItemAttribution:
    """The judgement of one object of an event; a filter event is judged as a whole, with an empty ``object_id``."""

    object_id: str
    query_id: str | None
    reason: Reason
    model: str | None

    @property
    def attributed(self) -> bool:
        """Whether it is attributed to an answer."""
        return self.reason is Reason.ATTRIBUTED


@attrs.frozen(kw_only=True)
class Attribution:
    """The judgement of an accepted event, object by object."""

    event: Mapping[str, Any]
    items: tuple[ItemAttribution, ...]

    @property
    def attributed(self) -> bool:
        """Whether every object of the event is attributed to an answer."""
        return all(item.attributed for item in self.items)

    @property
    def reason(self) -> Reason:
        """The first reason against it, if any."""
        return next((item.reason for item in self.items if not item.attributed), Reason.ATTRIBUTED)

    @property
    def model(self) -> str | None:
        """The model of the first answer that an object of it belongs to, or ``search`` (see ``give_query_id``)."""
        return next((item.model for item in self.items if item.model is not None), None)

    @property
    def index(self) -> str | None:
        """The index that the event names."""
        return self.event.get("index")


@attrs.define
class ModelCounts:
    """How the answers of one model fared: how many were given, and how many were clicked or converted on at all."""

    answers: int = 0
    clicked: int = 0
    converted: int = 0


class QueryIds:
    """Remembers what was given out, the latest ``max_kept`` answers of it (None: all)."""

    def __init__(self, max_kept: int | None) -> None:
        self._given: OrderedDict[str, GivenQueryId] = OrderedDict()
        self._max_kept = max_kept
        self._outcomes: set[tuple[str, str]] = set()
        self.models: dict[str, ModelCounts] = {}

    def give(
        self,
        *,
        index: str,
        model: str,
        user_token: str | None,
        object_ids: Sequence[str],
        first_position: int,
        now: float,
    ) -> str:
        """Give out a new query ID for an answer with these objects; ``now`` is wall time in seconds."""
        query_id = secrets.token_hex(16)
        positions = {object_id: position for position, object_id in enumerate(object_ids, first_position)}
        self._given[query_id] = GivenQueryId(
            query_id=query_id, index=index, model=model, user_token=user_token, positions=positions, given_at=now
        )
        self.models.setdefault(model, ModelCounts()).answers += 1
        if self._max_kept is not None and len(self._given) > self._max_kept:
            forgotten, _ = self._given.popitem(last=False)
            self._outcomes -= {(forgotten, "click"), (forgotten, "conversion")}
        return query_id

    def judge(self, event: Mapping[str, Any], *, now: float) -> Attribution:
        """Judge an accepted event; one without a timestamp happened ``now``."""
        timestamp = event.get("timestamp")
        happened_at = now if timestamp is None else timestamp / 1000
        items = tuple([self._judge_item(event, claim, happened_at) for claim in _claims(event)])
        return Attribution(event=event, items=items)

    def _judge_item(self, event: Mapping[str, Any], claim: _Claim, happened_at: float) -> ItemAttribution:
        object_id, query_id, position = claim
        if query_id is None:
            return ItemAttribution(object_id=object_id, query_id=None, reason=Reason.NO_QUERY_ID, model=None)
        given = self._given.get(query_id)
        if given is None:
            return ItemAttribution(object_id=object_id, query_id=query_id, reason=Reason.UNKNOWN_QUERY_ID, model=None)
        reason = _compare(event, given, object_id, position, happened_at)
        if reason is Reason.ATTRIBUTED:
            self._note(given, event["eventType"])
        return ItemAttribution(object_id=object_id, query_id=query_id, reason=reason, model=given.model)

    def _note(self, given: GivenQueryId, kind: str) -> None:
        """Count an answer as clicked or converted on, once, however many events say so."""
        outcome = (given.query_id, kind)
        if outcome in self._outcomes:
            return
        counts = self.models[given.model]
        if kind == "click":
            counts.clicked += 1
        elif kind == "conversion":
            counts.converted += 1
        else:
            return
        self._outcomes.add(outcome)


def _claims(event: Mapping[str, Any]) -> Iterable[_Claim]:
    """Say for each object what the event claims of it; an item's own query ID goes before the event's."""
    query_id = event.get("queryID")
    object_ids = event.get("objectIDs") or ("",)
    positions = event.get("positions") or repeat(None)
    items = event.get("objectData")
    query_ids = repeat(query_id) if items is None else (item.get("queryID", query_id) for item in items)
    return zip(object_ids, query_ids, positions, strict=False)


def _compare(
    event: Mapping[str, Any], given: GivenQueryId, object_id: str, position: int | None, happened_at: float
) -> Reason:
    if event.get("index") != given.index:
        return Reason.OTHER_INDEX
    if given.user_token is not None and given.user_token not in {
        event["userToken"],
        event.get("authenticatedUserToken"),
    }:
        return Reason.OTHER_USER
    if object_id and object_id not in given.positions:
        return Reason.NOT_IN_ANSWER
    if position is not None and given.positions[object_id] != position:
        return Reason.WRONG_POSITION
    if happened_at - given.given_at > MAX_AGE_S:
        return Reason.TOO_LATE
    return Reason.ATTRIBUTED
