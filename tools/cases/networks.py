"""Real networks with random weights: checkpoints, and the outputs that TensorFlow computes."""

import functools
from unittest import mock

import numpy as np
import tensorflow as tf

from harness import oracle, values, weights


def bert():
    """Google's BERT with its heads for pre-training, the slots of its AdamW, and its outputs."""
    from bert import modeling, optimization, run_pretraining

    config = modeling.BertConfig(
        vocab_size=30,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=24,
        max_position_embeddings=12,
        type_vocab_size=2,
    )
    random = np.random.RandomState(0)
    inputs = {
        "input_ids": random.randint(0, config.vocab_size, [3, 9]).astype(np.int32),
        "input_mask": (np.arange(9) < [[9], [5], [1]]).astype(np.int32),
        "token_type_ids": (np.arange(9) >= [[4], [2], [9]]).astype(np.int32),
    }
    tensors = {name: tf.constant(array) for name, array in inputs.items()}
    model = modeling.BertModel(config=config, is_training=False, **tensors)
    positions = np.array([[0, 8], [4, 1], [0, 0]])
    words = run_pretraining.get_masked_lm_output(
        config,
        model.get_sequence_output(),
        model.get_embedding_table(),
        positions,
        np.array([[1, 2], [3, 4], [5, 6]]),
        np.ones([3, 2], np.float32),
    )
    sentences = run_pretraining.get_next_sentence_output(
        config, model.get_pooled_output(), np.array([0, 1, 1])
    )
    train = optimization.create_optimizer(words[0] + sentences[0], 1e-3, 10, 0, use_tpu=False)
    save_and_record(
        dict(inputs, positions=positions),
        {
            "sequence_output": model.get_sequence_output(),
            "pooled_output": model.get_pooled_output(),
            "word_log_probabilities": words[2],
            "sentence_log_probabilities": sentences[2],
        },
        train,
    )


def slim_vgg_16():
    """The network vgg_16 of TF-slim, with few channels, and its outputs."""
    from tensorflow.contrib.slim.python.slim.nets import vgg

    fewer = {64: 4, 128: 5, 256: 6, 512: 8, 4096: 16}
    conv2d = vgg.layers.conv2d

    @functools.wraps(conv2d)  # also its key for arg_scope
    def with_fewer_channels(inputs, channels, *arguments, **options):
        return conv2d(inputs, fewer.get(channels, channels), *arguments, **options)

    pixels = np.random.RandomState(0).randint(0, 256, [2, 28, 28, 3])
    images = ((pixels - 127.5) / 64).astype(np.float32).repeat(8, axis=1).repeat(8, axis=2)
    tf.train.create_global_step()
    fewer_channels = mock.patch.object(vgg.layers, "conv2d", with_fewer_channels)
    with fewer_channels, tf.contrib.slim.arg_scope(vgg.vgg_arg_scope()):
        logits, ends = vgg.vgg_16(tf.constant(images), num_classes=10, is_training=False)
    outputs = {"pool5": ends["vgg_16/pool5"], "fc6": ends["vgg_16/fc6"], "logits": logits}
    save_and_record({"images": images}, outputs)


def save_and_record(inputs, outputs, train=None):
    """Give the weights random values, save all variables, and record outputs.

    inputs: name -> array that the network was built with.
    outputs: name -> tensor.
    train: an operation that is run once, after which slots are not zero.
    """
    variables = tf.trainable_variables()
    saver = tf.train.Saver()
    one_thread = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    with tf.Session(config=one_thread) as session:  # so that sums are computed in the same order
        session.run(tf.global_variables_initializer())
        for seed, variable in enumerate(variables):
            variable.load(random_weight(variable, seed), session)
        if train is not None:
            session.run(train)
        saver.save(session, "./" + oracle.PREFIX, write_meta_graph=False, write_state=False)
        computed = session.run(outputs)
    np.savez_compressed("expected_outputs.npz", **dict(inputs, **computed))
    oracle.record()
    weights.record(variables)


def random_weight(variable, seed):
    """Return values with which all outputs of layers have about the same size."""
    name, shape = variable.op.name, variable.shape.as_list()
    value = values.random(shape, seed)
    if name.endswith("/gamma"):  # of a layer normalization
        return 1 + value / 4
    if len(shape) == 4:  # a convolution with ReLU
        return value * np.float32(np.sqrt(2 / np.prod(shape[:3])))
    return value / 2


def layers():
    """One Keras layer of each kind in a tf.train.Checkpoint, and the output of each."""
    keras_layers = tf.keras.layers
    kinds = {
        "dense": (keras_layers.Dense(3), [2, 4]),
        "conv1d": (keras_layers.Conv1D(3, 3, padding="same"), [2, 7, 2]),
        "conv2d": (keras_layers.Conv2D(4, (3, 2), strides=2, padding="same"), [2, 8, 6, 3]),
        "conv3d": (keras_layers.Conv3D(2, (2, 3, 1)), [2, 4, 5, 3, 3]),
        "depthwise": (keras_layers.DepthwiseConv2D((2, 3), depth_multiplier=2), [2, 5, 6, 3]),
        "separable": (keras_layers.SeparableConv2D(4, 3, depth_multiplier=2), [2, 5, 6, 3]),
        "transposed": (keras_layers.Conv2DTranspose(3, (2, 3), strides=2), [2, 3, 4, 2]),
        "embedding": (keras_layers.Embedding(5, 3), None),
        "batch_norm": (keras_layers.BatchNormalization(), [2, 3, 4, 5]),
        "layer_norm": (keras_layers.LayerNormalization(), [2, 3, 5]),
        "lstm": (keras_layers.LSTM(3, return_sequences=True), [2, 4, 5]),
        "gru": (keras_layers.GRU(3, return_sequences=True), [2, 4, 5]),
        "attention": (keras_layers.MultiHeadAttention(num_heads=3, key_dim=2), [2, 4, 5]),
    }
    recorded = {}
    for seed, (name, (layer, shape)) in enumerate(kinds.items()):
        given = np.array([[0, 4, 2]]) if shape is None else values.random(shape, 100 + seed)
        inputs = [given, given] if name == "attention" else [given]
        layer(*inputs)  # creates the variables
        for number, variable in enumerate(layer.weights):
            value = values.random(tuple(variable.shape), 20 * seed + number)
            is_variance = number == 3 and name == "batch_norm"
            variable.assign(np.abs(value) + 1 if is_variance else value)
        recorded[name + "/input"] = given
        recorded[name + "/output"] = np.asarray(layer(*inputs))
    checkpoint = tf.train.Checkpoint(**{name: layer for name, (layer, _) in kinds.items()})
    checkpoint.write(oracle.PREFIX)
    np.savez_compressed("expected_outputs.npz", **recorded)
    oracle.record()
    weights.record_objects(
        checkpoint, [item for layer, _ in kinds.values() for item in layer.weights]
    )
