"""The callbacks in real trial processes: one suite, run by PyTorch Lightning's Trainer and by Hugging Face's, on tiny models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.workers.conftest import Heard, assignment, eventually
from tuner.spec import StudySpec
from workers.engines.local import LocalPlace
from workers.slots import Slot

EXAMPLES = Path(__file__).parents[2] / "examples"
PARAMS: dict[str, dict[str, Any]] = {
    "lightning": {"lr": 0.01, "width": 64, "dropout": 0.1},
    "transformers": {"lr": 0.005, "hidden_size": 32, "layers": 1},
}

Fit = Callable[..., Heard]


class Framework:
    """A trial process that stays, since importing a framework takes seconds."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.place = LocalPlace(Slot(index=0, cpus=1.0))

    def start(self, function: str, scratch: Path, args: dict[str, Any], **changes: Any) -> Heard:
        entrypoint = function if ":" in function else f"tests.workers.{self.name}_trials:{function}"
        config = {"executor": "entrypoint", "entrypoint": entrypoint, "args": args}
        heard = Heard()
        self.place.assign(assignment(scratch, config, allow=(entrypoint,), **changes), heard)
        return heard


@pytest.fixture(scope="module", params=["lightning", "transformers"])
def framework(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Framework]:
    framework = Framework(request.param)
    assert framework.start("ready", tmp_path_factory.mktemp("ready"), {}).wait("end", "exit", seconds=120)["kind"] == "end"
    yield framework
    framework.place.close()


@pytest.fixture
def fit(framework: Framework, tmp_path: Path) -> Fit:
    """Start a trial; `verdict` is sent when it waits for one, at the start of the epoch `hear_at`."""

    def start(*, verdict: str | None = None, resume: Path | None = None, **args: Any) -> Heard:
        heard = framework.start("fit", tmp_path, args, resume_path=resume)
        if verdict is not None:
            eventually(lambda: any(message["text"] == "waiting" for message in heard.of("log")))
            framework.place.send({"kind": "verdict", "lease": "lease-1", "verdict": verdict})
        return heard

    return start


def steps(heard: Heard, kind: str = "report") -> list[int]:
    return [message["step"] for message in heard.of(kind)]


def saved(heard: Heard, index: int = -1) -> Path:
    return Path(heard.of("checkpoint")[index]["folder"])


@pytest.mark.parametrize("plateau", [False, True], ids=["schedule", "plateau"])
def test_a_paused_training_goes_on_as_if_it_had_not_been(fit: Fit, plateau: bool) -> None:
    whole = fit(plateau=plateau)
    done = whole.tell()
    assert (done.state, steps(whole), steps(whole, "checkpoint")) == ("COMPLETE", [0, 1, 2, 3, 4], [0, 1, 2, 3, 4]), done
    assert done.values == whole.of("report")[-1]["values"]

    first = fit(plateau=plateau, hear_at=2, verdict="pause", checkpoint_every=0)
    assert (first.tell().state, first.tell().reason) == ("WAITING", "paused")
    assert (steps(first), steps(first, "checkpoint")) == ([0, 1, 2], [2])
    assert sorted(path.name for path in saved(first).iterdir()) == ["state.json", "state.safetensors"]

    second = fit(plateau=plateau, resume=saved(first))
    again = second.tell()
    assert (again.state, steps(second)) == ("COMPLETE", [3, 4]), again
    assert [message["values"] for message in second.of("report")] == [message["values"] for message in whole.of("report")[3:]]
    assert again.user_attrs["weights"] == done.user_attrs["weights"]


def test_a_training_goes_on_from_a_periodic_checkpoint_and_from_its_end(fit: Fit) -> None:
    whole = fit(checkpoint_every=2)
    done = whole.tell()
    assert steps(whole, "checkpoint") == [1, 3]
    second = fit(resume=saved(whole, 0))
    assert (second.tell().user_attrs, steps(second)) == (done.user_attrs, [2, 3, 4])
    third = fit(resume=saved(second))
    assert (third.tell().values, steps(third)) == (done.values, [])


def test_a_child_has_the_parents_place_and_its_own_learning_rate(fit: Fit, framework: Framework, tmp_path: Path) -> None:
    whole = fit()
    done = whole.tell()
    lr = 2 * done.user_attrs["lrs"][0]
    resume = {"step": 1, "checkpoint": "/v1/trials/1/checkpoints/1", "sha256": "0" * 64, "inherited": True}
    child = framework.start("fit", tmp_path, {"lr": lr}, resume_path=saved(whole, 1), resume=resume)
    again = child.tell()
    assert (again.state, steps(child)) == ("COMPLETE", [2, 3, 4]), again
    assert again.user_attrs["lrs"] == pytest.approx([2 * each for each in done.user_attrs["lrs"]])
    assert again.user_attrs["weights"] != done.user_attrs["weights"]


def test_a_pruned_training_ends_within_the_epoch(fit: Fit) -> None:
    heard = fit(hear_at=2, verdict="prune")
    assert heard.tell().state == "PRUNED"
    assert steps(heard) == [0, 1]
    assert fit(hear_at=1, verdict="stop").tell().reason == "cancelled"


def test_several_evaluations_an_epoch(fit: Fit, framework: Framework) -> None:
    whole = fit(step="global_step", eval_every=3)
    expected = [3, 6, 10, 13, 17, 20, 24, 27, 31, 34] if framework.name == "lightning" else [*range(3, 35, 3), 35]
    assert (whole.tell().state, steps(whole)) == ("COMPLETE", expected), whole.tell()
    first = fit(step="global_step", eval_every=3, hear_at=2, verdict="pause", checkpoint_every=0)
    assert first.tell().reason == "paused"
    second = fit(step="global_step", eval_every=3, resume=saved(first))
    assert second.tell().user_attrs == whole.tell().user_attrs
    if framework.name == "lightning":  # where the pause waited for the end of the epoch, whose last evaluation was left out
        assert (steps(first), steps(second)) == ([3, 6, 10, 13, 17], [24, 27, 31, 34])
    else:
        assert (steps(first), steps(second)) == ([3, 6, 9, 12, 15], expected[5:])


def test_none_resumes_nothing(fit: Fit) -> None:
    whole = fit()
    whole.tell()
    afresh = fit(checkpoint_every=None, resumes=False, resume=saved(whole))
    assert (afresh.tell().state, steps(afresh), steps(afresh, "checkpoint")) == ("COMPLETE", [0, 1, 2, 3, 4], [])


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"metrics": ["val_acc"]}, "metrics: the evaluation has no number named 'val_acc'; it has"),
        ({"resumes": False}, "=callback.resume_from when training starts"),
        ({"evaluates": False}, "the callback reports after each evaluation, and there is none: give"),
        ({"eval_every": 3}, "a second evaluation at step 0"),
    ],
)
def test_what_cannot_work_is_said(fit: Fit, args: dict[str, Any], words: str) -> None:
    tell = fit(**args).tell()
    assert (tell.state, tell.reason) == ("FAIL", "exception")
    assert words in (tell.error or "")


@pytest.mark.parametrize("framework", ["lightning"], indirect=True)
def test_lightnings_own_checkpoints_are_written_as_ever(fit: Fit, tmp_path: Path) -> None:
    assert fit(keep_in=str(tmp_path / "mine")).tell().user_attrs["kept"] == ["epoch=4-step=35.ckpt"]


def test_the_example_learns(framework: Framework, tmp_path: Path) -> None:
    spec = StudySpec.from_file(EXAMPLES / f"{framework.name}_digits.yaml").to_json()
    params = PARAMS[framework.name]
    assert set(params) == set(spec["space"])
    heard = framework.start(spec["trial"]["entrypoint"], tmp_path, {"epochs": 4}, params=params, objectives=["val_accuracy"])
    tell = heard.tell()
    assert (tell.state, steps(heard), steps(heard, "checkpoint")) == ("COMPLETE", [0, 1, 2, 3], []), tell
    assert (tell.values or {})["val_accuracy"] > 0.6
