"""Which host is asked next: those that answered before those that failed."""

from collections.abc import Sequence
from typing import Final

from algolia_events.errors import ConfigurationError

DOWN_SECONDS: Final = 300.0
"""How long a host that failed is passed over, as in Algolia's own clients."""


class Hosts:
    """A list of base URLs in their order of preference, and which of them failed lately.

    A host that failed is asked after all others for five minutes. Then one call, and only one, tries it at its
    usual place: if it still fails, that call has paid its timeout and all others have not.
    """

    def __init__(self, urls: Sequence[str], *, down_seconds: float = DOWN_SECONDS) -> None:
        if not urls:
            raise ConfigurationError("recommend_urls must name one host at least")
        self._urls = tuple(dict.fromkeys(urls))
        self._down_seconds = down_seconds
        self._failed_at: dict[str, float] = {}

    def order(self, *, now: float) -> tuple[str, ...]:
        """Give every host in the order in which one call asks them: never none.

        The first host whose five minutes are over is given at its place to this call, and counts as failed for those
        that come after, until `answered()`.
        """
        due = next((url for url in self._urls if now - self._failed_at.get(url, now) >= self._down_seconds), None)
        up = [url for url in self._urls if url == due or url not in self._failed_at]
        down = [url for url in self._urls if url not in up]
        if due is not None:
            self._failed_at[due] = now
        return (*up, *sorted(down, key=self._failed_at.__getitem__))

    def answered(self, url: str) -> None:
        """Take a host as up again."""
        self._failed_at.pop(url, None)

    def failed(self, url: str, *, now: float) -> None:
        """Pass a host over for a while."""
        self._failed_at[url] = now
