"""What decided a trial: told with its outcome, kept with the attempt, refused where it is no JSON of a sensible size."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from tests.api.conftest import Server, server  # noqa: F401 (a fixture)
from tests.tuner.specs import external
from tuner.client import Client
from tuner.errors import Invalid
from tuner.wire import MAX_RECORD_CHARACTERS, AskRequest, Tell, TrialCreate

RECORD = {"seed": 3, "versions": {"torch": "2.13.0"}, "data": "ab" * 32, "note": "ü"}


def test_the_record_of_each_attempt(server: Server) -> None:  # noqa: F811
    with Client(server.url, server.key) as client:
        client.submit_study(external())
        trial = client.create_trial("s", TrialCreate(params={"x": 0.5}))
        (first,) = client.ask_leases("s", AskRequest(wait=0))
        assert first.trial.study_digest == client.get_study("s").digest == external().digest()
        client.tell(first.id, Tell(state="WAITING", reason="preempted", record=RECORD))
        (second,) = client.ask_leases("s", AskRequest(wait=0))
        told = Tell(state="COMPLETE", values={"score": 1.0}, record={"seed": 4})
        assert client.tell(second.id, told) == client.tell(second.id, told)
        assert [attempt.record for attempt in client.list_attempts(trial.id)] == [RECORD, {"seed": 4}]


def test_an_attempt_that_tells_nothing_has_none(server: Server) -> None:  # noqa: F811
    with Client(server.url, server.key) as client:
        client.submit_study(external())
        trial = client.create_trial("s", TrialCreate(params={"x": 0.5}))
        (lease,) = client.ask_leases("s", AskRequest(wait=0))
        client.tell(lease.id, Tell(state="COMPLETE", values={"score": 1.0}))
        assert [attempt.record for attempt in client.list_attempts(trial.id)] == [None]


@pytest.mark.parametrize(
    "record, words",
    [
        ({"x": object()}, "only JSON values"),
        ({"x": float("nan")}, "only JSON values"),
        ({"x": "\x00"}, "NUL"),
        ({"x": "y" * MAX_RECORD_CHARACTERS}, "at most 100,000 are kept"),
    ],
)
def test_what_is_no_record(record: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words) as caught:
        Tell(state="FAIL", record=record)
    assert len(caught.value.errors()) == 1


def test_a_record_too_large_is_refused_by_the_server(server: Server) -> None:  # noqa: F811
    with Client(server.url, server.key) as client:
        client.submit_study(external())
        client.create_trial("s", TrialCreate(params={"x": 0.5}))
        (lease,) = client.ask_leases("s", AskRequest(wait=0))
        tell = Tell(state="COMPLETE", values={"score": 1.0}).model_copy(update={"record": {"x": "y" * MAX_RECORD_CHARACTERS}})
        with pytest.raises(Invalid, match="at most 100,000 are kept"):
            client.tell(lease.id, tell)
