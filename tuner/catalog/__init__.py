"""Every technique a trainer configuration can name, as data: what it is, its hyperparameters, when to use it.

A leaf: standard library, `tuner.errors` and `tuner.space`; no torch. It validates configurations at submission
(`check_trainer`, `check_objectives`, `check_metrics`), makes a trial's configuration (`merge`) and answers `GET /v1/catalog` (`to_json`);
`workers.training` binds a builder to each entry by name, and a test asserts that both sides agree.
"""

from tuner.catalog.entries import Entry, Hyperparameter, HyperparameterType
from tuner.catalog.spaces import check_metrics, check_objectives, check_trainer
from tuner.catalog.table import entries, get, kinds, names, to_json
from tuner.catalog.trainer import SECTIONS, complete, merge

__all__ = [
    "SECTIONS",
    "Entry",
    "Hyperparameter",
    "HyperparameterType",
    "check_metrics",
    "check_objectives",
    "check_trainer",
    "complete",
    "entries",
    "get",
    "kinds",
    "merge",
    "names",
    "to_json",
]
