"""Build a virtual environment with pinned packages for each version of TensorFlow and others."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

DEFAULT_FOLDER = Path(__file__).resolve().parents[1] / ".environments"


@dataclass(frozen=True)
class Environment:
    """A version of a library, its Python version, and the packages that can change what it writes.

    The version is "2.21.0" for TensorFlow, and "numpy-2.5.1" for another library.
    """

    version: str
    python: str
    pins: tuple[str, ...]

    @property
    def folder(self) -> str:
        """The folder of its fixtures, and of the environment."""
        return f"tf-{self.version}" if self.version[0].isdigit() else self.version

    @property
    def requirements(self) -> list[str]:
        """The packages to install."""
        library, _, number = self.version.rpartition("-")
        return [f"{library or 'tensorflow'}=={number}", *self.pins]


# Old TensorFlow versions have no upper bounds for their dependencies, and later releases broke
# them: their pins are releases with which they can be imported. The other pins can change what is
# written or read.
ENVIRONMENTS = {
    environment.version: environment
    for environment in (
        Environment("0.12.1", "3.6", ("numpy==1.16.6", "protobuf==3.19.6", "wheel==0.37.1")),
        Environment(
            "1.15.5",
            "3.7",
            (
                "numpy==1.18.5",
                "protobuf==3.20.3",
                "h5py==2.10.0",
                "tensorflow-hub==0.7.0",
                "bert-tensorflow==1.0.1",
            ),
        ),
        Environment("2.4.4", "3.8", ("numpy==1.19.5", "protobuf==3.20.3", "h5py==2.10.0")),
        Environment(
            "2.13.1",
            "3.11",
            ("numpy==1.24.3", "protobuf==4.25.8", "keras==2.13.1", "h5py==3.14.0"),
        ),
        Environment(
            "2.21.0",
            "3.12",
            (
                "numpy==2.5.1",
                "protobuf==7.36.2",
                "keras==3.15.1",
                "h5py==3.14.0",
                "ml_dtypes==0.6.0",
                "python-snappy==0.7.3",
            ),
        ),
        Environment(
            "keras-2.2.4",
            "3.7",
            ("tensorflow==1.15.5", "numpy==1.18.5", "protobuf==3.20.3", "h5py==2.10.0"),
        ),
        Environment(
            "mesh-tensorflow-0.1.17",
            "3.7",
            (
                "tensorflow==1.15.5",
                "numpy==1.18.5",
                "protobuf==3.20.3",
                "h5py==2.10.0",
                "tensorflow-datasets==3.2.1",
            ),
        ),
        Environment("numpy-1.16.6", "3.6", ()),
        Environment("numpy-2.5.1", "3.12", ("ml_dtypes==0.6.0",)),
        Environment("safetensors-0.8.0", "3.12", ("numpy==2.5.1", "ml_dtypes==0.6.0")),
    )
}


def find_interpreter(version: str) -> Path:
    """Find the executable of Python `version` ("3.8"), on PATH or in pyenv.

    Raises:
        FileNotFoundError: there is no such Python.
    """
    found = shutil.which(f"python{version}")
    # pyenv puts a shim for every version on PATH, but only those of selected versions work.
    if found and subprocess.run([found, "-c", ""], capture_output=True).returncode == 0:
        return Path(found)
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    for executable in sorted(versions.glob(f"{version}*/bin/python{version}"), reverse=True):
        return executable
    raise FileNotFoundError(f"Python {version} is neither on PATH nor below {versions}")


def executable(folder: Path) -> Path:
    """Return the Python of the virtual environment in `folder`."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def build(environment: Environment, environments: Path) -> Path:
    """Build the environment below `environments`, if it is not there, and return its Python.

    A finished environment has a file with the requirements.  So it is built again after an
    interrupted build, and after a change of a pin.
    """
    folder = environments / environment.folder
    finished = folder / "requirements.txt"
    requirements = "\n".join(environment.requirements) + "\n"
    if finished.exists() and finished.read_text() == requirements:
        return executable(folder)
    environments.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([find_interpreter(environment.python), "-m", "venv", folder], check=True)
    install = [executable(folder), "-m", "pip", "install", "--quiet", *environment.requirements]
    subprocess.run(install, check=True)
    finished.write_text(requirements)
    return executable(folder)
