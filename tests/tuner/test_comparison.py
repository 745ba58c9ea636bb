from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from tests.tuner.specs import external
from tuner.comparison import Level, compare, compare_studies, compare_study, split
from tuner.errors import Conflict, InvalidValue
from tuner.outcomes import Outcome, StudyOutcomes
from tuner.results import LevelResult
from tuner.spec import StudySpec
from tuner.wire import TrialState

SPACE = {
    "opt": {"type": "categorical", "choices": ["adam", "sgd", "lbfgs"]},
    "lr": {"type": "float", "low": 1e-5, "high": 1.0, "log": True},
    "depth": {"type": "int", "low": 1, "high": 4},
    "beta": {"type": "float", "low": 0.5, "high": 0.99, "when": {"opt": "adam"}},
}


def outcome(number: int, value: float | None, state: str = "COMPLETE", reason: str | None = None, **params: Any) -> Outcome:
    return Outcome(
        number=number,
        state=TrialState(state),
        reason=reason,
        params=params,
        values=(value,),
        seconds=1.0,
        gpu_seconds=0.5,
    )


def level(name: str, values: Sequence[float], place: int = 0, num_levels: int = 1) -> Level:
    outcomes = [outcome(index * num_levels + place, value) for index, value in enumerate(values)]
    return Level(name=name, study="s", outcomes=outcomes)


def levels(*values: Sequence[float]) -> list[Level]:
    return [level(name, each, place, len(values)) for place, (name, each) in enumerate(zip("abcdefgh", values, strict=False))]


def study(outcomes: Sequence[Outcome], spec: StudySpec | None = None, **changes: Any) -> StudyOutcomes:
    spec = external("s", space=SPACE, **changes) if spec is None else spec
    return StudyOutcomes(
        name="s",
        objectives=tuple(objective.name for objective in spec.objectives),
        directions=tuple(str(objective.direction) for objective in spec.objectives),
        spec=spec,
        sampler=spec.sampler.name,
        max_trials=spec.limits.max_trials,
        is_finished=False,
        outcomes=tuple(outcomes),
    )


def by_name(results: Sequence[LevelResult]) -> dict[Any, LevelResult]:
    return {result.level: result for result in results}


def test_a_clear_difference_in_figures_and_words() -> None:
    rng = np.random.default_rng(0)
    good, also, bad = rng.normal(0.9, 0.02, 20), rng.normal(0.9, 0.02, 20), rng.normal(0.7, 0.02, 20)
    found = compare(levels(bad, good, also), by="opt", metric="score", direction="maximize", block_size=3)
    assert found.paired
    assert "Wilcoxon" in found.test
    assert found.equal_budgets
    assert (found.budget, found.k) == (20, 5)
    assert [result.level for result in found.levels][2] == "a"
    named = by_name(found.levels)
    assert named["b"].best is not None
    assert named["b"].best.value == pytest.approx(good.max())
    assert named["b"].best.trial == int(good.argmax()) * 3 + 1
    assert named["b"].expected_best is not None
    assert named["a"].expected_best is not None
    assert named["a"].expected_best.high < named["b"].expected_best.low  # type: ignore[operator]
    assert named["a"].rank is not None
    assert (named["a"].rank.low, named["a"].rank.high, named["a"].rank.value) == (3, 3, 3.0)
    assert named["b"].rank is not None
    assert (named["b"].rank.low, named["b"].rank.high) == (1, 2)
    assert named["a"].sensitivity == 0.0
    assert named["b"].seconds == 20.0
    assert named["b"].gpu_seconds == 10.0
    shown = {pair.levels: None if pair.better is None else pair.levels[pair.better] for pair in found.pairs}
    assert shown == {("a", "b"): "b", ("a", "c"): "c", ("b", "c"): None}
    (pair,) = (pair for pair in found.pairs if pair.levels == ("a", "b"))
    assert pair.num_pairs == 20
    assert pair.superiority == 0.0
    assert pair.difference is not None
    assert pair.difference.value < 0  # the expected best of a minus that of b: a maximizes less
    assert found.conclusion.startswith(("b and c are each better than a (p", "c and b are each better than a (p"))
    assert "no difference is shown between" in found.conclusion


def test_curves_go_up_for_a_metric_to_maximize() -> None:
    found = compare(levels([0.1, 0.5, 0.3, 0.9], [0.2, 0.2, 0.4, 0.1]), by="opt", metric="score", direction="maximize")
    curve = by_name(found.levels)["a"].best_after
    assert curve is not None
    assert curve.k == [1, 2, 3, 4]
    assert curve.expected == pytest.approx([0.45, (0.5 * 2 + 0.3 + 0.9 * 3) / 6, (0.9 * 3 + 0.5) / 4, 0.9])
    assert all(low <= mean <= high for low, mean, high in zip(curve.low, curve.expected, curve.high, strict=True))  # type: ignore[operator]
    assert curve.reliable_up_to == 1


def test_curves_over_what_the_trials_cost() -> None:
    costly = [
        Outcome(number=n, state=TrialState.COMPLETE, reason=None, params={}, values=(v,), seconds=float(n), gpu_seconds=2.0 * n)
        for n, v in ((1, 3.0), (3, 4.0), (5, 2.0), (7, 9.0))
    ]
    cheap = [outcome(number, value) for number, value in enumerate([5.0, 4.0, 4.0, 1.0])]
    found = compare(
        [Level(name="b", study="s", outcomes=costly), Level(name="a", study="s", outcomes=cheap)],
        by="opt",
        metric="loss",
        direction="minimize",
    )
    a, b = (by_name(found.levels)[name] for name in "ab")
    assert a.best_after is not None
    assert a.best_so_far is not None
    assert b.best_after is not None
    assert b.best_so_far is not None
    assert a.best_after.seconds == [1.0, 2.0, 3.0, 4.0]
    assert b.best_after.seconds == [4.0, 8.0, 12.0, 16.0]  # k trials take k times the mean
    assert b.best_after.gpu_seconds == [8.0, 16.0, 24.0, 32.0]
    assert b.best_so_far.model_dump() == {
        "trials": [1, 3, 4], "seconds": [1.0, 9.0, 16.0], "gpu_seconds": [2.0, 18.0, 32.0], "value": [3.0, 2.0, 2.0]
    }  # fmt: skip
    assert (a.best_so_far.trials, a.best_so_far.value) == ([1, 2, 4], [5.0, 4.0, 1.0])


def test_intervals_never_promise_more_for_fewer_trials() -> None:
    """Accuracies near 1 with a long tail below: the interval of the best of two ends below that of the best of all."""
    rng = np.random.default_rng(2)
    found = compare(levels(*(1 - rng.lognormal(-4, 2, size=(2, 16)))), by="opt", metric="score", direction="maximize")
    for level in found.levels:
        assert level.best_after is not None
        high = level.best_after.high
        assert all(one is not None and other is not None and one <= other for one, other in pairwise(high))


def test_no_difference_in_words() -> None:
    rng = np.random.default_rng(1)
    found = compare(levels(*rng.normal(size=(3, 20))), by="opt", metric="loss", direction="minimize", block_size=3)
    assert found.conclusion.startswith("No difference is shown between ")
    assert all(pair.better is None for pair in found.pairs)


def test_the_best_trial_may_be_of_a_worse_level() -> None:
    typical = np.linspace(0.4, 0.5, 20)
    found = compare(levels([*typical[:-1], 0.99], typical + 0.2), by="opt", metric="score", direction="maximize", block_size=2)
    assert found.conclusion.startswith("b is better than a")
    assert found.conclusion.endswith("Yet the best trial of all, 38 with 0.99, is one of a.")


def test_failures_count_as_the_worst_and_cancelled_trials_not_at_all() -> None:
    outcomes = [
        outcome(0, 1.0, opt="adam", lr=0.1),
        outcome(1, 5.0, opt="sgd", lr=0.1),
        outcome(2, None, "FAIL", "nan", opt="adam", lr=0.1),
        outcome(3, None, "FAIL", "cancelled", opt="adam", lr=0.1),
        outcome(4, 2.0, "PRUNED", opt="adam", lr=0.1),
        outcome(5, 3.0, "WAITING", "paused_at_rung", opt="adam", lr=0.1),
        outcome(6, None, "WAITING", opt="adam", lr=0.1),
        outcome(7, None, "RUNNING", opt="adam", lr=0.1),
        outcome(8, float("inf"), opt="adam", lr=0.1),
    ]
    found = compare_study(study(outcomes, objectives=[{"name": "score", "direction": "minimize"}]), "opt")
    adam = by_name(found.levels)["adam"]
    assert adam.trials.model_dump() == {
        "counted": 5, "complete": 2, "pruned": 1, "paused": 1, "failed": 1, "cancelled": 1, "running": 1, "waiting": 1
    }  # fmt: skip
    assert adam.best_after is not None
    assert adam.best_after.expected[0] == pytest.approx((1 + 5 + 2 + 3 + 5) / 5)
    notes = " ".join(found.notes)
    assert "Failed trials count as the worst value of all, 5: adam 1" in notes
    assert "Without a counted trial: lbfgs" in notes
    assert "Stopped early or paused, counted with the last value reported: 2 of 9" in notes
    assert not found.equal_budgets
    assert found.budget == 1
    assert by_name(found.levels)["lbfgs"].rank is None


def test_unequal_budgets_are_said_and_evened_out() -> None:
    found = compare(levels([5.0, 4.0, 3.0, 0.0], [2.0, 6.0]), by="opt", metric="loss", direction="minimize")
    named = by_name(found.levels)
    assert named["a"].best is not None
    assert (named["a"].best.value, named["a"].best_at_equal_budget) == (0.0, 4.0)
    assert not found.equal_budgets
    assert "from 2 to 4 counted trials" in " ".join(found.notes)
    assert "Mann and Whitney" in found.test
    assert found.pairs[0].num_pairs is None


def test_best_at_equal_seconds() -> None:
    dear = [Outcome(number=n, state=TrialState.COMPLETE, reason=None, params={}, values=(v,), seconds=10.0, gpu_seconds=0.0) for n, v in enumerate([3.0, 1.0])]  # fmt: skip
    found = compare(
        [Level(name="dear", study="s", outcomes=dear), level("cheap", [5.0, 4.0])], by="opt", metric="loss", direction="minimize"
    )
    named = by_name(found.levels)
    assert (named["dear"].best_at_equal_seconds, named["cheap"].best_at_equal_seconds) == (None, 4.0)


def test_too_few_trials_for_any_difference_is_said() -> None:
    found = compare(levels([1.0, 2.0, 3.0], [7.0, 8.0, 9.0]), by="opt", metric="loss", direction="minimize", block_size=2)
    assert found.pairs[0].p_corrected == 0.25
    assert "it needs at least 6 trials a level" in " ".join(found.notes)


def test_matched_are_trials_of_one_block() -> None:
    """Level a has lost its trial of the second block and was given two in the third."""
    a = Level(name="a", study="s", outcomes=[outcome(0, 1.0), outcome(4, 2.0), outcome(5, 9.0), outcome(6, 3.0)])
    b = Level(name="b", study="s", outcomes=[outcome(1, 2.0), outcome(3, 0.0), outcome(7, 4.0)])
    (pair,) = compare([a, b], by="opt", metric="loss", direction="minimize", block_size=2).pairs
    assert pair.num_pairs == 2  # blocks 0 and 3


def test_levels_of_a_study() -> None:
    outcomes = [
        outcome(n, float(n), opt=("adam", "sgd")[n % 2], lr=10.0 ** -(n % 10 / 2), depth=n % 4 + 1, **({"beta": 0.9} if n % 2 == 0 else {}))
        for n in range(40)
    ]  # fmt: skip
    given = study(outcomes)
    assert [(level.name, len(level.outcomes)) for level in split(given, "opt")] == [("adam", 20), ("sgd", 20), ("lbfgs", 0)]
    assert [level.name for level in split(given, "depth")] == [1, 2, 3, 4]
    parts = split(given, "lr")
    assert len(parts) == 4
    assert sum(len(part.outcomes) for part in parts) == 40
    assert parts[0].name == "3.16e-05 to 0.0001"
    assert [len(level.outcomes) for level in split(given, "beta")] == [20]
    with pytest.raises(InvalidValue, match=r"query\.by: study 's' has no parameter 'opd'; did you mean opt"):
        split(given, "opd")


def test_what_speaks_against_the_figures_is_said() -> None:
    outcomes = [outcome(n, float(n), opt=("adam", "sgd")[n % 2]) for n in range(8)]
    notes = " ".join(compare_study(study(outcomes, sampler={"name": "tpe"}), "opt").notes)
    assert "did not give the levels of opt equal budgets and equal seeds" in notes
    assert "The sampler (tpe) learns from results" in notes
    dealt = study(
        outcomes, external("s", space={"opt": {"type": "categorical", "choices": ["adam", "sgd"]}}, compare={"by": "opt"})
    )
    found = compare_study(dealt)
    assert found.paired
    assert "learns" not in " ".join(found.notes)
    assert "did not give" not in " ".join(found.notes)
    assert found.pairs[0].num_pairs == 4


def test_other_objectives() -> None:
    spec = external(
        "s",
        space=SPACE,
        objectives=[{"name": "score", "direction": "maximize"}, {"name": "loss", "direction": "minimize"}],
    )
    outcomes = [
        Outcome(number=n, state=TrialState.COMPLETE, reason=None, params={"opt": ("adam", "sgd")[n % 2]}, values=(1.0 * n, 2.0 * n), seconds=0, gpu_seconds=0)
        for n in range(6)
    ]  # fmt: skip
    found = compare_study(study(outcomes, spec), "opt", "loss")
    assert (found.metric, found.direction) == ("loss", "minimize")
    assert found.levels[0].best is not None
    assert found.levels[0].best.value == 0.0
    with pytest.raises(InvalidValue, match="there are score, loss"):
        compare_study(study(outcomes, spec), "opt", "accuracy")


def test_nothing_to_compare() -> None:
    with pytest.raises(InvalidValue, match=r"query\.by: is missing"):
        compare_study(study([]))
    with pytest.raises(Conflict, match="no trial has a finite value"):
        compare_study(study([]), "opt")
    with pytest.raises(Conflict, match="at least two levels of opt; there are some of 1"):
        compare_study(study([outcome(0, 1.0, opt="adam")]), "opt")


def test_studies() -> None:
    first = study([outcome(n, float(n)) for n in range(10)])
    second = study([outcome(n, float(n) + 100) for n in range(10)])
    found = compare_studies([first, second])
    assert found.by == "study"
    assert found.pairs[0].better == 1
    other = study([outcome(0, 1.0)], objectives=[{"name": "score", "direction": "minimize"}])
    with pytest.raises(InvalidValue, match="minimized in one of them and maximized in another"):
        compare_studies([first, other])
