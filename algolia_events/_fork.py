"""What has to happen in the child after `os.fork()`."""

import os
import weakref
from typing import Protocol


class Forkable(Protocol):
    """Holds something that only one process may use: a lock, a socket, events to send."""

    def after_fork(self) -> None:
        """Start afresh in the child; the parent keeps what there was."""
        ...


# Global since the interpreter's own list of fork handlers is: it cannot be taken back, so there is one entry, made
# when the first object asks for it, and not when the package is imported.
_members: weakref.WeakSet[Forkable] = weakref.WeakSet()
_registered: list[int] = []
_kept: list[object] = []


def watch_forks(member: Forkable) -> None:
    """Have `member.after_fork()` called in each child forked from now on, for as long as the member lives."""
    if not _registered:
        _registered.append(os.getpid())
        os.register_at_fork(after_in_child=_after_fork)
    _members.add(member)


def keep_for_parent(resource: object) -> None:
    """Keep for ever, in a forked child, what is the parent's: closed here, or collected, it would break there."""
    _kept.append(resource)


def _after_fork() -> None:
    for member in tuple(_members):
        member.after_fork()
