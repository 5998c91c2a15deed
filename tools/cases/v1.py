"""V1 checkpoints: what TensorFlow wrote before 0.12, and writes to this day when asked."""

import glob
import os

import numpy as np
import tensorflow

from cases import slices
from cases.dtypes import savable
from harness import ops, oracle, values

# Graphs, sessions and savers of TensorFlow 1.
tf = getattr(tensorflow.compat, "v1", tensorflow)

SHARDS = oracle.PREFIX + "-?????-of-00003"

TILINGS = dict(
    slices.TILINGS,
    # Starts and lengths on both sides of where their encoding in the key gets a byte longer.
    long=["9000 0,63", "9000 63,1", "9000 64,8127", "9000 8191,1", "9000 8192,808"],
)

NOT_UTF8 = [b"caf\xe9", b"\x00\xff", b"plain"]


def v1_dtypes():
    """V1: each dtype that the writer takes, as scalar, vector, matrix and with zero elements."""
    accepted, errors = savable(ops.save_arrays_v1)
    tensors = {}
    for dtype in accepted:
        tensors[dtype + "/vector"] = (dtype, values.vector(dtype))
        for name, shape in {"scalar": (), "matrix": (3, 4), "empty": (0, 4)}.items():
            tensors[dtype + "/" + name] = (dtype, values.array(dtype, shape))
    ops.save_arrays_v1(oracle.PREFIX, tensors)
    oracle.record_v1(errors=errors)


def v1_strings():
    """V1: strings of several lengths, with NULs and invalid UTF-8, in several shapes."""
    texts = values.strings(values.STRINGS)
    arrays = {
        "scalar": np.array(b"a scalar", dtype=object),
        "scalar_empty": np.array(b"", dtype=object),
        "vector": texts,
        "matrix": texts.reshape(2, 3),
        "empty_strings": values.strings([b""] * 20),
        "zero_elements": np.empty((0,), dtype=object),
        "zero_elements_0_4": np.empty((0, 4), dtype=object),
        "lengths": values.strings([b"x" * length for length in (1, 127, 128, 300, 2000)]),
    }
    ops.save_arrays_v1(oracle.PREFIX, {key: ("string", array) for key, array in arrays.items()})
    oracle.record_v1()


def v1_vgg_16():
    """V1: the variables of TF-slim's vgg_16.ckpt as its saver wrote them, with few channels."""
    shapes, channels = {}, 3
    for block, (layers, filters) in enumerate([(2, 2), (2, 2), (3, 3), (3, 3), (3, 3)], start=1):
        for layer in range(1, layers + 1):
            name = f"vgg_16/conv{block}/conv{block}_{layer}/"
            shapes[name + "weights"] = (3, 3, channels, filters)
            shapes[name + "biases"] = (filters,)
            channels = filters
    for name, window, filters in [("fc6", 7, 6), ("fc7", 1, 6), ("fc8", 1, 10)]:
        shapes[f"vgg_16/{name}/weights"] = (window, window, channels, filters)
        shapes[f"vgg_16/{name}/biases"] = (filters,)
        channels = filters
    shapes["vgg_16/mean_rgb"] = (3,)
    with tf.Graph().as_default():
        for name in sorted(shapes):
            tf.Variable(tf.zeros(shapes[name]), name=name)
        tf.Variable(tf.zeros([], tf.int64), name="global_step", trainable=False)
        save_variables()
    oracle.record_v1()


def v1_sharded():
    """V1: a file per device; the slices of a variable lie in several of them."""
    with tf.Graph().as_default():
        specs = save_sharded()
    oracle.record_v1(specs=specs, path=SHARDS)


def v1_missing_shard():
    """V1: the second of three shards is gone; TensorFlow lists what the other two hold."""
    with tf.Graph().as_default():
        specs = save_sharded()
    os.remove(oracle.PREFIX + "-00001-of-00003")
    oracle.record_v1(specs=specs, path=SHARDS)


def v1_slices():
    """V1: rows, columns, grids, rank 3, ragged, out of order, '-' and explicit full ranges."""
    tensors = {"scalar": ("float32", np.float32(2.5), [""])}
    for seed, (name, specs) in enumerate(TILINGS.items()):
        shape = ops.full_shape(specs[0])
        if name == "long":
            tensors[name] = ("bool", np.arange(shape[0]) % 3 == 0, specs)
        else:
            tensors[name] = ("float32", values.random(shape, seed), specs)
    tensors["zzz/scalar"] = ("int64", np.int64(-3), [""])
    ops.save_slices_v1_file(oracle.PREFIX, tensors)
    oracle.record_v1(specs=TILINGS)


def v1_slices_dtypes():
    """V1: each dtype in three slices."""
    accepted, errors = savable(ops.save_arrays_v1)
    specs = ["6 3 0,1:-", "6 3 1,3:-", "6 3 4,2:-"]
    ops.save_slices_v1_file(
        oracle.PREFIX, {dtype: (dtype, values.array(dtype, (6, 3)), specs) for dtype in accepted}
    )
    oracle.record_v1(specs=dict.fromkeys(accepted, specs), errors=errors)


def v1_hole():
    """V1: slices that leave holes. TensorFlow writes them and refuses to read the whole."""
    save_float_slices(
        {
            "good": ["6 2 0,3:-", "6 2 3,3:-"],
            "first_missing": ["6 2 3,3:-"],
            "last_missing": ["6 2 0,3:-"],
            "middle_missing": ["6 2 0,2:-", "6 2 4,2:-"],
            "one_element_missing": ["6 2 0,5:-", "6 2 5,1:0,1"],
        }
    )


def v1_overlapping():
    """V1: slices that overlap."""
    save_float_slices(
        {
            "good": ["6 2 0,3:-", "6 2 3,3:-"],
            "overlapping": ["6 2 0,4:-", "6 2 3,3:-"],
        }
    )


def v1_repeated():
    """V1: one slice saved twice under one name."""
    save_float_slices({"good": ["6 2 0,3:-", "6 2 3,3:-"], "repeated": ["6 2 -:-", "6 2 -:-"]})


def v1_many():
    """V1: float32, int64 and string scalars around an int8 tensor that fills a block."""
    tensors = {}
    for number in range(100):
        scope = f"{number // 10:02}/{number % 10:02}/"
        tensors["before/" + scope + "weight"] = ("float32", np.float32(number + 0.5))
        tensors["before/" + scope + "count"] = ("int64", np.int64(number - 50) * 10**12)
        tensors["later/" + scope + "weight"] = ("float32", np.float32(-number - 0.5))
        tensors["later/" + scope + "text"] = ("string", np.array(b"x" * number, dtype=object))
    # Negative numbers take ten bytes each; a block is closed once it holds 262,144.
    tensors["filling"] = ("int8", (-1 - np.arange(26500) % 128).astype(np.int8))
    ops.save_arrays_v1(oracle.PREFIX, tensors)
    oracle.record_v1()


def v1_and_v2():
    """Both formats under one prefix, with different values: TensorFlow takes V2."""
    names = ["both/matrix", "both/scalar"]
    shapes = [(2, 3), ()]

    def tensors(seed):
        return {name: ("float32", values.random(shape, seed)) for name, shape in zip(names, shapes)}

    ops.save_arrays_v1(
        oracle.PREFIX, dict(tensors(1), **{"v1/only": ("int32", values.vector("int32"))})
    )
    oracle.record_v1(stem="expected_v1")
    ops.save_arrays(
        oracle.PREFIX, dict(tensors(2), **{"v2/only": ("int32", values.vector("int32"))})
    )
    oracle.record()


def v1_names_not_utf8():
    """V1: names that are not UTF-8."""
    tensors = {key: ("float32", np.float32(n + 0.5)) for n, key in enumerate(NOT_UTF8)}
    ops.save_arrays_v1(oracle.PREFIX, tensors)
    oracle.record_v1(written={key: (dtype, value.shape) for key, (dtype, value) in tensors.items()})


def save_float_slices(specs):
    """Save and record float32 tensors of shape [6, 2] with such slices."""
    tensors = {
        key: ("float32", values.random((6, 2), seed), key_specs)
        for seed, (key, key_specs) in enumerate(specs.items())
    }
    ops.save_slices_v1_file(oracle.PREFIX, tensors)
    oracle.record_v1(specs=specs, written=dict.fromkeys(specs, ("float32", (6, 2))))


def save_sharded():
    """A sharded V1 checkpoint of three devices; the specs of its slices by name."""
    for device in range(3):
        with tf.device(f"/cpu:{device}"):
            tf.Variable(tf.zeros([2, 3]), name=f"on_cpu_{device}")
    with tf.device(lambda op: f"/cpu:{part_number(op.name) % 3}"):
        tf.get_variable("partitioned", [9, 2], partitioner=tf.fixed_size_partitioner(4))
    with tf.device("/cpu:1"):
        tf.Variable(tf.zeros([], tf.int64), name="global_step", trainable=False)
    save_variables(sharded=True)
    shards = glob.glob(SHARDS)
    assert len(shards) == 3, shards
    specs = {}
    for variable in tf.global_variables():
        info = variable._save_slice_info
        if info is not None:
            specs.setdefault(info.full_name, []).append(info.spec)
    return specs


def part_number(name):
    """The k of ".../part_k/..."; 0 in other names."""
    return int(name.split("part_")[1].split("/")[0]) if "part_" in name else 0


def save_variables(sharded=False):
    """Give every variable of the graph values of its own and save them all."""
    saver = tf.train.Saver(sharded=sharded, write_version=tf.train.SaverDef.V1)
    with tf.Session(config=tf.ConfigProto(device_count={"CPU": 3})) as session:
        for seed, variable in enumerate(tf.global_variables()):
            shape = variable.get_shape().as_list()
            if variable.dtype.base_dtype == tf.int64:
                value = np.int64(12345)
            else:
                value = values.random(shape, seed)
            # Fed in place of the initial value, so that the values are not stored in the .meta too.
            session.run(variable.initializer, {variable.initial_value: value})
        # "./" because old savers look for the folder of the path.
        saver.save(session, os.path.join(".", oracle.PREFIX))
