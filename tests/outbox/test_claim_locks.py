"""A number is held by one at a time: by the kernel's locks, or by leases where there are none."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from algolia_events.outbox._claim_leases import LEASE_SECONDS, LeaseLocks
from algolia_events.outbox._claim_locks import ClaimLocks, KernelLocks, kernel_has_claim_locks

KINDS = [
    pytest.param(
        KernelLocks, marks=pytest.mark.skipif(not kernel_has_claim_locks(), reason="no locks of open file descriptions")
    ),
    LeaseLocks,
]


@pytest.fixture(params=KINDS)
def two(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[ClaimLocks, ClaimLocks]]:
    one, other = request.param(tmp_path / "locks"), request.param(tmp_path / "locks")
    yield one, other
    other.close()


def test_what_one_holds_no_other_takes(two: tuple[ClaimLocks, ClaimLocks]) -> None:
    one, other = two

    taken = [one.take(1), one.take(1), other.take(1), other.take(2), one.take(2)]
    one.close()

    assert taken == [True, True, False, True, False]


def test_what_is_dropped_can_be_taken(two: tuple[ClaimLocks, ClaimLocks]) -> None:
    one, other = two
    one.take(7)
    one.take(8)

    one.drop(7)
    taken = other.take(7), other.take(8)
    one.close()

    assert taken == (True, False)


def test_what_one_holds_no_other_drops(two: tuple[ClaimLocks, ClaimLocks]) -> None:
    one, other = two
    one.take(7)

    other.drop(7)
    taken = other.take(7)
    one.close()

    assert not taken


def test_closing_drops_everything(two: tuple[ClaimLocks, ClaimLocks]) -> None:
    one, other = two
    one.take(1)

    one.close()

    assert other.take(1)


def test_the_file_is_its_owners_alone(two: tuple[ClaimLocks, ClaimLocks], tmp_path: Path) -> None:
    two[0].close()

    assert (tmp_path / "locks").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("until", [-1.0, 3 * LEASE_SECONDS], ids=["run out", "of before a restart"])
def test_a_lease_that_cannot_be_running_is_void(tmp_path: Path, until: float) -> None:
    path = tmp_path / "locks"
    one, other = LeaseLocks(path), LeaseLocks(path)
    one.take(1)
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("UPDATE leases SET owner = 'somebody', until = ?", (time.monotonic() + until,))

    taken = other.take(1)
    one.close()
    other.close()

    assert taken


def test_a_lease_is_renewed_as_long_as_its_holder_lives(tmp_path: Path) -> None:
    path = tmp_path / "locks"
    locks = LeaseLocks(path)
    locks.take(1)
    give_up = time.monotonic() + 10

    with closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as database:
        until = first = database.execute("SELECT until FROM leases").fetchone()[0]
        while until == first and time.monotonic() < give_up:
            time.sleep(0.05)
            until = database.execute("SELECT until FROM leases").fetchone()[0]
    locks.close()

    assert first < until <= time.monotonic() + LEASE_SECONDS
