"""The event that is measured: a click on one object of an answer, 313 bytes on the wire."""

import random
import time
from typing import Any, Final, NamedTuple

from algolia_events import ClickedObjectIDsAfterSearch

WIRE_BYTES: Final = 313
EVENT_NAME: Final = "Related Product Clicked"
INDEX: Final = "prod_products_en_relevant"


class Values(NamedTuple):
    """What a request handler has at hand when it builds an event; all of it differs from one to the next."""

    object_id: str
    position: int
    query_id: str
    user_token: str
    authenticated_user_token: str


def values(count: int) -> list[Values]:
    """Draw values for `count` events, the same ones at each call."""
    draw = random.Random(1)
    return [
        Values(
            object_id=f"sku-{draw.randrange(10**8):08}",
            position=draw.randrange(1, 10),
            query_id=f"{draw.getrandbits(128):032x}",
            user_token=f"anonymous-{draw.getrandbits(128):032x}",
            authenticated_user_token=f"user-{draw.randrange(10**12):012}",
        )
        for _ in range(count)
    ]


def typed(value: Values) -> ClickedObjectIDsAfterSearch:
    """Build our event."""
    return ClickedObjectIDsAfterSearch(
        event_name=EVENT_NAME,
        index=INDEX,
        object_ids=[value.object_id],
        positions=[value.position],
        query_id=value.query_id,
        user_token=value.user_token,
        authenticated_user_token=value.authenticated_user_token,
    )


def mapping(value: Values) -> dict[str, Any]:
    """Build the same as a dict in the wire's names, timed as ours is when it is tracked."""
    return {
        "eventType": "click",
        "eventName": EVENT_NAME,
        "index": INDEX,
        "userToken": value.user_token,
        "authenticatedUserToken": value.authenticated_user_token,
        "timestamp": time.time_ns() // 1_000_000,
        "objectIDs": [value.object_id],
        "positions": [value.position],
        "queryID": value.query_id,
    }
