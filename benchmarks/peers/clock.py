"""How fast a function of texts answers, measured in the same way for everyone."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

BATCH = 64


def of_calls(
    answer: Callable[[list[bytes]], Sequence[float]],
    texts: Sequence[str],
    answer_all: Callable[[list[bytes]], Sequence[float]] | None = None,
) -> dict:
    """Calls `answer` with each of the first 64 texts alone, then with all of them, 64 at a time.

    Everything is done once before it is timed, so whatever is built for a shape is built.

    Args:
      answer: up to 64 texts → a probability of each.
      answer_all: all texts → a probability of each, if there is a way of its own for it.

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

    def all_of_them() -> list[float]:
        if answer_all is not None:
            return list(answer_all(encoded))
        return [probability for batch in batches for probability in answer(batch)]

    first = all_of_them()[:BATCH]
    began = time.perf_counter()
    all_of_them()
    seconds = time.perf_counter() - began
    return {
        "latency_seconds": statistics.median(latencies),
        "texts_per_second": len(texts) / seconds,
        "probabilities": [float(probability) for probability in first],
    }
