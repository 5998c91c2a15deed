"""The description of a model that a Keras file contains: versions, layers, optimizer.

::

    .keras                                  HDF5 file of a whole model (attributes of the root)
    metadata.json                           keras_version, backend
        keras_version, date_saved           model_config
    config.json                                 class_name
        class_name                              config
        config                                      name
            name                                    layers: class_name, config
            layers: class_name, config          (a list of layers instead of config: Sequential
        compile_config                          before Keras 2.2.3)
            optimizer: class_name, config   training_config
                                                optimizer_config: class_name, config

A layer that is a model has layers in its ``config``.  HDF5 files of weights have keras_version,
backend and names of layers, or (Keras 3) only names of layers.

Sources: keras/src/saving/saving_lib.py and keras/src/legacy/saving/legacy_h5_format.py of Keras
3.15; keras/engine/saving.py of Keras 2.2.4.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from ckptparse.errors import CorruptCheckpointError, located
from ckptparse.formats.keras_h5 import MODEL_WEIGHTS, list_names, order_paths, sort_links
from ckptparse.hdf5.file import HDF5File, open_hdf5
from ckptparse.limits import MAX_CONFIG_DEPTH, MAX_CONFIG_NBYTES, max_path_letters
from ckptparse.sources import Source
from ckptparse.tensors.names import decode_name


class KerasLayer(NamedTuple):
    """A layer of a model.

    Attributes:
        name: name of the layer.
        class_name: name of its class; None if the file does not tell.
        layers: the layers of a layer that is a model.
    """

    name: str
    class_name: str | None
    layers: tuple[KerasLayer, ...]


class KerasDescription(NamedTuple):
    """What a Keras file says about its model.  None, or empty, where it says nothing.

    Attributes:
        keras_version: version of Keras that wrote the file.
        backend: the backend of that Keras, such as "tensorflow".
        date_saved: the time of saving, as text.
        name: name of the model.
        class_name: class of the model.
        layers: its layers, in order.
        optimizer: class of the optimizer.
        optimizer_settings: its settings, as in the file.
        variable_names: name of a tensor -> name of the variable: the variable's own name in files
            of Keras 1 and 2; in files of Keras 3, which have none, the names of the models and the
            layer, and the number of the variable in it.
    """

    keras_version: str | None
    backend: str | None
    date_saved: str | None
    name: str | None
    class_name: str | None
    layers: tuple[KerasLayer, ...]
    optimizer: str | None
    optimizer_settings: dict[str, Any]
    variable_names: dict[str, str]

    def to_metadata(self) -> dict[str, Any]:
        """Return what the file says, without names of variables, as plain data."""
        found = {**self._asdict(), "layers": _to_plain(self.layers)}
        del found["variable_names"]
        return {key: value for key, value in found.items() if value not in (None, [], {})}


def _to_plain(layers: tuple[KerasLayer, ...]) -> list[dict[str, Any]]:
    """Return layers as dicts."""
    return [{**layer._asdict(), "layers": _to_plain(layer.layers)} for layer in layers]


def describe_h5(source: Source) -> KerasDescription:
    """Return what an HDF5 file of Keras says about its model.

    Args:
        source: the file.

    Raises:
        CorruptCheckpointError: the file is damaged, or a configuration is not JSON.
        UnsupportedError: the file has a form of HDF5 that Keras does not write.

    Examples:
        >>> from ckptparse.formats.keras_config import describe_h5
        >>> from ckptparse.sources import LocalFiles
        >>> source = LocalFiles(mmap=True).open("fixtures/tf-2.13.1/keras_h5/model.h5")
        >>> description = describe_h5(source)
        >>> description.keras_version, description.class_name, description.optimizer
        ('2.13.1', 'Functional', 'Custom>SGD')
        >>> [layer.name for layer in description.layers]
        ['steps', 'rnn', 'encoder', 'head']
    """
    with located(file=source.name):
        file = open_hdf5(source, sort_links)
        root = file.groups.get(b"", {})
        weights = file.groups.get(MODEL_WEIGHTS, root)

        def text(name: bytes) -> str | None:
            found = file.strings(root, name) or file.strings(weights, name)
            return found[0].decode("utf-8", "replace") if found else None

        model = _load_attribute(file, b"model_config")
        training = _load_attribute(file, b"training_config")
        description = _describe(model, training.get("optimizer_config"))
        layers = description.layers
        if not layers:
            names = list_names(file, weights, b"layer_names")
            layers = tuple(KerasLayer(decode_name(name), None, ()) for name in names)
        return description._replace(
            keras_version=text(b"keras_version"),
            backend=text(b"backend"),
            layers=layers,
            variable_names=_name_variables(file, max_path_letters(source.nbytes)),
        )


def describe_archive(metadata: bytes, config: bytes, weights: Source) -> KerasDescription:
    """Return what a ``.keras`` archive says about its model.

    Args:
        metadata: the content of metadata.json; b"" if there is none.
        config: the content of config.json; b"" if there is none.
        weights: model.weights.h5.

    Raises:
        CorruptCheckpointError: as `describe_h5`.
        UnsupportedError: as `describe_h5`.
    """
    versions = load_json(metadata, "metadata.json")
    model = load_json(config, "config.json")
    compiled = model.get("compile_config")
    described = _describe(model, compiled.get("optimizer") if isinstance(compiled, dict) else None)
    inner = describe_h5(weights)
    return described._replace(
        keras_version=_text(versions.get("keras_version")),
        backend=inner.backend,
        date_saved=_text(versions.get("date_saved")),
        variable_names=inner.variable_names,
    )


def _load_attribute(file: HDF5File, name: bytes) -> dict[str, Any]:
    """Return the JSON object in an attribute of the root; {} if there is none."""
    found = file.strings(file.groups.get(b"", {}), name)
    return load_json(found[0], decode_name(name)) if found else {}


# JSON

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[{]|[\]}]', re.DOTALL)
_MOST_DIGITS = 20


def load_json(text: bytes, what: str) -> dict[str, Any]:
    """Return a JSON object; {} for an empty text.

    Args:
        text: the JSON.
        what: its name, for errors.

    Raises:
        CorruptCheckpointError: it is not a JSON object, or it exceeds a limit.
    """
    import json  # imported only for descriptions

    if not text:
        return {}
    if len(text) > MAX_CONFIG_NBYTES:
        raise CorruptCheckpointError(
            f"{what} is too long", expected=f"at most {MAX_CONFIG_NBYTES} bytes", found=len(text)
        )
    depth = 0
    for token in _TOKEN.finditer(text):
        first = token[0][:1]
        depth += (first in (b"[", b"{")) - (first in (b"]", b"}"))
        if depth > MAX_CONFIG_DEPTH:
            raise CorruptCheckpointError(
                f"{what} is nested too deeply",
                expected=f"at most {MAX_CONFIG_DEPTH} levels",
                found="more",
            )
    try:
        found = json.loads(text.decode("utf-8", "replace"), parse_int=_parse_int)
    except (ValueError, RecursionError) as error:
        raise CorruptCheckpointError(f"{what} is not JSON", found=str(error)) from None
    if not isinstance(found, dict):
        raise CorruptCheckpointError(f"{what} is not a JSON object", found=type(found).__name__)
    return found


def _parse_int(digits: str) -> int | float:
    """Return an integer; a float if it is so long that Python would be slow to convert it."""
    return int(digits) if len(digits) <= _MOST_DIGITS else float(digits)


def _describe(model: dict[str, Any], optimizer: object) -> KerasDescription:
    """Return the description by the two configurations."""
    config = model.get("config")
    settings = optimizer.get("config") if isinstance(optimizer, dict) else None
    return KerasDescription(
        keras_version=None,
        backend=None,
        date_saved=None,
        name=_text(config.get("name")) if isinstance(config, dict) else None,
        class_name=_text(model.get("class_name")),
        layers=_layers(config),
        optimizer=_text(optimizer.get("class_name")) if isinstance(optimizer, dict) else None,
        optimizer_settings=settings if isinstance(settings, dict) else {},
        variable_names={},
    )


def _layers(config: object) -> tuple[KerasLayer, ...]:
    """Return the layers of a model's configuration; its depth is limited by `load_json`."""
    items = config.get("layers") if isinstance(config, dict) else config
    if not isinstance(items, list):
        return ()
    layers = []
    for item in items:
        if isinstance(item, dict):
            inner = item.get("config")
            named = inner.get("name") if isinstance(inner, dict) else None
            name = _text(item.get("name")) or _text(named) or ""
            layers.append(KerasLayer(name, _text(item.get("class_name")), _layers(inner)))
    return tuple(layers)


def _text(value: object) -> str | None:
    """Return a text that can be printed: JSON can have surrogates that are no letters."""
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else None


# Names of variables


def _name_variables(file: HDF5File, letters_left: int) -> dict[str, str]:
    """Return the name of the variable of each dataset, as far as the file tells."""
    names: dict[str, str] = {}
    for path in order_paths(file):
        name = _own_name(file, path)
        if name is None:
            continue
        letters_left -= len(name)
        if letters_left < 0:
            raise CorruptCheckpointError("the names of the variables are too long", found="more")
        names[decode_name(path)] = decode_name(name)
    return names


def _own_name(file: HDF5File, path: bytes) -> bytes | None:
    """Return the name of the variable of a dataset; None if the file does not tell it."""
    parts = path.split(b"/")
    if parts[-2:-1] == [b"vars"]:
        names = []
        for depth in range(1, len(parts) - 1):  # the model itself is not named
            group = b"/".join((*parts[:depth], b"vars"))
            names += file.strings(file.groups.get(group, {}), b"name")[:1]
        return b"/".join((*names, parts[-1])) if names else None
    for depth in range(len(parts) - 1, 0, -1):
        attributes = file.groups.get(b"/".join(parts[:depth]), {})
        if b"weight_names" in attributes or b"weight_names0" in attributes:
            return b"/".join(parts[depth:])
    return None
