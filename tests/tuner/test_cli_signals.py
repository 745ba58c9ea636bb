"""Signals that end a command: acted on whatever the main thread is doing, an Event's own steps included."""

from __future__ import annotations

import subprocess
import sys

# The main thread lives in the Event that the signals set; with the Event set by the handler itself this hangs within a few hundred signals.
PROGRAM = """
import os, signal, threading
from tuner.cli.signals import on_signals

first, again, count = threading.Event(), threading.Event(), 0

def note():
    global count
    count += 1
    again.set()

on_signals([signal.SIGUSR1], first.set, note)
done = False

def send():
    while not done:
        os.kill(os.getpid(), signal.SIGUSR1)

sender = threading.Thread(target=send)
sender.start()
assert first.wait(60)
for _ in range(20_000):
    again.wait(0)
    again.is_set()
    again.clear()
done = True
sender.join()
assert count > 0
print("ended")
"""


def test_an_event_may_be_waited_for_and_set_by_a_signal() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=120, check=False)
    assert ended.stdout == "ended\n", ended.stderr[-1000:]
