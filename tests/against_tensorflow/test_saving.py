"""Save checkpoints with ckptparse; restore them, and save them again, with an installed TensorFlow.

Not part of the default run: use ``pytest -m tensorflow`` where TensorFlow is installed.  If the
environment variable CKPTPARSE_TENSORFLOW_1 has the path of a Python with TensorFlow 1.15, that one
is asked, too.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptparse import save_checkpoint
from ckptparse.tensors.dtypes import STRING, lookup, numpy_dtype
from ckptparse.weights.selection import select
from support.oracle import payload_of
from support.random_tensors import DTYPES

pytestmark = pytest.mark.tensorflow

SCRIPT = Path(__file__).with_name("restore_and_save.py")
PYTHONS = {"newest": sys.executable, "1.15": os.environ.get("CKPTPARSE_TENSORFLOW_1")}
SUFFIXES = (".index", ".data-00000-of-00001")
LAST_OF_1_15 = 23
"""The number of its last dtype, uint64."""


@dataclass(frozen=True)
class Case:
    """Tensors to save, and how.

    Attributes:
        tensors: names to arrays.
        quantized: names of tensors to the quantized dtypes with which they are saved.
        options: more arguments of `save_checkpoint`.
        is_read: its reader lists and reads them, too; it cannot list names that are not UTF-8.
        variables: names of variables that a Saver restores, to the axis of their partitions.
        is_new: the tensors have dtypes that TensorFlow 1.15 does not have.
    """

    tensors: Mapping[str, np.ndarray]
    quantized: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    is_read: bool = True
    variables: Mapping[str, int] = field(default_factory=dict)
    is_new: bool = False

    def save(self, prefix: str) -> None:
        tensors = self.tensors
        if self.quantized:
            tensors = select(tensors, dtype=self.quantized)
        save_checkpoint(prefix, tensors, sync=False, **self.options)

    def dtype(self, name: str) -> str:
        """TensorFlow's name of the dtype of a tensor."""
        array = self.tensors[name]
        return self.quantized.get(name) or ("string" if array.dtype == object else array.dtype.name)

    def boxes(self, name: str) -> list[tuple[slice, ...]]:
        """The slices in which a tensor is saved; [] if it is saved whole."""
        counts = self.options.get("partitions", {}).get(name)
        if counts is None:
            return []
        counts = (counts,) if isinstance(counts, int) else counts
        shape = self.tensors[name].shape
        axes = [
            [slice(part[0], part[-1] + 1) for part in np.array_split(np.arange(size), count)]
            for size, count in zip(shape, (*counts, *[1] * (len(shape) - len(counts))))
        ]
        return list(product(*axes))

    def specs(self, name: str) -> list[str]:
        """The slices in TensorFlow's notation."""
        shape = " ".join(map(str, self.tensors[name].shape))
        return [
            f"{shape} {':'.join(f'{part.start},{part.stop - part.start}' for part in box)}"
            for box in self.boxes(name)
        ]

    def request(self, prefix: str) -> dict[str, Any]:
        """The case for the script."""
        variables = []
        for name, axis in self.variables.items():
            array = self.tensors[name]
            partitions = max(len(self.boxes(name)), 1), axis
            for_script = {"name": name, "shape": array.shape, "dtype": self.dtype(name)}
            resource = len(variables) % 2 == 1
            variables.append({**for_script, "partitions": partitions, "resource": resource})
        return {
            "prefix": prefix,
            "tensors": [
                {
                    "name": encode(name).hex(),
                    "dtype": self.dtype(name),
                    "shape": array.shape,
                    "slices": self.specs(name),
                }
                for name, array in self.tensors.items()
            ],
            "read": self.is_read,
            "variables": variables,
        }


def encode(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def digest(array: np.ndarray) -> str:
    """A digest of values, as the script computes it."""
    return hashlib.sha256(payload_of(array)).hexdigest()[:16]


def strings(*values: bytes) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = values
    return array


def random_array(number: int, shape: tuple[int, ...]) -> np.ndarray:
    """Random bits, as far as the dtype uses them; NaNs are among them."""
    generator = np.random.default_rng(number)
    size = int(np.prod(shape, dtype=np.int64))
    if number == STRING:
        return strings(*(generator.bytes(i * 7 % 300) for i in range(size))).reshape(shape)
    row = lookup(number)
    raw = generator.integers(0, 256, size * row.itemsize, np.uint8)
    if row.name == "bool":
        raw &= 1
    dtype = numpy_dtype(number)
    if row.name in ("int4", "uint4", "int2", "uint2", "float4_e2m1fn"):
        return (raw.astype(np.float32) % 4).astype(dtype).reshape(shape)
    return raw.view(dtype).reshape(shape)


SHAPES = {"matrix": (3, 5), "scalar": (), "empty": (0, 3), "deep": (2, 1, 3, 2), "one": (1,)}


def dtype_case(number: int) -> Case:
    tensors = {f"d/{name}": random_array(number, shape) for name, shape in SHAPES.items()}
    row = lookup(number)
    quantized = dict.fromkeys(tensors, row.name) if row.kind == "quantized" else {}
    return Case(tensors, quantized, is_new=number > LAST_OF_1_15)


def counted(count: int) -> Case:
    """As many tensors, in random order."""
    generator = np.random.default_rng(count)
    names = [f"scope_{i % 97}/layer_{i:06d}/{'kernel' if i % 2 else 'bias'}" for i in range(count)]
    random.Random(count).shuffle(names)
    tensors = {name: generator.random(i % 5, np.float32) for i, name in enumerate(names)}
    return Case(tensors, is_read=count < 100_000)


def floats(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


TEXTS = [
    "/",
    "//",
    "a//b",
    "/a",
    "a/",
    "a b\n",
    "ä/☃/\U0001f600",
    "l" * 20_000,
    "\x7f",
    "a:0",
    "%s",
]
BYTES = ["\udcff\udcfe", "a\0b", "\0", "\0\0", "caf\udce9", "\ud7ff\udc80"]
STRINGS = strings(b"a", b"", b"\0", b"\0\xff\xfe", b"x" * 127, b"x" * 128, b"x" * 70_000)
PARTITIONED = {
    "axis_0": (floats(10, 3), 4),
    "axis_1": (floats(3, 7), (1, 3)),
    "grid": (floats(4, 5, 6), (2, 3, 2)),
    "one_slice": (floats(4, 2), 1),
    "vector": (np.arange(9), 9),
    "half": (floats(6, 2).astype(np.float16), 5),
    "complex": (floats(2, 2) + 1j, (2, 2)),
    "bool": (floats(5) > 0, 2),
}
VARIABLES = {
    "dense/kernel": floats(5, 3),
    "dense/bias": floats(3),
    "step": np.array(7, np.int64),
    "table/embeddings": floats(11, 4),
    "columns": floats(4, 9),
    "double": floats(3, 2).astype(np.float64),
    "flag": np.array(True),
    "half": floats(2).astype(np.float16),
}
VARIABLE_PARTITIONS = {"table/embeddings": 4, "columns": (1, 2)}

CASES = {
    **{lookup(number).name: dtype_case(number) for number in DTYPES},
    "strings": Case({"many": STRINGS, "one": strings(b"x"), "none": strings(), "s": STRINGS[-1:]}),
    "texts": Case({name: floats(i) for i, name in enumerate(TEXTS)}),
    "bytes": Case({name: floats(i) for i, name in enumerate(BYTES)}, is_read=False),
    "1": counted(1),
    "1,000": counted(1_000),
    "100,000": counted(100_000),
    "partitions": Case(
        {name: array for name, (array, _) in PARTITIONED.items()},
        options={"partitions": {name: counts for name, (_, counts) in PARTITIONED.items()}},
    ),
    "large": Case(
        {"small": floats(2), "large": floats(2_500, 2_001), "flags": floats(3_000, 3_000) > 0}
    ),
    "shards": Case(
        {f"t{i}": floats(i, 7) for i in range(20)},
        options={"shard_nbytes": 300, "partitions": {"t12": 4}},
    ),
    "variables": Case(
        VARIABLES,
        options={"partitions": VARIABLE_PARTITIONS},
        variables={name: int(name == "columns") for name in VARIABLES},
    ),
    "sharded variables": Case(
        VARIABLES,
        options={"partitions": VARIABLE_PARTITIONS, "shard_nbytes": 64},
        variables={name: int(name == "columns") for name in VARIABLES},
    ),
}


@dataclass(frozen=True)
class Answers:
    """What one TensorFlow answered."""

    tensorflow: str
    folder: Path
    answers: Mapping[str, Any]


@pytest.fixture(scope="module", params=PYTHONS)
def answers(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """The answers of a TensorFlow for all cases."""
    python = PYTHONS[request.param]
    if python is None:
        pytest.skip("CKPTPARSE_TENSORFLOW_1 does not name a Python with TensorFlow 1.15")
    folder = tmp_path_factory.mktemp("saved")
    requests = {}
    for name, case in CASES.items():
        if request.param == "newest" or not case.is_new:
            case.save(str(folder / name))
            requests[name] = case.request(str(folder / name))
    (folder / "cases.json").write_text(json.dumps(requests))
    subprocess.run(
        [python, SCRIPT, folder / "cases.json", folder / "answers.json"],
        check=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": ""},
    )
    found = json.loads((folder / "answers.json").read_text())
    assert request.param in ("newest", found["version"][:4])
    return Answers(request.param, folder, found["answers"])


by_case = pytest.mark.parametrize("name", CASES)


def answer_of(answers: Answers, name: str, key: str) -> Any:
    """One answer; a TensorFlow 1.15 has none for newer dtypes."""
    if name not in answers.answers:
        pytest.skip("TensorFlow 1.15 does not have this dtype")
    answer = answers.answers[name][key]
    assert not isinstance(answer, str), answer
    return answer


@by_case
def test_is_restored(answers: Answers, name: str) -> None:
    case = CASES[name]
    expected = [
        [case.dtype(key), list(part.shape), digest(part)]
        for key, array in case.tensors.items()
        for part in (np.asarray(array[box]) for box in case.boxes(key) or [...])
    ]
    assert answer_of(answers, name, "restored") == expected


@pytest.mark.parametrize(
    "name", [k for k, case in CASES.items() if "shard_nbytes" not in case.options]
)
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_is_what_save_v2_writes(answers: Answers, name: str, suffix: str) -> None:
    answer_of(answers, name, "restored")
    again = (answers.folder / f"{name}-again{suffix}").read_bytes()
    assert (answers.folder / f"{name}{suffix}").read_bytes() == again


@pytest.mark.parametrize("name", [k for k, case in CASES.items() if case.is_read])
def test_is_read(answers: Answers, name: str) -> None:
    """By the reader that `tf.train.load_checkpoint` returns."""
    case = CASES[name]
    expected = {
        key: [case.dtype(key), list(array.shape), digest(array)]
        for key, array in case.tensors.items()
    }
    if name == "partitions":  # TensorFlow restores the slices, but does not join them
        expected["half"][2] = "Dtype half not supported."
    assert answer_of(answers, name, "read") == expected


@pytest.mark.parametrize("name", [k for k, case in CASES.items() if case.variables])
def test_variables_are_restored_by_a_saver(answers: Answers, name: str) -> None:
    expected = [digest(CASES[name].tensors[key]) for key in CASES[name].variables]
    assert answer_of(answers, name, "variables") == expected
