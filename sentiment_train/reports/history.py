"""`metrics.jsonl` read again: what was measured at which step."""

from __future__ import annotations

import json
import math
from collections import defaultdict

Points = list[tuple[int, float]]


def read_history(lines: str) -> dict[str, Points]:
    """The points of each tag, such as `validation/loss`, in the order of the steps.

    A line that was cut off by the end of its process is left out, and so are values that no
    picture can show (not finite).
    """
    points = defaultdict(list)
    for line in lines.splitlines():
        try:
            values = json.loads(line)
        except ValueError:
            continue
        step = values.pop("step")
        for tag, value in values.items():
            if math.isfinite(value):
                points[tag].append((step, value))
    return {tag: sorted(found) for tag, found in points.items()}
