from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.tuner.specs import external
from tests.tuner.test_comparison import study
from tuner.advice import advise
from tuner.outcomes import Outcome, StudyOutcomes
from tuner.results import Advice
from tuner.spec import StudySpec
from tuner.wire import TrialState

SPACE = {
    "opt": {"type": "categorical", "choices": ["adam", "sgd", "lbfgs"]},
    "lr": {"type": "float", "low": 1e-5, "high": 1.0, "log": True},
    "drop": {"type": "float", "low": 0.0, "high": 0.5},
    "depth": {"type": "int", "low": 1, "high": 8},
    "beta": {"type": "float", "low": 0.5, "high": 0.99, "when": {"opt": "adam"}},
}
MINIMIZE = [{"name": "loss", "direction": "minimize"}]


def sample(rng: np.random.Generator) -> dict[str, Any]:
    params: dict[str, Any] = {
        "opt": ["adam", "sgd", "lbfgs"][int(rng.integers(3))],
        "lr": float(10 ** rng.uniform(-5, 0)),
        "drop": float(rng.uniform(0, 0.5)),
        "depth": int(rng.integers(1, 9)),
    }
    return params | ({"beta": float(rng.uniform(0.5, 0.99))} if params["opt"] == "adam" else {})


def run(
    loss: Callable[[Mapping[str, Any]], float],
    count: int = 60,
    fails: Callable[[Mapping[str, Any]], str | None] = lambda params: None,
    **changes: Any,
) -> StudyOutcomes:
    rng = np.random.default_rng(0)
    outcomes = []
    for number in range(count):
        params = sample(rng)
        reason = fails(params)
        outcomes.append(
            Outcome(
                number=number,
                state=TrialState.COMPLETE if reason is None else TrialState.FAIL,
                reason=reason,
                params=params,
                values=(None if reason else loss(params) + 0.001 * rng.normal(),),
                seconds=1.0,
                gpu_seconds=0.0,
            )
        )
    spec = external("s", space=SPACE, objectives=MINIMIZE, limits={"max_trials": count}, **changes)
    return study(outcomes, spec)


def bowl(params: Mapping[str, Any]) -> float:
    """Best in the middle of every range; the optimizer does not matter."""
    return float((np.log10(params["lr"]) + 2.5) ** 2 + (params["drop"] - 0.25) ** 2 * 20 + (params["depth"] - 4.5) ** 2 / 5)


def pieces(found: StudyOutcomes, kind: str, importance: Mapping[str, float] | None = None) -> list[Advice]:
    return [item for item in advise(found, importance).items if item.kind == kind]


def is_valid(found: StudyOutcomes, item: Advice) -> bool:
    assert found.spec is not None
    assert item.parameter is not None
    body = found.spec.to_json()
    StudySpec.parse({**body, "space": {**body["space"], item.parameter: item.change}})
    return True


def test_nothing_is_said_of_few_trials() -> None:
    found = advise(run(bowl, count=12), {"lr": 0.97, "drop": 0.01, "depth": 0.01, "opt": 0.01})
    assert found.items == []
    assert found.best is not None
    assert advise(study([])).best is None


@pytest.mark.parametrize("seed", range(5))
def test_a_study_without_any_pattern_gets_hardly_any_advice(seed: int) -> None:
    """Values that no parameter has a part in: nothing to widen, narrow or leave out."""
    rng = np.random.default_rng(seed)
    found = run(lambda params: float(rng.normal()), fails=lambda params: "nan" if rng.uniform() < 0.1 else None)
    assert {item.kind for item in advise(found).items} <= {"stop", "continue", "repeat"}


def test_the_best_lie_at_the_end_of_a_range() -> None:
    found = run(lambda params: float(-np.log10(params["lr"])) + params["depth"] * -0.2)
    items = {item.parameter: item for item in pieces(found, "widen")}
    assert set(items) == {"lr"} or set(items) == {"lr", "depth"}
    assert "near the upper end of its range, 1" in items["lr"].sentence
    assert items["lr"].sentence.endswith("widen it to 10.")
    assert items["lr"].change is not None
    assert (items["lr"].change["high"], items["lr"].change["low"]) == (10.0, 1e-5)
    assert items["lr"].evidence["p_value"] < 0.001
    assert is_valid(found, items["lr"])
    assert pieces(run(bowl), "widen") == []


def test_a_range_is_not_widened_beyond_what_is_possible() -> None:
    """Dropout below 0 is none; an end that the trainer does not take is not proposed either."""
    assert pieces(run(lambda params: params["drop"]), "widen") == []
    upwards = pieces(run(lambda params: -params["drop"]), "widen")
    assert [item.change["high"] for item in upwards if item.change] == [0.75]


def test_failures_above_a_value() -> None:
    found = run(bowl, fails=lambda params: "nan" if params["lr"] > 0.1 else None)
    (item,) = pieces(found, "narrow")
    assert item.parameter == "lr"
    assert item.change is not None
    assert 0.05 < item.change["high"] <= 0.1
    assert "failed (nan), 0 of the" in item.sentence
    assert item.evidence["failed"] == item.evidence["trials"] == sum(o.state == TrialState.FAIL for o in found.outcomes)
    assert is_valid(found, item)


def test_failures_below_a_value_and_of_a_choice() -> None:
    below = pieces(run(bowl, fails=lambda params: "exception" if params["depth"] < 3 else None), "narrow")
    assert [(item.parameter, item.change["low"]) for item in below if item.change] == [("depth", 3)]
    found = run(bowl, fails=lambda params: "timeout" if params["opt"] == "lbfgs" else None)
    (item,) = pieces(found, "drop")
    assert item.change is not None
    assert item.change["choices"] == ["adam", "sgd"]
    assert "opt lbfgs failed (timeout)" in item.sentence


def test_failures_everywhere() -> None:
    rng = np.random.default_rng(1)
    (item,) = pieces(run(bowl, fails=lambda params: "oom_cuda" if rng.uniform() < 0.4 else None), "failures")
    assert "oom_cuda" in item.sentence
    assert "less memory" in item.sentence
    assert item.evidence["reasons"] == {"oom_cuda": item.evidence["failed"]}


def test_choices_that_are_worse() -> None:
    found = run(lambda params: bowl(params) / 20 + (2.0 if params["opt"] == "sgd" else 0.0))
    (item,) = pieces(found, "drop")
    assert item.evidence["choices"] == ["sgd"]
    assert item.sentence.startswith("sgd as opt is worse than ")
    assert item.change is not None
    assert item.change["choices"] == ["adam", "lbfgs"]
    assert is_valid(found, item)


def test_a_parameter_without_importance() -> None:
    shares = {"lr": 0.9, "depth": 0.06, "opt": 0.02, "drop": 0.02}
    found = run(lambda params: float((np.log10(params["lr"]) + 2.5) ** 2 + 0.1 * params["depth"]))
    (item,) = pieces(found, "freeze", shares)  # not opt, on which beta depends
    best = min(found.outcomes, key=lambda outcome: outcome.values[0] or 0.0)
    assert (item.parameter, item.change) == (
        "drop",
        {"type": "float", "low": best.params["drop"], "high": best.params["drop"], "log": False, "step": None},
    )
    assert "2 % of the importance over 60 trials" in item.sentence
    assert is_valid(found, item)
    # The same share, but the values go with the parameter all the same.
    assert pieces(run(lambda params: params["drop"]), "freeze", shares) == []


def test_whether_to_go_on() -> None:
    falling = iter(np.linspace(1.0, 0.0, 40))
    late = run(lambda params: float(next(falling)), count=40)
    (item,) = pieces(late, "continue")
    assert "limits.max_trials, now 40" in item.sentence
    early = iter([5.0, 4.0, 0.0, *np.linspace(0.01, 3.0, 37)])
    (item,) = pieces(run(lambda params: float(next(early)), count=40), "stop")
    assert (item.evidence["trial"], item.evidence["trials_after"], item.evidence["trials"]) == (2, 37, 40)
    lucky = iter([5.0, 4.0, 0.0, *np.linspace(2.0, 3.0, 37)])  # such a find may come again
    assert pieces(run(lambda params: float(next(lucky)), count=40), "stop") == []


def test_a_population_gets_no_advice_on_parameters() -> None:
    """Its children were trained with other values before."""
    found = run(lambda params: 5.0 * (params["opt"] == "sgd") + params["drop"], count=200)
    assert {item.kind for item in advise(found).items} == {"drop", "repeat", "stop"}
    population = external(
        "s", space=SPACE, objectives=MINIMIZE, limits={"max_trials": 200}, pruner={"name": "population", "max_resource": 20}
    )
    assert advise(replace(found, spec=population)).items == []


def test_best_configuration() -> None:
    found = advise(run(bowl, count=200))
    best = found.best
    assert best is not None
    assert best.num_repeats == 1
    assert best.repeated is None
    assert abs(np.log10(best.params["lr"]) + 2.5) < 1.0  # type: ignore[arg-type]
    likely = best.likely["lr"]
    assert likely.low is not None
    assert likely.high is not None
    assert 1e-4 < likely.low <= best.params["lr"] <= likely.high < 0.1
    assert best.num_as_good > 2
    assert best.likely["opt"].choices
    (item,) = [item for item in found.items if item.kind == "repeat"]
    assert item.sentence.startswith(f"{best.num_as_good} trials are as good as the best")
    assert best.sentence.startswith(f"{best.num_as_good} trials lie within")


def test_the_best_is_a_whole_training() -> None:
    def made(*states: TrialState) -> StudyOutcomes:
        outcomes = [
            Outcome(number=n, state=state, reason=None, params={"x": n}, values=(1.0 - n / 10,), seconds=0, gpu_seconds=0)
            for n, state in enumerate(states)
        ]
        return study(outcomes, external("s"))

    assert advise(made(TrialState.PRUNED, TrialState.PRUNED)).best is None
    best = advise(made(TrialState.PRUNED, TrialState.COMPLETE, TrialState.COMPLETE)).best
    assert best is not None
    assert (best.trial, best.value) == (1, 0.9)


def test_what_is_as_good_is_said_by_whole_trainings() -> None:
    """Most trials were stopped long before they could be good; those trained in full say how far apart good ones lie."""
    values = [0.986, 0.985, 0.98, 0.97, 0.95, *[0.1] * 30]
    outcomes = [
        Outcome(number=n, state=TrialState.COMPLETE if n < 5 else TrialState.PRUNED, reason=None, params={"x": n / 40}, values=(value,), seconds=0, gpu_seconds=0)
        for n, value in enumerate(values)
    ]  # fmt: skip
    best = advise(study(outcomes, external("s"))).best
    assert best is not None
    assert best.within == pytest.approx(0.0006)
    assert best.num_as_good == 1


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([0.9, 0.9, 0.9, 0.8], "3 trials have the best value, with x 0 to 2."),
        ([0.9], "No other trial has the best value."),
        ([0.9, 0.8, 0.7], "No other trial lies within 0.01 of the best value."),
    ],
)
def test_as_many_as_reach_the_best_value(values: list[float], sentence: str) -> None:
    outcomes = [
        Outcome(number=n, state=TrialState.COMPLETE, reason=None, params={"x": n}, values=(value,), seconds=0, gpu_seconds=0)
        for n, value in enumerate(values)
    ]
    best = advise(study(outcomes, external("s"))).best
    assert best is not None
    assert best.sentence == sentence


def test_a_repeated_best_has_an_interval() -> None:
    params = {"x": 0.5}
    outcomes = [
        Outcome(number=n, state=TrialState.COMPLETE, reason=None, params=params, values=(value,), seconds=0, gpu_seconds=0)
        for n, value in enumerate([0.9, 0.8, 1.0])
    ]
    best = advise(study(outcomes, external("s"))).best
    assert best is not None
    assert best.repeated is not None
    assert (best.trial, best.value, best.num_repeats) == (2, 1.0, 3)
    # Student's t with 2 degrees of freedom, 4.303, times 0.1 / sqrt(3).
    assert best.repeated.value == pytest.approx(0.9)
    assert "Over 3 trials of the best configuration the mean is 0.9 (95 % interval 0.6516 to 1.148)." in best.sentence
    assert best.repeated.high == pytest.approx(0.9 + 4.3027 * 0.1 / 3**0.5, rel=1e-4)


def test_several_objectives_and_studies_without_a_spec() -> None:
    two = external("s", space=SPACE, objectives=[*MINIMIZE, {"name": "size", "direction": "minimize"}])
    rng = np.random.default_rng(0)
    outcomes = [
        Outcome(number=n, state=TrialState.FAIL if n % 2 else TrialState.COMPLETE, reason="nan", params=sample(rng), values=(1.0, 2.0), seconds=0, gpu_seconds=0)
        for n in range(40)
    ]  # fmt: skip
    found = advise(study(outcomes, two))
    assert found.best is None
    assert [item.kind for item in found.items] == ["failures"]
    foreign = StudyOutcomes(
        name="o", objectives=("value",), directions=("minimize",), spec=None, sampler=None, max_trials=None, is_finished=False,
        outcomes=run(bowl).outcomes,
    )  # fmt: skip
    assert advise(foreign).best is not None
    assert {item.kind for item in advise(foreign).items} <= {"stop", "continue", "repeat"}


def test_a_configuration_that_breaks_an_outcome_constraint_on_one_seed_is_not_the_best() -> None:
    """As the race has it (`tests/tuner/search/test_race.py`), whatever its values."""
    made = run(bowl, 30, repeat={"max": 3})
    worst, best = (choose(made.outcomes, key=lambda outcome: outcome.values[0] or 0.0) for choose in (max, min))
    repeated = [
        replace(worst, number=30 + place, values=(-5.0,), feasible=feasible, repeats=worst.number)
        for place, feasible in enumerate((True, False))
    ]
    found = advise(replace(made, outcomes=(*made.outcomes, *repeated))).best
    assert found is not None
    assert (found.trial, found.value, found.num_repeats) == (best.number, best.values[0], 1)
