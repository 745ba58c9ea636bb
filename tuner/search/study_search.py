"""The search of one study: take in what changed, judge reports, answer demand, end the study. The loop over studies is `engine`.

Demand is answered by promotions first, where the study has rungs, then by suggestions. Each decision is one transaction that also stores what the sampler or pruner keeps for itself. A suggestion is bound to its number: when
somebody else took the number meanwhile, the transaction stores nothing and the suggestion is made anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from time import monotonic
from typing import Any
from uuid import UUID

from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler
from optuna.study import Study
from sqlalchemy import Connection, Row, text

from tuner import auto, outcome_constraints, studies, trials
from tuner.db.postgres import Database
from tuner.search import distributions, pruners, warm_start
from tuner.search.history import COLUMNS, History
from tuner.search.parts import build
from tuner.search.population import Population, Renewal
from tuner.search.rungs import Rungs
from tuner.spec import StudySpec
from tuner.trials import Suggestion
from tuner.wire import StudyState, TrialState, Verdict

MAX_AHEAD = 64
"""WAITING suggestions kept at most for samplers that do not learn."""
AHEAD_SECONDS = 10.0
"""How long after the last demand suggestions are kept ready."""
BATCH = 64
"""Suggestions in one transaction at most, and no more once SLOW seconds have gone into it: those made already can be leased."""
SLOW = 0.2

_FEED = text(
    """
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint AS revision, state, limits, next_number,
        jsonb_array_length(space_edits) + 1 AS space_version,
        (SELECT array_agg(d.id ORDER BY d.expires_at) FROM demands d WHERE d.study_id = s.id AND d.expires_at > clock_timestamp()) AS demands,
        (SELECT array_agg(d.count ORDER BY d.expires_at) FROM demands d WHERE d.study_id = s.id AND d.expires_at > clock_timestamp()) AS counts,
        (SELECT count(*) FROM trials t WHERE t.study_id = s.id AND t.state = 'WAITING'
            AND (t.not_before IS NULL OR t.not_before <= clock_timestamp())) AS ready
    FROM studies s WHERE s.id = :study
    """
)
_TRIALS = text(f"SELECT {COLUMNS} FROM trials WHERE study_id = :study AND revision >= :since ORDER BY number")
_REPORTS = text(
    "SELECT trial_id, step, metrics FROM reports WHERE study_id = :study AND revision >= :since ORDER BY trial_id, step"
)
# Without a pruner only the last report of a pruned trial matters: samplers rank pruned trials by it.
_LAST_REPORTS = text(
    "SELECT DISTINCT ON (trial_id) trial_id, step, metrics FROM reports WHERE trial_id = ANY(:trials) ORDER BY trial_id, step DESC"
)
_SERVED = text("DELETE FROM demands WHERE id = ANY(:demands)")
_STUDY_ATTRS = text("SELECT system_attrs FROM studies WHERE id = :study FOR NO KEY UPDATE")
_SET_STUDY_ATTRS = text("UPDATE studies SET system_attrs = :attrs WHERE id = :study")
_SET_TRIAL_ATTRS = text("UPDATE trials SET system_attrs = :attrs WHERE id = :id")


@dataclass(frozen=True, kw_only=True)
class Look:
    """What a look at a study found.

    `blocked`: demand is there that no trial may serve now, so look at the next result at once. `again`: look again now, for a slow
    sampler has been stopped to let results in, or a number was taken by somebody else. `outdated`: the study's space has been edited, and
    another StudySearch has to take over.
    """

    state: StudyState | None
    blocked: bool = False
    again: bool = False
    outdated: bool = False


class StudySearch:
    """One study's history, proposer and pruner. Used by one thread at a time."""

    def __init__(self, database: Database, study: Row[Any]) -> None:
        self._database = database
        self.study_id = int(study.id)
        self.project = str(study.project)
        self._strategy: dict[str, Any] = study.strategy or auto.undecided(StudySpec.parse(json.loads(study.spec)))
        self._spec = spec = auto.decided(StudySpec.parse(json.loads(study.spec)), self._strategy)
        attrs = json.loads(study.system_attrs)
        self.history = History(
            study_id=self.study_id,
            name=study.name,
            directions=[objective["direction"] for objective in study.objectives],
            objectives=[objective["name"] for objective in study.objectives],
            constraints=outcome_constraints.read(spec.outcome_constraints)[0],
            space=distributions.of_space(spec.space),
            frozen=spec.space.frozen,
            space_version=len(study.space_edits) + 1,
            system_attrs=attrs,
        )
        self._pruner = pruners.make_pruner(spec.pruner)
        if self._pruner is not None:
            pruners.restore(self._pruner, self.history)
        self._limits: dict[str, Any] = study.limits
        parts = build(
            spec,
            self.history,
            seed=int(attrs.get(studies.SEED_KEY, self.study_id)),
            fits_rungs=bool(self._strategy.get("fits_rungs")),
            limits=lambda: self._limits,
        )
        self._proposer, self._levels = parts.proposer, parts.levels
        self._rungs, self._fitted, self._population = parts.rungs, parts.fitted, parts.population
        self._judged_study = Study(study.name, parts.seen, sampler=RandomSampler(), pruner=self._pruner or NopPruner())
        self._since = 0
        self._known: tuple[str, dict[str, Any]] | None = None
        self._demanded_at = float("-inf")
        self._concurrency = 0
        self._leased = int(study.next_number)
        self._again = False
        self._dry = False

    @property
    def judges(self) -> bool:
        """Whether reports have to be looked at as they come."""
        return self._pruner is not None or self._rungs is not None

    def look(self) -> Look:
        """Do everything there is to do for the study now."""
        facts, changed = self._feed()
        if facts is None:
            return Look(state=None)
        if facts.space_version != self.history.space_version:
            return Look(state=StudyState(facts.state), outdated=True)
        if self._judge():
            self._database.wake("judged", self.study_id)
        changed |= self._hold(facts)
        state: StudyState | None = StudyState(facts.state)
        if changed:
            state = self._finish()
        blocked = self._again = self._dry = False
        if state == StudyState.RUNNING:
            blocked = not self._serve(facts)
            if self._dry and self._close_held(facts, exhausted=True):
                self._again = True
            if self._proposer.exhausted:
                state = self._finish("space_exhausted")
            elif self._population is not None and self._population.is_over and not self._again:
                state = self._finish("population_trained")
        return Look(state=state, blocked=blocked, again=self._again)

    # --- taking in -------------------------------------------------------------------------------------------------------

    def _feed(self) -> tuple[Row[Any] | None, bool]:
        """Merge what changed since the last look; the study's facts, and whether something happened that may end it.

        Trials are read before reports, so that no final state comes without its reports.
        """
        with self._database.read() as connection:
            facts = connection.execute(_FEED, {"study": self.study_id}).one_or_none()
            if facts is None:
                return None, False
            arguments = {"study": self.study_id, "since": self._since}
            rows = connection.execute(_TRIALS, arguments).all()
            if self.judges:
                reports: Sequence[Row[Any]] = connection.execute(_REPORTS, arguments).all()
            else:
                pruned = [row.id for row in rows if row.state == TrialState.PRUNED]
                reports = connection.execute(_LAST_REPORTS, {"trials": pruned}).all() if pruned else []
        known, self._known = self._known, (facts.state, facts.limits)
        changed = known != self._known
        self._limits = facts.limits
        self._since = facts.revision
        finished = [row for row in rows if TrialState(row.state).is_finished]
        for row in rows:
            if TrialState(row.state).is_finished:
                self.history.place(row)
            else:
                self.history.merge_trial(row)
        for report in reports:
            # One whose trial is not known comes again, with the trial's row, in the next look.
            self.history.merge_report(report.trial_id, report.step, report.metrics)
        for row in finished:
            changed |= self.history.merge_trial(row)
        kept = self._rungs or self._fitted
        if kept is not None:
            repeats = self.history.repeats
            numbers = {row.number for row in rows} | self.history.numbers_of(report.trial_id for report in reports)
            for number in {repeats.get(number, number) for number in numbers}:
                kept.take_in(number)
        return facts, changed

    # --- judging ---------------------------------------------------------------------------------------------------------

    def _judge(self) -> bool:
        """Hold every new report against the pruner, step by step as it would have been asked; whether there were any."""
        if not self.judges or not self.history.unjudged:
            return False
        judgements: dict[int, tuple[int, Verdict]] = {}
        for number, steps in list(self.history.unjudged.items()):
            if self.history.state_of(number) != TrialState.RUNNING:
                continue
            verdict = Verdict.CONTINUE
            for step in () if number in self.history.repeats else steps:
                if self._rungs is not None:
                    verdict = self._rungs.judge(number, step)
                elif (
                    number not in self.history.lent
                    and self.history.verdicts.get(number) == Verdict.CONTINUE
                    and self._prunes(number, step)
                ):
                    verdict = Verdict.PRUNE
                if verdict != Verdict.CONTINUE:
                    break
            judgements[self.history.get(number)._trial_id] = (steps[-1], verdict)
            self.history.mark_judged(number, steps[-1])
        if not judgements:
            return False
        if self._pruner is not None:
            pruners.save(self._pruner, self.history)
        with self._database.begin() as connection:
            trials.judge(connection, self.study_id, judgements)
            self._store_attrs(connection)
        self.history.commit()
        return True

    def _prunes(self, number: int, step: int) -> bool:
        """What the pruner says of a trial that has just reported `step`."""
        assert self._pruner is not None
        trial = self.history.get(number)
        reported = trial.intermediate_values
        if step not in reported:
            return False  # the report had other metrics only
        if self._levels is not None and not self._levels.has(trial):
            return False
        judged = self._judged_study if self._levels is None else self._levels.view(trial, self._pruner)
        trial.intermediate_values = {each: value for each, value in sorted(reported.items()) if each <= step}
        try:
            return self._pruner.prune(judged, trial)
        finally:
            self.history.get(number).intermediate_values = reported  # another object, if the pruner has written an attribute

    # --- pausing and promoting -------------------------------------------------------------------------------------------

    def _hold(self, facts: Row[Any]) -> bool:
        """Hold trials whose worker died at the rung; end what is held when nothing can be promoted any more: whether it was."""
        if self._rungs is None:
            return False
        unheld = self._rungs.list_unheld()
        if unheld:
            with self._database.begin() as connection:
                trials.hold(connection, self.study_id, [self.history.get(number)._trial_id for number in unheld])
        return self._close_held(facts)

    def _close_held(self, facts: Row[Any], *, exhausted: bool = False) -> bool:
        """End all paused trials as PRUNED, if none will be promoted and no result can change that; whether there were any.

        Unless the study was stopped, its best trial goes on before that if no other has been trained in full.
        """
        if self._rungs is None or not (paused := self._rungs.held | self._rungs.waiting):
            return False
        unfinished = self.history.counts[TrialState.WAITING] + self.history.counts[TrialState.RUNNING]
        if unfinished > len(paused):
            return False
        if facts.state != StudyState.STOPPING:
            if not exhausted and _has_room(facts):
                return False
            if next(self._rungs.list_promotable(), None) is not None:
                return False
            best = self._rungs.best_waiting()
            if best is not None and not self.history.counts[TrialState.COMPLETE]:
                self._promote([best], (), 0)
                return False
        with self._database.begin() as connection:
            return trials.close_held(connection, self.study_id, exhausted=exhausted) > 0

    def _promote(self, numbers: Iterable[int], demands: Sequence[tuple[UUID, int]], ready: int) -> int:
        """Promote these trials; how many. With those that are `ready` they serve the first of the demands."""
        chosen = {self.history.get(number)._trial_id: number for number in numbers}
        if self._rungs is None or isinstance(self._rungs, Population) or not chosen:
            return 0
        with self._database.begin() as connection:
            promoted = trials.promote(connection, self.study_id, list(chosen))
            for trial_id in promoted:
                self._rungs.promote(chosen[trial_id])
            self._store_attrs(connection)
            served = _first(demands, ready + len(promoted))
            if promoted and served:
                connection.execute(_SERVED, {"demands": served})
        self.history.commit()
        if promoted:
            self._database.wake("trials", self.study_id)
        return len(promoted)

    # --- suggesting ------------------------------------------------------------------------------------------------------

    def _serve(self, facts: Row[Any]) -> bool:
        """Promote trials or make suggestions for the demand there is; whether all of it has, or will get, what it waits for."""
        demands: list[tuple[UUID, int]] = list(zip(facts.demands or (), facts.counts or (), strict=True))
        demand = sum(count for _, count in demands)
        ready, number, wanted = int(facts.ready), int(facts.next_number), self._wanted(facts, demand)
        if wanted > 0 and self._strategy["portfolio"] is None and _has_room(facts):
            self._warm_start(facts, demands, ready)
            return True
        if wanted > 0 and self._rungs is not None and self._population is None:
            promoted = self._promote(islice(self._rungs.list_promotable(), wanted), demands, ready)
            ready, wanted = ready + promoted, wanted - promoted
        max_trials = facts.limits.get("max_trials")
        room = wanted if max_trials is None else min(wanted, max_trials - number)
        if self._population is not None:
            room = min(room, self._population.num_missing)
        while room > 0:
            stored = self._suggest(number, min(room, BATCH), demands, ready)
            if stored == 0:
                break
            ready, number, room, wanted = ready + stored, number + stored, room - stored, wanted - stored
            if self._again:
                break
        if self._population is not None and (wanted > 0 or self._population.is_over):
            # Who failed last is replaced, whoever asks: without that the study would end.
            ready += self._renew(self._population, max(wanted, 1), demands, ready, number)
        return demand <= ready

    def _renew(self, members: Population, wanted: int, demands: Sequence[tuple[UUID, int]], ready: int, number: int) -> int:
        """Let so many paused members go on, or children take their places, the first of them as `number`; how many trials that makes."""
        renewed = 0
        most = self._limits.get("max_trials")
        vacancies = members.list_vacancies() if most is None or number < most else []
        for member in [*vacancies, *members.list_promotable()]:
            if renewed == wanted:
                break
            outcome = None
            try:
                with self._database.begin() as connection:
                    outcome = members.renew(connection, member, number, has_room=most is None or number < most)
                    self._store_attrs(connection)
                    count = renewed + (outcome in (Renewal.GOES_ON, Renewal.CHILD))
                    served = _first(demands, ready + count)
                    if count > renewed and served:
                        connection.execute(_SERVED, {"demands": served})
            finally:
                self.history.rollback(0 if outcome in (None, Renewal.NOTHING, Renewal.OUTDATED) else 1)
            if outcome is Renewal.OUTDATED:
                self._again = True
                break
            renewed, number = count, number + (outcome is Renewal.CHILD)
        if renewed:
            self._database.wake("trials", self.study_id)
        return renewed

    def _warm_start(self, facts: Row[Any], demands: Sequence[tuple[UUID, int]], ready: int) -> None:
        """Let finished studies lend the first trials, or find that none can. The next look takes them in, and serves who still waits."""
        with self._database.read() as connection:
            chosen = warm_start.choose(connection, self.project, self.study_id, self._spec, self._strategy, facts.limits)
        last_rung = len(self._rungs.resources) - 1 if isinstance(self._rungs, Rungs) else None
        with self._database.begin() as connection:
            decided = warm_start.store(
                connection,
                self.study_id,
                self._spec,
                self._strategy,
                int(facts.next_number),
                chosen,
                last_rung,
                self.history.space_version,
            )
            served = [] if decided is None else _first(demands, ready + len(decided["portfolio"]))
            if decided is not None and decided["portfolio"] and served:
                connection.execute(_SERVED, {"demands": served})
        if decided is not None:
            self._strategy = decided
            self._database.wake("trials", self.study_id)
        self._again = True

    def _wanted(self, facts: Row[Any], demand: int) -> int:
        """How many trials to promote or suggest now."""
        running, ready = self.history.counts[TrialState.RUNNING], int(facts.ready)
        wanted = demand - ready
        if demand:
            self._demanded_at = monotonic()
            self._concurrency = max(demand + running, min(self._concurrency, 2 * (demand + running)))
        most = facts.limits.get("max_concurrent_trials")
        leased, self._leased = int(facts.next_number) - ready - self._leased, int(facts.next_number) - ready
        if self._proposer.runs_ahead and self._rungs is None:  # what waits already would keep promotions waiting
            recent = monotonic() - self._demanded_at < AHEAD_SECONDS
            ahead = min(MAX_AHEAD, 2 * max(self._concurrency, leased)) if recent else 0
            if wanted > 0 or -wanted < ahead // 2:
                wanted += ahead
        elif most is not None:
            # A suggestion made now and run later would not know the results in between.
            wanted = min(wanted, most - running - ready)
        return wanted

    def _suggest(self, number: int, count: int, demands: Sequence[tuple[UUID, int]], ready: int) -> int:
        """Propose up to `count` trials from `number` on and store them; how many were stored. Each knows those before it as pending.

        With those that are `ready` they serve the first of the demands.
        """
        suggestions: list[Suggestion] = []
        stored = 0
        began = monotonic()
        try:
            while len(suggestions) < count:
                if suggestions and monotonic() - began > SLOW:
                    self._again = True
                    break
                suggestion = self._proposer.propose(number + len(suggestions))
                if suggestion is None:
                    self._dry = not suggestions
                    break
                suggestions.append(suggestion)
            if suggestions:
                with self._database.begin() as connection:
                    stored = len(trials.suggest(connection, self.study_id, suggestions, self.history.space_version))
                    if stored:
                        self._store_attrs(connection)
                    served = _first(demands, ready + stored)
                    if stored and served:
                        connection.execute(_SERVED, {"demands": served})
        finally:
            self.history.rollback(stored)
        if stored:
            self._database.wake("trials", self.study_id)
        elif suggestions:
            self._again = True
        return stored

    def _store_attrs(self, connection: Connection) -> None:
        """Store what samplers and pruners wrote about themselves, within the transaction of their decision."""
        if self.history.study_writes:
            stored = connection.execute(_STUDY_ATTRS, {"study": self.study_id}).scalar_one()
            attrs: Mapping[str, Any] = json.loads(stored) | self.history.study_writes
            connection.execute(_SET_STUDY_ATTRS, {"study": self.study_id, "attrs": json.dumps(attrs)})
        written = [{"id": trial_id, "attrs": json.dumps(attrs)} for trial_id, attrs in self.history.trial_writes.items()]
        if written:
            connection.execute(_SET_TRIAL_ATTRS, written)

    # --- ending ----------------------------------------------------------------------------------------------------------

    def _finish(self, because: str | None = None) -> StudyState | None:
        """End the study where its limits say so, or for the reason that there is nothing left to try."""
        with self._database.begin() as connection:
            if because is not None:
                studies.finish(connection, self.study_id, StudyState.COMPLETE, because)
            state = studies.finish_if_done(connection, self.study_id)
        if state is None or state.is_finished:
            self._database.wake("trials", self.study_id)
            self._database.wake("result", self.study_id)
        return state


def _has_room(facts: Row[Any]) -> bool:
    """Whether the study may make more trials."""
    max_trials = facts.limits.get("max_trials")
    return max_trials is None or facts.next_number < max_trials


def _first(demands: Sequence[tuple[UUID, int]], num_trials: int) -> list[UUID]:
    """The demands, in order, that this many trials serve."""
    served = []
    for demand, count in demands:
        num_trials -= count
        if num_trials < 0:
            break
        served.append(demand)
    return served
