"""TPE over columns against plain Optuna: on the same history and the same random streams it makes the same suggestions."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from optuna._transform import _SearchSpaceTransform
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import TPESampler
from optuna.samplers._tpe.parzen_estimator import _ParzenEstimator
from optuna.study import Study
from optuna.trial import FrozenTrial
from scipy import stats

from tests.tuner.search.rows import trial_row
from tuner.search import distributions
from tuner.search.columns import Columns
from tuner.search.history import History
from tuner.search.mixture import MIN_KERNELS, Mixture
from tuner.search.tpe import ColumnTPESampler

CONTINUOUS: dict[str, BaseDistribution] = {
    "a": FloatDistribution(-1.0, 3.0),
    "b": FloatDistribution(1e-5, 1.0, log=True),
    "c": CategoricalDistribution(["x", "y", "z"]),
}
MIXED: dict[str, BaseDistribution] = {
    **CONTINUOUS,
    "d": FloatDistribution(0.0, 0.6, step=0.1),
    "e": IntDistribution(1, 4),
    "f": IntDistribution(16, 512, log=True),
}


def _row(
    number: int, state: str, params: dict[str, Any], space: dict[str, BaseDistribution], value: float | None
) -> SimpleNamespace:
    return trial_row(
        number,
        state=state,
        params=json.dumps(params),
        distributions=json.dumps({name: distributions.to_json(space[name]) for name in params}),
        objective_values=None if value is None else json.dumps([value]),
    )


def _draw(space: dict[str, BaseDistribution], rng: np.random.RandomState) -> dict[str, Any]:
    transform = _SearchSpaceTransform(space)
    drawn = transform.untransform(rng.uniform(transform.bounds[:, 0], transform.bounds[:, 1]))
    params = {name: distributions.external(space[name], value) for name, value in drawn.items()}
    if params["c"] != "y":
        params.pop("cond", None)
    return params


def _history(
    space: dict[str, BaseDistribution], num_trials: int, *, seed: int = 0, pruned: bool = False, feasible: float = 1.0
) -> History:
    """Finished trials with ties, a few failed, pruned ones with reports where asked for, a share `feasible`, and three under way."""
    rng = np.random.RandomState(seed)
    history = History(study_id=1, name="study", directions=["minimize"], objectives=["loss"], space=space)
    for number in range(num_trials):
        params = _draw(space, rng)
        state = "FAIL" if number % 17 == 3 else "PRUNED" if pruned and number % 3 else "COMPLETE"
        value = round(float(rng.normal()), 1) if state == "COMPLETE" else None
        row = _row(number, state, params, space, value)
        if feasible < 1.0 and state != "FAIL":
            violation = -1.0 if rng.rand() < feasible else math.inf if rng.rand() < 0.1 else round(float(rng.exponential()), 1)
            row.constraint_values = json.dumps({"a <= 1": violation, "b <= 1": -violation})
        if state == "PRUNED":
            history.merge_trial(SimpleNamespace(**{**vars(row), "state": "RUNNING"}))
            for step in range(rng.randint(0, 4)):
                history.merge_report(row.id, step, {"loss": "NaN" if rng.rand() < 0.1 else float(rng.normal())})
        history.merge_trial(row)
    for number in range(num_trials, num_trials + 3):
        history.merge_trial(_row(number, "RUNNING", _draw(space, rng), space, None))
    return history


def _suggest(sampler: TPESampler, history: History, seed: int) -> dict[str, Any]:
    """One suggestion, taken back again."""
    study = Study(history.name, history, sampler=sampler)
    trial = history.open_trial(history.trials[-1].number + 1)
    sampler._rng.rng.seed(seed)
    sampler._random_sampler._rng.rng.seed(seed + 1)
    relative = sampler.sample_relative(study, trial, sampler.infer_relative_search_space(study, trial))
    params: dict[str, Any] = {}
    for name, distribution in history.space.items():
        if name == "cond" and params["c"] != "y":
            continue
        params[name] = relative[name] if name in relative else sampler.sample_independent(study, trial, name, distribution)
        trial._params[name], trial._distributions[name] = params[name], distribution
    history.rollback()
    return params


@pytest.mark.parametrize("num_trials", [5, 40, MIN_KERNELS + 30, 600])
@pytest.mark.parametrize("pruned", [False, True])
@pytest.mark.parametrize("options", [{}, {"multivariate": False}, {"constant_liar": False}, {"n_ei_candidates": 5}])
def test_same_suggestions(num_trials: int, pruned: bool, options: dict[str, Any]) -> None:
    history = _history(CONTINUOUS, num_trials, pruned=pruned)
    ours, theirs = ColumnTPESampler(history, **options), TPESampler(**options)
    for seed in range(8):
        assert _suggest(ours, history, seed) == _suggest(theirs, history, seed)


@pytest.mark.parametrize("num_trials, feasible", [(40, 0.5), (40, 0.0), (600, 0.5), (600, 0.02)])
def test_same_suggestions_with_outcome_constraints(num_trials: int, feasible: float) -> None:
    history = _history(CONTINUOUS, num_trials, pruned=True, feasible=feasible)
    ours, theirs = ColumnTPESampler(history), TPESampler()
    found = [_suggest(ours, history, seed) for seed in range(8)]
    assert found == [_suggest(theirs, history, seed) for seed in range(8)]
    plain = _history(CONTINUOUS, num_trials, pruned=True)
    assert found != [_suggest(ColumnTPESampler(plain), plain, seed) for seed in range(8)]


@pytest.mark.filterwarnings("ignore:Argument ``group``")
@pytest.mark.parametrize("num_trials", [40, 600])
@pytest.mark.parametrize("options", [{}, {"group": True, "multivariate": True}], ids=str)
def test_same_suggestions_with_a_condition(num_trials: int, options: dict[str, Any]) -> None:
    space = {**CONTINUOUS, "cond": FloatDistribution(0.0, 1.0)}
    history = _history(space, num_trials)
    ours, theirs = ColumnTPESampler(history, **options), TPESampler(**options)
    found = [_suggest(ours, history, seed) for seed in range(12)]
    assert found == [_suggest(theirs, history, seed) for seed in range(12)]
    assert {"cond" in params for params in found} == {True, False}


def test_same_suggestions_as_the_history_grows() -> None:
    """Kernels kept from suggestion to suggestion are those that would be built anew, also where trials change sides or fail."""
    rng = np.random.RandomState(5)
    history = _history(CONTINUOUS, 300)
    ours, theirs = ColumnTPESampler(history), TPESampler()
    for seed in range(60):
        params = _suggest(ours, history, seed)
        assert params == _suggest(theirs, history, seed)
        number = history.trials[-1].number + 1
        history.merge_trial(_row(number, "RUNNING", params, CONTINUOUS, None))
        late = history.trials[-1 - seed % 3]
        if not late.state.is_finished():
            value = float(rng.normal()) - seed / 20
            history.merge_trial(_row(late.number, "FAIL" if seed % 7 == 0 else "COMPLETE", late.params, CONTINUOUS, value))


@pytest.mark.parametrize(
    "num_trials, multivariate",
    [(40, True), *(pytest.param(600, multivariate, marks=pytest.mark.slow) for multivariate in (True, False))],
)
def test_every_kind_of_parameter_follows_the_same_distribution(num_trials: int, multivariate: bool) -> None:
    """Which of equal trials keeps the wide kernel is arbitrary, so with steps suggestions agree in distribution, not one by one.

    Independent draws of both, three trials under way; a space of all kinds, a condition included. Two-sample tests, Bonferroni over
    the parameters; the seeds are fixed, so what passes passes always.
    """
    space = {**MIXED, "cond": FloatDistribution(0.0, 1.0)}
    history = _history(space, num_trials, pruned=True)
    num_draws = 200
    ours = _draws(ColumnTPESampler(history, multivariate=multivariate), history, range(num_draws))
    theirs = _draws(TPESampler(multivariate=multivariate), history, range(1000, 1000 + num_draws))
    for name, distribution in space.items():
        mine, other = ([params[name] for params in side if name in params] for side in (ours, theirs))
        assert min(len(mine), len(other)) > 20
        assert _p_of_equality(distribution, mine, other) > 0.01 / len(space), name


def _draws(sampler: TPESampler, history: History, seeds: range) -> list[dict[str, Any]]:
    return [_suggest(sampler, history, 2 * seed) for seed in seeds]


def _p_of_equality(distribution: BaseDistribution, mine: list[Any], other: list[Any]) -> float:
    if isinstance(distribution, CategoricalDistribution):
        counts = np.array([[side.count(choice) for choice in distribution.choices] for side in (mine, other)])
        return float(stats.chi2_contingency(counts[:, counts.sum(axis=0) > 0]).pvalue)
    return float(stats.ks_2samp(mine, other).pvalue)


@pytest.mark.parametrize("space", [CONTINUOUS, {"b": CONTINUOUS["b"]}], ids=["three", "one"])
def test_mixture_density_is_that_of_parzen_estimator(space: dict[str, BaseDistribution]) -> None:
    history = _history(CONTINUOUS, 400)
    columns = Columns(history)
    mixture = Mixture(space, columns)
    rng = np.random.RandomState(3)
    parameters = TPESampler()._parzen_estimator_parameters
    names = tuple(space)
    wanted = columns.having(names, running=True)
    for _ in range(40):
        for row in rng.choice(len(wanted), 5):
            wanted[row] = not wanted[row] and history.trials[row].state.name != "FAIL"
        mixture.update(wanted)
        rows = np.flatnonzero(wanted)
        samples = _ParzenEstimator({name: columns.get(name, rows[:20]) for name in names}, space, parameters).sample(rng, 24)
        expected = _ParzenEstimator({name: columns.get(name, rows) for name in names}, space, parameters).log_pdf(samples)
        np.testing.assert_allclose(mixture.log_pdf(samples), expected, rtol=1e-9)


def test_kernels_kept_equal_kernels_built() -> None:
    """A search that takes over builds what the first one has kept, to the last bit, steps and ties included."""
    history = _history(MIXED, 400)
    columns = Columns(history)
    kept = Mixture(MIXED, columns)
    rng = np.random.RandomState(4)
    wanted = columns.having(tuple(MIXED), running=True)
    for _ in range(30):
        wanted[rng.choice(len(wanted), 7)] ^= True
        kept.update(wanted)
        built = Mixture(MIXED, columns)
        built.update(wanted)
        samples = {name: columns.get(name, rng.choice(400, 24)) for name in MIXED}
        assert kept.log_pdf(samples).tolist() == built.log_pdf(samples).tolist()


def test_below_division_is_optunas() -> None:
    from optuna.samplers._tpe.sampler import _split_trials

    history = _history(CONTINUOUS, 60, pruned=True)
    columns = Columns(history)
    study = Study(history.name, history, sampler=TPESampler())
    trials: list[FrozenTrial] = [trial for trial in history.trials if trial.state.name in ("COMPLETE", "PRUNED", "RUNNING")]
    for count in (0, 3, 15, 25, 50, 100):
        below, _ = _split_trials(study, trials, count)
        assert [history.trials[row].number for row in columns.below(count)] == [trial.number for trial in below]
