"""SavedModels of TensorFlow 1, of TensorFlow 2 and of Keras; and a module of TensorFlow Hub."""

import os

import tensorflow as tf

from harness import saved_models, values
from harness.graphs import v1
from harness.saved_models import FOLDER


def saved_model_simple():
    """simple_save of TensorFlow 1: one signature."""
    x, y = make_graph()
    with started() as session:
        v1.saved_model.simple_save(session, FOLDER, inputs={"x": x}, outputs={"y": y, "x": x})
    saved_models.record()


def saved_model_partitioned():
    """A SavedModel of TensorFlow 1 with a variable in three parts."""
    x = v1.placeholder(tf.float32, [None, 7], name="x")
    parts = v1.get_variable("w", [7, 2], partitioner=v1.fixed_size_partitioner(3))
    y = tf.matmul(x, tf.convert_to_tensor(parts), name="y")
    with started() as session:
        v1.saved_model.simple_save(session, FOLDER, inputs={"x": x}, outputs={"y": y})
    specs = {"w": [part._save_slice_info.spec for part in parts]}
    saved_models.record(specs=specs)


def saved_model_no_variables():
    """A SavedModel of TensorFlow 1 without variables: the folder `variables` is empty."""
    x = v1.placeholder(tf.float32, [None, 2], name="x")
    y = tf.identity(x * 2.0, name="y")
    with started() as session:
        v1.saved_model.simple_save(session, FOLDER, inputs={"x": x}, outputs={"y": y})
    saved_models.record()


def saved_model_text():
    """A SavedModel of TensorFlow 1 as text: saved_model.pbtxt."""
    x, y = make_graph()
    builder = v1.saved_model.Builder(FOLDER)
    with started() as session:
        builder.add_meta_graph_and_variables(session, ["serve"], {"predict": predict(x, y)})
        builder.save(as_text=True)
    saved_models.record()


def saved_model_two_tags():
    """Two graphs with tags of their own over one set of variables, several signatures, an asset."""
    builder = v1.saved_model.Builder(FOLDER)
    with tf.Graph().as_default():
        x, y = make_graph()
        # Written and named in the folder of the case: no path of this machine gets into the graph.
        with open("words.txt", "w") as stream:
            stream.write("one\ntwo\n")
        lines = tf.lookup.TextFileInitializer(
            *("words.txt", tf.string, tf.lookup.TextFileIndex.WHOLE_LINE),
            *(tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER),
        )
        table = tf.lookup.StaticHashTable(lines, -1)
        word = v1.placeholder(tf.string, [None], name="word")
        score = tf.reduce_max(y, axis=1, keepdims=True, name="score")
        method = v1.saved_model.build_signature_def
        signatures = {
            "serving_default": predict(x, y),
            "regress_x": method(
                {"inputs": info(word)},
                {"outputs": info(score)},
                v1.saved_model.signature_constants.REGRESS_METHOD_NAME,
            ),
            "look_up": method({"word": info(word)}, {"number": info(table.lookup(word))}, "mine"),
        }
        with started(v1.tables_initializer()) as session:
            builder.add_meta_graph_and_variables(
                session,
                ["serve"],
                signatures,
                assets_collection=v1.get_collection(v1.GraphKeys.ASSET_FILEPATHS),
                main_op=v1.tables_initializer(),
            )
    with tf.Graph().as_default():
        x, y = make_graph()
        v1.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_mean(y))
        builder.add_meta_graph(["train", "gpu"], strip_default_attrs=True)
    builder.save()
    os.remove("words.txt")
    saved_models.record()


def make_graph():
    """A layer with a bias, its scale not trainable, and a step counter: its input and output."""
    x = v1.placeholder(tf.float32, [None, 3], name="x")
    kernel = v1.get_variable("layer/kernel", [3, 2])
    bias = v1.get_variable("layer/bias", [2])
    scale = v1.get_variable("scale", [2], tf.float64, trainable=False)
    v1.train.get_or_create_global_step()
    y = tf.identity((tf.matmul(x, kernel) + bias) * tf.cast(scale, tf.float32), name="y")
    return x, y


def predict(x, y):
    """The signature that simple_save makes."""
    return v1.saved_model.predict_signature_def({"x": x}, {"y": y})


def info(tensor):
    """The TensorInfo of a tensor."""
    return v1.saved_model.build_tensor_info(tensor)


def started(*more):
    """A session in which each variable has a value of its own."""
    session = v1.Session()
    session.run(more)
    for seed, item in enumerate(v1.global_variables()):
        dtype = item.dtype.base_dtype.as_numpy_dtype
        value = (values.random(item.shape.as_list(), seed) * 100).astype(dtype)
        session.run(item.initializer, {item.initial_value: value})
    return session


def hub_module():
    """A module of TensorFlow Hub: graphs for two sets of tags, a variable in parts."""
    import tensorflow_hub as hub

    def module(is_training):
        x = v1.placeholder(tf.float32, [None, 4], name="x")
        kernel = v1.get_variable("layer/kernel", [4, 3], partitioner=v1.fixed_size_partitioner(2))
        bias = v1.get_variable("layer/bias", [3])
        y = tf.matmul(x, tf.convert_to_tensor(kernel)) + bias
        if is_training:
            y = tf.nn.dropout(y, rate=0.5)
        hub.add_signature(inputs={"x": x}, outputs={"default": y})
        hub.add_signature("features", inputs={"x": x}, outputs={"y": y, "x": x})

    spec = hub.create_module_spec(
        module, [(set(), {"is_training": False}), ({"train"}, {"is_training": True})]
    )
    module = hub.Module(spec, name="scope_of_the_caller")
    specs = {}
    for name, items in module.variable_map.items():
        if isinstance(items, list):
            specs[name] = [item._save_slice_info.spec for item in items]
    with started() as session:
        module.export(FOLDER, session)
    saved_models.record(specs=specs)


class Model(tf.Module):
    """Variables in attributes, a list and a dict; two functions."""

    def __init__(self):
        super().__init__(name="model")
        self.kernel = tf.Variable(values.random((3, 2), 1), name="kernel")
        self.layers = [tf.Variable(values.random((2,), 2), name="bias")]
        self.by_name = {"a/b": tf.Variable(values.random((2,), 3), name="odd")}
        self.mean = tf.Variable(values.array("float64", (2,)), trainable=False, name="mean")
        self.step = tf.Variable(5, dtype=tf.int64, trainable=False, name="step")

    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.float32, name="x")])
    def __call__(self, x):
        return tf.matmul(x, self.kernel) + self.layers[0] * self.by_name["a/b"]

    @tf.function(
        input_signature=[
            tf.TensorSpec([2, None], tf.float32, name="values"),
            tf.TensorSpec([], tf.string, name="label"),
        ]
    )
    def describe(self, values, label):
        mean = tf.cast(self.mean, tf.float32)
        return {"mean": mean, "label": label, "total": tf.reduce_sum(values)}


def saved_module():
    """tf.saved_model.save of a tf.Module with two signatures."""
    model = Model()
    signatures = {"serving_default": model.__call__, "describe": model.describe}
    tf.saved_model.save(model, FOLDER, signatures=signatures)
    saved_models.record()


def saved_module_no_variables():
    """tf.saved_model.save of a tf.Module without variables and signatures."""
    tf.saved_model.save(tf.Module(), FOLDER)
    saved_models.record()


def keras_saved_model():
    """model.save of Keras 2: the checkpoint holds more than the weights."""
    model = keras_model()
    model.save(FOLDER, include_optimizer=False)
    saved_models.record()


def keras_export():
    """model.export of Keras 3, which stores each weight twice."""
    model = keras_model()
    model.export(FOLDER, verbose=False)
    saved_models.record()


def keras_model():
    """Two layers, one of them with weights that are not trainable."""
    tf.keras.utils.set_random_seed(7)
    layers = tf.keras.layers
    model = tf.keras.Sequential([layers.Dense(2, name="enc"), layers.BatchNormalization()])
    model.build((None, 3))
    for seed, weight in enumerate(model.weights):
        weight.assign(values.random(weight.shape, seed))
    return model
