"""Jobs of Vertex AI, made of the client library's own messages and sent to a real gRPC server."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import pytest

from sentiment_train.errors import ConfigError, UserError

pytest.importorskip("google.cloud.aiplatform_v1", reason="needs the extra vertex")


@pytest.fixture(scope="module")
def vertex(script):
    return script("vertex.py")


@pytest.fixture
def submission(vertex):
    return vertex.Submission(
        project="my-project",
        region="europe-west4",
        image="europe-west4-docker.pkg.dev/my-project/images/sentiment-train",
        model_dir="gs://bucket/runs/bilstm",
        arguments=("--gin_file=bilstm.gin", "--gin_bindings=Training.length = '3 epochs'"),
    )


BOARD = "projects/1/locations/europe-west4/tensorboards/123"
VARIANTS = {
    "single": {},
    "workers": {"workers": 3},
    "gpu": {"machine_type": "g2-standard-8", "accelerator": "NVIDIA_L4"},
    "gpus": {"machine_type": "n1-standard-32", "accelerator": "NVIDIA_TESLA_T4", "accelerators": 4},
    "tpu": {"machine_type": "ct5lp-hightpu-4t", "tpu_topology": "2x2"},
    "old tpu": {"machine_type": "cloud-tpu", "accelerator": "TPU_V3", "accelerators": 8},
    "spot": {"spot": True, "workers": 2},
    "tensorboard": {"tensorboard": BOARD, "service_account": "t@p.iam.gserviceaccount.com"},
    "everything else": {
        "name": "mine",
        "timeout_hours": 3,
        "boot_disk_gb": 200,
        "network": "projects/12/global/networks/default",
        "labels": {"team": "nlp", "cost-centre": "7"},
    },
}


def plain(vertex, submission, **changed):
    """A job as the REST interface gets it, read back strictly by the library's own message."""
    from google.cloud.aiplatform_v1 import types
    from google.protobuf import json_format

    text = vertex.as_json(vertex.custom_job(dataclasses.replace(submission, **changed)))
    json_format.Parse(text, types.CustomJob.pb(types.CustomJob()), ignore_unknown_fields=False)
    return json.loads(text)


@pytest.mark.parametrize("changed", VARIANTS.values(), ids=VARIANTS)
def test_every_variant_is_a_job_that_ends_and_may_be_restarted(vertex, submission, changed):
    job = plain(vertex, submission, **changed)
    scheduling = job["jobSpec"]["scheduling"]
    assert scheduling["restartJobOnWorkerRestart"] is True
    assert scheduling["timeout"] == f"{3600 * changed.get('timeout_hours', 24)}s"
    assert scheduling["strategy"] == ("SPOT" if changed.get("spot") else "STANDARD")
    for pool in job["jobSpec"]["workerPoolSpecs"]:
        container = pool["containerSpec"]
        assert container["imageUri"] == submission.image
        assert container["args"][0] == "--model_dir=gs://bucket/runs/bilstm"
        assert tuple(container["args"][-2:]) == submission.arguments


def test_a_field_that_the_library_does_not_know_is_refused():
    from google.cloud.aiplatform_v1 import types

    with pytest.raises(ValueError, match="Unknown field"):
        types.CustomJobSpec(worker_pools=[])


def test_the_first_of_several_workers_is_a_pool_of_its_own(vertex, submission):
    pools = plain(vertex, submission, workers=4)["jobSpec"]["workerPoolSpecs"]
    assert [int(pool["replicaCount"]) for pool in pools] == [1, 3]
    assert pools[0] == {**pools[1], "replicaCount": "1"}
    assert "--gin_bindings=Runtime.wait_for_workers = 600" in pools[0]["containerSpec"]["args"]
    # In an image its scripts are where the Dockerfiles put them.
    command = pools[0]["containerSpec"]["command"]
    assert command == ["python", "/opt/sentiment_train/until_done.py"]
    images = (pathlib.Path(vertex.__file__).with_name(n) for n in ("Dockerfile", "Dockerfile.tpu"))
    for image in images:
        assert "cloud/until_done.py /opt/sentiment_train/\n" in image.read_text()
    (alone,) = plain(vertex, submission)["jobSpec"]["workerPoolSpecs"]
    assert "command" not in alone["containerSpec"]
    assert not [each for each in alone["containerSpec"]["args"] if "wait_for_workers" in each]


def test_devices_are_named_as_the_interface_names_them(vertex, submission):
    machines = {
        name: plain(vertex, submission, **VARIANTS[name])["jobSpec"]["workerPoolSpecs"][0][
            "machineSpec"
        ]
        for name in ("single", "gpu", "gpus", "tpu", "old tpu")
    }
    assert machines == {
        "single": {"machineType": "n2-standard-8"},
        "gpu": {
            "machineType": "g2-standard-8",
            "acceleratorType": "NVIDIA_L4",
            "acceleratorCount": 1,
        },
        "gpus": {
            "machineType": "n1-standard-32",
            "acceleratorType": "NVIDIA_TESLA_T4",
            "acceleratorCount": 4,
        },
        "tpu": {"machineType": "ct5lp-hightpu-4t", "tpuTopology": "2x2"},
        "old tpu": {
            "machineType": "cloud-tpu",
            "acceleratorType": "TPU_V3",
            "acceleratorCount": 8,
        },
    }


def test_a_tensorboard_gets_the_output_directory_and_the_account(vertex, submission):
    spec = plain(vertex, submission, **VARIANTS["tensorboard"])["jobSpec"]
    assert spec["tensorboard"] == BOARD
    assert spec["serviceAccount"] == "t@p.iam.gserviceaccount.com"
    assert spec["baseOutputDirectory"] == {"outputUriPrefix": "gs://bucket/runs/bilstm"}
    assert "baseOutputDirectory" not in plain(vertex, submission)["jobSpec"]


def test_the_rest_is_passed_on(vertex, submission):
    job = plain(vertex, submission, **VARIANTS["everything else"])
    assert job["displayName"] == "mine"
    assert job["labels"] == {"team": "nlp", "cost-centre": "7"}
    assert job["jobSpec"]["network"] == "projects/12/global/networks/default"
    (pool,) = job["jobSpec"]["workerPoolSpecs"]
    assert pool["diskSpec"] == {"bootDiskSizeGb": 200}
    assert plain(vertex, submission)["displayName"] == "bilstm"


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"project": ""}, "--project is needed"),
        ({"model_dir": "runs/x"}, r"--model_dir is a path of gs:// \(it is 'runs/x'\)"),
        ({"workers": 0}, "--workers is at least 1"),
        ({"timeout_hours": 0}, "--timeout_hours is at least 1"),
        ({"accelerator": "NVIDIA_L5"}, "Did you mean 'NVIDIA_L4'"),
        ({"accelerators": 2}, "--accelerator names the kind"),
        ({"tpu_topology": "2x2"}, "belongs to a TPU machine"),
        ({"machine_type": "ct6e-standard-4t"}, "belongs to a TPU machine"),
        ({**VARIANTS["tpu"], "tpu_topology": "four"}, "is such as 2x2"),
        ({**VARIANTS["tpu"], "tpu_topology": "4x4"}, "that of one machine, which has 4 chips"),
        ({**VARIANTS["tpu"], "workers": 2}, "--workers is 1 for TPU machines"),
        ({**VARIANTS["old tpu"], "workers": 2}, "--workers is 1 for TPU machines"),
        ({**VARIANTS["tpu"], "accelerator": "NVIDIA_L4"}, "is not for TPU machines"),
        ({"tensorboard": BOARD}, "--service_account is needed with --tensorboard"),
        ({"tensorboard": "mine"}, "--tensorboard is projects/PROJECT/locations/europe-west4/"),
        ({"tensorboard": BOARD.replace("west4", "west1")}, "in the job's region"),
        ({"network": "default"}, "--network is projects/NUMBER/global/networks/NAME"),
        ({"labels": {"Team": "nlp"}}, "--labels are key=value of small letters"),
        ({"arguments": ()}, "--gin_file=… is needed"),
        ({"arguments": ("gin_file=x",)}, "'gin_file=x' behind -- is no --flag=value"),
        ({"arguments": ("--gin_file=x", "--model_dir=y")}, "--model_dir stands before --"),
    ],
)
def test_what_cannot_work_is_refused_before_it_is_sent(vertex, submission, changed, message):
    with pytest.raises(ConfigError, match=message):
        vertex.custom_job(dataclasses.replace(submission, **changed))


class Service:
    """`CreateCustomJob` of a gRPC server on this machine."""

    def __init__(self, refuse=None):
        import grpc
        from google.cloud.aiplatform_v1 import types

        self.asked = []

        def create(request, context):
            self.asked.append(request)
            if refuse:
                context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, refuse)
            return types.CustomJob(name=f"{request.parent}/customJobs/42")

        handler = grpc.unary_unary_rpc_method_handler(
            create, types.CreateCustomJobRequest.deserialize, types.CustomJob.serialize
        )
        service = "google.cloud.aiplatform.v1.JobService"
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
        self.server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(service, {"CreateCustomJob": handler})]
        )
        self.port = self.server.add_insecure_port("127.0.0.1:0")

    def client(self, region):
        import grpc
        from google.cloud.aiplatform_v1 import JobServiceClient
        from google.cloud.aiplatform_v1.services.job_service.transports import (
            JobServiceGrpcTransport,
        )

        channel = grpc.insecure_channel(f"127.0.0.1:{self.port}")
        return JobServiceClient(transport=JobServiceGrpcTransport(channel=channel))


@pytest.fixture
def serve(vertex, monkeypatch):
    started = []

    def start(refuse=None):
        service = Service(refuse)
        service.server.start()
        started.append(service)
        monkeypatch.setattr(vertex, "client", service.client)
        return service

    yield start
    for service in started:
        service.server.stop(None).wait()


def test_a_job_is_sent_as_it_was_made(vertex, submission, serve):
    service = serve()
    job = vertex.custom_job(submission)
    name = vertex.submit(submission, job)
    assert name == "projects/my-project/locations/europe-west4/customJobs/42"
    (asked,) = service.asked
    assert asked.custom_job == job


def test_a_refusal_is_one_sentence(vertex, submission, serve):
    serve(refuse="Quota exceeded for custom_model_training_nvidia_l4_gpus")
    with pytest.raises(UserError, match="Vertex AI refused the job: Quota exceeded for custom"):
        vertex.submit(submission, vertex.custom_job(submission))


def command(vertex, *arguments):
    """The command as a process without credentials."""
    return subprocess.run(
        [sys.executable, vertex.__file__, *arguments],
        env={**os.environ, "GOOGLE_APPLICATION_CREDENTIALS": "/nowhere"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


FLAGS = ["--project=p", "--region=europe-west4", "--image=i", "--model_dir=gs://b/x"]


def test_a_dry_run_prints_the_job_without_credentials(vertex):
    ended = command(vertex, "--dry_run", *FLAGS, "--labels=team=nlp", "--", "--gin_file=a b.gin")
    assert (ended.returncode, ended.stderr) == (0, "")
    job = json.loads(ended.stdout)
    assert job["labels"] == {"team": "nlp"}
    args = job["jobSpec"]["workerPoolSpecs"][0]["containerSpec"]["args"]
    assert args == ["--model_dir=gs://b/x", "--gin_file=a b.gin"]


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (["submit", *FLAGS, "--", "--gin_file=x"], 1, "No usable credentials: "),
        ([*FLAGS], 1, "say `submit` to submit the job"),
        (["--dry_run", "--labels=nlp"], 2, "--labels: 'nlp' is not key=value."),
    ],
    ids=["credentials", "command", "labels"],
)
def test_a_mistake_is_one_line_and_an_exit_code(vertex, arguments, code, message):
    ended = command(vertex, *arguments)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert ended.stderr.startswith(f"error: {message}")
    assert ended.stderr.count("\n") == 1
