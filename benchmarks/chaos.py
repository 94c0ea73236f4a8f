"""Random faults, traffic and ends; after them the server's ledger and the queues' counters must agree, event by event.

    python -m benchmarks.chaos --seed 7 --seconds 60

One client after the other lives through some event loops, which end in order or not, while threads and tasks track,
put, submit, deliver, flush, cancel and close, and the sandbox fails in every way it knows. Every event has a name of
its own. The seed decides what is tried, though not what the scheduler makes of it. Ends with 1 and a list where a
difference is found.
"""

import argparse
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Self

import attrs

from algolia_events import DropReason
from benchmarks._chaos_life import Generation
from benchmarks._chaos_weather import Weather


@attrs.define
class Findings:
    """What a run came to."""

    seed: int
    differences: list[str] = attrs.field(factory=list)
    figures: Counter[str] = attrs.field(factory=Counter)


def differences_of(generation: Generation, accepted: Counter[str]) -> Iterator[str]:
    """Compare what the server has on its books with what the queue says, event by event."""
    fates = Fates.of(generation)
    yield from _differences_in_number(generation, fates, accepted)
    yield from _differences_in_fate(generation, fates, accepted)
    yield from _differences_in_attempts(generation, fates, accepted)


@attrs.frozen(kw_only=True)
class Fates:
    """What became of each event, as those saw it who stood by; nobody looked at a counter."""

    taken: Counter[str]
    refused: Counter[str]
    """Never taken in, and counted as tracked and dropped."""
    rejected: Counter[str]
    delivered: AbstractSet[str]
    dropped: AbstractSet[str]
    """Taken in, and neither delivered nor rejected."""

    @classmethod
    def of(cls, generation: Generation) -> Self:
        """Gather them."""
        taken, rejected = Counter(generation.witness.taken), Counter(generation.witness.rejected_events)
        attempts = generation.recorder.attempts
        delivered = {name for name, sent in attempts.items() if any(one.result == "accepted" for one in sent)}
        reasons = set(DropReason)
        never_in = {name for name, verdict in generation.verdicts if verdict in reasons} - taken.keys()
        return cls(
            taken=taken,
            refused=Counter([*generation.refused, *never_in]),
            rejected=rejected,
            delivered=delivered,
            dropped=taken.keys() - delivered - rejected.keys(),
        )


def _differences_in_number(generation: Generation, fates: Fates, accepted: Counter[str]) -> Iterator[str]:
    stats = generation.client.stats()
    drops, refused = sum(stats.dropped.values()), fates.refused.total()
    doubtful = sum(name in accepted for name in fates.dropped)
    copies = sum(accepted[name] - 1 for name in fates.taken if name in accepted)
    for what, counter, found in (
        ("tracked", stats.tracked, fates.taken.total() + refused),
        ("delivered", stats.delivered, len(fates.delivered)),
        ("rejected", stats.rejected, fates.rejected.total()),
        ("dropped", drops, len(fates.dropped) + refused),
        ("pending", stats.pending, 0),
    ):
        if counter != found:
            yield f"{what}: the counter says {counter}, the events {found}"
    if doubtful > stats.dropped.get(DropReason.AMBIGUOUS, 0):
        yield f"{doubtful} dropped events arrived, more than were dropped as ambiguous: {dict(stats.dropped)}"
    if copies > stats.possible_duplicates:
        yield f"{copies} duplicates, and only {stats.possible_duplicates} were counted as possible"


def _differences_in_fate(generation: Generation, fates: Fates, accepted: Counter[str]) -> Iterator[str]:
    taken, refused, rejected = fates.taken, fates.refused, fates.rejected
    for name in taken | refused | rejected:
        once = taken[name] + refused[name] == 1 and rejected[name] <= taken[name]
        if not once or (name in rejected and name in fates.delivered):
            yield f"{name}: taken {taken[name]}, refused {refused[name]}, rejected {rejected[name]} times"
        if accepted[name] and (name in refused or name in rejected):
            yield f"{name}: refused or rejected, and arrived {accepted[name]} times"
    expected: dict[str, AbstractSet[str]] = {"accepted": fates.delivered, "rejected": rejected.keys()}
    for name, verdict in generation.verdicts:
        if name not in expected.get(verdict, fates.dropped | refused.keys()):
            yield f"{name}: who waited was told {verdict}, and its attempts were {generation.recorder.attempts[name]}"


def _differences_in_attempts(generation: Generation, fates: Fates, accepted: Counter[str]) -> Iterator[str]:
    for name in fates.taken:
        results = [attempt.result for attempt in generation.recorder.attempts.get(name, ())]
        sure, doubtful = results.count("accepted"), results.count("ambiguous")
        if not sure <= accepted[name] <= sure + doubtful:
            yield f"{name}: arrived {accepted[name]} times by the attempts {results}"
        if sure > 1:
            yield f"{name}: sent again although it was accepted: {results}"


def run(seed: int, seconds: float, say: Callable[[str], None] = lambda _: None) -> Findings:
    """Let one client after the other live, then compare."""
    chance = random.Random(seed)
    findings, generations = Findings(seed), list[Generation]()
    ends = time.monotonic() + seconds
    with Weather(seed) as weather:
        while (left := ends - time.monotonic()) > 0:
            generation = Generation(len(generations), chance, weather.sandbox.url)
            generations.append(generation)
            generation.live(min(left, chance.uniform(0.2, 4)))
            say(f"client {generation.number}: {generation.client.stats()}")
    accepted = Counter(event["objectIDs"][0] for event in weather.sandbox.events)
    known = {name for one in generations for name in one.witness.taken}
    findings.differences += [f"{name}: arrived, and was never taken in" for name in accepted.keys() - known]
    for generation in generations:
        for difference in differences_of(generation, accepted):
            findings.differences.append(f"client {generation.number} ({generation.options}): {difference}")
        stats = generation.client.stats()
        findings.figures.update({f"dropped as {reason}": count for reason, count in stats.dropped.items()})
        findings.figures.update(
            clients=1,
            tracked=stats.tracked,
            delivered=stats.delivered,
            rejected=stats.rejected,
            requests=stats.requests,
            possible_duplicates=stats.possible_duplicates,
            verdicts=len(generation.verdicts),
        )
    findings.figures["duplicates"] = sum(count - 1 for count in accepted.values())
    return findings


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}, {arguments.seconds:g} s")
    findings = run(arguments.seed, arguments.seconds, print if arguments.verbose else lambda _: None)
    for what, count in sorted(findings.figures.items()):
        print(f"{count:>9} {what}")
    for difference in findings.differences[:100]:
        print(f"DIFFERENCE {difference}")
    print(f"{len(findings.differences)} differences; repeat with --seed {arguments.seed}")
    return 1 if findings.differences else 0


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        sys.exit(main())
