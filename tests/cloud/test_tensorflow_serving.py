"""The client against a server with TensorFlow Serving's REST interface, and the compose file.

The server is a stand-in for the protocol only: it evaluates a real exported SavedModel.
https://www.tensorflow.org/tfx/serving/api_rest
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import pathlib
import subprocess
import sys
import threading

import pytest

SERVING = pathlib.Path(__file__).parents[2] / "cloud" / "serving"


class Server(http.server.ThreadingHTTPServer):
    """Answers `POST /v1/models/<name>:predict` in the column format by a SavedModel."""

    def __init__(self, serve):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.serve, self.asked = serve, []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        import tensorflow as tf

        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/models/sentiment:predict":
            self._answer(404, {"error": "Servable not found for request: Latest(other)"})
            return
        texts = [
            base64.b64decode(text["b64"]) if isinstance(text, dict) else text.encode()
            for text in request["inputs"]["text"]
        ]
        self.server.asked.append(texts)
        found = self.server.serve(text=tf.constant(texts))
        outputs = {name: value.numpy().tolist() for name, value in found.items()}
        outputs["label"] = [label.decode() for label in outputs["label"]]
        self._answer(200, {"outputs": outputs})

    def _answer(self, code, content):
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(content).encode())

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def running(server):
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def model(tf, saved_model):
    return tf.saved_model.load(saved_model)


@pytest.fixture
def server(model):
    with running(Server(model.signatures["serving_default"])) as server:
        yield server


def client(*arguments):
    """The client as a process of its own that sees the standard library alone."""
    command = [sys.executable, "-I", "-S", str(SERVING / "classify.py"), *arguments]
    return subprocess.run(command, capture_output=True, check=False, timeout=60)


TEXTS = [
    b"a good film",
    b"",
    "naïve 素晴らしい".encode(),
    b"caf\xe9 \xff",
    b'"quoted" \\ {"b64": 1}',
]


def test_the_client_gets_the_answers_of_the_model(tf, server, model, tmp_path):
    (tmp_path / "texts.txt").write_bytes(b"".join(text + b"\n" for text in TEXTS))
    ended = client(f"--url={server.url}/", f"--input={tmp_path}/texts.txt", "--batch_size=2")
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert server.asked == [TEXTS[:2], TEXTS[2:4], TEXTS[4:]]  # the very bytes, two at a time
    answers = [json.loads(line) for line in ended.stdout.splitlines()]
    expected = model.signatures["serving_default"](text=tf.constant(TEXTS))
    assert [a["text"] for a in answers] == [text.decode("utf-8", "replace") for text in TEXTS]
    assert [a["label"].encode() for a in answers] == expected["label"].numpy().tolist()
    for answer, row in zip(answers, expected["probabilities"].numpy(), strict=True):
        assert answer["probabilities"] == pytest.approx(row.tolist(), abs=1e-6)
        assert set(answer) == {"text", "label", "probabilities"}


def test_a_model_that_is_not_there_is_the_servers_own_sentence(server):
    ended = client(f"--url={server.url}", "--model=other", "--text=x")
    assert ended.returncode == 1
    assert ended.stdout == b""
    assert b"/v1/models/other:predict answered 404: Servable not found" in ended.stderr
    assert ended.stderr.count(b"\n") == 1


def test_a_server_that_is_not_there_is_one_sentence(server):
    with running(Server(None)) as gone:
        url = gone.url
    ended = client(f"--url={url}", "--text=x")
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"error: {url}/v1/models/sentiment:predict cannot be".encode())
    assert ended.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    "answers", [{"outputs": [0.5]}, {"predictions": []}, [], {"outputs": {"label": []}}]
)
def test_another_kind_of_model_is_one_sentence(server, monkeypatch, answers):
    answer = _Handler._answer
    monkeypatch.setattr(_Handler, "_answer", lambda self, *_: answer(self, 200, answers))
    ended = client(f"--url={server.url}", "--text=x")
    assert ended.returncode == 1
    assert b"does not answer as a text classifier" in ended.stderr
    assert ended.stderr.count(b"\n") == 1


@pytest.mark.parametrize("arguments", [[], ["--text=x", "--batch_size=0"]])
def test_wrong_use_is_told(arguments):
    ended = client(*arguments)
    assert ended.returncode == 2
    assert b"error: " in ended.stderr


@pytest.fixture(scope="module")
def compose():
    yaml = pytest.importorskip("yaml", reason="needs the extra dev")
    return yaml.safe_load((SERVING / "compose.yaml").read_text())


def test_the_compose_file_follows_the_compose_specification(compose):
    pytest.importorskip("check_jsonschema", reason="needs the extra dev")
    import importlib.resources

    import jsonschema

    schemas = importlib.resources.files("check_jsonschema") / "builtin_schemas" / "vendor"
    schema = json.loads((schemas / "compose-spec.json").read_text())
    jsonschema.validate(compose, schema)
    compose["services"]["serving"]["comand"] = []
    with pytest.raises(jsonschema.ValidationError, match="comand"):
        jsonschema.validate(compose, schema)


def test_every_file_that_the_server_is_given_is_mounted(compose):
    service = compose["services"]["serving"]
    assert "./config:/config:ro" in service["volumes"]
    flags = dict(argument[2:].split("=") for argument in service["command"])
    for name in ("model_config_file", "batching_parameters_file"):
        assert (SERVING / flags[name].removeprefix("/")).is_file()
    assert flags["enable_batching"] == "true"


def test_the_model_is_mounted_as_a_version_of_the_model_that_is_configured(compose):
    config_pb2 = pytest.importorskip(
        "tensorflow_serving.config.model_server_config_pb2", reason="needs the extra dev"
    )
    from google.protobuf import text_format

    text = (SERVING / "config" / "models.config").read_text()
    (model,) = text_format.Parse(text, config_pb2.ModelServerConfig()).model_config_list.config
    (target,) = [v["target"] for v in compose["services"]["serving"]["volumes"] if "target" in v]
    assert target == f"{model.base_path}/1"
    assert model.base_path == f"/models/{model.name}"


def test_batching_is_configured_by_fields_that_the_server_knows():
    """Those of `BatchingParameters` in session_bundle_config.proto, which no package has."""
    from google.protobuf import (
        descriptor_pb2,
        descriptor_pool,
        message_factory,
        text_format,
        wrappers_pb2,  # noqa: F401  # of which the fields are
    )

    names = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")
    file = descriptor_pb2.FileDescriptorProto(name="batching.proto", package="test")
    file.dependency.append("google/protobuf/wrappers.proto")
    message = file.message_type.add(name="BatchingParameters")
    for number, name in enumerate(names, 1):
        message.field.add(
            name=name, number=number, label=1, type=11, type_name=".google.protobuf.Int64Value"
        )
    pool = descriptor_pool.Default()
    pool.Add(file)
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("test.BatchingParameters"))
    found = text_format.Parse((SERVING / "config" / "batching.config").read_text(), kind())
    assert all(getattr(found, name).value > 0 for name in names)
