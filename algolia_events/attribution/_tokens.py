"""Signed tokens: a hit that can travel through a browser and come back unchanged, or be refused.

A token is URL-safe text, `content.time.signature`, made by itsdangerous: the time in seconds and an HMAC-SHA256 over
both, compared in constant time. The content is a packed hit, encrypted, so that a token shows neither the user's
token nor the query ID to who reads logs and links. The signature is cut to 128 bits, as RFC 4868 does: half the length,
and still beyond any guessing.
"""

import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from hashlib import sha256
from typing import Final

import attrs
from itsdangerous import BadData, HMACAlgorithm, Signer, TimestampSigner
from itsdangerous.encoding import base64_decode, base64_encode

from algolia_events._limits import MAX_EVENT_AGE
from algolia_events.attribution._cipher import decrypt, encrypt
from algolia_events.attribution._packing import pack, unpack
from algolia_events.config import seconds
from algolia_events.errors import AttributionError, ConfigurationError, TokenExpiredError, TokenForgedError
from algolia_events.recommendations import RecommendHit

_SIGN_SALT: Final = b"algolia-events.attribution.sign.1"
_ENCRYPT_SALT: Final = b"algolia-events.attribution.encrypt.1"
_SIGNATURE_BYTES: Final = 16
_MAX_TOKEN_LENGTH: Final = 8192
"""What nobody's ids reach: longer texts are refused unread."""


class _ShortHmac(HMACAlgorithm):
    """HMAC-SHA256-128."""

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        return super().get_signature(key, value)[:_SIGNATURE_BYTES]


class _ClockedSigner(TimestampSigner):
    """Signs with a time that is passed in, as all time is here."""

    def __init__(self, key: bytes, clock: Callable[[], float]) -> None:
        super().__init__(
            key, salt=_SIGN_SALT, key_derivation="hmac", digest_method=sha256, algorithm=_ShortHmac(sha256)
        )
        self._clock = clock

    def get_timestamp(self) -> int:
        return int(self._clock())


@attrs.frozen
class _Key:
    """One secret's two derived keys: signing and encryption never share one."""

    signer: _ClockedSigner
    cipher_key: bytes = attrs.field(repr=False)


class TokenSigner:
    """Signs hits and resolves tokens, with keys that can be rotated: the first signs, all are accepted.

    To rotate, put the new key first and drop the old one when its last tokens have expired.
    """

    def __init__(
        self,
        keys: Sequence[str | bytes],
        *,
        max_age: float | timedelta = MAX_EVENT_AGE,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """Make a signer.

        Args:
            keys: secrets of at least 16 random bytes or 32 random letters; anything else can be guessed.
            max_age: seconds or `timedelta`; 30 days, after which Algolia takes no event either.
            clock: gives the present as Unix seconds; None means `time.time()`.

        Raises:
            ConfigurationError: keys are no list, one is empty, or `max_age` is no duration above 0.
        """
        if isinstance(keys, str | bytes):
            raise ConfigurationError("attribution_keys must be a list of keys, not one key: [key]")
        self._clock = _now if clock is None else clock
        self._keys = [_derive(key, self._clock) for key in keys]
        self._max_age = _checked_age(max_age)

    def sign(self, hit: RecommendHit) -> str:
        """Make a token of a hit: its index, object, position, query ID, model and user, not its record.

        Raises:
            ConfigurationError: there are no keys.
            AttributionError: the hit's ids are no Unicode text.
            TypeError: not a hit; a trending facet is none.
        """
        if not isinstance(hit, RecommendHit):
            raise TypeError(f"a token is made of a RecommendHit, not {type(hit).__name__}")
        if not self._keys:
            raise ConfigurationError("signing needs a key: pass attribution_keys=[…]")
        key = self._keys[0]
        try:
            content = pack(hit)
        except UnicodeEncodeError:
            raise AttributionError("the hit's index, object ID or user token is no Unicode text") from None
        return key.signer.sign(base64_encode(encrypt(key.cipher_key, content))).decode()

    def resolve(self, token: object) -> RecommendHit:
        """Get the hit back that a token was made of; its record holds the object ID alone.

        Raises:
            ConfigurationError: there are no keys.
            TokenExpiredError: genuine, but older than the age limit.
            TokenForgedError: signed with none of the keys, changed, cut, or no token at all.
        """
        if not self._keys:
            raise ConfigurationError("resolving needs a key: pass attribution_keys=[…]")
        if not isinstance(token, str) or len(token) > _MAX_TOKEN_LENGTH or not _is_canonical(token):
            raise TokenForgedError("the token is no attribution token of this library")
        for key in self._keys:
            try:
                content, made = key.signer.unsign(token, return_timestamp=True)
            except BadData:
                continue
            age = self._clock() - made.timestamp()
            # A negative age is another machine's clock that is ahead: the token is as genuine.
            if age > self._max_age:
                raise TokenExpiredError(f"the token is older than {self._max_age:g} seconds")
            return _open(key, content)
        raise TokenForgedError("the token is signed with none of the keys, or was changed or cut")


def _now() -> float:
    """Tell the time by the function that `time` has at present, which tests of applications replace."""
    return time.time()


def _checked_age(max_age: float | timedelta) -> float:
    age: object = seconds(max_age)
    if isinstance(age, bool) or not isinstance(age, int | float) or not age > 0:
        raise ConfigurationError(f"max_age must be a number of seconds above 0 or a timedelta, not {max_age!r}")
    return age


def _derive(key: object, clock: Callable[[], float]) -> _Key:
    secret = key.encode() if isinstance(key, str) else key
    if not isinstance(secret, bytes) or not secret:
        raise ConfigurationError("each of attribution_keys must be a string or bytes, and not empty")
    cipher = Signer(secret, salt=_ENCRYPT_SALT, key_derivation="hmac", digest_method=sha256)
    return _Key(_ClockedSigner(secret, clock), cipher.derive_key())


def _open(key: _Key, content: bytes) -> RecommendHit:
    try:
        return unpack(decrypt(key.cipher_key, base64_decode(content)))
    except (ValueError, BadData):
        raise TokenForgedError("the token was signed with our key, but not by this library") from None


def _is_canonical(token: str) -> bool:
    """Whether the signature is written as we write it.

    Base64 text can be changed without changing the bytes that it stands for: the last letter has unused bits, and
    decoders pass over foreign letters. What lies before the signature is signed as text.
    """
    if not token.isascii():
        return False
    signature = token.rpartition(".")[2]
    try:
        return base64_encode(base64_decode(signature)) == signature.encode()
    except BadData:
        return False
