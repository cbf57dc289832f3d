"""Starts a training again as long as it ends with 75, which says: run the same command again.

    python until_done.py --gin_file=bilstm.gin --model_dir=gs://bucket/runs/bilstm

All arguments go to `python -m sentiment_train.main`. For machines where nobody else does that: a
worker whose peer is gone ends with 75, and where it is started again it waits for that peer (for
`Runtime.wait_for_workers` seconds) and goes on. SIGTERM and SIGINT are passed on, and then nothing
is started again. Exits with the code of the last start. Needs Python and nothing else.
"""

from __future__ import annotations

import signal
import subprocess
import sys

AGAIN = 75  # EXIT_RESUME of sentiment_train.errors
PROGRAM = (sys.executable, "-m", "sentiment_train.main")


def main() -> int:
    running, asked, told = None, False, False

    def pass_on(number, frame):
        nonlocal asked, told
        asked = True
        if running is not None and running.poll() is None:
            told = True
            running.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, pass_on)
    code = AGAIN
    while code == AGAIN and not asked:
        running = None
        # In a session of its own: Ctrl-C at a terminal reaches it once, through this process.
        running = subprocess.Popen([*PROGRAM, *sys.argv[1:]], start_new_session=True)
        if asked and not told:  # while it was being started
            running.terminate()
        code = running.wait()
        if code == AGAIN and not asked:
            print("again      the run ended with 75; the same command goes on", flush=True)
    return code if code >= 0 else 128 - code  # ended by a signal, as a shell tells it


if __name__ == "__main__":
    sys.exit(main())
