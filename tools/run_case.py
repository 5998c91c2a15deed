"""Run one case inside a TensorFlow environment: `run_case.py TOPIC CASE REPORT`.

The case writes its files into the working directory. REPORT gets what the manifest says about it.
Like everything below `cases/` and `harness/`, this runs on Python 3.6 to 3.12.
"""

import importlib
import json
import platform
import sys
import time

import google.protobuf
import numpy
import tensorflow


def versions():
    """Of everything that can change what is written."""
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
    if "tensorflow_hub" in sys.modules:  # only the case that is about it imports it
        found["tensorflow_hub"] = sys.modules["tensorflow_hub"].__version__
    return found


def main():
    """Run the case and write the report."""
    topic, name, report = sys.argv[1:]
    # Savers note the time of day in the state file; stopped, each run gives the same bytes.
    time.time = lambda: 1500000000.0
    case = getattr(importlib.import_module("cases." + topic), name)
    case()
    facts = {"purpose": case.__doc__.splitlines()[0], "made_with": versions()}
    with open(report, "w") as stream:
        json.dump(facts, stream)


if __name__ == "__main__":
    main()
