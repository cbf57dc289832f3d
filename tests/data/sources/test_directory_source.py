import pytest
import tensorflow as tf

from sentiment_train.data.sources.directory import DirectorySource
from sentiment_train.errors import ConfigError, DataError
from sentiment_train.schema import Source


@pytest.fixture
def acl_imdb(write, tmp_path):
    """The layout of aclImdb with two reviews per class and split."""
    for split in ("train", "test"):
        for label in ("pos", "neg"):
            for name in ("1_8", "0_9"):
                write(f"aclImdb/{split}/{label}/{name}.txt", f"{split} {label} {name}")
        write(f"aclImdb/{split}/urls_pos.txt", "http://…")
    write("aclImdb/train/unsup/0_0.txt", "no label")
    write("aclImdb/README", "")
    return str(tmp_path / "aclImdb")


def test_the_layout_of_acl_imdb_gives_its_splits(acl_imdb, read, pairs):
    source = DirectorySource(path=acl_imdb)
    assert isinstance(source, Source)
    assert list(source.splits()) == ["train", "test"]
    assert pairs(source, "train") == [
        ("train neg 0_9", "neg"),
        ("train neg 1_8", "neg"),
        ("train pos 0_9", "pos"),
        ("train pos 1_8", "pos"),
    ]
    assert read(source, "test")[0].where == f"{acl_imdb}/test/neg/0_9.txt"
    assert source.class_names == ("neg", "pos")
    assert source.description == "aclImdb/"


def test_class_folders_alone_give_all(acl_imdb, pairs):
    source = DirectorySource(path=f"{acl_imdb}/train/")
    assert list(source.splits()) == ["all"]
    assert len(pairs(source)) == 4


@pytest.mark.parametrize("name", ["validation", "valid", "val", "dev"])
def test_the_validation_split_may_have_other_names(acl_imdb, write, pairs, name):
    write(f"aclImdb/{name}/pos/1.txt", "good")
    write(f"aclImdb/{name}/neg/1.txt", "bad")
    assert pairs(DirectorySource(path=acl_imdb), "validation") == [("bad", "neg"), ("good", "pos")]


def test_labels_name_and_order_the_classes(acl_imdb, pairs):
    source = DirectorySource(path=acl_imdb, labels={"pos": "positive", "neg": "negative"})
    assert source.class_names == ("positive", "negative")
    assert {label for _, label in pairs(source, "test")} == {"positive", "negative"}


def test_ram_paths_work(ram, pairs):
    for label in ("a", "b"):
        tf.io.gfile.makedirs(f"{ram}/data/{label}")
        with tf.io.gfile.GFile(f"{ram}/data/{label}/x.txt", "w") as file:
            file.write(f"text {label}")
    source = DirectorySource(path=f"{ram}/data")
    assert pairs(source) == [("text a", "a"), ("text b", "b")]
    assert len(source.fingerprint()) == 64


def test_invalid_bytes_are_told_with_file_and_line(acl_imdb, write, problem, pairs):
    path = write("aclImdb/train/neg/0_9.txt", "one\ngrün", "latin-1")
    message = problem(DirectorySource(path=acl_imdb), "train")
    assert message.startswith(f"{path}:2: byte 0xfc is not valid utf-8.")
    assert "DirectorySource.encoding = 'latin-1'" in message
    latin = DirectorySource(path=acl_imdb, encoding="latin-1")
    assert pairs(latin, "train")[0] == ("one\ngrün", "neg")


def test_what_is_not_one_of_the_layouts_is_told(acl_imdb, write, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "hollow/pos").mkdir(parents=True)
    write("hollow/neg/1.txt", "x")
    write("single/neg/1.txt", "x")
    write("untrained/test/neg/1.txt", "x")
    write("twice/train/neg/1.txt", "x")
    write("twice/val/neg/1.txt", "x")
    write("twice/dev/neg/1.txt", "x")
    expected = {
        "nowhere": "there is no such directory",
        "empty": "has no folders",
        "hollow": "hollow/pos has no files that match",
        "single": "two or more classes, only 'neg'",
        "untrained": "has a folder 'test' but no 'train'",
        "twice": "two folders for validation",
    }
    for name, words in expected.items():
        with pytest.raises(DataError) as error:
            DirectorySource(path=str(tmp_path / name)).splits()
        assert words in error.value.message


def test_a_missing_class_folder_is_told(acl_imdb):
    with pytest.raises(DataError, match=r"train has no folder 'nag'; .* Did you mean 'neg'\?"):
        DirectorySource(path=acl_imdb, labels=("nag", "pos")).splits()


def test_an_unknown_folder_is_told(acl_imdb, write):
    write("aclImdb/test/neutral/1.txt", "x")
    with pytest.raises(DataError, match=r"test: unknown label 'neutral'; known: 'neg', 'pos'"):
        DirectorySource(path=acl_imdb).splits()
    write("aclImdb/tests/neg/1.txt", "x")
    with pytest.raises(DataError, match=r"a folder 'tests' beside 'train'. Did you mean 'test'"):
        DirectorySource(path=acl_imdb).splits()
    assert DirectorySource(path=acl_imdb, ignore=("unsup", "tests", "neutral")).splits()


def test_path_must_be_set():
    with pytest.raises(ConfigError, match=r"DirectorySource\.path"):
        DirectorySource()


def test_the_fingerprint_depends_on_content_names_and_options(acl_imdb, write):
    source = DirectorySource(path=acl_imdb)
    seen = [
        source.fingerprint(),
        DirectorySource(path=acl_imdb, labels=("pos", "neg")).fingerprint(),
    ]
    assert source.fingerprint() == seen[0]
    path = write("aclImdb/test/neg/0_9.txt", "other")
    seen.append(source.fingerprint())
    write("aclImdb/test/neg/0_8.txt", "other")
    tf.io.gfile.remove(path)
    seen.append(source.fingerprint())
    assert len(set(seen)) == 4


def test_thousands_of_files_keep_their_order(write, tmp_path, read):
    for i in range(1500):
        write(f"many/{'ab'[i % 2]}/{i:04}.txt", str(i))
    texts = [example.text for example in read(DirectorySource(path=str(tmp_path / "many")))]
    assert texts == [str(i) for i in (*range(0, 1500, 2), *range(1, 1500, 2))]
