"""Normalization of convolutions by name: batch, layer (all channels together), group (eight channels and less), or none."""

from __future__ import annotations

import math

from torch import nn


def norm2d(name: str, channels: int) -> nn.Module:
    match name:
        case "batch":
            return nn.BatchNorm2d(channels)
        case "layer":
            return nn.GroupNorm(1, channels)
        case "group":
            return nn.GroupNorm(math.gcd(8, channels), channels)
    return nn.Identity()
