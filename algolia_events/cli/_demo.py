"""`algolia-events demo`: the queue at work against a local server, told in a few seconds."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import attrs
import orjson
from rich.console import Console
from rich.table import Table

from algolia_events._client import AlgoliaEvents
from algolia_events.abc import Hook
from algolia_events.cli._console import NOT_ALL_WELL, OK
from algolia_events.cli._demo_events import INDEX, click, events_of_every_kind
from algolia_events.cli._signals import on_stop_signal
from algolia_events.config import QueueOptions, RetryOptions
from algolia_events.events import ObjectData
from algolia_events.recommendations import Recommendations
from algolia_events.reports import Health
from algolia_events.sandbox import Sandbox, Status

_MANY: Final = 2_600
_MORE: Final = 1_000
_OUTAGE_SECONDS: Final = 1.0
_ATTRIBUTED: Final = 3
"""Two clicks and a purchase of recommendations."""
_POISON: Final = "Poison"
_REFUSAL: Final = "This server dislikes the name of the event"


@attrs.define
class _Witness(Hook):
    """Remembers what happened on the way."""

    refusals: list[str] = attrs.field(factory=list)
    retries: int = 0
    moods: list[str] = attrs.field(factory=list)

    def rejected(self, event: bytes, status: int, message: str) -> None:  # noqa: ARG002 - the hook's signature
        self.refusals.append(f"{status}: {message}")

    def retrying(self, events: int, reason: str, delay: float) -> None:  # noqa: ARG002
        self.retries += 1

    def state_changed(self, health: Health) -> None:
        self.moods.append(str(health.state))


def demo(*, page: bool = False) -> int:
    """Show the queue at work against a local server, in a few seconds.

    Starts a sandbox on this machine, sends it a few thousand events of every kind, one that it refuses, and some
    during an outage; asks for recommendations and has clicks and a purchase attributed to them. The exit code is 0
    only if the books of both sides agree.

    ```
    algolia-events demo
    algolia-events demo --page
    ```

    Args:
        page: Keep the server and its page open afterwards, until Ctrl-C.
    """
    return asyncio.run(_demo(Console(highlight=False), keep_open=page))


async def _demo(console: Console, *, keep_open: bool) -> int:
    began = time.monotonic()
    witness = _Witness()
    async with Sandbox(reject=_dislike) as sandbox:
        console.print(f"A server that judges like Algolia's runs on this machine, at [bold]{sandbox.url}[/]\n")
        client = AlgoliaEvents(
            app_id="DEMO",
            api_key="made-up-for-the-demo",
            insights_url=sandbox.url,
            recommend_urls=[sandbox.url],
            queue=QueueOptions(linger=0.05),
            retry=RetryOptions(backoff_base=0.1, backoff_cap=0.4),
            hooks=(witness,),
        )
        async with client:
            story = _Story(console, sandbox, client, witness)
            await story.every_kind()
            await story.a_bad_one()
            await story.an_outage()
            await story.recommendations()
        agree = story.balance(time.monotonic() - began)
        if keep_open:
            await _keep_open(console, sandbox.url)
    return OK if agree else NOT_ALL_WELL


def _dislike(event: Mapping[str, Any]) -> str | None:
    return _REFUSAL if event["eventName"] == _POISON else None


async def _keep_open(console: Console, url: str) -> None:
    stopped = asyncio.Event()
    with on_stop_signal(stopped.set):  # before the words that ask for the signal
        console.print(f"\nThe page stays open at [bold]{url}/[/]")
        console.print("Ctrl-C ends it.")
        await stopped.wait()


@attrs.frozen
class _Story:
    """The chapters; each tells what has happened, from what the sandbox and the queue say."""

    console: Console
    sandbox: Sandbox
    client: AlgoliaEvents
    witness: _Witness

    async def every_kind(self) -> None:
        """Send events of all kinds."""
        began = time.perf_counter()
        for event in events_of_every_kind(_MANY):
            self.client.events.track(event)
        tracked = time.perf_counter() - began
        await self.client.events.flush()
        table = Table(title="1. Events of every kind", title_justify="left")
        table.add_column("on the wire")
        table.add_column("accepted", justify="right")
        kinds = Counter(_kind(event) for event in self.sandbox.events)
        for kind, count in sorted(kinds.items()):
            table.add_row(kind, f"{count:,}")
        self.console.print(table)
        self.console.print(
            f"track() took {tracked / _MANY * 1e6:.0f} µs each, the building included, and never waited;"
            f" {self.client.stats().requests} requests carried them all.\n"
        )

    async def a_bad_one(self) -> None:
        """Send one event that the server refuses, among many that it does not."""
        before = self.client.stats().requests
        for number in range(_MORE):
            bad = number == _MORE // 2
            self.client.events.track(click(_POISON if bad else "Clicked Beside Poison", 10_000 + number))
        await self.client.events.flush()
        self.console.print("[italic]2. One bad event among a thousand[/]")
        self.console.print("The server refuses a whole request for one event, and does not say which.")
        self.console.print(
            f"{self.client.stats().requests - before} requests found it; the other {_MORE - 1} were accepted."
            f" It was refused with: [bold]{'; '.join(self.witness.refusals)}[/]\n"
        )

    async def an_outage(self) -> None:
        """Send while the server fails."""
        self.sandbox.faults.add(Status(503), seconds=_OUTAGE_SECONDS, api="insights")
        began = time.perf_counter()
        for number in range(_MORE):
            self.client.events.track(click("Clicked In Outage", 20_000 + number))
        self.console.print(f"[italic]3. The server fails for {_OUTAGE_SECONDS:g} second[/]")
        await self.client.events.flush()
        self.console.print(
            f"After {self.witness.retries} retries and {time.perf_counter() - began:.1f} s all {_MORE:,} are there,"
            f" each once. The queue's health went {' → '.join(self.witness.moods)}.\n"
        )

    async def recommendations(self) -> None:
        """Ask for recommendations, and act on them."""
        user = self.client.user("visitor-anna", authenticated_user_token="customer-7")  # noqa: S106 - a user, no secret
        answer: Recommendations = await user.related_products(
            INDEX, object_id="sku-1", threshold=0, max_recommendations=3
        )
        first, second = answer.hits[:2]
        price = ObjectData(price=str(first["price"]), quantity=1)
        self.client.events.track(first.clicked("Recommendation Clicked"))
        self.client.events.track(second.clicked("Recommendation Clicked"))
        self.client.events.track(first.purchased("Recommendation Bought", object_data=price, currency="EUR"))
        user.clicked_object_ids("Clicked Elsewhere", INDEX, [first.object_id])
        await self.client.events.flush()
        table = Table(title="4. What goes with sku-1? And who clicked on it?", title_justify="left")
        for name in ("event", "object", "attributed to"):
            table.add_column(name)
        for judged in self.sandbox.attributions[-4:]:
            cause = f"{judged.model}, query {answer.query_id}" if judged.attributed else f"nothing: {judged.reason}"
            table.add_row(judged.event["eventName"], judged.event["objectIDs"][0], cause)
        self.console.print(table)

    def balance(self, seconds: float) -> bool:
        """Print the books of both sides; return whether they agree."""
        stats, counts = self.client.stats(), self.sandbox.counts
        received = self.sandbox.events
        repeated = len(received) - len({orjson.dumps(dict(event)) for event in received})
        arrived = sum(request.api == "insights" for request in self.sandbox.requests)
        rows: list[tuple[str, object, object]] = [
            ("tracked", stats.tracked, _MANY + 2 * _MORE + 4),
            ("accepted", stats.delivered, counts.events),
            ("refused", stats.rejected, len(self.witness.refusals)),
            ("given up", sum(stats.dropped.values()), 0),
            ("still waiting", stats.pending, 0),
            ("twice", stats.possible_duplicates, repeated),
            ("requests", stats.requests, arrived),
        ]
        table = Table(title="The books", title_justify="left")
        for name in ("", "the queue says", "the server says"):
            table.add_column(name, justify="right" if name else "left")
        for name, ours, theirs in rows:
            table.add_row(name, f"{ours:,}", f"{theirs:,}", style=None if ours == theirs else "red")
        self.console.print(table)
        agree = all(ours == theirs for _, ours, theirs in rows) and counts.attributed == _ATTRIBUTED
        verdict = "[green]They agree.[/]" if agree else "[red]They do not agree.[/]"
        self.console.print(
            f"{verdict} Attributed to a recommendation: {counts.attributed}. Retries: {self.witness.retries}."
            f" Seconds: {seconds:.1f}."
        )
        return agree


def _kind(event: Mapping[str, Any]) -> str:
    """Name the kind of an event as the wire tells it."""
    subtype = event.get("eventSubtype")
    found = "queryID" in event or any("queryID" in item for item in event.get("objectData", ()))
    about = "filters" if "filters" in event else "objects" if "objectIDs" in event else ""
    return " ".join(filter(None, (event["eventType"], subtype, about, "after search" if found else "")))
