"""Object-based checkpoints: what their object graphs say, beside their tensors."""

import tensorflow as tf

from harness import objects, oracle, values


def nested_objects():
    """Modules, lists, tuples, dicts with odd keys, objects shared by two paths, and a cycle."""
    backbone = tf.Module(name="backbone")
    backbone.blocks = [dense(3, 2, seed=0), dense(2, 2, seed=2)]
    backbone.pair = (variable((2,), 4), variable((), 5))
    backbone.nested = [[variable((1,), 6)], {"inner": (variable((1,), 7),)}]
    backbone.frozen = tf.Variable(values.array("int64", (3,)), trainable=False, name="frozen")
    head = dense(2, 4, seed=8)
    head.by_key = {key: variable((2,), 10 + number) for number, key in enumerate(ODD_KEYS)}
    head.shared_variable = backbone.blocks[0].kernel
    head.shared_block = backbone.blocks[1]
    head.empty = tf.Module()
    head.nothing = []
    backbone.head = head
    head.backbone = backbone  # a cycle
    step = tf.Variable(7, dtype=tf.int64, trainable=False, name="step")
    checkpoint = tf.train.Checkpoint(backbone=backbone, head=head, step=step)
    backbone.owner = checkpoint  # a child that is the root
    checkpoint.write(oracle.PREFIX)
    oracle.record()
    objects.record(checkpoint, variables_of(backbone=backbone, head=head))


ODD_KEYS = [
    "",
    "plain",
    "with/slash",
    "with.dot",
    ".S",
    "..S/",
    ".",
    "/",
    "two words",
    "caf\u00e9 \u6f22\u5b57",
    ".ATTRIBUTES",
    "VARIABLE_VALUE",
    "0",
]


def root_module():
    """tf.train.Checkpoint(module): the module is the root, and its own child "root"."""
    module = dense(2, 3, seed=1)
    module.layers = [dense(3, 1, seed=3)]
    checkpoint = tf.train.Checkpoint(module, step=tf.Variable(1, dtype=tf.int64))
    checkpoint.write(oracle.PREFIX)
    oracle.record()
    objects.record(checkpoint, variables_of(module=module))


def root_variable():
    """tf.train.Checkpoint(variable): the root itself holds a value."""
    # TensorFlow asks whether the root is true, so not an array, and not zero.
    checkpoint = tf.train.Checkpoint(tf.Variable(1.5, name="root"))
    checkpoint.write(oracle.PREFIX)
    oracle.record()
    objects.record(checkpoint)


def keras_adam():
    """A Keras model and its Adam after one step; Keras 2.4 keeps slots, later ones lists."""
    trained_model(tf.keras.optimizers.Adam(0.01))


def keras_adam_legacy():
    """A Keras model and the legacy Adam of Keras 2.11 to 2.15 after one step: slots again."""
    trained_model(tf.keras.optimizers.legacy.Adam(0.01))


def trained_model(optimizer):
    """Checkpoint(model, optimizer) of three layers, one without weights, and a save counter."""
    layers = tf.keras.layers
    seed_keras()
    model = tf.keras.Sequential(
        [
            layers.Dense(3, activation="tanh", name="enc"),
            layers.Flatten(),
            layers.BatchNormalization(name="norm"),
            layers.Dense(1),
        ],
        name="model",
    )
    model.build((None, 2))
    train(model, model.trainable_weights, optimizer)
    checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer)
    checkpoint.save_counter.assign_add(1)  # save() does so, and appends the count to the prefix
    checkpoint.write(oracle.PREFIX)
    oracle.record()
    objects.record(checkpoint, dict(weights_of(model=model), **kept_by(optimizer)))


def backbone_head():
    """Transfer learning: Checkpoint(backbone=a Keras model, head=a list of layers, optimizer)."""
    layers = tf.keras.layers
    seed_keras()
    backbone = tf.keras.Sequential(
        [layers.Conv2D(2, 3, name="stem"), layers.BatchNormalization(), layers.Flatten()],
        name="backbone",
    )
    backbone.build((None, 4, 4, 1))
    backbone.trainable = False
    head = [layers.Dense(3, name="hidden"), layers.Dense(2, name="logits")]
    head[0].build((None, 8))
    head[1].build((None, 3))
    model = tf.keras.Sequential([backbone, *head])
    model.build((None, 4, 4, 1))
    optimizer = tf.keras.optimizers.SGD(0.1, momentum=0.9)
    train(model, model.trainable_weights, optimizer, shape=(2, 4, 4, 1))
    checkpoint = tf.train.Checkpoint(backbone=backbone, head=head, optimizer=optimizer)
    checkpoint.write(oracle.PREFIX)
    oracle.record()
    groups = weights_of(backbone=backbone, hidden=head[0], logits=head[1])
    objects.record(checkpoint, dict(groups, **kept_by(optimizer)))


def keras_subclassed():
    """A subclassed model with layers in a list: Keras 3 leaves their weights out."""
    layers = tf.keras.layers
    seed_keras()

    class Subclassed(tf.keras.Model):
        """Two layers in a list and one in an attribute."""

        def __init__(self):
            super().__init__(name="subclassed")
            self.blocks = [layers.Dense(2, name="first"), layers.Dense(2, name="second")]
            self.out = layers.Dense(1, name="out")

        def call(self, x):
            return self.out(self.blocks[1](self.blocks[0](x)))

    model = Subclassed()
    model(values.random((1, 3), seed=1))
    checkpoint = tf.train.Checkpoint(model=model)
    checkpoint.write(oracle.PREFIX)
    oracle.record()
    objects.record(checkpoint, weights_of(model=model))


def tables_and_state():
    """What is no variable: a table, Python state, an iterator, a registered saver, odd tensors."""
    from tensorflow.python.saved_model import registration

    def save(trackables, file_prefix):
        """Save the states under keys of the saver's own choice."""
        names = [f"{name}/my-own-key" for name in trackables]
        states = [item.state for item in trackables.values()]
        tf.raw_ops.SaveV2(
            prefix=file_prefix,
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=states,
        )
        return file_prefix

    registration.register_tf_checkpoint_saver(
        name="stateful",
        predicate=lambda item: isinstance(item, Stateful),
        save_fn=save,
        restore_fn=lambda trackables, file_prefix: None,
    )
    table = tf.lookup.experimental.MutableHashTable(tf.string, tf.int64, default_value=-1)
    table.insert(tf.constant([b"one", b"two", b"\xff\x00"]), tf.constant([1, 2, 3], tf.int64))
    iterator = iter(tf.data.Dataset.range(5).shuffle(3, seed=1))
    next(iterator)
    python_state = PythonState()
    module = tf.Module()
    module.table = table
    checkpoint = tf.train.Checkpoint(
        table=table,
        module=module,
        python_state=python_state,
        iterator=iterator,
        registered=Stateful(variable((2,), 1)),
        pieces=Pieces(),
        step=tf.Variable(3, dtype=tf.int64, name="step"),
    )
    checkpoint.write(oracle.PREFIX)
    oracle.record()
    objects.record(checkpoint)


class PythonState(tf.train.experimental.PythonState):
    """State outside TensorFlow, saved as one string."""

    def serialize(self):
        return b'{"epoch": 3}\x00\xff'

    def deserialize(self, string_value):
        raise NotImplementedError


class Stateful(tf.Module):
    """Saved by a registered saver."""

    def __init__(self, state):
        super().__init__()
        self.state = state


class Pieces(tf.Module):
    """An object that makes several tensors of itself, with names that need escaping."""

    def _serialize_to_tensors(self):
        names = ["plain", "a/b", "c.d", "/.S"]
        return {name: tf.constant([number, 2.5]) for number, name in enumerate(names)}

    def _restore_from_tensors(self, restored_tensors):
        raise NotImplementedError


def dense(rows, columns, seed):
    """A module with a kernel and a bias."""
    module = tf.Module(name="dense")
    module.kernel = tf.Variable(values.random((rows, columns), seed), name="kernel")
    module.bias = tf.Variable(values.random((columns,), seed + 1), name="bias")
    return module


def variable(shape, seed):
    """A variable without a name of its own: TensorFlow calls them all "Variable"."""
    return tf.Variable(values.random(shape, seed))


def seed_keras():
    """The same weights and layer names each time."""
    tf.keras.backend.clear_session()
    getattr(tf.keras.utils, "set_random_seed", tf.random.set_seed)(7)


def train(model, weights, optimizer, shape=(2, 2)):
    """One step on given numbers."""
    with tf.GradientTape() as tape:
        output = model(values.random(shape, seed=1), training=True)
        loss = tf.reduce_mean(tf.square(output))
    optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))


def variables_of(**modules):
    """What tf.Module says are the variables of each."""
    groups = {}
    for name, module in modules.items():
        groups[name + ".variables"] = module.variables
        groups[name + ".trainable_variables"] = module.trainable_variables
    return groups


def weights_of(**layers):
    """What Keras says are the weights of each."""
    groups = {}
    for name, layer in layers.items():
        groups[name + ".weights"] = layer.weights
        groups[name + ".trainable_weights"] = layer.trainable_weights
        groups[name + ".non_trainable_weights"] = layer.non_trainable_weights
    return groups


def kept_by(optimizer):
    """What Keras says are the variables of an optimizer; a method in old versions."""
    kept = optimizer.variables
    return {"optimizer.variables": kept() if callable(kept) else kept}
