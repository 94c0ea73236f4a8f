"""A cancellation that was held back for a while is not lost."""

import asyncio

import pytest

from algolia_events._cancelling import cancel_again, cancel_requests, result_of


async def test_what_was_held_back_is_raised_by_the_next_wait_and_counts_once() -> None:
    counts: list[int] = []
    begun = asyncio.Event()

    async def hold_back() -> None:
        try:
            begun.set()
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            cancel_again()
        counts.append(cancel_requests())
        await asyncio.sleep(0)
        counts.append(cancel_requests())

    task = asyncio.create_task(hold_back())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert counts == [1]


async def test_a_task_that_somebody_has_cancelled_is_begun_again_for_whoever_waits() -> None:
    begun: list[asyncio.Task[int]] = []

    async def work(number: int) -> int:
        await asyncio.sleep(0)
        return number

    def begin() -> asyncio.Task[int]:
        begun.append(asyncio.create_task(work(len(begun))))
        return begun[-1]

    waiting = asyncio.create_task(result_of(begin))
    await asyncio.sleep(0)
    begun[0].cancel()

    assert await waiting == 1


async def test_to_cancel_who_waits_leaves_the_task_alone() -> None:
    done = asyncio.Event()
    task = asyncio.create_task(done.wait())
    waiting = asyncio.create_task(result_of(lambda: task))
    await asyncio.sleep(0)

    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    done.set()

    assert await task
