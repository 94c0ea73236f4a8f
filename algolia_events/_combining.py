"""Calls of one user made in one turn of the loop, sent as one request."""

import asyncio
import copy
from collections.abc import Awaitable, Callable, Hashable, Sequence
from functools import partial
from typing import Final

import attrs

from algolia_events._recommend_codec import Question
from algolia_events.errors import (
    AlgoliaEventsError,
    AnswerError,
    BadRequestError,
    ClientClosedError,
    CredentialsError,
    FeatureNotEnabledError,
    NotFoundError,
)
from algolia_events.recommendations import Result

Ask = Callable[[Sequence[Question]], Awaitable[list[Result]]]

MAX_COMBINED: Final = 10
"""Ours: queries in one combined request; what a page of a shop asks for, with room."""

_BLAME: Final = (BadRequestError, CredentialsError, FeatureNotEnabledError, NotFoundError, AnswerError)
"""What one query can bring upon a whole request: a bad parameter, an index that the key may not read or that does not
exist, a model that the plan lacks, a result that cannot be read."""


@attrs.frozen(eq=False)
class _Call:
    questions: Sequence[Question]
    answer: "asyncio.Future[list[Result]]"


class Combiner:
    """Gathers calls until the loop's turn is over, then sends them user by user.

    A caller that is cancelled leaves the others alone. When a combined request is refused for what may be one
    query's fault, its calls are sent again one by one, so that each caller gets his own answer or error.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._waiting: dict[Hashable, list[_Call]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, user: Hashable, questions: Sequence[Question]) -> list[Result]:
        """Wait for the results of questions, asked together with others of the same user."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._send_waiting)
        call = _Call(questions, loop.create_future())
        self._waiting.setdefault(user, []).append(call)
        return await call.answer

    def close(self) -> None:
        """Give up what waits and what is under way: callers get `ClientClosedError`."""
        for calls in self._waiting.values():
            _fail(calls, ClientClosedError("the client was closed before the answer"))
        self._waiting.clear()
        for task in self._tasks:
            task.cancel()

    def _send_waiting(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for calls in waiting.values():
            for group in _requests(calls):
                task = asyncio.create_task(self._send(group))
                self._tasks.add(task)
                task.add_done_callback(partial(self._ended, group))

    def _ended(self, calls: list[_Call], task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        # One that was cancelled has told nobody: it may not even have begun.
        _fail(calls, ClientClosedError("the client was closed before the answer"))

    async def _send(self, calls: list[_Call]) -> None:
        calls = [call for call in calls if not call.answer.done()]
        if not calls:
            return
        try:
            results = await self._ask([question for call in calls for question in call.questions])
        except _BLAME as exc:
            if len(calls) == 1:
                _fail(calls, exc)
            else:
                await asyncio.gather(*(self._send([call]) for call in calls))
        except Exception as exc:  # noqa: BLE001 - whatever it is, the callers get it: nobody waits forever
            _fail(calls, exc)
        else:
            _settle(calls, results)


def _requests(calls: list[_Call]) -> list[list[_Call]]:
    """Cut a user's calls into requests; a call's questions stay together, however many they are."""
    groups: list[list[_Call]] = []
    room = 0
    for call in calls:
        if len(call.questions) > room:
            groups.append([])
            room = MAX_COMBINED
        groups[-1].append(call)
        room -= len(call.questions)
    return groups


def _settle(calls: list[_Call], results: list[Result]) -> None:
    start = 0
    for call in calls:
        end = start + len(call.questions)
        if not call.answer.done():
            call.answer.set_result(results[start:end])
        start = end


def _fail(calls: list[_Call], exc: Exception) -> None:
    for call in calls:
        if not call.answer.done():
            call.answer.set_exception(_own(exc))


def _own(exc: Exception) -> Exception:
    """Copy an error for one caller: one object raised in several tasks would gather the traceback of each."""
    if not isinstance(exc, AlgoliaEventsError):
        return exc
    own = copy.copy(exc)
    own.__cause__ = exc.__cause__
    return own
