"""One open page: what it wants to see, the latest of that, and when there is something new to tell."""

import asyncio
import contextlib
import functools
import itertools
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from algolia_events.sandbox._attribution import Attribution
from algolia_events.sandbox._ledger import EventsAccepted, EventsRejected, Ledger, Notice, Rejection, RequestAnswered
from algolia_events.sandbox._rows import Row, accepted_row, clip, refused_row, request_row

MAX_ROWS: Final = 50
"""Events, and requests, that are shown of one frame; of the rest the page gets the number."""
_MAX_HISTORY: Final = 5000
"""Events that are looked through for a page that has just been opened."""
_MAX_FILTER: Final = 200
_MAX_REFUSALS: Final = 200


@attrs.frozen(kw_only=True)
class Wanted:
    """Which events a page shows; empty texts show all. ``user`` and ``index`` may stand anywhere in the event's."""

    user: str = ""
    index: str = ""
    kind: str = ""
    verdict: str = ""

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> "Wanted":
        """Read it from the parameters of an address."""
        return cls(**{name: query.get(name, "")[:_MAX_FILTER] for name in ("user", "index", "kind", "verdict")})

    @property
    def is_all(self) -> bool:
        """Whether every event is shown."""
        return not (self.user or self.index or self.kind or self.verdict)

    def has_accepted(self, judged: Attribution) -> bool:
        """Tell whether an accepted event is shown."""
        verdicts = {"accepted", "attributed" if judged.attributed else "unattributed", ""}
        return self.verdict in verdicts and self._has_event(judged.event)

    def has_refused(self, event: Any) -> bool:
        """Tell whether a refused event is shown."""
        return self.verdict in {"refused", ""} and self._has_event(event if isinstance(event, dict) else {})

    def _has_event(self, event: Mapping[str, Any]) -> bool:
        users = (str(event.get("userToken", "")), str(event.get("authenticatedUserToken", "")))
        return (
            (not self.kind or self.kind in (event.get("eventType"), event.get("eventSubtype")))
            and (not self.index or self.index in str(event.get("index", "")))
            and (not self.user or any(self.user in user for user in users))
        )


_MakeRow = Callable[[], Row]


class Viewer:
    """Collects for one page between two frames; bounded, whatever comes and however slow the page reads."""

    def __init__(self, wanted: Wanted) -> None:
        self._wanted = wanted
        self._news = asyncio.Event()
        self._over = asyncio.Event()
        self._numbers = itertools.count(1)
        self._events: deque[tuple[int, int, _MakeRow]] = deque(maxlen=MAX_ROWS)
        self._requests: deque[Row] = deque(maxlen=MAX_ROWS)
        self._matched = 0
        self._answered = 0
        self._refusals: OrderedDict[int, str] = OrderedDict()

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self._over.is_set()

    def fill(self, ledger: Ledger) -> None:
        """Begin with what is remembered from before: the latest events, accepted ones last, and requests."""
        for rejection in itertools.islice(reversed(ledger.rejections), _MAX_REFUSALS):
            self._refusals.setdefault(rejection.request, clip(rejection.message))
        for rejection in ledger.rejections[-MAX_ROWS:]:
            self._show_refused(rejection)
        # which requests they came with is not remembered
        self._show_accepted(ledger.attributions[-_MAX_HISTORY:], 0)
        for request in ledger.requests[-MAX_ROWS:]:
            if request.answered_at is not None:
                self._requests.append(request_row(request, self._refusals.get(request.number)))

    def offer(self, item: Notice) -> None:
        """Take note of what is wanted of a notice."""
        match item:
            case EventsAccepted(attributions=attributions, request=request):
                self._show_accepted(attributions, request)
            case EventsRejected(rejection=rejection):
                self._refusals[rejection.request] = clip(rejection.message)
                if len(self._refusals) > _MAX_REFUSALS:
                    self._refusals.popitem(last=False)
                self._show_refused(rejection)
            case RequestAnswered(request=request):
                self._answered += 1
                self._requests.append(request_row(request, self._refusals.pop(request.number, None)))
            case _:
                return
        self._news.set()

    def end(self) -> None:
        """Take note that the sandbox closes."""
        self._over.set()
        self._news.set()

    async def wait(self, *, least: float, most: float) -> None:
        """Return when there is something new, but not before ``least`` seconds nor after ``most``, or at the end."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(least):
                await self._over.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(most - least):
                await self._news.wait()

    def take(self) -> dict[str, Any]:
        """Give what is new, newest last, and forget it; ``skipped`` tells how much more there was."""
        self._news.clear()
        events = [{"id": number, "at": at, **make_row()} for number, at, make_row in self._events]
        requests = list(self._requests)
        news = {
            "events": events,
            "skipped": self._matched - len(events),
            "requests": requests,
            "skipped_requests": max(0, self._answered - len(requests)),
        }
        self._events.clear()
        self._requests.clear()
        self._matched = self._answered = 0
        return news

    def _show_accepted(self, attributions: Sequence[Attribution], request: int) -> None:
        wanted = self._wanted
        chosen = attributions if wanted.is_all else [one for one in attributions if wanted.has_accepted(one)]
        self._show(chosen, lambda judged: accepted_row(judged, request))

    def _show_refused(self, rejection: Rejection) -> None:
        places = [place for place, event in enumerate(rejection.events) if self._wanted.has_refused(event)]
        if rejection.position in places:  # the one to blame comes last, where it is seen
            places.remove(rejection.position)
            places.append(rejection.position)
        self._show(places, lambda place: refused_row(rejection, place))

    def _show(self, things: Sequence[Any], row: Callable[[Any], Row]) -> None:
        """Keep the last of these things; their rows are made when they are asked for."""
        self._matched += len(things)
        now = time.time_ns() // 1_000_000
        for thing in things[-MAX_ROWS:]:
            self._events.append((next(self._numbers), now, functools.partial(row, thing)))
