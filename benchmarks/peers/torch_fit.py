"""The same model and the same batches in PyTorch.

packed: `pack_padded_sequence`, what PyTorch has for rows of different lengths.
padded: the layers run over the padding, too; the state is taken at the end of each row, and the
  backward direction reads rows that were turned around by their length. It gives the same numbers,
  and for an LSTM it is what oneDNN computes as a whole, which it does not for packed rows.

The batches lie ready in memory as tensors. PyTorch takes as many threads as there are cores.
"""

from __future__ import annotations

import itertools
import time

from benchmarks import processes
from benchmarks.peers.batches import Batches


def measure(
    batches: str, model: dict, learning_rate: float, way: str, one_of: int | None = None
) -> dict:
    """Trains all epochs.

    Args:
      batches, model: as in `keras_fit.measure`.
      way: packed | padded.
      one_of: train on one batch of so many (by length, from the middle of each so many), and one
        epoch, after one update that is not counted.

    Returns:
      The seconds and the mean loss of each epoch, the threads that PyTorch has taken, and of the
      last epoch the `examples` and `tokens`.
    """
    import torch

    given = Batches(batches)
    network = build(**model, way=way)
    network.take(given.weights)
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(trained, learning_rate, eps=1e-7, fused=True)
    tensors = [
        [{name: torch.from_numpy(array).long() for name, array in batch.items()} for batch in epoch]
        for epoch in map(given.epoch, range(given.epochs))
    ]
    if one_of is not None:
        by_length = sorted(tensors[0], key=lambda batch: batch["tokens"].shape[1])
        kept = by_length[one_of // 2 :: one_of] or by_length[:1]
        tensors = [kept[:1], kept]
    seconds, losses = [], []
    for epoch in tensors:
        began, total, rows = time.monotonic(), 0.0, 0
        for batch in epoch:
            optimizer.zero_grad()
            logits = network(batch["tokens"], batch["lengths"])
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                logits, batch["labels"].float()
            )
            loss.backward()
            optimizer.step()
            total, rows = total + loss.item() * len(logits), rows + len(logits)
        seconds.append(time.monotonic() - began)
        losses.append(total / rows)
    if one_of is not None:
        seconds, losses = seconds[1:], losses[1:]
    return {
        "epoch_seconds": seconds,
        "losses": losses,
        "threads": torch.get_num_threads(),
        "examples": sum(len(batch["labels"]) for batch in tensors[-1]),
        "tokens": sum(int(batch["lengths"].sum()) for batch in tensors[-1]),
    }


def build(
    vocabulary: int,
    embedding_size: int,
    cell: str,
    units: int,
    bidirectional: bool,
    dense_units,
    way: str,
):  # fmt: skip
    """A module: tokens `[batch, length] int64`, lengths `[batch] int64` → logits `[batch]`."""
    from torch import nn

    kind = {"gru": nn.GRU, "lstm": nn.LSTM}[cell]
    directions = 1 + bidirectional

    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(vocabulary, embedding_size)
            if way == "packed":
                both = kind(embedding_size, units, batch_first=True, bidirectional=bidirectional)
                self.layers = nn.ModuleList([both])
            else:
                one = [kind(embedding_size, units, batch_first=True) for _ in range(directions)]
                self.layers = nn.ModuleList(one)
            sizes = [units * directions, *dense_units, 1]
            self.dense = nn.ModuleList(itertools.starmap(nn.Linear, itertools.pairwise(sizes)))

        def forward(self, tokens, lengths):
            vectors = self.embedding(tokens)  # [batch, length, embedding_size]
            x = (_packed if way == "packed" else _padded)(self.layers, vectors, lengths)
            for layer in self.dense[:-1]:
                x = nn.functional.relu(layer(x))
            return self.dense[-1](x)[:, 0]

        def take(self, weights):
            _take(self, cell, weights)

    return Classifier()


def _packed(layers, vectors, lengths):
    """The states after the last token and, backward, after the first: `[batch, features]`."""
    import torch

    rows = torch.nn.utils.rnn.pack_padded_sequence(
        vectors, lengths, batch_first=True, enforce_sorted=False
    )
    _, states = layers[0](rows)
    hidden = states[0] if isinstance(states, tuple) else states  # [directions, batch, units]
    return torch.cat(list(hidden), dim=1)


def _padded(layers, vectors, lengths):
    """The same."""
    import torch

    rows = torch.arange(len(lengths))
    ends = []
    for backward, layer in enumerate(layers):
        if backward:
            places = torch.arange(vectors.shape[1])[None, :]
            turned = torch.where(places < lengths[:, None], lengths[:, None] - 1 - places, places)
            vectors = vectors[rows[:, None], turned]
        states, _ = layer(vectors)  # [batch, length, units]
        ends.append(states[rows, lengths - 1])
    return torch.cat(ends, dim=1)


def _take(network, cell: str, weights) -> None:
    """Weights as Keras lays them out: `[features, gates · units]`, and of a GRU z, r, h.

    An LSTM of Keras has one bias where PyTorch has two: the second one is zero and stays so.
    """
    import numpy as np
    import torch

    def gates(array):  # [gates · units, …], in the order of PyTorch
        parts = np.split(array, 3 if cell == "gru" else 4)
        return np.concatenate([parts[1], parts[0], parts[2]]) if cell == "gru" else array

    def put(parameter, array):
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(array)))

    weights = iter(weights)
    put(network.embedding.weight, next(weights))
    for layer in network.layers:
        suffixes = ("", "_reverse") if layer.bidirectional else ("",)
        for suffix in suffixes:
            kernel, recurrent_kernel, bias = next(weights), next(weights), next(weights)
            own = {name: getattr(layer, f"{name}_l0{suffix}") for name in _PARAMETERS}
            put(own["weight_ih"], gates(kernel.T))
            put(own["weight_hh"], gates(recurrent_kernel.T))
            put(own["bias_ih"], gates(bias[0] if cell == "gru" else bias))
            put(own["bias_hh"], gates(bias[1]) if cell == "gru" else np.zeros_like(bias))
            own["bias_hh"].requires_grad_(cell == "gru")
    for layer in network.dense:
        put(layer.weight, next(weights).T)
        put(layer.bias, next(weights))


_PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


if __name__ == "__main__":
    processes.answer(measure)
