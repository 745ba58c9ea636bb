"""Recurrent networks over sequences of numbers, the rows of an image, or tokens.

Of a sequence or an image the last state gives the outputs; of tokens each state predicts the next token. A shape of one
dimension means tokens, and the outputs are then the vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

CELLS: dict[str, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class Recurrent(nn.Module):
    def __init__(
        self,
        cell: str,
        shape: tuple[int, ...],
        outputs: int,
        *,
        hidden: int,
        depth: int,
        dropout: float,
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        self.takes_tokens = len(shape) == 1
        self.embedding = nn.Embedding(outputs, hidden) if self.takes_tokens else None
        features = hidden if self.takes_tokens else shape[-1] * (shape[0] if len(shape) == 3 else 1)
        self.layers = CELLS[cell](
            features,
            hidden,
            depth,
            batch_first=True,
            dropout=dropout if depth > 1 else 0.0,
            bidirectional=bidirectional,
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(hidden * (2 if self.layers.bidirectional else 1), outputs)

    def forward(self, x: Tensor) -> Tensor:
        if self.embedding is not None:
            x = self.embedding(x)
        elif x.ndim == 4:
            x = x.transpose(1, 2).flatten(2)  # [samples, rows, channels * columns]
        states = self._states(x)
        if not self.takes_tokens:
            # Backwards in time the last state is the one at the first row.
            size = self.layers.hidden_size
            states = _both_ends(states, size) if self.layers.bidirectional else states[:, -1]
        result: Tensor = self.head(self.dropout(states))
        return result

    def _states(self, x: Tensor) -> Tensor:
        """In float32 where a CPU is to mix precisions: few CPUs have an LSTM of bfloat16 or float16."""
        if x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                exact: Tensor = self.layers(x.float())[0]
                return exact
        states: Tensor = self.layers(x)[0]
        return states


def _both_ends(states: Tensor, size: int) -> Tensor:
    return torch.cat([states[:, -1, :size], states[:, 0, size:]], 1)
