"""Every loader reads a small real file of its format, and says one clear sentence about a missing, truncated or wrong one."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from tests.workers.training.handles import RecordingTrial
from tuner import catalog
from tuner.catalog.shapes import SPECIAL_TOKENS, num_outputs, sample_shape
from tuner.errors import InvalidValue
from workers.training import datasets, loop
from workers.training.config import Component
from workers.training.datasets.texts import BOS, EOS, IGNORED, UNKNOWN

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize("name", ["digits", "iris", "wine", "breast_cancer"])
def test_bundled_tables_are_split_and_standardized(name: str) -> None:
    data = datasets.build(name, validation=0.25, test=0.1)
    assert data.test is not None
    total = len(data.train) + len(data.validation) + len(data.test)
    assert len(data.validation) == round(0.25 * total)
    assert len(data.test) == round(0.1 * total)
    assert data.train.inputs.shape[1:] == data.shape
    axes = tuple(range(data.train.inputs.ndim)) if len(data.shape) > 1 else (0,)
    assert torch.allclose(data.train.inputs.mean(axes), torch.zeros((), dtype=torch.float64), atol=1e-9)
    assert torch.allclose(data.train.inputs.std(axes, correction=0), torch.ones((), dtype=torch.float64))
    assert data.outputs == int(data.train.targets.max()) + 1


def test_the_split_is_the_data_sets_own() -> None:
    one, again, other = (datasets.build("iris", split_seed=seed) for seed in (3, 3, 4))
    assert torch.equal(one.validation.inputs, again.validation.inputs)
    assert not torch.equal(one.validation.inputs, other.validation.inputs)


def test_regression_targets_are_standardized() -> None:
    data = datasets.build("diabetes")
    assert data.train.targets.shape == (len(data.train), 1)
    assert float(data.train.targets.mean()) == pytest.approx(0, abs=1e-9)
    assert float(data.train.targets.std(correction=0)) == pytest.approx(1)


def test_xor_is_validated_on_its_corners() -> None:
    data = datasets.build("xor", repeats=3, noise=0.1)
    assert len(data.train) == 12
    assert data.validation.inputs.tolist() == [[-1, -1], [-1, 1], [1, -1], [1, 1]]
    assert data.validation.targets.tolist() == [0, 1, 1, 0]


def test_adding_marks_two_numbers() -> None:
    data = datasets.build("adding", samples=50, length=7)
    assert data.shape == (7, 2)
    marks = data.train.inputs[..., 1]
    assert ((marks > marks.min()).sum(1) == 2).all()


def test_cycles_count_on() -> None:
    data = datasets.build("cycles", samples=50, length=9, vocabulary=7)
    steps = (data.train.targets - data.train.inputs) % 7
    assert (steps == steps[:, :1]).all()
    assert torch.equal(data.train.inputs[:, 1:], data.train.targets[:, :-1])


def test_reversal_pairs() -> None:
    data = datasets.build("reversal", samples=30, length=5, vocabulary=4)
    assert data.shape == (5, 6)
    for inputs, targets in zip(data.train.inputs.tolist(), data.train.targets.tolist(), strict=True):
        source = [token for token in inputs[:5] if token]
        wanted = [*source[::-1], EOS]
        assert targets[: len(wanted)] == wanted
        assert set(targets[len(wanted) :]) <= {IGNORED}
        assert inputs[5 : 5 + len(wanted)] == [BOS, *source[::-1]]


# --- tables ---------------------------------------------------------------------------------------------------------------


def write_table(path: Path, kind: str, columns: dict[str, Any]) -> str:
    table = pyarrow.table(columns)
    if kind == "parquet":
        parquet.write_table(table, path)
    else:
        rows = zip(*columns.values(), strict=True)
        lines = [",".join(columns), *(",".join("" if v is None else str(v) for v in row) for row in rows)]
        path.write_text("\n".join(lines) + "\n")
    return str(path)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tables(kind: str, tmp_path: Path) -> None:
    columns = {"a": [float(i) for i in range(20)], "b": [i % 3 for i in range(20)], "kind": ["x", "y"] * 10}
    path = write_table(tmp_path / "t", kind, columns)
    data = datasets.build(kind, path=path, target="kind")
    assert (data.task, data.shape, data.outputs) == ("classification", (2,), 2)
    assert len(data.train) + len(data.validation) == 20
    number = datasets.build(
        kind, path=write_table(tmp_path / "n", kind, {k: columns[k] for k in "ab"}), target="a", task="regression"
    )
    assert (number.task, number.shape, number.outputs) == ("regression", (1,), 1)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize(
    ("columns", "target", "message"),
    [
        ({"a": [1, 2, 3], "label": [0, 1, 0]}, "lable", "dataset.target: .* has no column 'lable'; did you mean label?"),
        ({"a": ["u", "v", "w"], "y": [0, 1, 0]}, "y", "column 'a' of .* holds string, not numbers"),
        ({"a": [1.0, None, 3.0], "y": [0, 1, 0]}, "y", "column 'a' of .* has 1 empty values; fill them first"),
        ({"y": [0, 1, 0]}, "y", "has no column besides 'y' to learn from"),
    ],
)
def test_unsuitable_tables(kind: str, columns: dict[str, Any], target: str, message: str, tmp_path: Path) -> None:
    path = write_table(tmp_path / "t", kind, columns)
    with pytest.raises(InvalidValue, match=message):
        datasets.build(kind, path=path, target=target)


def test_damaged_tables(tmp_path: Path) -> None:
    for kind, content, message in (
        ("csv", "a,b\n1,2\n3\n", "is not a CSV file"),
        ("csv", "", "is not a CSV file"),
        ("parquet", "not parquet at all", "is not a Parquet file"),
    ):
        (tmp_path / "t").write_text(content)
        with pytest.raises(InvalidValue, match=message) as caught:
            datasets.build(kind, path=str(tmp_path / "t"), target="b")
        assert "\n" not in str(caught.value)
    whole = Path(write_table(tmp_path / "p", "parquet", {"a": list(range(1000)), "b": [0, 1] * 500})).read_bytes()
    (tmp_path / "p").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidValue, match="is not a Parquet file"):
        datasets.build("parquet", path=str(tmp_path / "p"), target="b")


def test_npz(tmp_path: Path) -> None:
    path = tmp_path / "d.npz"
    np.savez(path, x=RANDOM.random((30, 1, 6, 6)), y=np.arange(30) % 3 + 5)
    data = datasets.build("npz", path=str(path))
    assert (data.shape, data.outputs) == ((1, 6, 6), 3)
    np.savez(path, x=RANDOM.random((30, 4)), y=RANDOM.random(30))
    assert datasets.build("npz", path=str(path), task="regression").outputs == 1
    for arrays, message in (
        ({"x": np.zeros((5, 2))}, "must hold arrays x and y; it has x"),
        ({"x": np.zeros((5, 2)), "y": np.zeros(4)}, r"has \[5, 2\] and \[4\]"),
        ({"x": np.array([["a"], ["b"]]), "y": np.zeros(2)}, "must be numbers"),
        ({"x": np.array([{}, {}], dtype=object), "y": np.zeros(2)}, "not an npz file of plain arrays"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(InvalidValue, match=message):
            datasets.build("npz", path=str(path))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InvalidValue, match="not an npz file"):
        datasets.build("npz", path=str(path))
    np.save(tmp_path / "d.npy", np.zeros((5, 2)))
    with pytest.raises(InvalidValue, match="it is one array, not an archive"):
        datasets.build("npz", path=str(tmp_path / "d.npy"))


# --- images ---------------------------------------------------------------------------------------------------------------


def test_image_folder(tmp_path: Path) -> None:
    for name, shade in (("cats", 40), ("dogs", 200)):
        (tmp_path / name).mkdir()
        for i in range(5):
            Image.new("RGB", (20, 12), (shade, i, 0)).save(tmp_path / name / f"{i}.png")
    data = datasets.build("image_folder", path=str(tmp_path), size=8)
    assert (data.shape, data.outputs) == ((3, 8, 8), 2)
    red = data.train.inputs[:, 0].mean((1, 2))
    assert ((red > 0) == (data.train.targets == 1)).all()
    assert datasets.build("image_folder", path=str(tmp_path), size=8, colors="grey").shape == (1, 8, 8)
    (tmp_path / "cats" / "0.png").write_bytes(b"no picture")
    with pytest.raises(InvalidValue, match=r"0\.png is not a picture that can be read"):
        datasets.build("image_folder", path=str(tmp_path))
    with pytest.raises(InvalidValue, match="a folder of pictures for each of at least two classes"):
        datasets.build("image_folder", path=str(tmp_path / "dogs"))


def write_idx(path: Path, array: np.ndarray[Any, Any], *, packed: bool = False) -> None:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    data = header + array.astype(np.uint8).tobytes()
    path.write_bytes(gzip.compress(data) if packed else data)


def write_mnist(folder: Path) -> None:
    for part, count in (("train", 40), ("t10k", 10)):
        write_idx(folder / f"{part}-images-idx3-ubyte", RANDOM.integers(0, 256, (count, 28, 28)))
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", np.arange(count) % 10, packed=True)


def test_mnist(tmp_path: Path) -> None:
    write_mnist(tmp_path)
    data = datasets.build("mnist", path=str(tmp_path))
    assert (data.shape, data.outputs, len(data.train), len(data.validation)) == ((1, 28, 28), 10, 32, 8)
    assert data.test is not None
    assert data.test.targets.tolist() == list(range(10))
    images = tmp_path / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-1])
    with pytest.raises(InvalidValue, match="truncated: 31,359 bytes where its header says 31,360"):
        datasets.build("mnist", path=str(tmp_path))
    images.write_bytes(b"\x00\x00\x0d\x03" + bytes(20))
    with pytest.raises(InvalidValue, match="is not an idx file of 3 dimensions of bytes"):
        datasets.build("mnist", path=str(tmp_path))
    write_idx(images, np.zeros((39, 28, 28)))
    with pytest.raises(InvalidValue, match="39 images and 40 labels"):
        datasets.build("mnist", path=str(tmp_path))
    labels = tmp_path / "train-labels-idx1-ubyte.gz"
    labels.write_bytes(labels.read_bytes()[:-9])
    with pytest.raises(InvalidValue, match="cannot be unpacked"):
        datasets.build("mnist", path=str(tmp_path))
    labels.unlink()
    with pytest.raises(InvalidValue, match=r"there is no file .*train-labels-idx1-ubyte"):
        datasets.build("mnist", path=str(tmp_path))


def test_cifar10(tmp_path: Path) -> None:
    def write(name: str, count: int, largest: int = 9) -> None:
        records = RANDOM.integers(0, 256, (count, 3073), dtype=np.uint8)
        records[:, 0] = np.arange(count) % (largest + 1)
        (tmp_path / name).write_bytes(records.tobytes())

    write("data_batch_1.bin", 20)
    write("data_batch_2.bin", 20)
    write("test_batch.bin", 10)
    data = datasets.build("cifar10", path=str(tmp_path))
    assert (data.shape, data.outputs, len(data.train)) == ((3, 32, 32), 10, 32)
    assert data.test is not None
    write("data_batch_1.bin", 20, largest=11)
    with pytest.raises(InvalidValue, match="a label above 9"):
        datasets.build("cifar10", path=str(tmp_path))
    (tmp_path / "data_batch_1.bin").write_bytes(bytes(3072))
    with pytest.raises(InvalidValue, match="truncated: 3,072 bytes are no multiple of 3,073"):
        datasets.build("cifar10", path=str(tmp_path))
    with pytest.raises(InvalidValue, match=r"there is no file .*data_batch_1"):
        datasets.build("cifar10", path=str(tmp_path.parent))


# --- texts ----------------------------------------------------------------------------------------------------------------


def test_text_as_bytes(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(bytes(range(32, 127)) * 4)
    data = datasets.build("text", path=str(tmp_path / "t"), length=10, validation=0.25)
    assert (data.task, data.shape, data.outputs) == ("language", (10,), 256)
    assert data.train.inputs[0].tolist() == list(range(32, 42))
    assert data.train.targets[0].tolist() == list(range(33, 43))
    assert data.train.inputs[1, 0] == 42
    with pytest.raises(InvalidValue, match="has 380 bytes, too few for one window of 501 in each part"):
        datasets.build("text", path=str(tmp_path / "t"), length=500)
    (tmp_path / "t").write_bytes(b"abc\xff\xfe")
    with pytest.raises(InvalidValue, match="is not UTF-8 text: byte 3"):
        datasets.build("text", path=str(tmp_path / "t"))


def test_text_as_words_knows_the_words_of_the_training_part_alone(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("the cat and the dog " * 8 + "a bird sings now " * 3)
    data = datasets.build("text", path=str(tmp_path / "t"), tokens="words", length=3, validation=0.2, max_vocabulary=3)
    assert data.outputs == SPECIAL_TOKENS + 3
    assert data.train.inputs[0].tolist() == [
        SPECIAL_TOKENS,
        SPECIAL_TOKENS + 2,
        SPECIAL_TOKENS + 1,
    ]  # the, cat, and: by frequency, then alphabet
    assert set(data.validation.inputs.flatten().tolist()) == {UNKNOWN}


def test_parallel_text(tmp_path: Path) -> None:
    source, target = tmp_path / "en", tmp_path / "de"
    source.write_text("good day\nthank you very much\n\nyes\n" * 5)
    target.write_text("guten Tag\nvielen Dank\nnichts\nja\n" * 5)
    data = datasets.build("parallel_text", source=str(source), target=str(target), max_length=3)
    assert data.shape == (3, 4)
    assert len(data.train) + len(data.validation) == 15  # pairs with an empty side are left out
    assert ((data.train.targets == EOS).sum(1) == 1).all()
    target.write_text("guten Tag\n")
    with pytest.raises(InvalidValue, match=r"de has 1 lines and .*en 20; they must correspond"):
        datasets.build("parallel_text", source=str(source), target=str(target))
    with pytest.raises(InvalidValue, match=r"dataset\.target: there is no file"):
        datasets.build("parallel_text", source=str(source), target=str(tmp_path / "fr"))


@pytest.mark.parametrize("name", ["csv", "parquet", "npz", "image_folder", "mnist", "cifar10", "text"])
def test_a_missing_file_is_one_sentence(name: str) -> None:
    more = {"target": "y"} if name in ("csv", "parquet") else {}
    with pytest.raises(InvalidValue, match=r"^dataset\.path: there is no (file|folder) /nowhere/at/all on this worker$"):
        datasets.build(name, path="/nowhere/at/all", **more)


# --- what trials see ------------------------------------------------------------------------------------------------------


def test_loaded_once_and_again_when_the_file_changes(tmp_path: Path) -> None:
    path = Path(write_table(tmp_path / "t", "csv", {"a": list(range(20)), "y": [0, 1] * 10}))
    component = Component(name="csv", hyperparameters={"path": str(path), "target": "y"})

    def load() -> datasets.Dataset:
        return datasets.load(component, torch.device("cpu"), torch.float32)

    first = load()
    assert load() is first
    assert first.train.inputs.dtype == torch.float32
    write_table(path, "csv", {"a": list(range(40)), "y": [0, 1] * 20})
    os.utime(path, ns=(1, 1))
    assert len(load().train) == 32


def test_a_language_model_trains_on_a_file(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("tick tock " * 200)
    trial = RecordingTrial()
    values = loop.train(
        {
            "dataset": {"name": "text", "path": str(tmp_path / "t"), "length": 16},
            "model": {"name": "gru", "hidden": 32},
            "optimizer": {"lr": 0.02},
            "epochs": 8,
        },
        trial,
    )
    assert values["val_perplexity"] < 2
    assert values["val_accuracy"] > 0.8


@pytest.mark.parametrize("name", [e.name for e in catalog.entries("datasets") if not any(h.required for h in e.hyperparameters)])
def test_the_catalogue_knows_the_shape_of_what_needs_no_file(name: str) -> None:
    complete: dict[str, Any] = {"name": name, **catalog.get("datasets", name).complete({})}
    data = datasets.build(**complete)
    assert (sample_shape(complete), num_outputs(complete, data.task)) == (data.shape, data.outputs)
