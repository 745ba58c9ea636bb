"""Tables from files: CSV and Parquet through pyarrow, and npz."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tuner.errors import InvalidValue
from tuner.parameters import near
from workers.training.datasets.parts import Dataset, Numbers, make_dataset


def existing(path: str, field: str = "path", *, folder: bool = False) -> Path:
    """The path, if there is such a file or folder. InvalidValue naming the field otherwise."""
    found = Path(path).expanduser()
    if not (found.is_dir() if folder else found.is_file()):
        raise InvalidValue(f"dataset.{field}: there is no {'folder' if folder else 'file'} {path} on this worker")
    return found


def _table(read: Callable[[Path], Any], kind: str) -> Callable[..., Dataset]:
    def build_dataset(*, path: str, target: str, task: str, validation: float, test: float, split_seed: int) -> Dataset:
        file = existing(path)
        from pyarrow import ArrowException

        try:
            table = read(file)
        except (ArrowException, OSError, ValueError) as error:
            raise InvalidValue(f"dataset.path: {path} is not a {kind} file: {str(error).splitlines()[0]}") from error
        if target not in table.column_names:
            raise InvalidValue(f"dataset.target: {path} has no column {target!r}; {near(target, table.column_names)}")
        columns = {name: table[name] for name in table.column_names}
        if len(columns) < 2:
            raise InvalidValue(f"dataset.path: {path} has no column besides {target!r} to learn from")
        for name, column in columns.items():
            if column.null_count:
                raise InvalidValue(
                    f"dataset.path: column {name!r} of {path} has {column.null_count} empty values; fill them first"
                )
        features = np.column_stack([_numbers(path, name, column) for name, column in columns.items() if name != target])
        goal = _classes(columns[target]) if task == "classification" else _numbers(path, target, columns[target])
        return make_dataset(features, goal, task=task, validation=validation, test=test, split_seed=split_seed)

    return build_dataset


def _read_csv(file: Path) -> Any:
    from pyarrow import csv

    return csv.read_csv(file)


def _read_parquet(file: Path) -> Any:
    from pyarrow import parquet

    return parquet.read_table(file)


def _numbers(path: str, name: str, column: Any) -> Numbers:
    try:
        found = column.to_numpy().astype(np.float64)
    except (TypeError, ValueError):
        raise InvalidValue(f"dataset.path: column {name!r} of {path} holds {column.type}, not numbers") from None
    if not np.isfinite(found).all():
        raise InvalidValue(f"dataset.path: column {name!r} of {path} holds values that are not finite")
    return np.asarray(found)


def _classes(column: Any) -> Numbers:
    """Any values as classes, numbered in their sorted order."""
    return np.unique(np.asarray(column.to_pylist()), return_inverse=True)[1]


def _npz(*, path: str, task: str, validation: float, test: float, split_seed: int) -> Dataset:
    """Arrays x `[n, ...]` and y `[n]`."""
    file = existing(path)
    try:
        # numpy leaves a file it opened itself open when it is none of its own.
        with file.open("rb") as opened:
            archive = np.load(opened, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise ValueError("it is one array, not an archive")
            arrays = {name: archive[name] for name in archive.files}
    except (ValueError, OSError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise InvalidValue(f"dataset.path: {path} is not an npz file of plain arrays: {error}") from error
    if not {"x", "y"} <= set(arrays):
        raise InvalidValue(f"dataset.path: {path} must hold arrays x and y; it has {', '.join(arrays) or 'none'}")
    inputs, targets = arrays["x"], arrays["y"]
    if inputs.ndim not in (2, 4) or targets.shape != (len(inputs),):
        raise InvalidValue(
            f"dataset.path: x must be [n, features] or [n, channels, height, width] and y [n]; "
            f"{path} has {list(inputs.shape)} and {list(targets.shape)}"
        )
    if inputs.dtype.kind not in "fiub" or targets.dtype.kind not in "fiub":
        raise InvalidValue(f"dataset.path: x and y of {path} must be numbers")
    goal = np.unique(targets, return_inverse=True)[1] if task == "classification" else targets.astype(np.float64)
    return make_dataset(inputs.astype(np.float64), goal, task=task, validation=validation, test=test, split_seed=split_seed)


BUILDERS: dict[str, Callable[..., Dataset]] = {
    "csv": _table(_read_csv, "CSV"),
    "parquet": _table(_read_parquet, "Parquet"),
    "npz": _npz,
}
