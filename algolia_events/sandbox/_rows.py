"""What the page shows of an event or a request: a small mapping, whatever was in it."""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from algolia_events.sandbox._attribution import Attribution
from algolia_events.sandbox._faults import ActiveFault
from algolia_events.sandbox._ledger import Rejection, Request

_TEXT: Final = 160
_MAX_ITEMS: Final = 20
_RAW: Final = 4000

Row = dict[str, Any]


def clip(value: object, length: int = _TEXT) -> str:
    """Give a text of at most so many characters."""
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= length else f"{text[: length - 1]}…"


def accepted_row(judged: Attribution, request: int) -> Row:
    """Show an accepted event, and why it is attributed or not."""
    return {
        **_event_part(judged.event),
        "request": request,
        "verdict": "accepted",
        "attributed": judged.attributed,
        "why": judged.reason.value,
        "model": judged.model,
        "items": [
            [clip(item.object_id), item.reason.value, item.model, clip(item.query_id or "")]
            for item in judged.items[:_MAX_ITEMS]
        ],
    }


def refused_row(rejection: Rejection, position: int) -> Row:
    """Show a refused event: the one to blame with the server's words, the others with the place of that one."""
    is_to_blame = rejection.position in {None, position}
    detail = f" ({clip(rejection.detail)})" if rejection.detail else ""
    return {
        **_event_part(rejection.events[position]),
        "request": rejection.request,
        "verdict": "refused",
        "attributed": False,
        "why": f"{clip(rejection.message)}{detail}" if is_to_blame else f"its batch: event {rejection.position} is bad",
        "model": None,
        "items": [],
    }


def request_row(request: Request, message: str | None) -> Row:
    """Show an answered request, and what was wrong with it."""
    took = None if request.answered_at is None else round(1000 * (request.answered_at - request.received_at), 1)
    return {
        "number": request.number,
        "at": int(1000 * request.received_at_wall),
        "api": request.api,
        "method": clip(request.method, 10),
        "path": clip(request.path),
        "bytes": request.body_bytes,
        "events": request.events,
        "status": request.status,
        "ms": took,
        "fault": None if request.fault is None else type(request.fault).__name__,
        "why": message,
    }


def fault_row(active: ActiveFault) -> Row:
    """Show a fault in force: its name, what is particular about it, and how long it lasts."""
    fault = active.fault
    values = {
        name: value
        for name in ("status", "seconds", "bytes_per_second", "after_bytes")
        if (value := getattr(fault, name, None)) is not None
    }
    return {
        "name": type(fault).__name__,
        "values": values,
        "api": active.api,
        "times": active.times_left,
        "seconds": None if active.seconds_left is None else round(active.seconds_left, 1),
    }


def _event_part(event: Any) -> Row:
    """Show what any event may have; a refused one need not even be a mapping."""
    fields: Mapping[str, Any] = event if isinstance(event, dict) else {}
    objects = fields.get("objectIDs") or fields.get("filters") or ()
    return {
        "kind": clip(fields.get("eventType", "?"), 20),
        "subtype": clip(fields.get("eventSubtype") or "", 20),
        "name": clip(fields.get("eventName", "")),
        "index": clip(fields.get("index", "")),
        "user": clip(fields.get("userToken", "")),
        "account": clip(fields.get("authenticatedUserToken") or ""),
        "objects": [clip(one) for one in objects[:_MAX_ITEMS]] if isinstance(objects, list) else [clip(objects)],
        "raw": clip(orjson.dumps(event, option=orjson.OPT_INDENT_2).decode(), _RAW),
    }
