import gzip
import json
import os
import pathlib
import subprocess
import sys

import pytest
from absl import flags
from absl.testing import flagsaver

from sentiment_train import predict


@pytest.fixture(scope="module")
def saved_model(tf, tmp_path_factory):
    """A SavedModel that finds texts with `good` in them positive."""

    class Model(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
        def serve(self, text):
            good = tf.cast(tf.strings.regex_full_match(text, "(?s).*good.*"), tf.int32)
            logits = tf.one_hot(good, 2) * 2.0
            return {
                "label": tf.gather(["negative", "positive"], good),
                "probabilities": tf.nn.softmax(logits),
                "logits": logits,
            }

    directory = str(tmp_path_factory.mktemp("model") / "saved_model")
    model = Model()
    tf.saved_model.save(model, directory, signatures={"serving_default": model.serve})
    return directory


@pytest.fixture
def run(saved_model, capsys):
    """Runs `predict` with arguments in this process: exit code, answers, and the error message."""

    def run_in_process(*arguments, model=saved_model):
        capsys.readouterr()
        model_flag = [f"--saved_model={model}"] if model else []
        with flagsaver.flagsaver():
            rest = flags.FLAGS(["predict", *model_flag, *arguments])
            code = predict.main(rest)
        output, error = capsys.readouterr()
        return code, [json.loads(line) for line in output.splitlines()], error

    return run_in_process


@pytest.fixture
def write(tmp_path):
    def write_file(name, content):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write_file


def texts_and_labels(answers):
    return [(answer["text"], answer["label"][:3]) for answer in answers]


def test_each_text_gets_its_label_and_probabilities(run):
    code, answers, error = run("--text=a good film", "--text=bad, “very” bad")
    assert (code, error) == (0, "")
    assert answers == [
        {"text": "a good film", "label": "positive", "probabilities": [0.119203, 0.880797]},
        {"text": "bad, “very” bad", "label": "negative", "probabilities": [0.880797, 0.119203]},
    ]


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_the_batch_size_does_not_change_the_answers(run, batch_size):
    texts = [f"{'good' if i % 3 else 'bad'} {i}" for i in range(5)]
    _, answers, _ = run(*(f"--text={text}" for text in texts), f"--batch_size={batch_size}")
    expected = [(text, "pos" if "good" in text else "neg") for text in texts]
    assert texts_and_labels(answers) == expected


FILES = {
    "lines": ("x.txt", "good one\r\n\nbad\n", [("good one", "pos"), ("", "neg"), ("bad", "neg")]),
    "no newline at the end": ("x.txt", "bad\ngood", [("bad", "neg"), ("good", "pos")]),
    "byte order mark": ("x.txt", b"\xef\xbb\xbfgood\n", [("good", "pos")]),
    "csv": ("x.csv", "id,text\n1,good\n2,bad\n", [("good", "pos"), ("bad", "neg")]),
    "quoted newlines": (
        "x.csv",
        'text,id\n"two\nlines, ""good""",1\nbad,2\n',
        [('two\nlines, "good"', "pos"), ("bad", "neg")],
    ),
    "short row": ("x.csv", "id,text\n1\n2,good\n", [("", "neg"), ("good", "pos")]),
    "csv header only": ("x.csv", "id,text\n", []),
    "jsonl": (
        "x.jsonl",
        '{"text": "good\\n!"}\n\n{"id": 1, "text": "ü"}\n',
        [
            ("good\n!", "pos"),
            ("ü", "neg"),
        ],
    ),
    "tsv": ("x.tsv", "id\ttext\n1\tgood, x\n", [("good, x", "pos")]),
    "csv.gz": ("x.csv.gz", gzip.compress(b"text\ngood\n", mtime=0), [("good", "pos")]),
    "jsonl.gz": ("x.jsonl.gz", gzip.compress(b'{"text": "bad"}\n'), [("bad", "neg")]),
    "empty txt": ("x.txt", "", []),
    "empty jsonl": ("x.jsonl", "", []),
    "other bytes": ("x.txt", b"caf\xe9\ngood", [("caf�", "neg"), ("good", "pos")]),
    "other bytes in csv": ("x.csv", b"text\ncaf\xe9\n", [("caf�", "neg")]),
    "half a pair": ("x.jsonl", '{"text": "good \\ud83d!"}', [("good ���!", "pos")]),
    "emoji": ("x.jsonl", '{"text": "\\ud83d\\ude00 good"}', [("😀 good", "pos")]),
    "long": ("x.csv", "text\n" + "good " * 50_000 + "\n", [("good " * 50_000, "pos")]),
}


@pytest.mark.parametrize("name, content, expected", FILES.values(), ids=FILES.keys())
def test_texts_of_a_file_are_answered_in_order(run, write, name, content, expected):
    code, answers, error = run(f"--input={write(name, content)}")
    assert (code, error) == (0, "")
    assert texts_and_labels(answers) == expected


def test_texts_of_the_command_come_before_those_of_the_file(run, write):
    _, answers, _ = run("--text=good", f"--input={write('x.txt', 'bad')}")
    assert texts_and_labels(answers) == [("good", "pos"), ("bad", "neg")]


def test_the_field_may_be_named(run, write):
    for name, content in {
        "x.csv": "text,review\na,good\n",
        "x.jsonl": '{"review": "good"}',
    }.items():
        _, answers, _ = run(f"--input={write(name, content)}", "--field=review")
        assert texts_and_labels(answers) == [("good", "pos")]


def test_answers_go_into_a_file_that_is_there_only_when_it_is_complete(run, write, tmp_path):
    output = tmp_path / "answers.jsonl"
    code, answers, _ = run("--text=good", "--text=schön", f"--output={output}")
    assert (code, answers) == (0, [])
    lines = output.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["good", "schön"]
    assert os.listdir(tmp_path) == ["answers.jsonl"]
    assert run(f"--input={write('x.txt', '')}", f"--output={output}")[0] == 0
    assert output.read_text() == ""


PROBLEMS = {
    "nothing": ([], "--saved_model=DIR and --text=… or --input=FILE are needed", 1),
    "argument": (["--text=a", "b"], "unexpected argument 'b'; a text goes into --text=…", 1),
    "kind": (["--input=x.pdf"], "--input=x.pdf: expected a file ending in .txt, .csv, .tsv, .j", 3),
    "no file": (["--input=nowhere.txt"], "--input=nowhere.txt: there is no such file", 3),
    "output": (["--text=a", "--output=no/where"], "--output=no/where: No such file or direct", 3),
}


@pytest.mark.parametrize("arguments, message, code", PROBLEMS.values(), ids=PROBLEMS.keys())
def test_a_wrong_command_is_answered_in_one_line(run, arguments, message, code):
    found, answers, error = run(*arguments)
    assert (found, answers) == (code, [])
    assert error.startswith(f"error: {message}")
    assert error.count("\n") == 1


def test_the_model_must_be_named(run):
    code, _, error = run("--text=good", model=None)
    assert (code, error.startswith("error: --saved_model=DIR")) == (1, True)


BAD_FILES = {
    "missing column": (
        "x.csv",
        "id,texts\n1,good\n",
        "x.csv: no column 'text' among ['id', 'texts']; name it with --field."
        " Did you mean 'texts'?\n",
    ),
    "empty csv": ("x.csv", "", "x.csv: no column 'text' among []; name it with --field.\n"),
    "no json": ("x.jsonl", '{"text": "a"}\n\n{"text": \n', "x.jsonl:3: expected an object with"),
    "no object": ("x.jsonl", '["text"]\n', "x.jsonl:1: expected an object with a text 'text'."),
    "no text": ("x.jsonl", '{"text": 3}\n', "x.jsonl:1: expected an object with a text 'text'."),
    "other key": ("x.jsonl", '{"review": "a"}\n', "x.jsonl:1: expected an object with a text"),
}


@pytest.mark.parametrize("content", [b"good\n", gzip.compress(b"good\n" * 99, mtime=0)[:-9]])
def test_a_file_that_is_only_called_gzip_is_told(run, write, content):
    code, answers, error = run(f"--input={write('x.txt.gz', content)}")
    assert (code, answers) == (3, [])
    assert error.endswith("x.txt.gz: not a gzip file, or a damaged one.\n")


@pytest.mark.parametrize("name, content, message", BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_file_is_told_with_its_line(run, write, name, content, message):
    code, answers, error = run(f"--input={write(name, content)}")
    assert (code, answers) == (3, [])
    assert message in error
    assert error.count("\n") == 1


def test_a_directory_without_a_model_is_told(run, tmp_path, tf):
    other = str(tmp_path / "other")
    tf.saved_model.save(tf.Module(), other)
    for model in (str(tmp_path / "nowhere"), str(tmp_path), other):
        code, _, error = run("--text=good", model=model)
        assert code == 3
        assert error.startswith(f"error: No usable SavedModel in '{model}': ")
        assert error.count("\n") == 1


def test_who_names_a_run_directory_is_told_where_its_model_is(run, tmp_path):
    (tmp_path / "config.gin").touch()
    assert "--mode=export" in run("--text=good", model=str(tmp_path))[2]
    inner = tmp_path / "saved_model"
    inner.mkdir()
    assert run("--text=good", model=str(tmp_path))[2].endswith(f"--saved_model={inner}\n")


def test_the_command_works_from_another_directory(saved_model, tmp_path):
    (tmp_path / "x.jsonl").write_bytes(b'{"text": "sch\xc3\xb6n good"}\n')
    command = [sys.executable, "-m", "sentiment_train.predict", f"--saved_model={saved_model}"]
    package = pathlib.Path(predict.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": str(package)}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)
    process = subprocess.run(
        [*command, "--text", b"caf\xe9", "--input=x.jsonl"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert (process.returncode, process.stderr.decode()) == (0, "")
    answers = [json.loads(line) for line in process.stdout.splitlines()]
    assert texts_and_labels(answers) == [("caf�", "neg"), ("schön good", "pos")]


def test_of_a_language_model_there_are_perplexities(tf, run, tmp_path):
    class Model(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="text")])
        def serve(self, text):
            tokens = tf.strings.length(text)
            loss = tf.cast(tokens, tf.float32)
            return {
                "tokens": tokens,
                "loss": loss,
                "log_probability": -2.0 * loss,
                "perplexity": loss + 0.5,
            }

    model = Model()
    tf.saved_model.save(model, str(tmp_path / "lm"), signatures={"serving_default": model.serve})
    code, answers, _ = run("--text=good", model=str(tmp_path / "lm"))
    assert code == 0
    expected = {"text": "good", "perplexity": 4.5, "log_probability": -8.0, "tokens": 4}
    assert answers == [expected]
