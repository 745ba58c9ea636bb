"""Studies that compare levels: equal budgets, equal seeds, and no level that gains or loses by another."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import pytest

from tests.tuner.search.desk import CONDITIONAL, Desk, loss
from tuner import trials
from tuner.db.postgres import Database
from tuner.leases import tell
from tuner.search.engine import Engine
from tuner.wire import Lease, Tell, TrialCreate

COMPARE = {"by": "opt"}
CHOICES = ["sgd", "momentum", "adam"]
SAMPLERS = [
    {"name": "random"},
    {"name": "tpe"},
    {"name": "tpe", "group": True},
    {"name": "cmaes"},
    {"name": "qmc"},
    {"name": "nsga2", "population_size": 4},
    {"name": "auto"},
]


@pytest.fixture
def engines(engines: list[Engine], database: Database) -> list[Engine]:
    """With one to begin with."""
    engines.append(Engine(database))
    return engines


def _desk(database: Database, **spec: Any) -> Desk:
    spec = {"sampler": {"name": "random", "seed": 3}, "pruner": {"name": "none"}, "compare": COMPARE} | spec
    return Desk(database, CONDITIONAL, **spec)


def _run(desk: Desk, engine: Engine, count: int, handicap: Mapping[str, float] | None = None) -> list[Lease]:
    """Trials told one after the other; `handicap`: what is added to the loss of a level."""
    leases = []
    for _ in range(count):
        (lease,) = desk.ask(engine)
        desk.tell(lease, loss(lease.trial.params) + (handicap or {}).get(str(lease.trial.params["opt"]), 0.0))
        leases.append(lease)
    return leases


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: "-".join(map(str, sampler.values())))
def test_budgets_and_seeds_are_equal(database: Database, engines: list[Engine], sampler: dict[str, Any]) -> None:
    desk = _desk(database, sampler={"seed": 3, **sampler}, limits={"max_trials": 32})
    leases = _run(desk, engines[0], 32, {"sgd": 100.0})
    assert Counter(lease.trial.params["opt"] for lease in leases) == {"sgd": 11, "momentum": 11, "adam": 10}
    engines[0].step()
    assert desk.state() == ("COMPLETE", "max_trials")
    seeds: dict[Any, list[int]] = defaultdict(list)
    for lease in leases:
        seeds[lease.trial.params["opt"]].append(lease.trial.seed)
        assert ("momentum" in lease.trial.params) == (lease.trial.params["opt"] == "momentum")
        assert ("beta" in lease.trial.params) == (lease.trial.params["opt"] == "adam")
    assert seeds["sgd"][:10] == seeds["momentum"][:10] == seeds["adam"]
    assert len(set(seeds["sgd"])) == 11


def test_levels_take_turns_with_so_many_seeds(database: Database, engines: list[Engine]) -> None:
    desk = _desk(database, compare={"by": "opt", "seeds": 2}, limits={"max_trials": 12})
    seeds = [lease.trial.seed for lease in _run(desk, engines[0], 12)]
    assert len(set(seeds)) == 2
    assert seeds[0:3] == [seeds[0]] * 3
    assert seeds == seeds[:6] * 2


def test_without_compare_each_trial_has_its_own_seed(database: Database, engines: list[Engine]) -> None:
    desk = _desk(database, compare=None)
    assert len({lease.trial.seed for lease in _run(desk, engines[0], 9)}) == 9


@pytest.mark.parametrize(
    "sampler", [{"name": "tpe"}, {"name": "cmaes"}, {"name": "nsga2", "population_size": 4}, {"name": "qmc"}]
)
def test_a_level_knows_nothing_of_the_others(database: Database, engines: list[Engine], sampler: dict[str, Any]) -> None:
    """What the other levels get as results changes nothing in what is proposed for this one."""
    proposed = []
    for name, handicap in (("one", {}), ("other", {"sgd": -50.0, "momentum": 50.0})):
        desk = _desk(database, name=name, sampler={"seed": 3, "name": sampler["name"], **sampler})
        leases = _run(desk, engines[0], 60, handicap)
        proposed.append([lease.trial.params for lease in leases if lease.trial.params["opt"] == "adam"])
    assert proposed[0] == proposed[1]


def test_the_sampler_learns_within_a_level(database: Database, engines: list[Engine]) -> None:
    """TPE goes where each level has its best, and these lie apart."""
    space = {
        "opt": {"type": "categorical", "choices": ["low", "high"]},
        "x": {"type": "float", "low": 0.0, "high": 1.0},
    }
    desk = Desk(database, space, sampler={"name": "tpe", "seed": 1}, pruner={"name": "none"}, compare=COMPARE)
    desk.run(lambda: engines[0], 80, lambda params: (abs(params["x"] - (0.1 if params["opt"] == "low" else 0.9)),))
    late = desk.params()[40:]
    assert sum(p["x"] < 0.4 for p in late if p["opt"] == "low") >= 15
    assert sum(p["x"] > 0.6 for p in late if p["opt"] == "high") >= 15


@pytest.mark.parametrize("sampler", SAMPLERS[1:6:2] + SAMPLERS[4:5], ids=lambda sampler: "-".join(map(str, sampler.values())))
def test_restart_before_each_ask(database: Database, engines: list[Engine], sampler: dict[str, Any]) -> None:
    found = []
    for name in ("disturbed", "undisturbed"):
        desk = _desk(database, name=name, sampler={"seed": 7, **sampler})
        for _ in range(36):
            if name == "disturbed":
                engines.pop().close()
                engines.append(desk.engine())
            (lease,) = desk.ask(engines[0])
            desk.tell(lease, loss(lease.trial.params))
        found.append(desk.params()[:36])
    assert found[0] == found[1]


def test_enqueued_trials_are_made_up_for(database: Database, engines: list[Engine]) -> None:
    desk = _desk(database, limits={"max_trials": 15})
    params = {"opt": "adam", "lr": 0.1, "drop": 0.1, "depth": 1, "width": 16, "beta": 0.9}
    for _ in range(3):
        trials.create(database, "default", desk.study.id, TrialCreate(params=params))
    leases = _run(desk, engines[0], 15)
    assert Counter(lease.trial.params["opt"] for lease in leases) == {"sgd": 5, "momentum": 5, "adam": 5}
    blocks = defaultdict(set)
    for lease in leases:
        blocks[lease.trial.number // 3].add(lease.trial.seed)
    assert all(len(seeds) == 1 for seeds in blocks.values())


def test_many_at_once(database: Database, engines: list[Engine]) -> None:
    """Levels are dealt within one transaction of many suggestions as over several."""
    desk = _desk(database, sampler={"name": "tpe", "seed": 1}, limits={"max_trials": 20})
    first = desk.ask(engines[0], 8)
    assert Counter(lease.trial.params["opt"] for lease in first) == {"sgd": 3, "momentum": 3, "adam": 2}
    for lease in first:
        desk.tell(lease, 1.0)
    rest = desk.ask(engines[0], 12)
    assert Counter(lease.trial.params["opt"] for lease in first + rest) == {"sgd": 7, "momentum": 7, "adam": 6}


def test_a_level_is_judged_among_its_own_trials(database: Database, engines: list[Engine]) -> None:
    """Under the median rule a level whose every trial is worse than those of the others is not cut short."""
    desk = _desk(database, pruner={"name": "median", "n_startup_trials": 1}, limits={"max_trials": 30})
    verdicts: dict[str, list[str]] = defaultdict(list)
    for index in range(30):
        (lease,) = desk.ask(engines[0])
        level = str(lease.trial.params["opt"])
        value = {"sgd": 100.0, "momentum": 0.0, "adam": 0.0}[level] - index  # each better than those before
        desk.report(lease, 0, value)
        engines[0].step()
        verdicts[level].append(desk.report(lease, 1, value))
        desk.tell(lease, value)
    assert set(verdicts["sgd"]) == {"continue"}
    worse = _desk(database, name="worse", pruner={"name": "median", "n_startup_trials": 1}, limits={"max_trials": 30})
    for index in range(12):
        (lease,) = worse.ask(engines[0])
        value = float(index // 3)  # each worse than those of its level before
        worse.report(lease, 0, value)
        engines[0].step()
        assert worse.report(lease, 1, value) == ("continue" if index < 3 else "prune")
        worse.tell(lease, value)


def test_each_level_promotes_its_own(database: Database, engines: list[Engine]) -> None:
    """Nine trials pause at the first rung, three a level; the best of each level goes on, however bad its level is."""
    pruner = {"name": "promotion", "max_resource": 9, "min_resource": 1, "eta": 3}
    desk = _desk(database, pruner=pruner, limits={"max_trials": 9})
    engine = engines[0]
    handicap = {"sgd": 0.0, "momentum": 10.0, "adam": 100.0}
    leases = desk.ask(engine, 9)
    for lease in leases:  # each better than those of its level before
        desk.report(lease, 0, handicap[str(lease.trial.params["opt"])] - lease.trial.number / 100)
    for lease in leases:
        tell(database, "default", lease.id, Tell(state="WAITING", reason="preempted"))
    engine.step()
    promoted = desk.ask(engine, 3)
    assert sorted(str(lease.trial.params["opt"]) for lease in promoted) == sorted(CHOICES)
    assert all(lease.trial.number >= 6 for lease in promoted)


def test_each_level_has_trials_of_each_bracket(database: Database, engines: list[Engine]) -> None:
    """Brackets take turns as levels do: with two of either, a level would else get one kind only."""
    pruner = {"name": "promotion", "max_resource": 9, "min_resource": 1, "eta": 3, "brackets": 2}
    space = {"opt": {"type": "categorical", "choices": ["a", "b"]}, "x": {"type": "float", "low": 0.0, "high": 1.0}}
    desk = Desk(database, space, sampler={"name": "random", "seed": 1}, pruner=pruner, compare=COMPARE)
    paused: Counter[tuple[str, str]] = Counter()
    for lease in desk.ask(engines[0], 28):
        desk.report(lease, 0, 1.0)
        engines[0].step()
        paused[str(lease.trial.params["opt"]), desk.report(lease, 0, 1.0)] += 1
    assert paused["a", "pause"] == paused["b", "pause"] > 0
    assert paused["a", "continue"] == paused["b", "continue"] > 0
