"""The protocols that the library's parts meet at. Implement one to put your own part in."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from algolia_events._groups import ClaimedGroup, DeadLetter, EventGroup, OutboxSizes
from algolia_events._wire import Request, Response
from algolia_events.reports import DropReason, Health, QueueStats


@runtime_checkable
class Transport(Protocol):
    """Sends one request and brings its answer; no retries, no redirects, no reading of bodies."""

    async def send(self, request: Request) -> Response:
        """Send a request and return the answer, of whatever status.

        Raises:
            CertificateError: the server's certificate does not verify.
            TransportError: no answer was had; `ambiguous` says whether bytes of the body had left.
        """
        ...

    async def aclose(self) -> None:
        """Close what was opened for sending; what was borrowed stays open."""
        ...


class Hook:
    """Is told what the queue does; override what you need. Any object with some of these methods is one.

    Calls come from the thread where the thing happens: `tracked` and `dropped` from whoever tracks, the rest from the
    event loop. They must return quickly. One that raises is counted (`stats().callback_errors`), logged once and
    otherwise ignored. Of what a hook causes by itself, an event that it tracks for instance, hooks are not told.
    """

    def attached(self, stats: Callable[[], QueueStats], max_events: int) -> None:
        """A queue has been made that will tell this hook; `stats` takes its counters at any time."""

    def background(self) -> None:
        """The background task is about to start; what is set in `contextvars` here holds in it, and nowhere else."""

    def tracked(self, event: object) -> None:
        """An event was taken in."""

    def dropped(self, reason: DropReason, count: int) -> None:
        """Events were given up."""

    def batch_sent(self, events: int, body_bytes: int) -> None:
        """A request leaves."""

    def batch_settled(self, events: int, result: str, seconds: float) -> None:
        """An attempt is over.

        `result` is "accepted", "refused", "too_large", "failed", "blocked", or "interrupted" from outside.
        """

    def rejected(self, event: bytes, status: int, message: str) -> None:
        """The server refused an event for good; `event` is its JSON as it was sent."""

    def retrying(self, events: int, reason: str, delay: float) -> None:
        """A batch goes back into the line; `delay` is the number of seconds until the next request may leave."""

    def state_changed(self, health: Health) -> None:
        """The sending goes better, or worse, than before."""


@runtime_checkable
class AttributionStore(Protocol):
    """Remembers small values for a while: which answer showed an object to a user.

    Keys and values are opaque bytes, keys already hashed. How long and how many is the store's own matter; it may
    forget at any time. Its methods are called from the client's event loop.
    """

    async def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """Get the value of each key, None where there is none (any more).

        Raises:
            AttributionError: the store cannot be read.
        """
        ...

    async def put_many(self, entries: Mapping[bytes, bytes]) -> None:
        """Keep entries, in place of older ones of the same keys.

        Raises:
            AttributionError: the store cannot be written.
        """
        ...

    async def aclose(self) -> None:
        """Close what was opened; what was borrowed stays open."""
        ...


@runtime_checkable
class Outbox(Protocol):
    """Keeps groups of encoded events until some process has sent them.

    One store may serve many processes: `claim()` gives a group to one of them at a time, until that one settles it or
    dies. The methods are called from one event loop, several at a time, and open the store themselves where `open()`
    was not called or where it went away in the meantime. What fails raises `OutboxError`, never an error of the store's
    own library; the same call may be made again later.
    """

    async def open(self) -> None:
        """Open the store; where it is open, see that it still works, as far as that costs little.

        Called at the start, and once a second while the store fails and there is nothing to store in it.

        Raises:
            ConfigurationError: it can never work here, as things are.
            OutboxError: it cannot be opened now.
        """
        ...

    async def store(self, groups: Sequence[EventGroup]) -> None:
        """Keep groups, all or none, after what is there; they are durable on return.

        A store that has begun is not broken off. Cancelled, it waits for the outcome all the same and returns if the
        groups are kept: a caller that was told otherwise would send them a second time.

        Raises:
            OutboxFullError: the bound would be exceeded; nothing was kept.
            OutboxError: nothing was kept.
        """
        ...

    async def claim(self, max_events: int, max_bytes: int) -> Sequence[ClaimedGroup]:
        """Take groups to send, oldest first, until `max_events` or `max_bytes` is reached; the last may go beyond.

        What a dead process had claimed comes with them. Nothing to send gives an empty sequence, at once.

        Raises:
            OutboxError: nothing was claimed.
        """
        ...

    async def settle(
        self,
        *,
        done: Sequence[ClaimedGroup] = (),
        rejected: Sequence[DeadLetter] = (),
        left: Sequence[ClaimedGroup] = (),
    ) -> None:
        """Book what became of claimed groups, all or nothing.

        `done` are gone for good; `rejected` are kept as dead letters; `left` can be claimed again at once, each with
        only the events that it still holds. A group that is no longer ours, or was settled before, is passed over:
        to settle twice does no harm, except that dead letters are kept twice.

        Raises:
            OutboxError: nothing was booked; the groups are still claimed.
        """
        ...

    async def sizes(self) -> OutboxSizes:
        """Count what is there.

        Raises:
            OutboxError: the store cannot be read.
        """
        ...

    @property
    def notice(self) -> str | None:
        """What somebody should know about the store although it works, in a sentence."""
        ...

    async def aclose(self) -> None:
        """Close the store; what this process had claimed can be claimed by others. To do so twice does no harm."""
        ...


@runtime_checkable
class ExchangingOutbox(Outbox, Protocol):
    """An outbox that takes and gives in one step, so that what a process stores it need not read back to send it.

    To be one is optional: of another, `store()`, `settle()` and `claim()` are asked one by one, for the same result.
    """

    async def exchange(
        self,
        groups: Sequence[EventGroup],
        *,
        done: Sequence[ClaimedGroup] = (),
        max_events: int = 0,
        max_bytes: int = 0,
    ) -> Sequence[ClaimedGroup]:
        """Settle what is `done`, store, and claim: all or nothing, durable and claimed before anybody else sees it.

        What is claimed are the oldest groups, as by `claim()`, those of the dead included: the ones that are being
        stored only when no other one is to be had. So whoever gets the last of those, and less than he asked for, need
        not look besides. To claim fewer, or none (`max_events=0`), is no error: there is `claim()` for the rest.
        Cancelled, it waits for the outcome, as `store()` does.

        Raises:
            OutboxFullError: the bound would be exceeded; nothing was kept, nothing settled.
            OutboxError: nothing was kept, nothing settled.
        """
        ...


@runtime_checkable
class InspectableOutbox(Outbox, Protocol):
    """An outbox that can be looked into and mended by hand; the command needs one. Errors as in `Outbox`."""

    async def groups(self, after: object = None, limit: int = 100) -> Sequence[ClaimedGroup]:
        """Read groups, oldest first, without claiming them; `after` is the key of the last one seen."""
        ...

    async def dead_letters(self, after: object = None, limit: int = 100) -> Sequence[DeadLetter]:
        """Read dead letters, oldest first; `after` is the key of the last one seen."""
        ...

    async def retry_dead_letters(self) -> int:
        """Turn every dead letter into an event to send again; return how many there were."""
        ...

    async def purge(self, *, events: bool, dead_letters: bool) -> int:
        """Delete what is asked for, claimed groups excepted; return how many events that were."""
        ...
