"""Keeps client and server apart, each on a core of its own, where there are two."""

import os


def stay_on(place: int) -> None:
    """Have this process, and what it starts, run on one core only: the first (0), or the last (-1)."""
    if hasattr(os, "sched_setaffinity"):  # Linux alone has it
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[place]})
