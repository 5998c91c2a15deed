"""Let TensorFlow read the files of `tests/support/hostile_cases.py`, and record the results.

    python tools/measure_hostile.py          writes tests/against_tensorflow/hostile_answers.json
    python tools/measure_hostile.py --only "FIFO as shard"      prints some cases, writes nothing

Needs an environment with TensorFlow and with the packages of `tests/support/builders.py` (numpy,
crc32c, python-snappy).  The committed record was made with TensorFlow 2.21.0.  Each case is read in
a separate process, because most cases end the process.  If TensorFlow has no answer after
`SECONDS`, the system ends the process with SIGALRM, also during a call that never returns.

The record has the versions, `seconds`, and for each case `damage` and `runs`.  A run is a process:

    answers   for each question with an answer, in order: `asked`, and `result` or `raises`
    ended     "exit 0", the signal that ended the process ("SIGABRT"), or "no answer"
    said      the last log message of a process that aborted

In an answer, `values` has the first elements of a tensor; NaN and infinite values are strings.
Paths begin with `{folder}`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPOSITORY / "tests"))

from support.hostile_cases import CASES, HostileCase  # noqa: E402  # of tests/

if TYPE_CHECKING:
    import numpy as np

RECORD = REPOSITORY / "tests" / "against_tensorflow" / "hostile_answers.json"
SECONDS = 10
MOST_VALUES = 12
MOST_LETTERS = 300

SETTINGS = {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}


# The process that calls TensorFlow


def ask_all(path: str, questions: list[list[str]]) -> None:
    """Print the answer to each question as a line of JSON; a question may end the process."""
    asker = Asker(path)
    for question in questions:
        signal.alarm(SECONDS)
        answer = asker.ask(*question)
        signal.alarm(0)
        print(json.dumps({"asked": question, **answer}), flush=True)


class Asker:
    """Questions to TensorFlow about one checkpoint, whose reader is opened at the first need."""

    def __init__(self, path: str) -> None:
        import tensorflow

        tensorflow.constant(1.0)  # starts the runtime
        self.tf = tensorflow
        self.path = path
        self.reader: Any = None

    def ask(self, word: str, *names: str) -> dict[str, Any]:
        """Call the method `word`, and return its result or its exception."""
        try:
            return {"result": getattr(self, word)(*names)}
        except Exception as error:
            text = getattr(error, "message", None) or str(error)
            return {"raises": {"type": type(error).__name__, "text": text[:MOST_LETTERS]}}

    def open_reader(self) -> Any:
        if self.reader is None:
            self.reader = self.tf.train.load_checkpoint(self.path)
        return self.reader

    def shapes(self) -> dict[str, list[int]]:
        return dict(sorted(self.open_reader().get_variable_to_shape_map().items()))

    def get(self, name: str) -> dict[str, Any]:
        return describe(self.open_reader().get_tensor(name))

    def restore(self, name: str) -> dict[str, Any]:
        (tensor,) = self.tf.raw_ops.RestoreV2(
            prefix=self.path, tensor_names=[name], shape_and_slices=[""], dtypes=[self.tf.float32]
        )
        return describe(tensor.numpy())

    def latest(self) -> str | None:
        return self.tf.train.latest_checkpoint(self.path)

    def graph(self) -> str:
        with self.tf.Graph().as_default():
            return type(self.tf.compat.v1.train.import_meta_graph(self.path)).__name__


def describe(array: np.ndarray) -> dict[str, Any]:
    """Return a tensor as JSON, with only its first elements."""
    values = [x if math.isfinite(x) else str(x) for x in array.ravel()[:MOST_VALUES].tolist()]
    return {"dtype": str(array.dtype), "shape": list(array.shape), "values": values}


# The process that writes the files and the record


def measure(case: HostileCase) -> dict[str, Any]:
    """Let TensorFlow read a case, and return the damage and all runs."""
    with tempfile.TemporaryDirectory() as folder:
        path = case.write(Path(folder))
        runs = [run(path, case, folder) for _ in range(case.num_runs)]
    return {"damage": case.damage, "runs": runs}


def run(path: Path, case: HostileCase, folder: str) -> dict[str, Any]:
    asked = subprocess.run(
        [sys.executable, __file__, "--ask", str(path), json.dumps(case.questions)],
        env={**os.environ, **SETTINGS},
        capture_output=True,
        text=True,
        errors="replace",
    )
    answers = [json.loads(line.replace(folder, "{folder}")) for line in asked.stdout.splitlines()]
    found: dict[str, Any] = {"answers": answers, "ended": name_end(asked.returncode)}
    if last_words := re.search(r"^F\d+ .*\d+ ([\w./]+\.cc):\d+\] (.*)", asked.stderr, re.MULTILINE):
        said = f"{last_words[1]}: {last_words[2].strip()}"
        found["said"] = said.replace(folder, "{folder}")[:MOST_LETTERS]
    return found


def name_end(status: int) -> str:
    """Return how a process ended: its exit status or the name of the signal."""
    if status == -signal.SIGALRM:
        return "no answer"
    return f"exit {status}" if status >= 0 else signal.Signals(-status).name


def format_record(record: dict[str, Any]) -> str:
    """Return the record as JSON, with one line for each answer."""
    cases = []
    for name, case in record["cases"].items():
        runs = []
        for run in case["runs"]:
            answers = ",".join(f"\n    {json.dumps(answer)}" for answer in run["answers"])
            end = json.dumps({key: run[key] for key in run if key != "answers"})
            runs.append(f'\n   {{"answers": [{answers}],\n    {end[1:]}')
        damage = json.dumps(case["damage"])
        cases.append(
            f'\n {json.dumps(name)}: {{\n  "damage": {damage},\n  "runs": [{",".join(runs)}]}}'
        )
    head = json.dumps({key: record[key] for key in record if key != "cases"})
    return f'{head[:-1]}, "cases": {{{",".join(cases)}\n}}}}\n'


def versions() -> dict[str, str]:
    """Return the versions that can change the answers."""
    import google.protobuf
    import numpy
    import tensorflow

    return {
        "tensorflow": tensorflow.__version__,
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "protobuf": google.protobuf.__version__,
    }


def main() -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="CASE", help="print these, write nothing")
    parser.add_argument("--ask", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ask:
        path, questions = arguments.ask
        ask_all(path, json.loads(questions))
        return 0
    wanted = [case for case in CASES if not arguments.only or case.name in arguments.only]
    found = {}
    for case in wanted:
        found[case.name] = measure(case)
        print(f"{case.name}: {[run['ended'] for run in found[case.name]['runs']]}", flush=True)
    if arguments.only:
        print(json.dumps(found, indent=1))
        return 0
    RECORD.write_text(format_record({"made_with": versions(), "seconds": SECONDS, "cases": found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
