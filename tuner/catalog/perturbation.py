"""Which parameters of a trainer's space may differ between a training and one that goes on from its checkpoint.

A checkpoint holds weights and the optimizer's state, so what decides their shapes and keys stays as it was: the data set, the model but
for its dropout and slopes, which component has which name, switches of an optimizer. Told by the catalogue: hyperparameters that may differ
between the lanes of a fused group change no shape. Weakness: the number of epochs is left alone too, for it is the resource.
"""

from __future__ import annotations

from tuner.catalog.table import entries
from tuner.catalog.trainer import SECTIONS
from tuner.parameters import CategoricalParameter, Parameter

_FIELDS = ("batch_size", "accumulate", "clip_norm", "clip_value", "ema")
_SPENT = ("dataset", "initializer")
"""Components that have had their effect before the checkpoint, or must not change after it."""


def is_perturbable(path: str, parameter: Parameter) -> bool:
    """Whether a trial that goes on from another one's checkpoint may have another value of this parameter."""
    section, dot, field = path.partition(".")
    if not dot:
        # Averaged weights that are there in one trial and not in the other would be another checkpoint.
        return path in _FIELDS and not (path == "ema" and isinstance(parameter, CategoricalParameter))
    if section not in SECTIONS or section in _SPENT:
        return False
    found = [entry.by_name[field] for entry in entries(SECTIONS[section]) if field in entry.by_name]
    return bool(found) and all(hyperparameter.per_lane for hyperparameter in found)
