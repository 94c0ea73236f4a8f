"""`algolia-events outbox`: look into an outbox, and mend what is in it."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import Annotated, Any, Final, Literal

import attrs
import orjson
from cyclopts import Parameter, validators

from algolia_events._batching import SEPARATOR
from algolia_events._groups import ClaimedGroup, DeadLetter
from algolia_events.abc import InspectableOutbox
from algolia_events.cli._console import NOT_ALL_WELL, OK, UsageError, note, say, say_bytes, say_json, say_the_rest
from algolia_events.cli._outbox_options import Outbox, with_outbox

Action = Literal["stats", "list", "rejected", "retry", "export", "purge"]


@attrs.frozen(kw_only=True)
class _Call:
    json: bool
    limit: int
    dead_letters: bool


def outbox(  # noqa: D417 - `_outbox_options` describes --outbox
    action: Action,
    /,
    *,
    outbox: Outbox = None,
    json: bool = False,
    limit: Annotated[int, Parameter(validator=validators.Number(gte=1, lte=1_000_000))] = 100,
    dead_letters: bool = False,
    yes: bool = False,
) -> int:
    """Look into an outbox, and mend what is in it.

    `stats` counts what waits; `list` shows the groups, oldest first; `rejected` shows what the server refused, with
    its words; `retry` has that sent again; `export` writes all waiting events, one a line; `purge` deletes them. All
    but `retry` and `purge` only read, also while others work on the outbox.

    ```
    algolia-events outbox stats --outbox sqlite:///events.db
    algolia-events outbox rejected --json | jq .message
    algolia-events outbox export > events.ndjson
    algolia-events outbox purge --dead-letters --yes
    ```

    Args:
        action: What to do.
        json: One JSON object a line.
        limit: How many to show at most (list, rejected).
        dead_letters: The refused events, rather than those that wait (export, purge).
        yes: Delete without being asked (purge).
    """
    if action == "purge" and not yes:
        raise UsageError("purge deletes events for good; --yes says that you mean it")
    call = _Call(json=json, limit=limit, dead_letters=dead_letters)
    return with_outbox(outbox, partial(_act, _ACTIONS[action], call))


async def _act(action: "_Action", call: _Call, box: InspectableOutbox) -> int:
    code = await action(call, box)
    if box.notice is not None:
        note(f"algolia-events: {box.notice}")
    return code


async def _stats(call: _Call, box: InspectableOutbox) -> int:
    sizes = attrs.asdict(await box.sizes())
    _show(call, {**sizes, "oldest_seconds": _age(sizes["oldest_ms"])})
    return OK


async def _list(call: _Call, box: InspectableOutbox) -> int:
    for group in await box.groups(limit=call.limit):
        _show(
            call,
            {
                "events": group.count,
                "bytes": len(group.body),
                "oldest_seconds": _age(group.oldest_ms),
                "origin": group.origin,
            },
        )
    return OK


async def _rejected(call: _Call, box: InspectableOutbox) -> int:
    for letter in await box.dead_letters(limit=call.limit):
        fields = {"status": letter.status, "message": letter.message, "rejected_ms": letter.rejected_ms}
        _show(call, {**fields, "event": orjson.loads(letter.event)} if call.json else fields)
    return OK


async def _retry(call: _Call, box: InspectableOutbox) -> int:
    _show(call, {"to_be_sent_again": await box.retry_dead_letters()})
    return OK


async def _export(call: _Call, box: InspectableOutbox) -> int:
    count = 0
    try:
        async for event in _dead_events(box) if call.dead_letters else _waiting_events(box):
            say_bytes(event + b"\n")
            count += 1
        say_the_rest()
    except BrokenPipeError:
        return NOT_ALL_WELL
    note(f"{count} events exported; they are still in the outbox")
    return OK


async def _purge(call: _Call, box: InspectableOutbox) -> int:
    count = await box.purge(events=not call.dead_letters, dead_letters=call.dead_letters)
    _show(call, {"purged": count})
    return OK


_Action = Callable[[_Call, InspectableOutbox], Awaitable[int]]
_ACTIONS: Final[Mapping[str, _Action]] = {
    "stats": _stats,
    "list": _list,
    "rejected": _rejected,
    "retry": _retry,
    "export": _export,
    "purge": _purge,
}


async def _waiting_events(box: InspectableOutbox) -> AsyncIterator[bytes]:
    last: ClaimedGroup | None = None
    while groups := await box.groups(after=last and last.key, limit=20):
        for last in groups:
            for event in last.body.split(SEPARATOR):
                yield event


async def _dead_events(box: InspectableOutbox) -> AsyncIterator[bytes]:
    last: DeadLetter | None = None
    while letters := await box.dead_letters(after=last and last.key, limit=1000):
        for last in letters:
            yield last.event


def _show(call: _Call, fields: Mapping[str, Any]) -> None:
    if call.json:
        say_json(fields)
    else:
        say(", ".join(f"{name.replace('_', ' ')} {'-' if value is None else value}" for name, value in fields.items()))


def _age(stamp_ms: int | None) -> int | None:
    return None if stamp_ms is None else max(0, round(time.time() - stamp_ms / 1000))
