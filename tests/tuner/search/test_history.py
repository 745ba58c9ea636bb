"""The history in memory equals the database, in whatever order and however often its rows come."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study
from optuna.trial import TrialState as OptunaState

from tests.tuner.search.rows import trial_row
from tuner.search import distributions
from tuner.search.columns import Columns
from tuner.search.history import History
from tuner.wire import TrialState

SPACE: dict[str, BaseDistribution] = {"x": FloatDistribution(0.0, 1.0), "y": FloatDistribution(1e-3, 1.0, log=True)}


def _new(**attrs: Any) -> History:
    return History(study_id=1, name="study", directions=["maximize"], objectives=["gain"], space=SPACE, system_attrs=attrs)


def _row(number: int, state: str = "RUNNING", value: float | None = None, **params: float) -> Any:
    params = params or {"x": number / 100, "y": 0.5}
    return trial_row(
        number,
        state=state,
        reason="exception" if state == "FAIL" else None,
        params=json.dumps(params),
        distributions=json.dumps({name: distributions.to_json(SPACE[name]) for name in params}),
        objective_values=None if value is None else json.dumps([value]),
        system_attrs='{"constraints": [NaN]}' if number == 99 else "{}",
    )


def test_a_study_is_read_without_moving_trials() -> None:
    """A search that takes over meets running trials among finished ones; moving a trial costs all that observers have."""
    rows = [_row(number, "RUNNING" if number % 7 == 3 else "COMPLETE", 0.5) for number in range(40)]
    history, resets = _new(), list[int]()
    history.add_observer(SimpleNamespace(changed=lambda index, trial: None, reset=lambda: resets.append(1)))  # type: ignore[arg-type]
    columns = Columns(history)
    for row in rows:
        (history.place if row.state == "COMPLETE" else history.merge_trial)(row)
    assert history.counts[TrialState.RUNNING] == 40
    for row in rows:
        history.merge_trial(row)
    assert resets == []
    assert [trial.number for trial in history.trials] == list(range(40))
    assert (history.counts[TrialState.RUNNING], history.counts[TrialState.COMPLETE], columns.num_finished) == (6, 34, 34)


def test_rows_may_come_twice_and_out_of_order() -> None:
    rng = np.random.RandomState(0)
    rows = []
    for number in range(30):
        rows += [_row(number, "WAITING"), _row(number, "RUNNING")]
        rows.append(_row(number, "COMPLETE", float(rng.normal())) if number % 4 else _row(number, "FAIL"))
    straight, crooked = _new(), _new()
    columns = [Columns(straight), Columns(crooked)]
    for row in rows:
        straight.merge_trial(row)
    for place in rng.permutation(30):
        for row in rows[3 * place : 3 * place + 3]:
            crooked.merge_trial(row)
            assert crooked.merge_trial(row) is False
        crooked.merge_trial(rows[3 * place])  # an older state never undoes a final one
    assert [trial.__dict__ for trial in crooked.trials] == [trial.__dict__ for trial in straight.trials]
    assert crooked.counts == straight.counts
    assert columns[0].below(9).tolist() == columns[1].below(9).tolist()
    assert straight.counts[TrialState.COMPLETE] == 22


def test_what_another_program_gives_to_a_trial_one_by_one_is_taken_in() -> None:
    history = _new()
    columns = Columns(history)
    whole = _row(0)
    bare = trial_row(0, state="RUNNING")
    assert history.merge_trial(bare)
    assert history.merge_trial(bare) is False
    (name, *_) = json.loads(whole.params)
    partly = trial_row(0, state="RUNNING", system_attrs='{"seen": 1}')
    partly.params = json.dumps({name: json.loads(whole.params)[name]})
    partly.distributions = json.dumps({name: json.loads(whole.distributions)[name]})
    full = _row(0, "RUNNING")
    full.system_attrs = partly.system_attrs
    for row in (partly, full):
        assert history.merge_trial(row)
        assert history.get(0).params == json.loads(row.params)
        assert history.get(0).distributions == {each: SPACE[each] for each in history.get(0).params}
        assert columns.having(tuple(history.get(0).params), running=True).tolist() == [True]
    assert history.get(0).system_attrs == {"seen": 1}
    history.merge_trial(_row(0, "COMPLETE", 1.0))
    assert history.common_space(include_pruned=False) == SPACE
    assert history.merge_trial(bare) is False  # nothing undoes a final state
    assert history.get(0).params == json.loads(whole.params)


def test_reports_of_unknown_trials_are_refused_and_of_known_ones_kept_for_judging() -> None:
    history = _new()
    assert not history.merge_report(100, 0, {"gain": 1.0})
    history.merge_trial(_row(0))
    assert history.merge_report(100, 5, {"gain": 1.0})
    assert history.merge_report(100, 2, {"gain": "-Infinity", "other": 3})
    assert history.merge_report(100, 2, {"gain": "-Infinity"})
    assert history.unjudged == {0: [2, 5]}
    assert history.get(0).intermediate_values == {5: 1.0, 2: float("-inf")}
    history.mark_judged(0, 2)
    assert history.unjudged == {0: [5]}
    history.merge_trial(_row(0, "COMPLETE", 1.0))
    assert history.unjudged == {}


def test_waiting_trials_are_pending_for_samplers() -> None:
    history = _new()
    history.merge_trial(_row(0, "WAITING"))
    assert history.trials[0].state == OptunaState.RUNNING
    assert history.state_of(0) == TrialState.WAITING


def test_rollback_restores_attributes_and_trials() -> None:
    history = _new(kept=1)
    history.merge_trial(_row(0))
    columns = Columns(history)
    trial = history.open_trial(1)
    history.set_study_system_attr(1, "kept", 2)
    history.set_study_system_attr(1, "new", 3)
    history.set_trial_system_attr(100, "rung", 4)
    trial._params["x"], trial._distributions["x"] = 0.5, SPACE["x"]
    history.close_trial(trial)
    assert history.study_writes == {"kept": 2, "new": 3}
    assert history.trial_writes == {100: {"rung": 4}}
    assert columns.num_rows == 2
    history.rollback()
    assert history.system_attrs == {"kept": 1}
    assert history.get(0).system_attrs == {}
    assert [trial.number for trial in history.trials] == [0]
    assert columns.num_rows == 1
    assert history.counts[TrialState.WAITING] == 0


def test_common_space_is_optunas() -> None:
    history = _new()
    optunas = IntersectionSearchSpace(include_pruned=True)
    study = Study("study", history)
    rows = [_row(0), _row(0, "COMPLETE", 1.0), _row(1, "FAIL", x=0.1), _row(2, "PRUNED"), _row(3, "PRUNED", x=0.2), _row(4)]
    for row in rows:
        history.merge_trial(row)
        assert history.common_space(include_pruned=True) == optunas.calculate(study)
    assert history.common_space(include_pruned=True) == {"x": SPACE["x"]}
    assert history.common_space(include_pruned=False) == SPACE


def test_distributions_of_another_program_are_noticed() -> None:
    history = _new()
    foreign = _row(0, "COMPLETE", 1.0)
    foreign.distributions = json.dumps({name: distributions.to_json(FloatDistribution(0.0, 9.0)) for name in SPACE})
    history.merge_trial(_row(1, "COMPLETE", 1.0))
    history.merge_trial(foreign)
    assert history.foreign
    assert history.common_space(include_pruned=False) == {}
