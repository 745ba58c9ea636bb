"""A study that repeats its promising trials, as its search decides it: from the trials table alone, one observation a configuration."""

from __future__ import annotations

import json
import math
import random
import statistics
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import insert, select

from tests.tuner.search.desk import FINITE, MIXED, Desk, loss
from tests.tuner.search.rows import trial_row
from tests.tuner.specs import external
from tuner import leases, reports, studies, trials, views
from tuner import repeats as repeats_of
from tuner.db.postgres import Database
from tuner.db.tables import trials as trial_table
from tuner.racing import Race
from tuner.search import distributions
from tuner.search.columns import Columns
from tuner.search.engine import Engine
from tuner.search.history import History
from tuner.search.importance import of_study
from tuner.search.race import ConfigurationHistory
from tuner.search.study_search import StudySearch
from tuner.space import SearchSpace
from tuner.wire import Lease, StudyPatch, Tell, TrialCreate, TrialState

LINE = {"x": {"type": "float", "low": 0.0, "high": 1.0}}
SPACE = SearchSpace.parse(LINE)


def lineage(desk: Desk) -> list[tuple[str, int | None, dict[str, Any]]]:
    """Origin, parent and parameters of each trial."""
    columns = (trial_table.c.origin, trial_table.c.parent, trial_table.c.params)
    with desk.database.read() as connection:
        query = select(*columns).where(trial_table.c.study_id == desk.study.id).order_by(trial_table.c.number)
        return [(row.origin, row.parent, json.loads(row.params)) for row in connection.execute(query)]


def noisy(lease: Lease, noise: float = 1.0) -> float:
    """The distance from 0.3, and noise that is the trial's own."""
    return abs(lease.trial.params["x"] - 0.3) + noise * random.Random(lease.trial.seed).gauss(0.0, 1.0)


def run(desk: Desk, engine: Callable[[], Engine], value: Callable[[Lease], float], num_workers: int = 1) -> None:
    """Until the study has ended; of several workers a random one is done next."""
    rng, running = random.Random(0), list[Lease]()
    while desk.state()[0] == "RUNNING":
        running += desk.ask(engine(), num_workers - len(running))
        assert running
        lease = running.pop(rng.randrange(len(running)))
        desk.tell(lease, value(lease))
        engine().step()


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_repeats_have_the_parameters_of_their_parent_and_seeds_of_their_own(
    database: Database, engines: list[Engine], sampler: str
) -> None:
    desk = Desk(database, MIXED, max_trials=40, repeat={"max": 4}, sampler={"name": sampler, "seed": 2})
    engines.append(desk.engine())
    seeds = []

    def value(lease: Lease) -> float:
        seeds.append(lease.trial.seed)
        return loss(lease.trial.params) + random.Random(lease.trial.seed).gauss(0.0, 0.2)

    run(desk, lambda: engines[-1], value)
    made = lineage(desk)
    repeats = [(parent, params) for origin, parent, params in made if origin == "repeat"]
    assert 3 <= len(repeats) <= 20
    assert len(made) == 40 == len(set(seeds))
    for parent, params in repeats:
        assert parent is not None
        assert made[parent][0] == "suggested"
        assert made[parent][2] == params
    assert desk.state() == ("COMPLETE", "max_trials")
    (best,) = views.best(database, "default", desk.study.id)
    assert best.repeats is not None
    assert best.repeats.num_seeds == 4 == 1 + [parent for parent, _ in repeats].count(best.number)


def test_without_repeat_nothing_is_repeated(database: Database, engines: list[Engine]) -> None:
    desk = Desk(database, LINE, max_trials=15, sampler={"name": "tpe", "seed": 2})
    engines.append(desk.engine())
    run(desk, lambda: engines[-1], noisy)
    assert {(origin, parent) for origin, parent, _ in lineage(desk)} == {("suggested", None)}
    (best,) = views.best(database, "default", desk.study.id)
    assert best.repeats is None


def test_a_search_that_takes_over_races_on(database: Database, engines: list[Engine]) -> None:
    made = []
    for name, restart in (("undisturbed", False), ("disturbed", True)):
        desk = Desk(database, MIXED, name=name, max_trials=50, repeat={"max": 5}, sampler={"name": "tpe", "seed": 5})
        engines.append(desk.engine())

        def engine(desk: Desk = desk, restart: bool = restart) -> Engine:
            if restart:
                engines.pop().close()
                engines.append(desk.engine())
            return engines[-1]

        run(
            desk,
            engine,
            lambda lease: loss(lease.trial.params) + random.Random(lease.trial.number).gauss(0.0, 0.3),
            num_workers=3,
        )
        made.append(lineage(desk))
        engines.pop().close()
    assert made[0] == made[1]
    assert Counter(origin for origin, _, _ in made[0])["repeat"] >= 5


def test_nothing_is_repeated_twice_after_a_crash_before_the_commit(
    database: Database, engines: list[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = Desk(database, LINE, repeat={"max": 3}, sampler={"name": "random", "seed": 1})
    engines.append(desk.engine())
    for place in range(4):
        (lease,) = desk.ask(engines[-1])
        desk.tell(lease, float(place))
    suggest = trials.suggest

    def crash(*arguments: Any) -> list[int]:
        suggest(*arguments)
        raise RuntimeError("killed before the commit")

    desk.demand()
    with monkeypatch.context() as patched:
        patched.setattr(trials, "suggest", crash)
        engines[-1].step()
    assert len(lineage(desk)) == 4
    engines.pop().close()
    engines.append(desk.engine())
    engines[-1].step()
    assert len(desk.take()) == 1
    assert len(desk.ask(engines[-1])) == 1
    assert [(origin, parent) for origin, parent, _ in lineage(desk)[4:]] == [("repeat", 0), ("suggested", None)]


def test_a_number_that_somebody_else_took_leaves_the_race_as_it_was(database: Database, engines: list[Engine]) -> None:
    desk = Desk(database, LINE, repeat={"max": 3}, sampler={"name": "random", "seed": 1})
    engines.append(desk.engine())
    for place in range(4):
        (lease,) = desk.ask(engines[-1])
        desk.tell(lease, float(place))
    with database.read() as connection:
        search = StudySearch(database, studies.find(connection, "default", desk.study.id))
    search.look()
    suggest = search._proposer.propose

    def propose(number: int) -> Any:
        trials.create(database, "default", desk.study.id, TrialCreate(params={"x": 0.5}))
        return suggest(number)

    search._proposer.propose = propose  # type: ignore[method-assign]
    desk.demand()
    assert search.look().again
    assert len(lineage(desk)) == 5
    search._proposer.propose = suggest  # type: ignore[method-assign]
    assert len(desk.take()) == 1
    search.look()
    assert [(origin, parent) for origin, parent, _ in lineage(desk)[4:]] == [("enqueued", None), ("repeat", 0)]


def test_many_workers_ask_for_no_more_repeats_than_the_race(database: Database, engines: list[Engine]) -> None:
    desk = Desk(database, LINE, max_trials=None, repeat={"max": 2}, sampler={"name": "random", "seed": 1})
    engines.append(desk.engine())
    for lease in desk.ask(engines[-1], 20):
        desk.tell(lease, noisy(lease))
    desk.ask(engines[-1], 16)
    repeated = [parent for origin, parent, _ in lineage(desk) if origin == "repeat"]
    assert len(repeated) == 1


def test_samplers_see_one_trial_for_each_configuration_with_the_mean_for_a_value() -> None:
    whole = _history()
    seen = ConfigurationHistory(whole, 5)
    columns = Columns(seen)
    values = [(0.1, None), (0.9, None), (0.5, None), (0.1, 1), (0.2, 1)]
    for number, (value, repeats) in enumerate(values):
        whole.merge_trial(_row(number, value, repeats))
    assert [trial.number for trial in seen.trials] == [0, 1, 2]
    assert [trial.value for trial in seen.trials] == [0.1, pytest.approx(0.4), 0.5]
    assert whole.get(1).value == 0.9
    assert columns.below(1).tolist() == [2]
    assert columns.below(2).tolist() == [1, 2]
    assert columns.num_finished == 3
    late = _history()
    other = ConfigurationHistory(late, 5)
    for number in (4, 3, 0, 2, 1):  # the first of them last
        late.merge_trial(_row(number, *values[number]))
    assert [(trial.number, trial.value) for trial in other.trials] == [(trial.number, trial.value) for trial in seen.trials]


def test_who_breaks_an_outcome_constraint_on_one_seed_is_out_of_the_race() -> None:
    whole = _history()
    race = ConfigurationHistory(whole, 5).race
    whole.merge_trial(_row(0, 0.5, None))
    whole.merge_trial(_row(1, 0.9, None, violation=1.0))
    assert race.incumbent is not None
    assert race.incumbent.number == 0
    whole.merge_trial(_row(2, 0.8, None))
    whole.merge_trial(_row(3, 0.8, 2, violation=1.0))
    assert race.incumbent.number == 0


def _history() -> History:
    return History(study_id=1, name="s", directions=["maximize"], objectives=["a"], space=distributions.of_space(SPACE))


def _row(number: int, value: float, repeats: int | None, violation: float | None = None) -> Any:
    return trial_row(
        number,
        state="COMPLETE",
        params=json.dumps({"x": number / 10}),
        distributions=json.dumps(trials.distributions(SPACE, {"x": 0.0})),
        objective_values=json.dumps([value]),
        constraint_values=None if violation is None else json.dumps({"ms <= 50": violation}),
        repeats=repeats,
    )


def test_a_grid_is_walked_once_and_then_raced_to_the_end(database: Database, engines: list[Engine]) -> None:
    desk = Desk(database, FINITE, max_trials=None, repeat={"max": 3}, sampler={"name": "grid", "seed": 1})
    engines.append(desk.engine())
    order = {"a": 0.0, "b": 1.0, "c": 2.0}
    run(desk, lambda: engines[-1], lambda lease: order[lease.trial.params["opt"]] + lease.trial.params["depth"], num_workers=4)
    made = lineage(desk)
    cells = [json.dumps(params, sort_keys=True) for origin, _, params in made if origin == "suggested"]
    assert len(cells) == 12 == len(set(cells))
    best = next(number for number, (_, _, params) in enumerate(made) if params == {"opt": "a", "depth": 1})
    assert [parent for origin, parent, _ in made if origin == "repeat"].count(best) == 2
    assert desk.state() == ("COMPLETE", "space_exhausted")


def test_the_last_trials_wait_for_what_may_need_them(database: Database, engines: list[Engine]) -> None:
    """Ten trials, two of them kept: the ninth is made when all configurations have a result, for the best of them."""
    desk = Desk(database, LINE, max_trials=10, repeat={"max": 3}, sampler={"name": "random", "seed": 1})
    engines.append(desk.engine())
    running = desk.ask(engines[-1], 8)
    assert len(running) == 8
    assert desk.ask(engines[-1], 4) == []
    for lease in running[:7]:
        desk.tell(lease, 1.0 + lease.trial.number)
    engines[-1].step()
    first = desk.take(4)
    assert [lineage(desk)[lease.trial.number][1] for lease in first] == [0, 0]
    desk.tell(running[7], 0.5)
    for lease in first:
        desk.tell(lease, 1.0)
    engines[-1].step()
    assert desk.state() == ("COMPLETE", "max_trials")


def test_the_last_trials_go_to_new_configurations_where_the_race_needs_none(database: Database, engines: list[Engine]) -> None:
    desk = Desk(database, LINE, max_trials=12, repeat={"max": 2}, sampler={"name": "random", "seed": 1})
    engines.append(desk.engine())
    places: dict[float, float] = {}
    run(desk, lambda: engines[-1], lambda lease: places.setdefault(lease.trial.params["x"], float(len(places))), num_workers=2)
    assert [origin for origin, _, _ in lineage(desk)].count("repeat") == 1
    assert desk.states() == ["COMPLETE"] * 12


@pytest.mark.parametrize(("max_trials", "most"), [(10, 5), (20, 10), (9, 3)])
def test_at_most_half_of_the_trials_are_repeats(database: Database, engines: list[Engine], max_trials: int, most: int) -> None:
    """Of pure noise, where every challenge is a coin."""
    desk = Desk(database, LINE, max_trials=max_trials, repeat={"max": most}, sampler={"name": "random", "seed": 1})
    engines.append(desk.engine())
    run(desk, lambda: engines[-1], lambda lease: random.Random(lease.trial.seed).random())
    origins = [origin for origin, _, _ in lineage(desk)]
    assert len(origins) == max_trials
    assert 1 <= origins.count("repeat") <= max_trials // 2


def test_a_cell_that_a_person_cancelled_is_not_proposed_again(database: Database, engines: list[Engine]) -> None:
    desk = Desk(database, FINITE, max_trials=None, repeat={"max": 2}, sampler={"name": "grid", "seed": 1})
    engines.append(desk.engine())
    (lease,) = desk.ask(engines[-1])
    trials.cancel(database, "default", lease.trial.id)
    desk.fail(lease, "cancelled")
    run(desk, lambda: engines[-1], lambda lease: loss(lease.trial.params))
    assert [params for _, _, params in lineage(desk)].count(lease.trial.params) == 1


def test_a_raised_limit_raises_the_reserve_with_it(database: Database, engines: list[Engine]) -> None:
    desk = Desk(database, LINE, max_trials=6, repeat={"max": 3}, sampler={"name": "random", "seed": 1})
    engines.append(desk.engine())
    running = desk.ask(engines[-1], 4)
    assert len(running) == 4
    assert desk.ask(engines[-1]) == []
    studies.update_study(database, "default", desk.study.id, StudyPatch(limits={"max_trials": 30}))
    engines[-1].step()
    assert len(desk.take(4)) == 1


def test_pruners_judge_no_repeat_and_see_each_configuration_once(database: Database, engines: list[Engine]) -> None:
    pruner = {"name": "median", "n_startup_trials": 1, "n_warmup_steps": 0}
    desk = Desk(database, LINE, repeat={"max": 3}, sampler={"name": "random", "seed": 1}, pruner=pruner)
    engines.append(desk.engine())

    def verdict(lease: Lease, value: float) -> str:
        desk.report(lease, 0, value)
        engines[-1].step()
        return str(reports.get_verdict(database, "default", lease.id, 0).answer.verdict)

    for place in range(4):
        (lease,) = desk.ask(engines[-1])
        assert verdict(lease, 1.0 - place / 10) == "continue"
        desk.tell(lease, float(place))
    (repeat,) = desk.ask(engines[-1])
    assert lineage(desk)[repeat.trial.number][:2] == ("repeat", 0)
    assert verdict(repeat, 100.0) == "continue"
    desk.tell(repeat, 0.0)
    (lease,) = desk.ask(engines[-1])
    assert verdict(lease, 50.0) == "prune"


def test_with_promotion_whole_trainings_race_and_repeats_are_not_paused(database: Database, engines: list[Engine]) -> None:
    pruner = {"name": "promotion", "min_resource": 1, "max_resource": 9, "eta": 3}
    desk = Desk(database, LINE, max_trials=30, repeat={"max": 3}, sampler={"name": "tpe", "seed": 3}, pruner=pruner)
    engines.append(desk.engine())
    steps: Counter[int] = Counter()
    while desk.state()[0] == "RUNNING":
        (lease,) = desk.ask(engines[-1])
        number, verdict = lease.trial.number, "continue"
        while steps[number] < 9 and verdict == "continue":
            desk.report(lease, steps[number], abs(lease.trial.params["x"] - 0.3) + random.Random(lease.trial.seed).random() / 10)
            engines[-1].step()
            verdict = str(reports.get_verdict(database, "default", lease.id, steps[number]).answer.verdict)
            steps[number] += 1
        if verdict == "pause":
            leases.tell(database, "default", lease.id, Tell(state="WAITING", reason="paused"))
        else:
            desk.tell(lease, abs(lease.trial.params["x"] - 0.3) + random.Random(lease.trial.seed).random() / 10)
        engines[-1].step()
    made, states = lineage(desk), desk.states()
    repeats = [number for number, (origin, _, _) in enumerate(made) if origin == "repeat"]
    assert len(repeats) >= 2
    assert {steps[number] for number in repeats} == {9}
    assert {states[made[number][1] or 0] for number in repeats} == {"COMPLETE"}
    assert set(states) == {"COMPLETE", "PRUNED"}
    (best,) = views.best(database, "default", desk.study.id)
    assert best.repeats is not None
    assert best.repeats.num_seeds == 3


def test_importance_and_lending_go_by_means(database: Database, engines: list[Engine]) -> None:
    space = {**LINE, "y": {"type": "float", "low": 0.0, "high": 1.0}}
    desk = Desk(database, space, name="past", max_trials=40, repeat={"max": 3}, sampler={"name": "random", "seed": 4})
    engines.append(desk.engine())
    run(desk, lambda: engines[-1], lambda lease: noisy(lease, 0.05))
    shares = of_study(database, "default", desk.study.id)
    assert shares["x"] > shares["y"]
    (best,) = views.best(database, "default", desk.study.id)
    assert best.repeats is not None
    assert best.repeats.num_seeds == 3
    new = Desk(database, space, name="new", max_trials=40, repeat={"max": 3}, sampler={"name": "random"}, warm_start=True)
    new.ask(engines[-1])
    engines[-1].step()
    assert lineage(new)[0] == ("portfolio", None, best.params)


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_the_best_is_found_without_reading_all_trials(database: Database, direction: str) -> None:
    spec = external("s", repeat={"max": 5}, limits={"max_trials": 1000}, objectives=[{"name": "score", "direction": direction}])
    study, _ = studies.create(database, "default", spec)
    rng, rows = random.Random(7), list[dict[str, Any]]()
    for number in range(80):
        repeats = rng.choice(rows) if number > 20 and rng.random() < 0.3 else None
        parent = None if repeats is None else repeats["number"] if repeats["parent"] is None else repeats["parent"]
        value = rng.choice([rng.random(), rng.random(), 0.5, None])
        diverged = value is None and parent is not None and rng.random() < 0.5
        rows.append(
            {
                "project": "default",
                "study_id": study.id,
                "number": number,
                "state": "FAIL" if diverged else "COMPLETE",
                "reason": "nan" if diverged else None,
                "params": "{}",
                "distributions": "{}",
                "value": value,
                "violation": None if value is not None or diverged else 1.0,
                "origin": "suggested" if parent is None else "repeat",
                "parent": parent,
            }
        )
    sign, seen = (1.0 if direction == "minimize" else -1.0), set[int]()
    for count in range(1, len(rows)):
        with database.begin() as connection:
            connection.execute(insert(trial_table), rows[count - 1])
            row = studies.find(connection, "default", study.id)
            found = repeats_of.best(connection, row)
        race = Race(5)
        for each in rows[:count]:
            loss = None if each["state"] == "FAIL" else math.inf if each["value"] is None else sign * each["value"]
            race.take_in(each["number"], TrialState(each["state"]), each["reason"], loss, each["parent"])
        if race.incumbent is None:
            assert found is None
            continue
        assert found is not None
        assert (found.trial, found.repeated.num_seeds) == (race.incumbent.number, race.incumbent.num_seeds)
        assert found.repeated.mean == pytest.approx(sign * race.incumbent.mean)
        seen.add(found.repeated.num_seeds)
    assert {1, 2, 3} <= seen


def test_a_race_reports_a_better_configuration_than_single_trials_do(database: Database, engines: list[Engine]) -> None:
    """Over eight seeds, 60 trainings each, noise of a third of the range: the true distance of what is reported."""
    raced, single = [], []
    for seed in range(8):
        desk = Desk(
            database, LINE, name=f"race-{seed}", max_trials=60, sampler={"name": "random", "seed": seed}, repeat={"max": 5}
        )
        engines.append(desk.engine())
        for _ in range(60):
            (lease,) = desk.ask(engines[-1])
            desk.tell(lease, noisy(lease, 0.3))
        engines.pop().close()
        (best,) = views.best(database, "default", desk.study.id)
        raced.append(abs(float(best.params["x"]) - 0.3))  # type: ignore[arg-type]
        rng = random.Random(seed)
        distances = [abs(rng.random() - 0.3) for _ in range(60)]
        single.append(min(distances, key=lambda distance: distance + rng.gauss(0.0, 0.3)))
    assert statistics.mean(raced) < 0.8 * statistics.mean(single)
