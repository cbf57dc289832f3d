import pathlib
import sys
import uuid

import pytest

from sentiment_train import gin_files
from sentiment_train.errors import ConfigError


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


def write(**files):
    for name, text in files.items():
        path = pathlib.Path(name.replace("__", "/") + ".gin")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def values(path, paths=None):
    """`{name: (value, place)}` of the bindings of a file, the last one of each name."""
    statements = gin_files.read_file(path, paths or gin_files.search_path(), ())
    return {
        ".".join(filter(None, (s.scope, s.selector, s.arg_name))): (
            s.value,
            gin_files.place_of(s.location),
        )
        for s in statements
        if hasattr(s, "value")
    }


def test_the_search_path_is_here_then_gin_then_what_is_shipped():
    here, below, *shipped = gin_files.search_path()
    assert (here, below) == (pathlib.Path("."), pathlib.Path("gin"))
    assert any((path / "bilstm.gin").is_file() for path in shipped)
    assert gin_files.find_gin_file("bilstm.gin", gin_files.search_path()).endswith("bilstm.gin")


def test_the_first_file_on_the_search_path_is_taken(tmp_path):
    write(gin__bilstm="a = 1")
    find = lambda name: gin_files.find_gin_file(name, gin_files.search_path())  # noqa: E731
    assert find("bilstm.gin") == "gin/bilstm.gin"
    write(bilstm="a = 2")
    assert find("bilstm.gin") == "bilstm.gin"
    assert find(f"{tmp_path}/gin/bilstm.gin") == f"{tmp_path}/gin/bilstm.gin"
    assert find("gs://bucket/x.gin") == "gs://bucket/x.gin"


@pytest.mark.parametrize("name", ["bilstn.gin", "gin/bilstn.gin"])
def test_an_unknown_file_is_answered_with_the_nearest_and_where_it_was_looked_for(name):
    with pytest.raises(ConfigError) as error:
        gin_files.find_gin_file(name, gin_files.search_path())
    assert error.value.message.startswith(f"No gin file '{name}' (looked in ., gin, ")
    assert error.value.message.endswith(" Did you mean 'bilstm.gin'?")


def test_a_directory_is_no_gin_file(tmp_path):
    (tmp_path / "folder.gin").mkdir()
    with pytest.raises(ConfigError, match=r"No gin file 'folder.gin'"):
        gin_files.find_gin_file("folder.gin", gin_files.search_path())


def test_includes_are_read_in_place_and_know_their_file():
    write(top="a = 1\ninclude 'data/one.gin'\n\nb = 2", gin__data__one="b = 'one'\na = 'one'")
    assert values("top.gin") == {"a": ("one", "gin/data/one.gin:2"), "b": (2, "top.gin:4")}


def test_a_file_may_be_included_twice_but_not_by_itself():
    write(top="include 'one.gin'\ninclude 'one.gin'", one="a = 1")
    assert values("top.gin") == {"a": (1, "one.gin:1")}
    write(one="# a loop\ninclude 'two.gin'", two="include 'top.gin'")
    with pytest.raises(ConfigError) as error:
        values("top.gin")
    loop = "top.gin → one.gin → two.gin → top.gin"
    assert error.value.message == f"two.gin:1: top.gin includes itself: {loop}"


def test_an_unknown_include_is_told_with_its_line():
    write(top="a = 1\n\ninclude 'data/imbd.gin'")
    with pytest.raises(ConfigError, match=r"^top.gin:3: No gin file .* mean 'data/imdb.gin'"):
        values("top.gin")


def test_blocks_comments_and_continued_lines_have_their_lines():
    write(top="# head\nFoo:\n  x = 1\n  y = (2,\n       3)\nscope/Foo.z = \\\n  -4  # four\n")
    assert values("top.gin") == {
        "Foo.x": (1, "top.gin:3"),
        "Foo.y": ((2, 3), "top.gin:4"),
        "scope.Foo.z": (-4, "top.gin:6"),
    }


@pytest.mark.parametrize("encode", [lambda t: t.replace("\n", "\r\n").encode(), "utf-8-sig"])
def test_files_from_windows_are_read(tmp_path, encode):
    text = "a = '''ü\nb'''\nb = \\\n  2\n"
    encoded = encode(text) if callable(encode) else text.encode(encode)
    (tmp_path / "top.gin").write_bytes(encoded)
    assert values("top.gin") == {"a": ("ü\nb", "top.gin:1"), "b": (2, "top.gin:3")}


def test_references_and_macros_are_kept_as_they_were_written():
    write(top="Foo.x = {'a': [@Bar(), @s/Baz], 'b': (%macro, 1)}")
    ((value, _),) = values("top.gin").values()
    assert repr(value) == "{'a': [@Bar(), @s/Baz], 'b': (%macro, 1)}"


def test_remote_files_are_read(tf):
    folder = f"ram://{uuid.uuid4().hex}"
    with tf.io.gfile.GFile(f"{folder}/x.gin", "w") as file:
        file.write("a = 'ü'\n")
    assert values(f"{folder}/x.gin") == {"a": ("ü", f"{folder}/x.gin:1")}
    with pytest.raises(ConfigError, match=f"Cannot read {folder}/y.gin"):
        values(f"{folder}/y.gin")


@pytest.mark.parametrize(
    "text, message",
    [
        ("a = 1\nFoo.x 3", r"^top.gin:2: Couldn't parse statement, expected ':' or '='."),
        ("Foo.x = lstm", r"^top.gin:1: cannot read lstm as a value \(strings need quotes\)"),
        ("a = 1\nFoo.x = (1,\n 2", r"^top.gin:2: a bracket or quote is not closed"),
        ("Foo.x = [\n (1, 2),\n", r"^top.gin:1: a bracket or quote is not closed"),
        ("Foo.x = (1,\nFoo.y = 2", r"^top.gin:2: .* in 'Foo.y = 2'"),
        ("'''open", r"^top.gin:1: a bracket or quote is not closed"),
        ("a = 1\nFoo.x = '''open\nb = 2\n", r"^top.gin:\d: a bracket or quote is not closed"),
        ("a = 1\nb = 'open\n", r"^top.gin:2: "),
        ("Foo.x = (1, 2]", r"^top.gin:1: "),
        ("Foo:\n  x = 1\n y = 2", r"^top.gin:3: "),
        ("Foo.x = 1 + 2", r"^top.gin:1: "),
        ("Foo.x = 1; Foo.y = 2", r"^top.gin:1: Expected newline"),
        ("import", r"^top.gin:1: "),
        ("include data/imdb.gin", r"^top.gin:1: "),
        ("a..b = 1", r"^top.gin:1: "),
    ],
)
def test_a_syntax_error_is_one_line_with_its_place(text, message):
    write(top=text)
    with pytest.raises(ConfigError, match=message) as error:
        values("top.gin")
    assert "\n" not in error.value.message
    assert " object at " not in error.value.message


def test_a_file_that_is_not_utf8_is_told_with_the_line(tmp_path):
    (tmp_path / "top.gin").write_bytes(b"a = 1\nb = '\xe9'\n")
    with pytest.raises(ConfigError, match=r"^top.gin:2: the file is not UTF-8 text"):
        values("top.gin")


@pytest.mark.parametrize(
    "binding, place",
    [
        ("Foo.x", "a.gin:1: "),
        ("s/Foo.x", "a.gin:2: "),
        ("s/t/Foo.x", "a.gin:2: "),
        ("other/Foo.x", "a.gin:1: "),
        ("%macro", "a.gin:4: "),
        ("Foo.unknown", ""),
        (None, ""),
    ],
)
def test_the_place_of_a_binding_is_that_which_gin_takes_it_from(binding, place):
    provenance = gin_files.Provenance(
        {
            ("", "pkg.Foo", "x"): "a.gin:1",
            ("s", "pkg.Foo", "x"): "a.gin:2",
            ("", "pkg.Bar", "x"): "a.gin:3",
            ("macro", gin_files.MACRO, "value"): "a.gin:4",
        }
    )
    assert provenance.of(binding) == place
