"""TensorFlow's functions for reading checkpoints, under TensorFlow's module names.

After ``import ckptparse as tf``, the modules `compat`, `contrib` and `pywrap_tensorflow` are
attributes of ckptparse.  For scripts with ``import tensorflow``, `as_tensorflow` adds a module of
that name, which has these functions only, to `sys.modules`.
"""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from ckptparse import train
from ckptparse.errors import (
    CheckpointError,
    DataLossError,
    NotFoundError,
    TruncatedError,
    UnsupportedError,
)

_TRAIN = {name: getattr(train, name) for name in train.__all__ if name != "DType"}
_CHECKPOINT_UTILS = {
    name: _TRAIN[name] for name in ("list_variables", "load_checkpoint", "load_variable")
}
_READER = {"NewCheckpointReader": train.NewCheckpointReader}

_GFILE = {
    "exists": os.path.exists,
    "isdir": os.path.isdir,
    "listdir": os.listdir,
    "glob": glob.glob,
    "makedirs": lambda path: os.makedirs(path, exist_ok=True),
    "GFile": open,
}
_GFILE_V1 = {
    **_GFILE,
    "Exists": _GFILE["exists"],
    "IsDirectory": _GFILE["isdir"],
    "ListDirectory": _GFILE["listdir"],
    "Glob": _GFILE["glob"],
    "MakeDirs": _GFILE["makedirs"],
    "Open": open,
    "FastGFile": open,
}

# Name in tf.errors -> the class of ckptparse for such errors.
_ERRORS = {
    "OpError": CheckpointError,
    "NotFoundError": NotFoundError,
    "DataLossError": DataLossError,
    "OutOfRangeError": TruncatedError,
    "UnimplementedError": UnsupportedError,
}

NAMES: dict[str, dict[str, Any]] = {
    "train": _TRAIN,
    "compat.v1.train": _TRAIN,
    "compat.v2.train": _TRAIN,
    "contrib.framework": _CHECKPOINT_UTILS,
    "contrib.framework.python.framework.checkpoint_utils": _CHECKPOINT_UTILS,
    "python.training.checkpoint_utils": _CHECKPOINT_UTILS,
    "python.training.py_checkpoint_reader": _READER,
    "python.pywrap_tensorflow": _READER,
    "pywrap_tensorflow": _READER,
    "io.gfile": _GFILE,
    "compat.v1.io.gfile": _GFILE,
    "gfile": _GFILE_V1,
    "compat.v1.gfile": _GFILE_V1,
    "errors": _ERRORS,
    "compat.v1.errors": _ERRORS,
}
"""Path of a module below `tensorflow` -> name -> function or class."""


class TensorflowModule(ModuleType):
    """A module with functions for reading; other attributes raise an error that explains this."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(_not_here(f"{self.__name__}.{name}"))


def _not_here(name: str) -> str:
    """Return the text of the error for a name that the module does not have."""
    return (
        f"{name} is not here: this is ckptparse in place of TensorFlow, which has the names for"
        " reading checkpoints only"
    )


class _OtherModules(MetaPathFinder):
    """Refuses the import of other modules of TensorFlow, with an error that explains this."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname.startswith("tensorflow."):
            # Not ModuleNotFoundError, whose text `from tensorflow import x` replaces.
            raise ImportError(_not_here(fullname), name=fullname)


def build_modules() -> dict[str, TensorflowModule]:
    """Return the module `tensorflow` and all modules below it, by full name."""
    modules: dict[str, TensorflowModule] = {}
    for path, names in {"": {}, **NAMES}.items():
        parts = ["tensorflow", *filter(None, path.split("."))]
        for i in range(len(parts)):
            full_name = ".".join(parts[: i + 1])
            if full_name not in modules:
                modules[full_name] = _new_module(full_name)
                if i:
                    setattr(modules[".".join(parts[:i])], parts[i], modules[full_name])
        for name, value in names.items():
            setattr(modules[".".join(parts)], name, value)
    return modules


def _new_module(full_name: str) -> TensorflowModule:
    """Return an empty module that can have submodules."""
    module = TensorflowModule(full_name, "TensorFlow's names for reading, held by ckptparse.")
    module.__spec__ = ModuleSpec(full_name, None, is_package=True)
    module.__path__ = []  # a package, so that `import tensorflow.x` is looked up in sys.modules
    return module


@contextmanager
def as_tensorflow() -> Iterator[ModuleType]:
    """Let ``import tensorflow`` import ckptparse's functions, within a ``with`` statement.

    The module has the functions of `ckptparse.train` under the names that scripts use
    (``tf.train``, ``tf.compat.v1.train``, ``tf.contrib.framework``, ``tf.pywrap_tensorflow``),
    ``tf.errors``, and some functions of ``tf.io.gfile`` for local files.  The use of any other
    attribute raises an AttributeError, and the import of any other submodule an ImportError.

    Yields:
        The module `tensorflow`.

    Raises:
        RuntimeError: TensorFlow itself has been imported already.

    Examples:
        >>> from ckptparse import as_tensorflow
        >>> with as_tensorflow():
        ...     import tensorflow as tf
        ...     len(tf.train.list_variables("fixtures/tf-1.15.5/vgg_16/model.ckpt"))
        34
    """
    present = sys.modules.get("tensorflow")
    if isinstance(present, TensorflowModule):  # within another such context
        yield present
        return
    if present is not None:
        raise RuntimeError("TensorFlow itself is imported already; ckptparse does not shadow it")
    modules = build_modules()
    finder = _OtherModules()
    sys.modules.update(modules)
    sys.meta_path.insert(0, finder)
    try:
        yield modules["tensorflow"]
    finally:
        sys.meta_path.remove(finder)
        for full_name, module in modules.items():
            if sys.modules.get(full_name) is module:
                del sys.modules[full_name]
