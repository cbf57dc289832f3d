"""A worker without TensorFlow, for `test_workers.py`: meets the others, then does what it is told.

    worker_program.py <what must be equal, as JSON> <seconds to wait for the others> <word> …

Words: `gather=3` prints what all gave; `poll=5` polls so often, stops when it is told to, and tells
at which poll (`poll=5:2`: and takes 2 seconds to save); `sleep=2`; `ask` asks all to stop; `data`,
`defect`: ends by that kind of error. Four seconds without a sign of life are enough for a worker to
count as gone.
"""

from __future__ import annotations

import json
import sys
import time

from sentiment_train.errors import DataError, Interrupted, UserError
from sentiment_train.runtime import together, workers
from sentiment_train.runtime.peers import Peers


def do(word: str, value: str, peers: Peers) -> None:
    if word == "gather":
        print("gathered", *peers.gather(value), flush=True)
    elif word == "poll":
        most, _, saving = value.partition(":")
        for polls in range(int(most)):
            if peers.should_stop():
                print("stopped at poll", polls, flush=True)
                time.sleep(float(saving or 0.3 * peers.cluster.index))  # the last checkpoint
                raise Interrupted("Stopped by a signal and saved.")
            time.sleep(0.005)
    elif word == "sleep":
        print("sleeping", flush=True)
        time.sleep(float(value))
    elif word == "ask":
        peers.ask_to_stop()
    elif word == "data":
        raise DataError("reviews.csv:7: nothing but nonsense.")
    elif word == "defect":
        raise ZeroDivisionError("in the middle of it")


def main() -> int:
    workers._BEAT_SECONDS, workers._SILENCE_SECONDS, workers._ENDED_GRACE_SECONDS = 0.5, 4, 2
    same, seconds, *words = sys.argv[1:]
    try:
        with together.peers_of("auto", float(seconds), json.loads(same)) as peers:
            print("met", peers.cluster.index, flush=True)
            for each in words:
                word, _, value = each.partition("=")
                do(word, value, peers)
    except UserError as error:  # as `command_line.exit_code` does
        print(f"error: {error.message}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
