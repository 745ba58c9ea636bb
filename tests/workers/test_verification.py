"""What counts as the same trial again, and what a difference is put down to."""

from __future__ import annotations

import copy
import math
from datetime import UTC, datetime
from typing import Any

import pytest

from tuner.wire import Attempt, ReportItem, Tell, Trial
from workers.rerun import Repetition, last_step
from workers.verification import Verification, Verifier

NOW = datetime.now(UTC)
RECORD: dict[str, Any] = {
    "format": 1,
    "config": {"optimizer": {"name": "adam", "lr": 0.01}, "dataset": {"name": "csv", "path": "/one.csv"}},
    "seed": 3,
    "attempt": 1,
    "threads": 1,
    "deterministic": True,
    "code": {"workers.training": "c" * 64},
    "data": "d" * 64,
    "versions": {"torch": "2.13.0", "numpy": "2.4.6"},
    "device": {"kind": "cpu", "name": "some CPU", "capability": "AVX2"},
    "weights": {"step": 2, "sha256": "a" * 64},
}
CURVE = {step: {"val_loss": 1.0 / (step + 1), "val_accuracy": 0.5, "samples_per_second": 100.0 + step} for step in range(3)}


def trial(state: str = "COMPLETE", reason: str | None = None, values: dict[str, float] | None = None) -> Trial:
    return Trial.model_validate(
        {"id": 1, "number": 0, "study": "s", "study_id": 1, "state": state, "reason": reason, "values": values, "created_at": NOW}
    )


def attempt(record: dict[str, Any] | None, epoch: int = 1) -> Attempt:
    return Attempt(id=str(epoch), epoch=epoch, started_at=NOW, expires_at=NOW, record=record)


def changed(path: str, value: Any, record: dict[str, Any] = RECORD) -> dict[str, Any]:
    other = copy.deepcopy(record)
    *folders, name = path.split("/")
    at = other
    for folder in folders:
        at = at[folder]
    at[name] = value
    return other


def verify(
    curve: dict[int, dict[str, float]] = CURVE,
    record: dict[str, Any] = RECORD,
    *,
    original: Trial | None = None,
    attempts: list[Attempt] | None = None,
    reports: dict[int, dict[str, float]] = CURVE,
    device: str = "cpu",
    ignore: tuple[str, ...] = (),
    **tell: Any,
) -> Verification:
    given = original or trial(values={"val_loss": 0.25})
    items = [ReportItem(step=step, values=values) for step, values in reports.items()]
    told = Tell(**{"state": "COMPLETE", "values": {"val_loss": 0.25}, "record": record, **tell})
    verifier = Verifier(given, items, attempts or [attempt(RECORD)], ignore=ignore)
    return verifier.verify(Repetition(reports=curve, tell=told), device)


def curve(step: int, **values: float) -> dict[int, dict[str, float]]:
    return {**CURVE, step: {**CURVE[step], **values}}


def test_equal_to_the_last_bit() -> None:
    verification = verify(curve(1, samples_per_second=7.0))
    assert verification.is_equal, verification
    assert (verification.num_steps, verification.weights, verification.causes) == (3, "the weights are equal", ())
    assert verification.standard == "bit for bit"
    assert not verify(curve(1, val_loss=math.nextafter(0.5, 1))).is_equal


def test_the_first_step_that_differs_is_told() -> None:
    other = {**curve(1, val_loss=0.75), 2: {**CURVE[2], "val_accuracy": 0.25}}
    (difference,) = verify(other).differences
    assert difference == "the reports differ in step 1 (val_loss 0.75, was 0.5) and in 1 later steps"


def test_steps_too_few_and_too_many() -> None:
    assert verify({0: CURVE[0]}).differences == ("step 1 was not reported again, nor 1 others",)
    assert verify({**CURVE, 5: CURVE[2]}).differences == ("step 5 was reported, which the trial had not",)


def test_what_a_later_version_reports_besides_is_no_difference() -> None:
    assert verify(curve(1, val_f1=0.5)).is_equal
    (difference,) = verify({**CURVE, 1: {"val_loss": 0.5}}).differences
    assert "val_accuracy None, was 0.5" in difference


def test_nan_is_equal_to_itself() -> None:
    assert verify(curve(1, val_loss=math.nan), reports=curve(1, val_loss=math.nan)).is_equal
    assert not verify(curve(1, val_loss=math.nan)).is_equal


def test_final_values() -> None:
    assert verify(values={"val_loss": 0.5}).differences == ("the final val_loss is 0.5, was 0.25",)


def test_names_that_are_not_compared() -> None:
    assert verify(curve(1, val_accuracy=0.75), ignore=("val_acc*",)).is_equal


def test_weights() -> None:
    verification = verify(record=changed("weights/sha256", "b" * 64))
    assert verification.differences == ("the weights differ (SHA-256 bbbbbbbbbbbb…, was aaaaaaaaaaaa…)",)
    assert verification.causes == ("no difference in what is recorded",)
    unlike = verify(record=changed("weights", {"step": 1, "sha256": "b" * 64}))
    assert unlike.is_equal
    assert unlike.weights == "the weights are not compared: they were recorded after step 2, and now after 1"
    own = [attempt(changed("weights", "mine"))]
    assert verify(record=changed("weights", "mine"), attempts=own).weights == "the weights are equal"
    assert not verify(record=changed("weights", "other"), attempts=own).is_equal


@pytest.mark.parametrize(
    "path, value, cause",
    [
        ("data", "e" * 64, "other data: dddddddddddd… then, eeeeeeeeeeee… now"),
        ("config/optimizer/lr", 0.02, "another configuration (optimizer.lr): 0.01 then, 0.02 now"),
        ("code/workers.training", "e" * 64, "other code (workers.training): cccccccccccc… then, eeeeeeeeeeee… now"),
        ("versions/torch", "2.14.0", "another version of torch: 2.13.0 then, 2.14.0 now"),
        ("versions/numpy", "2.5.0", "another version (numpy): 2.4.6 then, 2.5.0 now"),
        ("device/name", "other CPU", "another device: some CPU then, other CPU now"),
        ("device/capability", "AVX512", "another capability of the device: AVX2 then, AVX512 now"),
        ("threads", 2, "another number of threads: 1 then, 2 now"),
    ],
)
def test_a_cause_is_named(path: str, value: Any, cause: str) -> None:
    verification = verify(curve(1, val_loss=0.75), changed(path, value))
    assert verification.causes == (cause,)
    unharmed = verify(record=changed(path, value))
    assert unharmed.is_equal
    assert tuple(map(str, unharmed.records)) == (cause,)


def test_the_likeliest_cause_comes_first() -> None:
    record = changed("data", "e" * 64, changed("versions/torch", "2.14.0", changed("mine", 1)))
    attempts = [attempt(changed("mine", 2))]
    causes = verify(curve(1, val_loss=0.75), record, attempts=attempts).causes
    assert [cause.partition(":")[0] for cause in causes] == [
        "other data",
        "another version of torch",
        "another entry of the record (mine)",
    ]


def test_where_the_data_lies_is_no_cause() -> None:
    assert verify(record=changed("config/dataset/path", "/other.csv")).records == ()


def test_every_attempt_counts() -> None:
    attempts = [attempt(changed("versions/torch", "2.12.0")), attempt(None, 2), attempt(RECORD, 3)]
    causes = verify(curve(1, val_loss=0.75), attempts=attempts).causes
    assert causes == (
        "another version of torch: 2.12.0 then, 2.13.0 now",
        "unknown: attempt 2 ended without leaving a record",
    )


def test_a_mode_that_lets_a_trial_differ_from_itself() -> None:
    record = changed("deterministic", False)
    assert "torch was not in deterministic mode" in verify(curve(1, val_loss=0.75), record, attempts=[attempt(record)]).causes


GPU = changed("deterministic", False, changed("device", {"kind": "cuda", "name": "some GPU", "capability": "9.0"}))


def test_on_a_gpu_losses_agree_within_a_tolerance() -> None:
    attempts = [attempt(GPU)]
    near = {**curve(1, val_loss=0.5004, val_accuracy=0.6)}
    verification = verify(near, changed("weights/sha256", "b" * 64, GPU), attempts=attempts, device="cuda")
    assert verification.is_equal, verification
    assert verification.standard == "losses within 0.001 relative, on a GPU"
    assert verification.weights == "the weights are not compared"
    assert not verify(curve(1, val_loss=0.501), GPU, attempts=attempts, device="cuda").is_equal


def test_on_a_gpu_in_deterministic_mode_bit_for_bit() -> None:
    record = changed("deterministic", True, GPU)
    assert not verify(curve(1, val_loss=0.5004), record, attempts=[attempt(record)], device="cuda").is_equal
    assert verify(curve(1, val_loss=0.5004), attempts=[attempt(record)], device="cpu").is_equal, "between devices never"


def test_without_losses_all_values_are_held_to_the_tolerance() -> None:
    reports = {0: {"score": 0.5}}
    given = {"attempts": [attempt(GPU)], "device": "cuda", "reports": reports, "original": trial(values={"score": 0.5})}
    assert verify({0: {"score": 0.5004}}, GPU, values={"score": 0.5}, **given).is_equal
    assert not verify({0: {"score": 0.502}}, GPU, values={"score": 0.5}, **given).is_equal


@pytest.mark.parametrize(
    "state, reason, told, equal",
    [
        ("PRUNED", "pruned", {"state": "PRUNED", "values": None}, True),
        ("PRUNED", "pruned", {}, True),
        ("WAITING", "paused_at_rung", {"state": "PRUNED", "values": None}, True),
        ("FAIL", "lost", {"state": "PRUNED", "values": None}, True),
        ("FAIL", "nan", {"state": "FAIL", "reason": "nan", "values": None}, True),
        ("FAIL", "nan", {"state": "PRUNED", "values": None}, False),
        ("FAIL", "nan", {"state": "FAIL", "reason": "exception", "values": None}, False),
        ("PRUNED", "pruned", {"state": "FAIL", "reason": "nan", "values": None}, False),
        ("COMPLETE", None, {"state": "FAIL", "reason": "nan", "values": None}, False),
    ],
)
def test_how_it_ended(state: str, reason: str | None, told: dict[str, Any], equal: bool) -> None:
    assert verify(original=trial(state, reason), **told).is_equal is equal


@pytest.mark.parametrize(
    "state, reason, steps, last",
    [
        ("COMPLETE", None, 3, None),
        ("PRUNED", "pruned", 3, 2),
        ("WAITING", "paused", 3, 2),
        ("FAIL", "crash", 3, 2),
        ("FAIL", "crash", 0, 0),
        ("FAIL", "nan", 3, 3),
        ("FAIL", "exception", 0, 0),
    ],
)
def test_how_far_a_repetition_goes(state: str, reason: str | None, steps: int, last: int | None) -> None:
    reports = [ReportItem(step=step, values={"loss": 1.0}) for step in range(steps)]
    assert last_step(trial(state, reason), reports) == last
