"""What every outbox does: keeps groups, hands each to one sender at a time, forgets what is settled."""

import asyncio
from typing import Any

import anyio
import anyio.lowlevel
import attrs
import pytest
from support.groups import MakeOutbox, OwnOutbox, bodies, group

from algolia_events.errors import OutboxFullError
from algolia_events.outbox import ClaimedGroup, DeadLetter, EventGroup

EVERYTHING = (1_000_000, 1 << 40)


def letter(event: bytes = b'{"name":"bad"}', message: str = "EventType is required") -> DeadLetter:
    return DeadLetter(event=event, status=422, message=message, rejected_ms=1_750_000_000_000)


async def fill(outbox: OwnOutbox, large: EventGroup) -> tuple[int, OutboxFullError]:
    """Store until it is refused; say how many groups went in, and how it was refused."""
    for stored in range(100):
        try:
            await outbox.store([large])
        except OutboxFullError as exc:
            return stored, exc
    pytest.fail("the outbox has no bound")


async def test_what_is_stored_is_claimed_in_order_with_all_that_was_said_of_it(outbox: OwnOutbox) -> None:
    stored = [group("a", "b", origin="x", oldest_ms=5), group("c", origin="y", oldest_ms=3)]

    await outbox.store(stored[:1])
    await outbox.store(stored[1:])
    claimed = await outbox.claim(*EVERYTHING)

    assert [(g.body, g.count, g.origin, g.oldest_ms) for g in claimed] == [
        (g.body, g.count, g.origin, g.oldest_ms) for g in stored
    ]


@pytest.mark.parametrize("oldest_ms", [-(1 << 80), -1, 1 << 62, 1 << 80])
async def test_a_timestamp_may_be_any_number(outbox: OwnOutbox, oldest_ms: int) -> None:
    """A `RawEvent` is sent as it is, whatever it holds."""
    await outbox.store([group("a", "b", oldest_ms=oldest_ms)])
    (claimed,) = await outbox.claim(*EVERYTHING)

    await outbox.settle(left=[attrs.evolve(claimed, body=group("b").body, count=1, oldest_ms=oldest_ms)])
    (again,) = await outbox.claim(*EVERYTHING)

    assert (claimed.body, again.body) == (group("a", "b").body, group("b").body)
    assert (claimed.oldest_ms < 0, again.oldest_ms < 0) == (oldest_ms < 0, oldest_ms < 0)


async def test_an_empty_outbox_has_nothing_to_claim(outbox: OwnOutbox) -> None:
    claimed = await outbox.claim(*EVERYTHING)

    assert list(claimed) == []


async def test_what_lies_behind_much_that_is_held_is_claimed(make_outbox: MakeOutbox) -> None:
    holder, other = await make_outbox(), await make_outbox()
    await holder.store([group(str(number)) for number in range(250)])

    held = await holder.claim(240, 1 << 40)
    claimed = await other.claim(*EVERYTHING)

    assert bodies([*held, *claimed]) == [group(str(number)).body for number in range(250)]


async def test_a_claimed_group_is_not_claimed_again(outbox: OwnOutbox) -> None:
    await outbox.store([group("a"), group("b")])

    first = await outbox.claim(1, 1 << 40)
    second = await outbox.claim(*EVERYTHING)
    third = await outbox.claim(*EVERYTHING)

    assert (bodies(first), bodies(second), bodies(third)) == ([group("a").body], [group("b").body], [])


@pytest.mark.parametrize(("max_events", "max_bytes"), [(3, 1 << 40), (1000, 2 * len(group("a", "b").body))])
async def test_a_claim_stops_once_it_has_enough(outbox: OwnOutbox, max_events: int, max_bytes: int) -> None:
    await outbox.store([group("a", "b"), group("c", "d"), group("e", "f")])

    claimed = await outbox.claim(max_events, max_bytes)

    assert bodies(claimed) == [group("a", "b").body, group("c", "d").body]


async def test_what_is_done_is_gone(make_outbox: MakeOutbox) -> None:
    outbox = await make_outbox()
    await outbox.store([group("a"), group("b")])

    await outbox.settle(done=await outbox.claim(1, 1 << 40))
    await outbox.aclose()
    again = await make_outbox()
    rest = await again.claim(*EVERYTHING)

    assert bodies(rest) == [group("b").body]


async def test_to_settle_twice_does_no_harm(outbox: OwnOutbox) -> None:
    await outbox.store([group("a")])
    done = await outbox.claim(*EVERYTHING)
    await outbox.settle(done=done)
    await outbox.store([group("b")])

    await outbox.settle(done=done, left=done)
    sizes = await outbox.sizes()

    assert (sizes.events, sizes.groups) == (1, 1)
    assert bodies(await outbox.claim(*EVERYTHING)) == [group("b").body]


async def test_what_is_left_can_be_claimed_at_once(outbox: OwnOutbox) -> None:
    await outbox.store([group("a", "b")])

    await outbox.settle(left=await outbox.claim(*EVERYTHING))

    assert bodies(await outbox.claim(*EVERYTHING)) == [group("a", "b").body]


async def test_of_a_group_left_in_part_the_rest_remains(outbox: OwnOutbox) -> None:
    await outbox.store([group("a", "b", "c")])
    (claimed,) = await outbox.claim(*EVERYTHING)

    rest = attrs.evolve(claimed, body=group("c").body, count=1, oldest_ms=7)
    await outbox.settle(left=[rest])
    sizes = await outbox.sizes()
    (again,) = await outbox.claim(*EVERYTHING)

    assert (sizes.events, sizes.bytes) == (1, len(group("c").body))
    assert (again.body, again.count, again.oldest_ms, again.origin) == (group("c").body, 1, 7, "here")


async def test_dead_letters_are_kept_with_the_servers_words(make_outbox: MakeOutbox) -> None:
    outbox = await make_outbox()
    await outbox.store([group("bad", "good")])
    claimed = await outbox.claim(*EVERYTHING)

    await outbox.settle(done=claimed, rejected=[letter(message="first"), letter(message="second")])
    await outbox.aclose()
    again = await make_outbox()
    kept = await again.dead_letters()

    assert [(each.event, each.status, each.message, each.rejected_ms) for each in kept] == [
        (b'{"name":"bad"}', 422, words, 1_750_000_000_000) for words in ("first", "second")
    ]
    assert [each.message for each in await again.dead_letters(after=kept[0].key)] == ["second"]
    assert (await again.sizes()).rejected == 2


async def test_dead_letters_can_be_sent_again(outbox: OwnOutbox) -> None:
    await outbox.settle(rejected=[letter(b'{"name":"%d"}' % number) for number in range(2500)])

    count = await outbox.retry_dead_letters()
    claimed = await outbox.claim(*EVERYTHING)

    assert count == 2500
    assert all(each.count <= 1000 for each in claimed)
    events = b",\n".join(bodies(claimed)).split(b",\n")
    assert events == [b'{"name":"%d"}' % number for number in range(2500)]
    assert (await outbox.sizes()).rejected == 0


async def test_sizes_count_what_is_there_claimed_or_not(outbox: OwnOutbox) -> None:
    empty = await outbox.sizes()
    await outbox.store([group("a", "b", oldest_ms=9), group("c", oldest_ms=4)])
    await outbox.claim(1, 1 << 40)

    sizes = await outbox.sizes()

    assert (empty.events, empty.groups, empty.bytes, empty.rejected, empty.oldest_ms) == (0, 0, 0, 0, None)
    assert (sizes.events, sizes.groups, sizes.oldest_ms) == (3, 2, 9)
    assert sizes.bytes == len(group("a", "b").body) + len(group("c").body)


async def test_a_full_outbox_refuses_and_keeps_what_it_has(make_outbox: MakeOutbox) -> None:
    outbox = await make_outbox(max_bytes=1024 * 1024)
    large = group("large", padding=200_000)

    stored, error = await fill(outbox, large)
    await outbox.settle(done=await outbox.claim(2, 1 << 40))
    await outbox.store([large])
    sizes = await outbox.sizes()

    assert error.max_bytes == 1024 * 1024
    assert 2 <= stored <= 5
    assert sizes.groups == stored - 1


async def test_groups_can_be_read_without_a_claim(outbox: OwnOutbox) -> None:
    await outbox.store([group("a"), group("b"), group("c")])

    first = await outbox.groups(limit=2)
    rest = await outbox.groups(after=first[-1].key)

    assert bodies([*first, *rest]) == [group(name).body for name in "abc"]
    assert len(await outbox.claim(*EVERYTHING)) == 3


async def test_a_purge_spares_what_is_being_sent(outbox: OwnOutbox) -> None:
    await outbox.store([group("a"), group("b", "c")])
    claimed = await outbox.claim(1, 1 << 40)
    await outbox.settle(rejected=[letter()])

    events = await outbox.purge(events=True, dead_letters=False)
    letters = await outbox.purge(events=False, dead_letters=True)

    assert (events, letters) == (2, 1)
    sizes = await outbox.sizes()
    assert (sizes.events, sizes.rejected) == (1, 0)
    await outbox.settle(done=claimed)
    assert (await outbox.sizes()).events == 0


async def test_closing_gives_back_what_was_claimed_and_keeps_all(make_outbox: MakeOutbox) -> None:
    outbox = await make_outbox()
    await outbox.store([group("a")])
    await outbox.claim(*EVERYTHING)

    await outbox.aclose()
    await outbox.aclose()
    again = await make_outbox()

    assert bodies(await again.claim(*EVERYTHING)) == [group("a").body]


async def test_many_at_once_are_all_kept_and_each_claimed_once(outbox: OwnOutbox) -> None:
    async def use(number: int) -> list[ClaimedGroup]:
        await outbox.store([group(f"{number}-{turn}") for turn in range(5)])
        return list(await outbox.claim(5, 1 << 40))

    claimed = [each for part in await asyncio.gather(*map(use, range(20))) for each in part]
    claimed += await outbox.claim(*EVERYTHING)

    assert sorted(bodies(claimed)) == sorted(group(f"{n}-{t}").body for n in range(20) for t in range(5))


async def test_a_store_that_has_begun_is_not_broken_off(outbox: OwnOutbox) -> None:
    outcome: list[Any] = []

    async def store() -> None:
        try:
            await outbox.store([group("a")])
            outcome.append("stored")
        except asyncio.CancelledError:
            outcome.append("not stored")
            raise

    task = asyncio.create_task(store())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})

    expected = 1 if outcome == ["stored"] else 0
    assert (await outbox.sizes()).events == expected


async def test_a_scope_that_ends_while_a_store_is_under_way_ends_nothing_behind_it(outbox: OwnOutbox) -> None:
    with anyio.CancelScope() as scope:
        asyncio.get_running_loop().call_soon(scope.cancel)
        await outbox.store([group("a")])
        await anyio.lowlevel.checkpoint()
    await asyncio.sleep(0)  # raises, if the cancellation has got out of its scope

    assert (await outbox.sizes()).events == 1


async def test_an_exchange_settles_stores_and_claims_what_it_stored(outbox: OwnOutbox) -> None:
    await outbox.store([group("a")])
    done = await outbox.claim(*EVERYTHING)

    claimed = await outbox.exchange([group("b", "c", origin="x", oldest_ms=5)], done=done, max_events=3, max_bytes=1000)
    sizes = await outbox.sizes()

    assert [(g.body, g.count, g.origin, g.oldest_ms) for g in claimed] == [(group("b", "c").body, 2, "x", 5)]
    assert (sizes.events, sizes.bytes) == (2, len(group("b", "c").body))
    assert list(await outbox.claim(*EVERYTHING)) == []
    await outbox.settle(done=claimed)
    assert (await outbox.sizes()).events == 0


async def test_an_exchange_claims_the_oldest_first(outbox: OwnOutbox) -> None:
    await outbox.store([group("a"), group("b")])

    claimed = await outbox.exchange([group("c")], max_events=2, max_bytes=1 << 40)
    rest = await outbox.claim(*EVERYTHING)

    assert bodies(claimed) == [group("a").body, group("b").body]
    assert bodies(rest) == [group("c").body]


async def test_an_exchange_claims_what_was_given_back_before_what_is_new(outbox: OwnOutbox) -> None:
    await outbox.store([group("a")])
    await outbox.settle(left=await outbox.claim(*EVERYTHING))

    claimed = await outbox.exchange([group("b")], max_events=2, max_bytes=1 << 40)

    assert bodies(claimed) == [group("a").body, group("b").body]


async def test_an_exchange_that_claims_nothing_leaves_all_to_others(outbox: OwnOutbox) -> None:
    claimed = await outbox.exchange([group("a")])

    assert list(claimed) == []
    assert bodies(await outbox.claim(*EVERYTHING)) == [group("a").body]


async def test_exchanges_at_the_same_time_claim_each_group_once(outbox: OwnOutbox) -> None:
    parts = await asyncio.gather(
        *(outbox.exchange([group(str(n))], max_events=2, max_bytes=1 << 40) for n in range(30))
    )
    claimed = [each for part in parts for each in part] + list(await outbox.claim(*EVERYTHING))

    assert sorted(bodies(claimed)) == sorted(group(str(n)).body for n in range(30))


async def test_an_exchange_that_finds_no_room_settles_nothing(make_outbox: MakeOutbox) -> None:
    outbox = await make_outbox(max_bytes=1024 * 1024)
    await outbox.store([group("a")])
    done = await outbox.claim(*EVERYTHING)

    with pytest.raises(OutboxFullError):
        await outbox.exchange([group("large", padding=1_100_000)], done=done, max_events=1000, max_bytes=1 << 40)
    before = await outbox.sizes()
    await outbox.settle(done=done)

    assert before.events == 1
    assert (await outbox.sizes()).events == 0
    assert list(await outbox.claim(*EVERYTHING)) == []


async def test_what_an_exchange_claimed_is_another_processs_after_the_end(make_outbox: MakeOutbox) -> None:
    outbox = await make_outbox()
    await outbox.exchange([group("a")], max_events=2, max_bytes=1 << 40)

    await outbox.aclose()
    again = await make_outbox()

    assert bodies(await again.claim(*EVERYTHING)) == [group("a").body]
