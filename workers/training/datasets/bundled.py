"""Data sets that come with scikit-learn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from workers.training.datasets.parts import Dataset, make_dataset


def _bundled(loader: str, task: str, shape: tuple[int, ...] | None = None) -> Callable[..., Dataset]:
    """A builder around one of scikit-learn's `load_...` functions."""

    def build_dataset(*, validation: float, test: float, split_seed: int) -> Dataset:
        # Importing scikit-learn takes a second; only a trial that needs it pays.
        from sklearn import datasets

        inputs, targets = getattr(datasets, loader)(return_X_y=True)
        if shape is not None:
            inputs = inputs.reshape(-1, *shape)
        return make_dataset(
            inputs.astype(np.float64),
            targets.astype(np.float64),
            task=task,
            validation=validation,
            test=test,
            split_seed=split_seed,
        )

    return build_dataset


BUILDERS: dict[str, Callable[..., Dataset]] = {
    "digits": _bundled("load_digits", "classification", shape=(1, 8, 8)),
    "iris": _bundled("load_iris", "classification"),
    "wine": _bundled("load_wine", "classification"),
    "breast_cancer": _bundled("load_breast_cancer", "classification"),
    "diabetes": _bundled("load_diabetes", "regression"),
}
