"""Graphs of TensorFlow 1 with all that a training script puts into them, and their .meta files."""

import tensorflow as tf

from harness import graphs, oracle, values
from harness.graphs import v1


def training_graph():
    """Partitions, moving averages, slots of many optimizers, cond, while, odd collections."""
    if tf.__version__.startswith("2."):
        v1.disable_eager_execution()
        v1.disable_control_flow_v2()  # else tf.cond leaves no cond_context
    step = make_global_step()
    loss, bias = make_network()
    averaged = [item for item in v1.trainable_variables() if item is not bias]
    average = v1.train.ExponentialMovingAverage(0.9, num_updates=step, **zero_debias())
    slow = v1.train.ExponentialMovingAverage(0.99, name="slow")
    updates = [average.apply([*averaged, loss]), slow.apply([bias])]
    gradients = v1.train.MomentumOptimizer(0.1, 0.9).compute_gradients(loss)
    of_conv = [(gradient, item) for gradient, item in gradients if item.name.startswith("conv")]
    of_bias = [(gradient, item) for gradient, item in gradients if item is bias]
    applied = [
        (v1.train.MomentumOptimizer(0.1, 0.9), gradients),
        (v1.train.AdamOptimizer(0.01), of_conv + of_bias),
        (v1.train.AdamOptimizer(0.01), of_bias),  # its slots are Adam_2 and Adam_3
        (v1.train.AdamOptimizer(0.01, name="generator"), of_bias),
        (v1.train.RMSPropOptimizer(0.01, **centered()), of_bias),
        (v1.train.AdagradOptimizer(0.01), of_bias),
        (v1.train.AdadeltaOptimizer(0.01), of_bias),
        (v1.train.FtrlOptimizer(0.01), of_bias),
    ]
    updates += [optimizer.apply_gradients(pairs) for optimizer, pairs in applied]
    updates.append(v1.assign_add(step, 1))
    saver = v1.train.Saver(**newest_format())
    fill_collections(loss, saver)
    with v1.Session() as session:
        session.run(v1.global_variables_initializer())
        for seed, item in enumerate(v1.trainable_variables()):
            value = values.random(item.get_shape().as_list(), seed)
            # Fed in place of the initial value, so that the values are not stored in the .meta too.
            session.run(item.initializer, {item.initial_value: value})
        # One after the other and with given gradients, so that no update can see another's.
        known = {gradient: session.run(gradient) for gradient, _ in gradients}
        for update in updates:
            session.run(update, known)
        saver.save(session, "./" + oracle.PREFIX)
    specs = {}
    for item in v1.global_variables():
        info = item._save_slice_info
        if info is not None:
            specs.setdefault(info.full_name, []).append(info.spec)
    oracle.record(specs=specs)
    graphs.record_meta(
        moving_averages=graphs.moving_averages((average, [*averaged, loss]), (slow, [bias])),
        optimizers=graphs.slots(*[optimizer for optimizer, _ in applied]),
    )


def make_global_step():
    """The variable that counts steps."""
    training = v1.train if hasattr(v1.train, "get_or_create_global_step") else tf.contrib.framework
    return training.get_or_create_global_step()


def make_network():
    """A convolution, a dense layer in two parts and one with a bias: the loss, and that bias."""
    image = tf.ones([2, 4, 4, 1])
    with v1.variable_scope("conv"):
        kernel = v1.get_variable("kernel", [3, 3, 1, 2], initializer=v1.zeros_initializer)
        hidden = tf.nn.conv2d(image, kernel, strides=[1, 1, 1, 1], padding="VALID")
        hidden += v1.get_variable("bias", [2], initializer=v1.zeros_initializer)
    with v1.variable_scope("dense", partitioner=v1.fixed_size_partitioner(2)):
        weights = v1.get_variable("weights", [8, 3], initializer=v1.zeros_initializer)
    hidden = tf.matmul(tf.reshape(hidden, [2, 8]), tf.convert_to_tensor(weights))
    bias = v1.get_variable("logits/bias", [3], initializer=v1.zeros_initializer)
    # Contexts of cond and while are collections whose items look like variables.
    positive = tf.cond(tf.reduce_sum(hidden) > 0, lambda: hidden * 2.0, lambda: hidden + 1.0)
    count = tf.while_loop(lambda i: i < 3, lambda i: i + 1, [tf.constant(0)])
    v1.Variable(tf.zeros([2]), trainable=False, name="frozen")
    v1.Variable(tf.zeros([2, 2], tf.float64), trainable=False, name="double")
    v1.Variable(tf.zeros([2]), trainable=False, name="any_shape", validate_shape=False)
    v1.Variable(0, trainable=False, name="batches", collections=[v1.GraphKeys.LOCAL_VARIABLES])
    v1.add_to_collection("model_variables", kernel)
    loss = tf.reduce_mean(tf.square(positive + bias + tf.cast(count, tf.float32)), name="loss")
    return loss, bias


def fill_collections(loss, saver):
    """One collection of each kind that scripts make."""
    v1.add_to_collection("losses", loss)  # a node_list
    for text in ["conv", "dense"]:
        v1.add_to_collection("end_points", text)
    v1.add_to_collection("image_size", 4)
    v1.add_to_collection("decays", 0.5)
    v1.add_to_collection(v1.GraphKeys.SAVERS, saver)


def zero_debias():
    """From 1.0 on an option; before, averages of tensors always were."""
    return {} if tf.__version__.startswith("0.") else {"zero_debias": True}


def centered():
    """RMSProp that keeps the mean of the gradients too, where there is such an option."""
    return {} if tf.__version__.startswith("0.") else {"centered": True}


def newest_format():
    """0.12.1 still had to be asked for V2."""
    return {"write_version": v1.train.SaverDef.V2}
