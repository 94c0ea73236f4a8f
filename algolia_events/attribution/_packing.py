"""A hit as few bytes as practical: what a token carries of it.

Strings come with their length, and those of common forms as the number that they write down: hexadecimal digits
(query IDs), UUIDs, the tokens that Algolia's browser library makes ("anonymous-" and a UUID), and URL-safe base64
(`pseudonymous_user_token()`, and many a word by chance).
"""

import base64
import re
from typing import Final
from uuid import UUID

from algolia_events.recommendations import Origin, RecommendHit

_MODELS: Final = (None, "related-products", "bought-together", "looking-similar", "trending-items")
"""By number. The order is part of the format: append only."""

_ABSENT: Final = 0
_TEXT: Final = 1
_HEX: Final = 2
_UUID: Final = 3
_ANONYMOUS: Final = 4
_BASE64: Final = 5
_KINDS: Final = 6
_MORE: Final = 0x80
"""The eighth bit of a number's byte: more follow."""

_HEX_FORM: Final = re.compile(r"(?:[0-9a-f]{2})+")
_UUID_FORM: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ANONYMOUS_PREFIX: Final = "anonymous-"
_BASE64_FORM: Final = re.compile(r"(?:[A-Za-z0-9_-]{4})*[A-Za-z0-9_-]{2,4}")
_UUID_BYTES: Final = 16


def pack(hit: RecommendHit) -> bytes:
    """Pack a hit, without its record.

    Raises:
        ValueError: a string holds half a surrogate pair, which UTF-8 cannot say.
    """
    origin = hit.origin
    model = _MODELS.index(origin.model) if origin.model in _MODELS else 0
    return b"".join(
        (
            _number(model),
            _number(hit.position),
            _string(origin.query_id),
            _string(origin.index),
            _string(hit.object_id),
            _string(origin.user_token),
            _string(origin.authenticated_user_token),
        )
    )


def unpack(packed: bytes) -> RecommendHit:
    """Undo `pack()`; the record holds the object ID alone.

    Raises:
        ValueError: the bytes were not made by `pack()`.
    """
    reader = _Reader(packed)
    model = reader.number()
    position = reader.number()
    query_id, index, object_id, user_token, authenticated = (reader.string() for _ in range(5))
    if index is None or object_id is None or model >= len(_MODELS) or not reader.at_end():
        raise ValueError("not a packed hit")
    origin = Origin(
        index=index,
        query_id=query_id,
        model=_MODELS[model],
        user_token=user_token,
        authenticated_user_token=authenticated,
    )
    return RecommendHit(origin, object_id, position, {"objectID": object_id})


def _number(value: int) -> bytes:
    """Seven bits a byte, the lowest first; the eighth bit says that more follow."""
    parts = bytearray()
    while value >= _MORE:
        parts.append(value % _MORE + _MORE)
        value >>= 7
    parts.append(value)
    return bytes(parts)


def _string(text: str | None) -> bytes:
    if text is None:
        return _number(_ABSENT)
    kind, content = _content(text)
    # The kind and the length in one number, which is one byte for up to 20 bytes of content.
    return _number(len(content) * _KINDS + kind) + content


def _content(text: str) -> tuple[int, bytes]:
    if _HEX_FORM.fullmatch(text):
        return _HEX, bytes.fromhex(text)
    if _UUID_FORM.fullmatch(text):
        return _UUID, UUID(text).bytes
    if text.startswith(_ANONYMOUS_PREFIX) and _UUID_FORM.fullmatch(text, len(_ANONYMOUS_PREFIX)):
        return _ANONYMOUS, UUID(text.removeprefix(_ANONYMOUS_PREFIX)).bytes
    if _BASE64_FORM.fullmatch(text):
        content = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        if _base64(content) == text:  # the last letter can have bits that the bytes do not keep
            return _BASE64, content
    return _TEXT, text.encode()


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


class _Reader:
    """Reads numbers and strings one after the other."""

    def __init__(self, packed: bytes) -> None:
        self._packed = packed
        self._place = 0

    def at_end(self) -> bool:
        return self._place == len(self._packed)

    def number(self) -> int:
        value = shift = 0
        while True:
            (byte,) = self._take(1)
            value |= (byte % _MORE) << shift
            shift += 7
            if byte < _MORE:
                return value

    def string(self) -> str | None:
        size, kind = divmod(self.number(), _KINDS)
        content = self._take(size)
        if kind == _ABSENT:
            return None
        if kind == _TEXT:
            return content.decode()
        if kind == _HEX:
            return content.hex()
        if kind == _BASE64:
            return _base64(content)
        if len(content) != _UUID_BYTES:
            raise ValueError("a UUID has 16 bytes")
        return (_ANONYMOUS_PREFIX if kind == _ANONYMOUS else "") + str(UUID(bytes=content))

    def _take(self, size: int) -> bytes:
        taken = self._packed[self._place : self._place + size]
        if len(taken) != size:
            raise ValueError("the bytes end too early")
        self._place += size
        return taken
