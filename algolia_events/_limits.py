"""What Algolia's servers accept, each number with its source.

"spec" is the published OpenAPI description of the API named; "docs" Algolia's guides; "server" a message
that `POST /1/events` answers with. Where they disagree, the stricter holds.
"""

from typing import Final

MAX_EVENTS_PER_REQUEST: Final = 1000
"""Insights server: "Cannot process more than 1000 events in a batch"."""

MAX_REQUEST_BYTES: Final = 2_000_000
"""Insights docs: a body is *smaller* than 2 MB; read as decimal megabytes, uncompressed, envelope included."""

MAX_EVENT_NAME_LENGTH: Final = 64
"""Insights server: "EventName must contain only visible ASCII characters, and be between 1 and 64 ..."."""

MAX_USER_TOKEN_LENGTH: Final = 128
"""Insights server: "UserToken must ... be between 1 and 128 characters long" (the spec says 129)."""

USER_TOKEN_ALPHABET: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_=/+-"  # noqa: S105
"""Insights spec: the pattern of `userToken` and `authenticatedUserToken`."""

QUERY_ID_ALPHABET: Final = "0123456789abcdef"
QUERY_ID_LENGTH: Final = 32
"""Insights server: "Query ID must be a search query ID (32 characters hexadecimal string)"."""

MESSAGE_QUERY_ID_PREFIX: Final = "message_"
"""Insights spec: an event-level `queryID` may also name a message of an agent."""

MAX_MESSAGE_QUERY_ID_LENGTH: Final = 128
"""Insights spec: the length of such a `queryID`, prefix included."""

MAX_OBJECT_IDS: Final = 20
"""Insights server: "Cannot process more that 20 objects in an event"."""

MAX_FILTERS: Final = 20
"""Insights spec."""

MAX_FILTERS_DOCS: Final = 10
"""Insights docs: what `split()` cuts at, since the stricter number is safe with every server."""

MAX_AMOUNT_LENGTH: Final = 16
"""Insights spec: `price`, `discount` and `value` as decimal strings."""

MIN_TIMESTAMP_MS: Final = 100_000_000_000
"""Below 10^11 a number is no time in milliseconds that a shop could mean: it looks like seconds."""

MAX_TIMESTAMP_MS: Final = 10**15
"""Ours: from here on (the year 33658) a number looks like microseconds; the latest `datetime` is below."""

MAX_EVENT_AGE: Final = 30 * 86_400.0
"""Insights spec, in seconds: older events are refused as "too far in the past"."""

OLD_SERVER_EVENT_AGE: Final = 4 * 86_400.0
"""In seconds: servers of the older contract refuse what is older than four days."""

SMALL_EVENT_BYTES: Final = 8192
"""Ours: what a small event takes at most once it is encoded; nearly all are, and cost less thought for it."""

SMALL_EVENT_CHARACTERS: Final = 580
"""Written with twelve bytes each, as some of Unicode's are, these leave room for all else that a small event holds."""

MAX_INSIGHTS_ANSWER_BYTES: Final = 64 * 1024
"""Ours: an answer of the Insights API is a line of JSON; nothing beyond this is worth memory."""

MAX_RECOMMEND_ANSWER_BYTES: Final = 32 * 1024 * 1024
"""Ours: 30 hits of 100 kB records, ten requests in one call."""

MIN_THRESHOLD: Final = 0
MAX_THRESHOLD: Final = 100
"""Recommend spec: `threshold`, a score."""

MAX_RECOMMENDATIONS: Final = 30
"""Recommend spec: `maxRecommendations`, at least 1."""
