"""Scripted faults: what can go wrong on the way, as values, and the script that says which request meets which.

Nothing here touches a socket; ``_sabotage`` carries the faults out.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import attrs
from attrs.validators import ge, gt, in_

Api = Literal["insights", "recommend"]
Treatment = Literal["ignored", "handled"]
"""What becomes of the request itself: ``ignored``, or ``handled`` as usual although the client cannot know it."""

_is_treatment = in_(("ignored", "handled"))


@attrs.frozen
class Status:
    """Read the request, then answer with this status.

    Without ``body`` the answer is ``{"status": …, "message": …}`` with the status' standard phrase.
    """

    status: int
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: bytes | None = None
    request: Treatment = attrs.field(default="ignored", validator=_is_treatment, kw_only=True)


@attrs.frozen
class Delay:
    """Handle the request as usual, and hold the answer back for so many seconds."""

    seconds: float = attrs.field(validator=ge(0))


@attrs.frozen
class ResetOnConnect:
    """Reset the next connection as soon as it is made, before TLS and before a byte is read.

    Meets new connections, not requests: one that is already open is not touched.
    """


@attrs.frozen
class ResetBeforeBody:
    """Reset the connection once the headers have been read, without reading the body."""


@attrs.frozen
class ResetInBody:
    """Reset the connection after at least so many bytes of the body have been read (all of it, if it is shorter)."""

    after_bytes: int = attrs.field(default=1, validator=ge(1))


@attrs.frozen
class ResetInAnswer:
    """Handle the request, send half of the answer and reset the connection."""


@attrs.frozen
class CloseWithoutAnswer:
    """Read the request, then close the connection in an orderly way without a word."""

    request: Treatment = attrs.field(default="ignored", validator=_is_treatment, kw_only=True)


@attrs.frozen
class Hang:
    """Read the request and never answer, until the sandbox closes or the client goes away."""

    request: Treatment = attrs.field(default="ignored", validator=_is_treatment, kw_only=True)


@attrs.frozen
class Drip:
    """Handle the request and send the answer, status line included, at this pace."""

    bytes_per_second: float = attrs.field(validator=gt(0))


@attrs.frozen
class EndlessBody:
    """Answer with a body that never ends, until the client goes away or the sandbox closes."""

    status: int = 200
    request: Treatment = attrs.field(default="handled", validator=_is_treatment, kw_only=True)


Fault = (
    Status
    | Delay
    | ResetOnConnect
    | ResetBeforeBody
    | ResetInBody
    | ResetInAnswer
    | CloseWithoutAnswer
    | Hang
    | Drip
    | EndlessBody
)


def is_handled(fault: Fault | None) -> bool:
    """Say whether a request that meets this fault is handled as if nothing were wrong."""
    match fault:
        case Status(request=treatment) | CloseWithoutAnswer(request=treatment):
            return treatment == "handled"
        case Hang(request=treatment) | EndlessBody(request=treatment):
            return treatment == "handled"
        case _:
            return True


@attrs.define(eq=False)
class _Entry:
    """A fault in force: for so many more requests, until a moment, or until it is taken out."""

    fault: Fault | None
    api: Api | None
    remaining: int | None
    until: float | None

    def is_over(self, now: float) -> bool:
        return self.remaining == 0 or (self.until is not None and now >= self.until)

    def concerns(self, api: Api | None) -> bool:
        """``api`` is None for a new connection, which belongs to neither API yet."""
        on_connection = isinstance(self.fault, ResetOnConnect)
        return on_connection if api is None else not on_connection and self.api in {None, api}


@attrs.frozen(kw_only=True)
class ActiveFault:
    """A fault in force: for so many more requests, for so many more seconds, or (both None) until it is taken out."""

    fault: Fault
    api: Api | None
    times_left: int | None
    seconds_left: float | None


class FaultScript:
    """The faults to come, oldest first: a request meets the first that concerns it, and only that one."""

    def __init__(self) -> None:
        self._entries: dict[int, _Entry] = {}
        self._numbers = itertools.count()

    def add(
        self,
        fault: Fault,
        *,
        now: float,
        times: int | None = None,
        seconds: float | None = None,
        api: Api | None = None,
    ) -> None:
        """Let the next ``times`` requests meet this fault, or all of the next ``seconds``; one request by default."""
        if times is not None and times < 1:
            raise ValueError(f"times is {times}, it must be at least 1")
        if seconds is not None and seconds <= 0:
            raise ValueError(f"seconds is {seconds}, it must be above 0")
        if times is None and seconds is None:
            times = 1
        self._enter(_Entry(fault, api, times, None if seconds is None else now + seconds))

    def script(self, faults: Iterable[Fault | None], *, api: Api | None = None) -> None:
        """Let the next requests meet these faults, one each; None leaves a request in peace."""
        for fault in faults:
            self._enter(_Entry(fault, api, 1, None))

    @contextmanager
    def during(self, fault: Fault, *, api: Api | None = None) -> Iterator[None]:
        """Let every request meet this fault while the context is open."""
        number = self._enter(_Entry(fault, api, None, None))
        try:
            yield
        finally:
            self._entries.pop(number, None)

    def clear(self) -> None:
        """Forget every fault, those of open contexts included."""
        self._entries.clear()

    def take(self, api: Api | None, *, now: float) -> Fault | None:
        """Give the fault that a request of this API meets (None: that a new connection meets)."""
        for number, entry in list(self._entries.items()):
            if entry.is_over(now):
                del self._entries[number]
            elif entry.concerns(api):
                if entry.remaining is not None:
                    entry.remaining -= 1
                return entry.fault
        return None

    def pending(self, *, now: float) -> tuple[Fault | None, ...]:
        """List what is still in force, oldest first."""
        return tuple(entry.fault for entry in self._entries.values() if not entry.is_over(now))

    def active(self, *, now: float) -> tuple[ActiveFault, ...]:
        """List what is in force and for how long, oldest first."""
        return tuple(
            ActiveFault(
                fault=entry.fault,
                api=entry.api,
                times_left=entry.remaining,
                seconds_left=None if entry.until is None else entry.until - now,
            )
            for entry in self._entries.values()
            if entry.fault is not None and not entry.is_over(now)
        )

    def _enter(self, entry: _Entry) -> int:
        number = next(self._numbers)
        self._entries[number] = entry
        return number
