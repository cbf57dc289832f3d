"""Examples from one text file each, in one folder per class: the layout of `aclImdb`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from itertools import chain

import gin

from sentiment_train.config import Part
from sentiment_train.data.sources import files
from sentiment_train.data.sources.labels import Labels, check_labels, describe_unknown
from sentiment_train.errors import DataError, did_you_mean
from sentiment_train.schema import Example

SPLIT_FOLDERS = {
    "train": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
READERS = 16  # files read at once, which hides the latency of gs://
FILES_AT_ONCE = 512  # texts held in memory


@gin.configurable
@dataclass(frozen=True)
class DirectorySource(Part):
    """One example per file; the name of its folder is the label.

    Either `<path>/<class>/*.txt` (all examples, to be split later), or `<path>/train/<class>/*.txt`
    with `test` and `validation` (also `valid`, `val` or `dev`) beside `train`, as given splits.
    Files come in the order of their names, class after class. Hidden folders are ignored.
    """

    path: str | None = None
    encoding: str = "utf-8"  # with or without a byte order mark
    # None: each folder is a class; ('neg', 'pos'): exactly these, in this order;
    # {'neg': 'negative', 'pos': 'positive'}: these, under other names.
    labels: tuple[str, ...] | dict[str | int, str] | None = None
    ignore: tuple[str, ...] = ("unsup",)  # folders that are neither a split nor a class
    pattern: str = "*.txt"

    def check(self) -> None:
        if not self.path:
            self.refuse("path", "is not set; give the directory that holds the class folders.")
        check_labels(self)
        files.check_encoding(self)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the folders, sorted, or those that `labels` gives them.

        Raises:
          DataError: if the layout is not one of the two above.
        """
        return Labels(self.labels).class_names or self._folders_of(self._layout())

    @property
    def description(self) -> str:
        return os.path.basename(self.path.rstrip("/")) + "/"

    def splits(self) -> Mapping[str, Iterator[Example]]:
        """The examples of each split, or all under `all`.

        Raises:
          DataError: at once if a folder is missing, unknown or empty; while iterating if a file
            cannot be read.
        """
        return {split: self._examples(folders) for split, folders in self._listing().items()}

    def fingerprint(self) -> str:
        """Depends on names and bytes of the files and every option, not on where `path` is."""
        options = {k: v for k, v in asdict(self).items() if k != "path"}
        content = {}
        for split, folders in self._listing().items():
            for folder, names in folders.items():
                paths = [f"{folder}/{name}" for name in names]
                digest = files.sha256_of_values(names) + _sha256_of_many(paths)
                content[f"{split}/{os.path.basename(folder)}"] = digest
        return files.sha256_of_values(type(self).__name__, options, content)

    def _examples(self, folders: dict[str, list[str]]) -> Iterator[Example]:
        labels = Labels(self.labels)
        paths = list(chain(*([f"{f}/{name}" for name in folders[f]] for f in folders)))
        part = type(self).__name__

        def read(path: str) -> str:
            return files.read_text(path, self.encoding, part)

        for path, text in _in_parallel(read, paths):
            label = labels.name_of(os.path.basename(os.path.dirname(path)))
            yield Example(text, label, where=path)

    def _listing(self) -> dict[str, dict[str, list[str]]]:
        """`{"train": {"<path>/train/neg": ["0_3.txt", …]}}`; every class has its files."""
        layout = self._layout()
        expected = list(Labels(self.labels).known) or list(self._folders_of(layout))
        listing = {}
        for split, root in layout.items():
            found = self._folders(root)
            for label in expected:
                if label not in found:
                    raise DataError(
                        f"{root} has no folder '{label}'; it has"
                        f" {', '.join(map(repr, found)) or 'none'}.{did_you_mean(label, found)}"
                    )
            for label in found:
                if label not in expected:
                    raise DataError(
                        f"{root}: {describe_unknown(label, expected)} If '{label}' is not a class,"
                        f" add it to DirectorySource.ignore."
                    )
            listing[split] = {f"{root}/{label}": self._files(f"{root}/{label}") for label in found}
        return listing

    def _layout(self) -> dict[str, str]:
        """`{"all": path}`, or the folder of each split."""
        import tensorflow as tf

        root = files.expand(self.path).rstrip("/")
        if not tf.io.gfile.isdir(root):
            raise DataError(f"DirectorySource.path = '{self.path}': there is no such directory.")
        folders = self._folders(root)
        if not folders:
            raise DataError(f"{root} has no folders; expected one per class, or train and test.")
        given = [name for name in folders if name in SPLIT_FOLDERS]
        if not given:
            return {"all": root}
        if "train" not in given:
            raise DataError(f"{root} has a folder '{given[0]}' but no 'train'.")
        if others := [name for name in folders if name not in given]:
            raise DataError(
                f"{root} has a folder '{others[0]}' beside 'train'."
                f"{did_you_mean(others[0], SPLIT_FOLDERS)}"
                " If it is not a split, add it to DirectorySource.ignore."
            )
        layout = {}
        for name in sorted(given, key=list(SPLIT_FOLDERS).index):
            if SPLIT_FOLDERS[name] in layout:
                raise DataError(f"{root} has two folders for validation: keep one of them.")
            layout[SPLIT_FOLDERS[name]] = f"{root}/{name}"
        return layout

    def _folders_of(self, layout: dict[str, str]) -> tuple[str, ...]:
        """The class folders of the first split, `train` or `all`.

        Raises:
          DataError: if there are fewer than two.
        """
        root = next(iter(layout.values()))
        folders = self._folders(root)
        if len(folders) < 2:
            found = f"only '{folders[0]}'" if folders else "none"
            raise DataError(f"{root}: expected a folder for each of two or more classes, {found}.")
        return tuple(folders)

    def _folders(self, directory: str) -> list[str]:
        import tensorflow as tf

        return [
            name
            for name in files.names_in(directory)
            if not name.startswith((".", "__"))
            and name not in self.ignore
            and not fnmatch(name, self.pattern)
            and tf.io.gfile.isdir(f"{directory}/{name}")
        ]

    def _files(self, folder: str) -> list[str]:
        names = [name for name in files.names_in(folder) if fnmatch(name, self.pattern)]
        if names:
            return names
        raise DataError(f"{folder} has no files that match DirectorySource.pattern {self.pattern}.")


def _sha256_of_many(paths: list[str]) -> str:
    """One digest of the digests of small files, read in parallel."""
    digests = [digest for _, digest in _in_parallel(lambda p: files.sha256_of_files([p]), paths)]
    return files.sha256_of_values(digests)


def _in_parallel(function, paths: list[str]) -> Iterator[tuple[str, str]]:
    """Yields `(path, function(path))` in the order of `paths`."""
    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(paths), FILES_AT_ONCE):
            group = paths[start : start + FILES_AT_ONCE]
            yield from zip(group, pool.map(function, group), strict=True)
