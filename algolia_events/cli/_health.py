"""`algolia-events health`: a probe for whatever watches over the relays."""

import time
from functools import partial
from typing import Annotated

from cyclopts import Parameter, validators

from algolia_events.abc import InspectableOutbox
from algolia_events.cli._console import NOT_ALL_WELL, OK, say, say_json
from algolia_events.cli._outbox_options import Outbox, with_outbox

_Count = Annotated[int | None, Parameter(validator=validators.Number(gte=0))]
_Seconds = Parameter(validator=validators.Number(gt=0))


def health(  # noqa: D417 - `_outbox_options` describes --outbox
    *,
    outbox: Outbox = None,
    max_age: Annotated[float | None, _Seconds] = None,
    max_events: _Count = None,
    timeout: Annotated[float, _Seconds] = 3.0,
    json: bool = False,
) -> int:
    """Say whether an outbox can be reached and is being emptied; exit with 0 if so, else with 1.

    ```
    algolia-events health --outbox redis://queue.internal/0 --max-age 300
    ```

    Args:
        max_age: The oldest waiting event may be so many seconds old.
        max_events: So many events may wait.
        timeout: How many seconds the answer may take.
        json: Answer with a JSON object.
    """
    return with_outbox(outbox, partial(_judge, max_age, max_events, json), timeout=timeout)


async def _judge(max_age: float | None, max_events: int | None, as_json: bool, box: InspectableOutbox) -> int:  # noqa: FBT001 - bound by partial
    sizes = await box.sizes()
    age = None if sizes.oldest_ms is None else max(0.0, time.time() - sizes.oldest_ms / 1000)
    problems = []
    if max_age is not None and age is not None and age > max_age:
        problems.append(f"the oldest event waits for {age:.0f} s")
    if max_events is not None and sizes.events > max_events:
        problems.append(f"{sizes.events} events wait")
    if box.notice is not None:
        problems.append(box.notice)
    if as_json:
        say_json({"ok": not problems, "problems": problems, "events": sizes.events})
    else:
        say("; ".join(problems) or f"ok, {sizes.events} events wait")
    return NOT_ALL_WELL if problems else OK
