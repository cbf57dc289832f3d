"""The same numbers for TensorBoard and as `metrics.jsonl`, without gaps or doubles after a resume.

TensorBoard events are written with TensorBoard's own writer; no TensorFlow is needed here.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable

from sentiment_train.errors import RunError
from sentiment_train.replacing import replace_file
from sentiment_train.reports.console import Console

_TEXT_PLUGIN = "text"
_LOGS_OF_VERTEX = "AIP_TENSORBOARD_LOG_DIR"


class MetricWriter:
    """Writes scalars of a step to both; made anew by every process of a run.

    Args:
      tensorboard: directory of the event files. A job of Vertex AI with a TensorBoard instance
        names another one in `AIP_TENSORBOARD_LOG_DIR`: only what is there gets into the instance.
      lines: path of the JSON lines file.
      files: `tf.io.gfile` or a module like it.
    """

    def __init__(self, tensorboard: str, lines: str, files):
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._events = EventFileWriter((os.environ.get(_LOGS_OF_VERTEX) or tensorboard).rstrip("/"))
        self._path, self._files = lines, files

    def go_on_after(self, step: int) -> None:
        """Forgets what an earlier process wrote for steps after `step`: they are done again."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog

        log = SessionLog(status=SessionLog.START)
        self._events.add_event(Event(step=step + 1, wall_time=time.time(), session_log=log))
        if not self._files.exists(self._path):
            return
        with self._files.GFile(self._path, "r") as file:
            kept = [line for line in file.read().split("\n") if _step_of(line) <= step]
        text = "".join(f"{line}\n" for line in kept)
        replace_file(self._path, text.encode(), self._files)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """One point of each curve, e.g. `{"train/loss": 0.3}`."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        points = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        summary = Summary(value=points)
        self._events.add_event(Event(step=step, wall_time=time.time(), summary=summary))
        with self._files.GFile(self._path, "a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")

    def text(self, tag: str, markdown: str) -> None:
        """A text for TensorBoard's text tab."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.types_pb2 import DT_STRING

        plugin = SummaryMetadata.PluginData(plugin_name=_TEXT_PLUGIN)
        value = Summary.Value(
            tag=tag,
            metadata=SummaryMetadata(plugin_data=plugin),
            tensor=TensorProto(dtype=DT_STRING, string_val=[markdown.encode()]),
        )
        self._events.add_event(Event(wall_time=time.time(), summary=Summary(value=[value])))

    def flush(self) -> None:
        """Makes everything written so far visible to readers."""
        self._events.flush()

    def close(self) -> None:
        self._events.close()


@contextlib.contextmanager
def reporting(
    open_writer: Callable[[], MetricWriter], console: Console, write_errors: tuple[type, ...]
):
    """A function that takes the metrics of a step; closes the writer in the end.

    Args:
      write_errors: the exceptions of the file system, reported as RunError.
    """

    @contextlib.contextmanager
    def one_message():
        try:
            yield
        except write_errors as error:
            raise RunError(
                f"Cannot write the metrics: {getattr(error, 'message', error)}. Mend that and run"
                " the same command again; it goes on from the last checkpoint."
            ) from None

    def report(step: int, values: dict[str, float]) -> None:
        with one_message():
            writer.scalars(step, values)
        console.report(step, values)

    with one_message():
        writer = open_writer()
    try:
        yield report
    finally:
        with one_message():
            writer.close()


def _step_of(line: str) -> float:
    """The step of a JSON line; infinite if the line was cut off by the end of its process."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return float("inf")
