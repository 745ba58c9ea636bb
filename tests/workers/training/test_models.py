"""Each model trains at tiny size and lowers its loss; sizes follow the configuration; what does not fit is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from tests.workers.training.handles import RecordingTrial
from tuner import catalog
from tuner.catalog.sizes import count_parameters
from tuner.errors import InvalidValue
from workers.training import loop, models
from workers.training.models.transformer import EncoderDecoder, Experts, TransformerLM

DIGITS = {"name": "digits"}
TINY = {"dim": 16, "depth": 2, "heads": 2}
LEARNS: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    ({"name": "neuron"}, DIGITS, {}),
    ({"name": "neuron"}, {"name": "breast_cancer"}, {"loss": {"name": "bce"}}),
    ({"name": "neuron", "activation": "tanh"}, {"name": "diabetes"}, {}),
    ({"name": "mlp", "activation": "sigmoid", "slope": 2.0, "norm": "layer"}, DIGITS, {}),
    ({"name": "cnn", "channels": 4, "norm": "group"}, DIGITS, {"loss": {"name": "focal"}}),
    ({"name": "lenet", "norm": "layer"}, DIGITS, {}),
    ({"name": "resnet", "depth": 20, "width": 0.25}, DIGITS, {"epochs": 2}),
    ({"name": "rnn", "hidden": 24}, DIGITS, {}),
    ({"name": "lstm", "hidden": 16, "bidirectional": True, "depth": 2, "dropout": 0.1}, DIGITS, {}),
    ({"name": "gru", "hidden": 24}, {"name": "adding", "samples": 300, "length": 6}, {"epochs": 20}),
    ({"name": "lstm", "hidden": 32}, {"name": "cycles"}, {"epochs": 8}),
    ({"name": "vit", "patch": 2, **TINY}, DIGITS, {}),
    ({"name": "vit_moe", "patch": 2, **TINY, "chosen": 2}, DIGITS, {"epochs": 2}),
    ({"name": "transformer_lm", **TINY}, {"name": "cycles", "vocabulary": 5}, {"epochs": 25}),
    ({"name": "grid_detector", "channels": 4, "depth": 2}, {"name": "shapes", "samples": 120, "size": 16}, {"epochs": 6}),
    ({"name": "encoder_decoder", **TINY}, {"name": "reversal", "length": 4, "vocabulary": 5}, {"epochs": 8}),
]


@pytest.mark.parametrize(("model", "dataset", "more"), LEARNS, ids=lambda part: part.get("name", ""))
def test_learns(model: dict[str, Any], dataset: dict[str, Any], more: dict[str, Any]) -> None:
    config = {"dataset": dataset, "model": model, "epochs": 4, "optimizer": {"lr": 0.01}} | more
    trial = RecordingTrial()
    loop.train(config, trial)
    losses = [values["train_loss"] for _, values in trial.reports]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("optimizer", ["newton_cg", "adahessian", "sophia"])
@pytest.mark.parametrize(
    ("model", "dataset"),
    [
        ({"name": "cnn", "channels": 2}, DIGITS),
        ({"name": "lstm", "hidden": 6}, DIGITS),
        ({"name": "vit_moe", "patch": 4, "dim": 8, "depth": 2, "heads": 2}, DIGITS),
        ({"name": "transformer_lm", "dim": 8, "depth": 1, "heads": 2}, {"name": "cycles", "samples": 50}),
        ({"name": "encoder_decoder", "dim": 8, "depth": 1, "heads": 2}, {"name": "reversal", "samples": 50}),
    ],
    ids=lambda part: part["name"],
)
def test_can_be_differentiated_twice(model: dict[str, Any], dataset: dict[str, Any], optimizer: str) -> None:
    config = {"dataset": dataset, "model": model, "optimizer": {"name": optimizer}, "epochs": 2, "batch_size": 256}
    trial = RecordingTrial()
    loop.train(config, trial)
    assert trial.reports[1][1]["train_loss"] < trial.reports[0][1]["train_loss"]


def test_every_model_learns_above() -> None:
    assert {model["name"] for model, _, _ in LEARNS} | {"vgg"} == set(models.names())


@pytest.mark.parametrize("depth", [11, 13, 16, 19])
def test_vgg_has_its_layers_and_learns(depth: int) -> None:
    torch.manual_seed(0)
    model = models.build("vgg", (3, 32, 32), 2, depth=depth, width=0.05)
    layers = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(layers) == depth - 3  # the paper counts three linear layers besides
    inputs, classes = torch.randn(16, 3, 32, 32), torch.arange(16) % 2
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs), classes)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0]


# Weights of the published networks with 1000 outputs (or 10 for the CIFAR kind).
@pytest.mark.parametrize(
    ("depth", "stem", "outputs", "count"),
    [
        (18, "large", 1000, 11_689_512),
        (34, "large", 1000, 21_797_672),
        (50, "large", 1000, 25_557_032),
        (20, "small", 10, 272_474),
        (56, "small", 10, 855_770),
    ],
)
def test_resnets_have_the_published_number_of_weights(depth: int, stem: str, outputs: int, count: int) -> None:
    with torch.device("meta"):
        model = models.build("resnet", (3, 64, 64), outputs, depth=depth, stem=stem)
    found = sum(p.numel() for p in model.parameters())
    # The CIFAR kind widens by a convolution here and by padding in the paper.
    assert found == count if stem == "large" else abs(found - count) < 4000


COUNTED: list[tuple[tuple[int, ...], dict[str, Any]]] = [
    ((1, 4, 3), {"name": "neuron"}),
    ((1, 4, 3), {"name": "mlp", "hidden": [5, 7], "depth": 3, "norm": "batch"}),
    ((7,), {"name": "mlp", "depth": 0}),
    ((2, 9, 12), {"name": "cnn", "channels": 3, "depth": 3}),
    ((1, 8, 8), {"name": "cnn", "norm": "none"}),
    ((3, 13, 8), {"name": "lenet", "width": 0.3}),
    ((1, 8, 8), {"name": "lenet", "norm": "group"}),
    *(((3, 32, 32), {"name": "vgg", "depth": depth, "width": 0.07}) for depth in (11, 13, 16, 19)),
    ((3, 32, 32), {"name": "vgg", "norm": "none"}),
    *(((3, 16, 16), {"name": "resnet", "depth": depth, "width": 0.1}) for depth in (18, 34, 50, 20, 32, 44, 56)),
    ((3, 64, 64), {"name": "resnet", "depth": 50, "stem": "large", "norm": "none"}),
    *(((6,), {"name": name, "hidden": 5, "depth": 2}) for name in ("rnn", "lstm", "gru")),
    *(((4, 3), {"name": name, "hidden": 5, "depth": 3, "bidirectional": True}) for name in ("rnn", "lstm", "gru")),
    *(((2, 4, 3), {"name": name, "hidden": 5}) for name in ("rnn", "lstm", "gru")),
    ((3, 8, 12), {"name": "vit", "dim": 12, "depth": 3, "ratio": 1.3}),
    ((1, 8, 8), {"name": "vit_moe", "dim": 8, "depth": 5, "experts": 3}),
    ((9,), {"name": "transformer_lm", "dim": 8, "depth": 3}),
    ((9, 10), {"name": "encoder_decoder", "dim": 8, "depth": 3}),
    ((3, 16, 24), {"name": "grid_detector", "channels": 4, "depth": 2}),
    ((3, 16, 16), {"name": "grid_detector", "norm": "none"}),
]


@pytest.mark.parametrize(("shape", "model"), COUNTED, ids=lambda part: part["name"] if isinstance(part, dict) else "")
def test_the_catalogue_counts_weights_as_torch_does(shape: tuple[int, ...], model: dict[str, Any]) -> None:
    given = {key: value for key, value in model.items() if key != "name"}
    with torch.device("meta"):
        built = models.build(model["name"], shape, 6, **given)
    complete = {"name": model["name"], **catalog.get("models", model["name"]).complete(given)}
    assert count_parameters(complete, shape, 6) == sum(p.numel() for p in built.parameters())


def test_every_model_is_counted_above() -> None:
    assert {model["name"] for _, model in COUNTED} == set(models.names())


def test_width_scales() -> None:
    sizes = [sum(p.numel() for p in models.build("lenet", (1, 8, 8), 10, width=w).parameters()) for w in (0.5, 1.0, 2.0)]
    assert sizes == sorted(sizes)
    assert sizes[2] > 3 * sizes[1]


def test_depth_repeats_the_last_width_of_an_mlp() -> None:
    model = models.build("mlp", (5,), 3, hidden=[16, 8], depth=4)
    assert [(m.in_features, m.out_features) for m in model.modules() if isinstance(m, nn.Linear)] == [
        (5, 16),
        (16, 8),
        (8, 8),
        (8, 8),
        (8, 3),
    ]


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "transformer_lm"])
def test_language_models_see_no_later_token(name: str) -> None:
    torch.manual_seed(0)
    model = models.build(name, (12,), 7).eval()
    tokens = torch.randint(7, (1, 12))
    changed = tokens.clone()
    changed[0, 8:] = (tokens[0, 8:] + 1) % 7
    assert torch.allclose(model(tokens)[:, :8], model(changed)[:, :8], atol=1e-6)
    assert not torch.allclose(model(tokens)[:, 8:], model(changed)[:, 8:], atol=1e-3)


def test_translation_sees_no_padding_and_no_later_word() -> None:
    torch.manual_seed(0)
    model = models.build("encoder_decoder", (6, 5), 9, dim=8, heads=2).eval()
    assert isinstance(model, EncoderDecoder)
    source, target = torch.tensor([[4, 5, 6, 0, 0, 0]]), torch.tensor([[1, 4, 5, 6, 7]])
    model.positions.data[3:] += 5.0  # what stands at padded places must not matter
    whole = model(torch.cat([source, target], 1))
    shorter = model.decode(target[:, :3], model.encode(source[:, :3]), source[:, :3] != 0)
    assert torch.allclose(whole[:, :3], shorter, atol=1e-5)


def test_translation_gets_better_by_bleu() -> None:
    trial = RecordingTrial()
    config = {
        "dataset": {"name": "reversal", "length": 4, "vocabulary": 5, "samples": 600},
        "model": {"name": "encoder_decoder", "dim": 32, "depth": 1},
        "optimizer": {"lr": 0.005},
        "epochs": 15,
    }
    values = loop.train(config, trial)
    assert values["val_bleu"] > 0.6 > trial.reports[0][1]["val_bleu"]
    assert values["val_perplexity"] < 2


def test_output_and_embedding_share_their_weights() -> None:
    model = models.build("transformer_lm", (8,), 20, dim=8, depth=1, heads=2)
    assert isinstance(model, TransformerLM)
    assert sum(p.numel() for p in model.parameters() if p.shape == (20, 8)) == 160


def test_experts_route_and_balance() -> None:
    torch.manual_seed(0)
    experts = Experts(8, 16, 0.0, 4, 2)
    x = torch.randn(3, 5, 8)
    with torch.no_grad():
        shares = experts.gate(x).softmax(-1)
        found = experts(x)
        wanted = torch.zeros_like(x)
        for i, j in ((i, j) for i in range(3) for j in range(5)):
            first, second = shares[i, j].argsort(descending=True)[:2].tolist()
            total = shares[i, j, first] + shares[i, j, second]
            for e in (first, second):
                wanted[i, j] += shares[i, j, e] / total * experts.experts[e](x[i, j])
    assert torch.allclose(found, wanted, atol=1e-6)
    experts.gate.weight.data.zero_()
    experts(x)
    assert experts.imbalance is not None
    assert float(experts.imbalance.detach()) == pytest.approx(1.0)  # uniform shares: the least there is


@pytest.mark.parametrize(
    ("name", "shape", "hyperparameters", "message"),
    [
        ("vgg", (1, 8, 8), {}, "vgg needs images of at least 32 pixels a side, not 8x8"),
        ("cnn", (5,), {}, r"cnn takes image samples, not ones of shape \[5\]"),
        ("vit", (1, 8, 8), {"patch": 3}, "model.patch: must divide the sides of images of 8x8, not 3"),
        ("vit", (1, 8, 8), {"dim": 10}, "model.dim: must be a multiple of model.heads, 4, not 10"),
        ("vit_moe", (1, 8, 8), {"chosen": 5}, "model.chosen: must be at most model.experts, 4, not 5"),
        ("cnn", (1, 8, 8), {"depth": 4}, "model.depth: must be at most 3 for images of 8x8, which each layer halves, not 4"),
        ("grid_detector", (3, 20, 20), {}, "model.depth: 3 needs images whose sides 8 divides, not 20x20"),
        ("transformer_lm", (2, 3), {}, "transformer_lm takes tokens samples"),
        (
            "lstm",
            (5,),
            {"bidirectional": True},
            "model.bidirectional: must be false for tokens, which would see their successors",
        ),
        ("mlp", (5,), {"slope": 2.0}, "model.slope: only the sigmoid has a slope, relu has none"),
        ("mlp", (5,), {"dropout": 1.5}, "dropout: must be a number of at least 0 and below 1, not 1.5"),
    ],
)
def test_what_does_not_fit_is_refused(name: str, shape: tuple[int, ...], hyperparameters: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        models.build(name, shape, 10, **hyperparameters)
