"""The batches that a run of ours will train on, and the weights that it will begin with."""

from __future__ import annotations

from benchmarks import flops, processes


def measure(gin_file: str, bindings: list[str], cache: str, epochs: int, output: str) -> dict:
    """Writes a `.npz` of arrays:

    * `weights/000` …: fresh weights in the order of the layers, as Keras lays them out.
    * `0/000/tokens` `[rows, length] int32`, `0/000/lengths` `[rows] int32`, `0/000/labels`
      `[rows] int32`: the first batch of the first epoch, and so on. Rows that only fill up a batch
      are left out: others need not compute them.

    Returns:
      The number of examples, batches and real tokens of an epoch, and of parameters.
    """
    import numpy as np

    from sentiment_train.assembly import Assembly

    assembly = Assembly(flops.experiment_of(gin_file, bindings), cache)
    arrays = {f"weights/{i:03d}": w.numpy() for i, w in enumerate(assembly.model.weights)}
    train = assembly.data.splits["train"]
    for epoch in range(epochs):
        planned = assembly.feeding.order(epoch)
        for i, batch in enumerate(assembly.feeding.read_split(train, planned)):
            kept = np.flatnonzero(batch.weights.numpy())
            here = {**batch.features, "labels": batch.labels}
            arrays |= {f"{epoch}/{i:03d}/{k}": v.numpy()[kept] for k, v in here.items()}
    np.savez(output, **arrays)
    return {
        "examples": len(train),
        "batches": len(planned),
        "tokens": int(train.lengths.sum()),
        "parameters": assembly.model.count_params(),
    }


if __name__ == "__main__":
    processes.answer(measure)
