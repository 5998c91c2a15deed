"""tf.train.Saver of TensorFlow 0.x and 1.x, with the .meta and state file beside the checkpoint."""

import os

import numpy as np
import tensorflow as tf

from harness import oracle, values


def vgg_16():
    """The 34 variables of TF-slim's vgg_16.ckpt by name and rank, with few channels."""
    shapes = {}
    channels = 3
    for block, (layers, filters) in enumerate([(2, 4), (2, 4), (3, 6), (3, 6), (3, 6)], start=1):
        for layer in range(1, layers + 1):
            name = f"vgg_16/conv{block}/conv{block}_{layer}/"
            shapes[name + "weights"] = (3, 3, channels, filters)
            shapes[name + "biases"] = (filters,)
            channels = filters
    for name, window, filters in [("fc6", 7, 12), ("fc7", 1, 12), ("fc8", 1, 10)]:
        shapes[f"vgg_16/{name}/weights"] = (window, window, channels, filters)
        shapes[f"vgg_16/{name}/biases"] = (filters,)
        channels = filters
    shapes["vgg_16/mean_rgb"] = (3,)
    for name in sorted(shapes):
        tf.Variable(tf.zeros(shapes[name]), name=name)
    tf.Variable(tf.zeros([], tf.int64), name="global_step", trainable=False)
    save_variables()
    oracle.record()


def partitioned_variables():
    """Variables of fixed_size_partitioner on two axes, with Momentum and Adam slots."""
    rows = tf.get_variable(
        "embedding/weights", [10, 4], partitioner=tf.fixed_size_partitioner(3, axis=0)
    )
    columns = tf.get_variable(
        "logits/weights", [4, 5], partitioner=tf.fixed_size_partitioner(2, axis=1)
    )
    bias = tf.get_variable("logits/bias", [5])
    whole = [tf.convert_to_tensor(variable) for variable in (rows, columns)]
    loss = tf.reduce_sum(tf.matmul(whole[0], whole[1]) + bias)
    tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss)
    tf.train.AdamOptimizer(0.1).minimize(loss)
    save_variables()
    oracle.record(specs=saved_slices())


def sharded_saver():
    """Saver(sharded=True): a data shard per device; the slices of a variable lie in several."""
    for device in range(3):
        with tf.device(f"/cpu:{device}"):
            tf.Variable(tf.zeros([2, 3]), name=f"on_cpu_{device}")
    with tf.device(lambda op: f"/cpu:{part_number(op.name)}"):
        tf.get_variable("partitioned", [7, 2], partitioner=tf.fixed_size_partitioner(3))
    with tf.device("/cpu:1"):
        tf.Variable(tf.zeros([], tf.int64), name="global_step", trainable=False)
    save_variables(sharded=True)
    oracle.record(specs=saved_slices())


def part_number(name):
    """The k of ".../part_k/..."; 0 in other names."""
    return int(name.split("part_")[1].split("/")[0]) if "part_" in name else 0


def save_variables(sharded=False):
    """Give every variable of the graph values of its own and save them all."""
    saver = tf.train.Saver(sharded=sharded, write_version=tf.train.SaverDef.V2)
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


def saved_slices():
    """The specs that the saver used, by the name of the whole variable."""
    specs = {}
    for variable in tf.global_variables():
        info = variable._save_slice_info
        if info is not None:
            specs.setdefault(info.full_name, []).append(info.spec)
    return specs
