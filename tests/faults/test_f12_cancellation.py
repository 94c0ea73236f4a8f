"""F12: cancelling somebody who waits ends his waiting and nothing else, wherever he is."""

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import pytest
from support.rigs import LONG_S, MakeRig, Rig, arrived, click, turns

from algolia_events import EventQueue, QueueOptions, RetryOptions
from algolia_events._retry import Accepted, Outcome
from algolia_events.sandbox import Hang, Sandbox, Status

CANCELLATIONS = 1000
QUICK = RetryOptions(backoff_base=0.001, backoff_cap=0.002)


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_thousand_cancellations_at_random_points(sandbox: Sandbox, make: MakeRig, seed: int) -> None:
    chance = random.Random(seed)
    rig = make(sandbox.url, retry=QUICK, max_events=20, batch_events=5, linger=0.001)
    queue = rig.queue
    cancelled = ended = 0

    def something(number: int) -> Coroutine[Any, Any, Any]:
        waits = (queue.put(click(number)), queue.deliver(click(number)), queue.flush(), queue.submit(click(number)))
        chosen = chance.choice(waits)
        for other in waits:
            if other is not chosen:
                other.close()
        return chosen

    for number in range(CANCELLATIONS):
        if number % 50 == 0:
            sandbox.faults.add(Status(503), times=2)
        crowd = [asyncio.create_task(something(number * 4 + n)) for n in range(chance.randint(1, 4))]
        await turns(chance.randrange(12))
        victim = chance.choice(crowd)
        victim.cancel()
        await asyncio.wait(crowd, timeout=LONG_S)
        assert all(task.done() for task in crowd), "the others go on"
        assert victim.cancelled() or victim.exception() is None
        assert not any(task.cancelled() for task in crowd if task is not victim)
        cancelled += victim.cancelled()
        ended += not victim.cancelled()
    report = await queue.aclose(LONG_S)
    stats = queue.stats()

    assert cancelled > CANCELLATIONS / 4, "most were still waiting"
    assert ended > 0, "and some were not"
    assert (report.delivered, report.dropped, report.pending) == (stats.tracked, 0, 0)
    assert len(arrived(sandbox)) == len(set(arrived(sandbox))) == stats.tracked


async def test_a_close_that_is_cancelled_again_and_again_is_finished_by_the_last(
    sandbox: Sandbox, make: MakeRig
) -> None:
    rig = make(sandbox.url, batch_events=10)
    sandbox.latency = 0.01
    rig.track(500)

    cancelled = 0
    for pause in range(20):
        closing = asyncio.create_task(rig.queue.aclose(LONG_S))
        await turns(pause)
        closing.cancel()
        await asyncio.wait([closing])
        cancelled += closing.cancelled()
    report = await rig.queue.aclose(LONG_S)

    assert cancelled == 20
    assert (report.delivered, report.dropped) == (500, 0)
    assert sorted(arrived(sandbox)) == list(range(500))


async def test_everything_else_in_the_task_group_is_cancelled_as_ever(sandbox: Sandbox, make: MakeRig) -> None:
    rig = make(sandbox.url)
    waiting: list[asyncio.Task[Any]] = []

    async def fail() -> None:
        await turns()
        raise ZeroDivisionError

    async def crowd() -> None:
        async with asyncio.TaskGroup() as group:
            waiting.append(group.create_task(rig.queue.deliver(click(1))))
            waiting.append(group.create_task(rig.queue.flush()))
            group.create_task(fail())

    with sandbox.fault(Status(503)), pytest.raises(ExceptionGroup) as caught:
        await crowd()
    report = await rig.queue.aclose(LONG_S)

    assert caught.group_contains(ZeroDivisionError)
    assert all(task.cancelled() for task in waiting)
    assert report.delivered == 1


@pytest.mark.parametrize("after", range(0, 40, 3))
async def test_a_background_task_that_is_cancelled_is_taken_up_again(
    sandbox: Sandbox, make: MakeRig, after: int
) -> None:
    rig = make(sandbox.url, batch_events=10, linger=0, retry=QUICK)
    await rig.queue.start()
    rig.track(100)
    await turns(after)

    tasks = [task for task in asyncio.all_tasks() if task.get_name() == "algolia_events"]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    rig.track(10, first=100)
    report = await rig.queue.aclose(LONG_S)

    assert len(tasks) == 1
    assert (report.delivered, report.dropped, report.pending) == (110, 0, 0)
    assert set(arrived(sandbox)) == set(range(110))
    assert len(arrived(sandbox)) - 110 <= report.possible_duplicates


@pytest.mark.parametrize("name", ["algolia_events", "algolia_events.attempt"])
async def test_a_background_task_that_is_cancelled_strands_nobody(sandbox: Sandbox, make: MakeRig, name: str) -> None:
    rig = make(sandbox.url, retry=QUICK, max_events=2, linger=0)
    with sandbox.fault(Hang()):
        rig.track(1)
        waiting = [
            asyncio.create_task(rig.queue.deliver(click(1))),
            asyncio.create_task(rig.queue.put(click(2))),
            asyncio.create_task(rig.queue.flush()),
            asyncio.create_task(submit_and_wait(rig, 3)),
        ]
        await sandbox.wait_for(lambda: len(sandbox.requests) == 1)

        chosen = [task for task in asyncio.all_tasks() if task.get_name() == name]
        for task in chosen:
            task.cancel()
        await asyncio.wait(chosen)
    await asyncio.wait(waiting, timeout=LONG_S)
    await rig.queue.flush(LONG_S)

    assert chosen
    assert all(task.done() and task.exception() is None for task in waiting)
    assert sorted(arrived(sandbox)) == [0, 1, 2, 3]
    assert rig.queue.health().ok


async def submit_and_wait(rig: Rig, number: int) -> None:
    await (await rig.queue.submit(click(number)))


async def test_what_is_tracked_after_the_background_task_was_cancelled_is_sent(sandbox: Sandbox, make: MakeRig) -> None:
    rig = make(sandbox.url, linger=0)
    await rig.queue.start()
    background = [task for task in asyncio.all_tasks() if task.get_name() == "algolia_events"]

    for task in background:
        task.cancel()
    await asyncio.wait(background)
    rig.track(3)
    await sandbox.wait_for(3)

    assert len(background) == 1
    assert rig.queue.stats().tracked == 3


def test_it_begins_again_in_a_loop_of_callbacks_too() -> None:
    loop = asyncio.new_event_loop()

    async def accept(_: bytes) -> Outcome:
        loop.call_soon(loop.stop)
        return Accepted()

    queue = EventQueue(accept, options=QueueOptions(linger=0))
    loop.run_until_complete(queue.start())

    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.call_soon(queue.track, click(1))
    loop.run_forever()
    report = loop.run_until_complete(queue.aclose(LONG_S))
    loop.close()

    assert report.delivered == 1
