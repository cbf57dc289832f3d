"""Files and folders that a reader sees whole: the old one or the new one, on any file system.

What the file systems of `tf.io.gfile` do differently, found out on TensorFlow 2.21:

* `ram://` appends when a file that is there is opened for writing, so it is removed first.
* In `ram://` a name exists as soon as another one begins with it: only a list of names is right.
* `ram://` renames a folder without what is in it, and an object store (`gs://`) has no folders: it
  renames the objects one by one. So a folder is moved by a rename only on a disk.
"""

from __future__ import annotations


def is_remote(path: str) -> bool:
    """Whether a path is not on a disk of this machine: `gs://…`, `ram://…`."""
    return "://" in path


def replace_file(path: str, content: bytes, files=None) -> None:
    """Writes a file under another name and renames it, which replaces the one that is there.

    Args:
      files: `tf.io.gfile` or a module like it; None: `tf.io.gfile`.

    Raises:
      OSError or tf.errors.OpError: if it cannot be written; the old one is then untouched.
    """
    files = files or _gfile()
    partial = f"{path}.partial"
    if files.exists(partial):  # an earlier process was cut off
        files.remove(partial)
    with files.GFile(partial, "wb") as file:
        file.write(content)
    files.rename(partial, path, overwrite=True)


def replace_folder(source: str, target: str, last: str) -> None:
    """Copies a local folder to a file system that cannot rename one.

    Args:
      last: the file without which the folder is not what it is. It is removed first and written
        last: a reader finds the old folder, none, or the new one, and never a mixture.

    Raises:
      OSError or tf.errors.OpError: if it cannot be written.
    """
    files = _gfile()
    if last in names_in(target):
        files.remove(f"{target}/{last}")
    if files.exists(target):
        files.rmtree(target)
    names = []
    for folder, _, found in files.walk(source):
        inside = folder[len(source) :].strip("/")
        files.makedirs(f"{target}/{inside}".rstrip("/"))
        names += [f"{inside}/{name}".lstrip("/") for name in found]
    for name in sorted(names, key=lambda name: (name == last, name)):
        files.copy(f"{source}/{name}", f"{target}/{name}", overwrite=True)


def names_in(folder: str) -> list[str]:
    """The names in a folder, without the slash that some file systems add; none if it is none."""
    files = _gfile()
    return [name.rstrip("/") for name in files.listdir(folder)] if files.isdir(folder) else []


def _gfile():
    import tensorflow as tf

    return tf.io.gfile
