"""The charts' counts: the last minute by seconds, and each model's answers, clicked and converted on at most once."""

from algolia_events.sandbox import Attribution, EventsAccepted, EventsRejected, Rejection
from algolia_events.sandbox._attribution import ModelCounts, QueryIds
from algolia_events.sandbox._tally import Tally


class HandClock:
    now = 1000.9

    def __call__(self) -> float:
        return self.now


def accepted(count: int) -> EventsAccepted:
    judged = Attribution(event={"eventType": "view"}, items=())
    return EventsAccepted(request=1, attributions=(judged,) * count)


def refused(count: int) -> EventsRejected:
    return EventsRejected(
        rejection=Rejection(request=1, status=422, message="", detail="", position=0, events=({},) * count)
    )


def test_the_last_minute_is_counted_by_seconds() -> None:
    clock = HandClock()
    tally = Tally(clock)

    tally.offer(accepted(5))
    clock.now = 1001.1
    tally.offer(accepted(2))
    tally.offer(refused(3))
    clock.now = 1003.5
    seconds = tally.seconds()

    assert len(seconds) == 60
    assert seconds[-4:] == [(5, 0), (2, 3), (0, 0), (0, 0)]
    assert sum(map(sum, seconds)) == 10


def test_what_is_older_than_a_minute_is_forgotten() -> None:
    clock = HandClock()
    tally = Tally(clock)

    for _ in range(200):
        tally.offer(accepted(1))
        clock.now += 1

    assert tally.seconds() == [(1, 0)] * 59 + [(0, 0)]
    assert tally.kinds == {"view": 200}


def click(query_id: str, kind: str = "click") -> dict[str, object]:
    return {"eventType": kind, "index": "i", "userToken": "u", "objectIDs": ["a"], "queryID": query_id}


def test_an_answer_is_clicked_once_however_often() -> None:
    ids = QueryIds(2)
    query_id = ids.give(index="i", model="m", user_token=None, object_ids=["a"], first_position=1, now=0)

    for kind in ("click", "click", "conversion", "view"):
        ids.judge(click(query_id, kind), now=1)
    ids.judge(click("0" * 32), now=1)

    assert ids.models == {"m": ModelCounts(answers=1, clicked=1, converted=1)}


def test_what_is_forgotten_counts_on() -> None:
    ids = QueryIds(1)

    for _ in range(3):
        query_id = ids.give(index="i", model="m", user_token=None, object_ids=["a"], first_position=1, now=0)
        ids.judge(click(query_id), now=1)

    assert ids.models == {"m": ModelCounts(answers=3, clicked=3)}
