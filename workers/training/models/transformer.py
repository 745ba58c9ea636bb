"""Transformers: a causal language model, a vision transformer (with a mixture of experts if wanted), an encoder-decoder.

Blocks normalize first and add. Weakness: the mixture computes every expert for every token and weighs the chosen ones, which
shows how routing trains but saves no arithmetic.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuner.catalog.models import scaled

INIT_STD = 0.02


class Attention(nn.Module):
    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.query, self.key_value, self.out = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)

    def forward(self, x: Tensor, context: Tensor, *, causal: bool, mask: Tensor | None = None) -> Tensor:
        """`mask` [samples, keys] is true where there is something to attend to."""
        q = self._split(self.query(x))
        k, v = (self._split(part) for part in self.key_value(context).chunk(2, -1))
        attended = functional.scaled_dot_product_attention(
            q,
            k,
            v,
            attn_mask=None if mask is None else mask[:, None, None, :],
            dropout_p=self.dropout if self.training else 0.0,
            is_causal=causal,
        )
        result: Tensor = self.out(attended.transpose(1, 2).flatten(2))
        return result

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # type: ignore[no-untyped-call,no-any-return]


class FeedForward(nn.Sequential):
    def __init__(self, dim: int, hidden: int, dropout: float) -> None:
        super().__init__(nn.Linear(dim, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, dim))


class Experts(nn.Module):
    """A gate chooses `chosen` of the experts for each token. `imbalance` of the last call is least when all are used alike."""

    def __init__(self, dim: int, hidden: int, dropout: float, experts: int, chosen: int) -> None:
        super().__init__()
        self.gate = nn.Linear(dim, experts, bias=False)
        self.experts = nn.ModuleList(FeedForward(dim, hidden, dropout) for _ in range(experts))
        self.chosen = chosen
        self.imbalance: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        shares = self.gate(x).softmax(-1)
        top = shares.topk(self.chosen, -1)
        weights = torch.zeros_like(shares).scatter(-1, top.indices, top.values / top.values.sum(-1, keepdim=True))
        used = (weights > 0).to(x.dtype).flatten(0, -2).mean(0) / self.chosen
        self.imbalance = len(self.experts) * (used * shares.flatten(0, -2).mean(0)).sum()
        results = torch.stack([expert(x) for expert in self.experts], -1)
        return (results * weights[..., None, :]).sum(-1)


class Block(nn.Module):
    def __init__(self, dim: int, heads: int, feed_forward: nn.Module, dropout: float, *, crossed: bool = False) -> None:
        super().__init__()
        self.attention = Attention(dim, heads, dropout)
        self.crossed = Attention(dim, heads, dropout) if crossed else None
        self.feed_forward = feed_forward
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(3 if crossed else 2))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, *, causal: bool = False, mask: Tensor | None = None, context: Tensor | None = None) -> Tensor:
        """`mask` is of the context where there is one, else of x itself."""
        normed = self.norms[0](x)
        own_mask = None if context is not None else mask
        x = x + self.dropout(self.attention(normed, normed, causal=causal, mask=own_mask))
        if self.crossed is not None and context is not None:
            x = x + self.dropout(self.crossed(self.norms[2](x), context, causal=False, mask=mask))
        result: Tensor = x + self.dropout(self.feed_forward(self.norms[1](x)))
        return result


def _block(dim: int, heads: int, ratio: float, dropout: float, *, crossed: bool = False) -> Block:
    return Block(dim, heads, FeedForward(dim, scaled(dim, ratio), dropout), dropout, crossed=crossed)


def _positions(count: int, dim: int) -> nn.Parameter:
    return nn.Parameter(INIT_STD * torch.randn(count, dim))


class TransformerLM(nn.Module):
    """Predicts each next token; the output layer shares its weights with the embedding."""

    def __init__(
        self, shape: tuple[int, ...], outputs: int, *, dim: int, depth: int, heads: int, ratio: float, dropout: float
    ) -> None:
        super().__init__()
        self.embedding = nn.Embedding(outputs, dim)
        nn.init.normal_(self.embedding.weight, std=INIT_STD)
        self.positions = _positions(shape[0], dim)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(_block(dim, heads, ratio, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.dropout(self.embedding(tokens) + self.positions[: tokens.shape[1]])
        for block in self.blocks:
            x = block(x, causal=True)
        return functional.linear(self.norm(x), self.embedding.weight)


class ViT(nn.Module):
    """Patches as tokens, the mean over them classified; with `experts`, every second block routes among them."""

    def __init__(
        self,
        shape: tuple[int, ...],
        outputs: int,
        *,
        patch: int,
        dim: int,
        depth: int,
        heads: int,
        ratio: float,
        dropout: float,
        experts: int = 1,
        chosen: int = 1,
        balance: float = 0.0,
    ) -> None:
        super().__init__()
        channels, height, width = shape
        self.balance = balance
        self.patches = nn.Conv2d(channels, dim, patch, patch)
        self.positions = _positions((height // patch) * (width // patch), dim)
        self.dropout = nn.Dropout(dropout)
        hidden = scaled(dim, ratio)
        self.blocks = nn.ModuleList(
            Block(dim, heads, Experts(dim, hidden, dropout, experts, chosen), dropout)
            if experts > 1 and i % 2 == 1
            else _block(dim, heads, ratio, dropout)
            for i in range(depth)
        )
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, outputs)

    def forward(self, images: Tensor) -> Tensor:
        x = self.dropout(self.patches(images).flatten(2).transpose(1, 2) + self.positions)
        for block in self.blocks:
            x = block(x)
        result: Tensor = self.head(self.norm(x).mean(1))
        return result

    def auxiliary_loss(self) -> Tensor | None:
        """What the loop adds to the training loss after a forward pass: how unevenly the experts were used."""
        found = [m.imbalance for m in self.modules() if isinstance(m, Experts) and m.imbalance is not None]
        return self.balance * torch.stack(found).mean() if found else None


class EncoderDecoder(nn.Module):
    """Translates: inputs are source and target tokens side by side, `shape` their two lengths; token 0 is padding."""

    def __init__(
        self, shape: tuple[int, ...], outputs: int, *, dim: int, depth: int, heads: int, ratio: float, dropout: float
    ) -> None:
        super().__init__()
        self.source_length = shape[0]
        self.embedding = nn.Embedding(outputs, dim)
        nn.init.normal_(self.embedding.weight, std=INIT_STD)
        self.positions = _positions(max(shape), dim)
        self.dropout = nn.Dropout(dropout)
        self.encoder = nn.ModuleList(_block(dim, heads, ratio, dropout) for _ in range(depth))
        self.decoder = nn.ModuleList(_block(dim, heads, ratio, dropout, crossed=True) for _ in range(depth))
        self.norms = nn.ModuleList(nn.LayerNorm(dim) for _ in range(2))

    def forward(self, tokens: Tensor) -> Tensor:
        source, target = tokens[:, : self.source_length], tokens[:, self.source_length :]
        return self.decode(target, self.encode(source), source != 0)

    def encode(self, source: Tensor) -> Tensor:
        x = self._embed(source)
        for block in self.encoder:
            x = block(x, mask=source != 0)
        result: Tensor = self.norms[0](x)
        return result

    def decode(self, target: Tensor, encoded: Tensor, mask: Tensor) -> Tensor:
        x = self._embed(target)
        for block in self.decoder:
            x = block(x, causal=True, context=encoded, mask=mask)
        return functional.linear(self.norms[1](x), self.embedding.weight)

    def _embed(self, tokens: Tensor) -> Tensor:
        result: Tensor = self.dropout(self.embedding(tokens) + self.positions[: tokens.shape[1]])
        return result
