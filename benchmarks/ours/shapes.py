"""How much of an epoch's batches is padding: arithmetic on the lengths of all training texts."""

from __future__ import annotations

from benchmarks import flops, processes


def measure(gin_file: str, bindings: list[str], cache: str) -> dict:
    """The share of padding, filler rows of short batches included, the shapes and the batches."""
    from sentiment_train.assembly import Assembly

    assembly = Assembly(flops.experiment_of(gin_file, bindings), cache)
    lengths = assembly.data.splits["train"].lengths[assembly.trained_rows]
    shapes = assembly.buckets
    return {
        "padding": shapes.padding_share(lengths),
        "shapes": len(getattr(shapes, "lengths", ())),
        "batches": shapes.batches_per_epoch(lengths),
        "mean_length": float(lengths.mean()),
        "longest": int(lengths.max()),
    }


if __name__ == "__main__":
    processes.answer(measure)
