"""A run starts from another one: layers by their names, words by their spelling."""

import hashlib

import numpy as np
import pytest
from small_training import assert_close

from sentiment_train.data.vocabulary import RESERVED, load_vocabulary, save_vocabulary
from sentiment_train.errors import CheckpointError
from sentiment_train.models.language_model import LanguageModel
from sentiment_train.models.recurrent import RecurrentClassifier
from sentiment_train.schema import ModelInputs
from sentiment_train.training.checkpoints import Checkpoints, arrays_of
from sentiment_train.training.initial_weights import OtherRun, take
from sentiment_train.training.state import TrainingState

pytestmark = pytest.mark.usefixtures("tf")

WORDS = (*RESERVED, *"abcdefghijklmnopqr")
OTHER_WORDS = (*RESERVED, "new", "c", "a", "newer")  # known are [PAD], [UNK], c and a
SHAPE = {"embedding_size": 4, "cell": "gru", "units": (3,)}


def built(kind, words, **settings):
    return lambda: kind(**{**SHAPE, **settings}).build(ModelInputs(len(words), 2, use_cudnn=False))


@pytest.fixture
def saved(trainer, tmp_path):
    """The directory of a run with two checkpoints, and the arrays of the first, the better one."""

    def save(kind=LanguageModel, words=WORDS, decay=None, **settings):
        t = trainer(model=built(kind, words, **settings), average_decay=decay)
        path = tmp_path / "other"
        path.mkdir()
        save_vocabulary(words, str(path))
        digest = hashlib.sha256((path / "vocabulary.txt").read_bytes()).hexdigest()
        checkpoints = Checkpoints(str(path / "checkpoints"), 3, print)
        rng = np.random.default_rng(7)
        for step in (1, 2):
            arrays = arrays_of(t.step.variables())
            arrays = {name: rng.normal(size=a.shape).astype(a.dtype) for name, a in arrays.items()}
            counts = {name: abs(a) for name, a in arrays.items() if name.endswith("frequencies")}
            arrays |= counts
            state = TrainingState(step=step, best_step=1)
            checkpoints.save(state, arrays, {"data": "", "vocabulary": digest})
        return str(path), checkpoints.read(1).arrays

    return save


@pytest.fixture
def start(trainer, tmp_path):
    """A fresh model that takes what it can from a run: (trainer, its weights before, origin)."""

    def start_from(path, kind=RecurrentClassifier, words=OTHER_WORDS, layers=None, **settings):
        options = {name: settings.pop(name) for name in ("replicas", "decay") if name in settings}
        t = trainer(
            options.get("replicas", 1),
            model=built(kind, words, **settings),
            average_decay=options.get("decay"),
        )
        save_vocabulary(words, str(tmp_path))
        before = arrays_of(named(t))
        return t, before, take(t.step, str(tmp_path), OtherRun(path, print), layers)

    return start_from


def named(t):
    return {v.path: v for v in t.step.model.weights}


@pytest.mark.parametrize("replicas", [1, 3])
def test_embeddings_are_taken_by_word_and_recurrent_layers_by_name(saved, start, replicas):
    path, arrays = saved()
    t, before, origin = start(path, replicas=replicas)
    after = arrays_of(named(t))
    embeddings = arrays["model/000/embedding/embeddings"]
    for row, word in enumerate(OTHER_WORDS):
        known = word in WORDS
        expected = embeddings[WORDS.index(word)] if known else before["embedding/embeddings"][row]
        np.testing.assert_array_equal(after["embedding/embeddings"][row], expected)
    for place, name in enumerate(("gru_1/kernel", "gru_1/recurrent_kernel", "gru_1/bias"), 1):
        np.testing.assert_array_equal(after[name], arrays[f"model/00{place}/{name}"])
    for name in ("logits/kernel", "logits/bias"):
        np.testing.assert_array_equal(after[name], before[name])
    assert origin.taken == "embedding (4 of 6 words) + gru_1"
    assert (origin.path, origin.step) == (path, 1)
    for path, variable in named(t).items():
        for value in t.devices.strategy.experimental_local_results(variable.value):
            np.testing.assert_array_equal(value.numpy(), after[path])


def test_normalised_embeddings_are_taken_with_the_frequencies_of_their_words(saved, start):
    path, arrays = saved(normalized_embedding=True)
    t, before, _ = start(path, normalized_embedding=True)
    found, fresh = named(t)["embedding/frequencies"].numpy(), before["embedding/frequencies"]
    there = arrays["model/001/embedding/frequencies"]
    expected = [there[0], there[1], fresh[2], there[WORDS.index("c")], there[2], fresh[5]]
    np.testing.assert_array_equal(found, expected)


def test_a_plain_layer_takes_normalised_embeddings_as_they_were_used(saved, start):
    path, arrays = saved(normalized_embedding=True)
    t, before, _ = start(path)
    table, counts = (
        arrays[f"model/{n}"] for n in ("000/embedding/embeddings", "001/embedding/frequencies")
    )
    shares = counts[:, None] / counts.sum()
    centred = table - (shares * table).sum(axis=0)
    used = centred / np.sqrt((shares * centred**2).sum(axis=0))
    found = named(t)["embedding/embeddings"].numpy()
    for row, word in enumerate(OTHER_WORDS):
        known = word in WORDS
        expected = used[WORDS.index(word)] if known else before["embedding/embeddings"][row]
        np.testing.assert_allclose(found[row], expected, rtol=1e-5, err_msg=word)


def test_the_averages_of_the_other_run_are_taken_and_the_own_begin_there(saved, start):
    path, arrays = saved(decay=0.5)
    t, _, _ = start(path, decay=0.9, words=WORDS)
    average = arrays["average/001/gru_1/kernel"]
    assert not np.array_equal(average, arrays["model/001/gru_1/kernel"])
    np.testing.assert_array_equal(named(t)["gru_1/kernel"].numpy(), average)
    assert_close([a.numpy() for a in t.step.average.averages], t.weights())


def test_a_classifier_can_start_from_a_classifier(saved, start):
    path, arrays = saved(RecurrentClassifier, cell="lstm")
    t, _, origin = start(path, cell="lstm", words=WORDS, dense_units=(5,))
    assert origin.taken == "embedding (20 of 20 words) + lstm_1"
    np.testing.assert_array_equal(named(t)["lstm_1/bias"].numpy(), arrays["model/003/lstm_1/bias"])


def test_one_direction_can_start_from_the_forward_one_of_two(saved, start):
    path, arrays = saved(bidirectional=True)
    t, _, _ = start(path)
    np.testing.assert_array_equal(
        named(t)["gru_1/kernel"].numpy(), arrays["model/001/gru_1/kernel"]
    )


def test_the_rows_of_a_one_hot_kernel_are_words(saved, start):
    path, arrays = saved(input="one_hot")
    t, before, origin = start(path, input="one_hot")
    kernel, fresh = named(t)["gru_1/kernel"].numpy(), before["gru_1/kernel"]
    there = arrays["model/000/gru_1/kernel"]
    expected = [there[0], there[1], fresh[2], there[WORDS.index("c")], there[2], fresh[5]]
    np.testing.assert_array_equal(kernel, expected)
    assert origin.taken == "gru_1 (4 of 6 words)"


def test_keras_layers_start_from_our_own_and_say_the_same(saved, start):
    path, arrays = saved()
    t, _, origin = start(path, recurrence="keras")
    by_end = {path.rpartition("/")[2]: v.numpy() for path, v in named(t).items() if "gru_1" in path}
    np.testing.assert_array_equal(by_end["kernel"], arrays["model/001/gru_1/kernel"])
    assert origin.taken.endswith("+ gru_1")


def test_named_layers_are_all_that_is_taken(saved, start):
    path, _ = saved()
    t, before, origin = start(path, cell="lstm", layers=("embedding",))
    assert origin.taken == "embedding (4 of 6 words)"
    np.testing.assert_array_equal(named(t)["lstm_1/kernel"].numpy(), before["lstm_1/kernel"])


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"cell": "lstm"}, r"it has no lstm_1\. There are embedding \(embeddings 20×4\), gru_1 \("),
        ({"units": (5,)}, r"gru_1 needs kernel 4×15, there it is 4×9"),
        ({"embedding_size": 6}, r"embedding needs embeddings 6×6, there it is 20×4"),
        ({"bidirectional": True}, r"it has no gru_1_backward\."),
        ({"initial_state": "learned"}, r"gru_1 has no hidden"),
        ({"normalized_embedding": True}, r"embedding has no frequencies"),
        ({"input": "one_hot"}, r"4×9 is not a row for each of its 20 words"),
        ({"layers": ("embeding",)}, r"no layer 'embeding', only .* Did you mean 'embedding'\?"),
        ({"layers": ("logits",)}, r"it has no logits"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_is_there(saved, start, settings, message):
    path, _ = saved()
    with pytest.raises(CheckpointError, match=message):
        start(path, **settings)


def test_a_refusal_changes_nothing(saved, trainer, tmp_path):
    path, _ = saved()
    save_vocabulary(OTHER_WORDS, str(tmp_path))
    t = trainer(model=built(RecurrentClassifier, OTHER_WORDS, units=(5,)))
    before = t.weights()
    with pytest.raises(CheckpointError):
        take(t.step, str(tmp_path), OtherRun(path, print), None)
    np.testing.assert_equal(t.weights(), before)


def test_a_directory_without_a_run_and_a_changed_vocabulary_are_refused(saved, start, tmp_path):
    with pytest.raises(CheckpointError, match=r"init_from = '.*nowhere': there is no intact check"):
        OtherRun(str(tmp_path / "nowhere"), print)
    path, _ = saved()
    save_vocabulary((*WORDS[:-1], "z"), path)
    assert load_vocabulary(path)[-1] == "z"
    with pytest.raises(CheckpointError, match="is not what the checkpoints of this run"):
        start(path)
    (tmp_path / "other" / "vocabulary.txt").unlink()
    with pytest.raises(CheckpointError, match=r"matches embeddings by word: .*vocabulary\.txt"):
        start(path)
