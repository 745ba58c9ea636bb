"""The chain of schema changes (Alembic), shipped with the package and applied by `tuner migrate` or, embedded, at start."""
