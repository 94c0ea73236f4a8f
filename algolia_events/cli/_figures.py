"""How an import ended, and its figures."""

import enum

import attrs

from algolia_events.cli._state import State


class End(enum.Enum):
    """Why an import is over."""

    FINISHED = enum.auto()
    INTERRUPTED = enum.auto()
    STALLED = enum.auto()
    BLOCKED = enum.auto()
    UNREADABLE = enum.auto()
    MISCALLED = enum.auto()
    FAILED = enum.auto()


@attrs.frozen(kw_only=True)
class Figures:
    """What became of the records of one run."""

    read: int
    accepted: int
    rejected: int
    """Refused by the server."""
    invalid: int
    """Broke a rule, and was not sent."""
    dropped: int
    """Too old or too large to be sent."""
    pending: int
    """Read, and nothing of the above: for a next run."""
    requests: int
    seconds: float

    @property
    def line(self) -> str:
        """All of it in one line."""
        return ", ".join(
            f"{name} {value:.2f}" if isinstance(value, float) else f"{name} {value}"
            for name, value in attrs.asdict(self).items()
        )


@attrs.frozen(kw_only=True)
class Result:
    """How an import ended; `detail` says more where there is more to say."""

    end: End
    detail: str
    figures: Figures
    state: State
    possible_duplicates: int
    """Sent a second time although the first may have arrived."""
    without_answer: int
    """Pending events whose request was cut off: they may have arrived."""
    is_complete: bool
    """Whether the inputs were read to their end, and nothing is pending."""
