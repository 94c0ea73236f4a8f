"""Looking through what arrived: events that filter themselves, and assertions whose failures say what was there."""

import abc
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from algolia_events.sandbox._attribution import Attribution, Reason
from algolia_events.sandbox._ledger import Rejection

Event = Mapping[str, Any]

KINDS: Final = ("click", "conversion", "view", "instantsearch", "addToCart", "purchase")
"""What an event may be: its ``eventType``, or its ``eventSubtype``."""
_MAX_SHOWN: Final = 10


def matching(
    *,
    kind: str | None = None,
    user: str | None = None,
    index: str | None = None,
    name: str | None = None,
    object_id: str | None = None,
) -> Callable[[Event], bool]:
    """Make a test of whether an event has all that is asked for; ``user`` is either of its two tokens.

    Raises:
        ValueError: there is no such kind: a typing error must not look like an event that never came.
    """
    if kind is not None and kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, it must be one of {', '.join(KINDS)}")

    def matches(event: Event) -> bool:
        return (
            (kind is None or kind in (event.get("eventType"), event.get("eventSubtype")))
            and (user is None or user in (event.get("userToken"), event.get("authenticatedUserToken")))
            and (index is None or index == event.get("index"))
            and (name is None or name == event.get("eventName"))
            and (object_id is None or object_id in event.get("objectIDs", ()))
        )

    return matches


class Events(tuple[Event, ...]):
    """Events in their order, as they stood on the wire.

    Call it to choose among them: ``sandbox.events(kind="click", user="user-1")``.
    """

    __slots__ = ()

    def __call__(self, **wanted: str | None) -> "Events":
        """Give those that match; see ``matching`` for what can be asked."""
        return Events(filter(matching(**wanted), self))


class EventAssertions(abc.ABC):
    """Assertions for whatever has received events."""

    @property
    @abc.abstractmethod
    def events(self) -> Events:
        """The events that were received, in order."""

    def assert_events(self, count: int, **wanted: str | None) -> Events:
        """Assert that so many events match, and give them.

        Raises:
            AssertionError: there were more or fewer; it lists what was there.
        """
        found = self.events(**wanted)
        if len(found) != count:
            raise AssertionError(
                f"{len(found)} events instead of {count} match {_words(wanted)}; received were {_listing(self.events)}"
            )
        return found


class SandboxAssertions(EventAssertions):
    """Assertions about what the sandbox made of the events."""

    @property
    @abc.abstractmethod
    def attributions(self) -> tuple[Attribution, ...]:
        """The accepted events with their judgements."""

    @property
    @abc.abstractmethod
    def rejected(self) -> tuple[Rejection, ...]:
        """The refused requests."""

    def assert_attributed(self, *, model: str | None = None, **wanted: str | None) -> tuple[Attribution, ...]:
        """Assert that there are events that match, that each is attributed (to an answer of ``model``), and give them.

        Raises:
            AssertionError: none matches, or one is not attributed; it says why not.
        """
        found = self._judged(wanted)
        wrong = [one for one in found if not one.attributed or (model is not None and one.model != model)]
        if wrong:
            reasons = "; ".join(f"{_title(one.event)}: {_why(one, model)}" for one in wrong[:_MAX_SHOWN])
            raise AssertionError(f"{len(wrong)} of {len(found)} events are not attributed as they should be: {reasons}")
        return found

    def assert_not_attributed(self, reason: Reason | None = None, **wanted: str | None) -> tuple[Attribution, ...]:
        """Assert that there are events that match, that none is attributed (for this reason), and give them.

        Raises:
            AssertionError: none matches, one is attributed, or for another reason it is not.
        """
        found = self._judged(wanted)
        for one in found:
            if one.attributed or (reason is not None and one.reason is not reason):
                expected = "not attributed" if reason is None else f"{reason.value!r}"
                raise AssertionError(f"{_title(one.event)}: {one.reason.value!r} instead of {expected}")
        return found

    def assert_nothing_rejected(self) -> None:
        """Assert that no request was refused.

        Raises:
            AssertionError: one was; it gives the server's words and the sandbox's own detail.
        """
        if self.rejected:
            words = "; ".join(f"{one.status} {one.message} ({one.detail})" for one in self.rejected[:_MAX_SHOWN])
            raise AssertionError(f"{len(self.rejected)} requests were refused: {words}")

    def _judged(self, wanted: Mapping[str, str | None]) -> tuple[Attribution, ...]:
        matches = matching(**wanted)
        found = tuple(one for one in self.attributions if matches(one.event))
        if not found:
            raise AssertionError(f"no event matches {_words(wanted)}; received were {_listing(self.events)}")
        return found


def _why(judged: Attribution, model: str | None) -> str:
    return judged.reason.value if not judged.attributed else f"attributed to {judged.model}, not {model}"


def _words(wanted: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in wanted.items() if value is not None) or "anything"


def _title(event: Event) -> str:
    """Name an event without its user: kind, name, index and objects."""
    kind = event.get("eventSubtype") or event.get("eventType")
    objects = ", ".join(event.get("objectIDs") or event.get("filters") or ())
    return f"{kind} {event.get('eventName')!r} on {event.get('index')} [{objects}]"


def _listing(events: Iterable[Event]) -> str:
    titles = Counter(_title(event) for event in events)
    shown = [title if count == 1 else f"{count} times {title}" for title, count in titles.most_common(_MAX_SHOWN)]
    return "; ".join(shown) + ("; …" if len(titles) > _MAX_SHOWN else "") or "none"
