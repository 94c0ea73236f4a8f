"""How far an import has come: in order, out of order, and in a file for the next run."""

import os
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import orjson

from algolia_events.cli._console import UsageError
from algolia_events.cli._records import Position
from algolia_events.cli._sources import STDIN, Extent, as_text

_VERSION: Final = 2


@attrs.frozen(kw_only=True)
class State:
    """What a run leaves to the next one."""

    after: Position | None = None
    """The record up to which everything is settled; None: not even the first one."""
    settled_beyond: Sequence[tuple[int, int]] = ()
    """Runs of records (first and last number) that are settled although some record before is not."""
    not_accepted: int = 0
    """How many settled records the server has not accepted."""
    extents: Sequence[Extent] = ()
    """What each input before the one of `after` came to."""

    @property
    def is_fresh(self) -> bool:
        """Whether nothing is settled yet."""
        return self.after is None and not self.settled_beyond

    def is_settled(self, number: int) -> bool:
        """Say whether a record after `after` is settled."""
        return any(first <= number <= last for first, last in self.settled_beyond)


class Window:
    """The records between the first one that is not settled and the last one read.

    Args:
        state: where the run before had come to.
        extents: what each input read to its end came to; it grows as they are read.
    """

    def __init__(self, state: State, extents: Sequence[Extent] = ()) -> None:
        self._extents = extents
        self._after = state.after
        self._open: deque[Position] = deque()
        self._settled: set[int] = set()
        self._not_accepted = state.not_accepted

    def add(self, position: Position) -> None:
        """Enter the next record."""
        self._open.append(position)

    def settle(self, number: int, *, accepted: bool) -> None:
        """Note that a record needs nothing more."""
        self._not_accepted += not accepted
        self._settled.add(number)
        while self._open and self._open[0].number in self._settled:
            self._after = self._open.popleft()
            self._settled.remove(self._after.number)

    def state(self) -> State:
        """Take down how far it has come."""
        beyond: list[tuple[int, int]] = []
        for number in sorted(self._settled):
            if beyond and beyond[-1][1] == number - 1:
                beyond[-1] = (beyond[-1][0], number)
            else:
                beyond.append((number, number))
        extents = () if self._after is None else tuple(self._extents[: self._after.file])
        return State(after=self._after, settled_beyond=beyond, not_accepted=self._not_accepted, extents=extents)


class StateFile:
    """A state on disk, replaced as a whole: after a crash there is the old one or the new one.

    Args:
        path: the file; it need not exist.
        names: the inputs of the import; the ones of the run before, and perhaps more after them.
    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._path = path
        self._names = [name if name == STDIN else as_text(str(Path(name).resolve())) for name in names]

    def load(self) -> State:
        """Read the state; a fresh one where there is no file yet.

        Raises:
            UsageError: it is no state, or one of another import.
        """
        try:
            content = orjson.loads(self._path.read_bytes())
            if content["version"] != _VERSION:
                raise UsageError(f"{self._path}: was written by another version of this command")
            names, state = content["files"], _read(content)
        except FileNotFoundError:
            return State()
        except OSError as exc:
            raise UsageError(f"{self._path}: {exc.strerror}") from exc
        except (ValueError, KeyError, TypeError):
            raise UsageError(f"{self._path}: is not the state of an import; name another file") from None
        if names != self._names[: len(names)]:
            raise UsageError(
                f"{self._path}: belongs to an import of other files; name the same ones, in the same order"
            )
        return state

    def check_writable(self) -> None:
        """Find out before anything is sent.

        Raises:
            UsageError: it cannot be written.
        """
        folder = self._path.parent
        if self._path.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            raise UsageError(f"{self._path}: cannot be written")

    def save(self, state: State) -> None:
        """Write the state, durably; blocks."""
        content = {
            "version": _VERSION,
            "files": self._names,
            "after": None if state.after is None else state.after._asdict(),
            "settled_beyond": state.settled_beyond,
            "not_accepted": state.not_accepted,
            "extents": [list(extent) for extent in state.extents],
        }
        new = self._path.with_name(self._path.name + ".new")
        with new.open("wb") as file:
            file.write(orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)


def _read(content: dict[str, Any]) -> State:
    after = content["after"]
    return State(
        after=None if after is None else Position(**after),
        settled_beyond=[(int(first), int(last)) for first, last in content["settled_beyond"]],
        not_accepted=int(content["not_accepted"]),
        extents=tuple(Extent(int(length), int(checksum)) for length, checksum in content["extents"]),
    )
