"""An outbox in one file, shared by the processes of one machine."""

import warnings
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeVar, get_args

from algolia_events._fork import watch_forks
from algolia_events._groups import ClaimedGroup, DeadLetter, EventGroup, OutboxSizes
from algolia_events.errors import ConfigurationError, OutboxFullError
from algolia_events.outbox._claim_leases import LeaseLocks
from algolia_events.outbox._claim_locks import KernelLocks, kernel_has_claim_locks
from algolia_events.outbox._exchange import Call, Exchange, merged, shared_out
from algolia_events.outbox._pending import PendingResult
from algolia_events.outbox._sqlite_store import SQLiteStore
from algolia_events.outbox._worker import Worker, do

Synchronous = Literal["normal", "full"]

_Result = TypeVar("_Result")
_DEFAULT_MAX_BYTES: Final = 1024 * 1024 * 1024
_SMALLEST_MAX_BYTES: Final = 1024 * 1024


class SQLiteOutbox:
    """Keeps groups in an SQLite file in WAL mode, off the event loop; any number of processes may share it.

    What `put()` has returned for survives the death of the process. With `synchronous="normal"` a power cut may cost
    the last moments before it, with "full" nothing, for an fsync a commit. A claim is a lock of the kernel's on one
    byte of `<path>-locks`: it ends with the process that holds it, whatever the clocks say (where there are
    no such locks, on other systems than Linux, leases of 5 s take their place). A file that is damaged is moved
    aside, never deleted, and `notice` says where to; one that never was an outbox is refused. Until something is
    stored, claimed or opened, looking into it (`sizes()`, `groups()`, `dead_letters()`) makes and changes nothing.

    Args:
        path: where the file is, or shall be; on a local file system. It, and what lies beside it, is readable by its
            owner only.
        synchronous: what a power cut may cost.
        max_bytes: how large the file may become, together with what its log takes beyond 16 MiB. Dead letters may take
            a quarter of it.

    Raises:
        ConfigurationError: an argument is wrong.
    """

    def __init__(
        self, path: str | Path, *, synchronous: Synchronous = "normal", max_bytes: int = _DEFAULT_MAX_BYTES
    ) -> None:
        if synchronous not in get_args(Synchronous):
            raise ConfigurationError(f"synchronous must be 'normal' or 'full', not {synchronous!r}")
        if type(max_bytes) is not int or max_bytes < _SMALLEST_MAX_BYTES:
            raise ConfigurationError(f"max_bytes must be at least {_SMALLEST_MAX_BYTES}, not {max_bytes!r}")
        self._path = Path(path).absolute()
        self._store = SQLiteStore(
            self._path,
            synchronous=synchronous,
            max_bytes=max_bytes,
            locks=KernelLocks if kernel_has_claim_locks() else LeaseLocks,
        )
        self._worker: Worker | None = None
        self._calls: deque[Call] = deque()
        watch_forks(self)

    @property
    def notice(self) -> str | None:
        """Say where a damaged file was moved to, or what could not be read of one, if that happened."""
        return self._store.notice

    async def open(self) -> None:
        """Open the file, and make it where there is none; see `Outbox.open`."""
        await self._run(self._store.open)

    async def store(self, groups: Sequence[EventGroup]) -> None:
        """Keep groups; see `Outbox.store`."""
        if groups:
            await self.exchange(groups)

    async def exchange(
        self,
        groups: Sequence[EventGroup],
        *,
        done: Sequence[ClaimedGroup] = (),
        max_events: int = 0,
        max_bytes: int = 0,
    ) -> Sequence[ClaimedGroup]:
        """Settle, keep and claim; see `ExchangingOutbox.exchange`. Calls at the same time share one commit."""
        exchange = Exchange(groups=groups, done=done, max_events=max_events, max_bytes=max_bytes)
        call = Call(exchange, PendingResult())
        self._calls.append(call)
        self._thread().submit(partial(_commit, self._store, self._calls))
        return await call.result.wait()

    async def claim(self, max_events: int, max_bytes: int) -> Sequence[ClaimedGroup]:
        """Take groups to send; see `Outbox.claim`."""
        return await self._run(partial(self._store.claim, max_events, max_bytes))

    async def settle(
        self,
        *,
        done: Sequence[ClaimedGroup] = (),
        rejected: Sequence[DeadLetter] = (),
        left: Sequence[ClaimedGroup] = (),
    ) -> None:
        """Book what became of claimed groups; see `Outbox.settle`."""
        await self._run(partial(self._store.settle, done, rejected, left))

    async def sizes(self) -> OutboxSizes:
        """Count what is there; see `Outbox.sizes`."""
        return await self._run(self._store.sizes)

    async def groups(self, after: object = None, limit: int = 100) -> Sequence[ClaimedGroup]:
        """Read groups; see `InspectableOutbox.groups`."""
        return await self._run(partial(self._store.groups, after, limit))

    async def dead_letters(self, after: object = None, limit: int = 100) -> Sequence[DeadLetter]:
        """Read dead letters; see `InspectableOutbox.dead_letters`."""
        return await self._run(partial(self._store.dead_letters, after, limit))

    async def retry_dead_letters(self) -> int:
        """Send dead letters again; see `InspectableOutbox.retry_dead_letters`."""
        return await self._run(self._store.retry_dead_letters)

    async def purge(self, *, events: bool, dead_letters: bool) -> int:
        """Delete what is asked for; see `InspectableOutbox.purge`."""
        return await self._run(partial(self._store.purge, events=events, dead_letters=dead_letters))

    async def aclose(self) -> None:
        """Close the file and end the thread; see `Outbox.aclose`."""
        worker, self._worker = self._worker, None
        if worker is not None:
            try:
                await worker.run(self._store.close)
            finally:
                worker.stop()

    def after_fork(self) -> None:
        """Begin anew in a forked child: thread, connection and claims are the parent's."""
        self._worker = None
        self._calls = deque()
        self._store.abandon()

    async def _run(self, job: Callable[[], _Result]) -> _Result:
        return await self._thread().run(job)

    def _thread(self) -> Worker:
        if self._worker is None:
            self._worker = Worker("algolia_events.outbox")
        return self._worker

    def __del__(self) -> None:
        worker = getattr(self, "_worker", None)
        if worker is not None:
            worker.submit(self._store.close)
            worker.stop()
            warnings.warn(f"unclosed outbox {self._path}; await aclose()", ResourceWarning, 2, self)


def _commit(store: SQLiteStore, waiting: "deque[Call]") -> None:
    """Do whatever waits in one transaction; the calls that come after it find nothing left."""
    calls = []
    while waiting:
        calls.append(waiting.popleft())
    if not calls:
        return
    try:
        claimed = store.exchange(merged(calls))
    except OutboxFullError:
        for call in calls:  # together they are too much; some may fit
            do(partial(store.exchange, call.exchange), call.result)
    except Exception as exc:  # noqa: BLE001 - it belongs to those who wait
        for call in calls:
            call.result.hand_over(None, exc)
    else:
        for call, share in shared_out(calls, claimed):
            call.result.hand_over(share)
