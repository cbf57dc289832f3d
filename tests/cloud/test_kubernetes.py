"""The manifests follow Kubernetes' own schema, and their command makes what a worker needs."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest

from sentiment_train.errors import EXIT_RESUME, CheckpointError, DivergedError

yaml = pytest.importorskip("yaml", reason="needs the extra dev")
ROOT = pathlib.Path(__file__).parents[2]
FILES = sorted((ROOT / "cloud" / "k8s").glob("*.yaml"))
VERSIONS = (
    "1.31",
    "1.34",
)  # podReplacementPolicy and podFailurePolicy are stable from 1.34 and 1.31


def manifests(path):
    return list(yaml.safe_load_all(path.read_text()))


def job_and_service(name):
    parts = {part["kind"]: part for part in manifests(ROOT / "cloud" / "k8s" / name)}
    return parts["Job"], parts["Service"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", FILES, ids=[path.name for path in FILES])
def test_every_manifest_follows_the_schema(path, version):
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="needs the extra dev")
    parts = manifests(path)
    assert parts
    for part in parts:
        kubernetes_validate.validate(part, version, strict=True)


def test_the_schema_finds_what_is_misspelt():
    kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="needs the extra dev")
    job, _ = job_and_service("workers.yaml")
    job["spec"]["podReplacmentPolicy"] = job["spec"].pop("podReplacementPolicy")
    with pytest.raises(kubernetes_validate.ValidationError, match="podReplacmentPolicy"):
        kubernetes_validate.validate(job, VERSIONS[0], strict=True)


WORKERS = ["workers.yaml", "workers-gpu.yaml"]


@pytest.mark.parametrize("name", WORKERS)
def test_every_worker_has_a_name_and_all_know_the_same(name):
    job, service = job_and_service(name)
    spec, pod = job["spec"], job["spec"]["template"]
    assert spec["completions"] == spec["parallelism"] > 1  # all at once, or none goes on
    subdomain = pod["spec"]["subdomain"]
    assert service["metadata"]["name"] == subdomain
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    (worker,) = pod["spec"]["containers"]
    assert worker["env"] == [{"name": "WORKERS", "value": str(spec["completions"])}]
    names = f"--hosts={job['metadata']['name']}-{{}}.{subdomain} "  # as Kubernetes names the pods
    assert names in worker["command"][2]
    assert service["spec"]["ports"][0]["port"] == worker["ports"][0]["containerPort"]
    assert f"--port={worker['ports'][0]['containerPort']} " in worker["command"][2]


@pytest.mark.parametrize("name", WORKERS)
def test_exit_codes_mean_what_they_mean_to_the_program(name):
    job, _ = job_and_service(name)
    by_action = {}
    for rule in job["spec"]["podFailurePolicy"]["rules"]:
        codes = rule.get("onExitCodes", {"values": []})["values"]
        by_action[rule["action"]] = by_action.get(rule["action"], []) + codes
    final = [CheckpointError.exit_code, DivergedError.exit_code]
    assert by_action == {"Ignore": [EXIT_RESUME], "FailJob": final}
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never"  # else there is no policy


@pytest.mark.parametrize("name", WORKERS)
def test_every_volume_that_is_mounted_is_there_and_claimed(name):
    job, _ = job_and_service(name)
    pod = job["spec"]["template"]["spec"]
    mounted = {mount["name"] for mount in pod["containers"][0]["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
    claims = [v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if len(v) > 1 and
              "persistentVolumeClaim" in v]  # fmt: skip
    (claim,) = manifests(ROOT / "cloud" / "k8s" / "run-directory.yaml")
    assert claims == [claim["metadata"]["name"]]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]


@pytest.mark.parametrize("index", ["0", "3"])
def test_the_command_of_a_pod_starts_the_program_as_its_worker(tmp_path, index):
    """The container's own shell command, with a `python` that shows what the program would get."""
    job, _ = job_and_service("workers.yaml")
    (worker,) = job["spec"]["template"]["spec"]["containers"]
    shown = tmp_path / "python"
    shown.write_text(
        f'#!/bin/sh\n[ "$1" = -m ] || exec {sys.executable} "$@"\n'
        f"exec {sys.executable} -c 'import json, os, sys;"
        ' print(json.dumps([os.environ["TF_CONFIG"], sys.argv[1:]]))\' "$@"\n'
    )
    shown.chmod(0o755)
    inside, outside = "/opt/sentiment_train/tf_config.py", str(ROOT / "cloud" / "tf_config.py")
    command = [*worker["command"], *worker["args"]]
    command[2] = command[2].replace(inside, outside)
    assert outside in command[2]
    environment = {each["name"]: each["value"] for each in worker["env"]}
    environment |= {"JOB_COMPLETION_INDEX": index, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    tf_config, arguments = json.loads(printed.stdout)
    config = json.loads(tf_config)
    hosts = [f"sentiment-train-{i}.sentiment-train:2222" for i in range(4)]
    members = config["cluster"].get("chief", []) + config["cluster"]["worker"]
    assert members == hosts
    kind, place = config["task"]["type"], int(config["task"]["index"])
    assert config["cluster"][kind][place] == hosts[int(index)]
    assert arguments == ["-m", "sentiment_train.main", *worker["args"]]


def test_a_pod_without_a_place_among_the_hosts_ends_before_the_program_starts(tmp_path):
    job, _ = job_and_service("workers.yaml")
    (worker,) = job["spec"]["template"]["spec"]["containers"]
    command = [*worker["command"], *worker["args"]]
    command[2] = command[2].replace("/opt/sentiment_train/", f"{ROOT / 'cloud'}/")
    (tmp_path / "python").symlink_to(sys.executable)
    environment = {each["name"]: each["value"] for each in worker["env"]}
    environment |= {"JOB_COMPLETION_INDEX": "4", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode not in (0, EXIT_RESUME)
    assert "Traceback" not in ended.stderr
    assert "error: " in ended.stderr
