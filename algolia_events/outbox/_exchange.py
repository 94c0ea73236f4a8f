"""Group commit: exchanges that come while the store is busy wait, and go to it together."""

from collections.abc import Iterator, Sequence

import attrs

from algolia_events._groups import ClaimedGroup, EventGroup
from algolia_events.outbox._pending import PendingResult


@attrs.frozen(kw_only=True)
class Exchange:
    """What is stored, settled and claimed in one step; see `ExchangingOutbox.exchange`."""

    groups: Sequence[EventGroup]
    done: Sequence[ClaimedGroup] = ()
    max_events: int = 0
    max_bytes: int = 0


@attrs.frozen
class Call:
    """An exchange, and the result that its caller waits for."""

    exchange: Exchange
    result: PendingResult[Sequence[ClaimedGroup]]


def merged(calls: Sequence[Call]) -> Exchange:
    """Make one exchange of all."""
    if len(calls) == 1:
        return calls[0].exchange
    exchanges = [call.exchange for call in calls]
    return Exchange(
        groups=[group for each in exchanges for group in each.groups],
        done=[group for each in exchanges for group in each.done],
        max_events=sum(each.max_events for each in exchanges),
        max_bytes=sum(each.max_bytes for each in exchanges),
    )


def shared_out(calls: Sequence[Call], claimed: Sequence[ClaimedGroup]) -> Iterator[tuple[Call, Sequence[ClaimedGroup]]]:
    """Yield each call with its share of what was claimed for all: one that claims gets everything.

    It comes last, so that each of the others hears that its groups are stored before anybody can have sent them.
    """
    claimer = next((call for call in calls if call.exchange.max_events), None)
    for call in calls:
        if call is not claimer:
            yield call, ()
    if claimer is not None:
        yield claimer, claimed
