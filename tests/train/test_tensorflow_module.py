"""Scripts written for TensorFlow that run with `as_tensorflow`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import ckptparse
from ckptparse import as_tensorflow, train
from ckptparse.commands import main
from support.repository import FIXTURES

VGG = str(FIXTURES / "tf-1.15.5/vgg_16/model.ckpt")

HERE_AS_TF = [
    "train.list_variables",
    "train.load_variable",
    "train.NewCheckpointReader",
    "compat.v1.train.NewCheckpointReader",
    "contrib.framework.list_variables",
    "contrib.framework.load_variable",
    "pywrap_tensorflow.NewCheckpointReader",
]


def follow(root: object, path: str) -> object:
    for name in path.split("."):
        root = getattr(root, name)
    return root


@pytest.fixture
def no_tensorflow() -> None:
    if "tensorflow" in sys.modules:
        pytest.skip("TensorFlow itself is imported in this process")


@pytest.mark.parametrize("path", HERE_AS_TF)
def test_import_ckptparse_as_tf(path: str) -> None:
    assert follow(ckptparse, path) is getattr(train, path.rpartition(".")[2])


@pytest.mark.usefixtures("no_tensorflow")
class TestAsTensorflow:
    @pytest.mark.parametrize(
        "statement",
        [
            "import tensorflow as tf; tf.train.list_variables",
            "import tensorflow.compat.v1 as tf; tf.train.NewCheckpointReader",
            "from tensorflow.python import pywrap_tensorflow as p; p.NewCheckpointReader",
            "from tensorflow.contrib.framework import load_variable",
            "import tensorflow.contrib.framework.python.framework.checkpoint_utils",
            "from tensorflow.python.training import py_checkpoint_reader",
            "import tensorflow as tf; tf.io.gfile.exists, tf.gfile.Open, tf.errors.NotFoundError",
        ],
    )
    def test_the_usual_imports(self, statement: str) -> None:
        with as_tensorflow():
            exec(statement, {})
        assert not [name for name in sys.modules if name.split(".")[0] == "tensorflow"]

    def test_anything_else_says_what_is_missing_and_who_this_is(self) -> None:
        with as_tensorflow() as tf, pytest.raises(AttributeError) as error:
            _ = tf.keras
        assert "tensorflow.keras" in str(error.value)
        assert "ckptparse" in str(error.value)
        for statement in ("import tensorflow.keras", "from tensorflow import keras"):
            with as_tensorflow(), pytest.raises(ImportError, match=r"tensorflow\.keras.*ckptparse"):
                exec(statement, {})
        assert all("OtherModules" not in str(finder) for finder in sys.meta_path)

    def test_errors_are_caught_by_tensorflows_names(self) -> None:
        with as_tensorflow() as tf:
            for ask in (
                lambda: tf.train.load_variable(VGG, "no such"),
                lambda: tf.train.load_checkpoint(VGG + "-no-such"),
            ):
                try:
                    ask()
                except (tf.errors.NotFoundError, ZeroDivisionError) as error:
                    assert isinstance(error, (KeyError, FileNotFoundError))  # noqa: PT017
                else:
                    pytest.fail("no error")

    def test_within_itself(self) -> None:
        with as_tensorflow() as outer, as_tensorflow() as inner:
            assert outer is inner
        assert "tensorflow" not in sys.modules

    def test_refuses_to_shadow_tensorflow(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "tensorflow", ModuleType("tensorflow"))
        with pytest.raises(RuntimeError, match="imported already"), as_tensorflow():
            pass


SCRIPT = """
import sys
import tensorflow as tf
from tensorflow.python import pywrap_tensorflow

reader = pywrap_tensorflow.NewCheckpointReader(sys.argv[1])
names = reader.get_variable_to_shape_map()
assert tf.io.gfile.exists(sys.argv[1] + ".index")
print(len(names), tf.train.load_variable(sys.argv[1], "global_step"), __name__)
if len(sys.argv) > 2:
    sys.exit(int(sys.argv[2]))
"""


@pytest.mark.usefixtures("no_tensorflow")
class TestRun:
    @pytest.fixture
    def script(self, tmp_path: Path) -> str:
        (tmp_path / "convert.py").write_text(SCRIPT)
        return str(tmp_path / "convert.py")

    def test_runs_a_script(self, script: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["run", script, VGG]) == 0
        assert capsys.readouterr().out == "34 12345 __main__\n"

    def test_its_exit_status_is_ours(self, script: str) -> None:
        with pytest.raises(SystemExit) as stop:
            main(["run", script, VGG, "3"])
        assert stop.value.code == 3

    def test_no_such_script(self, tmp_path: Path) -> None:
        assert main(["run", str(tmp_path / "none.py")]) == 2

    def test_as_a_process(self, script: str) -> None:
        command = [sys.executable, "-m", "ckptparse", "run", script, VGG]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout == "34 12345 __main__\n"
