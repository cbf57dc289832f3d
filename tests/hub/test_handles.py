"""Handles: local directories, archives over HTTP, a cache that is checked, and clear errors."""

from __future__ import annotations

import functools
import hashlib
import http.server
import os
import pathlib
import shutil
import sys
import tarfile
import threading

import filelock
import pytest

from sentiment_train.errors import ConfigError, DataError
from sentiment_train.hub import handles
from sentiment_train.hub.encoder import HubEncoder
from sentiment_train.hub.saved_models import load


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def server(tmp_path, saved):
    """A URL at which a small model can be had as an archive, and the list of requests for it."""
    with tarfile.open(tmp_path / "model.tar.gz", "w:gz") as archive:
        archive.add(saved("looked"), arcname=".")
    (tmp_path / "not.tar.gz").write_text("no archive")
    requests = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def translate_path(self, path):
            requests.append(path)
            return super().translate_path(path.partition("?")[0])

        def log_message(self, *arguments):
            pass

    handler = functools.partial(Handler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}", requests
        httpd.shutdown()


def test_a_url_is_fetched_once_and_kept(server, cache):
    url, requests = server
    handle = f"{url}/model.tar.gz"
    path = handles.resolve(handle, "HubEncoder.handle")
    assert path == str(cache / hashlib.sha1(handle.encode()).hexdigest())
    assert requests == ["/model.tar.gz?tf-hub-format=compressed"]
    assert handles.resolve(handle, "HubEncoder.handle") == path
    assert len(requests) == 1
    assert HubEncoder(handle).whole().dimension == 6
    assert not list(cache.glob("*.partial"))


def test_a_cache_that_only_others_write_to_is_read(saved, cache):
    entry = cache / hashlib.sha1(b"http://127.0.0.1:9/model").hexdigest()
    shutil.copytree(saved("looked"), entry)
    entry.with_name(f"{entry.name}.lock").mkdir()  # now there can be no lock, as in such a cache
    assert handles.resolve("http://127.0.0.1:9/model", "HubEncoder.handle") == str(entry)
    (entry / "variables" / "variables.index").unlink()
    with pytest.raises(DataError, match=r"Cannot use .*\. Name another directory in"):
        handles.resolve("http://127.0.0.1:9/model", "HubEncoder.handle")


def test_the_cache_is_that_of_tensorflow_hub(server, cache):
    """What it fetched before is used, and what somebody unpacked there by hand."""
    url, requests = server
    handle = f"{url}/elsewhere"
    path = cache / hashlib.sha1(handle.encode()).hexdigest()
    path.mkdir(parents=True)
    with tarfile.open(cache.parent / "model.tar.gz") as archive:
        archive.extractall(path, filter="data")
    assert handles.resolve(handle, "HubEncoder.handle") == str(path)
    assert not requests


@pytest.mark.parametrize("damage", ["truncate", "remove", "empty"])
def test_a_damaged_entry_is_fetched_again(server, cache, damage, caplog):
    url, requests = server
    path = pathlib.Path(handles.resolve(f"{url}/model.tar.gz", "HubEncoder.handle"))
    data = path / "variables/variables.data-00000-of-00001"
    size = data.stat().st_size
    if damage == "truncate":
        os.truncate(data, size // 2)
    elif damage == "remove":
        data.unlink()
    else:
        shutil.rmtree(path)
        path.mkdir()
    handles.resolve(f"{url}/model.tar.gz", "HubEncoder.handle")
    assert data.stat().st_size == size
    assert len(requests) == 2


def test_one_process_fetches_while_others_wait(server, cache):
    """This test stands for a process that fetches, the thread for one that comes meanwhile."""
    url, requests = server
    handle, found = f"{url}/model.tar.gz", []
    path = cache / hashlib.sha1(handle.encode()).hexdigest()
    cache.mkdir()
    waiting = threading.Thread(target=lambda: found.append(handles.resolve(handle, "x")))
    with filelock.FileLock(f"{path}.lock"):
        waiting.start()
        waiting.join(timeout=0.5)
        assert waiting.is_alive()
        with tarfile.open(cache.parent / "model.tar.gz") as archive:
            archive.extractall(path, filter="data")
    waiting.join()
    assert found == [str(path)]
    assert not requests


@pytest.mark.parametrize("what", ["missing.tar.gz", "not.tar.gz", "nobody"])
def test_what_cannot_be_fetched_says_how_to_bring_it(server, cache, what):
    handle = "http://127.0.0.1:9/model" if what == "nobody" else f"{server[0]}/{what}"
    with pytest.raises(DataError) as error:
        handles.resolve(handle, "HubEncoder.handle")
    message = error.value.message
    assert message.startswith(f"HubEncoder.handle = '{handle}' cannot be fetched: ")
    assert f"curl -L '{handle}?tf-hub-format=compressed' -o model.tar.gz" in message
    path = cache / hashlib.sha1(handle.encode()).hexdigest()
    assert f"tar -xzf model.tar.gz -C {path}" in message
    assert not path.exists()


def test_a_server_that_never_answers_is_given_up(cache, monkeypatch):
    import socket

    monkeypatch.setattr(handles, "_TIMEOUT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        handle = f"http://127.0.0.1:{silent.getsockname()[1]}/model"
        with pytest.raises(DataError, match=r"cannot be fetched: .*timed out"):
            handles.resolve(handle, "HubEncoder.handle")
    assert socket.getdefaulttimeout() is None


@pytest.mark.parametrize(
    "name, problem",
    [
        ("looke", "there is no such directory. Did you mean 'looked'?"),
        (".", "it holds no saved_model.pb, so it is no SavedModel. There is one in "),
        ("words.txt", "it is a file. Unpack it, and name the directory."),
    ],
)
def test_a_path_that_is_no_saved_model_says_so(saved, name, problem):
    path = os.path.join(os.path.dirname(saved("looked")), name)
    with pytest.raises(DataError) as error:
        HubEncoder(path).text_encoder(frozen=True).fit([])
    assert error.value.message.startswith(f"HubEncoder.handle = '{path}': {problem}")
    assert ("Did you mean" in error.value.message) == (name == "looke")


@pytest.mark.parametrize(
    "lost", ["variables/variables.index", "assets/words.txt", "variables/variables.data-*"]
)
def test_an_incomplete_saved_model_names_what_is_missing(saved, tmp_path, lost):
    path = tmp_path / "copy"
    shutil.copytree(saved("looked"), path)
    (file,) = path.glob(lost)
    file.unlink()
    with pytest.raises(DataError, match=f"it is incomplete: {file.relative_to(path)} is missing"):
        handles.resolve(str(path), "HubEncoder.handle")


def test_a_damaged_graph_is_no_saved_model(saved, tmp_path):
    path = tmp_path / "copy"
    shutil.copytree(saved("looked"), path)
    os.truncate(path / "saved_model.pb", 100)
    with pytest.raises(DataError, match=r"its saved_model\.pb is damaged"):
        handles.resolve(str(path), "HubEncoder.handle")


def test_other_file_systems_are_read_through_tensorflow(tf, saved):
    path = saved("looked")
    for folder, _, names in tf.io.gfile.walk(path):
        target = f"ram://models/looked{folder.removeprefix(path)}"
        tf.io.gfile.makedirs(target)
        for name in names:
            tf.io.gfile.copy(f"{folder}/{name}", f"{target}/{name}", overwrite=True)
    assert handles.resolve("ram://models/looked", "x") == "ram://models/looked"
    found, expected = (HubEncoder(p).text_encoder(False) for p in ("ram://models/looked", path))
    assert found.fingerprint() == expected.fingerprint()
    assert found.fit([]).lines[1:] == expected.fit([]).lines[1:]


@pytest.mark.parametrize(
    "options, problem",
    [
        ({"output": "men"}, "gives default, mean; name the one .* Did you mean 'mean'?"),
        ({"signature": "serving"}, "has no signature 'serving', only serving_default"),
        ({"max_characters": 0}, "max_characters = 0 is out of range; allowed: at least 1"),
        ({"preprocessor": ""}, "allowed: a text that is not empty"),
    ],
)
def test_wrong_settings_say_what_there_is(settings, options, problem):
    with pytest.raises(ConfigError, match=problem):
        settings("looked", **options).whole()


def test_an_encoder_of_numbers_asks_for_its_preprocessor(settings):
    with pytest.raises(ConfigError, match=r"needs HubEncoder\.preprocessor"):
        settings("attention").whole()


def test_without_tensorflow_hub_a_url_says_what_to_install(cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_hub", None)
    with pytest.raises(DataError, match=r"tensorflow-hub is missing .*,hub\]"):
        handles.resolve("http://127.0.0.1:9/model", "HubEncoder.handle")


def test_without_tensorflow_text_its_ops_say_what_to_install(saved, monkeypatch):
    path = saved("pieces")
    monkeypatch.setitem(sys.modules, "tensorflow_text", None)
    with pytest.raises(DataError, match=r"ops of tensorflow-text \(Sentencepiece.*,hub\]"):
        load(path, None, None, None)


def test_a_model_of_tensorflow_1_can_be_used_frozen_and_says_why_not_trained(tf, tmp_path):
    path = str(tmp_path / "old")
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        texts = tf.compat.v1.placeholder(tf.string, [None])
        weights = tf.compat.v1.get_variable("weights", initializer=[[1.0, 2.0]], use_resource=True)
        lengths = tf.cast(tf.strings.length(texts), tf.float32)[:, None]
        session.run(tf.compat.v1.global_variables_initializer())
        tf.compat.v1.saved_model.simple_save(
            session, path, {"text": texts}, {"default": lengths @ weights}
        )
    settings = HubEncoder(path)
    assert settings.why_not_cut() == (
        "it was saved by TensorFlow 1, where the variables belong to a session"
    )
    with pytest.raises(ConfigError, match="cannot be trained: it was saved by TensorFlow 1"):
        settings.text_encoder(frozen=False).fit([])
    frozen = settings.text_encoder(frozen=True).fit([])
    vectors = frozen.features(tf.constant(["abc", ""]))["tokens"].numpy()
    assert vectors.tolist() == [[[3.0, 6.0]], [[0.0, 0.0]]]
