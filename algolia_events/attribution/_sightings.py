"""What is remembered of an answer: which object it showed to whom, and where."""

import hashlib
from collections.abc import Iterable
from typing import Final, Self

import attrs

from algolia_events.recommendations import RecommendHit

_DIGEST_BYTES: Final = 16
_SEPARATOR: Final = b" "


def sighting_key(user_token: str, index: str, object_id: str) -> bytes:
    """Make the key under which a user's sighting of an object is kept: a digest, so that a store holds no tokens.

    A digest of a token that can be guessed can be guessed as well: it hides tokens from a glance into the store, not
    from somebody who tries them all.
    """
    return _digest("sighting", user_token, index, object_id)


@attrs.frozen(kw_only=True)
class Sighting:
    """An answer's query ID, the object's position in it, and a digest of the authenticated user, if there was one."""

    query_id: str
    position: int
    authenticated: bytes = b""

    @classmethod
    def of(cls, hit: RecommendHit) -> tuple[bytes, Self] | None:
        """Give the key and value to remember of a hit; None when it lacks what attribution needs."""
        origin = hit.origin
        if origin.query_id is None or origin.user_token is None:
            return None
        key = sighting_key(origin.user_token, origin.index, hit.object_id)
        authenticated = authenticated_digest(origin.authenticated_user_token)
        return key, cls(query_id=origin.query_id, position=hit.position, authenticated=authenticated)

    @classmethod
    def parse(cls, value: bytes) -> Self | None:
        """Read a value that a store gave back; None when it is none of ours.

        Raises:
            TypeError: no bytes.
        """
        if not isinstance(value, bytes):
            raise TypeError(f"a store's values are bytes, not {type(value).__name__}")
        try:
            query_id, position, authenticated = value.split(_SEPARATOR)
            return cls(
                query_id=query_id.decode(), position=int(position), authenticated=bytes.fromhex(authenticated.decode())
            )
        except ValueError:
            return None

    def dump(self) -> bytes:
        """Write the value as a store keeps it."""
        return _SEPARATOR.join((self.query_id.encode(), str(self.position).encode(), self.authenticated.hex().encode()))

    def belongs_to(self, authenticated: bytes) -> bool:
        """Tell whether an event of the same user token may use this.

        Two authenticated users can follow each other in one browser, and so under one user token: then the answer of
        the one is not the other's. Somebody who signs in, or out, stays the same user.
        """
        return not authenticated or not self.authenticated or authenticated == self.authenticated


def authenticated_digest(authenticated_user_token: str | None) -> bytes:
    """Hash an authenticated user's token; empty for none."""
    return b"" if authenticated_user_token is None else _digest("authenticated", authenticated_user_token)


def sightings(hits: Iterable[RecommendHit]) -> dict[bytes, bytes]:
    """Give the entries to keep of hits. Of an object that an answer holds twice, the first counts."""
    entries: dict[bytes, bytes] = {}
    for hit in hits:
        found = Sighting.of(hit)
        if found is not None:
            entries.setdefault(found[0], found[1].dump())
    return entries


def _digest(*parts: str) -> bytes:
    # Lengths keep ("ab", "c") and ("a", "bc") apart.
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for part in parts:
        content = part.encode("utf-8", "surrogatepass")
        digest.update(len(content).to_bytes(8) + content)
    return digest.digest()
