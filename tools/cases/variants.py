"""Variant tensors: lists, optionals and the state of iterators."""

import tensorflow as tf

from harness import ops, oracle


def variants():
    """TensorLists, nested ones and Optionals, as scalars and as [2], beside an ordinary tensor."""
    numbers = tensor_list([[1.5, 2.5], [3.5, 4.5]])
    texts = tensor_list([b"one", b"\xff\x00"])
    empty = tensor_list(tf.zeros([0, 3]))
    nested = tf.raw_ops.TensorListFromTensor(
        tensor=tf.stack([numbers, texts]), element_shape=tf.constant([], tf.int32)
    )
    optional = tf.raw_ops.OptionalFromValue(components=[tf.constant(7), tf.constant([b"x", b"y"])])
    none = tf.raw_ops.OptionalNone()
    tensors = {
        "list": numbers,
        "list_empty": empty,
        "list_of_strings": texts,
        "lists": tf.stack([numbers, texts]),
        "nested": nested,
        "optional": optional,
        "optional_none": none,
        "optionals": tf.stack([optional, none]),
        "mixed": tf.stack([nested, optional]),
    }
    items = [(key, "", tf.variant, tensor) for key, tensor in tensors.items()]
    ordinary = tf.constant([[1, 2], [3, 4]], tf.int16)
    ops.save(oracle.PREFIX, [*items, ("ordinary", "", tf.int16, ordinary)])
    oracle.record()


def tensor_list(elements):
    """A scalar variant that holds the rows of a tensor."""
    elements = tf.constant(elements)
    return tf.raw_ops.TensorListFromTensor(
        tensor=elements, element_shape=tf.constant(elements.shape[1:].as_list(), tf.int32)
    )


def iterator_state():
    """tf.train.Checkpoint of a dataset iterator that has moved on, beside a variable."""
    dataset = tf.data.Dataset.range(100).map(lambda number: number * 2).shuffle(10, seed=1).batch(2)
    # Without threads that read ahead: how far they are would differ from run to run.
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.inject_prefetch = False
    iterator = iter(dataset.with_options(options))
    next(iterator)
    next(iterator)
    step = tf.Variable(2, dtype=tf.int64)
    tf.train.Checkpoint(iterator=iterator, step=step).write(oracle.PREFIX)
    oracle.record()
