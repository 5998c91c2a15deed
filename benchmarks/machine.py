"""Describe the machine and the versions that a benchmark ran with."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import dataclass

from benchmarks.processes import OWN_PYTHON, ProcessFailedError, run

_OWN_VERSIONS = """
import json, platform
from importlib.metadata import version
from importlib.util import find_spec
import ckptparse, numpy
versions = {
    "python": platform.python_version(), "numpy": numpy.__version__,
    "ckptparse": ckptparse.__version__, "crc32c": version("crc32c"),
}
if find_spec("safetensors"):
    versions["safetensors"] = version("safetensors")
print(json.dumps(versions))
"""

_TENSORFLOW_VERSIONS = """
import json, platform
import numpy, tensorflow
print(json.dumps({
    "python": platform.python_version(), "numpy": numpy.__version__,
    "tensorflow": tensorflow.__version__,
}))
"""


class UnfitError(Exception):
    """An interpreter has no TensorFlow, or cannot import ckptparse; the text says what to do."""


@dataclass(frozen=True)
class Machine:
    """The computer.

    Attributes:
        cpu: the processor's name.
        cores: number of cores that this process may use.
        memory: bytes of memory.
        system: operating system and its version.
        load: load average of the last minute; None on Windows.
    """

    cpu: str
    cores: int
    memory: int | None
    system: str
    load: float | None

    def __str__(self) -> str:
        memory = "" if self.memory is None else f", {self.memory / 2**30:.3g} GiB"
        load = "" if self.load is None else f"; load {self.load:.2g} at the start"
        return f"{self.cpu}, {self.cores} cores{memory}; {self.system}{load}"


def this_machine() -> Machine:
    """Describe the machine that this process runs on."""
    return Machine(
        cpu=_cpu_name(),
        cores=usable_cores(),
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if hasattr(os, "sysconf")
        else None,
        system=f"{platform.system()} {platform.release()}",
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo") as cpuinfo:
            for line in cpuinfo:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def own_versions() -> dict[str, str]:
    """Return the versions of the packages in this interpreter.

    Raises:
        UnfitError: it cannot import ckptparse.
    """
    return _versions(OWN_PYTHON, _OWN_VERSIONS, "ckptparse", "Install what it needs there.")


def tensorflow_versions(python: str) -> dict[str, str]:
    """Return the versions of the packages in the interpreter that has TensorFlow.

    Raises:
        UnfitError: it has no TensorFlow.
    """
    hint = (
        "It writes the data and is the rival. Install it there (pip install tensorflow-cpu),\n"
        "or name an interpreter that has it: --tensorflow PYTHON"
    )
    return _versions(python, _TENSORFLOW_VERSIONS, "TensorFlow", hint)


def _versions(python: str, program: str, wanted: str, hint: str) -> dict[str, str]:
    try:
        versions: dict[str, str] = json.loads(run(python, ["-c", program]))
    except ProcessFailedError as error:
        reason = str(error).splitlines()[-1]
        raise UnfitError(f"no {wanted} in {python} ({reason}).\n{hint}") from error
    return versions
