"""SIGINT and SIGTERM as calls in the event loop."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def on_stop_signal(call: Callable[[], object]) -> Iterator[None]:
    """Have `call` called in the running loop for each SIGINT or SIGTERM while the context is open.

    Once there was one, those that come after the context do nothing: what was asked for is done already, and the words
    about it should not be cut off.
    """
    loop = asyncio.get_running_loop()
    told: list[int] = []

    def receive(number: int) -> None:
        told.append(number)
        call()

    before = {number: signal.getsignal(number) for number in _SIGNALS}
    for number in _SIGNALS:
        try:
            loop.add_signal_handler(number, receive, number)
        except NotImplementedError:  # Windows: the loop has none of its own
            signal.signal(number, lambda number, _: loop.call_soon_threadsafe(receive, number))
    try:
        yield
    finally:
        for number, handler in before.items():
            with suppress(NotImplementedError):
                loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN if told else handler)
