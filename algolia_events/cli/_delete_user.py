"""`algolia-events delete-user`: have Algolia delete all events of a user."""

import asyncio
import math
import os
import sys
from typing import Annotated, Final

from cyclopts import Parameter

from algolia_events._insights import InsightsClient
from algolia_events.cli import _options
from algolia_events.cli._console import NOT_ALL_WELL, OK, UsageError, note, say
from algolia_events.errors import ApiError, InvalidEventError, RateLimitedError, TransportError
from algolia_events.users import check_user_token

_APP_ID: Final = "ALGOLIA_APP_ID"
_PERIOD_SECONDS: Final = 60
"""Algolia counts deletions by the minute (Insights spec, `x-ratelimit-limit`)."""


def delete_user(  # noqa: D417 - `_options` describes what several commands have
    token: str,
    /,
    *,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"])] = False,
    api_key_env: str = "ALGOLIA_ADMIN_API_KEY",
    region: _options.Region = None,
    insights_url: _options.InsightsUrl = None,
) -> int:
    """Have Algolia delete all events of a user.

    It is done within 48 hours and cannot be undone. The key needs the right (ACL) `deleteObject`, which the key for
    sending events should not have: it is read from another variable of the environment.

    ```
    ALGOLIA_ADMIN_API_KEY=… algolia-events delete-user user-123456
    algolia-events delete-user user-123456 --yes --api-key-env DELETE_KEY --region de
    ```

    Args:
        token: The user token, as in the events.
        yes: Do not ask.
        api_key_env: The variable of the environment that holds the key.
    """
    missing = [name for name in (_APP_ID, api_key_env) if not os.environ.get(name)]
    if missing:
        raise UsageError(f"the environment lacks {' and '.join(missing)}")
    try:
        check_user_token(token)
    except InvalidEventError as exc:
        raise UsageError(f"this cannot be a user token: {exc.problems[0][1]}") from None
    if not yes and not _is_confirmed():
        note("nothing was deleted")
        return NOT_ALL_WELL
    client = InsightsClient.create(
        os.environ[_APP_ID],
        os.environ[api_key_env],
        region or os.environ.get("ALGOLIA_REGION") or None,
        insights_url=insights_url or os.environ.get("ALGOLIA_INSIGHTS_URL") or None,
    )
    return asyncio.run(_delete(client, token))


def _is_confirmed() -> bool:
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("nobody is there to be asked; --yes goes without")
    sys.stderr.write("Delete all events of this user, for good? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


async def _delete(client: InsightsClient, token: str) -> int:
    async with client:
        try:
            await client.delete_user_token(token)
        except RateLimitedError as exc:
            pause = _PERIOD_SECONDS if exc.retry_after is None else exc.retry_after
            note(
                f"algolia-events: the server takes no more deletions for now ({exc.status}: {exc.message});"
                f" try again in {math.ceil(pause)} s"
            )
        except (ApiError, TransportError) as exc:
            note(f"algolia-events: the events were not deleted: {exc}")
        else:
            say("Algolia has taken it on and deletes the events within 48 hours")
            return OK
    return NOT_ALL_WELL
