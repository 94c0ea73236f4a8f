"""The twelve methods of a user, which build an event and hand it on.

A queue's user hands it to `track()`, a client's user sends it at once: that is `_emit`, and the type it gives back.
"""

import abc
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Generic, TypeVar

from algolia_events import events as kinds
from algolia_events.events import Amount, Event, ObjectData
from algolia_events.users import check_user_token

T = TypeVar("T")

Time = int | datetime | None
"""Milliseconds since 1970 or an aware `datetime`; None: when the event is tracked."""
Items = Iterable[ObjectData | Mapping[str, Any]]
"""One for each object."""


class UserEvents(abc.ABC, Generic[T]):
    """Events of one user. Each method raises `InvalidEventError` for what breaks a rule.

    Raises:
        InvalidEventError: a token is not legal.
    """

    def __init__(self, user_token: str, *, authenticated_user_token: str | None = None) -> None:
        self.user_token: str = check_user_token(user_token)
        self.authenticated_user_token: str | None = (
            None
            if authenticated_user_token is None
            else check_user_token(authenticated_user_token, name="authenticated_user_token")
        )

    @abc.abstractmethod
    def _emit(self, event: Event) -> T:
        """Hand an event on."""

    def clicked_object_ids(
        self,
        event_name: str,
        index: str,
        object_ids: Iterable[str],
        *,
        timestamp: Time = None,
    ) -> T:
        """Say that the user clicked objects, outside any answer of Algolia's."""
        return self._emit(
            kinds.ClickedObjectIDs(
                event_name=event_name,
                user_token=self.user_token,
                authenticated_user_token=self.authenticated_user_token,
                timestamp=timestamp,
                index=index,
                object_ids=object_ids,
            )
        )

    def clicked_object_ids_after_search(
        self,
        event_name: str,
        index: str,
        object_ids: Iterable[str],
        *,
        query_id: str,
        positions: Iterable[int],
        timestamp: Time = None,
    ) -> T:
        """Say that the user clicked objects of an answer, at these positions counted from 1 over all pages."""
        return self._emit(
            kinds.ClickedObjectIDsAfterSearch(
                event_name=event_name,
                user_token=self.user_token,
                authenticated_user_token=self.authenticated_user_token,
                timestamp=timestamp,
                index=index,
                object_ids=object_ids,
                query_id=query_id,
                positions=positions,
            )
        )

    def clicked_filters(
        self,
        event_name: str,
        index: str,
        filters: Iterable[str],
        *,
        timestamp: Time = None,
    ) -> T:
        """Say that the user clicked facet filters; `filter_()` builds one."""
        return self._emit(
            kinds.ClickedFilters(
                event_name=event_name,
                user_token=self.user_token,
                authenticated_user_token=self.authenticated_user_token,
                timestamp=timestamp,
                index=index,
                filters=filters,
            )
        )

    def converted_object_ids(
        self,
        event_name: str,
        index: str,
        object_ids: Iterable[str],
        *,
        timestamp: Time = None,
    ) -> T:
        """Say that the user converted on objects, outside any answer of Algolia's."""
        return self._emit(
            kinds.ConvertedObjectIDs(
                event_name=event_name,
                user_token=self.user_token,
                authenticated_user_token=self.authenticated_user_token,
                timestamp=timestamp,
                index=index,
                object_ids=object_ids,
            )
        )

    def converted_object_ids_after_search(
        self,
        event_name: str,
        index: str,
        object_ids: Iterable[str],
        *,
        query_id: str,
        timestamp: Time = None,
    ) -> T:
        """Say that the user converted on objects of an answer."""
        return self._emit(
            kinds.ConvertedObjectIDsAfterSearch(
                event_name=event_name,
                user_token=self.user_token,
                authenticated_user_token=self.authenticated_user_token,
                timestamp=timestamp,
                index=index,
                object_ids=object_ids,
                query_id=query_id,
            )
        )

    def converted_filters(
        self,
        event_name: str,
        index: str,
        filters: Iterable[str],
        *,
        timestamp: Time = None,
    ) -> T:
        """Say that the user converted on a page of filtered objects."""
        return self._emit(
            kinds.ConvertedFilters(
                event_name=event_name,
                user_token=self.user_token,
                authenticated_user_token=self.authenticated_user_token,
                timestamp=timestamp,
                index=index,
                filters=filters,
            )
        )

    def added_to_cart_object_ids(
        self,
        event_name: str,
        index: str,
        object_ids: Iterable[str],
        *,
        object_data: Items | None = None,
        currency: str | None = None,
        value: Amount | Decimal | None = None,
        timestamp: Time = None,
    ) -> T:
        """Say that the user put objects into the cart, outside any answer of Algolia's."""
        return self._emit(
            kinds.AddedToCartObjectIDs(
                event_name=event_name,
                user_token=self.user_token,
                authenticated_user_token=self.authenticated_user_token,
                timestamp=timestamp,
                index=index,
                object_ids=object_ids,
                object_data=object_data,
                currency=currency,
                value=value,
            )
        )

    def added_to_cart_object_ids_after_search(
        self,
        event_name: str,
        index: str,
        object_ids: Iterable[str],
        *,
        query_id: str,
        object_data: Items | None = None,
        currency: str | None = None,
        value: Amount | Decimal | None = None,
        timestamp: Time = None,
    ) -> T:
        """Say that the user put objects of an answer into the cart."""
        return self._emit(
            kinds.AddedToCartObjectIDsAfterSearch(
                event_name=event_name,
                user_token=self.user_token,
                authenticated_user_token=self.authenticated_user_token,
                timestamp=timestamp,
                index=index,
                object_ids=object_ids,
                query_id=query_id,
                object_data=object_data,
                currency=currency,
                value=value,
            )
        )

    def purchased_object_ids(
        self,
        event_name: str,
        index: str,
        object_ids: Iterable[str],
        *,
        object_data: Items | None = None,
        currency: str | None = None,
        value: Amount | Decimal | None = None,
        timestamp: Time = None,
    ) -> T:
        """Say that the user bought objects, outside any answer of Algolia's."""
        return self._emit(
            kinds.PurchasedObjectIDs(
                event_name=event_name,
                user_token=self.user_token,
                authenticated_user_token=self.authenticated_user_token,
                timestamp=timestamp,
                index=index,
                object_ids=object_ids,
                object_data=object_data,
                currency=currency,
                value=value,
            )
        )

    def purchased_object_ids_after_search(
        self,
        event_name: str,
        index: str,
        object_ids: Iterable[str],
        *,
        query_id: str | None = None,
        object_data: Items | None = None,
        currency: str | None = None,
        value: Amount | Decimal | None = None,
        timestamp: Time = None,
    ) -> T:
        """Say that the user bought objects of an answer, or of several with a query ID in each item."""
        return self._emit(
            kinds.PurchasedObjectIDsAfterSearch(
                event_name=event_name,
                user_token=self.user_token,
                authenticated_user_token=self.authenticated_user_token,
                timestamp=timestamp,
                index=index,
                object_ids=object_ids,
                query_id=query_id,
                object_data=object_data,
                currency=currency,
                value=value,
            )
        )

    def viewed_object_ids(
        self,
        event_name: str,
        index: str,
        object_ids: Iterable[str],
        *,
        timestamp: Time = None,
    ) -> T:
        """Say that the user saw objects."""
        return self._emit(
            kinds.ViewedObjectIDs(
                event_name=event_name,
                user_token=self.user_token,
                authenticated_user_token=self.authenticated_user_token,
                timestamp=timestamp,
                index=index,
                object_ids=object_ids,
            )
        )

    def viewed_filters(
        self,
        event_name: str,
        index: str,
        filters: Iterable[str],
        *,
        timestamp: Time = None,
    ) -> T:
        """Say that the user saw a page of filtered objects."""
        return self._emit(
            kinds.ViewedFilters(
                event_name=event_name,
                user_token=self.user_token,
                authenticated_user_token=self.authenticated_user_token,
                timestamp=timestamp,
                index=index,
                filters=filters,
            )
        )
