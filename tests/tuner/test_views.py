"""Pages reach every row once in every order, and what changed since a revision misses nothing."""

from __future__ import annotations

import math
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks import large_studies
from tests.tuner.specs import external
from tuner import columns, leases, reports, studies, trials, views
from tuner.db.postgres import Database
from tuner.errors import InvalidValue
from tuner.wire import AskRequest, Report, Tell, TrialCreate, TrialState


@pytest.fixture
def study(database: Database) -> str:
    """30 trials: complete with ties and infinities, failed, waiting."""
    studies.create(database, "default", external(limits={"max_trials": 1000}))
    for number in range(30):
        kind = number % 5
        state = {3: TrialState.FAIL, 4: None}.get(kind, TrialState.COMPLETE)
        score = -math.inf if number == 5 else float(number % 4)
        values = {"score": score} if state is TrialState.COMPLETE else None
        trials.create(database, "default", "s", TrialCreate(params={"x": number / 30}, state=state, values=values))
    return "s"


ORDERS = ("number", "value", "state", "started_at", "finished_at", "duration", "worker", "params.x", "score")


@pytest.mark.parametrize("sort", [*ORDERS, *(f"-{name}" for name in ORDERS)])
def test_every_order_reaches_every_trial_once(database: Database, study: str, sort: str) -> None:
    found, cursor = [], None
    while True:
        page = views.list_trials(database, "default", study, sort=sort, cursor=cursor, limit=7)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    assert sorted(trial.number for trial in found) == list(range(30))
    if sort.endswith("value"):
        known = [trial.values["score"] for trial in found if trial.values]
        assert known == sorted(known, reverse=sort.startswith("-"))
        assert all(trial.values is None for trial in found[len(known) :])


def test_states_filter(database: Database, study: str) -> None:
    assert {trial.state for trial in views.list_trials(database, "default", study, state="fail,waiting").items} == {
        "FAIL",
        "WAITING",
    }


@pytest.mark.parametrize(
    "arguments", [{"sort": "params"}, {"cursor": "x"}, {"cursor": "WzFd"}, {"state": "DONE"}, {"limit": 0}, {"limit": 10_000}]
)
def test_wrong_arguments_are_named(database: Database, study: str, arguments: dict[str, object]) -> None:
    with pytest.raises(InvalidValue, match=next(iter(arguments))):
        views.list_trials(database, "default", study, **arguments)  # type: ignore[arg-type]


def test_studies_by_text_and_page(database: Database) -> None:
    for index in range(7):
        studies.create(
            database, "default", external(f"alpha-{index}" if index % 2 else f"beta_{index}", tags=["x%y"] if index == 2 else [])
        )
    first = views.list_studies(database, "default", limit=5)
    rest = views.list_studies(database, "default", limit=5, cursor=first.next_cursor)
    assert len(first.items) == 5
    assert len({study.name for study in [*first.items, *rest.items]}) == 7
    assert len(views.list_studies(database, "default", q="ALPHA").items) == 3
    assert [study.name for study in views.list_studies(database, "default", q="%").items] == ["beta_2"]


def test_best_and_pareto(database: Database) -> None:
    objectives = [{"name": "score", "direction": "maximize"}, {"name": "cost", "direction": "minimize"}]
    studies.create(database, "default", external("two", objectives=objectives))
    points = [(0.5, 5.0), (0.9, 9.0), (0.5, 4.0), (0.1, 4.5), (0.9, 9.0), (0.2, 1.0)]
    for score, cost in points:
        body = TrialCreate(params={"x": 0.5}, state=TrialState.COMPLETE, values={"score": score, "cost": cost})
        trials.create(database, "default", "two", body)
    assert [trial.number for trial in views.pareto(database, "default", "two")] == [1, 2, 4, 5]
    rng = random.Random(1)
    studies.create(database, "default", external("many", objectives=objectives))
    cloud = [(rng.random(), rng.random()) for _ in range(80)]
    for score, cost in cloud:
        body = TrialCreate(params={"x": 0.5}, state=TrialState.COMPLETE, values={"score": score, "cost": cost})
        trials.create(database, "default", "many", body)
    front = {
        index
        for index, (score, cost) in enumerate(cloud)
        if not any(s >= score and c <= cost and (s, c) != (score, cost) for s, c in cloud)
    }
    assert {trial.number for trial in views.pareto(database, "default", "many")} == front


def test_changes_carry_trials_and_reports(database: Database) -> None:
    studies.create(database, "default", external())
    trials.create(database, "default", "s", TrialCreate(params={"x": 0.5}))
    since = views.changes(database, "default", "s", 0).revision
    (lease,) = leases.take(database, "default", AskRequest(wait=0), study="s")
    reports.append(database, "default", lease.id, [Report(step=0, values={"score": 1.0})])
    change = views.changes(database, "default", "s", since)
    assert [trial.state for trial in change.trials] == [TrialState.RUNNING]
    assert change.reports[0].reports[0].values == {"score": 1.0}
    since = change.revision
    leases.tell(database, "default", lease.id, Tell(state="COMPLETE", values={"score": 1.0}))
    change = views.changes(database, "default", "s", since)
    assert [trial.state for trial in change.trials] == [TrialState.COMPLETE]
    assert change.study.best_trial == 0


def test_too_many_changes_are_said(database: Database, study: str) -> None:
    change = views.changes(database, "default", study, 0, max_trials=10)
    assert (change.more, change.trials) == (True, [])


def test_too_many_reports_are_said(database: Database) -> None:
    studies.create(database, "default", external())
    trials.create(database, "default", "s", TrialCreate(params={"x": 0.5}))
    (lease,) = leases.take(database, "default", AskRequest(wait=0), study="s")
    reports.append(database, "default", lease.id, [Report(step=step, values={"score": 1.0}) for step in range(21)])
    change = views.changes(database, "default", "s", 0, max_trials=1)
    assert (change.more, change.trials, change.reports) == (True, [], [])
    leases.tell(database, "default", lease.id, Tell(state="COMPLETE", values={"score": 1.0}))
    assert not views.changes(database, "default", "s", change.revision, max_trials=1).more


def test_nothing_is_missed_while_others_write(database: Database) -> None:
    """A reader follows revisions while 8 writers commit in any order: in the end it has seen every trial in its last state."""
    studies.create(database, "default", external(limits={"max_trials": 1000}))
    seen: dict[int, str] = {}
    done = False

    def write(_: int) -> None:
        for _ in range(25):
            trials.create(database, "default", "s", TrialCreate(params={"x": 0.5}))
            for lease in leases.take(database, "default", AskRequest(wait=0), study="s"):
                leases.tell(database, "default", lease.id, Tell(state="COMPLETE", values={"score": 1.0}))

    def follow() -> None:
        since = 0
        while True:
            last_round = done
            changed = columns.read(database, "default", "s", since=since)
            seen.update(zip(changed.facts["numbers"], changed.facts["state"], strict=True))
            since = changed.revision
            if last_round:
                return

    with ThreadPoolExecutor(9) as pool:
        follower = pool.submit(follow)
        list(pool.map(write, range(8)))
        done = True
        follower.result()
    assert seen == {trial.number: trial.state for trial in views.iterate_trials(database, "default", "s")}
    assert len(seen) == 200


def test_curves_are_thinned_where_asked(database: Database) -> None:
    shape = large_studies.Shape(trials=3, states={"COMPLETE": 1.0}, num_long=2, long_steps=1_000)
    study = large_studies.make(database, "long", shape)
    whole = views.curves(database, "default", study, [0, 1, 2])
    thinned = views.curves(database, "default", study, [0, 1, 2], points=50)
    assert [len(curve.reports) for curve in whole] == [1_000, 1_000, 5]
    for before, after in zip(whole, thinned, strict=True):
        assert len(after.reports) <= 110
        assert {report.step for report in after.reports} <= {report.step for report in before.reports}
        for extreme in (min, max):
            assert extreme(r.values["val_loss"] for r in after.reports) == extreme(r.values["val_loss"] for r in before.reports)
    assert thinned[2].reports == whole[2].reports
    assert [curve.thinned for curve in (*whole, *thinned)] == [False, False, False, True, True, False]
