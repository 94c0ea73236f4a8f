"""Claims by lease, where the kernel's locks are not to be had: on other systems than Linux."""

import secrets
import sqlite3
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

LEASE_SECONDS: Final = 5.0
_RENEW_SECONDS: Final = 1.0
_BUSY_SECONDS: Final = 10.0

_SCHEMA: Final = "CREATE TABLE IF NOT EXISTS leases (number INTEGER PRIMARY KEY, owner TEXT, until REAL)"
_TAKE: Final = """
INSERT INTO leases (number, owner, until) VALUES (:number, :owner, :now + :lease)
ON CONFLICT (number) DO UPDATE SET owner = :owner, until = :now + :lease
WHERE owner = :owner OR until < :now OR until > :now + 2 * :lease
"""


class LeaseLocks:
    """Locks that end by themselves 5 s after their holder last renewed them, in a small database beside the outbox.

    Time is the machine's monotonic clock, which no correction of the wall clock moves; after a restart it begins
    anew, so a lease that lies too far ahead is void. A holder that was suspended for longer than the lease may send
    what another sends as well.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._owner = secrets.token_hex(8)
        self._ended = threading.Event()
        with closing(self._connect()) as connection:
            connection.execute(_SCHEMA)
        path.chmod(0o600)
        threading.Thread(
            target=_renew, args=(path, self._owner, self._ended), name="algolia_events.leases", daemon=True
        ).start()

    def take(self, number: int) -> bool:
        """Take the lease of a number, unless another's runs."""
        values = {"number": number, "owner": self._owner, "now": time.monotonic(), "lease": LEASE_SECONDS}
        with closing(self._connect()) as connection:
            return connection.execute(_TAKE, values).rowcount == 1

    def drop(self, number: int) -> None:
        """End a lease of ours."""
        with closing(self._connect()) as connection:
            connection.execute("DELETE FROM leases WHERE number = ? AND owner = ?", (number, self._owner))

    def close(self) -> None:
        """End all leases of ours."""
        self._ended.set()
        with suppress(sqlite3.Error), closing(self._connect()) as connection:
            connection.execute("DELETE FROM leases WHERE owner = ?", (self._owner,))

    def _connect(self) -> sqlite3.Connection:
        return _connect(self._path)


def _connect(path: Path) -> sqlite3.Connection:
    # For each step anew: two threads use it, and it is no path where speed counts.
    return sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)


def _renew(path: Path, owner: str, ended: threading.Event) -> None:
    while not ended.wait(_RENEW_SECONDS):
        with suppress(sqlite3.Error), closing(_connect(path)) as connection:
            connection.execute("UPDATE leases SET until = ? WHERE owner = ?", (time.monotonic() + LEASE_SECONDS, owner))
