"""What the sandbox remembers: every request, every event and what became of it."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Generic, Literal, TypeVar

import attrs

from algolia_events.sandbox._answers import RefusedError
from algolia_events.sandbox._attribution import Attribution
from algolia_events.sandbox._broadcast import Broadcast
from algolia_events.sandbox._faults import Api, Fault

Event = Mapping[str, Any]
CredentialsPlace = Literal["headers", "url", "nowhere"]
T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Request:
    """A request as it was received, and what was answered.

    ``headers`` have lower-case names, and a digest where a credential stood. ``path`` is percent-encoded and without
    its query. ``body_digest`` tells whether two bodies were the same. ``events`` counts what a complete body held,
    whether it was accepted, refused or ignored because of a fault. ``status`` is that of the status line sent, None as
    long as (or because) none was. ``received_at`` is monotonic, ``received_at_wall`` seconds since the epoch.
    """

    number: int
    api: Api
    method: str
    path: str
    headers: Mapping[str, str]
    credentials: CredentialsPlace
    fault: Fault | None
    received_at: float
    received_at_wall: float
    body_bytes: int = 0
    body_complete: bool = False
    body_digest: str = ""
    events: int = 0
    status: int | None = None
    answered_at: float | None = None

    @property
    def request_id(self) -> str | None:
        """The ``request-id`` header."""
        return self.headers.get("request-id")


@attrs.frozen(kw_only=True)
class Rejection:
    """A refused request: its events (as far as there were any), the answer's words, and the sandbox's own detail.

    ``position`` is the place of the event that is to blame, None when it is the request.
    """

    request: int
    status: int
    message: str
    detail: str
    position: int | None
    events: tuple[Any, ...]


@attrs.frozen(kw_only=True)
class RequestReceived:
    """Notice: the headers of a request are here."""

    request: Request


@attrs.frozen(kw_only=True)
class RequestAnswered:
    """Notice: a request was answered, or will not be."""

    request: Request


@attrs.frozen(kw_only=True)
class EventsAccepted:
    """Notice: the events of one request were accepted and judged."""

    request: int
    attributions: tuple[Attribution, ...]


@attrs.frozen(kw_only=True)
class EventsRejected:
    """Notice: a request was refused."""

    rejection: Rejection


@attrs.frozen(kw_only=True)
class TokenDeleted:
    """Notice: the events of a user are to be deleted."""

    request: int
    token: str


Notice = RequestReceived | RequestAnswered | EventsAccepted | EventsRejected | TokenDeleted


@attrs.frozen(kw_only=True)
class Counts:
    """How much there was since the start, whatever is still kept."""

    requests: int = 0
    events: int = 0
    attributed: int = 0
    rejections: int = 0
    rejected_events: int = 0


class _Latest(Generic[T]):
    """The latest things added, at most ``max_weight`` of them (None: all); one larger than that is kept alone."""

    def __init__(self, max_weight: int | None) -> None:
        self._items: deque[tuple[int, T]] = deque()
        self._max_weight = max_weight
        self._weight = 0

    def add(self, item: T, *, weight: int = 1) -> None:
        self._items.append((weight, item))
        self._weight += weight
        while self._max_weight is not None and self._weight > self._max_weight and len(self._items) > 1:
            self._weight -= self._items.popleft()[0]

    def all(self) -> tuple[T, ...]:
        return tuple(item for _, item in tuple(self._items))


class Ledger:
    """Keeps the records, tells subscribers, and wakes whoever waits for something to have happened."""

    def __init__(self, max_kept: int | None) -> None:
        if max_kept is not None and max_kept < 1:
            raise ValueError(f"max_kept is {max_kept}, it must be at least 1, or None to keep everything")
        self._max_kept = max_kept
        self._requests: dict[int, Request] = {}
        self._accepted: deque[Attribution] = deque(maxlen=max_kept)
        self._rejections: _Latest[Rejection] = _Latest(max_kept)
        self._deleted_tokens: deque[str] = deque(maxlen=max_kept)
        self._waiters: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []
        self.counts = Counts()
        self.broadcast: Broadcast[Notice] = Broadcast()

    @property
    def requests(self) -> tuple[Request, ...]:
        """The requests kept, in the order of their arrival."""
        return tuple(self._requests.values())

    @property
    def attributions(self) -> tuple[Attribution, ...]:
        """The accepted events kept, judged, in the order of acceptance."""
        return tuple(self._accepted)

    @property
    def events(self) -> tuple[Event, ...]:
        """The accepted events kept, in the order of acceptance."""
        # copied first, in one step: a test in another thread may look while events arrive
        return tuple(attribution.event for attribution in tuple(self._accepted))

    @property
    def rejections(self) -> tuple[Rejection, ...]:
        """The refused requests kept."""
        return self._rejections.all()

    @property
    def deleted_tokens(self) -> tuple[str, ...]:
        """The user tokens kept whose deletion was asked for."""
        return tuple(self._deleted_tokens)

    def next_number(self) -> int:
        """Give the number of the request that comes next, counted from 1."""
        return self.counts.requests + 1

    def received(self, request: Request) -> None:
        """Enter a request whose headers are here."""
        self._requests[request.number] = request
        if self._max_kept is not None and len(self._requests) > self._max_kept:
            del self._requests[next(iter(self._requests))]
        self._count(requests=1)
        self._tell(RequestReceived(request=request))

    def read(self, number: int, *, body_bytes: int, complete: bool, digest: str) -> None:
        """Note how much of a request's body was read."""
        self._update(number, body_bytes=body_bytes, body_complete=complete, body_digest=digest)
        self._wake()

    def ignored(self, number: int, *, events: int) -> None:
        """Note how many events a request held that is ignored because of a fault."""
        self._update(number, events=events)

    def answered(self, number: int, *, status: int | None, at: float) -> None:
        """Note what was answered; None: nothing was, and nothing will be."""
        request = self._update(number, status=status, answered_at=at)
        if request is not None:
            self._tell(RequestAnswered(request=request))

    def accepted(self, number: int, attributions: tuple[Attribution, ...]) -> None:
        """Enter the events of a request that was accepted."""
        self._update(number, events=len(attributions))
        self._accepted.extend(attributions)
        self._count(events=len(attributions), attributed=sum(judged.attributed for judged in attributions))
        self._tell(EventsAccepted(request=number, attributions=attributions))

    def rejected(
        self, number: int, refused: RefusedError, *, events: tuple[Any, ...] = (), position: int | None = None
    ) -> None:
        """Enter a request that was refused, and its events."""
        self._update(number, events=len(events))
        rejection = Rejection(
            request=number,
            status=refused.status,
            message=refused.message,
            detail=refused.detail,
            position=position,
            events=events,
        )
        self._rejections.add(rejection, weight=max(1, len(events)))
        self._count(rejections=1, rejected_events=len(events))
        self._tell(EventsRejected(rejection=rejection))

    def deleted(self, number: int, token: str) -> None:
        """Enter the wish to delete a user's events."""
        self._deleted_tokens.append(token)
        self._tell(TokenDeleted(request=number, token=token))

    async def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Return once it is so; asked again whenever something is entered."""
        if is_so():
            return
        happened = asyncio.get_running_loop().create_future()
        waiter = (is_so, happened)
        self._waiters.append(waiter)
        try:
            await happened
        finally:
            self._waiters.remove(waiter)

    def _update(self, number: int, **changes: Any) -> Request | None:
        request = self._requests.get(number)
        if request is not None:  # it may have given way to newer ones
            request = self._requests[number] = attrs.evolve(request, **changes)
        return request

    def _count(self, **amounts: int) -> None:
        self.counts = attrs.evolve(
            self.counts, **{name: getattr(self.counts, name) + amount for name, amount in amounts.items()}
        )

    def _tell(self, notice: Notice) -> None:
        self.broadcast.publish(notice)
        self._wake()

    def _wake(self) -> None:
        for is_so, happened in self._waiters:
            if happened.done():
                continue
            try:
                if is_so():
                    happened.set_result(None)
            except Exception as exc:  # noqa: BLE001 - a waiter's predicate fails for the waiter, not for the server
                happened.set_exception(exc)
