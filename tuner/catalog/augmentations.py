"""The augmentations of the catalogue: random changes of training images that leave their class alone."""

from __future__ import annotations

from dataclasses import dataclass

from tuner.catalog.entries import Entry, Hyperparameter, integer, number


@dataclass(frozen=True, kw_only=True)
class AugmentationFacts:
    samples: tuple[str, ...] | None
    """Kinds of samples it can change; None: any."""


AugmentationEntry = Entry[AugmentationFacts]
_FLIP = number("flip", 0.5, 0, 1, summary="chance to be mirrored left to right")
_SHIFT = integer("shift", 4, 0, 1024, summary="pixels a picture may move either way; what comes in is 0")


def _entry(
    name: str,
    summary: str,
    when_to_use: str,
    source: str,
    *hyperparameters: Hyperparameter,
    samples: tuple[str, ...] | None = ("image",),
) -> AugmentationEntry:
    return Entry(
        kind="augmentations",
        name=name,
        summary=summary,
        when_to_use=when_to_use,
        source=source,
        hyperparameters=hyperparameters,
        facts=AugmentationFacts(samples=samples),
    )


ENTRIES: tuple[AugmentationEntry, ...] = (
    _entry("none", "Samples as they are.", "By default.", "x", samples=None),
    _entry(
        "flip",
        "Mirror left to right at random.",
        "Pictures whose mirror image is as likely; not digits.",
        "x or its mirror",
        _FLIP,
    ),
    _entry(
        "shift", "Move by a random number of pixels.", "Small pictures, digits too.", "zero padding and a random crop", _SHIFT
    ),
    _entry("flip_shift", "Both: the usual for CIFAR.", "Small pictures.", "He et al. 2016, section 4.2", _FLIP, _SHIFT),
    _entry(
        "noise",
        "Add normal noise.",
        "Tables and pictures; standardized data, so the deviation is in units of the data's own.",
        "x + std n",
        number("std", 0.1, 0, log=True, summary="deviation of the noise"),
        samples=("vector", "image", "sequence", "scene"),
    ),
)
