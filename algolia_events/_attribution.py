"""What `algolia.attribution` is: signed tokens and a store of what was shown to whom."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import Final, TypeVar, overload

from algolia_events._limits import MAX_EVENT_AGE
from algolia_events.abc import AttributionStore
from algolia_events.attribution import (
    UPGRADABLE,
    Sighting,
    TokenSigner,
    Upgradable,
    Upgraded,
    authenticated_digest,
    sighting_key,
    sightings,
    upgrade,
    upgrade_parts,
)
from algolia_events.attribution_stores import MemoryAttributionStore
from algolia_events.errors import AttributionError
from algolia_events.events import Event
from algolia_events.recommendations import Recommendations, RecommendHit, RecommendResponse

_log: Final = logging.getLogger("algolia_events")
_E = TypeVar("_E", bound=Event)


class Attribution:
    """Ties later events to the answers that caused them, by tokens that travel or by a store that remembers.

    A store that fails costs attribution, never an answer or an event: failures are counted, and logged when they
    begin and when they end.
    """

    def __init__(
        self,
        keys: Sequence[str | bytes] = (),
        store: AttributionStore | None = None,
        *,
        max_age: float | timedelta = MAX_EVENT_AGE,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """Make the facade.

        Args:
            keys: secrets for tokens; the first signs, all are accepted. Without any, tokens raise.
            store: None means a `MemoryAttributionStore`.
            max_age: how long a token is good for, in seconds or as `timedelta`.
            clock: gives the present as Unix seconds, for tokens; None means `time.time()`.

        Raises:
            ConfigurationError: a key or the age limit is wrong.
        """
        self._signer = TokenSigner(keys, max_age=max_age, clock=clock)
        self._store: AttributionStore = MemoryAttributionStore() if store is None else store
        self._failing = False
        self.store_failures: int = 0

    def sign(self, hit: RecommendHit) -> str:
        """Make a URL-safe token of a hit, for a link or a data attribute; see `TokenSigner.sign()`."""
        return self._signer.sign(hit)

    def resolve(self, token: str) -> RecommendHit:
        """Get the hit of a token back, ready to build events; see `TokenSigner.resolve()`."""
        return self._signer.resolve(token)

    async def remember(self, *answers: Recommendations | RecommendResponse) -> None:
        """Keep, for each hit, which answer showed it to its user and where.

        Of an object in several answers the last counts. Hits without a query ID or a user are passed over.
        """
        entries: dict[bytes, bytes] = {}
        for answer in _each(answers):
            entries |= sightings(answer.hits)
        if not entries:
            return
        try:
            await self._store.put_many(entries)
        except Exception as exc:  # noqa: BLE001 - a store of anybody's: whatever it raises costs attribution only
            self._failed(exc)
        else:
            self._worked()

    async def remember_all(self, answers: Sequence[Recommendations]) -> None:
        """Keep several answers; what a `RecommendClient` calls when told to remember all."""
        await self.remember(*answers)

    @overload
    async def attribute(self, event: Upgradable) -> Upgradable | Upgraded: ...

    @overload
    async def attribute(self, event: _E) -> _E: ...

    async def attribute(self, event: Event) -> Event:
        """Turn an event into its after-search kind where the store knows its user, index and objects.

        A click, conversion or add-to-cart needs all its objects to come from one answer; a purchase takes each item's
        own. Anything else comes back as it is: the same object. Never raises for the store.
        """
        if not isinstance(event, UPGRADABLE):
            return event
        return upgrade(event, await self._find(event))

    @overload
    async def attribute_all(self, event: Upgradable) -> tuple[Upgradable | Upgraded, ...]: ...

    @overload
    async def attribute_all(self, event: _E) -> tuple[_E, ...]: ...

    async def attribute_all(self, event: Event) -> tuple[Event, ...]:
        """Do as `attribute()`, but split an event whose objects come from several answers, or from none, in parts.

        An event whose `value` cannot be shared out among the parts, as not every object has a price, stays whole.
        """
        if not isinstance(event, UPGRADABLE):
            return (event,)
        return upgrade_parts(event, await self._find(event))

    async def aclose(self) -> None:
        """Close the store. One that cannot be closed is logged: there is nothing left to lose."""
        try:
            await self._store.aclose()
        except Exception as exc:  # noqa: BLE001 - as in remember()
            _log.warning("attribution_store_close_failed", extra={"reason": _reason(exc)})

    async def _find(self, event: Upgradable) -> list[Sighting | None]:
        keys = [sighting_key(event.user_token, event.index, object_id) for object_id in event.object_ids]
        try:
            found = _parsed(await self._store.get_many(keys), len(keys))
        except Exception as exc:  # noqa: BLE001 - as in remember()
            self._failed(exc)
            return [None] * len(keys)
        self._worked()
        user = authenticated_digest(event.authenticated_user_token)
        return [sighting if sighting is not None and sighting.belongs_to(user) else None for sighting in found]

    def _failed(self, exc: Exception) -> None:
        self.store_failures += 1
        if not self._failing:
            self._failing = True
            _log.warning("algolia_events.attribution_store_failed", extra={"reason": _reason(exc)})

    def _worked(self) -> None:
        if self._failing:
            self._failing = False
            _log.info("algolia_events.attribution_store_recovered", extra={"failures": self.store_failures})


def _each(answers: Iterable[Recommendations | RecommendResponse]) -> Iterator[Recommendations]:
    """Take responses apart: each of their results is an answer of its own."""
    for answer in answers:
        if isinstance(answer, RecommendResponse):
            yield from (result for result in answer if isinstance(result, Recommendations))
        else:
            yield answer


def _parsed(values: Sequence[bytes | None], wanted: int) -> list[Sighting | None]:
    """Read what a store gave back.

    Raises:
        AttributionError: not a value for each key.
        TypeError: the values are no sequence of bytes.
    """
    if len(values) != wanted:
        raise AttributionError(f"the store gave {len(values)} values for {wanted} keys")
    return [None if value is None else Sighting.parse(value) for value in values]


def _reason(exc: Exception) -> str:
    """Tell an error by our own words, or by its class: others' words may hold an address with its password."""
    return str(exc) if isinstance(exc, AttributionError) else type(exc).__name__
