"""Gin at one seam: parsed once, the parts are made from it, and leftovers are errors.

`parse` reads gin files and bindings; `make` builds the experiment from them, each part checking
itself; `differing_bindings` compares two written configurations.
"""

from __future__ import annotations

import ast
import pathlib
import re
from collections.abc import Iterable, Iterator, Sequence

import gin
from gin import config_parser

from sentiment_train import gin_files
from sentiment_train.errors import ConfigError
from sentiment_train.part_types import describe_mismatch


class Part:
    """Base of the frozen dataclasses that gin configures: checks itself when it is made.

    Types come from the annotations. A subclass puts ranges and combinations into `check`:

        @gin.configurable
        @dataclass(frozen=True)
        class Vocabulary(Part):
            max_size: int = 20_000

            def check(self):
                self.require(self.max_size > 2, "max_size", "at least 3")
    """

    def __post_init__(self):
        for field, problem in describe_mismatch(self):
            self.refuse(field, problem)
        self.check()

    def check(self) -> None:
        """Ranges and combinations of fields; raises ConfigError through `require` or `refuse`."""

    def require(self, condition: bool, field: str, allowed: str) -> None:
        """Raises ConfigError naming the field, its value and what is `allowed`."""
        if not condition:
            self.refuse(field, f"is out of range; allowed: {allowed}.")

    def refuse(self, field: str, problem: str):
        """Raises ConfigError: `Class.field = value <problem>`."""
        name, scope = f"{type(self).__name__}.{field}", gin.current_scope_str()
        binding = f"{scope}/{name}" if scope else name
        raise ConfigError(f"{binding} = {getattr(self, field)!r} {problem}", binding)


def parse(files: Sequence[str], bindings: Sequence[str]) -> gin_files.Provenance:
    """Parses gin files, then bindings; the result is gin's global configuration, locked.

    Raises:
      ConfigError: one message with file, line and suggestion.
    """
    gin.clear_config()
    paths = gin_files.search_path()
    paths += [p for f in files if (p := pathlib.Path(f).parent) not in paths]
    statements = []
    for name in files:
        statements += gin_files.read_file(gin_files.find_gin_file(name, paths), paths, including=())
    for binding in bindings:
        statements += gin_files.read_text(binding, "--gin_bindings", paths, including=())
    provenance = gin_files.check(statements)
    for statement in statements:
        with _one_message(f"{gin_files.place_of(statement.location)}: "):
            _apply(statement)
    _finalize(provenance)
    return provenance


def _apply(statement) -> None:
    """Hands one checked statement to gin. Includes were followed by `read_file`."""
    if isinstance(statement, config_parser.ImportStatement):
        gin.parse_config(statement.format())
    elif isinstance(statement, config_parser.BindingStatement):
        scope = f"{statement.scope}/" if statement.scope else ""
        name = f"{scope}{statement.selector}"
        key = f"{name}.{statement.arg_name}" if statement.arg_name else name
        gin.parse_config(f"{key} = {statement.value!r}")


def _finalize(provenance: gin_files.Provenance) -> None:
    """Locks the configuration; a binding that is still `%gin.REQUIRED` is refused."""
    try:
        with _one_message():
            gin.finalize()
    except ConfigError as error:
        required = re.match(r"(\S+) set to `%gin.REQUIRED`", error.message)
        if not required:
            raise
        place = provenance.of(required[1])
        raise ConfigError(f"{place}{required[1]} must be set; here it is %gin.REQUIRED.") from None


class _one_message:
    """Turns what gin itself still objects to into a ConfigError with its first line."""

    def __init__(self, place: str = ""):
        self.place = place

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        if isinstance(error, ValueError | RuntimeError | TypeError | SyntaxError):
            first_line = str(error).strip().split("\n")[0]
            raise ConfigError(self.place + first_line) from None
        return False


def make(constructor, provenance: gin_files.Provenance):
    """Calls a configurable without arguments: everything it needs comes from gin.

    Raises:
      ConfigError: if a value is refused or missing, or if a binding was read by nothing; with the
        file and line of the binding.
    """
    try:
        part = constructor()
    except ConfigError as error:
        raise ConfigError(provenance.of(error.binding) + error.message) from None
    except (RuntimeError, TypeError) as error:
        missing = re.search(_REQUIRED, str(error)) or re.search(_WITHOUT_DEFAULT, str(error))
        if not missing:
            raise
        names = [f"{missing['part']}.{name}" for name in ast.literal_eval(missing["names"])]
        raise ConfigError(f"{' and '.join(names)} must be set in the gin file.") from None
    if unread := unread_bindings():
        raise ConfigError(
            f"{provenance.of(unread[0])}nothing reads {', '.join(unread)}. Remove it, or refer to"
            " the part it belongs to (`Experiment.model = @MyModel()`)."
        )
    return part


# How gin names the parameters that have no value: gin.REQUIRED by default, or without a default.
_REQUIRED = r"Required bindings for `(?P<part>.*)` not provided .*: (?P<names>\[.*\])"
_WITHOUT_DEFAULT = (
    r"No values supplied by Gin or caller for arguments: (?P<names>\['.*\])\n"
    r"(?:.*\n)*?.*In call to configurable '(?P<part>\w+)'"
)


def unread_bindings() -> list[str]:
    """Bindings that building the experiment did not use, as `Class.parameter` or `%macro`.

    A class that is bound by reference (`pooling = @MyPooling`) is made later, inside the strategy's
    scope: it counts as read when something that was read refers to it.
    """
    operative = set(gin.config._OPERATIVE_CONFIG)
    config = gin.config._CONFIG
    pending, read = list(operative), set(operative)
    while pending:
        for reference in gin.config.iterate_references(config.get(pending.pop(), {})):
            key = (reference.scoped_selector.rpartition("/")[0], reference.configurable.selector)
            for used in (key, ("", key[1])):
                if used not in read:
                    read.add(used)
                    pending.append(used)
    unread = []
    for (scope, selector), bound in config.items():
        if (scope, selector) in read or any(selector == s and not scope for _, s in operative):
            continue
        if selector == gin_files.MACRO:
            unread.append(f"%{scope}")
        elif selector != "gin.constant":
            prefix = f"{scope}/" if scope else ""
            unread += [prefix + gin_files.short_name(selector, p) for p in bound]
    return sorted(unread)


def bindings_of(text: str) -> dict[str, str]:
    """`config.gin` as `{"Class.parameter": "value"}`, for comparing two configurations."""
    statements = gin_files.read_text(text, "config.gin", (), ())
    return dict(_binding_items(statements))


def _binding_items(statements: Iterable) -> Iterator[tuple[str, str]]:
    for s in statements:
        if isinstance(s, config_parser.ImportStatement):
            yield f"import {s.module}", "imported"
        elif isinstance(s, config_parser.BindingStatement):
            name = f"{s.scope}/{s.selector}" if s.scope else s.selector
            yield (f"{name}.{s.arg_name}" if s.arg_name else f"%{name}"), repr(s.value)


# May be changed in a run that began: what comes after the training, and what others reported (a
# report or an export that fails must not hold back what was trained); on what devices it runs; how
# often it is logged and saved.
_SHAPES_NOTHING = re.compile(
    r"(.*/)?((Published|Report|Checkpointing|TemperatureScaling)\."
    r"|Experiment\.(published|report|export|calibration)$"
    r"|Runtime\.(strategy|logical_cpus|gpus|xla|wait_for_workers)$|Training\.log_every$|Shards\.service$)"
)


def differing_bindings(old: str, new: str, given: str | None = None) -> list[str]:
    """Readable lines for every binding that differs between two `config.gin` texts.

    Args:
      given: the bindings that people wrote. Others are defaults: one that changed is a difference,
        one that only one side knows (a later version added it) is not.
    """
    before, after = bindings_of(old), bindings_of(new)
    names = before.keys() | after.keys()
    if given is not None:
        names = (before.keys() & after.keys()) | bindings_of(given).keys()
    lines = []
    for name in sorted(names):
        if before.get(name) != after.get(name) and not _SHAPES_NOTHING.match(name):
            was, now = before.get(name, "(default)"), after.get(name, "(default)")
            lines.append(f"{name}: {was} there, {now} now")
    return lines
