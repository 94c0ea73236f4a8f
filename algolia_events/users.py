"""User tokens: make them, check them, and keep the anonymous one in the cookie that Algolia's own libraries use.

A token must never hold personal data: `pseudonymous_user_token()` hides an e-mail address or a user ID behind a key.
"""

import base64
import hmac
import re
import uuid
from collections.abc import Mapping
from datetime import timedelta
from http.cookies import SimpleCookie
from typing import Final, Literal

from algolia_events import _limits
from algolia_events.errors import ConfigurationError, InvalidEventError
from algolia_events.events import user_token_problems

COOKIE_NAME: Final = "_ALGOLIA"
"""As set and read by Algolia's JavaScript libraries."""
MIN_KEY_BYTES: Final = 16
"""Ours: below that, whoever sees tokens could try all keys."""

_TOKEN: Final = re.compile(f"[{re.escape(_limits.USER_TOKEN_ALPHABET)}]{{1,{_limits.MAX_USER_TOKEN_LENGTH}}}")
_COOKIE_ATTRIBUTE: Final = re.compile(r"[\x21-\x3a\x3c-\x7e]+")
"""Visible ASCII without the semicolon: nothing that could start another attribute or header."""


def anonymous_user_token() -> str:
    """Make a token for a user who is not known, random and in the form that Algolia's JavaScript libraries use."""
    return f"anonymous-{uuid.uuid4()}"


def pseudonymous_user_token(user_id: str | int, *, key: str | bytes) -> str:
    """Make the token of a user who is known: always the same for the same ID and key, telling nothing of the ID.

    It is the HMAC-SHA-256 of the ID, 43 characters. The ID is taken as it is: bring e-mail addresses to one form
    (lower case, no blanks) first. A new key makes new users of all.

    Raises:
        ConfigurationError: the key is shorter than 16 bytes.
        ValueError: the ID is empty or no string or integer.
    """
    secret = key.encode() if isinstance(key, str) else bytes(key)
    if len(secret) < MIN_KEY_BYTES:
        raise ConfigurationError(f"key must have at least {MIN_KEY_BYTES} bytes, not {len(secret)}")
    given: object = user_id
    if isinstance(given, bool) or not isinstance(given, str | int) or given == "":
        raise ValueError("user_id must be a string that is not empty, or an integer")
    digest = hmac.digest(secret, str(user_id).encode(errors="surrogatepass"), "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def is_user_token(value: object) -> bool:
    """Tell whether a value may stand as a user token: 1 to 128 letters, digits and `_=/+-`."""
    return isinstance(value, str) and _TOKEN.fullmatch(value) is not None


def check_user_token(value: str, *, name: str = "user_token") -> str:
    """Return a legal user token.

    Raises:
        InvalidEventError: it is none; the problem is named by `name` and does not show the value.
    """
    problems = user_token_problems(value, name)
    if problems:
        raise InvalidEventError("user", problems)
    return value


def user_token_from_cookie(cookies: str | Mapping[str, str] | None) -> str | None:
    """Read the user token from a request's `_ALGOLIA` cookie, or None where there is no legal one.

    Takes the `Cookie` header (`a=1; _ALGOLIA=anonymous-...`), the cookies as the framework parsed them, or the
    cookie's value alone, which is told from a header by having neither `=` nor `;`.
    """
    if cookies is None:
        return None
    value = _from_header(cookies) if isinstance(cookies, str) else cookies.get(COOKIE_NAME)
    return value if is_user_token(value) else None


def _from_header(header: str) -> str | None:
    # Not `SimpleCookie`, which gives up the whole header for one strange cookie of somebody else's.
    if "=" not in header and ";" not in header:
        return header
    for pair in header.split(";"):
        name, _, value = pair.partition("=")
        if name.strip() == COOKIE_NAME:
            return value.strip().removeprefix('"').removesuffix('"')
    return None


def user_token_cookie(
    token: str,
    *,
    max_age: float | timedelta = timedelta(days=180),
    domain: str | None = None,
    path: str = "/",
    secure: bool = True,
    http_only: bool = False,
    same_site: Literal["Lax", "Strict", "None"] = "Lax",
) -> str:
    """Write the value of a `Set-Cookie` header that keeps the token in the browser.

    `max_age` is in seconds. Algolia's JavaScript libraries read the cookie unless it is `http_only`.

    Raises:
        InvalidEventError: the token is not legal.
        ConfigurationError: an option cannot stand in a cookie.
    """
    cookie: SimpleCookie = SimpleCookie()
    cookie[COOKIE_NAME] = check_user_token(token)
    morsel = cookie[COOKIE_NAME]
    for name, value in (("domain", domain), ("path", path), ("same_site", same_site)):
        if value is None:
            continue
        if not _COOKIE_ATTRIBUTE.fullmatch(value):
            raise ConfigurationError(f"{name} must be visible ASCII without blanks and semicolons")
        morsel[name.replace("_", "")] = value
    morsel["max-age"] = str(int(max_age.total_seconds() if isinstance(max_age, timedelta) else max_age))
    morsel["secure"] = secure
    morsel["httponly"] = http_only
    return morsel.OutputString()
