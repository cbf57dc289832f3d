"""Gin files as statements with a place: found on the search path, read, and checked.

Gin itself reports a mistake without suggestions, and some not at all. This module only looks: it
reads every statement before gin does and checks each name, so that a mistake gets one answer with
the file, the line and the nearest name that exists.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.util  # gin uses it unimported: without it a missing file is an AttributeError
import inspect
import io
import pathlib
import re
import sys
import tokenize
from collections.abc import Iterator, Sequence

import gin
from gin import config_parser

from sentiment_train.errors import ConfigError, did_you_mean

MACRO = "gin.macro"


@dataclasses.dataclass
class Provenance:
    """Where each binding was written: `(scope, selector, parameter)` → `gin/my.gin:7`."""

    places: dict[tuple[str, str, str], str] = dataclasses.field(default_factory=dict)

    def of(self, binding: str | None) -> str:
        """`gin/my.gin:7: ` for `"scope/Class.field"` or `"%macro"`, or an empty string.

        What is not bound in a scope is looked up in the scopes around it, as gin does.
        """
        written = {}
        for (scope, selector, parameter), place in self.places.items():
            name = f"{scope}/{short_name(selector, parameter)}".lstrip("/")
            written[f"%{scope}" if selector == MACRO else name] = place
        while binding and binding not in written and "/" in binding:
            scope, _, name = binding.rpartition("/")
            binding = f"{scope.rpartition('/')[0]}/{name}".lstrip("/")
        return f"{written[binding]}: " if binding in written else ""


def short_name(selector: str, parameter: str) -> str:
    return f"{selector.rpartition('.')[2]}.{parameter}"


def search_path() -> list[pathlib.Path]:
    """Directories in which gin files and their includes are looked up, in this order.

    The current directory, `gin/` below it, the shipped `gin/` (in an installed package
    `sentiment_train/gin`, in a checkout the folder beside the package).
    """
    package = pathlib.Path(__file__).parent
    shipped = [package / "gin", package.parent / "gin"]
    paths = [pathlib.Path("."), pathlib.Path("gin"), *(p for p in shipped if p.is_dir())]
    return [p for i, p in enumerate(paths) if p not in paths[:i]]


def find_gin_file(name: str, paths: Sequence[pathlib.Path]) -> str:
    """The first existing file called `name` on `paths`.

    Raises:
      ConfigError: if there is none; lists where it was looked for and the nearest known name.
    """
    if "://" in name:
        return name  # read through tf.io.gfile
    for path in [pathlib.Path("")] if pathlib.Path(name).is_absolute() else paths:
        if (path / name).is_file():
            return str(path / name)
    known = {str(f.relative_to(p)) for p in paths if p.name == "gin" for f in p.rglob("*.gin")}
    known |= {pathlib.Path(k).name for k in known}
    suggestion = did_you_mean(name.removeprefix("gin/"), known)
    looked = ", ".join(str(p) for p in paths)
    raise ConfigError(f"No gin file '{name}' (looked in {looked}).{suggestion}")


class _Reference:
    """A value `@name`, `@name()` or `%macro` as it was written; gin makes the real one."""

    def __init__(self, name: str, kind: str):
        self.name, self.kind = name, kind

    def __repr__(self):
        return {"call": f"@{self.name}()", "class": f"@{self.name}", "macro": f"%{self.name}"}[
            self.kind
        ]


class _LookOnly(config_parser.ParserDelegate):
    """Keeps references as text, so that a file can be read before its names are known."""

    def configurable_reference(self, scoped_configurable_name, evaluate):
        return _Reference(scoped_configurable_name, "call" if evaluate else "class")

    def macro(self, macro_name):
        return _Reference(macro_name, "macro")


def read_file(path: str, paths, including: tuple[str, ...]) -> list:
    try:
        text = _read_remote(path) if "://" in path else pathlib.Path(path).read_bytes()
        text = text.decode("utf-8-sig").replace("\r\n", "\n")
        return read_text(text, path, paths, (*including, path))
    except OSError as error:
        raise ConfigError(f"Cannot read {path}: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}:{line}: the file is not UTF-8 text.") from None


def _read_remote(path: str) -> bytes:
    import tensorflow as tf

    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            return file.read()
    except tf.errors.OpError as error:
        reason = f": {error.message}" if error.message else ""
        raise ConfigError(f"Cannot read {path} ({type(error).__name__}{reason}).") from None


def read_text(text: str, path: str, paths, including: tuple[str, ...]) -> list:
    """The statements of one file with its includes in place, locations filled in."""
    result = []
    try:
        for statement in config_parser.ConfigParser(text, _LookOnly()):
            location = statement.location._replace(filename=path)
            statement = statement._replace(location=location)
            if isinstance(statement, config_parser.IncludeStatement):
                try:
                    included = find_gin_file(statement.filename, paths)
                except ConfigError as error:
                    raise ConfigError(f"{place_of(location)}: {error.message}") from None
                if included in including:
                    loop = " → ".join((*including, included))
                    raise ConfigError(f"{place_of(location)}: {included} includes itself: {loop}")
                result += read_file(included, paths, including)
            else:
                result.append(statement)
    except tokenize.TokenError as error:
        line = _unclosed_line(text) or error.args[1][0]
        where = place_of(config_parser.Location(path, line, None, ""))
        raise ConfigError(f"{where}: a bracket or quote is not closed") from None
    except SyntaxError as error:
        where = place_of(config_parser.Location(path, error.lineno, None, ""))
        wrote = f" in '{error.text.strip()}'" if error.text else ""
        raise ConfigError(f"{where}: {_in_words(str(error.msg))}{wrote}") from None
    return result


def _unclosed_line(text: str) -> int | None:
    """The line of the outermost bracket that is still open where the text ends."""
    lines = []
    with contextlib.suppress(tokenize.TokenError, SyntaxError):
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.string in ("(", "[", "{"):
                lines.append(token.start[0])
            elif token.string in (")", "]", "}") and lines:
                lines.pop()
    return lines[0] if lines else None


def _in_words(message: str) -> str:
    """A message of gin's parser; that of an unquoted string would not say so."""
    token = re.search(r"Failed to parse token '(.*)'", message)
    if token:
        return f"cannot read {token[1]} as a value (strings need quotes)"
    return message.partition("\n")[0]


def place_of(location) -> str:
    """`gin/my.gin:7` of a statement."""
    if location.filename == "--gin_bindings" or not location.line_num:
        return location.filename
    return f"{location.filename}:{location.line_num}"


def check(statements: list) -> Provenance:
    """Imports modules, then checks every name that is bound or referred to."""
    provenance = Provenance()
    macros = {_macro_name(s) for s in statements if _is_macro(s)}
    for statement in statements:
        place = place_of(statement.location)
        if isinstance(statement, config_parser.ImportStatement):
            _import(statement.module, place)
        elif isinstance(statement, config_parser.BindingStatement):
            if _is_macro(statement):
                provenance.places[_macro_name(statement), MACRO, "value"] = place
            else:
                selector = _check_parameter(statement, place)
                provenance.places[statement.scope, selector, statement.arg_name] = place
            for reference in _references(statement.value):
                _check_reference(reference, macros, place)
    return provenance


def _is_macro(statement) -> bool:
    return isinstance(statement, config_parser.BindingStatement) and not statement.arg_name


def _macro_name(statement) -> str:
    return f"{statement.scope}/{statement.selector}" if statement.scope else statement.selector


def _import(module: str, place: str) -> None:
    if "" not in sys.path:
        sys.path.append("")  # a user's own module beside their gin file, as with `python -m`
    try:
        importlib.import_module(module)
    except ImportError as error:
        if error.name and f"{module}.".startswith(f"{error.name}."):
            where = "Is its folder the current directory or on PYTHONPATH?"
            raise ConfigError(f"{place}: no module '{module}'. {where}") from None
        raise ConfigError(f"{place}: importing '{module}' failed: {error}") from error
    except Exception as error:
        what = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{place}: importing '{module}' failed: {what}") from error


def _configurables() -> dict[str, object]:
    """Every registered configurable by its short name (gin keeps `module.Name` selectors)."""
    registry = gin.config._REGISTRY
    return {selector.rpartition(".")[2]: registry[selector] for selector, _ in registry.items()}


def _check_selector(selector: str, place: str):
    matches = gin.config._REGISTRY.matching_selectors(selector)
    if len(matches) == 1:
        return gin.config._REGISTRY[matches[0]]
    if matches:
        raise ConfigError(f"{place}: '{selector}' is ambiguous; write one of {sorted(matches)}.")
    suggestion = did_you_mean(selector.rpartition(".")[2], _configurables())
    raise ConfigError(
        f"{place}: nothing is called '{selector}'.{suggestion}"
        " (Your own parts need an `import` line in the gin file.)"
    )


def parameters_of(configurable) -> list[str]:
    """Names of the parameters that gin can bind for a registered class or function."""
    return [p for p in inspect.signature(configurable.wrapped).parameters if p != "self"]


def _check_parameter(statement, place: str) -> str:
    """The complete selector of the configurable whose parameter is bound."""
    configurable = _check_selector(statement.selector, place)
    names = parameters_of(configurable)
    if statement.arg_name not in names:
        suggestion = did_you_mean(statement.arg_name, names)
        listed = "" if suggestion else f" It has {', '.join(names) or 'none'}."
        raise ConfigError(
            f"{place}: {statement.selector} has no parameter '{statement.arg_name}'."
            f"{suggestion}{listed}"
        )
    return configurable.selector


def _references(value) -> Iterator[_Reference]:
    if isinstance(value, _Reference):
        yield value
    elif isinstance(value, dict):
        for item in (*value.keys(), *value.values()):
            yield from _references(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _references(item)


def _check_reference(reference: _Reference, macros: set[str], place: str) -> None:
    name = reference.name
    if reference.kind != "macro":
        _check_selector(name.rpartition("/")[2], place)
    elif name not in macros and not gin.config._CONSTANTS.matching_selectors(name):
        raise ConfigError(f"{place}: no macro '%{name}'.{did_you_mean(name, macros)}")
