"""What an answer means, and when the next request may leave."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algolia_events._retry import (
    Accepted,
    Blocked,
    Failed,
    Gate,
    Outcome,
    Refused,
    TooLarge,
    classify_error,
    classify_response,
)
from algolia_events._wire import Response
from algolia_events.config import RetryOptions
from algolia_events.errors import CertificateError, TransportError
from algolia_events.reports import HealthState

FAILURE = Failed(reason="503: Service Unavailable", ambiguous=False)
THROTTLED = Failed(reason="429: Too Many Requests", ambiguous=False, pause=30.0, throttled=True)
BLOCKED = Blocked(reason="401: Invalid credentials")


def classify(status: int, headers: dict[str, str] | None = None) -> Outcome:
    return classify_response(Response(status=status, headers=headers or {}, body=b""), wall=1_750_000_000.0)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (200, Accepted),
        (204, Accepted),
        (300, Blocked),
        (302, Blocked),
        (400, Refused),
        (401, Blocked),
        (402, Blocked),
        (403, Blocked),
        (404, Blocked),
        (405, Blocked),
        (408, Failed),
        (413, TooLarge),
        (418, Blocked),
        (422, Refused),
        (425, Failed),
        (429, Failed),
        (499, Blocked),
        (500, Failed),
        (502, Failed),
        (503, Failed),
        (504, Failed),
        (599, Failed),
    ],
)
def test_each_status_has_a_meaning(status: int, kind: type) -> None:
    assert type(classify(status)) is kind


def test_a_gateway_that_gave_up_leaves_the_request_ambiguous() -> None:
    outcomes = {status: classify(status) for status in (500, 502, 503, 504)}

    assert {status for status, outcome in outcomes.items() if isinstance(outcome, Failed) and outcome.ambiguous} == {
        504
    }


def test_an_asked_pause_is_carried_along() -> None:
    assert classify(429, {"retry-after": "30"}) == Failed(
        reason="429: Too Many Requests", ambiguous=False, pause=30.0, throttled=True
    )


def test_a_bad_certificate_needs_somebody_and_another_failure_does_not() -> None:
    assert isinstance(classify_error(CertificateError("self-signed", ambiguous=False)), Blocked)
    assert classify_error(TransportError("reset", ambiguous=True)) == Failed(reason="reset", ambiguous=True)


def gate(**options: float) -> Gate:
    return Gate(4, RetryOptions(**options))


def test_an_open_gate_lets_all_slots_work() -> None:
    assert [gate().admits(n, now=0.0) for n in range(6)] == [True] * 4 + [False] * 2


def test_an_outage_lets_one_probe_out_at_a_time_and_not_before_its_moment() -> None:
    subject = gate(backoff_base=2.0)

    subject.failed(subject.era, FAILURE, now=10.0, jitter=0.5)

    assert subject.opens_at == 11.0
    assert not subject.admits(0, now=10.9)
    assert subject.admits(0, now=11.0)
    assert not subject.admits(1, now=11.0)


def test_slots_that_fail_together_count_as_one_failure() -> None:
    subject = gate(backoff_base=1.0)
    era = subject.era

    for _ in range(4):
        subject.failed(era, FAILURE, now=0.0, jitter=0.999)

    assert subject.opens_at < 1.0


def test_backoff_doubles_up_to_its_cap_and_jitter_covers_all_of_it() -> None:
    subject = gate(backoff_base=1.0, backoff_cap=60.0)
    longest = []

    for _ in range(10):
        subject.failed(subject.era, FAILURE, now=0.0, jitter=1.0)
        longest.append(subject.opens_at)

    assert longest == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60]


@given(jitters=st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=2000))
def test_no_number_of_failures_breaks_the_cap(jitters: list[float]) -> None:
    subject = gate(backoff_cap=60.0)

    for jitter in jitters:
        subject.failed(subject.era, FAILURE, now=5.0, jitter=jitter)

    assert 5.0 <= subject.opens_at < 65.0


def test_a_success_of_the_probe_opens_the_gate() -> None:
    subject = gate()
    subject.failed(subject.era, FAILURE, now=0.0, jitter=0.5)

    subject.answered(subject.era)

    assert subject.admits(3, now=0.0)
    assert subject.health(now=0.0).ok


def test_a_success_from_before_the_outage_does_not_end_it() -> None:
    subject = gate()
    before = subject.era
    subject.failed(before, THROTTLED, now=0.0, jitter=0.5)

    subject.answered(before)

    assert not subject.is_open
    assert not subject.admits(0, now=29.9)


def test_what_the_server_asks_for_is_a_floor_and_the_option_its_ceiling() -> None:
    subject, patient = gate(), gate(max_retry_after=60.0)

    subject.failed(subject.era, THROTTLED, now=100.0, jitter=0.0)
    patient.failed(patient.era, Failed(reason="429", ambiguous=False, pause=86_400.0), now=100.0, jitter=0.0)

    assert subject.opens_at == 130.0
    assert patient.opens_at == 160.0


def test_a_late_failure_of_the_same_outage_can_still_ask_for_a_pause() -> None:
    subject = gate()
    era = subject.era
    subject.failed(era, FAILURE, now=0.0, jitter=0.0)

    subject.failed(era, THROTTLED, now=1.0, jitter=0.0)

    assert subject.opens_at == 31.0


def test_blocked_means_a_probe_a_minute() -> None:
    subject = gate()

    for now in (0.0, 60.0, 120.0):
        subject.blocked(subject.era, BLOCKED, now=now)

    assert subject.opens_at == 180.0
    health = subject.health(now=130.0)
    assert (health.state, health.reason, health.next_attempt_in) == (HealthState.BLOCKED, BLOCKED.reason, 50.0)


def test_reopening_forgets_everything() -> None:
    subject = gate(backoff_base=1.0)
    subject.failed(subject.era, THROTTLED, now=0.0, jitter=1.0)
    subject.blocked(subject.era, BLOCKED, now=0.0)

    subject.reopen()
    admits = subject.admits(3, now=0.0)
    subject.failed(subject.era, FAILURE, now=0.0, jitter=1.0)

    assert admits
    assert subject.opens_at == 1.0


def test_closing_cuts_short_what_we_chose_and_not_what_the_server_asked_for() -> None:
    ours, theirs = gate(backoff_base=40.0), gate()
    ours.failed(ours.era, FAILURE, now=0.0, jitter=0.9)
    theirs.failed(theirs.era, THROTTLED, now=0.0, jitter=0.9)

    ours.hurry(now=1.0)
    theirs.hurry(now=1.0)
    at_once = ours.opens_at
    ours.failed(ours.era, FAILURE, now=1.0, jitter=0.9)

    assert at_once == 1.0
    assert ours.opens_at == pytest.approx(1.9)
    assert theirs.opens_at == 30.0


def test_the_state_tells_throttling_from_an_outage() -> None:
    throttled, outage = gate(), gate()

    throttled.failed(throttled.era, THROTTLED, now=0.0, jitter=0.5)
    outage.failed(outage.era, FAILURE, now=0.0, jitter=0.5)

    assert throttled.health(now=0.0).state is HealthState.PAUSED
    assert outage.health(now=0.0).state is HealthState.RETRYING
