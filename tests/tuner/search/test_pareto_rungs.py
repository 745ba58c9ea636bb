"""Promotion with several objectives: by Pareto rank at the rung."""

from __future__ import annotations

import json
from typing import Any

import optuna
import pytest
from optuna.distributions import FloatDistribution
from sqlalchemy import text

from tests.tuner.search.desk import Desk
from tests.tuner.search.rows import trial_row
from tuner import leases, reports, views
from tuner.db.postgres import Database
from tuner.errors import InvalidSpec
from tuner.optuna_storage import PostgresStorage
from tuner.search.engine import Engine
from tuner.search.history import History
from tuner.search.rungs import Rungs
from tuner.spec import StudySpec
from tuner.wire import Lease, Report, Tell, Trial

SPACE = {name: {"type": "float", "low": 0.0, "high": 1.0} for name in ("x", "y")}
OBJECTIVES = [{"name": "loss", "direction": "minimize"}, {"name": "gain", "direction": "maximize"}]
PROMOTION = {"name": "promotion", "max_resource": 9, "min_resource": 1}


class Board:
    """Rungs of two objectives over a history in memory."""

    def __init__(self, **options: Any) -> None:
        space = {"x": FloatDistribution(0.0, 1.0)}
        directions, objectives = ["minimize", "maximize"], ["loss", "gain"]
        self.history = History(study_id=1, name="s", directions=directions, objectives=objectives, space=space)
        self.rungs = Rungs(self.history, [1, 3, 9], eta=3, **options)

    def put(self, number: int, *reported: dict[str, Any], state: str = "WAITING", values: list[float] | None = None) -> None:
        row = trial_row(
            number,
            state=state,
            reason="paused_at_rung" if state == "WAITING" else None,
            objective_values=None if values is None else json.dumps(values),
        )
        self.history.merge_trial(row)
        for step, metrics in enumerate(reported):
            self.history.merge_report(100 + number, step, metrics)
        self.rungs.take_in(number)


def both(loss: float | str, gain: float | str) -> dict[str, Any]:
    return {"loss": loss, "gain": gain}


def test_the_front_is_promoted() -> None:
    board = Board()
    # On the front: 1, 3 and 5, by their losses and gains; 0, 2, 4 behind it, 6 and 7 are dominated by nearly all.
    points = [(0.3, 0.2), (0.1, 0.1), (0.35, 0.3), (0.3, 0.5), (0.9, 0.8), (0.6, 0.9), (2.0, 0.1), (2.0, 0.0), (3.0, 0.0)]
    for number, (loss, gain) in enumerate(points):
        board.put(number, both(loss, gain))
    assert list(board.rungs.list_promotable()) == [1, 5, 3]  # its ends first
    assert board.rungs.best(0, 3) == [1, 5, 3]
    assert board.rungs.best_waiting() == 1


def test_a_result_is_a_step_with_all_objectives() -> None:
    board = Board()
    board.put(0, {"loss": 0.1}, {"gain": 0.1}, {"loss": 0.2, "gain": 0.5}, state="RUNNING")
    assert board.rungs.judge(0, 2) == "pause"
    assert board.rungs.results(0)[0].losses == (0.2, -0.5)
    never = Board()
    never.put(0, {"loss": 0.1}, {"loss": 0.1}, {"loss": 0.1}, state="RUNNING")
    assert never.rungs.judge(0, 2) == "continue"


def test_nan_is_worst() -> None:
    board = Board()
    for number, (loss, gain) in enumerate((("NaN", 9.0), (0.5, 0.1), (0.6, 0.05))):
        board.put(number, both(loss, gain))
    assert list(board.rungs.list_promotable()) == [1]
    assert board.rungs.best(0, 3)[-1] == 0


def test_where_none_can_come_back_the_rung_stops() -> None:
    board = Board(resumes=False)
    verdicts = []
    for number, point in enumerate(((0.5, 0.5), (0.6, 0.4), (0.9, 0.9), (0.4, 0.6), ("NaN", 2.0))):
        board.put(number, both(*point), state="RUNNING")
        verdicts.append(str(board.rungs.judge(number, 0)))
    # The first is alone; the second is dominated by it; the third is not, but one of three may go on; the fourth dominates the first.
    assert verdicts == ["continue", "prune", "prune", "continue", "prune"]


def test_no_rung_speaks_before_there_is_a_result() -> None:
    board = Board()
    board.put(0)
    assert board.rungs.speaking(0) is None
    board.put(1, both(1.0, 1.0))
    assert board.rungs.speaking(0) == 0


def test_whole_trainings_count_by_their_final_values() -> None:
    board = Board()
    board.put(0, *[both(0.5, 0.5)] * 9, state="COMPLETE", values=[0.4, 0.7])
    assert board.rungs.results(2)[0].losses == (0.4, -0.7)


def test_other_pruners_are_refused() -> None:
    with pytest.raises(InvalidSpec) as caught:
        StudySpec.parse({"space": SPACE, "objectives": OBJECTIVES, "pruner": {"name": "median"}})
    (error,) = caught.value.errors
    assert (error.loc, error.msg) == (
        "pruner.name",
        "median judges by a single objective; with several use auto, none, promotion",
    )


# --- over the tables -----------------------------------------------------------------------------------------------------


def measure(lease: Lease, step: int) -> dict[str, float]:
    """Two ends that oppose each other along x; y away from a half makes both worse."""
    x, y = float(lease.trial.params["x"]), float(lease.trial.params["y"])  # type: ignore[arg-type]
    worse = 2 * abs(y - 0.5) + 1.0 / (1 + step)
    return {"loss": x + worse, "gain": x - worse}


def train(desk: Desk, engine: Engine, lease: Lease, trained: dict[int, int]) -> None:
    number = lease.trial.number
    for step in range(trained.get(number, 0), 9):
        trained[number] = step + 1
        reports.append(desk.database, "default", lease.id, [Report(step=step, values=measure(lease, step))])
        engine.step()
        verdict = reports.get_verdict(desk.database, "default", lease.id, step).answer.verdict
        if verdict == "pause":
            leases.tell(desk.database, "default", lease.id, Tell(state="WAITING", reason="paused"))
            return
        if verdict == "prune":
            leases.tell(desk.database, "default", lease.id, Tell(state="PRUNED"))
            return
    leases.tell(desk.database, "default", lease.id, Tell(state="COMPLETE", values=measure(lease, 8)))


def run(desk: Desk, engines: list[Engine], *, kill: bool = False) -> tuple[dict[int, int], list[Trial]]:
    engines.append(desk.engine())
    trained: dict[int, int] = {}
    for _ in range(300):
        engines[-1].step()
        if desk.state()[0] != "RUNNING" or not (taken := desk.ask(engines[-1])):
            break
        train(desk, engines[-1], taken[0], trained)
        if kill:
            engines.pop().close()
            engines.append(desk.engine())
    engines.pop().close()
    assert desk.state() == ("COMPLETE", "max_trials")
    return trained, list(views.iterate_trials(desk.database, "default", desk.study.id))


def dominated(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return other["loss"] <= one["loss"] and other["gain"] >= one["gain"] and one != other


@pytest.mark.parametrize("sampler, max_trials", [("random", 27), ("auto", 27), ("gp", 12)])
def test_the_promoted_are_not_dominated(database: Database, engines: list[Engine], sampler: str, max_trials: int) -> None:
    desk = Desk(
        database, SPACE, max_trials=max_trials, sampler={"name": sampler, "seed": 3}, pruner=PROMOTION, objectives=OBJECTIVES
    )
    trained, found = run(desk, engines)
    assert set(trained.values()) == {1, 3, 9}
    first = {
        trial.number: views.list_reports(database, "default", trial.id)[0].values for trial in found
    }  # what each came to at the first rung
    ranks = {number: sum(dominated(first[number], other) for other in first.values()) for number in first}
    front = {number for number, count in ranks.items() if count == 0}
    promoted = {number for number, steps in trained.items() if steps > 1}
    if len(front) <= max_trials / 3:
        assert front <= promoted
    worst = {number for number, count in ranks.items() if count >= 2 / 3 * max_trials}
    assert not worst & promoted
    paused = [trial for trial in found if trial.state == "PRUNED"]
    assert paused
    for trial in paused:  # with the values of its last report, all of them
        last = views.list_reports(database, "default", trial.id)[-1]
        assert trial.values == pytest.approx(last.values)
    seen = optuna.load_study(
        study_name=desk.study.name,
        storage=PostgresStorage(database),
        sampler=optuna.samplers.TPESampler(n_startup_trials=2, seed=0),
    )
    assert {trial.number for trial in seen.best_trials} == {
        trial.number for trial in views.pareto(database, "default", desk.study.id)
    }
    trial = seen.trials[0]  # Optuna's own model takes the paused ones in
    assert 0.0 <= seen.sampler.sample_independent(seen, trial, "x", trial.distributions["x"]) <= 1.0
    strategy = views.get_study(database, "default", desk.study.id).strategy
    assert strategy is not None
    assert any("by Pareto rank at the rung" in reason for reason in strategy.reasons)
    fitted = "fitted to what trials have reached at the same rung"
    assert any(fitted in reason for reason in strategy.reasons) == (sampler == "auto")


def test_restarts_change_nothing(database: Database, engines: list[Engine]) -> None:
    options: dict[str, Any] = {"sampler": {"name": "tpe", "seed": 3, "n_startup_trials": 5}, "objectives": OBJECTIVES}
    desks = [Desk(database, SPACE, name=name, max_trials=16, pruner=PROMOTION, **options) for name in ("calm", "killed")]
    calm, killed = (run(desk, engines, kill=desk is desks[1]) for desk in desks)
    assert calm[0] == killed[0]
    assert [trial.params for trial in calm[1]] == [trial.params for trial in killed[1]]


def test_those_stopped_have_all_values_and_teach_the_sampler(database: Database, engines: list[Engine]) -> None:
    pruner = {**PROMOTION, "resume": False}
    desk = Desk(database, SPACE, max_trials=50, sampler={"name": "auto", "seed": 1}, pruner=pruner, objectives=OBJECTIVES)
    _, found = run(desk, engines)
    stopped = [trial for trial in found if trial.state == "PRUNED"]
    assert len(stopped) > 10
    for trial in stopped:
        assert trial.values == pytest.approx(views.list_reports(database, "default", trial.id)[-1].values)
    with database.read() as connection:
        reasons = set(connection.execute(text("SELECT reason FROM trials WHERE state = 'PRUNED'")).scalars())
    assert reasons == {"pruned"}
    distances = [abs(float(trial.params["y"]) - 0.5) for trial in found[15:]]  # type: ignore[arg-type]
    assert sum(distances) / len(distances) < 0.2  # of random configurations 0.25


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "gp"])
def test_trials_that_users_prune_are_no_stumbling_block(database: Database, engines: list[Engine], sampler: str) -> None:
    """Optuna's samplers have no way to rank what a pruned trial of several objectives reported."""
    options = {"gp": {"n_startup_trials": 4}, "tpe": {"n_startup_trials": 4}, "nsga2": {"population_size": 4}}[sampler]
    desk = Desk(database, SPACE, sampler={"name": sampler, "seed": 1, **options}, objectives=OBJECTIVES)
    engines.append(desk.engine())
    for number in range(10):
        (lease,) = desk.ask(engines[-1])
        reports.append(database, "default", lease.id, [Report(step=0, values=measure(lease, 0))])
        if number % 2:
            leases.tell(database, "default", lease.id, Tell(state="PRUNED"))
        else:
            leases.tell(database, "default", lease.id, Tell(state="COMPLETE", values=measure(lease, 8)))
    assert len(desk.states()) == 10
