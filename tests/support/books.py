"""The books that must add up."""

from algolia_events.reports import QueueStats


def check_books(stats: QueueStats) -> None:
    """Both ledgers add up, and nothing in them is negative."""
    sent = stats.sending
    assert min(stats.delivered, stats.rejected, stats.pending, stats.stored, stats.possible_duplicates) >= 0
    assert (
        stats.tracked == stats.delivered + stats.rejected + sum(stats.dropped.values()) + stats.pending + stats.stored
    )
    if sent is not None:
        assert sent.claimed == (
            sent.accepted + sent.rejected + sum(sent.dropped.values()) + sent.given_back + sent.in_flight
        )
