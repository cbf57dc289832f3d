import dataclasses
import json
import uuid

import keras
import numpy as np
import pytest
from small_training import random_split
from tensorflow.io import gfile

from sentiment_train.errors import CheckpointError, RunError
from sentiment_train.training.checkpoints import (
    Checkpoints,
    arrays_of,
    restore,
    weights_digest,
)
from sentiment_train.training.costs import Costs
from sentiment_train.training.state import TrainingState

pytestmark = pytest.mark.usefixtures("tf")

ARRAYS = {
    "model/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "model/state": np.array([1, 2**32 - 1], np.uint32),
    "optimizer/iterations": np.array(7, np.int64),
    "empty": np.zeros((0, 3), np.float32),
    "narrow": np.array([1.5, np.inf], np.float16),
}
MADE_OF = {"data": "ab12", "vocabulary": "cd34"}
COSTS = Costs(1000, 1200, 0.25, 3.5, 2, 8, 2**33)
FULL = TrainingState(7, 2, 3, 9, 11, 1.1, 6, 5, 0.1 + 0.2, 1, True, 0.7, 13, COSTS)


class Saved:
    """Checkpoints in a directory, with what they say."""

    def __init__(self, directory, keep=3):
        self.said = []
        self.checkpoints = Checkpoints(str(directory), keep, self.said.append)

    def save(self, step, best=-1, arrays=ARRAYS):
        self.checkpoints.save(TrainingState(step=step, best_step=best), arrays, MADE_OF)

    def path(self, step, name=""):
        return f"{self.checkpoints.directory}/step-{step:08d}/{name}"

    def newest(self):
        found = self.checkpoints.newest()
        return found and found.state.step


@pytest.fixture(params=["local", "ram"])
def folder(request, tmp_path):
    """An empty place on the disk and in TensorFlow's memory file system."""
    if request.param == "local":
        return str(tmp_path)
    path = f"ram://{uuid.uuid4().hex}"
    gfile.makedirs(path)
    return path


@pytest.fixture
def saved(folder):
    return Saved(f"{folder}/checkpoints")


def test_a_checkpoint_comes_back_as_it_was(saved):
    s = saved
    for field in dataclasses.fields(FULL):
        assert getattr(FULL, field.name) != field.default, field.name
    assert s.newest() is None
    for step in (5, 6, 7):
        state = dataclasses.replace(FULL, step=step)
        s.checkpoints.save(state, ARRAYS, MADE_OF)
    found = s.checkpoints.newest()
    assert (found.state, found.made_of, s.said) == (FULL, MADE_OF, [])
    assert found.arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert (found.arrays[name].dtype, found.arrays[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found.arrays[name], array)


def test_a_state_without_what_was_added_later_is_read_and_nothing_else_may_be_missing():
    values = FULL.as_dict()
    del values["spread_at_start"], values["stream_position"]
    before = dataclasses.replace(FULL, spread_at_start=-1.0, stream_position=0)
    assert TrainingState.from_dict(values) == before
    for wrong in ({**values, "more": 1}, {n: v for n, v in values.items() if n != "epoch"}):
        with pytest.raises(TypeError, match="expected the fields"):
            TrainingState.from_dict(wrong)


def test_numbers_that_json_has_no_word_for_come_back(saved):
    state = dataclasses.replace(FULL, best_step=-1, best_value=float("-inf"))
    saved.checkpoints.save(state, ARRAYS, MADE_OF)
    assert saved.checkpoints.newest().state == state


def variables(tf, **changed):
    arrays = {name: array for name, array in (ARRAYS | changed).items() if array is not None}
    return {name: tf.Variable(np.zeros_like(array)) for name, array in arrays.items()}


def test_restoring_assigns_every_variable(tf):
    found = variables(tf)
    restore(found, ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name].numpy(), array)


@pytest.mark.parametrize(
    "changed, problem",
    [
        ({"new": np.zeros(1, np.float32)}, "The checkpoint lacks new"),
        ({"narrow": None}, "The model lacks narrow"),
        ({"model/kernel": np.zeros((3, 2), np.float32)}, r"kernel: expected float32 \(3, 2\), .*"),
        ({"model/kernel": np.zeros((2, 3))}, r"kernel: expected float64 \(2, 3\), the checkpoint"),
        ({"optimizer/iterations": np.zeros(1, np.int64)}, r"iterations: expected int64 \(1,\)"),
    ],
    ids=["missing", "extra", "shape", "dtype", "scalar"],
)
def test_restoring_is_strict_and_assigns_nothing_if_it_fails(tf, changed, problem):
    found = variables(tf, **changed)
    with pytest.raises(CheckpointError, match=f"{problem}.*choose another --model_dir"):
        restore(found, ARRAYS)
    assert not any(np.any(v.numpy()) for v in found.values())


def content(path):
    with gfile.GFile(path, "rb") as file:
        return bytearray(file.read())


def put(path, content):
    gfile.remove(path)  # ram:// would append to it
    with gfile.GFile(path, "wb") as file:
        file.write(bytes(content))


def truncate(path):
    put(path, content(path)[: len(content(path)) // 2])


def flip(path):
    flipped = content(path)
    flipped[-3] ^= 1
    put(path, flipped)


def change_state(path):
    manifest = json.loads(content(path))
    manifest["state"]["epoch"] += 1
    put(path, json.dumps(manifest).encode())


def empty(path):
    put(path, b"")


def not_a_manifest(path):
    put(path, b"[1, 2]")


@pytest.mark.parametrize(
    "name, damage",
    [
        ("variables.safetensors", truncate),
        ("variables.safetensors", flip),
        ("variables.safetensors", empty),
        ("variables.safetensors", gfile.remove),
        ("manifest.json", truncate),
        ("manifest.json", change_state),
        ("manifest.json", empty),
        ("manifest.json", not_a_manifest),
    ],
)
def test_a_damaged_checkpoint_is_passed_over_with_a_word(saved, name, damage):
    saved.save(10)
    saved.save(20)
    damage(saved.path(20, name))
    assert saved.newest() == 10
    (said,) = saved.said
    assert said.startswith(f"Checkpoint {saved.path(20).rstrip('/')} is damaged (")
    assert said.endswith("Trying the one before.")


def test_what_a_cut_off_process_left_is_written_over(saved):
    saved.save(10)
    for name in ("manifest.json.partial", "variables.safetensors.partial"):
        with gfile.GFile(saved.path(10, name), "w") as file:
            file.write("longer than nothing")
    saved.save(10, best=10)
    assert saved.checkpoints.newest().state.best_step == 10


def test_a_checkpoint_without_a_manifest_does_not_exist(saved, tf):
    saved.save(10)
    saved.save(20)
    tf.io.gfile.rename(saved.path(20, "manifest.json"), saved.path(20, "manifest.json.partial"))
    assert (saved.newest(), saved.checkpoints.steps(), saved.said) == (10, [10], [])
    saved.save(20)  # the leftovers are no hindrance
    assert saved.newest() == 20
    assert sorted(tf.io.gfile.listdir(saved.path(20))) == ["manifest.json", "variables.safetensors"]


def test_when_all_are_damaged_there_is_none(saved):
    for step in (10, 20):
        saved.save(step)
        flip(saved.path(step, "variables.safetensors"))
    assert saved.newest() is None
    assert len(saved.said) == 2


def test_one_whose_best_checkpoint_is_damaged_is_passed_over(saved):
    saved.save(10, best=10)
    saved.save(20, best=20)
    saved.save(30, best=20)
    flip(saved.path(20, "variables.safetensors"))
    assert saved.newest() == 10
    assert "step-00000020 is damaged" in saved.said[0]


@pytest.mark.parametrize(
    "keep, kept", [(1, [20, 60]), (2, [20, 50, 60]), (9, [*range(10, 70, 10)])]
)
def test_the_newest_and_the_best_of_each_are_kept(folder, keep, kept):
    s = Saved(folder, keep)
    for step in range(10, 70, 10):
        s.save(step, best=min(step, 20))
    assert s.checkpoints.steps() == kept


def test_the_best_of_each_kept_one_is_kept(folder):
    s = Saved(f"{folder}/one", keep=2)
    for step, best in [(10, 10), (20, 10), (30, 30), (40, 30)]:
        s.save(step, best)
    assert s.checkpoints.steps() == [30, 40]
    s = Saved(f"{folder}/other", keep=2)
    for step, best in [(10, 10), (20, 10), (30, 30)]:
        s.save(step, best)
    assert s.checkpoints.steps() == [10, 20, 30]


def test_one_that_cannot_be_removed_is_told_and_does_not_end_the_training(folder, tf, monkeypatch):
    def refused(path):
        raise tf.errors.PermissionDeniedError(None, None, "retained by the bucket")

    s = Saved(folder, keep=1)
    s.save(10)
    monkeypatch.setattr(gfile, "rmtree", refused)
    s.save(20)
    assert s.checkpoints.steps() == [10, 20]
    assert s.said == [f"Cannot remove {s.path(10)[:-1]}: retained by the bucket"]
    monkeypatch.undo()
    s.save(30)
    assert s.checkpoints.steps() == [30]


@pytest.mark.parametrize("keep", [1, 2])
def test_damaged_later_ones_do_not_push_out_what_is_saved_after_going_back(folder, keep):
    s = Saved(folder, keep)
    for step in (10, 20):
        s.save(step)
    flip(s.path(20, "variables.safetensors"))
    s.save(15)  # an earlier one was restored, or the run began anew
    assert s.newest() == 15


def test_nothing_else_in_the_directory_counts(saved):
    saved.save(10)
    for name in ("step-", "step-x", "notes", "step-10.old"):
        gfile.makedirs(f"{saved.checkpoints.directory}/{name}")
    with gfile.GFile(f"{saved.checkpoints.directory}/README", "w") as file:
        file.write("mine")
    assert saved.checkpoints.steps() == [10]


def test_reading_one_that_is_not_there_is_an_error(saved):
    with pytest.raises(CheckpointError, match="step-00000003 is damaged"):
        saved.checkpoints.read(3)


def test_a_disk_error_is_an_answer(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match=r"Cannot write the checkpoint .*run the same command again"):
        Saved(tmp_path / "file" / "checkpoints").save(10)


def test_saving_the_same_step_again_replaces_it(saved):
    saved.save(10)
    saved.save(10, best=10, arrays={"x": np.ones(3, np.float32)})
    found = saved.checkpoints.newest()
    assert (found.state.best_step, list(found.arrays)) == (10, ["x"])


def test_while_a_step_is_saved_again_the_first_one_stays_readable(tmp_path):
    """The variables are the same then; only the state has changed, by an evaluation."""
    saved = Saved(tmp_path / "checkpoints")
    saved.save(10)
    # A folder is in the way: the disk fails before the new manifest is written.
    gfile.makedirs(saved.path(10, "manifest.json.partial"))
    with pytest.raises(RunError):
        saved.save(10, best=10)
    assert saved.checkpoints.newest().state == TrainingState(step=10)


def test_arrays_keep_scalar_shapes_dtypes_and_values(tf):
    source = {name: tf.Variable(array) for name, array in ARRAYS.items()}
    for name, array in arrays_of(source).items():
        assert (array.shape, array.dtype) == (ARRAYS[name].shape, ARRAYS[name].dtype)
        assert array.flags.c_contiguous
        np.testing.assert_array_equal(array, ARRAYS[name])


def test_the_digest_changes_with_every_bit_name_and_shape_but_not_with_the_order():
    same = dict(reversed(ARRAYS.items()))
    assert weights_digest(same) == weights_digest(ARRAYS)
    flipped = ARRAYS["model/kernel"].copy()
    flipped.view(np.uint8)[1, 5] ^= 1
    others = [
        ARRAYS | {"model/kernel": flipped},
        ARRAYS | {"model/kernel": ARRAYS["model/kernel"].reshape(3, 2)},
        ARRAYS | {"model/kernel": ARRAYS["model/kernel"].view(np.int32)},
        ARRAYS | {"optimizer/iterations": np.array([7], np.int64)},
        ARRAYS | {"empty": np.zeros((3, 0), np.float32)},
        {name.replace("kernel", "core"): array for name, array in ARRAYS.items()},
        {name: array for name, array in ARRAYS.items() if name != "empty"},
    ]
    digests = [weights_digest(arrays) for arrays in (ARRAYS, *others)]
    assert len(set(digests)) == len(digests)


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_restored_step_goes_on_bit_for_bit(trainer, saved, replicas):
    keras.mixed_precision.set_dtype_policy("mixed_float16")
    split = random_split()

    def make():
        adam = keras.optimizers.Adam
        return trainer(replicas, optimizer=adam, average_decay=0.9, float16=True)

    first = make()
    first.train(split, range(8))
    saved.checkpoints.save(TrainingState(step=1), arrays_of(first.step.variables()), MADE_OF)
    second = make()
    restore(second.step.variables(), saved.checkpoints.newest().arrays)
    for t in (first, second):
        t.number = 1
        t.train(split, range(8, 16))
    expected = arrays_of(first.step.variables())
    for name, array in arrays_of(second.step.variables()).items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
