"""Gin at work on small parts: every mistake gets one answer, with its place."""

import os
import pathlib
import sys
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import gin
import pytest

from sentiment_train import config
from sentiment_train.config import Part, differing_bindings
from sentiment_train.errors import ConfigError


@runtime_checkable
class Drink(Protocol):
    def pour(self): ...


@gin.configurable
class CfgTea:
    def __init__(self, degrees=80):
        self.degrees = degrees

    def pour(self): ...


@gin.configurable
@dataclass(frozen=True)
class CfgOven(Part):
    size: int = 3
    heat: float = 0.5
    mode: Literal["fan", "grill"] = "fan"
    trays: tuple[int, ...] = (1,)

    def check(self):
        self.require(self.size > 0, "size", "above 0")


@gin.configurable
@dataclass(frozen=True)
class CfgKitchen(Part):
    oven: CfgOven = field(default_factory=CfgOven)
    drink: Drink | None = None
    other: Any = None


@gin.configurable
@dataclass(frozen=True)
class CfgRequired(Part):
    path: str = gin.REQUIRED


@gin.configurable
@dataclass(frozen=True)
class CfgWithoutDefault(Part):
    path: str
    size: int = 1


class CfgTwin:
    def __init__(self, x=1):
        self.x = x


for module in ("cfg_here", "cfg_there"):
    gin.external_configurable(CfgTwin, module=module)


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))


def write(name, text):
    with open(name, "w", encoding="utf-8") as file:
        file.write(text)
    return name


def make(text, *bindings):
    """The kitchen of a gin file."""
    provenance = config.parse([write("my.gin", text)], bindings)
    return config.make(CfgKitchen, provenance)


def test_values_references_and_macros_reach_the_parts():
    kitchen = make(
        "warm = 0.75\nCfgKitchen.other = @CfgTea()\nCfgOven:\n  heat = %warm\n  size = 7"
    )
    assert (kitchen.oven, kitchen.other.degrees) == (CfgOven(7, 0.75), 80)


def test_nothing_bound_gives_the_defaults():
    assert make("") == CfgKitchen()


def test_the_configuration_is_locked():
    make("CfgOven.size = 7")
    with pytest.raises(RuntimeError, match="locked"):
        gin.bind_parameter("CfgOven.size", 8)


def test_the_last_binding_wins():
    assert make("CfgOven.size = 1\nCfgOven.size = 2").oven.size == 2
    write("base.gin", "CfgOven.size = 3\nCfgOven.heat = 0.1")
    assert make("include 'base.gin'\nCfgOven.size = 4").oven == CfgOven(4, 0.1)
    assert make("CfgOven.size = 4\ninclude 'base.gin'").oven == CfgOven(3, 0.1)
    assert make("m = 1\nCfgOven.size = %m\nm = 2").oven.size == 2


def test_later_files_win_and_bindings_win_over_files():
    files = [
        write("a.gin", "CfgOven.size = 1\nCfgOven.heat = 0.1"),
        write("b.gin", "CfgOven.size = 2"),
    ]
    assert config.make(CfgOven, config.parse(files, [])) == CfgOven(2, 0.1)
    provenance = config.parse(files, ["CfgOven.size = 3", "CfgOven.size = 4"])
    assert config.make(CfgOven, provenance) == CfgOven(4, 0.1)


def test_bindings_may_hold_several_statements_includes_and_blocks():
    write("base.gin", "CfgOven.mode = 'grill'")
    kitchen = make(
        "CfgOven.size = 1",
        "include 'base.gin'\nm = 9\nCfgOven.size = %m  # many",
        "CfgOven:\n  heat = 0.9\n  trays = (1,\n 2)",
    )
    assert kitchen.oven == CfgOven(9, 0.9, "grill", (1, 2))


def test_includes_are_found_beside_the_file_in_gin_and_among_the_shipped_ones(tmp_path):
    os.makedirs("project/parts")
    os.makedirs("gin")
    write("project/parts/a.gin", "CfgOven.size = 5")
    write("gin/b.gin", "CfgOven.heat = 0.25")
    write("project/my.gin", "include 'parts/a.gin'\ninclude 'b.gin'\ninclude 'a.gin'")
    with pytest.raises(ConfigError, match=r"^project/my.gin:3: No gin file 'a.gin' \(looked in"):
        config.parse(["project/my.gin"], [])
    write("project/my.gin", "include 'parts/a.gin'\ninclude 'b.gin'")
    assert config.make(CfgOven, config.parse(["project/my.gin"], [])) == CfgOven(5, 0.25)


def test_own_modules_are_imported_from_the_current_directory():
    lines = (
        "import gin",
        "@gin.configurable",
        "class CfgOwnCoffee:",
        "    def __init__(self, cups=1): self.cups = cups",
    )
    write("cfg_own_parts.py", "\n".join(lines))
    text = "import cfg_own_parts\nCfgKitchen.other = @CfgOwnCoffee()\nCfgOwnCoffee.cups = 3"
    assert make(text).other.cups == 3


SCOPED = "CfgKitchen.oven = @hot/CfgOven()\n"


def test_a_scoped_binding_holds_in_its_scope_only():
    text = "CfgKitchen.other = @CfgOven()\nCfgOven.size = 1\nhot/CfgOven.size = 2"
    kitchen = make(SCOPED + text)
    assert (kitchen.oven.size, kitchen.other.size) == (2, 1)


@pytest.mark.parametrize(
    "text",
    [
        "CfgKitchen.other = @CfgTea\nCfgTea.degrees = 60",
        "CfgKitchen.other = @hot/CfgTea\nhot/CfgTea.degrees = 60",
        "CfgKitchen.other = [{'a': @CfgTea}]\nCfgTea.degrees = 60",
        "m = @CfgTea\nCfgKitchen.other = %m\nCfgTea.degrees = 60",
        "n = 60\nCfgKitchen.other = @CfgTea\nCfgTea.degrees = %n",
    ],
)
def test_what_belongs_to_a_factory_counts_as_read(text):
    assert make(text).other


def place(line, message):
    return rf"^my\.gin:{line}: {message}"


MISTAKES = {
    "misspelt class": ("CfgOvn.size = 1", place(1, "nothing is called 'CfgOvn'. .*'CfgOven'")),
    "misspelt parameter": (
        "# x\nCfgOven.sise = 1",
        place(2, r"CfgOven has no parameter 'sise'. Did you mean 'size'\?$"),
    ),
    "unknown parameter": (
        "CfgOven.colour = 1",
        place(1, "CfgOven has no parameter 'colour'. It has size, heat, mode, trays.$"),
    ),
    "parameter in a block": ("CfgOven:\n  size = 1\n  haet = 2", place(3, ".*mean 'heat'")),
    "misspelt reference": ("CfgKitchen.other = @CfgTee()", place(1, ".* Did you mean 'CfgTea'")),
    "misspelt nested": ("CfgKitchen.other = [{'a': @CfgTee}]", place(1, ".*'CfgTea'")),
    "misspelt in a macro": ("m = @CfgTee()\nCfgKitchen.other = %m", place(1, ".*'CfgTea'")),
    "misspelt in a scope": ("a/CfgOven.sise = 1", place(1, ".* Did you mean 'size'")),
    "undefined macro": ("hot = 3\nCfgOven.size = %hott", place(2, "no macro '%hott'. .*'hot'")),
    "unused macro": ("\nhot = 3", place(2, "nothing reads %hot. Remove it")),
    "unused scoped macro": ("a/hot = 3", place(1, "nothing reads %a/hot. Remove it")),
    "unread part": ("CfgTea.degrees = 3", place(1, "nothing reads CfgTea.degrees. Remove it, or")),
    "unread parts": (
        "CfgTea.degrees = 3\nCfgRequired.path = 'a'",
        place(2, "nothing reads CfgRequired.path, CfgTea.degrees."),
    ),
    "unread scope": (SCOPED + "cold/CfgOven.size = 2", place(2, "nothing reads cold/CfgOven.size")),
    "float for int": ("CfgOven.size = 1e6", place(1, ".* = 1000000.0 is a float; write 1000000.$")),
    "string for number": ("CfgOven.heat = '1'", place(1, ".*a string; write 1.0 without quotes")),
    "class without brackets": (
        "CfgKitchen.oven = @CfgOven",
        place(1, r".* is a class; write @CfgOven\(\) with brackets"),
    ),
    "class for a protocol": (
        "CfgKitchen.drink = @CfgTea",
        place(1, r".* is a class; write @CfgTea\(\) with brackets"),
    ),
    "tuple expected": ("CfgOven.trays = 2", place(1, ".*an int; expected a tuple of an int")),
    "wrong items": ("CfgOven.trays = (2, 'a')", place(1, ".*expected a tuple of an int")),
    "literal": ("CfgOven.mode = 'fann'", place(1, ".*a string; expected 'fan' | 'grill'.$")),
    "other part": ("CfgKitchen.oven = @CfgTea()", place(1, ".*a CfgTea; expected a CfgOven")),
    "out of range": (
        "CfgOven.size = 5\nCfgOven.size = -1",
        place(2, "CfgOven.size = -1 is out of range; allowed: above 0.$"),
    ),
    "out of range by macro": ("m = 0\nCfgOven.size = %m", place(2, "CfgOven.size = 0 is out")),
    "out of range in a scope": (
        SCOPED + "CfgOven.size = 1\nhot/CfgOven.size = -1",
        place(3, "hot/CfgOven.size = -1 is out of range"),
    ),
    "syntax": ("CfgOven.size = 1\nCfgOven.heat 2", place(2, "Couldn't parse statement")),
    "no quotes": ("CfgOven.mode = fan", place(1, r"cannot read fan .*\(strings need quotes")),
    "open bracket": ("\nCfgOven.trays = (1,", place(2, "a bracket or quote is not closed")),
    "missing module": ("import cfg_nowhere.x", place(1, "no module 'cfg_nowhere.x'. Is its fold")),
    "import that lacks a module": (
        "import cfg_lacks",
        place(1, "importing 'cfg_lacks' failed: No module named 'cfg_la'"),
    ),
    "import that fails": (
        "CfgOven.size = 1\nimport cfg_fails",
        place(2, "importing 'cfg_fails' failed: ZeroDivisionError: division by zero"),
    ),
    "import that is no Python": ("import cfg_syntax", place(1, ".* failed: SyntaxError: .*line 1")),
    "required": ("CfgKitchen.other = @CfgRequired()", "^CfgRequired.path must be set in the gin"),
    "still required": (
        "CfgKitchen.other = @CfgRequired()\nCfgRequired.path = %gin.REQUIRED",
        place(2, "CfgRequired.path must be set; here it is %gin.REQUIRED.$"),
    ),
    "without default": (
        "CfgKitchen.other = @CfgWithoutDefault()\nCfgWithoutDefault.size = 2",
        "^CfgWithoutDefault.path must be set in the gin file.$",
    ),
    "ambiguous": (
        "CfgTwin.x = 3",
        place(1, r"'CfgTwin' is ambiguous; write one of \['cfg_here.CfgTwin', 'cfg_there.CfgT"),
    ),
    "ambiguous reference": ("CfgKitchen.other = @CfgTwin()", place(1, "'CfgTwin' is ambiguous")),
    "unknown include": ("include 'data/imbd.gin'", place(1, ".* Did you mean 'data/imdb.gin'")),
    "include loop": ("include 'my.gin'", place(1, "my.gin includes itself: my.gin → my.gin$")),
}


@pytest.mark.parametrize("text, message", MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_gets_one_answer_with_its_place(text, message):
    write("cfg_lacks.py", "import cfg_la\n")
    write("cfg_fails.py", "1 / 0\n")
    write("cfg_syntax.py", "def f(:\n")
    with pytest.raises(ConfigError, match=message) as error:
        make(text)
    assert "\n" not in error.value.message


def test_an_unknown_file_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"No gin file 'bilstn.gin' .* Did you mean 'bilstm.gin'"):
        config.parse(["bilstn.gin"], [])


@pytest.mark.parametrize(
    "binding, message",
    [
        ("CfgOven.sise = 1", "^--gin_bindings: CfgOven has no parameter 'sise'. Did you mean"),
        ("CfgOven.size = -1", "^--gin_bindings: CfgOven.size = -1 is out of range"),
        ("CfgOven.size", "^--gin_bindings: Couldn't parse"),
        ("CfgOven.trays = (1,", "^--gin_bindings: a bracket or quote is not closed"),
        ("CfgOven.size = 1; CfgOven.heat = 2", "^--gin_bindings: Expected newline"),
        ("CfgTea.degrees = 1", "^--gin_bindings: nothing reads CfgTea.degrees"),
        ("include 'nowhere'", "^--gin_bindings: No gin file 'nowhere'"),
    ],
)
def test_a_mistake_in_the_bindings_of_the_command_says_so(binding, message):
    with pytest.raises(ConfigError, match=message):
        make("CfgOven.size = 3", binding)


def test_ambiguous_names_work_with_their_module():
    text = "CfgKitchen.other = @cfg_here.CfgTwin()\ncfg_here.CfgTwin.x = 5"
    assert make(text).other.x == 5


def test_errors_of_other_kinds_keep_their_traceback():
    def broken():
        raise RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        config.make(broken, config.parse([], []))


EVERYTHING = """
import string
long = ('a text that does not fit on one line of the configuration', 'and another one', 3.5e-05)
a/m = {'x': [1, None, True], 'y': -0.25}
CfgKitchen.oven = @hot/CfgOven()
CfgKitchen.other = [%long, %a/m, @CfgTea, 'ü " \\' \\n']
hot/CfgOven.size = 2
CfgOven.trays = (1,)
CfgTea.degrees = 3
"""


def test_the_written_configuration_gives_the_same_one_again():
    first = make(EVERYTHING)
    written, operative = gin.config_str(), gin.operative_config_str()
    for text in (written, operative):
        again = make(text)
        assert again == first
        assert differing_bindings(written, gin.config_str()) == [] or text is operative
        assert differing_bindings(operative, gin.operative_config_str()) == []
    assert config.bindings_of(EVERYTHING) == config.bindings_of(written)


def test_differing_bindings_are_listed_by_name():
    old = "import a\nCfgOven.size = 1\nCfgOven.heat = 0.5\nm = 3\nx/CfgOven.size = 1"
    new = "CfgOven.heat = 0.5\nx/CfgOven.size = 2\nm = @CfgTea()\nCfgOven.trays = (1, 2)  # same"
    assert differing_bindings(old, new) == [
        "%m: 3 there, @CfgTea() now",
        "CfgOven.size: 1 there, (default) now",
        "CfgOven.trays: (default) there, (1, 2) now",
        "import a: imported there, (default) now",
        "x/CfgOven.size: 1 there, 2 now",
    ]
    assert differing_bindings(old, old + "\n# a comment\nCfgOven.size = 1") == []


def test_the_shipped_experiments_are_read():
    import sentiment_train.experiment

    shipped = pathlib.Path(config.__file__).parents[1] / "gin"
    for file in {*shipped.glob("*.gin")} - {shipped / "quick.gin"}:  # an overlay
        experiment = config.make(
            sentiment_train.experiment.Experiment, config.parse([str(file)], [])
        )
        assert experiment.source
