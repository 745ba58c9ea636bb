"""Small files in every format the trainer reads, made of data that comes along: so that each loader is measured end to end.

They stand for the real files (MNIST, CIFAR-10, WikiText, COCO), which are not here; the page says of each what it was made of.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ZAHLEN = ("null", "eins", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun")
LICENSE = Path(__file__).parent.parent / "LICENSE"


@dataclass(frozen=True)
class Sample:
    """A data set's configuration below `folder`, what it was made of, and the function that writes it."""

    dataset: dict[str, Any]
    made_of: str
    write: Callable[[Path], None]


def samples(folder: Path) -> dict[str, Sample]:
    """By name of the data set that reads it."""

    def path(*parts: str) -> str:
        return str(folder.joinpath(*parts))

    return {
        "csv": Sample({"path": path("wine.csv"), "target": "target"}, "wine as CSV", _csv),
        "parquet": Sample({"path": path("cancer.parquet"), "target": "target"}, "breast_cancer as Parquet", _parquet),
        "npz": Sample({"path": path("digits.npz")}, "digits as npz", _npz),
        "image_folder": Sample({"path": path("pictures"), "size": 16, "colors": "grey"}, "digits as pictures", _pictures),
        "mnist": Sample({"path": path("mnist")}, "digits enlarged to 28x28, in MNIST's format", _mnist),
        "cifar10": Sample({"path": path("cifar")}, "digits enlarged to 32x32, in CIFAR's format", _cifar),
        "text": Sample({"path": path("text.txt"), "length": 32}, "this project's licence", _text),
        "parallel_text": Sample(
            {"source": path("en.txt"), "target": path("de.txt"), "max_length": 6}, "numbers in English and German", _parallel
        ),
        "coco": Sample({"path": path("coco.json"), "images": path("coco"), "size": 32}, "drawn squares in COCO's format", _coco),
    }


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for sample in samples(folder).values():
        sample.write(folder)


def _digits() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    from sklearn.datasets import load_digits

    inputs, targets = load_digits(return_X_y=True)
    return (inputs * 15.9375).astype(np.uint8).reshape(-1, 8, 8), targets.astype(np.uint8)


def _enlarged(times: int, border: int) -> npt.NDArray[np.uint8]:
    pictures = np.kron(_digits()[0], np.ones((1, times, times), np.uint8))
    return np.pad(pictures, ((0, 0), (border, border), (border, border)))


def _csv(folder: Path) -> None:
    from sklearn.datasets import load_wine

    load_wine(as_frame=True).frame.to_csv(folder / "wine.csv", index=False)


def _parquet(folder: Path) -> None:
    from sklearn.datasets import load_breast_cancer

    load_breast_cancer(as_frame=True).frame.to_parquet(folder / "cancer.parquet")


def _npz(folder: Path) -> None:
    pictures, classes = _digits()
    np.savez(folder / "digits.npz", x=pictures[:, None], y=classes)


def _pictures(folder: Path) -> None:
    from PIL import Image

    for number, (picture, name) in enumerate(zip(*_digits(), strict=True)):
        place = folder / "pictures" / str(name)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(place / f"{number}.png")


def _mnist(folder: Path) -> None:
    pictures, classes, place = _enlarged(3, 2), _digits()[1], folder / "mnist"
    place.mkdir(exist_ok=True)
    for part, chosen in (("train", slice(300, None)), ("t10k", slice(300))):
        for name, array in (("images-idx3", pictures[chosen]), ("labels-idx1", classes[chosen])):
            header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
            (place / f"{part}-{name}-ubyte").write_bytes(header + array.tobytes())


def _cifar(folder: Path) -> None:
    pictures, classes, place = _enlarged(4, 0).reshape(-1, 1, 32 * 32), _digits()[1], folder / "cifar"
    place.mkdir(exist_ok=True)
    records = np.concatenate([classes[:, None], pictures.repeat(3, 1).reshape(len(classes), -1)], 1)
    (place / "data_batch_1.bin").write_bytes(records[300:].tobytes())
    (place / "test_batch.bin").write_bytes(records[:300].tobytes())


def _text(folder: Path) -> None:
    (folder / "text.txt").write_text(LICENSE.read_text())


def _parallel(folder: Path) -> None:
    random = np.random.default_rng(0)
    rows = [random.integers(10, size=random.integers(2, 7)) for _ in range(600)]
    for name, words in (("en.txt", NUMBERS), ("de.txt", ZAHLEN)):
        (folder / name).write_text("".join(" ".join(words[number] for number in row) + "\n" for row in rows))


def _coco(folder: Path) -> None:
    from PIL import Image

    random = np.random.default_rng(0)
    (folder / "coco").mkdir(exist_ok=True)
    images, annotations = [], []
    for number in range(200):
        side = int(random.integers(8, 17))
        x, y = (int(place) for place in random.integers(0, 32 - side, 2))
        pixels = random.integers(0, 60, (32, 32, 3), np.uint8)
        pixels[y : y + side, x : x + side, number % 2] += 180
        Image.fromarray(pixels).save(folder / "coco" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png"})
        annotations.append({"id": number, "image_id": number, "category_id": 1 + number % 2, "bbox": [x, y, side, side]})
    categories = [{"id": 1, "name": "red"}, {"id": 2, "name": "green"}]
    (folder / "coco.json").write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
