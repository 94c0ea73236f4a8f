"""A local server that speaks Algolia's Insights and Recommend APIs as strictly as they do, for tests and demos.

It judges by the wire contract and shares no code with the library's own models.
"""

from algolia_events.sandbox._assertions import Events
from algolia_events.sandbox._attribution import Attribution, ItemAttribution, Reason
from algolia_events.sandbox._broadcast import Subscription
from algolia_events.sandbox._catalogue import Catalogue, built_in_catalogue
from algolia_events.sandbox._credentials import key_digest
from algolia_events.sandbox._faults import (
    CloseWithoutAnswer,
    Delay,
    Drip,
    EndlessBody,
    Fault,
    Hang,
    ResetBeforeBody,
    ResetInAnswer,
    ResetInBody,
    ResetOnConnect,
    Status,
)
from algolia_events.sandbox._ledger import (
    Counts,
    EventsAccepted,
    EventsRejected,
    Notice,
    Rejection,
    Request,
    RequestAnswered,
    RequestReceived,
    TokenDeleted,
)
from algolia_events.sandbox._server import SANDBOX, Sandbox, SandboxTimeoutError

__all__ = [
    "SANDBOX",
    "Attribution",
    "Catalogue",
    "CloseWithoutAnswer",
    "Counts",
    "Delay",
    "Drip",
    "EndlessBody",
    "Events",
    "EventsAccepted",
    "EventsRejected",
    "Fault",
    "Hang",
    "ItemAttribution",
    "Notice",
    "Reason",
    "Rejection",
    "Request",
    "RequestAnswered",
    "RequestReceived",
    "ResetBeforeBody",
    "ResetInAnswer",
    "ResetInBody",
    "ResetOnConnect",
    "Sandbox",
    "SandboxTimeoutError",
    "Status",
    "Subscription",
    "TokenDeleted",
    "built_in_catalogue",
    "key_digest",
]
