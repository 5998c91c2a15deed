"""TF2 checkpoints whose variables are cut or spread over several data files."""

import tensorflow as tf
from tensorflow.python.distribute.sharded_variable import ShardedVariable

from harness import oracle, values


class RecordingPolicy(tf.train.experimental.MaxShardSizePolicy):
    """MaxShardSizePolicy that remembers how it cut the tensors."""

    def __init__(self, max_shard_size):
        super().__init__(max_shard_size=max_shard_size)
        self.specs = {}

    def __call__(self, shardable_tensors):
        shards = super().__call__(shardable_tensors)
        for shard in shards:
            for key, slices in shard.items():
                self.specs.setdefault(key, []).extend(spec for spec in slices if spec)
        self.specs = {key: specs for key, specs in self.specs.items() if specs}
        return shards


def max_shard_size():
    """MaxShardSizePolicy: several data files, tensors cut on several axes, strings too."""
    # One axis: MaxShardSizePolicy of 2.21.0 fails on string tensors with more.
    texts = values.strings([b"row" + b"." * row for row in range(12)])
    checkpoint = tf.train.Checkpoint(
        matrix=tf.Variable(values.random((10, 4), seed=1)),
        cube=tf.Variable(values.random((2, 3, 4), seed=2)),
        vector=tf.Variable(values.array("int64", (20,))),
        half=tf.Variable(values.array("float16", (7, 8))),
        small=tf.Variable([1.5, -2.5]),
        texts=tf.Variable(tf.constant(texts)),
        step=tf.Variable(3, dtype=tf.int64),
    )
    policy = RecordingPolicy(max_shard_size=64)
    options = tf.train.CheckpointOptions(experimental_sharding_callback=policy)
    checkpoint.write(oracle.PREFIX, options)
    oracle.record(specs=policy.specs)


def sharded_variable():
    """A ShardedVariable, as parameter servers save it: slices along axis 0, explicit ranges."""
    parts = [tf.Variable(values.random((rows, 3), seed)) for seed, rows in enumerate([3, 2, 2])]
    embedding = ShardedVariable(parts, name="embedding")
    tf.train.Checkpoint(embedding=embedding, bias=tf.Variable([0.5, -0.5])).write(oracle.PREFIX)
    saveables = embedding._gather_saveables_for_checkpoint()["VARIABLE_VALUE"]()
    specs = [saveable.specs[0].slice_spec for saveable in saveables]
    oracle.record(specs={"embedding/.ATTRIBUTES/VARIABLE_VALUE": specs})
