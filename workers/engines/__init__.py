"""Engines: where slots live. `local` runs each slot's trials in a process of this host; an engine on a cluster joins it here."""

from __future__ import annotations

from typing import Protocol

from workers.pipe import Assignment, Message, Receive


class Place(Protocol):
    """Where one slot runs its trials, one at a time."""

    def warm(self) -> None:
        """Get ready before the first trial comes."""

    def assign(self, assignment: Assignment, receive: Receive) -> None:
        """Start a trial. From now until its "end" or "exit" message every message goes to `receive`, in another thread."""

    def send(self, message: Message) -> None:
        """Pass a message to the trial; one that cannot arrive any more is dropped."""

    def kill(self) -> None:
        """End the running trial at once, with all its children; its "exit" message follows."""

    def close(self) -> None:
        """Give the place up."""
