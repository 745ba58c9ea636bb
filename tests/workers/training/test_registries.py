"""The catalogue and the trainer name the same techniques, with the same hyperparameters, and refuse the same mistakes."""

from __future__ import annotations

import inspect
from types import ModuleType

import pytest
import torch

from tuner import catalog
from tuner.errors import InvalidValue
from workers.training import (
    augmentations,
    datasets,
    initializers,
    losses,
    models,
    optimizers,
    regularizers,
    schedules,
)
from workers.training.models import activations

REGISTRIES = {
    "datasets": datasets,
    "models": models,
    "optimizers": optimizers,
    "schedules": schedules,
    "losses": losses,
    "initializers": initializers,
    "regularizers": regularizers,
    "augmentations": augmentations,
}
SUPPLIED = {"models": ("shape", "outputs"), "optimizers": ("params",), "schedules": ("optimizer",)}
ENTRIES = [(kind, name) for kind in REGISTRIES for name in catalog.names(kind)]


@pytest.mark.parametrize(("kind", "registry"), REGISTRIES.items())
def test_each_entry_has_a_builder_and_each_builder_an_entry(kind: str, registry: ModuleType) -> None:
    assert registry.names() == catalog.names(kind)


def test_the_sections_of_a_configuration_are_the_registries() -> None:
    assert set(catalog.SECTIONS.values()) == set(REGISTRIES)


# Builders of schedules take theirs as a group; test_schedules builds each with its defaults.
@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, name in ENTRIES if kind != "schedules"])
def test_builders_take_exactly_the_hyperparameters_of_their_entry(kind: str, name: str) -> None:
    builder = REGISTRIES[kind]._REGISTRY._builders[name]
    signature = inspect.signature(builder)
    taken = {p.name for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY}
    wanted = {h.name for h in catalog.get(kind, name).hyperparameters}
    needed = {p.name for p in signature.parameters.values() if p.kind is p.KEYWORD_ONLY and p.default is p.empty}
    assert needed <= wanted <= taken


def test_activations_are_those_of_the_catalogue() -> None:
    from tuner.catalog.models import ACTIVATIONS as LISTED

    assert tuple(activations.names()) == LISTED


@pytest.mark.parametrize(("kind", "registry"), REGISTRIES.items())
def test_an_unknown_name_tells_the_near_ones(kind: str, registry: ModuleType) -> None:
    name = catalog.names(kind)[-1]
    with pytest.raises(InvalidValue, match=f"there is no .* did you mean .*{name}"):
        registry.build(name + "x", *[None] * len(SUPPLIED.get(kind, ())))


def test_optimizers_are_built_as_the_contract_says() -> None:
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = optimizers.build("rmsprop", [weight], lr=0.01, rho=0.9, eps_inside=True)
    weight.sum().backward()
    optimizer.step()
    assert weight[0] < 1
    optimizer.zero_grad()
    optimizer.load_state_dict(optimizer.state_dict())
    with pytest.raises(InvalidValue, match=r"no hyperparameter 'mometum'; did you mean momentum\?"):
        optimizers.build("rmsprop", [weight], mometum=0.9)
    with pytest.raises(InvalidValue, match="lr: must be a number above 0, not -1"):
        optimizers.build("adam", [weight], lr=-1)


def test_weight_decay_spares_biases_and_norms() -> None:
    model = models.build("mlp", (4,), 2, norm="batch")
    decayed, spared = optimizers.groups(model, all_decay=False)
    assert {p.ndim for p in decayed["params"]} == {2}
    assert {p.ndim for p in spared["params"]} == {1}
    assert spared["weight_decay"] == 0.0
    (everything,) = optimizers.groups(model, all_decay=True)
    assert len(everything["params"]) == len(list(model.parameters()))
