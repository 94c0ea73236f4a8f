"""Which process holds which row, known to the kernel: a lock ends with its holder, however that ends."""

import errno
import os
import struct
import sys
from pathlib import Path
from typing import Final, Protocol

from algolia_events.errors import ConfigurationError

try:
    import fcntl
except ImportError:  # Windows
    _SET_LOCK = None
else:
    _SET_LOCK = fcntl.F_OFD_SETLK if sys.platform == "linux" else None

_FLOCK: Final = "@hhqqi4x"
"""`struct flock`: type, whence, start, length, process (0 for locks of an open file), padding; see fcntl_locking(2)."""
_BUSY: Final = frozenset({errno.EAGAIN, errno.EACCES})
WHOLE_STORE: Final = 0
"""The number whose lock guards the store as a whole; rows are numbered from 1."""


class ClaimLocks(Protocol):
    """Locks by number, held against every other process."""

    def take(self, number: int) -> bool:
        """Lock a number, unless another holds it; to lock one's own again succeeds."""
        ...

    def drop(self, number: int) -> None:
        """Unlock a number."""
        ...

    def close(self) -> None:
        """Drop all locks."""
        ...


class KernelLocks:
    """Locks on single bytes of a file, that far from its beginning; the file itself stays empty.

    Locks of the open file description (Linux 3.15): two users in one process exclude each other as two processes do,
    and closing some other descriptor of the file takes nothing away.
    """

    def __init__(self, path: Path) -> None:
        if _SET_LOCK is None:
            raise ConfigurationError("this system has no locks of open file descriptions")
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self, number: int) -> bool:
        """Lock the byte; False where another process holds it."""
        try:
            self._set(fcntl.F_WRLCK, number)
        except OSError as exc:
            if exc.errno in _BUSY:
                return False
            raise
        return True

    def drop(self, number: int) -> None:
        """Unlock the byte."""
        self._set(fcntl.F_UNLCK, number)

    def close(self) -> None:
        """Close the file, and with it all locks, unless a forked child holds the same descriptor."""
        os.close(self._fd)

    def _set(self, kind: int, number: int) -> None:
        request = struct.pack(_FLOCK, kind, os.SEEK_SET, number, 1, 0)
        fcntl.fcntl(self._fd, _SET_LOCK, request)  # type: ignore[arg-type]


def kernel_has_claim_locks() -> bool:
    """Say whether `KernelLocks` works on this system."""
    return _SET_LOCK is not None
