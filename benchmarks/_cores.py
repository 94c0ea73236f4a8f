"""Keeps client and server apart, each on a core of its own, where there are two."""

import os


def stay_on(place: int, process: int = 0) -> None:
    """Have a process (0: this one), and what it starts, run on one core only: the first (0), or the last (-1)."""
    if hasattr(os, "sched_setaffinity"):  # Linux alone has it
        cores = sorted(os.sched_getaffinity(process))
        os.sched_setaffinity(process, {cores[place]})
