"""Outcome constraints: how they are read, how a trial that ends is held against them, and that an infeasible one is best nowhere."""

from __future__ import annotations

import math
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState as OptunaState

from tests.tuner.specs import external
from tuner import (
    advice,
    columns,
    comparison,
    leases,
    outcome_constraints,
    outcomes,
    reports,
    studies,
    study_progress,
    trials,
    views,
)
from tuner.best_configuration import Ranked
from tuner.db.postgres import Database
from tuner.errors import InvalidSpec, InvalidValue
from tuner.optuna_storage import PostgresStorage
from tuner.search import past_studies
from tuner.wire import AskRequest, Report, Study, StudyState, Tell, Trial, TrialCreate, TrialState

LATENCY = "latency_ms <= 50"


def start(database: Database, *constraints: str, **changes: Any) -> Study:
    return studies.create(database, "default", external(outcome_constraints=list(constraints or (LATENCY,)), **changes))[0]


def run(
    database: Database,
    study: Study,
    *reported: dict[str, float],
    told: dict[str, float] | None = None,
    state: Any = "COMPLETE",
    x: float = 0.5,
) -> Trial:
    """One trial from its lease to its end."""
    trials.create(database, "default", study.name, TrialCreate(params={"x": x}))
    (lease,) = leases.take(database, "default", AskRequest(), study=study.name)
    if reported:
        batch = [Report(step=step, values=values) for step, values in enumerate(reported)]
        reports.append(database, "default", lease.id, batch)
    return leases.tell(database, "default", lease.id, Tell(state=state, values=told)).trial


# --- reading -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, metric, operator, bound",
    [
        ("latency_ms <= 50", "latency_ms", "<=", 50.0),
        ("latency_ms<50", "latency_ms", "<", 50.0),
        (" val accuracy >= -1e-3 ", "val accuracy", ">=", -0.001),
        ("val/mAP@0.5-0.95 (large) > 0", "val/mAP@0.5-0.95 (large)", ">", 0.0),
        ("90 percentile < 1", "90 percentile", "<", 1.0),
        ("memory > 0.1234567890123", "memory", ">", 0.1234567890123),
    ],
)
def test_is_read(text: str, metric: str, operator: str, bound: float) -> None:
    found = outcome_constraints.parse(text)
    assert (found.metric, found.operator, found.bound) == (metric, operator, bound)
    assert outcome_constraints.parse(found.text) == found


@pytest.mark.parametrize(
    "texts, where, what",
    [
        (["latency_ms"], "outcome_constraints.0", "is no outcome constraint: write a metric's name"),
        (["latency_ms <= fast"], "outcome_constraints.0", "is no number"),
        (["a == 1"], "outcome_constraints.0", "is no outcome constraint"),
        (["latency_ms <= inf"], "outcome_constraints.0", "must be finite"),
        (["a <= 1", "a <= 1.0"], "outcome_constraints.1", "repeats a <= 1"),
        (["a <= 1", "a > 1"], "outcome_constraints.1", "no value meets both a <= 1 and a > 1"),
        (["a >= 2", "b < 0", "a <= 1"], "outcome_constraints.2", "no value meets both a >= 2 and a <= 1"),
        (["latency_ms * 2 <= 50"], "outcome_constraints.0", "'latency_ms * 2' is no metric's name: write a metric's name"),
        (["`latency ms` <= 50"], "outcome_constraints.0", "is no metric's name"),
        (['"latency_ms" <= 50'], "outcome_constraints.0", "is no metric's name"),
        (["0.5 <= 50"], "outcome_constraints.0", "'0.5' is no metric's name"),
        (["m" * 200 + " < 1"], "outcome_constraints.0", "more than 128 characters"),
        (["a < " + "1" * 400], "outcome_constraints.0", "at most 300"),
        ("a < 1", "outcome_constraints", "a list of at most 50 texts"),
        ([1], "outcome_constraints.0", "a text such as latency_ms <= 50"),
        ([f"m{i} < 1" for i in range(51)], "outcome_constraints", "a list of at most 50 texts"),
    ],
)
def test_bad_ones_are_named(texts: Any, where: str, what: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        external(outcome_constraints=texts)
    assert [error for error in caught.value.errors if error.loc.startswith(where) and what in error.msg], caught.value.errors


def test_both_ends_of_a_range_are_allowed() -> None:
    external(outcome_constraints=["a >= 1", "a <= 1", "b > 0", "b < 1"])


def test_what_the_trainer_does_not_report_is_refused() -> None:
    trainer = {"dataset": {"name": "digits"}, "model": {"name": "mlp"}}
    changes = {
        "objectives": [{"name": "val_accuracy", "direction": "maximize"}],
        "space": {"optimizer.lr": {"type": "float", "low": 0.1, "high": 1.0}},
        "trial": {"executor": "trainer", "trainer": trainer},
    }
    external(outcome_constraints=["val_loss <= 1"], **changes)
    with pytest.raises(InvalidSpec) as caught:
        external(outcome_constraints=["latency <= 1"], **changes)
    (error,) = caught.value.errors
    assert error.loc == "outcome_constraints.0"
    assert "does not report 'latency'" in error.msg


def test_cmaes_is_refused() -> None:
    with pytest.raises(InvalidSpec) as caught:
        external(outcome_constraints=[LATENCY], sampler={"name": "cmaes"})
    (error,) = caught.value.errors
    assert error.loc == "sampler.name"
    assert "cmaes takes no notice of outcome constraints" in error.msg


def test_spec_without_them_is_the_spec_it_was() -> None:
    assert "outcome_constraints" not in external().to_json()


@given(st.sampled_from(["<", "<=", ">", ">="]), st.floats(-1e6, 1e6), st.floats(allow_nan=True, allow_infinity=True))
def test_violation_is_above_zero_exactly_where_the_condition_fails(operator: str, bound: float, value: float) -> None:
    violation = outcome_constraints.OutcomeConstraint(metric="m", operator=operator, bound=bound).violation(value)
    holds = {"<": value < bound, "<=": value <= bound, ">": value > bound, ">=": value >= bound}[operator]
    assert (violation <= 0) == holds
    assert not math.isnan(violation)


# --- judging -------------------------------------------------------------------------------------------------------------


def test_the_value_told_counts_before_the_last_one_reported(database: Database) -> None:
    study = start(database)
    found = run(database, study, {"latency_ms": 90.0}, {"latency_ms": 60.0}, {"score": 0.1}, told={"score": 1.0})
    assert found.state == TrialState.COMPLETE
    assert (found.feasible, found.constraints, found.reason) == (False, {LATENCY: 10.0}, "infeasible")
    assert found.values == {"score": 1.0}
    found = run(database, study, {"latency_ms": 60.0}, told={"score": 1.0, "latency_ms": 40.0})
    assert (found.feasible, found.constraints, found.reason) == (True, {LATENCY: -10.0}, None)
    assert views.get_trial(database, "default", found.id).feasible is True


def test_reports_that_come_with_the_tell_count(database: Database) -> None:
    study = start(database)
    trials.create(database, "default", study.name, TrialCreate(params={"x": 0.5}))
    (lease,) = leases.take(database, "default", AskRequest(), study=study.name)
    assert lease.trial.constrained == ["latency_ms"]
    reports.append(database, "default", lease.id, [Report(step=0, values={"latency_ms": 90.0})])
    last = [Report(step=2, values={"latency_ms": 20.0}), Report(step=1, values={"latency_ms": 70.0})]
    body = Tell(state="COMPLETE", values={"score": 1.0}, reports=last)
    told = leases.tell(database, "default", lease.id, body)
    assert told.trial.constraints == {LATENCY: -30.0}
    assert leases.tell(database, "default", lease.id, body).trial == told.trial  # repeated


@pytest.mark.parametrize("value", [math.nan, math.inf, None])
def test_without_a_number_a_complete_trial_is_infeasible_and_says_so(database: Database, value: float | None) -> None:
    study = start(database)
    found = run(database, study, told={"score": 1.0} | ({} if value is None else {"latency_ms": value}))
    assert found.state == TrialState.COMPLETE
    assert (found.feasible, found.constraints, found.reason) == (False, {LATENCY: math.inf}, "infeasible")
    if value is None:
        assert found.error == "infeasible: there is no value of latency_ms; report it, or tell it with the outcome"
    assert "there is no number for it" in outcome_constraints.describe(found.constraints or {})


def test_nothing_is_held_against_a_pruned_trial_that_it_had_no_time_to_measure(database: Database) -> None:
    study = start(database, LATENCY, "memory < 2")
    unknown = run(database, study, {"score": 0.5, "memory": 1.0}, state="PRUNED")
    assert (unknown.feasible, unknown.constraints) == (None, {"memory < 2": -1.0})
    broken = run(database, study, {"score": 0.5, "memory": 2.0}, state="PRUNED")
    assert (broken.feasible, broken.reason) == (False, "pruned")
    assert outcome_constraints.describe(broken.constraints or {}) == "memory < 2 is just broken: the value is the bound"
    kept = run(database, study, {"score": 0.5, "memory": 1.0, "latency_ms": 1.0}, state="PRUNED")
    assert kept.feasible is True
    failed = run(database, study, {"latency_ms": 90.0}, state="FAIL")
    assert (failed.feasible, failed.constraints) == (None, None)


def test_trials_added_from_elsewhere_are_judged(database: Database) -> None:
    study = start(database)
    values = {"score": 3.0, "latency_ms": 51.0}
    body = TrialCreate(params={"x": 0.1}, state=TrialState.COMPLETE, values=values)
    assert trials.create(database, "default", study.name, body).constraints == {LATENCY: 1.0}


def test_constraint_on_an_objective(database: Database) -> None:
    study = start(database, "score <= 0.9")
    assert run(database, study, told={"score": 0.95}).feasible is False
    assert run(database, study, told={"score": 0.85}).feasible is True


# --- what is best --------------------------------------------------------------------------------------------------------


def fill(database: Database, study: Study, *, levels: bool = False) -> None:
    """Trials 0 to 39, the better the faster they would be; from 20 on they break the constraint."""
    for number in range(40):
        params: dict[str, Any] = {"x": number / 40, **({"kind": "slow" if number >= 20 else "quick"} if levels else {})}
        values = {"score": float(number), "latency_ms": 10.0 if number < 20 else 60.0}
        body = TrialCreate(params=params, state=TrialState.COMPLETE, values=values)
        trials.create(database, "default", study.name, body)


def test_an_infeasible_trial_is_best_nowhere(database: Database) -> None:
    study = start(database)
    fill(database, study)
    now = views.get_study(database, "default", study.name)
    assert (now.best_value, now.best_trial, now.counts.complete, now.counts.infeasible) == (19.0, 19, 40, 20)
    assert [trial.number for trial in views.best(database, "default", study.name)] == [19]
    assert [trial.number for trial in views.pareto(database, "default", study.name)] == [19]
    leaders = views.list_trials(database, "default", study.name, sort="-value", limit=3)
    assert [trial.number for trial in leaders.items] == [19, 18, 17]
    (progress,) = study_progress.list_(database, "default", [study.id])
    assert max(value for _, value in progress.best) == 19.0
    read = outcomes.read(database, "default", study.name)
    assert Ranked.of(read).outcomes[0].number == 19
    best = advice.advise(read).best
    assert best is not None
    assert best.trial == 19
    assert columns.read(database, "default", study.name).facts["feasible"] == [True] * 20 + [False] * 20


def test_no_best_among_infeasible_ones(database: Database) -> None:
    study = start(database)
    run(database, study, told={"score": 1.0, "latency_ms": 60.0})
    now = views.get_study(database, "default", study.name)
    assert (now.best_value, now.best_trial) == (None, None)
    assert views.best(database, "default", study.name) == []


def test_levels_are_compared_by_feasible_trials(database: Database) -> None:
    space = {
        "x": {"type": "float", "low": 0.0, "high": 1.0},
        "kind": {"type": "categorical", "choices": ["quick", "slow"]},
    }
    study = start(database, space=space)
    fill(database, study, levels=True)
    found = comparison.compare_study(outcomes.read(database, "default", study.name), "kind")
    assert [(level.level, level.best and level.best.trial) for level in found.levels] == [("quick", 19), ("slow", None)]
    assert "break an outcome constraint: 20 of 40 trials" in " ".join(found.notes)


def test_a_target_is_not_reached_by_an_infeasible_trial(database: Database) -> None:
    study = start(database, limits={"target": 5.0})
    for latency, state in ((60.0, StudyState.RUNNING), (40.0, StudyState.COMPLETE)):
        run(database, study, told={"score": 6.0, "latency_ms": latency})
        with database.begin() as connection:
            assert studies.finish_if_done(connection, study.id) == state


def test_pareto_front_is_of_feasible_trials(database: Database) -> None:
    objectives = [{"name": "loss", "direction": "minimize"}, {"name": "latency_ms", "direction": "minimize"}]
    study = start(database, objectives=objectives)
    for loss, latency in ((0.1, 80.0), (0.2, 40.0), (0.3, 45.0), (0.4, 10.0)):
        run(database, study, told={"loss": loss, "latency_ms": latency})
    assert [trial.number for trial in views.pareto(database, "default", study.name)] == [1, 3]


def test_earlier_studies_lend_feasible_configurations(database: Database) -> None:
    study = start(database)
    fill(database, study)
    studies.cancel(database, "default", study.name)
    with database.read() as connection:
        (past,) = past_studies.find(connection, "default", -1, external("later"), None)
    losses = {trial.number: trial.loss for trial in past.trials}
    assert min(losses, key=lambda number: losses[number]) == 19
    assert losses[39] == math.inf


def test_filter(database: Database) -> None:
    study = start(database)
    fill(database, study)
    run(database, study, state="FAIL")
    assert views.numbers(database, "default", study.name, "feasible:false") == list(range(20, 40))
    assert views.numbers(database, "default", study.name, "feasible=true score>17") == [18, 19]
    assert views.numbers(database, "default", study.name, "feasible!=true score>37") == [38, 39]
    with pytest.raises(InvalidValue, match="feasible is true or false, not 'maybe'"):
        views.numbers(database, "default", study.name, "feasible:maybe")


# --- Optuna --------------------------------------------------------------------------------------------------------------


def test_optuna_sees_the_same_feasibility(database: Database) -> None:
    study = start(database, LATENCY, "memory < 2")
    for score, latency, memory in ((3.0, 60.0, 1.0), (2.0, 50.0, 1.0), (1.0, 10.0, 3.0), (0.5, 10.0, 1.0)):
        run(database, study, told={"score": score, "latency_ms": latency, "memory": memory})
    seen = optuna.load_study(study_name=study.name, storage=PostgresStorage(database))
    assert [trial.constraints for trial in seen.trials] == [
        trial.constraints for trial in views.list_trials(database, "default", study.name).items
    ]
    assert seen.best_trial.number == 1
    assert seen.trials[0].constraints == {LATENCY: 10.0, "memory < 2": -1.0}


@pytest.mark.parametrize("is_ours", [True, False])
def test_what_optuna_sets_makes_a_trial_infeasible_here(database: Database, is_ours: bool) -> None:
    storage = PostgresStorage(database)
    if is_ours:
        start(database)
        seen = optuna.load_study(study_name="s", storage=storage)
    else:
        seen = optuna.create_study(study_name="s", storage=storage, direction="maximize")
    for score, violation in ((3.0, 10.0), (2.0, -10.0), (1.0, -20.0)):
        trial = seen.ask()
        trial.suggest_float("x", 0.0, 1.0)
        trial.set_constraint(LATENCY, violation)
        seen.tell(trial, score)
    frozen = optuna.trial.create_trial(
        state=OptunaState.COMPLETE,
        value=4.0,
        params={"x": 0.5},
        distributions={"x": optuna.distributions.FloatDistribution(0.0, 1.0)},
        constraints={LATENCY: 5.0},
    )
    seen.add_trial(frozen)
    listed = views.list_trials(database, "default", "s").items
    assert [trial.feasible for trial in listed] == [False, True, True, False]
    assert [trial.constraints for trial in listed] == [trial.constraints for trial in seen.trials]
    assert views.get_study(database, "default", "s").best_trial == seen.best_trial.number == 1


def test_constraints_in_optunas_older_form(database: Database) -> None:
    storage = PostgresStorage(database)
    seen = optuna.create_study(study_name="s", storage=storage)
    number = storage.create_new_trial(seen._study_id)
    storage.set_trial_system_attr(number, "constraints", [1.0, -1.0])
    storage.set_trial_state_values(number, OptunaState.COMPLETE, [0.0])
    assert seen.trials[0].constraints == {"0": 1.0, "1": -1.0}
    assert views.list_trials(database, "default", "s").items[0].feasible is False


def test_a_trial_run_by_optuna_on_a_constrained_study_needs_the_metric(database: Database) -> None:
    start(database, LATENCY, "score <= 5")
    seen = optuna.load_study(study_name="s", storage=PostgresStorage(database))
    trial = seen.ask()
    trial.suggest_float("x", 0.0, 1.0)
    seen.tell(trial, 1.0)
    (found,) = views.list_trials(database, "default", "s").items
    assert found.constraints == {LATENCY: math.inf, "score <= 5": -4.0}
    assert "there is no value of latency_ms" in (found.error or "")
