"""Object-based checkpoints of Keras models."""

import tensorflow as tf

from harness import oracle, values


def keras_save_weights():
    """save_weights of a nested Keras 2 model trained one step, with its Adam slots."""
    model = trained_model(tf.keras.optimizers.Adam(0.01))
    model.save_weights(oracle.PREFIX)
    oracle.record()


def keras_checkpoint():
    """tf.train.Checkpoint of a Keras 3 model trained one step, and of its optimizer."""
    optimizer = tf.keras.optimizers.Adam(0.01)
    model = trained_model(optimizer)
    tf.train.Checkpoint(model=model, optimizer=optimizer).write(oracle.PREFIX)
    oracle.record()


def trained_model(optimizer):
    """A functional model with an embedding, an LSTM and a model inside, after one step."""
    layers = tf.keras.layers
    tf.keras.backend.clear_session()
    # Keras 2.7 and later draw seeds from Python's random module too.
    getattr(tf.keras.utils, "set_random_seed", tf.random.set_seed)(7)
    encoder = tf.keras.Sequential(
        [layers.Dense(4, activation="tanh"), layers.BatchNormalization()], name="encoder"
    )
    tokens = tf.keras.Input((3,), dtype="int32", name="tokens")
    embedded = layers.Embedding(11, 5, name="embedding")(tokens)
    hidden = layers.LSTM(4, name="rnn")(embedded)
    output = layers.Dense(2, name="head")(encoder(hidden))
    model = tf.keras.Model(tokens, output, name="nested")
    model.compile(optimizer=optimizer, loss="mse")
    model.train_on_batch(tf.constant([[1, 2, 3], [4, 5, 6]]), values.random((2, 2), seed=1))
    return model
