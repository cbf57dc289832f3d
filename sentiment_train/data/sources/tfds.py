"""Examples from TensorFlow Datasets."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import gin

from sentiment_train.config import Part
from sentiment_train.data.sources import files
from sentiment_train.data.sources.network import unreachable
from sentiment_train.errors import DataError, did_you_mean
from sentiment_train.schema import BadRow, Example


@gin.configurable
@dataclass(frozen=True)
class TfdsSource(Part):
    """Any text classification dataset of TensorFlow Datasets: `imdb_reviews`, `glue/sst2`, …

    `data_dir` is a directory of prepared datasets (None: `~/tensorflow_datasets`), or the directory
    of one version of one dataset (`…/imdb_reviews/plain_text/1.0.0`). What is prepared there needs
    no network; what is not is downloaded, if `download` allows it. A split may be a slice
    (`train[:90%]`). Examples come in the order of the stored files.
    """

    name: str = gin.REQUIRED
    train_split: str = "train"
    validation_split: str | None = None
    test_split: str | None = "test"
    text_feature: str = "text"
    label_feature: str = "label"
    data_dir: str | None = None
    download: bool = True

    def check(self) -> None:
        if not re.fullmatch(r"\w+(/[\w.\-]+)*(:[\w.*]+)?", self.name):
            self.refuse(
                "name", "is not the name of a dataset such as 'imdb_reviews' or 'glue/sst2'."
            )
        splits = list(self._split_names().values())
        for field in ("validation_split", "test_split"):
            value = getattr(self, field)
            if value is not None and splits.count(value) > 1:
                self.refuse(field, "is also another split.")

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of a ClassLabel feature, or None if labels are learned from the data."""
        label = self._feature("label_feature")
        return tuple(label.names) if _is_class_label(label) else None

    @property
    def description(self) -> str:
        return f"{self.name} (TensorFlow Datasets)"

    def splits(self) -> Mapping[str, Iterator[Example | BadRow]]:
        """The examples of each split; an example without a label (-1) is a BadRow.

        Raises:
          DataError: at once if the package, dataset, split or feature is missing, or cannot be
            downloaded; while iterating if no example of a split has a label.
        """
        self._check_features()
        self._check_splits()
        return {split: self._examples(spec) for split, spec in self._split_names().items()}

    def fingerprint(self) -> str:
        """Depends on the dataset's name and version, the sizes of its shards, and every option.

        A version of a TensorFlow dataset never changes, so its files are not read for this.
        """
        self._check_splits()
        info = self._prepared.info
        sizes = {
            name: (info.splits[name].shard_lengths, info.splits[name].num_bytes)
            for name in sorted(info.splits)
        }
        options = (self._split_names(), self.text_feature, self.label_feature)
        return files.sha256_of_values(
            type(self).__name__, info.full_name, options, sizes, self.class_names
        )

    def _split_names(self) -> dict[str, str]:
        names = {
            "train": self.train_split,
            "validation": self.validation_split,
            "test": self.test_split,
        }
        return {split: name for split, name in names.items() if name is not None}

    @functools.cached_property
    def _builder(self):
        """What knows the dataset; nothing is downloaded yet."""
        tfds = _tfds()
        if self.data_dir is None:
            root = None
        else:
            root = files.expand(self.data_dir)
            if _exists(f"{root}/dataset_info.json"):
                return self._builder_of_version(root)
        try:
            return tfds.builder(self.name, data_dir=root, try_gcs=False)
        except tfds.core.DatasetNotFoundError:
            known = tfds.list_builders(with_community_datasets=False)
            where = f" or in {self.data_dir}" if self.data_dir else ""
            raise DataError(
                f"There is no dataset '{self.name}' in TensorFlow Datasets {tfds.__version__}"
                f"{where}.{did_you_mean(self._base_name, known)} Set TfdsSource.name."
            ) from None
        except (ValueError, AssertionError, RuntimeError) as error:
            problem = self._wrong_configuration() or _first_line(error)
            raise DataError(f"TfdsSource.name = '{self.name}': {problem}") from None

    @property
    def _base_name(self) -> str:
        """`glue` of `glue/sst2`."""
        return re.split("[/:]", self.name)[0]

    def _wrong_configuration(self) -> str:
        """`there is no 'sst3' …` if that part of the name is the problem, or an empty string."""
        _, _, name = self.name.partition("/")
        name = name.partition(":")[0]
        if not name or self._base_name not in _tfds().list_builders(with_community_datasets=False):
            return ""
        known = _tfds().builder_cls(self._base_name).builder_configs
        if name in known:
            return ""
        suggestion = did_you_mean(name, known) or f" It has {', '.join(known) or 'none'}."
        return f"'{self._base_name}' has no configuration '{name}'.{suggestion}"

    def _builder_of_version(self, directory: str):
        builder = _tfds().builder_from_directory(directory)
        if builder.name != self._base_name:
            raise DataError(
                f"TfdsSource.data_dir = '{self.data_dir}' holds '{builder.name}', not"
                f" '{self.name}'. Set TfdsSource.name."
            )
        return builder

    @functools.cached_property
    def _prepared(self):
        """The builder with its data on disk; downloads it if need be."""
        builder = self._builder
        if builder.is_prepared():
            return builder
        state = f"Dataset '{builder.info.full_name}' is not prepared in {builder.data_dir_root}"
        if not self.download:
            raise DataError(f"{state}, and TfdsSource.download is False. {self._elsewhere()}")
        try:
            if host := unreachable(builder.url_infos):
                raise DataError(f"{state}, and cannot be downloaded: {host}. {self._elsewhere()}")
            config = _tfds().download.DownloadConfig(try_download_gcs=False)
            builder.download_and_prepare(download_config=config)
        except DataError:
            raise
        except ImportError as error:
            raise DataError(
                f"{state}; preparing it needs {error.name}. Run: pip install {error.name}"
            ) from error
        except Exception as error:  # code of the dataset's authors: anything may come out of it
            raise DataError(
                f"{state}; preparing it failed: {_first_line(error)} {self._elsewhere()}"
            ) from error
        return builder

    def _elsewhere(self) -> str:
        base = self._base_name
        return (
            f'On a machine with a network run `python -c "import tensorflow_datasets as tfds;'
            f" tfds.load('{self.name}')\"`, copy its ~/tensorflow_datasets/{base} here, and set"
            f" TfdsSource.data_dir to the directory that holds {base}; or include 'data/imdb.gin',"
            " sample reviews that need no download."
        )

    def _feature(self, field: str):
        """The feature named by `text_feature` or `label_feature`."""
        name, features = getattr(self, field), self._builder.info.features
        if name in features:
            return features[name]
        known = sorted(features)
        raise DataError(
            f"TfdsSource.{field} = '{name}': '{self.name}' has no such feature; it has"
            f" {', '.join(map(repr, known))}.{did_you_mean(name, known)}"
        )

    def _check_features(self) -> None:
        text, label = self._feature("text_feature"), self._feature("label_feature")
        if text.shape != () or text.tf_dtype != "string":
            raise DataError(f"TfdsSource.text_feature = '{self.text_feature}' is not one string.")
        if label.shape != () or not (label.tf_dtype == "string" or _is_integer(label.tf_dtype)):
            raise DataError(
                f"TfdsSource.label_feature = '{self.label_feature}' is not one class, integer or"
                " string."
            )

    def _check_splits(self) -> None:
        known = self._prepared.info.splits
        for split, spec in self._split_names().items():
            for name in re.findall(r"(?:^|\+)\s*([^\[+\s]+)", spec):
                if name not in known:
                    none = "" if split == "train" else f" Or set TfdsSource.{split}_split = None."
                    raise DataError(
                        f"TfdsSource.{split}_split = '{spec}': '{self.name}' has no split '{name}';"
                        f" it has {', '.join(map(repr, known))}.{did_you_mean(name, known)}{none}"
                    )
            try:
                known[spec]
            except (ValueError, KeyError, AssertionError) as error:
                raise DataError(
                    f"TfdsSource.{split}_split = '{spec}': {_first_line(error)}"
                ) from None

    def _examples(self, spec: str) -> Iterator[Example | BadRow]:
        tfds, label_feature = _tfds(), self._feature("label_feature")
        rows = self._prepared.as_dataset(
            split=spec,
            shuffle_files=False,
            decoders=tfds.decode.PartialDecoding(
                {self.text_feature: True, self.label_feature: True}
            ),
            read_config=tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False),
        )
        labelled = False
        for number, row in enumerate(tfds.as_numpy(rows)):
            where = f"{self.name} {spec} {number}"
            label = _label_name(row[self.label_feature], label_feature)
            if label is None:
                yield BadRow(f"{where}: no label (-1).")
                continue
            labelled = True
            try:
                yield Example(row[self.text_feature].decode(), label, where=where)
            except UnicodeDecodeError:
                yield BadRow(f"{where}: the text is not valid utf-8.")
        if not labelled:
            raise DataError(
                f"'{self.name}': no example of the split '{spec}' has a label. Choose another one"
                " (for a test split also TfdsSource.test_split = None)."
            )


def _tfds():
    """The package, imported where it is first needed."""
    try:
        import tensorflow_datasets
    except ModuleNotFoundError as error:
        if error.name != "tensorflow_datasets":
            raise DataError(f"tensorflow_datasets needs {error.name}, which is missing.") from error
        raise DataError(
            "TensorFlow Datasets is not installed. Run: pip install tensorflow-datasets"
            " importlib_resources, or include 'data/imdb.gin'."
        ) from None
    return tensorflow_datasets


def _exists(path: str) -> bool:
    import tensorflow as tf

    return tf.io.gfile.exists(path)


def _is_class_label(feature) -> bool:
    return isinstance(feature, _tfds().features.ClassLabel)


def _is_integer(dtype) -> bool:
    return dtype.is_integer or dtype.is_bool


def _label_name(value: Any, feature) -> str | None:
    """The class of a stored label; None for the -1 by which TFDS says that there is none."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if not _is_class_label(feature):
        return str(value.item()).lower()
    return None if value < 0 else feature.int2str(int(value))


def _first_line(error: Exception) -> str:
    """The first line of what TFDS says, without what it puts before it."""
    text = re.sub(r'^Failed to construct dataset "[^"]*", builder_kwargs ".*?": ', "", str(error))
    return (text.strip() or type(error).__name__).split("\n")[0].rstrip(".:") + "."
