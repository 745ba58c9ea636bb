"""The searches under test, each as a worker sees it: the service's own decisions in memory, Optuna and Syne Tune as their users have them."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Protocol

import optuna

from benchmarks.curves import Problem
from tuner import auto
from tuner.search import distributions, portfolio, rungs, samplers, warm_start
from tuner.search.history import History
from tuner.search.portfolio import PastStudy, PastTrial
from tuner.space import SearchSpace
from tuner.spec import StudySpec
from tuner.trials import Suggestion
from tuner.wire import Reason, TrialState, Verdict

Params = Mapping[str, Any]


class Strategy(Protocol):
    """What a worker asks: the next trial to run, and after each report whether to go on."""

    def next(self) -> tuple[int, Params, int]:
        """A trial's number and parameters, and how many reports it has made already."""

    def report(self, number: int, step: int, value: float) -> bool:
        """Whether the trial goes on."""

    def complete(self, number: int, value: float) -> None: ...


class Service:
    """The service's decisions: demand is answered by what was lent, then by a promotion, else by a proposal."""

    def __init__(
        self,
        problem: Problem,
        seed: int,
        *,
        sampler: str = "auto",
        pruner: Mapping[str, Any] | None = None,
        past: Sequence[PastStudy] = (),
        num_workers: int | None = None,
    ) -> None:
        """`num_workers`: as the study's user would say it in max_concurrent_trials."""
        self._problem = problem
        spec = StudySpec.parse(
            {
                "objectives": [{"name": "loss", "direction": "minimize"}],
                "space": problem.space,
                "sampler": {"name": sampler},
                "pruner": pruner or {"name": "auto", "max_resource": problem.num_reports, "resume": True},
                "limits": {"max_trials": None, "max_concurrent_trials": num_workers},
            }
        )
        self._spec = auto.decided(spec, auto.decide(spec).to_json())
        self._history = History(
            study_id=1,
            name="simulated",
            directions=["minimize"],
            objectives=["loss"],
            space=distributions.of_space(spec.space),
        )
        self._rungs = rungs.build(self._spec, self._history)
        self._proposer = samplers.build(
            self._spec.sampler, spec.space, self._history, seed=seed, max_attempts=lambda: 1, rungs=self._rungs
        )
        self._rows: list[SimpleNamespace] = []
        self._lent = self._warm_start(past)

    def next(self) -> tuple[int, Params, int]:
        number = next(self._lent, None)
        if number is None and self._rungs is not None:
            number = next(self._rungs.list_promotable(), None)
            if number is not None:
                self._rungs.promote(number)
                self._rows[number].reason = None
        if number is None:
            number = len(self._rows)
            suggestion = self._proposer.propose(number)
            assert suggestion is not None
            self._insert(suggestion)
        self._history.commit()
        self._merge(number, TrialState.RUNNING)
        trial = self._history.get(number)
        return number, trial.params, len(trial.intermediate_values)

    def report(self, number: int, step: int, value: float) -> bool:
        self._history.merge_report(number, step, {"loss": value})
        if self._rungs is None:
            return True
        self._rungs.take_in(number)
        verdict = self._rungs.judge(number, step)
        self._history.commit()
        if verdict == Verdict.PAUSE:
            self._rows[number].reason = Reason.PAUSED_AT_RUNG
            self._merge(number, TrialState.WAITING)
        elif verdict == Verdict.PRUNE:
            self._merge(number, TrialState.PRUNED)
        return verdict == Verdict.CONTINUE

    def complete(self, number: int, value: float) -> None:
        self._rows[number].objective_values = json.dumps([value])
        self._merge(number, TrialState.COMPLETE)

    def finished(self, study_id: int) -> PastStudy:
        """The study as it ends now: what is paused is pruned, what runs is cancelled."""
        trials = []
        for trial, state in zip(self._history.trials, self._history.states, strict=True):
            complete = state == TrialState.COMPLETE
            if state == TrialState.RUNNING or not (complete or trial.intermediate_values):
                continue
            loss = trial.value if complete else trial.intermediate_values[max(trial.intermediate_values)]
            assert loss is not None
            trials.append(PastTrial(number=trial.number, params=trial.params, loss=loss, trained=complete))
        return PastStudy(id=study_id, name=self._problem.name, trials=trials)

    def _warm_start(self, past: Sequence[PastStudy]) -> Iterator[int]:
        limits = self._spec.limits
        chosen = portfolio.choose(self._spec.space, past, portfolio.size(None, limits.max_concurrent_trials)) if past else []
        last_rung = None if self._rungs is None else len(self._rungs.resources) - 1
        for suggestion in warm_start.suggestions(self._spec.space, chosen, 0, last_rung):
            self._insert(suggestion)
            self._merge(suggestion.number, TrialState.WAITING)
        return iter(range(len(chosen)))

    def _insert(self, suggestion: Suggestion) -> None:
        self._rows.append(
            SimpleNamespace(
                id=suggestion.number,
                number=suggestion.number,
                reason=None,
                verdict="continue",
                judged_step=None,
                origin=suggestion.origin,
                repeats=None,
                params=json.dumps(suggestion.params),
                distributions=json.dumps(suggestion.distributions),
                objective_values=None,
                constraint_values=None,
                system_attrs=json.dumps(suggestion.system_attrs),
            )
        )

    def _merge(self, number: int, state: TrialState) -> None:
        self._rows[number].state = state
        self._history.merge_trial(self._rows[number])
        if self._rungs is not None:
            self._rungs.take_in(number)


class Optuna:
    """Optuna in memory, the space asked for define-by-run."""

    def __init__(self, problem: Problem, sampler: optuna.samplers.BaseSampler, pruner: optuna.pruners.BasePruner) -> None:
        self._space = SearchSpace.parse(problem.space)
        self._distributions = distributions.of_space(self._space)
        self._study = optuna.create_study(sampler=sampler, pruner=pruner)
        self._trials: dict[int, optuna.Trial] = {}

    def next(self) -> tuple[int, Params, int]:
        trial = self._study.ask()
        self._trials[trial.number] = trial
        for name in self._space.order:
            if self._space.is_active(name, trial.params):
                trial._suggest(name, self._distributions[name])
        return trial.number, trial.params, 0

    def report(self, number: int, step: int, value: float) -> bool:
        trial = self._trials[number]
        trial.report(value, step)
        if not trial.should_prune():
            return True
        self._study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        return False

    def complete(self, number: int, value: float) -> None:
        self._study.tell(self._trials[number], value)


class SyneTune:
    """A scheduler of Syne Tune; it knows no conditions, so parameters without effect are drawn all the same."""

    def __init__(self, problem: Problem, name: str, seed: int) -> None:
        from syne_tune.backend.trial_status import Trial
        from syne_tune.optimizer import baselines

        logging.getLogger("syne_tune").setLevel(logging.ERROR)
        self._make_trial = Trial
        self._space = SearchSpace.parse(problem.space)
        self._scheduler = getattr(baselines, name)(
            config_space=_syne_tune_space(self._space),
            objectives=["loss"],
            time_attr="epoch",
            max_t=problem.num_reports,
            random_seed=seed,
        )
        self._trials: list[Any] = []

    def next(self) -> tuple[int, Params, int]:
        suggestion = self._scheduler.suggest()
        trial = self._make_trial(trial_id=len(self._trials), config=suggestion.config, creation_time=None)
        self._scheduler.on_trial_add(trial)
        self._trials.append(trial)
        active: dict[str, Any] = {}
        for name in self._space.order:
            if self._space.is_active(name, active):
                active[name] = suggestion.config[name]
        return trial.trial_id, active, 0

    def report(self, number: int, step: int, value: float) -> bool:
        result = {"loss": value, "epoch": step + 1}
        return bool(self._scheduler.on_trial_result(self._trials[number], result) == "CONTINUE")

    def complete(self, number: int, value: float) -> None:
        pass  # the last result has ended it


def _syne_tune_space(space: SearchSpace) -> dict[str, Any]:
    from syne_tune import config_space

    made = {}
    for name, parameter in space.parameters.items():
        if parameter.type == "categorical":
            made[name] = config_space.choice(list(parameter.choices))
        elif parameter.type == "int":
            made[name] = (config_space.lograndint if parameter.log else config_space.randint)(parameter.low, parameter.high)
        elif parameter.step is not None:
            values = [parameter.value_at(index) for index in range(parameter.num_values or 0)]
            made[name] = config_space.ordinal(values, kind="equal")
        else:
            made[name] = (config_space.loguniform if parameter.log else config_space.uniform)(parameter.low, parameter.high)
    return made
