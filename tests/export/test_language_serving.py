"""A language model is served as it was trained, and its outputs become its inputs."""

import numpy as np
import pytest
import tensorflow as tf

from sentiment_train.data.encoders import WordEncoder, encode_all
from sentiment_train.export.language_serving import LanguageServingModule
from sentiment_train.export.saved_model import GOLDEN_TEXTS, export
from sentiment_train.models.language_model import LanguageModel
from sentiment_train.schema import ModelInputs

TEXTS = ["a good film", "a bad film", "it was okay, not great, not terrible", "worst word ever"]
SETTINGS = {
    "two layers": {"cell": "lstm", "units": (4, 3), "initial_state": "learned"},
    "tied": {"cell": "gru", "units": (5,), "tie_embeddings": True, "recurrence": "keras"},
    "one-hot": {"cell": "simple", "units": (4,), "input": "one_hot"},
    "both ways": {"cell": "gru", "units": (5,), "bidirectional": True},
}
FORWARD = {name: s for name, s in SETTINGS.items() if "bidirectional" not in s}


class Served:
    """A language model with random weights, and the module that serves it."""

    def __init__(self, directory, **settings):
        rules = WordEncoder(max_length=300)
        rules.fit(TEXTS).save(directory)
        self.encoder = rules.load(directory)
        config = LanguageModel(embedding_size=5, **settings)
        self.model = config.build(ModelInputs(self.encoder.vocabulary_size, 2, use_cudnn=False))
        rng = np.random.default_rng(5)
        self.model.set_weights([rng.normal(0, 0.9, w.shape) for w in self.model.weights])
        by_token = config.token_by_token(self.model)
        self.module = LanguageServingModule(self.model, self.encoder, by_token)

        self.live = tf.function(
            lambda tokens: self.model(
                {"tokens": tokens, "lengths": tf.fill(tf.shape(tokens)[:1], tf.shape(tokens)[1])}
            ),
            input_signature=[tf.TensorSpec([None, None], tf.int32)],
        )

    def sums(self, texts):
        """`[n, 3]` of each text alone, not by way of the serving function."""
        ids, lengths = map(np.concatenate, zip(*encode_all(self.encoder, texts), strict=True))
        rows = np.split(ids, np.cumsum(lengths)[:-1])
        return np.concatenate([self.live(row[None]) for row in rows])

    def likeliest_next(self, ids):
        """The word that makes a text the most probable, by trying out all of them."""
        tried = [[*ids, word] for word in range(2, self.encoder.vocabulary_size)]
        return 2 + int(np.argmax(self.live(np.array(tried, np.int32))[:, 0]))


@pytest.fixture(scope="module", params=SETTINGS.values(), ids=SETTINGS)
def served(request, tmp_path_factory):
    return Served(str(tmp_path_factory.mktemp("encoder")), **request.param)


def generate(module, texts, words, temperature, seed=0):
    arguments = tf.constant(texts), tf.constant(words), tf.constant(temperature), tf.constant(seed)
    texts = module.generate(*arguments)["text"].numpy()
    return [text.decode("utf-8", "replace") for text in texts]


def test_a_text_is_as_probable_as_the_live_model_says(served):
    found = {name: v.numpy() for name, v in served.module.serve(tf.constant(TEXTS)).items()}
    log_probability, predictions, _ = served.sums(TEXTS).T
    np.testing.assert_array_equal(found["tokens"], [3, 3, 7, 3])
    directions = predictions[0] / 3
    np.testing.assert_allclose(found["log_probability"], log_probability / directions, rtol=1e-5)
    np.testing.assert_allclose(found["loss"], -log_probability / predictions, rtol=1e-5)
    np.testing.assert_allclose(found["perplexity"], np.exp(found["loss"]), rtol=1e-5)
    assert served.module.serve(tf.zeros([0], tf.string))["perplexity"].shape == (0,)


@pytest.mark.parametrize("served", FORWARD.values(), ids=FORWARD, indirect=True)
def test_at_temperature_0_each_word_is_the_likeliest_after_all_before_it(served):
    prompts = ["it was", "", "a good film worst"]
    found = generate(served.module, prompts, words=4, temperature=0.0)
    words = {word: place for place, word in enumerate(served.encoder.words)}
    for prompt, text in zip(prompts, found, strict=True):
        ids = [words[word] for word in prompt.split()]
        for _ in range(4):
            ids.append(served.likeliest_next(ids))
        assert text.split() == [served.encoder.words[place] for place in ids]


def test_it_draws_the_same_words_from_the_same_seed_and_no_others(served):
    prompts = [b"a good film", b"unbekannt", b"\xff", b"not " * 400]
    one, same, other = (generate(served.module, prompts, 6, 1.0, seed) for seed in (1, 1, 2))
    assert one == same != other
    for prompt, text in zip(prompts, one, strict=True):
        given = prompt.decode("utf-8", "replace").split()
        assert set(text.split()[len(given) :]) <= set(served.encoder.words[2:])
        assert len(text.split()) == len(given) + 6


def test_no_words_are_no_change(served):
    assert generate(served.module, ["a good  film"], 0, 1.0) == ["a good  film"]
    arguments = tf.zeros([0], tf.string), tf.constant(3), tf.constant(1.0), tf.constant(0)
    assert served.module.generate(*arguments)["text"].shape == (0,)


def test_a_fresh_process_answers_as_the_live_model(tmp_path):
    s = Served(str(tmp_path), **SETTINGS["two layers"])
    directory = str(tmp_path / "saved_model")
    export(s.module, directory, s.sums(GOLDEN_TEXTS), 1e-5)
    generate_ = tf.saved_model.load(directory).signatures["generate"]
    found = generate_(
        text=tf.constant(["it was"]),
        words=tf.constant(5),
        temperature=tf.constant(0.8),
        seed=tf.constant(3),
    )
    assert [found["text"].numpy()[0].decode()] == generate(s.module, ["it was"], 5, 0.8, 3)


def test_an_encoder_without_words_can_score_but_not_write(tmp_path):
    s = Served(str(tmp_path), **SETTINGS["one-hot"])
    del s.encoder.words
    assert set(LanguageServingModule(s.model, s.encoder, None).signatures()) == {"serving_default"}
