import json
import os
import pathlib
import signal
import subprocess
import sys
import uuid

import pytest

from sentiment_train import config
from sentiment_train.config import differing_bindings
from sentiment_train.errors import RunError
from sentiment_train.run_directory import RunDirectory


@pytest.fixture(params=["local", "ram"])
def run(request, tf, tmp_path):
    """A run directory that exists, on the disk and in TensorFlow's memory file system."""
    path = str(tmp_path / "run") if request.param == "local" else f"ram://{uuid.uuid4().hex}/run"
    directory = RunDirectory(path)
    with directory.locked():
        yield directory


def claim(run, config, operative=None):
    run.claim(config, operative or config, differing_bindings)


def claim_and_save(run, config, operative=None):
    """As a run does that got as far as its first checkpoint."""
    import tensorflow as tf

    claim(run, config, operative)
    tf.io.gfile.makedirs(run.file("checkpoints/step-00000001"))
    run.write("checkpoints/step-00000001/manifest.json", "{}")


def test_a_configuration_is_replaced_while_nothing_was_saved(run):
    claim(run, "Foo.x = 1")
    claim(run, "Foo.x = 2")
    assert run.read("config.gin") == "Foo.x = 2"


def test_a_finished_run_keeps_its_configuration_without_checkpoints(run):
    claim(run, "Foo.x = 1")
    run.set_status("done")
    claim(run, "Foo.x = 1")
    assert run.status == "done"
    with pytest.raises(RunError):
        claim(run, "Foo.x = 2")


def test_a_path_may_end_with_a_slash():
    assert RunDirectory("runs/x/").file("a.json") == "runs/x/a.json"
    assert RunDirectory("ram://x").path == "ram://x"


def test_the_status_goes_from_new_to_done(run):
    assert run.status == "new"
    claim(run, "Foo.x = 1")
    assert run.status == "incomplete"
    for status in ("diverged", "done"):
        run.set_status(status, step=3, why="ü")
        assert run.status == status
        written = json.loads(run.read("status.json"))
        assert written == {"status": status, "step": 3, "why": "ü"}


@pytest.mark.parametrize("text", ["", '{"stat', "[]", "3", "{}"])
def test_a_status_that_was_cut_off_is_incomplete(run, text):
    claim(run, "Foo.x = 1")
    run.write("status.json", text)
    assert run.status == "incomplete"


def test_a_run_without_a_status_is_incomplete(run):
    run.write("config.gin", "Foo.x = 1")
    assert run.status == "incomplete"


def test_the_configuration_is_written_into_a_new_directory(run):
    claim(run, "Foo.x = 1", "Foo.x = 1\nFoo.y = 2")
    assert run.read("config.gin") == "Foo.x = 1"
    assert run.read("operative.gin") == "Foo.x = 1\nFoo.y = 2"


def test_the_same_configuration_may_claim_a_directory_again(run):
    claim_and_save(run, "Foo.x = 1\nBar.y = 'a'")
    run.set_status("done")
    claim(run, '# the same\nBar.y = "a"\nFoo.x = 1')
    assert run.status == "done"
    assert run.read("config.gin") == "Foo.x = 1\nBar.y = 'a'"


def test_another_configuration_is_refused_with_what_differs(run):
    claim_and_save(run, "Foo.x = 1\nFoo.y = 2")
    with pytest.raises(RunError) as error:
        claim(run, "Foo.x = 3\nFoo.z = 4")
    assert error.value.message == (
        f"{run.path} was made by another configuration:\n"
        "  Foo.x: 1 there, 3 now\n"
        "  Foo.y: 2 there, (default) now\n"
        "  Foo.z: (default) there, 4 now\n"
        "Choose another --model_dir, or go back to that configuration."
    )
    assert run.read("config.gin") == "Foo.x = 1\nFoo.y = 2"


def test_of_many_differences_twenty_are_shown(run):
    claim_and_save(run, "\n".join(f"Foo.x{i} = 1" for i in range(23)))
    with pytest.raises(RunError, match=r"(\n  Foo.x\d+: 1 there, 2 now){20}\n  and 3 more\n"):
        claim(run, "\n".join(f"Foo.x{i} = 2" for i in range(23)))


OPERATIVE = "Foo.x = {x}\nFoo.y = {y}"


@pytest.mark.parametrize(
    "before, now, refused",
    [
        (("Foo.x = 1", 1, 2), ("Foo.x = 1\nFoo.y = 2", 1, 2), False),  # a default written out
        (("Foo.x = 1\nFoo.y = 2", 1, 2), ("Foo.x = 1", 1, 2), False),  # … and left out again
        (("Foo.x = 1", 1, 2), ("Foo.x = 1\nFoo.y = 3", 1, 3), True),
        (("Foo.x = 1\nFoo.y = 3", 1, 3), ("Foo.x = 1", 1, 2), True),
        (("Foo.x = 1", 1, 2), ("Foo.x = 1", 1, 9), True),  # the default is another one by now
    ],
)
def test_a_default_that_is_written_out_is_no_difference(run, before, now, refused):
    text, x, y = before
    claim_and_save(run, text, OPERATIVE.format(x=x, y=y))
    text, x, y = now
    if refused:
        with pytest.raises(RunError, match=r"Foo.y: . there, . now"):
            claim(run, text, OPERATIVE.format(x=x, y=y))
    else:
        claim(run, text, OPERATIVE.format(x=x, y=y))


def test_a_file_is_replaced_in_one_step(run, tf):
    run.write("x.txt", "old")
    with tf.io.gfile.GFile(run.file("x.txt.partial"), "w") as file:
        file.write("cut off by the end of an earlier process, and longer")
    assert run.read("x.txt") == "old"
    run.write("x.txt", "néw")
    assert run.read("x.txt") == "néw"
    assert set(tf.io.gfile.listdir(run.path)) - {".lock"} == {"x.txt"}


def test_a_file_that_is_not_there_is_none(run):
    assert run.read("x.txt") is None
    assert RunDirectory(run.file("nowhere")).status == "new"


@pytest.mark.parametrize("place", ["local", "ram"])
def test_a_directory_that_cannot_be_made_is_told(tf, tmp_path, place):
    folder = str(tmp_path) if place == "local" else f"ram://{uuid.uuid4().hex}"
    tf.io.gfile.makedirs(folder)
    with tf.io.gfile.GFile(f"{folder}/file", "w") as file:
        file.write("")
    # Elsewhere a name may stand for a file and for a folder.
    for path in (f"{folder}/file", f"{folder}/file/run")[: 2 if place == "local" else 1]:
        run = RunDirectory(path)
        with pytest.raises(RunError, match=r"Cannot .* choose another --model_dir"), run.locked():
            pass
        if place == "local":
            with pytest.raises(RunError, match=r"Cannot write .* choose another --model_dir"):
                run.write("x.txt", "")
        assert run.status == "new"


HOLD = """
import sys, time
from sentiment_train.run_directory import RunDirectory
with RunDirectory(sys.argv[1]).locked():
    print("locked", flush=True)
    time.sleep(300)
"""


def test_a_directory_is_held_by_one_process_until_that_ends_however_it_ends(tf, tmp_path):
    run = RunDirectory(str(tmp_path / "run"))
    package = pathlib.Path(config.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(package), "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", HOLD, run.path]
    holder = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(RunError, match="is in use by another process"), run.locked():
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.wait(timeout=60)
        holder.stdout.close()
    with run.locked():
        assert run.status == "new"


def test_a_block_that_fails_frees_the_directory(run):
    again = RunDirectory(f"{run.path}/again")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), again.locked():
            raise ZeroDivisionError
