"""What the trainer costs: the share of a short trial's time that goes into training steps, and its speed beside a plain PyTorch script.

The first is measured from outside, on trials of the contract's example that run one after the other in a warm trial process: from
handing over the assignment to the word that the trial has ended, checkpoints written to disk included. The second sets the trainer's
epochs beside those of scripts written out below, in turn, on the same data, model, optimizer and order of magnitude of everything else;
the trainer measures the norm of every fourth gradient besides, which the scripts do not. Evaluation is in neither side's time.

    python -m benchmarks.training [--trials 15] [--rounds 40]
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.machine import describe
from tuner.wire import LeasedTrial, Tell
from workers.engines.local import LocalPlace
from workers.pipe import Assignment, Message
from workers.slots import Slot
from workers.training import datasets, loop
from workers.training.config import TrainerConfig

EXAMPLE: dict[str, Any] = {
    "dataset": {"name": "digits"},
    "model": {"name": "mlp", "hidden": [64], "activation": "relu", "dropout": 0.0, "depth": 2},
    "optimizer": {"name": "adam", "lr": 1.0e-3},
    "schedule": {"name": "constant"},
    "loss": {"name": "cross_entropy"},
    "epochs": 20,
    "batch_size": 32,
    "seed": 0,
}
"""The trainer's configuration in the documentation of study files."""


# --- a trial in a warm process ----------------------------------------------------------------------------------------------


def measure_share(device: str, trials: int) -> tuple[float, float, float]:
    """Medians over trials: the share of wall time in training steps, milliseconds of a trial, and of its steps."""
    found = []
    place = LocalPlace(Slot(index=0, gpu="0" if device == "cuda" else None))
    try:
        for number in range(trials + 1):
            with tempfile.TemporaryDirectory(prefix="tuner-bench-") as scratch:
                found.append(run_trial(place, number, device, Path(scratch)))
    finally:
        place.close()
    shares, walls, steps = zip(*((steps / wall, wall, steps) for wall, steps in found[1:]), strict=True)  # the first warms up
    return statistics.median(shares), 1000 * statistics.median(walls), 1000 * statistics.median(steps)


def run_trial(place: LocalPlace, number: int, device: str, scratch: Path) -> tuple[float, float]:
    """Seconds of wall time of a trial of the example, and of its training steps."""
    messages: queue.SimpleQueue[Message] = queue.SimpleQueue()
    leased = LeasedTrial(
        id=number,
        number=number,
        study="bench",
        study_id=1,
        params={},
        seed=number,
        executor="trainer",
        config={"executor": "trainer", "trainer": EXAMPLE},
        objectives=["val_accuracy"],
    )
    assigned = Assignment(lease=f"lease-{number}", trial=leased, scratch=scratch, device="cuda:0" if device == "cuda" else device)
    began = time.perf_counter()
    place.assign(assigned, messages.put)
    while (message := messages.get(timeout=120))["kind"] not in ("end", "exit"):
        pass
    wall = time.perf_counter() - began
    assert message["kind"] == "end", message
    told = Tell.model_validate_json(message["tell"])
    assert told.state == "COMPLETE", told.error
    count = len(load_digits("cpu").train) * EXAMPLE["epochs"]
    return wall, count / told.user_attrs["samples_per_second"]


# --- beside a plain script --------------------------------------------------------------------------------------------------


def load_digits(device: str) -> datasets.Dataset:
    return datasets.load(TrainerConfig.parse(EXAMPLE, {}, 0).dataset, torch.device(device), torch.float32)


def plain_mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def plain_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


class Script:
    """Training as a script does it without a framework, `fused` with Adam's fused kernel instead of torch's default."""

    def __init__(self, model: nn.Module, batch_size: int, device: str, *, fused: bool) -> None:
        part = load_digits(device).train
        self.inputs, self.targets = part.inputs, part.targets
        self.batch_size = batch_size
        self.model = model.to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3, fused=fused or None)
        self.loss = nn.CrossEntropyLoss()

    def epoch(self, number: int) -> float:
        """One pass over the training set; its mean loss."""
        torch.use_deterministic_algorithms(False)
        model, optimizer = self.model, self.optimizer
        model.train()
        total = 0.0
        order = torch.randperm(len(self.inputs), device=self.inputs.device)
        for batch in order.split(self.batch_size):
            optimizer.zero_grad()
            loss = self.loss(model(self.inputs[batch]), self.targets[batch])
            loss.backward()
            optimizer.step()
            total += loss.detach() * len(batch)
        return float(total) / len(self.inputs)


class Trainer:
    """The same by the trainer, with its defaults: on a CPU it repeats bit for bit."""

    def __init__(self, model: dict[str, Any], batch_size: int, device: str) -> None:
        config = {**EXAMPLE, "model": model, "batch_size": batch_size, "epochs": 1_000_000}
        self.config, self.device = TrainerConfig.parse(config, {}, 0), torch.device(device)
        self.run = loop.start(self.config, self.device)

    def epoch(self, number: int) -> float:
        loop.set_determinism(self.config, self.device)
        return loop.train_epoch(self.run, number)["train_loss"]


@dataclass
class Side:
    """One of those that train in turn, and the seconds of its epochs."""

    name: str
    epoch: Callable[[int], float]
    walls: list[float] = field(default_factory=list)
    cpus: list[float] = field(default_factory=list)


def race(sides: list[Side], rounds: int) -> None:
    """Epochs in turn, each round beginning with another side; the first two warm up."""
    for number in range(rounds + 2):
        for side in sides[number % len(sides) :] + sides[: number % len(sides)]:
            cpu, began = time.process_time(), time.perf_counter()
            loss = side.epoch(number)
            if number >= 2:
                side.walls.append(time.perf_counter() - began)
                side.cpus.append(time.process_time() - cpu)
            assert loss < 2.5, f"{side.name} does not learn: {loss}"


def compare(name: str, model: dict[str, Any], plain: Callable[[], nn.Module], batch_size: int, device: str, rounds: int) -> str:
    """A row of the table."""
    sides = [
        Side("trainer", Trainer(model, batch_size, device).epoch),
        Side("script", Script(plain(), batch_size, device, fused=False).epoch),
        Side("fused script", Script(plain(), batch_size, device, fused=True).epoch),
    ]
    race(sides, rounds)
    count = len(load_digits(device).train)
    rates = [count / statistics.median(side.walls) for side in sides]
    # Of epochs of the same round, so that a noisy minute weighs on both.
    walls, cpus = (
        [
            statistics.median(a / b for a, b in zip(getattr(other, kind), getattr(sides[0], kind), strict=True))
            for other in sides[1:]
        ]
        for kind in ("walls", "cpus")
    )
    print(
        json.dumps({"training": name, "device": device, "samples_per_second": [round(r) for r in rates], "ratios": walls}),
        flush=True,
    )
    return (
        f"| {name}, batch {batch_size}, {device} | {rates[0]:,.0f} | {rates[1]:,.0f} | **{walls[0]:.2f}** ({cpus[0]:.2f}) "
        f"| {rates[2]:,.0f} | **{walls[1]:.2f}** ({cpus[1]:.2f}) |"
    )


def main(arguments: list[str] | None = None) -> str:
    """Run the benchmark and return its tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=40)
    options = parser.parse_args(arguments)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    gpu = f", {torch.cuda.get_device_name()}" if "cuda" in devices else ", no GPU"
    lines = [
        f"{describe()}{gpu}, torch {torch.__version__}, one thread; medians of {options.trials} trials and {options.rounds} rounds",
        "",
        "| a trial of 20 epochs of a digits MLP in a warm process | whole | in training steps | share |",
        "|---|---|---|---|",
    ]
    for device in devices:
        share, wall, steps = measure_share(device, options.trials)
        lines.append(f"| {device} | {wall:.0f} ms | {steps:.0f} ms | **{100 * share:.0f} %** |")
    lines += [
        "",
        "Samples per second while training; ratio: the trainer's over the script's, by wall time (by CPU time)",
        "",
        "| digits | trainer | plain script | ratio | plain script, fused Adam | ratio |",
        "|---|---|---|---|---|---|",
    ]
    for device in devices:
        lines.append(compare("MLP 64-64-64-10", EXAMPLE["model"], plain_mlp, 32, device, options.rounds))
        lines.append(compare("CNN 16-32", {"name": "cnn"}, plain_cnn, 32, device, options.rounds))
    return "\n".join(lines)


if __name__ == "__main__":
    print(main())
