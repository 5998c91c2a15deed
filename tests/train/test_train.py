"""Compare `ckptparse.train` with every recorded answer of TensorFlow.

An answers.json of fixtures/ holds questions that were put to TensorFlow, and its answers,
exceptions included.  The same questions are put to `ckptparse.train`.  Intended differences are
listed in DIFFERENCES, and for users in docs/train.md.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google.protobuf
import numpy as np
import pytest

import ckptparse
from ckptparse import CheckpointError, train
from ckptparse.tensors.dtypes import number_of
from ckptparse.train import cache as recent
from support.builders import write_bundle
from support.repository import FIXTURES

TRAIN_FUNCTIONS = {
    "checkpoint_exists",
    "get_checkpoint_state",
    "latest_checkpoint",
    "list_variables",
    "load_checkpoint",
    "load_variable",
    "NewCheckpointReader",
}


@dataclass(frozen=True)
class Question:
    """One question of an answers.json."""

    case: str
    number: int
    asked: dict[str, Any]

    def __str__(self) -> str:
        arguments = json.dumps(self.asked["arguments"])[:30]
        return f"{self.case}-{self.number}-{self.asked['function']}-{arguments}"


REFERENCE = "tf-2.21.0"
"""Answers of older versions count where the newest was not asked: `tf.train` has changed."""


RECORDED_AT = f"/tmp/training/{REFERENCE}/here"
"""Where the case with absolute paths lay when TensorFlow was asked."""


def load_questions() -> list[Question]:
    paths = sorted(FIXTURES.glob("*/*/answers.json"))
    newest = {path.parts[-2] for path in paths if path.parts[-3] == REFERENCE}
    questions = []
    for path in paths:
        version, case = path.parts[-3:-1]
        if version != REFERENCE and case in newest:
            continue
        for number, asked in enumerate(json.loads(path.read_text())["answers"]):
            if asked.get("function") in TRAIN_FUNCTIONS or "reader" in asked:
                questions.append(Question(f"{version}/{case}", number, asked))
    return questions


QUESTIONS = load_questions()

# TensorFlow's exceptions by name -> what ours must be.  All of ours say more than the text did.
EXCEPTIONS: dict[str, type[BaseException] | tuple[type[BaseException], ...]] = {
    "NotFoundError": (KeyError, FileNotFoundError),
    "DataLossError": CheckpointError,
    "OpError": CheckpointError,
    "OutOfRangeError": CheckpointError,
    "InternalError": CheckpointError,
    "IndexError": CheckpointError,
    "FailedPreconditionError": CheckpointError,
    "UnimplementedError": CheckpointError,
    "ValueError": (ValueError, NotImplementedError),
    "TypeError": TypeError,
    "AttributeError": TypeError,
    "UnicodeDecodeError": (ValueError, KeyError),
}


SLICE_KEY = "00726f7773000101028083807f"


class Asked:
    """The parts of a question that decide about a difference."""

    def __init__(self, question: Question) -> None:
        asked, arguments = question.asked, question.asked["arguments"]
        self.case = question.case
        self.function = asked["function"]
        self.opens = self.function in ("load_checkpoint", "NewCheckpointReader", "list_variables")
        self.raised: str = asked.get("raises", {}).get("text", "")
        path = asked.get("reader", arguments[0] if arguments else "")
        self.is_path_object = isinstance(path, dict) and bool(self.raised)
        self.denied = asked.get("result") is False
        self.path: str = str(path)
        name = arguments[0 if "reader" in asked else 1 :][:1]
        coded = name[0].get("bytes") if name and isinstance(name[0], dict) else None
        self.name = coded["hex"] if isinstance(coded, dict) else (name or [None])[0]


class Better:
    """How an answer differs."""

    READS = "TensorFlow refuses, we read"
    OPENS = "TensorFlow refuses, we open"
    REFUSES = "TensorFlow lies, we refuse"
    OTHER = "another answer, see the reason"


WHOLE_OF_IT = "a file of a checkpoint stands for the whole of it"
INCOMPLETE = "a V1 set without one of its files is not opened"

# (kind, reason, when): the first that applies.
DIFFERENCES: list[tuple[str, str, Callable[[Asked], bool]]] = [
    (Better.REFUSES, INCOMPLETE, lambda q: "v1_missing_shard" in q.path),
    (Better.READS, "partitioned V1 tensors", lambda q: "Sliced checkpoints" in q.raised),
    (Better.READS, "every dtype of V1", lambda q: "Data type not supported" in q.raised),
    (Better.READS, "half, strings ... in slices", lambda q: q.raised.startswith("Dtype ")),
    (
        Better.READS,
        "names that are not UTF-8",
        lambda q: "not_utf8" in q.path and "codec" in q.raised,
    ),
    (Better.OTHER, "no raw slice keys, sorted", lambda q: q.function == "debug_string"),
    (
        Better.OTHER,
        "the empty key and keys of slices are no tensors",
        lambda q: q.name in ("", SLICE_KEY) and q.function in ("has_tensor", "get_tensor"),
    ),
    (Better.READS, "a name that ends in :0", lambda q: q.name == "colon:0" and bool(q.raised)),
    (
        Better.REFUSES,
        "a damaged index block is an error, not fewer names",
        lambda q: q.function == "list_variables" and q.path.endswith("/bad_middle_block"),
    ),
    (
        Better.OTHER,
        "damage is an error, and what comes after it is read",
        lambda q: q.case.endswith("/train_damaged") and (q.denied or "not found" in q.raised),
    ),
    (Better.OTHER, "any kind of path", lambda q: q.is_path_object),
    (
        Better.OTHER,
        "a directory exists with its slash too, as TensorFlow 2 says",
        lambda q: q.case.startswith("tf-1") and q.path.endswith("/"),
    ),
    (
        Better.OPENS,
        "a literal path, or any file of a checkpoint",
        lambda q: (
            bool(q.raised)
            and q.opens
            and q.path.endswith(("br[1]ack", ".data-00000-of-00001", "/slash/", "/slash"))
        ),
    ),
    (
        Better.OPENS,
        "the prefix of V1 shards",
        lambda q: (
            bool(q.raised)
            and q.opens
            and ("v1_state" in q.case or q.path.endswith("v1/model.ckpt"))
            and q.path.endswith(("model.ckpt", "model.ckpt-1", "model.ckpt-2"))
        ),
    ),
    (
        Better.OPENS,
        "a state file, or a directory with one checkpoint",
        lambda q: (
            bool(q.raised)
            and q.opens
            and q.path.endswith((".", "run/checkpoint", "other name", "both"))
        ),
    ),
    (
        Better.OPENS,
        "a directory with a state file",
        lambda q: (
            q.function == "NewCheckpointReader" and q.path.rstrip("/").endswith(("run", "v1"))
        ),
    ),
    (
        Better.OTHER,
        WHOLE_OF_IT,
        lambda q: q.opens and q.path.endswith(("model.ckpt-2.index", "ckpt-00000-of-00003")),
    ),
    (Better.REFUSES, "paths are literal", lambda q: q.opens and q.path.endswith("v1/model.ckpt-*")),
    (
        Better.OTHER,
        "a literal path",
        lambda q: q.function == "checkpoint_exists" and q.path.endswith("br[1]ack"),
    ),
    (
        Better.OPENS,
        "a moved directory",
        lambda q: (
            "moved" in q.case
            and q.path != "."
            and q.function in ("latest_checkpoint", "list_variables")
        ),
    ),
    (
        Better.OTHER,
        "the directory was moved",
        lambda q: (
            q.function == "latest_checkpoint"
            and q.case.endswith("/state_texts")
            and q.name is not None
            and q.name.startswith("path_")
        ),
    ),
]


# Protobuf's parser of text decides about these; TensorFlow was asked with a newer one.
BY_PROTOBUF = (
    "octal_escape_400",
    "unicode_escape",
    "unicode_escape_surrogates",
    "unicode_escape_lone_surrogate",
    "timestamps_octal",
    "timestamps_list",
)
if int(google.protobuf.__version__.split(".")[0]) < 6:
    DIFFERENCES.append(
        (Better.OTHER, "an older protobuf than TensorFlow's", lambda q: q.name in BY_PROTOBUF)
    )


def difference(question: Question) -> str | None:
    """The kind of an intended difference; None if the answers must be the same."""
    asked = Asked(question)
    return next((kind for kind, _, applies in DIFFERENCES if applies(asked)), None)


@pytest.fixture
def folder(tmp_path: Path, group: str) -> Path:
    """Copy the case of the questions to a temporary folder."""
    case = GROUPS[group][0].case
    folder = tmp_path / "case"
    shutil.copytree(FIXTURES / case, folder)
    if case.endswith("/saver_directory"):  # its state file holds absolute paths
        state = folder / "run" / "checkpoint"
        state.write_text(state.read_text().replace(RECORDED_AT, str(folder / "run")))
    return folder


def ask(question: Question, folder: Path) -> Any:
    """Put a question to ours."""
    asked = question.asked

    def place(text: str) -> str:
        text = text.replace(RECORDED_AT, str(folder / "run"))
        return text.replace("{folder}", str(folder)).replace("{fixtures}", str(FIXTURES))

    def argument(value: Any) -> Any:
        if isinstance(value, str):
            return place(value)
        if isinstance(value, dict) and "Path" in value:
            return Path(place(value["Path"]))
        if isinstance(value, dict) and "bytes" in value:
            coded = value["bytes"]
            return place(coded).encode() if isinstance(coded, str) else bytes.fromhex(coded["hex"])
        return value

    arguments = [argument(value) for value in asked["arguments"]]
    keywords = {key: argument(value) for key, value in asked.get("keywords", {}).items()}
    if "reader" in asked:
        reader = train.NewCheckpointReader(place(asked["reader"]))
        return getattr(reader, asked["function"])(*arguments, **keywords)
    return getattr(train, asked["function"])(*arguments, **keywords)


def in_words(value: Any, folder: Path) -> Any:
    """Our answer in the form of answers.json."""
    if isinstance(value, tuple):
        return {"tuple": [in_words(item, folder) for item in value]}
    if isinstance(value, list):
        return [in_words(item, folder) for item in value]
    if isinstance(value, dict):
        return {"dict": sorted([k, in_words(v, folder)] for k, v in value.items())}
    if isinstance(value, train.DType):
        return {"DType": value.name}
    if isinstance(value, train.CheckpointReader):
        return {"CheckpointReader": None}
    if isinstance(value, str):
        return value.replace(str(folder), "{folder}")
    if isinstance(value, bytes):
        return {"bytes": value}
    if isinstance(value, np.generic):
        name = type(value).__name__.removesuffix("_")  # numpy 1 says bool_
        return {f"numpy.{name}": value.tobytes().hex()}
    if isinstance(value, np.ndarray):
        return {
            "ndarray": (value.dtype.name, list(value.shape), value.flags.writeable, hex_of(value))
        }
    if hasattr(value, "model_checkpoint_path"):
        return {
            "CheckpointState": {
                "model_checkpoint_path": in_words(value.model_checkpoint_path, folder),
                "all_model_checkpoint_paths": [
                    in_words(path, folder) for path in value.all_model_checkpoint_paths
                ],
                "all_model_checkpoint_timestamps": list(value.all_model_checkpoint_timestamps),
                "last_preserved_timestamp": value.last_preserved_timestamp,
            }
        }
    return value


def hex_of(array: np.ndarray) -> str | None:
    return None if array.dtype == object else np.ascontiguousarray(array).tobytes().hex()


def same(ours: Any, theirs: Any) -> bool:
    """Whether our answer, in words, is the recorded one."""
    if isinstance(theirs, dict) and "ndarray" in theirs:
        recorded = theirs["ndarray"]
        dtype, shape, writeable, contents = ours["ndarray"]
        return (dtype, shape, writeable) == (
            recorded["dtype"],
            recorded["shape"],
            recorded["writeable"],
        ) and contents in (recorded.get("hex", contents), None)
    if isinstance(theirs, dict) and "bytes" in theirs:
        coded = theirs["bytes"]
        text = coded.encode() if isinstance(coded, str) else bytes.fromhex(coded["hex"])
        return bool(ours == {"bytes": text})
    if isinstance(theirs, dict) and "dict" in theirs:
        return bool(ours == {"dict": sorted(theirs["dict"])})
    if isinstance(theirs, dict) and "float" in theirs:
        number = float(theirs["float"])
        return ours == number or (math.isnan(number) and math.isnan(ours))
    if isinstance(theirs, dict) and isinstance(ours, dict):
        return ours.keys() == theirs.keys() and all(same(ours[k], theirs[k]) for k in theirs)
    if isinstance(theirs, list) and isinstance(ours, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return bool(ours == theirs)


def wrong_answer(question: Question, folder: Path) -> str | None:
    """Return how our answer differs from what is right, or None.

    Right is what TensorFlow answered, but for the differences that docs/train.md lists.
    """
    asked = question.asked
    answer: Any = None
    raised: Exception | None = None
    try:
        answer = ask(question, folder)
    except Exception as error:
        raised = error
    kind = difference(question)
    if kind in (Better.READS, Better.OPENS):
        is_right = raised is None and answer is not None
    elif kind == Better.REFUSES:
        is_right = isinstance(raised, CheckpointError)
    elif kind == Better.OTHER:
        is_right = raised is None or isinstance(raised, CheckpointError)
    elif "raises" in asked:
        is_right = isinstance(raised, EXCEPTIONS[asked["raises"]["type"]])
    else:
        recorded = json.loads(json.dumps(asked["result"]).replace(RECORDED_AT, "{folder}/run"))
        is_right = raised is None and same(in_words(answer, folder), recorded)
    return None if is_right else f"{question}: {answer!r}, {raised!r}"


GROUPS = {
    f"{case}-{function}": list(questions)
    for (case, function), questions in itertools.groupby(
        sorted(QUESTIONS, key=lambda question: (question.case, question.asked["function"])),
        key=lambda question: (question.case, question.asked["function"]),
    )
}
"""Questions of one case to one function."""


@pytest.mark.parametrize("group", GROUPS)
def test_answers(group: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Report every wrong answer of the group, not only the first."""
    monkeypatch.chdir(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrong = [wrong_answer(question, folder) for question in GROUPS[group]]
    assert [text for text in wrong if text is not None] == []


@pytest.mark.parametrize("number", range(len(DIFFERENCES)), ids=lambda n: DIFFERENCES[n][1])
def test_every_difference_is_met(number: int) -> None:
    """Each listed difference still occurs."""
    assert any(
        next((i for i, (*_, applies) in enumerate(DIFFERENCES) if applies(asked)), None) == number
        for asked in map(Asked, QUESTIONS)
    )


ITERATIONS = [
    asked
    for version in (REFERENCE,)
    for asked in json.loads((FIXTURES / version / "train_iterator/answers.json").read_text())[
        "answers"
    ]
]


@pytest.mark.parametrize("asked", ITERATIONS, ids=lambda asked: json.dumps(asked["keywords"]))
def test_checkpoints_iterator(
    asked: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is a fake that only `sleep` advances; the directory changes during a sleep."""
    shutil.copytree(FIXTURES / REFERENCE / "train_iterator", tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    now, slept, calls = [1000.0], [], []
    change = asked["state_file"]
    (directory,) = asked["arguments"]

    def point_to(step: int) -> None:
        Path(directory, "checkpoint").write_text(f'model_checkpoint_path: "model.ckpt-{step}"')

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds
        if change and str(len(slept)) in change["after_sleep"]:
            point_to(change["after_sleep"][str(len(slept))])

    def timeout_fn() -> bool:
        calls.append(None)
        return bool(asked["timeout_fn"][len(calls) - 1])

    monkeypatch.setattr("time.time", lambda: now[0])
    monkeypatch.setattr("time.sleep", sleep)
    if change:
        point_to(change["before"])
    found = train.checkpoints_iterator(
        directory, timeout_fn=timeout_fn if asked["timeout_fn"] else None, **asked["keywords"]
    )
    assert list(itertools.islice(found, asked["stop_after"])) == asked["result"]
    assert slept == asked["sleeps"]
    assert len(calls) == asked["timeout_fn_calls"]


DTYPE_QUESTIONS = [
    asked
    for asked in json.loads((FIXTURES / REFERENCE / "train_listing/answers.json").read_text())[
        "answers"
    ]
    if asked["function"] == "DType"
]


@pytest.mark.parametrize("asked", DTYPE_QUESTIONS, ids=lambda asked: asked["arguments"][0])
def test_dtypes(asked: dict[str, Any]) -> None:
    (name,) = asked["arguments"]
    dtype, said = train.DType(number_of(name)), dict(asked["result"])
    numpy_type = dtype.as_numpy_dtype
    ours = {
        "name": dtype.name,
        "as_datatype_enum": dtype.as_datatype_enum,
        "as_datatype_enum_name": dtype.enum_name,
        "size": dtype.size,
        "str": str(dtype),
        "repr": repr(dtype),
        "base_dtype": dtype.base_dtype.name,
        "as_numpy_dtype": str(numpy_type),
        "== its name": dtype == name,
        "== as_numpy_dtype": dtype == numpy_type,
        "== np.dtype(as_numpy_dtype)": dtype == np.dtype(numpy_type),
        "np.dtype(as_numpy_dtype) ==": np.dtype(numpy_type) == dtype,
        "!= its name": dtype != name,
        "== None": dtype == None,  # noqa: E711  # the question
        "int()": int(dtype),
        **{key: getattr(dtype, key) for key in said if key.startswith("is_")},
    }
    for spelling in ("as_numpy_dtype", "np.dtype(as_numpy_dtype)"):  # numpy's own, by version
        said.pop(spelling)
    ours.pop("as_numpy_dtype")
    assert ours == said


class TestRecentCheckpoints:
    """`load_variable` in a loop opens a checkpoint once, and notices when it changes."""

    @pytest.fixture
    def opened(self, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """Paths that are really opened."""
        paths: list[str] = []

        def count(path: str) -> ckptparse.Checkpoint:
            paths.append(path)
            return ckptparse.open_checkpoint(path)

        recent._kept.clear()
        monkeypatch.setattr(recent, "open_checkpoint", count)
        return paths

    def test_opens_once(self, opened: list[str]) -> None:
        prefix = str(FIXTURES / "tf-1.15.5/vgg_16/model.ckpt")
        names = [name for name, _ in train.list_variables(prefix)]
        for name in names:
            train.load_variable(prefix, name)
        assert opened == [prefix]

    def test_notices_a_change(self, opened: list[str], tmp_path: Path) -> None:
        for value in (1, 2):
            prefix = str(write_bundle(tmp_path, {"x": np.full(3, value, "f4")}))
            os.utime(f"{prefix}.index", ns=(value, value))
            assert train.load_variable(prefix, "x").tolist() == [value] * 3
        assert len(opened) == 2

    def test_notices_a_new_latest(self, opened: list[str], tmp_path: Path) -> None:
        for step in (1, 2):
            write_bundle(tmp_path, {"x": np.full(3, step, "f4")}, name=f"ckpt-{step}")
            (tmp_path / "checkpoint").write_text(f'model_checkpoint_path: "ckpt-{step}" # {step}')
            os.utime(tmp_path / "checkpoint", ns=(step, step))
            assert train.load_variable(tmp_path, "x").tolist() == [step] * 3

    def test_keeps_a_few(self, opened: list[str], tmp_path: Path) -> None:
        for i in range(10):
            prefix = write_bundle(tmp_path, {"x": np.full(3, i, "f4")}, name=f"ckpt-{i}")
            train.load_variable(prefix, "x")
        assert len(recent._kept) == recent.MOST_KEPT

    def test_results_are_the_callers_own(self) -> None:
        prefix = FIXTURES / "tf-1.15.5/vgg_16/model.ckpt"
        first = train.load_variable(prefix, "vgg_16/mean_rgb")
        first[:] = 0
        assert train.load_variable(prefix, "vgg_16/mean_rgb").any()
