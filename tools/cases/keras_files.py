"""The files of Keras itself: HDF5 files of weights and of whole models, and archives."""

import datetime
import importlib
import os
import types

import h5py
import keras
import numpy as np

from harness import keras_files, values

layers = keras.layers
IS_2_2 = keras.__version__.startswith("2.2")


def keras_h5():
    """A model with a model in it after one step, in all files of this Keras; Keras read them."""
    freeze_date()
    recorder = keras_files.Recorder()
    model = trained_model(1)
    # The archive first: saving the other file removes the optimizer from Keras's configuration.
    paths = ["model.h5"] if IS_2_2 else ["model.keras", "model.h5"]
    for path in paths:
        model.save(path)
    for path in paths:
        keras.backend.clear_session()
        recorder.record(path, keras.models.load_model(path))
    recorder.save()


def keras_dtypes():
    """Weights of float16, bfloat16, float64 and int64, read by Keras."""
    recorder = keras_files.Recorder()
    dtypes_model(1).save_weights("model.weights.h5")
    model = dtypes_model(2)
    model.load_weights("model.weights.h5")
    recorder.record("model.weights.h5", model)
    recorder.save()


def keras_layouts():
    """Weights that h5py wrote again in other forms of HDF5, read by Keras."""
    recorder = keras_files.Recorder()
    dtypes_model(1).save_weights("plain.weights.h5")
    with h5py.File("plain.weights.h5", "r") as plain:
        copy("chunked.weights.h5", plain, "earliest", chunked)
        copy("latest.weights.h5", plain, "latest", latest)
    os.remove("plain.weights.h5")
    for path in ("chunked.weights.h5", "latest.weights.h5"):
        model = dtypes_model(2)
        model.load_weights(path)
        recorder.record(path, model)
    recorder.save()


def keras_long_names():
    """Weights of layers whose names together need more than one attribute, read by Keras."""
    recorder = keras_files.Recorder()
    long_model(1).save_weights("weights.h5")
    model = long_model(2)
    model.load_weights("weights.h5")
    recorder.record("weights.h5", model)
    recorder.save()


def freeze_date():
    """Let Keras write a constant date into archives."""
    try:
        saving_lib = importlib.import_module("keras.src.saving.saving_lib")
    except ImportError:  # before 2.13
        return
    now = types.SimpleNamespace(now=lambda: datetime.datetime(2017, 7, 14, 2, 40))
    saving_lib.datetime = types.SimpleNamespace(datetime=now)


def set_values(model, seed):
    """Set all weights to random numbers, different for each weight."""
    model.set_weights(
        [
            values.random(weight.shape, seed=100 * seed + i).astype(weight.dtype)
            for i, weight in enumerate(model.get_weights())
        ]
    )


def trained_model(seed):
    """A functional model with a model inside, after one step of SGD with momentum."""
    keras.backend.clear_session()
    encoder = keras.models.Sequential(
        [layers.Dense(3, name="dense", input_shape=(4,)), layers.BatchNormalization(name="norm")]
        if IS_2_2
        else [layers.Dense(3, name="dense"), layers.BatchNormalization(name="norm")],
        name="encoder",
    )
    inputs = layers.Input((3, 2), name="steps")
    hidden = layers.SimpleRNN(4, name="rnn")(inputs)
    output = layers.Dense(2, name="head")(encoder(hidden))
    model = keras.models.Model(inputs, output, name="nested")
    set_values(model, seed)
    # Keras 3 cannot load an HDF5 file in which the loss is a name.
    loss = "mse" if IS_2_2 else keras.losses.MeanSquaredError()
    model.compile(keras.optimizers.SGD(0.25, momentum=0.5), loss=loss)
    model.train_on_batch(values.random((2, 3, 2), seed=2), values.random((2, 2), seed=1))
    return model


def dtypes_model(seed):
    """A model with layers of several dtypes."""
    keras.backend.clear_session()
    inputs = layers.Input((4,), name="x")
    hidden = layers.Normalization(name="norm", axis=None)
    hidden.adapt(values.random((5, 4), seed=seed))
    output = hidden(inputs)
    for dtype in ("bfloat16", "float16", "float64"):
        output = layers.Dense(3, dtype=dtype, name=dtype)(output)
    model = keras.models.Model(inputs, output, name="dtypes")
    for layer in model.layers[2:]:
        set_values(layer, seed)
    return model


def long_model(seed):
    """A model of seven layers, one of them with a name of 9,300 letters."""
    keras.backend.clear_session()
    inputs = layers.Input((2,), name="x")
    output = layers.Dense(1, name="first")(inputs)
    output = layers.Activation("relu", name="long_" * 1860)(output)
    for i in range(4):
        output = layers.Activation("relu", name=f"other_{i}")(output)
    model = keras.models.Model(inputs, output, name="names")
    set_values(model, seed)
    return model


def copy(path, plain, libver, store):
    """Copy groups, attributes and datasets to a new file.

    store: writes a dataset, given the group, the name and the values.
    """
    with h5py.File(path, "w", libver=libver) as file:

        def visit(name, item):
            group, _, last = name.rpartition("/")
            if isinstance(item, h5py.Group):
                made = file.require_group(name)
            else:
                made = store(file.require_group(group or "/"), last, item[()])
            for key, value in item.attrs.items():
                made.attrs[key] = value

        plain.visititems(visit)
        file["note"] = "a text, which is no weight"


def chunked(group, name, value):
    """Write a dataset in chunks, with filters that depend on its size; or in the header."""
    if not value.shape:
        compact = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        compact.set_layout(h5py.h5d.COMPACT)
        space = h5py.h5s.create(h5py.h5s.SCALAR)
        kind = h5py.h5t.py_create(value.dtype)
        made = h5py.h5d.create(group.id, name.encode(), kind, space, dcpl=compact)
        made.write(space, space, np.asarray(value))
        return group[name]
    options = [
        {"compression": "gzip"},
        {"compression": "gzip", "shuffle": True},
        {"compression": "gzip", "shuffle": True, "fletcher32": True},
        {"fletcher32": True},
        {},
    ]
    chunks = tuple(max(1, size * 2 // 3) for size in value.shape)
    chosen = options[(value.size + 2 * value.itemsize) % len(options)]
    return group.create_dataset(name, data=value, chunks=chunks, **chosen)


def latest(group, name, value):
    """Write a dataset as it is; vectors of numbers with the high byte first."""
    is_swapped = value.ndim == 1 and value.dtype.kind == "f"
    dtype = value.dtype.newbyteorder(">") if is_swapped else value.dtype
    return group.create_dataset(name, data=value, dtype=dtype)
