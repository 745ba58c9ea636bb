"""Evaluation: what is reported of a model on held-out samples, named as in the catalogue without the part's prefix."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from workers.training import boxes
from workers.training.datasets import Dataset, Part
from workers.training.datasets.texts import BOS, EOS, IGNORED
from workers.training.losses import Loss
from workers.training.models.transformer import EncoderDecoder

CHUNK = 4096
TOKENS_AT_ONCE = 2**16
TOP = 5
MAX_TRANSLATED = 256
"""Translating is slow, word by word: BLEU is taken of the first so many samples."""


@torch.no_grad()
def evaluate(model: nn.Module, data: Dataset, part: Part, loss: Loss) -> dict[str, float]:
    """`loss` and what belongs to the data's task. Leaves the model in evaluation mode."""
    model.eval()
    if data.task in ("language", "translation"):
        values = _tokens(model, part, loss)
        if isinstance(model, EncoderDecoder):
            values["bleu"] = _bleu(model, part)
        return values
    outputs = torch.cat([model(inputs) for inputs in torch.split(part.inputs, CHUNK)])
    values = {"loss": float(loss(outputs, part.targets))}
    if data.task == "detection":
        return values | boxes.mean_average_precision(boxes.detections(outputs), part.targets, data.shape[-1])
    if data.task == "classification":
        return values | _classification(outputs, part.targets)
    return values | _regression(outputs.double(), part.targets.double())


def _classification(outputs: Tensor, targets: Tensor) -> dict[str, float]:
    """One output decides by its sign, several by the largest. Top-5 says nothing of five classes or fewer."""
    if outputs.shape[1] == 1:
        return {"accuracy": float(((outputs[:, 0] > 0) == targets).double().mean())}
    values = {"accuracy": float((outputs.argmax(1) == targets).double().mean())}
    if outputs.shape[1] > TOP:
        among = (outputs.topk(TOP, 1).indices == targets[:, None]).any(1)
        values["top5_accuracy"] = float(among.double().mean())
    return values


def _regression(outputs: Tensor, targets: Tensor) -> dict[str, float]:
    errors = targets - outputs
    total = (targets - targets.mean()).square().sum()
    return {"r2": float(1 - errors.square().sum() / total), "mae": float(errors.abs().mean())}


def _tokens(model: nn.Module, part: Part, loss: Loss) -> dict[str, float]:
    """Averages over all tokens that count; perplexity is the exponential of the loss."""
    chunk = max(1, TOKENS_AT_ONCE // part.targets.shape[1])
    total, right, count = 0.0, 0, 0
    for inputs, targets in zip(torch.split(part.inputs, chunk), torch.split(part.targets, chunk), strict=True):
        outputs = model(inputs)
        counted = targets != IGNORED
        number = int(counted.sum())
        total += float(loss(outputs, targets)) * number
        right += int(((outputs.argmax(-1) == targets) & counted).sum())
        count += number
    mean = total / count
    return {"loss": mean, "perplexity": math.exp(min(mean, 700.0)), "accuracy": right / count}


def _bleu(model: EncoderDecoder, part: Part) -> float:
    """BLEU-4 of greedy translations against the targets, both as words."""
    from torchmetrics.functional.text import bleu_score

    sources, targets = part.inputs[:MAX_TRANSLATED, : model.source_length], part.targets[:MAX_TRANSLATED]
    encoded, mask = model.encode(sources), sources != 0
    tokens = torch.full((len(sources), 1), BOS, device=sources.device)
    for _ in range(targets.shape[1]):
        following = model.decode(tokens, encoded, mask)[:, -1:].argmax(-1)
        tokens = torch.cat([tokens, following], 1)
    translated = [_sentence(row) for row in tokens[:, 1:].tolist()]
    return float(bleu_score(translated, [[_sentence(row)] for row in targets.tolist()]))


def _sentence(tokens: list[int]) -> str:
    """The words before the end, as numbers."""
    end = tokens.index(EOS) if EOS in tokens else len(tokens)
    return " ".join(str(token) for token in tokens[:end])
