"""The statements of `tuner.leases`: each decides by itself, in one transaction, what a lease may do.

Templates leave open {fence}, which every write of a worker must pass, and parts of conditions that stand beside them. A statement that
waits for a row asks that row again, never what it read before.
"""

from __future__ import annotations

from sqlalchemy import text

from tuner import intermediate
from tuner.db.tables import HELD

_CANDIDATES = """
        SELECT t.id FROM trials t
        WHERE t.study_id = :study AND t.state = 'WAITING' AND (:running OR t.epoch > 0)
            AND (t.not_before IS NULL OR t.not_before <= clock_timestamp())
        ORDER BY t.priority DESC, t.number LIMIT :count FOR UPDATE OF t SKIP LOCKED
"""
_LEASE = """
    ), u AS (
        UPDATE trials t SET state = 'RUNNING', epoch = t.epoch + 1, attempts = t.attempts + 1, verdict = 'continue', reason = NULL,
            error = NULL, not_before = NULL, worker = CAST(:worker AS text), started_at = coalesce(t.started_at, clock_timestamp())
        FROM c WHERE t.id = c.id
        RETURNING t.id, t.number, t.study_id, t.params, t.epoch, t.source
    ), k AS (
        SELECT DISTINCT ON (f.id) f.id AS trial_id, f.trial_id AS holder, f.step, f.sha256 FROM (
            SELECT u.id, p.trial_id, p.step, p.sha256, p.epoch FROM u JOIN checkpoints p ON p.trial_id = u.id
            UNION ALL SELECT u.id, p.trial_id, p.step, p.sha256, p.epoch
            FROM u JOIN LATERAL (SELECT * FROM checkpoints p WHERE p.id = u.source LIMIT 1) p ON true
        ) f ORDER BY f.id, f.trial_id = f.id DESC, f.epoch DESC, f.step DESC
    ), a AS (
        INSERT INTO attempts (id, project, study_id, trial_id, epoch, worker, gpus, devices, ttl, resumed_from, request_key, expires_at)
        SELECT gen_random_uuid(), :project, u.study_id, u.id, u.epoch, CAST(:worker AS text), s.gpus, CAST(:devices AS integer[]), :ttl, k.step,
            CAST(:key AS text), clock_timestamp() + :ttl * interval '1 second'
        FROM u JOIN studies s ON s.id = u.study_id LEFT JOIN k ON k.trial_id = u.id
        RETURNING id, trial_id, ttl, expires_at
    )
    SELECT a.id AS lease, a.ttl, a.expires_at, u.*, k.holder, k.step, k.sha256, s.limits
    FROM u JOIN a ON a.trial_id = u.id JOIN studies s ON s.id = u.study_id LEFT JOIN k ON k.trial_id = u.id ORDER BY u.number
"""
TAKE = text("WITH c AS MATERIALIZED (" + _CANDIDATES + _LEASE)
TAKE_AT_ONCE = text(
    "WITH c AS MATERIALIZED ("
    + _CANDIDATES.replace("FROM trials t", "FROM trials t JOIN studies s ON s.id = t.study_id").replace(
        "AND (:running OR t.epoch > 0)",
        "AND s.project = :project AND s.state = 'RUNNING' AND s.spec IS NOT NULL AND s.limits->>'max_concurrent_trials' IS NULL",
    )
    + _LEASE
)

REPEATED = text(
    """
    SELECT a.id AS lease, a.ttl, a.expires_at, t.id, t.number, t.study_id, t.params, a.epoch, k.holder, k.step, k.sha256,
        a.ended_at IS NULL AS open, s.limits
    FROM attempts a JOIN trials t ON t.id = a.trial_id JOIN studies s ON s.id = t.study_id
    LEFT JOIN LATERAL (
        SELECT p.trial_id AS holder, p.step, p.sha256 FROM checkpoints p
        WHERE (p.trial_id = t.id OR p.id = t.source) AND p.step = a.resumed_from
        ORDER BY p.trial_id = t.id DESC, p.epoch DESC LIMIT 1
    ) k ON true
    WHERE a.request_key = :key ORDER BY t.number
    """
)

RENEW = """
    UPDATE attempts a SET expires_at = clock_timestamp() + a.ttl * interval '1 second'
    FROM trials t
    WHERE a.id = :lease AND a.project = :project AND t.id = a.trial_id AND {fence}
    RETURNING a.trial_id, a.study_id, a.epoch, a.expires_at, t.number, t.verdict, t.judged_step
"""

STUDY_OF = text("SELECT study_id FROM attempts WHERE id = :lease AND project = :project")

# A trial that was told to stop is cancelled, whatever its worker makes of that; this is decided where the trial's row is written, for its
# cancellation may commit while this statement waits for the row. A pause at a rung is routine, and its attempt says so: no event for
# people. New attributes are appended as text, for what is there may hold Optuna's
# NaN tokens, which jsonb refuses; of two equal keys the later counts.
TELL = (
    """
    WITH a AS (
        UPDATE attempts a SET ended_at = clock_timestamp(), error = CAST(:error AS text), record = CAST(:record AS text),
            reason = CASE WHEN {stopped} THEN coalesce(t.reason, 'cancelled') WHEN {held} THEN 'paused_at_rung'
                ELSE coalesce(CAST(:ended AS text), lower(:state)) END
        FROM trials t
        WHERE a.id = :lease AND a.project = :project AND t.id = a.trial_id AND {fence}
        RETURNING a.trial_id, a.study_id, a.project, a.epoch, a.worker, a.gpus,
            extract(epoch FROM clock_timestamp() - a.started_at)::float AS seconds
    ), r AS ("""
    + intermediate.STORE
    + """), u AS (
        UPDATE trials t SET state = CASE WHEN {stopped} THEN 'FAIL' ELSE :state END,
            reason = CASE WHEN {stopped} THEN coalesce(t.reason, 'cancelled') WHEN {held} THEN 'paused_at_rung'
                ELSE CAST(:reason AS text) END,
            not_before = CASE WHEN {held} THEN {until} END, priority = CASE WHEN {held} THEN -1 ELSE t.priority END,
            error = CAST(:error AS text), value = CAST(:value AS float),
            constraint_values = CAST(:constraint_values AS text), violation = CAST(:violation AS float),
            objective_values = coalesce(CAST(:objective_values AS text), CASE WHEN :state = 'PRUNED' THEN ("""
    + intermediate.LAST_VALUES.format(names="CAST(:objectives AS text[])", trial="a.trial_id")
    + """) END),
            user_attrs = CASE WHEN CAST(:user_attrs AS text) IS NULL THEN t.user_attrs WHEN t.user_attrs = '{{}}' THEN :user_attrs
                ELSE left(t.user_attrs, -1) || ', ' || substr(:user_attrs, 2) END,
            finish_hash = :digest, verdict = 'continue', gpu_seconds = t.gpu_seconds + a.gpus * a.seconds,
            attempts = t.attempts - CASE WHEN {goes_on} THEN 1 ELSE 0 END,
            worker = CASE WHEN {goes_on} THEN NULL ELSE t.worker END,
            finished_at = CASE WHEN {goes_on} THEN NULL ELSE clock_timestamp() END
        FROM a WHERE t.id = a.trial_id
        RETURNING t.*
    ), e AS (
        INSERT INTO events (project, study_id, trial_number, kind, data)
        SELECT a.project, a.study_id, u.number, 'handed_back', jsonb_build_object('reason', u.reason, 'worker', a.worker)
        FROM a JOIN u ON u.id = a.trial_id WHERE u.state = 'WAITING' AND u.reason IS DISTINCT FROM 'paused_at_rung'
    )
    SELECT * FROM u
    """
)
STOPPED = "t.verdict = 'stop' AND :follows"
GOES_ON = "(:state = 'WAITING' AND t.verdict <> 'stop')"
# A trial told to pause at its rung, or that has paused at a boundary as its lease said, waits until the search lets it go on, behind all
# others in the index of waiting trials.
PAUSED = "(:state = 'WAITING' AND (t.verdict = 'pause' AND t.reason = 'paused_at_rung' OR t.verdict <> 'stop' AND :at_boundary))"

# Whether a trial was told to stop is asked of the row that is written: a cancellation may commit while this statement waits for it.
ENDED = "CASE WHEN t.verdict = 'stop' THEN CASE WHEN t.reason = 'timeout' THEN 'timeout' ELSE 'cancelled' END ELSE o.ended END"
# The worker died after its trial had come to its rung: there is nothing to repeat.
AT_RUNG = "(t.verdict = 'pause' AND t.reason = 'paused_at_rung')"
REAP = """
    WITH e AS MATERIALIZED (
        SELECT a.id FROM attempts a
        WHERE a.ended_at IS NULL AND a.expires_at < clock_timestamp()
        ORDER BY a.expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
    ), a AS (
        UPDATE attempts x SET ended_at = clock_timestamp(), reason = 'lost'
        FROM e WHERE x.id = e.id
        RETURNING x.trial_id, x.epoch, x.worker, x.gpus, extract(epoch FROM x.expires_at - x.started_at)::float AS seconds
    ), o AS (
        SELECT t.id, a.epoch, a.worker, a.gpus * a.seconds AS gpu_seconds, CASE
            WHEN s.state IN ('COMPLETE', 'STOPPED', 'FAIL') THEN 'cancelled'
            WHEN t.attempts >= coalesce((s.limits->>'max_attempts')::int, 3) THEN 'lost' END AS ended
        FROM a JOIN trials t ON t.id = a.trial_id JOIN studies s ON s.id = t.study_id
        WHERE t.state = 'RUNNING' AND t.epoch = a.epoch
        ORDER BY t.id FOR NO KEY UPDATE OF t
    )
    UPDATE trials t SET
        state = CASE WHEN ({ended}) IS NULL THEN 'WAITING' ELSE 'FAIL' END,
        reason = coalesce({ended}, CASE WHEN {at_rung} THEN 'paused_at_rung' END, 'lost'),
        priority = CASE WHEN {at_rung} THEN -1 ELSE t.priority END,
        error = CASE WHEN ({ended}) = 'lost' THEN format('lost with its worker in each of %s attempts', t.attempts) END,
        verdict = 'continue', gpu_seconds = t.gpu_seconds + o.gpu_seconds,
        not_before = CASE WHEN ({ended}) IS NOT NULL THEN NULL WHEN {at_rung} THEN {until} ELSE clock_timestamp() + :backoff * power(2, least(t.attempts, 8) - 1) * interval '1 second' END,
        finished_at = CASE WHEN ({ended}) IS NULL THEN NULL ELSE clock_timestamp() END
    FROM o WHERE t.id = o.id
    RETURNING t.project, t.study_id, t.number, t.state, o.epoch, o.worker
"""

ELIGIBLE = text(
    f"""
    SELECT s.id, s.state, s.limits, s.gpus,
        (SELECT count(*) FROM trials t WHERE t.study_id = s.id AND t.state = 'RUNNING') AS running,
        (SELECT count(*) FROM (SELECT FROM trials t WHERE t.study_id = s.id AND t.state = 'WAITING'
            AND t.not_before IS DISTINCT FROM {HELD} LIMIT 100) w) AS waiting
    FROM studies s
    WHERE s.project = :project AND s.state IN ('RUNNING', 'STOPPING') AND s.spec IS NOT NULL
        AND s.executor = ANY(:executors) AND (s.bundle IS NULL OR :bundles) AND (CAST(:gpus AS float) IS NULL OR (s.gpus <= :gpus AND s.cpus <= greatest(:cpus, 1)))
        AND (NOT :chosen OR s.id = ANY(:ids) OR s.name = ANY(:names))
    ORDER BY running, s.id
    """
)
