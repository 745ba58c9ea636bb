"""A trial process of its own for each test, and what it said."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tuner.wire import LeasedTrial, Tell
from workers.engines.local import LocalPlace
from workers.pipe import Assignment, Message
from workers.slots import Slot

MODULE = "tests.workers.entrypoints"


class Heard:
    """The messages of one trial."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._changed = threading.Condition()

    def __call__(self, message: Message) -> None:
        with self._changed:
            self.messages.append(message)
            self._changed.notify_all()

    def wait(self, *kinds: str, seconds: float = 30.0) -> Message:
        """The first message of one of these kinds."""
        with self._changed:
            assert self._changed.wait_for(lambda: any(m["kind"] in kinds for m in self.messages), seconds), self.messages
            return next(m for m in self.messages if m["kind"] in kinds)

    def tell(self) -> Tell:
        message = self.wait("end", "exit")
        assert message["kind"] == "end", message
        return Tell.model_validate_json(message["tell"])

    def of(self, kind: str) -> list[Message]:
        return [message for message in self.messages if message["kind"] == kind]


def assignment(scratch: Path, config: dict[str, Any], *, allow: tuple[str, ...] = (f"{MODULE}:*",), **changes: Any) -> Assignment:
    leased = {
        "id": 1, "number": 0, "study": "s", "study_id": 1, "params": {"x": 3.0}, "seed": 5,
        "executor": config.get("executor", "entrypoint"), "config": config, "objectives": ["loss"],
    }  # fmt: skip
    leased.update({name: changes.pop(name) for name in list(changes) if name in LeasedTrial.model_fields})
    return Assignment(lease="lease-1", trial=LeasedTrial(**leased), scratch=scratch, allow=allow, **changes)


def entrypoint(name: str, **args: Any) -> dict[str, Any]:
    return {"executor": "entrypoint", "entrypoint": f"{MODULE}:{name}", "args": args}


def eventually(condition: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Poll until true; the value."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it did not come true in time"
        time.sleep(0.02)
    return value


@pytest.fixture
def place() -> Iterator[LocalPlace]:
    place = LocalPlace(Slot(index=0, cpus=1.0))
    yield place
    place.close()


@pytest.fixture
def run(place: LocalPlace, tmp_path: Path) -> Callable[..., Heard]:
    """Start a trial in the process; its messages."""

    def start(config: dict[str, Any], **changes: Any) -> Heard:
        heard = Heard()
        place.assign(assignment(tmp_path, config, **changes), heard)
        return heard

    return start
