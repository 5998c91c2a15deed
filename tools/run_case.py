"""Run one case in an environment: `run_case.py TOPIC CASE REPORT`.

The case writes its files into the working directory. This program writes the facts for the manifest
into REPORT. Like all files in `cases/` and `harness/`, it runs on Python 3.6 to 3.12.
"""

import importlib
import json
import platform
import sys
import time

import numpy

try:
    import tensorflow
except ImportError:  # an environment of another library
    tensorflow = None

PACKAGES = {"bert": "bert-tensorflow", "mesh_tensorflow": "mesh-tensorflow"}
"""Modules without a __version__ that single cases import -> their packages."""


def versions():
    """Return the versions of all packages that can change the files."""
    if tensorflow is None:
        return other_versions()
    import google.protobuf

    found = {
        "tensorflow": tensorflow.__version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "protobuf": google.protobuf.__version__,
    }
    try:
        import keras  # a package of its own since 2.6
    except ImportError:
        keras = getattr(tensorflow, "keras", None)
    if keras is not None:
        found["keras"] = keras.__version__
    if "harness.keras_files" in sys.modules:  # other cases import it, but write no HDF5 files
        found["h5py"] = sys.modules["h5py"].__version__
    if "tensorflow_hub" in sys.modules:  # only one case imports it
        found["tensorflow_hub"] = sys.modules["tensorflow_hub"].__version__
    for module, package in PACKAGES.items():
        if module in sys.modules:
            import pkg_resources

            key = package.replace("-", "_")
            found[key] = pkg_resources.get_distribution(package).version
    return found


def other_versions():
    """Return the versions in an environment without TensorFlow."""
    found = {"python": platform.python_version(), "numpy": numpy.__version__}
    for name in ("safetensors", "ml_dtypes"):
        if name in sys.modules:
            found[name] = sys.modules[name].__version__
    return found


def main():
    """Run the case and write the report."""
    topic, name, report = sys.argv[1:]
    # Savers write the time into the state file. With a constant time, all runs give the same bytes.
    time.time = lambda: 1500000000.0
    case = getattr(importlib.import_module("cases." + topic), name)
    case()
    facts = {"purpose": case.__doc__.splitlines()[0], "made_with": versions()}
    with open(report, "w") as stream:
        json.dump(facts, stream)


if __name__ == "__main__":
    main()
