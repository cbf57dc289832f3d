"""The fastest that this machine multiplies: large float32 matrices, all cores, nothing else."""

from __future__ import annotations

import time

from benchmarks import processes


def measure(size: int = 3072, repeats: int = 4) -> dict:
    """GFLOP/s of the better of NumPy's and TensorFlow's matrix product of `size`².

    The best of `repeats`, after one that is not counted: this is the limit, not what is usual.
    """
    import numpy as np
    import tensorflow as tf

    a, b = np.random.default_rng(0).normal(size=(2, size, size)).astype(np.float32)
    c, d = tf.constant(a), tf.constant(b)
    products = {"numpy": lambda: a @ b, "tensorflow": lambda: tf.matmul(c, d)[0, 0].numpy()}
    best = {}
    for name, product in products.items():
        product()
        seconds = []
        for _ in range(repeats):
            began = time.perf_counter()
            product()
            seconds.append(time.perf_counter() - began)
        best[name] = 2 * size**3 / min(seconds) / 1e9
    return {"gflops": max(best.values()), **{f"{name}_gflops": best[name] for name in best}}


if __name__ == "__main__":
    processes.answer(measure)
