"""A sweep for TensorBoard's HParams tab: its axes, and for every run its values and its results.

Written with TensorBoard's own messages and writer. The files stand beside the run directories and
are made anew by every sweep, so they show the grid as it is now.
"""

from __future__ import annotations

import ast
import math
import time
from collections.abc import Mapping, Sequence

Value = bool | float | str


def value_of(text: str) -> Value:
    """A value of the grid as TensorBoard knows it: a number, True or False, or else a text."""
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if isinstance(value, bool | int | float | str) else text


class HparamsWriter:
    """Writes below one folder, which it empties first.

    Args:
      folder: of the event files: its own, and one folder for each run.
      files: `tf.io.gfile` or a module like it.
      axes: the values of every axis, as they are written in the grid.
      metrics: tags such as `validation/accuracy`.
    """

    def __init__(
        self, folder: str, files, axes: Mapping[str, Sequence[str]], metrics: Sequence[str]
    ):
        from tensorboard.plugins.hparams import api_pb2, metadata, summary_v2

        if files.exists(folder):
            files.rmtree(folder)
        self._folder = folder
        self._values = {
            name: dict(zip(texts, _of_one_type(texts), strict=True)) for name, texts in axes.items()
        }
        hparams = []
        for name, values in self._values.items():
            domain = list(values.values())
            hparams.append(api_pb2.HParamInfo(name=name, differs=len(domain) > 1))
            summary_v2.Discrete(domain, type(domain[0])).update_hparam_info(hparams[-1])
        shown = [
            api_pb2.MetricInfo(
                name=api_pb2.MetricName(tag=tag),
                display_name=tag.replace("/", " "),
                dataset_type=api_pb2.DATASET_VALIDATION if tag.startswith("validation/") else None,
            )
            for tag in metrics
        ]
        experiment = api_pb2.Experiment(
            hparam_infos=hparams, metric_infos=shown, time_created_secs=time.time()
        )
        _write(folder, [_summary(metadata.EXPERIMENT_TAG, experiment=experiment)])

    def run(
        self,
        name: str,
        group: str,
        values: Mapping[str, str],
        metrics: Mapping[str, float] | None,
        began_and_ended: tuple[float, float],
    ) -> None:
        """One run that has ended. Runs of one group (seeds) are one row of the tab: their mean.

        Args:
          values: of every axis, as written in the grid.
          metrics: by tag; those that are not finite are left out. None: the run failed.
          began_and_ended: seconds since 1970.
        """
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2, summary_v2

        began, ended = began_and_ended
        values = {axis: self._values[axis][text] for axis, text in values.items()}
        points = [
            Summary.Value(tag=tag, simple_value=value)
            for tag, value in (metrics or {}).items()
            if math.isfinite(value)
        ]
        status = api_pb2.STATUS_FAILURE if metrics is None else api_pb2.STATUS_SUCCESS
        end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=ended)
        _write(
            f"{self._folder}/{name}",
            [
                summary_v2.hparams_pb(values, trial_id=group, start_time_secs=began),
                Summary(value=points),
                _summary(metadata.SESSION_END_INFO_TAG, session_end_info=end),
            ],
        )


def _of_one_type(texts: Sequence[str]) -> list[Value]:
    """TensorBoard wants one type for a domain: numbers, booleans or texts."""
    values = [value_of(text) for text in texts]
    if all(isinstance(value, bool) for value in values):
        return values
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return [float(value) for value in values]
    return [str(text) for text in texts]


def _summary(tag: str, **content):
    """A message of the plugin that is all metadata.

    As `tensorboard.plugins.hparams.summary` makes it, but of TensorBoard's own class: that module
    gives TensorFlow's, which the writer refuses.
    """
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import metadata, plugin_data_pb2

    data = metadata.create_summary_metadata(plugin_data_pb2.HParamsPluginData(**content))
    return Summary(value=[Summary.Value(tag=tag, metadata=data, tensor=metadata.NULL_TENSOR)])


def _write(folder: str, summaries: Sequence) -> None:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(folder)
    for message in summaries:
        writer.add_event(Event(step=0, wall_time=time.time(), summary=message))
    writer.close()
