"""TrainerConfig: a trial's complete configuration as frozen values, nested with its components.

Parsing is `tuner.catalog.merge`: whatever is legal at submission is legal here, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import Any

from tuner import catalog


@dataclass(frozen=True, kw_only=True)
class Component:
    name: str
    hyperparameters: Mapping[str, Any]

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Component:
        given = {key: tuple(v) if isinstance(v, list) else v for key, v in raw.items() if key != "name"}
        return cls(name=raw["name"], hyperparameters=MappingProxyType(given))


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    dataset: Component
    model: Component
    optimizer: Component
    schedule: Component
    loss: Component
    initializer: Component
    regularizer: Component
    augmentation: Component
    epochs: int
    batch_size: int
    accumulate: int
    seed: int
    clip_norm: float | None
    clip_value: float | None
    ema: float | None
    decay_biases_and_norms: bool
    early_stopping: int | None
    checkpoint_every: int
    layer_gradients: bool
    precision: str
    compile: bool
    deterministic: bool | None
    threads: int
    parallel: None

    @classmethod
    def parse(cls, trainer: Mapping[str, Any], params: Mapping[str, Any], seed: int) -> TrainerConfig:
        """The base configuration with a trial's parameters set in it; `seed` serves where the configuration has none."""
        merged = catalog.merge(trainer, params)
        if merged["seed"] is None:
            merged["seed"] = seed
        parsed: dict[str, Any] = {key: Component.parse(v) if key in catalog.SECTIONS else v for key, v in merged.items()}
        return cls(**{field.name: parsed[field.name] for field in fields(cls)})
