"""TensorFlow's names for reading, at the places where scripts look for them.

After ``import ckptparse as tf`` the usual ones are attributes (`compat`, `contrib`,
`pywrap_tensorflow`).  For scripts that say ``import tensorflow`` themselves, `as_tensorflow` puts a
module of that name, with these names and nothing else, into the import system.
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

# What our errors are to ``except tf.errors.X``.
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
"""Module below `tensorflow` -> name -> what it is."""


class TensorflowModule(ModuleType):
    """A module that holds reading names, and says so when it is asked for others."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(_not_here(f"{self.__name__}.{name}"))


def _not_here(name: str) -> str:
    return (
        f"{name} is not here: this is ckptparse in place of TensorFlow, which has the names for"
        " reading checkpoints only"
    )


class _OtherModules(MetaPathFinder):
    """Says what is missing, and who this is, when other modules of TensorFlow are imported."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname.startswith("tensorflow."):
            # Not ModuleNotFoundError, of which `from tensorflow import x` makes a text of its own.
            raise ImportError(_not_here(fullname), name=fullname)


def build_modules() -> dict[str, TensorflowModule]:
    """A module `tensorflow` and all below it, by their full names."""
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
    module = TensorflowModule(full_name, "TensorFlow's names for reading, held by ckptparse.")
    module.__spec__ = ModuleSpec(full_name, None, is_package=True)
    module.__path__ = []  # a package, so that `import tensorflow.x` is looked up in sys.modules
    return module


@contextmanager
def as_tensorflow() -> Iterator[ModuleType]:
    """Within this context, ``import tensorflow`` gives ckptparse's reading names.

    Any other name that is asked of it is an AttributeError which says that this is ckptparse.

    Raises:
        RuntimeError: TensorFlow itself is imported already, and is not to be shadowed.
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
