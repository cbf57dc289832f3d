"""The batches that a run of ours will train on, and the weights that it will begin with."""

from __future__ import annotations

from benchmarks import flops, processes
from benchmarks.ours.updates import sample


def measure(
    gin_file: str, bindings: list[str], cache: str, epochs: int, one_of: int, output: str
) -> dict:
    """Writes a `.npz` of arrays:

    * `weights/000` …: fresh weights in the order of the layers, as Keras lays them out.
    * `0/000/tokens` `[rows, length] int32`, `0/000/lengths` `[rows] int32`, `0/000/labels`
      `[rows] int32`: the first batch of the first epoch, and so on. Rows that only fill up a batch
      are left out: others need not compute them.

    Args:
      one_of: so many batches one is taken; see `updates.sample`.

    Returns:
      The number of examples, batches and real tokens that are taken of the last epoch, the share of
      padding, and the number of parameters.
    """
    import numpy as np

    from sentiment_train.assembly import Assembly

    assembly = Assembly(flops.experiment_of(gin_file, bindings), cache)
    arrays = {f"weights/{i:03d}": w.numpy() for i, w in enumerate(assembly.model.weights)}
    train = assembly.data.splits["train"]
    for epoch in range(epochs):
        planned = sample(assembly.feeding.order(epoch), one_of)
        for i, batch in enumerate(assembly.feeding.read_split(train, planned)):
            kept = np.flatnonzero(batch.weights.numpy())
            here = {**batch.features, "labels": batch.labels}
            arrays |= {f"{epoch}/{i:03d}/{k}": v.numpy()[kept] for k, v in here.items()}
    np.savez(output, **arrays)
    return {
        "examples": sum(batch.examples for batch in planned),
        "batches": len(planned),
        "tokens": sum(batch.tokens for batch in planned),
        "padding": 1 - sum(b.tokens for b in planned) / sum(b.places for b in planned),
        "parameters": assembly.model.count_params(),
    }


if __name__ == "__main__":
    processes.answer(measure)
