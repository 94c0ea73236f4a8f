"""What can be said of the user-token cookie, as keyword arguments of whatever sets it."""

from datetime import timedelta
from typing import Literal, TypedDict


class CookieOptions(TypedDict, total=False):
    """The options of `user_token_cookie()`."""

    max_age: float | timedelta
    domain: str | None
    path: str
    secure: bool
    http_only: bool
    same_site: Literal["Lax", "Strict", "None"]
