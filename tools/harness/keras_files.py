"""Record what h5py and Keras read of a Keras file, in expected_keras.json and expected_keras.bin.

`fixtures/README.md` describes the two files.
"""

import io
import zipfile

import h5py
import keras
import numpy as np

from harness import documents


class Recorder:
    """Collects the values of several files."""

    def __init__(self):
        self.files = {}
        self.payloads = []
        self.offset = 0

    def record(self, path, model):
        """Record a file.

        model: the model into which Keras loaded the file.
        """
        optimizer = getattr(model, "optimizer", None)
        self.files[path] = {
            "tensors": self.stored(path),
            "listed": listed(path),
            "layers": [
                {"name": layer.name, "weights": self.variables(layer.weights)}
                for layer in model.layers
            ],
            "optimizer": self.variables(variables_of(optimizer)),
        }

    def stored(self, path):
        """Return all datasets, as h5py reads them."""
        if path.endswith(".keras"):
            with zipfile.ZipFile(path) as archive:
                path = io.BytesIO(archive.read("model.weights.h5"))
        found = []

        def visit(name, item):
            if isinstance(item, h5py.Dataset) and item.dtype != object:
                entry = {"name": name, "stored_at": item.id.get_offset()}
                entry.update(self.value(np.asarray(item[()])))
                found.append(entry)

        with h5py.File(path, "r") as file:
            file.visititems(visit)
        return found

    def variables(self, variables):
        """Return variables of Keras."""
        found = []
        for variable, array in zip(variables, values_of(variables)):
            entry = {"name": getattr(variable, "path", None) or variable.name}
            entry.update(self.value(np.asarray(array)))
            found.append(entry)
        return found

    def value(self, array):
        """Return the description of an array, whose bytes are added to the payload."""
        payload = array.astype(array.dtype.newbyteorder("=")).tobytes()
        entry = {
            "dtype": array.dtype.name,
            "shape": list(array.shape),
            "offset": self.offset,
            "nbytes": len(payload),
        }
        self.payloads.append(payload)
        self.offset += len(payload)
        return entry

    def save(self):
        """Write the two files."""
        documents.write("expected_keras.json", {"files": self.files}, depth=4)
        with open("expected_keras.bin", "wb") as stream:
            stream.write(b"".join(self.payloads))


def listed(path):
    """Return the paths of the datasets in the order of the lists of names; [] for Keras 3."""
    if path.endswith(".keras"):
        return []
    with h5py.File(path, "r") as file:
        weights = file.get("model_weights", file)
        groups = [weights[name] for name in names_in(weights, "layer_names")]
        if "optimizer_weights" in file:
            groups.append(file["optimizer_weights"])
        return [
            (group.name + "/" + name)[1:]
            for group in groups
            for name in names_in(group, "weight_names")
        ]


def names_in(group, attribute):
    """Return a list of names, as Keras reads it."""
    keys = [attribute] if attribute in group.attrs else []
    while attribute + str(len(keys)) in group.attrs:
        keys.append(attribute + str(len(keys)))
    found = [name for key in keys for name in group.attrs[key]]
    return [name.decode() if hasattr(name, "decode") else name for name in found]


def variables_of(optimizer):
    """Return the variables of an optimizer of any Keras; none for None."""
    if optimizer is None:
        return []
    found = getattr(optimizer, "variables", None)
    if found is None:
        return optimizer.weights
    return found() if callable(found) else found


def values_of(variables):
    """Return the values of variables of any Keras."""
    if keras.__version__.startswith("2.2"):
        return keras.backend.batch_get_value(variables)
    return [variable.numpy() for variable in variables]
