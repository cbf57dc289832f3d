r"""Submits a training as a custom job of Vertex AI, with the official client (extra `vertex`).

    python cloud/vertex.py submit --project=my-project --region=europe-west4 \
        --image=europe-west4-docker.pkg.dev/my-project/images/sentiment-train:gpu \
        --model_dir=gs://my-bucket/runs/bilstm \
        --machine_type=g2-standard-8 --accelerator=NVIDIA_L4 --spot \
        -- --gin_file=bilstm.gin --gin_bindings="Training.length = '3 epochs'"

What stands behind `--` goes to `python -m sentiment_train.main` in the image. `--dry_run` prints
the job as JSON, as the REST interface takes it, and needs neither credentials nor a network. A job
that Vertex AI starts again goes on from the last checkpoint in `--model_dir`.
"""

from __future__ import annotations

import math
import re
import sys
from dataclasses import dataclass, field

from absl import app, flags

from sentiment_train import command_line
from sentiment_train.errors import ConfigError, UserError, did_you_mean

WAIT_FOR_WORKERS_SECONDS = 600  # machines of one job start minutes apart
_UNTIL_DONE = ["python", "/opt/sentiment_train/until_done.py"]
_EXTRA = "The client of Vertex AI is missing: pip install '.[vertex]' in its folder"


@dataclass(frozen=True)
class Submission:
    """What a job is made of; `check` refuses what Vertex AI would refuse minutes later."""

    project: str
    region: str
    image: str
    model_dir: str  # gs://…, of all workers
    arguments: tuple[str, ...] = ()  # of sentiment_train.main
    name: str = ""  # shown in the console; "": the last part of model_dir
    workers: int = 1
    machine_type: str = "n2-standard-8"
    accelerator: str = ""
    accelerators: int = 0  # on each worker; 0: one if `accelerator` is named
    tpu_topology: str = ""
    spot: bool = False
    timeout_hours: int = 24
    boot_disk_gb: int = 100
    tensorboard: str = ""
    service_account: str = ""
    network: str = ""
    labels: dict[str, str] = field(default_factory=dict)

    def check(self) -> None:
        """Raises ConfigError, naming the flag and what it may be."""
        for name in ("project", "region", "image", "model_dir"):
            self._require(getattr(self, name), name, "is needed")
        self._require(self.model_dir.startswith("gs://"), "model_dir", "is a path of gs://")
        self._require(self.workers >= 1, "workers", "is at least 1")
        self._require(self.timeout_hours >= 1, "timeout_hours", "is at least 1")
        self._require(self.boot_disk_gb >= 100, "boot_disk_gb", "is at least 100")
        self._require(
            not self.network
            or re.fullmatch(r"projects/\d+/global/networks/[a-z0-9-]+", self.network),
            "network",
            "is projects/NUMBER/global/networks/NAME, with the number of the project",
        )
        for pair in self.labels.items():
            good = re.fullmatch(r"[a-z][a-z0-9_-]{0,62}=[a-z0-9_-]{0,63}", "=".join(pair))
            self._require(good, "labels", "are key=value of small letters, digits, - and _")
        self._check_devices()
        self._check_tensorboard()
        self._check_arguments()

    def _check_devices(self) -> None:
        is_tpu = self.machine_type.startswith("ct")
        self._require(
            is_tpu == bool(self.tpu_topology),
            "tpu_topology",
            "belongs to a TPU machine, e.g. --machine_type=ct5lp-hightpu-4t --tpu_topology=2x2",
        )
        self._require(
            re.fullmatch(r"(\d+x\d+(x\d+)?)?", self.tpu_topology), "tpu_topology", "is such as 2x2"
        )
        chips = re.search(r"-(\d+)t$", self.machine_type)
        if is_tpu and chips:  # several machines would each train for itself
            wanted = math.prod(map(int, self.tpu_topology.split("x")))
            what = f"is that of one machine, which has {chips[1]} chips by --machine_type"
            self._require(wanted == int(chips[1]), "tpu_topology", what)
        self._require(not (is_tpu and self.accelerator), "accelerator", "is not for TPU machines")
        of_tpu = is_tpu or self.machine_type == "cloud-tpu"
        self._require(not (of_tpu and self.workers > 1), "workers", "is 1 for TPU machines")
        self._require(
            self.accelerators >= 0 and (self.accelerator or not self.accelerators),
            "accelerator",
            "names the kind that --accelerators counts, e.g. NVIDIA_L4",
        )
        known = [kind.name for kind in _types().AcceleratorType][1:]
        if self.accelerator and self.accelerator not in known:
            nearest = did_you_mean(self.accelerator, known)
            self._refuse("accelerator", f"is one of {', '.join(known)}.{nearest}")

    def _check_tensorboard(self) -> None:
        if not self.tensorboard:
            return
        form = rf"projects/[^/]+/locations/{re.escape(self.region)}/tensorboards/\d+"
        self._require(
            re.fullmatch(form, self.tensorboard),
            "tensorboard",
            f"is projects/PROJECT/locations/{self.region}/tensorboards/NUMBER, in the job's region",
        )
        self._require(
            self.service_account,
            "service_account",
            "is needed with --tensorboard: the job writes the curves as that account",
        )

    def _check_arguments(self) -> None:
        for argument in self.arguments:
            self._require(
                argument.startswith("--"), "", f"'{argument}' behind -- is no --flag=value"
            )
            name = argument[2:].partition("=")[0]
            self._require(name != "model_dir", "model_dir", "stands before --, not behind it")
        named = any(argument.startswith("--gin_file=") for argument in self.arguments)
        self._require(named, "", "-- --gin_file=… is needed: what shall be trained?")

    def _require(self, holds, flag: str, what: str) -> None:
        if not holds:
            self._refuse(flag, what)

    def _refuse(self, flag: str, what: str) -> None:
        value = f" (it is '{getattr(self, flag)}')" if flag and getattr(self, flag) else ""
        raise ConfigError(f"--{flag} {what}{value}" if flag else what)


def custom_job(submission: Submission):
    """The `google.cloud.aiplatform_v1.types.CustomJob` of a submission.

    The first worker pool is the chief, one machine; the second one has all other workers. Vertex AI
    tells them of each other by TF_CONFIG and CLUSTER_SPEC.

    Raises:
      ConfigError: if it cannot be submitted as it is.
    """
    from google.protobuf.duration_pb2 import Duration

    submission.check()
    types = _types()
    replicas = [1, submission.workers - 1] if submission.workers > 1 else [1]
    strategy = types.Scheduling.Strategy
    spec = types.CustomJobSpec(
        worker_pool_specs=[_pool(submission, count) for count in replicas],
        scheduling=types.Scheduling(
            timeout=Duration(seconds=submission.timeout_hours * 3600),
            strategy=strategy.SPOT if submission.spot else strategy.STANDARD,
            # A run whose worker was replaced goes on only if all are started again.
            restart_job_on_worker_restart=True,
        ),
        service_account=submission.service_account,
        network=submission.network,
    )
    if submission.tensorboard:  # it is fed from logs/ in the output directory
        spec.tensorboard = submission.tensorboard
        spec.base_output_directory = types.GcsDestination(output_uri_prefix=submission.model_dir)
    name = submission.name or submission.model_dir.rstrip("/").rpartition("/")[2]
    return types.CustomJob(display_name=name, job_spec=spec, labels=submission.labels)


def _pool(submission: Submission, replicas: int):
    types = _types()
    machine = types.MachineSpec(machine_type=submission.machine_type)
    if submission.accelerator:
        machine.accelerator_type = types.AcceleratorType[submission.accelerator]
        machine.accelerator_count = submission.accelerators or 1
    if submission.tpu_topology:
        machine.tpu_topology = submission.tpu_topology
    arguments = [f"--model_dir={submission.model_dir}"]
    if submission.workers > 1:  # before those of the user, which win
        arguments.append(f"--gin_bindings=Runtime.wait_for_workers = {WAIT_FOR_WORKERS_SECONDS}")
    return types.WorkerPoolSpec(
        machine_spec=machine,
        replica_count=replicas,
        disk_spec=types.DiskSpec(boot_disk_size_gb=submission.boot_disk_gb),
        container_spec=types.ContainerSpec(
            image_uri=submission.image,
            # A worker that lost another one ends with 75, and that must not end the whole job.
            command=_UNTIL_DONE if submission.workers > 1 else [],
            args=[*arguments, *submission.arguments],
        ),
    )


def as_json(job) -> str:
    """A job as the REST interface takes it."""
    from google.protobuf import json_format

    return json_format.MessageToJson(type(job).pb(job))


def submit(submission: Submission, job) -> str:
    """Sends a job to Vertex AI; its resource name.

    Raises:
      UserError: without credentials, or with what Vertex AI answered.
    """
    from google.api_core.exceptions import GoogleAPICallError
    from google.auth.exceptions import GoogleAuthError

    parent = f"projects/{submission.project}/locations/{submission.region}"
    try:
        return client(submission.region).create_custom_job(parent=parent, custom_job=job).name
    except GoogleAuthError as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"No usable credentials: {reason} Log in: gcloud auth application-default login"
        ) from None
    except GoogleAPICallError as error:
        raise UserError(f"Vertex AI refused the job: {error.message}") from None


def client(region: str):
    """The client of a region, by the credentials of the environment."""
    from google.cloud.aiplatform_v1 import JobServiceClient

    return JobServiceClient(client_options={"api_endpoint": f"{region}-aiplatform.googleapis.com"})


def _types():
    try:
        from google.cloud.aiplatform_v1 import types
    except ImportError:
        raise UserError(_EXTRA) from None
    return types


_FLAGS = {
    "project": "Id of the Google Cloud project.",
    "region": "Region of the job, e.g. europe-west4.",
    "image": "Image in Artifact Registry that cloud/Dockerfile or Dockerfile.tpu built.",
    "model_dir": "The run directory, gs://…; the job needs to be allowed to write there.",
    "name": "Name in the console; default: the last part of --model_dir.",
    "workers": "Machines that train together, one of them the chief.",
    "machine_type": "Machine of each worker, e.g. g2-standard-8 or ct5lp-hightpu-4t.",
    "accelerator": "Kind of GPU, e.g. NVIDIA_L4 or NVIDIA_TESLA_T4.",
    "accelerators": "GPUs of each worker; default: 1 if --accelerator is given.",
    "tpu_topology": "Topology of a TPU machine, e.g. 2x2.",
    "spot": "Spare machines: cheaper, taken away at any time; Vertex AI then restarts the job.",
    "timeout_hours": "When the job is ended, finished or not: a bound of the cost.",
    "boot_disk_gb": "Disk of each worker.",
    "tensorboard": "A Vertex AI TensorBoard: projects/P/locations/REGION/tensorboards/NUMBER.",
    "service_account": "The account that the job acts as; needed with --tensorboard.",
    "network": "A peered network: projects/NUMBER/global/networks/NAME.",
}


def _define_flags() -> None:
    define = {int: flags.DEFINE_integer, bool: flags.DEFINE_bool, str: flags.DEFINE_string}
    for name, text in _FLAGS.items():
        default = Submission.__dataclass_fields__[name].default
        default = default if isinstance(default, int | str) else ""
        define[type(default)](name, default, text)
    flags.DEFINE_list("labels", [], "Labels of the job, key=value, for its costs.")
    flags.DEFINE_bool("dry_run", False, "Print the job as JSON and submit nothing.")


def _job(argv: list[str]) -> None:
    values, command = flags.FLAGS, argv[1:2] == ["submit"]
    if not command and not values.dry_run:
        raise UserError("say `submit` to submit the job, or --dry_run to see it.")
    if wrong := [label for label in values.labels if "=" not in label]:
        raise ConfigError(f"--labels: '{wrong[0]}' is not key=value.")
    submission = Submission(
        **{name: getattr(values, name) for name in _FLAGS},
        labels=dict(label.split("=", 1) for label in values.labels),
        arguments=tuple(argv[2 if command else 1 :]),
    )
    job = custom_job(submission)
    if values.dry_run:
        print(as_json(job))
        return
    name = submit(submission, job)
    print(f"submitted  {name}")
    print(f"logs       gcloud ai custom-jobs stream-logs {name}")
    print(f"stop       gcloud ai custom-jobs cancel {name}")


def run() -> None:
    """Entry point."""
    _define_flags()
    for flag in flags.FLAGS.get_flags_for_module(sys.argv[0]):
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)
    app.run(lambda argv: command_line.exit_code(argv[:1], lambda: _job(argv)))


if __name__ == "__main__":
    run()
