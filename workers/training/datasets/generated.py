"""Data sets made up on the spot: XOR, and sequences whose rule is known."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from tuner.catalog.shapes import SPECIAL_TOKENS
from workers.training.datasets.parts import Dataset, Numbers, Part, divide, make_dataset
from workers.training.datasets.texts import BOS, EOS, language_part, translation_part


def _xor(*, repeats: int, noise: float, split_seed: int) -> Dataset:
    corners = torch.tensor([[-1.0, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)
    classes = torch.tensor([0, 1, 1, 0])
    inputs = corners.repeat(repeats, 1)
    if noise > 0:
        generator = torch.Generator().manual_seed(split_seed)
        inputs = inputs + noise * torch.randn(inputs.shape, generator=generator, dtype=torch.float64)
    return Dataset(
        task="classification",
        shape=(2,),
        outputs=2,
        train=Part(inputs=inputs, targets=classes.repeat(repeats)),
        validation=Part(inputs=corners, targets=classes),
    )


def _adding(*, samples: int, length: int, validation: float, test: float, split_seed: int) -> Dataset:
    """Two numbers of each sequence are marked; the target is their sum."""
    random = np.random.default_rng(split_seed)
    numbers = random.random((samples, length))
    marks = np.zeros((samples, length))
    chosen = random.random((samples, length)).argsort(1)[:, :2]
    np.put_along_axis(marks, chosen, 1.0, axis=1)
    return make_dataset(
        np.stack([numbers, marks], -1),
        (numbers * marks).sum(1),
        task="regression",
        validation=validation,
        test=test,
        split_seed=split_seed,
    )


def _cycles(*, samples: int, length: int, vocabulary: int, validation: float, test: float, split_seed: int) -> Dataset:
    """Each sequence counts on by a stride of its own, modulo the vocabulary: after two tokens the rest is certain."""
    random = np.random.default_rng(split_seed)
    starts, strides = random.integers(0, vocabulary, (2, samples, 1))
    tokens = (starts + strides * np.arange(length + 1)) % vocabulary
    trained, held, kept = divide(samples, validation, test, split_seed)
    return Dataset(
        task="language",
        shape=(length,),
        outputs=vocabulary,
        train=language_part(tokens[trained]),
        validation=language_part(tokens[held]),
        test=language_part(tokens[kept]) if len(kept) else None,
    )


def _reversal(*, samples: int, length: int, vocabulary: int, validation: float, test: float, split_seed: int) -> Dataset:
    """The translation of a sequence is the sequence backwards."""
    random = np.random.default_rng(split_seed)
    words = random.integers(SPECIAL_TOKENS, SPECIAL_TOKENS + vocabulary, (samples, length))
    lengths = random.integers(max(1, length // 2), length + 1, samples)
    pairs = [(row[:n].tolist(), row[:n][::-1].tolist()) for row, n in zip(words, lengths, strict=True)]

    def part(indices: Numbers) -> Part:
        return translation_part(
            [(source, [BOS, *target, EOS]) for source, target in (pairs[i] for i in indices)], length, length + 1
        )

    trained, held, kept = divide(samples, validation, test, split_seed)
    return Dataset(
        task="translation",
        shape=(length, length + 1),
        outputs=SPECIAL_TOKENS + vocabulary,
        train=part(trained),
        validation=part(held),
        test=part(kept) if len(kept) else None,
    )


BUILDERS: dict[str, Callable[..., Dataset]] = {"xor": _xor, "adding": _adding, "cycles": _cycles, "reversal": _reversal}
