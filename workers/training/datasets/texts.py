"""Text from files: one running text for language models, two files of corresponding lines for translation.

Words are whatever stands between blanks; the vocabulary is made of the training part alone. Ids 0 to 3 are padding, begin, end
and unknown. A target of IGNORED counts for no loss.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from tuner.catalog.shapes import NUM_BYTES, SPECIAL_TOKENS
from tuner.errors import InvalidValue
from workers.training.datasets.parts import Dataset, Numbers, Part, divide
from workers.training.datasets.tables import existing

PADDING, BOS, EOS, UNKNOWN = range(4)
IGNORED = -100


def language_part(windows: Numbers) -> Part:
    """Windows of tokens `[n, length + 1]` as inputs and, one further, targets."""
    tokens = torch.from_numpy(np.ascontiguousarray(windows, dtype=np.int64))
    return Part(inputs=tokens[:, :-1].contiguous(), targets=tokens[:, 1:].contiguous())


def translation_part(pairs: Sequence[tuple[list[int], list[int]]], source_length: int, target_length: int) -> Part:
    """Source tokens, and target tokens from BOS to EOS, padded: inputs are source and target but its last, side by side."""
    sources = torch.full((len(pairs), source_length), PADDING)
    given = torch.full((len(pairs), target_length), PADDING)
    wanted = torch.full((len(pairs), target_length), IGNORED)
    for row, (source, target) in enumerate(pairs):
        sources[row, : len(source)] = torch.tensor(source)
        given[row, : len(target) - 1] = torch.tensor(target[:-1])
        wanted[row, : len(target) - 1] = torch.tensor(target[1:])
    return Part(inputs=torch.cat([sources, given], 1), targets=wanted)


def _text(*, path: str, tokens: str, length: int, max_vocabulary: int, validation: float, test: float) -> Dataset:
    """Cut in order: the validation part follows the training part, the test part comes last."""
    text = _read(existing(path), "path")
    units: list[int] | list[str] = list(text.encode()) if tokens == "bytes" else text.split()
    num_test, num_validation = int(len(units) * test), int(len(units) * validation)
    cuts = [0, len(units) - num_validation - num_test, len(units) - num_test, len(units)]
    pieces = [units[a:b] for a, b in pairwise(cuts)]
    if tokens == "words":
        vocabulary = _vocabulary((str(word) for word in pieces[0]), max_vocabulary)
        size = SPECIAL_TOKENS + len(vocabulary)
        pieces = [[vocabulary.get(str(word), UNKNOWN) for word in piece] for piece in pieces]
    else:
        size = NUM_BYTES
    parts = [language_part(_windows([int(unit) for unit in piece], length)) for piece in pieces]
    if not len(parts[0]) or not len(parts[1]):
        raise InvalidValue(
            f"dataset.length: {path} has {len(units):,} {tokens}, too few for one window of {length + 1} in each part"
        )
    return Dataset(
        task="language",
        shape=(length,),
        outputs=size,
        train=parts[0],
        validation=parts[1],
        test=parts[2] if len(parts[2]) else None,
    )


def _windows(tokens: list[int], length: int) -> Numbers:
    """Windows that share only their ends: each token but the first is a target once."""
    count = max(0, (len(tokens) - 1) // length)
    starts = np.arange(count)[:, None] * length
    return np.asarray(tokens, dtype=np.int64)[starts + np.arange(length + 1)] if count else np.empty((0, length + 1))


def _parallel_text(
    *, source: str, target: str, max_length: int, max_vocabulary: int, validation: float, test: float, split_seed: int
) -> Dataset:
    """Line i of one file is the translation of line i of the other; longer pairs are cut at max_length words."""
    files = {"source": source, "target": target}
    lines = {field: _read(existing(path, field), field).splitlines() for field, path in files.items()}
    if len(lines["source"]) != len(lines["target"]):
        raise InvalidValue(
            f"dataset.target: {target} has {len(lines['target']):,} lines and {source} {len(lines['source']):,}; they must correspond"
        )
    pairs = [(s.split()[:max_length], t.split()[:max_length]) for s, t in zip(lines["source"], lines["target"], strict=True)]
    pairs = [(s, t) for s, t in pairs if s and t]
    if not pairs:
        raise InvalidValue(f"dataset.source: {source} and {target} have no line with words in both")
    trained, held, kept = divide(len(pairs), validation, test, split_seed)
    vocabulary = _vocabulary((word for i in trained for side in pairs[i] for word in side), max_vocabulary)

    def ids(words: list[str]) -> list[int]:
        return [vocabulary.get(word, UNKNOWN) for word in words]

    def part(indices: Numbers) -> Part:
        coded = [(ids(pairs[i][0]), [BOS, *ids(pairs[i][1]), EOS]) for i in indices]
        return translation_part(coded, max_length, max_length + 1)

    return Dataset(
        task="translation",
        shape=(max_length, max_length + 1),
        outputs=SPECIAL_TOKENS + len(vocabulary),
        train=part(trained),
        validation=part(held),
        test=part(kept) if len(kept) else None,
    )


def _vocabulary(words: Iterable[str], size: int) -> dict[str, int]:
    """The most frequent words; among equals the first in the alphabet."""
    ranked = sorted(Counter(words).items(), key=lambda item: (-item[1], item[0]))
    return {word: SPECIAL_TOKENS + i for i, (word, _) in enumerate(ranked[:size])}


def _read(file: Path, field: str) -> str:
    try:
        return file.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidValue(f"dataset.{field}: {file} is not UTF-8 text: byte {error.start} is not allowed there") from error


BUILDERS: dict[str, Callable[..., Dataset]] = {"text": _text, "parallel_text": _parallel_text}
