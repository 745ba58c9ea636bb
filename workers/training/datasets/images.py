"""Images from files: a folder of pictures by class, and the binary files of MNIST and CIFAR-10."""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tuner.errors import InvalidValue
from workers.training.datasets.parts import Dataset, Numbers, make_dataset
from workers.training.datasets.tables import existing

PICTURES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp"}
IDX_BYTES = 0x08
CIFAR_RECORD = 1 + 3 * 32 * 32


def _image_folder(*, path: str, size: int, colors: str, validation: float, test: float, split_seed: int) -> Dataset:
    """One folder a class, in the order of their names."""
    from PIL import Image, UnidentifiedImageError

    folder = existing(path, folder=True)
    classes = sorted(child for child in folder.iterdir() if child.is_dir())
    files = [(file, i) for i, child in enumerate(classes) for file in sorted(child.iterdir()) if file.suffix.lower() in PICTURES]
    if len(classes) < 2 or not files:
        raise InvalidValue(f"dataset.path: {path} must hold a folder of pictures for each of at least two classes")
    pixels = []
    for file, _ in files:
        try:
            with Image.open(file) as image:
                converted = image.convert("RGB" if colors == "rgb" else "L").resize((size, size))
        except (UnidentifiedImageError, OSError) as error:
            raise InvalidValue(f"dataset.path: {file} is not a picture that can be read: {error}") from error
        pixels.append(np.asarray(converted, dtype=np.float64).reshape(size, size, -1).transpose(2, 0, 1))
    return make_dataset(
        np.stack(pixels),
        np.array([i for _, i in files]),
        task="classification",
        validation=validation,
        test=test,
        split_seed=split_seed,
    )


def _mnist(*, path: str, validation: float, split_seed: int) -> Dataset:
    """The four idx files, packed or not; t10k is the test part."""
    folder = existing(path, folder=True)
    parts = [
        (_read_idx(folder, f"{part}-images-idx3-ubyte", 3)[:, None], _read_idx(folder, f"{part}-labels-idx1-ubyte", 1))
        for part in ("train", "t10k")
    ]
    for images, labels in parts:
        if len(images) != len(labels):
            raise InvalidValue(f"dataset.path: {path} has {len(images)} images and {len(labels)} labels")
    (inputs, targets), tested = parts
    return make_dataset(
        inputs, targets, task="classification", validation=validation, test=0.0, split_seed=split_seed, tested=tested
    )


def _read_idx(folder: Path, name: str, dimensions: int) -> Numbers:
    packed, plain = folder / f"{name}.gz", folder / name
    if not packed.is_file() and not plain.is_file():
        raise InvalidValue(f"dataset.path: there is no file {plain} (or {packed.name}) on this worker")
    try:
        data = plain.read_bytes() if plain.is_file() else gzip.decompress(packed.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise InvalidValue(f"dataset.path: {packed} cannot be unpacked: {error}") from error
    header = 4 + 4 * dimensions
    if len(data) < header or data[:2] != b"\x00\x00" or data[2] != IDX_BYTES or data[3] != dimensions:
        raise InvalidValue(f"dataset.path: {plain} is not an idx file of {dimensions} dimensions of bytes")
    shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions)]
    if len(data) - header != math.prod(shape):
        raise InvalidValue(
            f"dataset.path: {plain} is truncated: {len(data) - header:,} bytes where its header says {math.prod(shape):,}"
        )
    return np.frombuffer(data, np.uint8, offset=header).reshape(shape).astype(np.float64)


def _cifar10(*, path: str, validation: float, split_seed: int) -> Dataset:
    """data_batch_1.bin to data_batch_5.bin (those that are there) and test_batch.bin."""
    folder = existing(path, folder=True)
    batches = [folder / f"data_batch_{i}.bin" for i in range(1, 6)]
    present = [batch for batch in batches if batch.is_file()]
    if not present:
        raise InvalidValue(f"dataset.path: there is no file {batches[0]} on this worker")
    read = [_read_cifar(batch) for batch in present]
    test_file = folder / "test_batch.bin"
    return make_dataset(
        np.concatenate([images for images, _ in read]),
        np.concatenate([labels for _, labels in read]),
        task="classification",
        validation=validation,
        test=0.0,
        split_seed=split_seed,
        tested=_read_cifar(test_file) if test_file.is_file() else None,
    )


def _read_cifar(file: Path) -> tuple[Numbers, Numbers]:
    data = np.frombuffer(file.read_bytes(), np.uint8)
    if len(data) == 0 or len(data) % CIFAR_RECORD:
        raise InvalidValue(f"dataset.path: {file} is truncated: {len(data):,} bytes are no multiple of {CIFAR_RECORD:,}")
    records = data.reshape(-1, CIFAR_RECORD)
    if records[:, 0].max() > 9:
        raise InvalidValue(f"dataset.path: {file} is not a CIFAR-10 file: it has a label above 9")
    return records[:, 1:].reshape(-1, 3, 32, 32).astype(np.float64), records[:, 0].astype(np.float64)


BUILDERS: dict[str, Callable[..., Dataset]] = {"image_folder": _image_folder, "mnist": _mnist, "cifar10": _cifar10}
