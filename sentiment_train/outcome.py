"""What is left of a training: metrics of the kept weights, baseline, report and SavedModel."""

from __future__ import annotations

import json
from functools import cached_property

import numpy as np

from sentiment_train import overview
from sentiment_train.assembly import Assembly
from sentiment_train.errors import DivergedError, UserError
from sentiment_train.evaluation.calibration import UNCALIBRATED, Calibration
from sentiment_train.evaluation.metrics import Predictions
from sentiment_train.reports.console import shown
from sentiment_train.run_directory import RunDirectory
from sentiment_train.training.state import TrainingState

_SHOWN_CLASSES = 20  # on the screen; results.json has all of them


class Outcome:
    """What the current weights give, for a run directory.

    Everything that asks the model is asked by every worker; only the chief writes.
    """

    def __init__(self, assembly: Assembly, directory: RunDirectory):
        self.assembly, self.directory = assembly, directory
        self.say = assembly.console.say
        self.classifies = assembly.experiment.loss.predicts == "labels"
        self.predictions: dict[str, Predictions] = {}

    def measure(self) -> dict[str, dict]:
        """Metrics of all splits but the training split, printed, as `results.json` has them.

        `{"validation": {…}, "test": {…}, "details": {"validation": {…}, "test": {…}},
        "calibration": {…}}`; the last two only of a classifier.
        """
        from sentiment_train.evaluation.details import details

        assembly = self.assembly
        splits, class_names = assembly.data.splits, assembly.data.class_names
        metrics, found = {}, {}
        for name in ("validation", "test"):
            if name in splits:
                predictions = self._predict(name)
                metrics[name] = assembly.experiment.loss.measure(predictions, class_names)
                if self.classifies:
                    found[name] = details(predictions, class_names, self.calibration)
        calibration = self.calibration  # its line comes first
        for name, values in metrics.items():
            self._say_metrics(name, values, found.get(name))
        if not self.classifies:
            return metrics
        fitted = calibration.of_results() if self._calibrates else None
        return {**metrics, "details": found, "calibration": fitted}

    def _predict(self, split: str) -> Predictions:
        """Of the model for a split, computed once; not calibrated.

        Raises:
          DivergedError: if one of its numbers is not finite: no metric could be trusted.
        """
        if split not in self.predictions:
            data, buckets = self.assembly.data.splits[split], self.assembly.buckets
            predictions = self.assembly.predict(data, buckets)
            counted = predictions.with_weight()
            if wrong := np.count_nonzero(~counted.finite()):
                raise DivergedError(
                    f"The kept weights give numbers that are not finite for {wrong:,} of"
                    f" {len(counted.labels):,} {split} examples, so there is nothing to measure"
                    " or to export. Lower the learning rate, set Training.clip_norm or"
                    " Runtime.precision = 'float32', and start with a new --model_dir."
                )
            self.predictions[split] = predictions
        return self.predictions[split]

    @property
    def _calibrates(self) -> bool:
        return self.classifies and self.assembly.experiment.calibration is not None

    @cached_property
    def calibration(self) -> Calibration:
        """The temperature of the current weights, printed when it is found.

        It is fitted whenever it is needed, and not kept in a file that could be of other weights:
        a pass over the validation split takes seconds, and on every worker it gives the same.
        """
        if not self._calibrates:
            return UNCALIBRATED
        there = "validation" in self.assembly.data.splits
        predictions = self._predict("validation") if there else None
        found = self.assembly.experiment.calibration.fit(predictions)
        self.say("calibrated", found.line)
        return found

    def _say_metrics(self, split: str, metrics: dict, found: dict | None) -> None:
        """One line of metrics, then one for each class."""
        single = {name: v for name, v in metrics.items() if not name.startswith("f1.")}
        single.pop("examples", None)
        lines = ["  ".join(f"{name} {shown(value)}" for name, value in single.items())]
        if found is not None:
            low, high = found["accuracy_interval"]
            auc = "" if found["auc"] is None else f"  AUC {found['auc']:.4f}"
            error, before = found["calibration_error"], found["calibration_error_uncalibrated"]
            lines[0] += f"{auc}  accuracy 95% {low:.4f}–{high:.4f}  calibration error {error:.4f}"
            if found["temperature"] != 1.0:
                lines[0] += f" ({before:.4f} uncalibrated)"
            lines += _class_lines(found["per_class"])
        self.say(split, "\n".join(lines))

    def write(self, state: TrainingState, best_step: int) -> None:
        """results.json, the report and the SavedModel of the current weights."""
        from sentiment_train.training.checkpoints import arrays_of, weights_digest
        from sentiment_train.training.costs import of_results

        assembly = self.assembly
        self.say("kept", f"the weights of step {best_step:,}")
        metrics = self.measure()
        variables = assembly.model.weights
        weights = arrays_of({f"{i:03d}/{v.path}": v for i, v in enumerate(variables)})
        if assembly.is_chief:
            seconds, examples = state.train_seconds, state.examples
            an_epoch = assembly.examples_per_epoch
            results = {
                **metrics,
                "baseline": None,
                "init_from": self._origin(),
                "published": assembly.experiment.published_values(),
                "steps": state.step,
                "best_step": best_step,
                "examples_seen": examples,
                "train_seconds": seconds,
                "seconds_per_epoch": an_epoch and seconds / examples * an_epoch,
                "examples_per_second": examples / seconds if seconds else 0.0,
                **of_results(state.costs, seconds),
                "parameters": assembly.model.count_params(),
                "replicas": assembly.devices.replicas,
                "classes": list(assembly.data.class_names),
                "weights_sha256": weights_digest(weights),
            }
            self.directory.write_json("results.json", results)  # before what may fail or take long
            at_once = assembly.should_stop.at_once
            with at_once("the baseline"):
                results["baseline"] = self._baseline()
            self.directory.write_json("results.json", results)
            if assembly.experiment.report is not None:
                with at_once("the report"):
                    self._write_report(results)
        if assembly.experiment.export:
            self.export()

    def _origin(self) -> dict | None:
        """Where the first weights were taken from, if another run was named."""
        if self.assembly.experiment.init_from is None:
            return None
        return json.loads(self.directory.read("init_from.json") or "null")

    def _baseline(self) -> dict | None:
        """The linear model beside the network; None if there is to be none."""
        from sentiment_train.evaluation.baseline import NoBaseline, rows_to_fit
        from sentiment_train.evaluation.comparison import compare
        from sentiment_train.evaluation.kept_baseline import baseline_of

        assembly, report = self.assembly, self.assembly.experiment.report
        if report is None or report.baseline == "none" or not self.classifies:
            return None
        if not self.predictions:
            return {"kind": report.baseline, "none_because": "there is no split to compare it on"}
        say = lambda text: self.say("baseline", text)  # noqa: E731
        splits = assembly.data.splits
        rows = rows_to_fit(splits["train"], assembly.trained_rows, report.baseline_rows)
        try:
            baseline = baseline_of(report.baseline, splits, rows, assembly.cache, say)
        except NoBaseline as why:
            return {"kind": report.baseline, "none_because": str(why)}
        except UserError:
            raise
        except Exception as error:  # whatever a library found: a trained run is not lost for it
            self.say("warning", f"there is no baseline: {error!r}")
            return {"kind": report.baseline, "none_because": f"fitting it failed: {error!r}"}
        return compare(report.baseline, baseline, self.predictions, assembly.data.class_names)

    def _write_report(self, results: dict) -> None:
        """report.json, and what is drawn from it: report.md and report.html."""
        from sentiment_train.evaluation.notable import notable_examples
        from sentiment_train.reports.story import STORY, compose

        assembly, examples, split = self.assembly, [], None
        if self.classifies and self.predictions:
            split = "test" if "test" in self.predictions else "validation"
            examples = notable_examples(
                self.calibration.applied(self.predictions[split]),
                assembly.data.splits[split].texts,
                assembly.data.class_names,
                assembly.experiment.report.examples,
            )
        with assembly.console.heard() as lines:
            overview.print_all(assembly, with_table=False)
        story = {
            "name": self.directory.path.rpartition("/")[2],
            "lines": lines,
            "examples_of": split,
            "examples": examples,
        }
        self.directory.write_json(STORY, story)
        story = json.loads(json.dumps(story))  # as it is when it is drawn again
        history = self.directory.read("metrics.jsonl") or ""
        for name, text in compose(results, story, history).items():
            self.directory.write(name, text)

    def export(self) -> None:
        """Writes the SavedModel of the current weights and reads it back in a fresh process."""
        from sentiment_train.export.saved_model import GOLDEN_TEXTS

        assembly = self.assembly
        live = assembly.logits_of_texts(GOLDEN_TEXTS)
        _ = self.calibration  # asked of every worker
        values = [weight.numpy() for weight in _weights_when_asked(assembly.model)]
        if not assembly.is_chief:
            return
        with assembly.should_stop.at_once("the export"):
            self._export(values, live)

    def _export(self, values: list, live) -> None:
        """The same by the chief alone.

        Args:
          values: of the model's weights, without those that only training needs.
          live: `[texts, 1 or classes]` the logits of the golden texts.
        """
        from sentiment_train.export.saved_model import export

        assembly, directory = self.assembly, self.directory
        self.say("export", "writing the SavedModel and reading it back in a fresh process")
        model = assembly.new_model(served=True)
        for weight, value in zip(model.weights, values, strict=True):
            weight.assign(value)
        module = self._served(model, assembly.experiment.encoder.load(directory.path))
        tolerance = assembly.decisions.logit_tolerance
        if needs := export(module, directory.file("saved_model"), live, tolerance):
            self.say("", f"to load it elsewhere, import {needs} first")

    def _served(self, model, encoder):
        """The functions of the SavedModel."""
        from sentiment_train.export.language_serving import LanguageServingModule
        from sentiment_train.export.serving import ServingModule

        if self.classifies:
            names, temperature = self.assembly.data.class_names, self.calibration.temperature
            return ServingModule(model, encoder, names, temperature)
        by_token = getattr(self.assembly.experiment.model, "token_by_token", lambda model: None)
        return LanguageServingModule(model, encoder, by_token(model))


def _weights_when_asked(model) -> list:
    """The weights that the same model has where it is only asked, in the same order."""
    left_out = [w for layer in model.layers for w in getattr(layer, "only_in_training", ())]
    left_out = {id(weight) for weight in left_out}
    return [weight for weight in model.weights if id(weight) not in left_out]


def _class_lines(per_class: dict[str, dict]) -> list[str]:
    width = max(map(len, per_class))
    lines = [
        f"{name:{width}}  precision {c['precision']:.3f}  recall {c['recall']:.3f}"
        f"  F1 {c['f1']:.3f}  of {c['support']:,.0f}"
        for name, c in list(per_class.items())[:_SHOWN_CLASSES]
    ]
    if len(per_class) > _SHOWN_CLASSES:
        lines.append(f"… and {len(per_class) - _SHOWN_CLASSES} more classes in results.json")
    return lines
