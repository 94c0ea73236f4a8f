"""Who is asking: the two credentials of a request, where they stood, and how they are remembered."""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

import attrs

from algolia_events.sandbox._ledger import CredentialsPlace

APP_ID: Final = "x-algolia-application-id"
API_KEY: Final = "x-algolia-api-key"
_SECRET_HEADERS: Final = frozenset({API_KEY, "authorization", "cookie", "proxy-authorization"})


@attrs.frozen
class Credentials:
    """What a request showed; empty strings where it showed nothing."""

    app_id: str = ""
    api_key: str = attrs.field(default="", repr=False)
    place: CredentialsPlace = "nowhere"


def find_credentials(headers: Mapping[str, str], query: Mapping[str, str]) -> Credentials:
    """Read the credentials from the headers (lower-case names), or else from the URL.

    Browsers' clients put them into the URL, as a beacon has no headers of its own.
    """
    if headers.get(APP_ID) or headers.get(API_KEY):
        return Credentials(headers.get(APP_ID, ""), headers.get(API_KEY, ""), "headers")
    parameters = {name.lower(): value for name, value in query.items()}
    if parameters.get(APP_ID) or parameters.get(API_KEY):
        return Credentials(parameters.get(APP_ID, ""), parameters.get(API_KEY, ""), "url")
    return Credentials()


@attrs.frozen(kw_only=True)
class Doorkeeper:
    """Says who may come in; an expectation of None is met by anything but nothing."""

    app_id: str | None
    api_key: str | None = attrs.field(repr=False)

    def admits(self, shown: Credentials) -> bool:
        """Compare what was shown with what is expected."""
        return _meets(shown.app_id, self.app_id) and _meets(shown.api_key, self.api_key)


def _meets(shown: str, expected: str | None) -> bool:
    if expected is None:
        return shown != ""
    return hmac.compare_digest(shown.encode(), expected.encode())


def key_digest(secret: str) -> str:
    """Give the digest under which the sandbox remembers a credential: ``sha256:`` and 16 hexadecimal digits."""
    return f"sha256:{hashlib.sha256(secret.encode()).hexdigest()[:16]}"


def without_secrets(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Give the headers with digests in place of the secrets; names are lower-case."""
    return {name: key_digest(value) if name in _SECRET_HEADERS else value for name, value in headers.items()}
