"""Encryption of a token's content: HMAC-SHA256 in counter mode, from the standard library alone.

HMAC-SHA256 is a pseudorandom function, so its outputs over (nonce, 0), (nonce, 1), … make a key stream for one-time
use (NIST SP 800-38A's counter mode with another function in the block cipher's place). It needs a nonce that does not
repeat under one key: 12 random bytes, as in AES-GCM. It keeps nothing from being changed: whoever uses it signs the
result and checks the signature before decrypting (encrypt-then-MAC).
"""

import hmac
import secrets
from typing import Final

NONCE_BYTES: Final = 12
_BLOCK_BYTES: Final = 32


def encrypt(key: bytes, content: bytes) -> bytes:
    """Encrypt under a fresh nonce, which comes first."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + _mask(key, nonce, content)


def decrypt(key: bytes, sealed: bytes) -> bytes:
    """Undo `encrypt()`. The caller has checked that `sealed` is unchanged."""
    return _mask(key, sealed[:NONCE_BYTES], sealed[NONCE_BYTES:])


def _mask(key: bytes, nonce: bytes, content: bytes) -> bytes:
    blocks = range(-(-len(content) // _BLOCK_BYTES))
    stream = b"".join(hmac.digest(key, nonce + block.to_bytes(4), "sha256") for block in blocks)
    size = len(content)
    return (int.from_bytes(content) ^ int.from_bytes(stream[:size])).to_bytes(size)
