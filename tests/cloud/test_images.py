"""The Dockerfiles: linted, and each step that can be checked without an engine is."""

from __future__ import annotations

import pathlib
import re
import shlex
import subprocess
import sys
import sysconfig

import pytest

ROOT = pathlib.Path(__file__).parents[2]
FILES = ["Dockerfile", "Dockerfile.tpu"]


def instructions(name):
    """`(keyword, rest)` of every instruction, continued lines joined, comments left out."""
    text = (ROOT / "cloud" / name).read_text()
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]


def of(name, keyword):
    return [rest for word, rest in instructions(name) if word == keyword]


def last_stage(name):
    found = instructions(name)
    first = max(i for i, (keyword, _) in enumerate(found) if keyword == "FROM")
    return found[first:]


@pytest.mark.parametrize("name", FILES)
def test_the_linter_finds_nothing(name):
    linter = pathlib.Path(sysconfig.get_path("scripts"), "hadolint")
    if not linter.exists():
        pytest.skip("needs the extra dev")
    found = subprocess.run(
        [str(linter), "--no-color", str(ROOT / "cloud" / name)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout) == (0, "")


def ignored(path):
    """Whether .dockerignore keeps a path out: the last line that matches it or a folder above."""
    out = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!")
        if not line or line.startswith("#"):
            continue
        expression = re.escape(pattern).replace(r"\*\*/", "(.*/)?").replace(r"\*", "[^/]*")
        expression = expression.replace(r"\[cod\]", "[cod]")
        if re.fullmatch(f"{expression}(/.*)?", path):
            out = not line.startswith("!")
    return out


@pytest.mark.parametrize("name", FILES)
def test_what_is_copied_is_there_and_not_ignored(name):
    copied = [
        source
        for rest in of(name, "COPY")
        if not rest.startswith("--from=")
        for source in rest.split()[:-1]
    ]
    assert {"setup.py", "gin", "sentiment_train", "cloud/tf_config.py"} <= set(copied)
    for source in copied:
        assert (ROOT / source).exists(), source
        assert not ignored(source), source


@pytest.mark.parametrize(
    "path", [".git/config", "runs/bilstm/config.gin", ".venv/bin/python", "tests/conftest.py",
             "sentiment_train/__pycache__/main.pyc", "sentiment_train/data/x.pyc"]
)  # fmt: skip
def test_what_no_image_needs_is_ignored(path):
    assert ignored(path)


def test_every_module_of_the_package_gets_into_the_image():
    modules = [str(p.relative_to(ROOT)) for p in (ROOT / "sentiment_train").rglob("*.py")]
    assert len(modules) > 50
    assert not [module for module in modules if ignored(module)]


@pytest.mark.parametrize("name", FILES)
def test_the_image_starts_the_program_as_somebody_who_is_not_root(name):
    stage = last_stage(name)
    assert stage[-1] == ["ENTRYPOINT", '["python", "-m", "sentiment_train.main"]']
    (user,) = [rest for keyword, rest in stage if keyword == "USER"]
    assert user == "1000:1000"
    runs = [rest for keyword, rest in stage if keyword == "RUN"]
    assert not [rest for rest in runs if "pip" in rest or "apt" in rest]  # no tools in it


@pytest.mark.parametrize("name", FILES)
def test_packages_are_a_layer_of_their_own_below_the_code(name):
    """So that a change of the code installs no package again."""
    found = instructions(name)
    installs = [i for i, (_, rest) in enumerate(found) if "pip install" in rest]
    code = found.index(["COPY", "sentiment_train sentiment_train"])
    assert installs[0] < code < installs[1]
    assert "--no-deps" in found[installs[1]][1]
    assert "[dev" not in str(found)


def test_the_constraints_are_used_where_they_fit():
    assert any("--constraint constraints.txt" in rest for rest in of("Dockerfile", "RUN"))
    assert not any("constraints.txt" in rest for rest in of("Dockerfile.tpu", "COPY"))
    setup = (ROOT / "setup.py").read_text()
    (tpu,) = [rest for rest in of("Dockerfile.tpu", "RUN") if "--no-deps 'tensorflow-tpu" in rest]
    requirement = shlex.split(tpu)[-1]
    assert f'"{requirement};' in setup or f'"{requirement}"' in setup


def test_both_images_have_the_same_last_stage():
    assert last_stage("Dockerfile") == last_stage("Dockerfile.tpu")


@pytest.mark.parametrize("device, asked", [("cpu", "tensorflow"), ("gpu", "tensorflow[and-cuda]")])
def test_the_device_decides_what_pip_is_asked_for(tmp_path, device, asked):
    assert run_install(tmp_path, device).splitlines() == [
        "install", "--constraint", "constraints.txt", asked, ".[samples]"
    ]  # fmt: skip


def test_another_device_ends_the_build(tmp_path):
    with pytest.raises(subprocess.CalledProcessError) as error:
        run_install(tmp_path, "tpu")
    assert error.value.stderr == "DEVICE is cpu or gpu, not 'tpu'\n"


def run_install(folder, device):
    """The very RUN line of the Dockerfile, with a `pip` that prints what it is asked for."""
    (line,) = [rest for rest in of("Dockerfile", "RUN") if "$DEVICE" in rest]
    (folder / "pip").write_text(
        f'#!{sys.executable}\nimport sys\nprint(*sys.argv[1:], sep="\\n")\n'
    )
    (folder / "pip").chmod(0o755)
    environment = {"PATH": f"{folder}:/usr/bin:/bin", "DEVICE": device, "EXTRAS": "samples"}
    command = ["/bin/sh", "-c", line]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout
