"""How fast a function of texts answers, measured in the same way for everyone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

BATCH = 64


def of_calls(answer: Callable[[list[bytes]], Sequence[float]], texts: Sequence[str]) -> dict:
    """Calls `answer` with each of the first 64 texts alone, then with all of them, 64 at a time.

    Everything is done once before it is timed, so whatever is built for a shape is built.

    Args:
      answer: up to 64 texts → a probability of each.

    Returns:
      `latency_seconds`, the median of the single texts; `texts_per_second`; `probabilities` of the
      first 64.
    """
    encoded = [text.encode("utf-8", "replace") for text in texts]
    singles = [encoded[i : i + 1] for i in range(min(BATCH, len(encoded)))]
    batches = [encoded[i : i + BATCH] for i in range(0, len(encoded), BATCH)]
    for text in singles:
        answer(text)
    latencies = []
    for text in singles:
        began = time.perf_counter()
        answer(text)
        latencies.append(time.perf_counter() - began)
    first, *_ = [answer(batch) for batch in batches]
    began = time.perf_counter()
    for batch in batches:
        answer(batch)
    seconds = time.perf_counter() - began
    return {
        "latency_seconds": statistics.median(latencies),
        "texts_per_second": len(texts) / seconds,
        "probabilities": [float(probability) for probability in first],
    }
