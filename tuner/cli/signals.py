"""What the commands do at a signal to end, outside its handler.

A handler runs in the main thread between two of its steps, which may be inside an Event that the handler would set: then it waits for
itself for ever. So handlers only note the signal in a queue, which allows that, and a thread acts on it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable
from queue import SimpleQueue


def on_signals(numbers: Iterable[signal.Signals], first: Callable[[], None], again: Callable[[], None] | None = None) -> None:
    """Call `first` at the first of these signals to arrive and `again`, if given, at each one after it, in a thread."""
    arrived: SimpleQueue[int] = SimpleQueue()

    def listen() -> None:
        arrived.get()
        first()
        while again is not None:
            arrived.get()
            again()

    threading.Thread(target=listen, name="tuner-signals", daemon=True).start()
    for number in numbers:
        signal.signal(number, lambda caught, _: arrived.put(caught))
