"""Checkpoints of real optimizers, with the names of the variables that are weights."""

import tensorflow as tf

from harness import oracle, values, weights
from harness.graphs import v1


def optimizers_saver():
    """A Saver with every optimizer of tf.train and many of tf.contrib; no .meta file."""
    from tensorflow.contrib import mixed_precision, opt

    train = v1.train
    step = train.get_or_create_global_step()
    optimizers = [
        train.MomentumOptimizer(0.1, 0.9),
        train.AdamOptimizer(0.01),
        train.AdagradOptimizer(0.1),
        train.AdagradDAOptimizer(0.1, step),
        train.AdadeltaOptimizer(0.1),
        train.RMSPropOptimizer(0.1, momentum=0.9, centered=True),
        train.FtrlOptimizer(0.1),
        train.ProximalAdagradOptimizer(0.1),
        train.ProximalGradientDescentOptimizer(0.1),
        opt.AdaMaxOptimizer(0.1),
        opt.AdamWOptimizer(0.01),
        opt.MomentumWOptimizer(0.01, 0.1, 0.9),
        opt.LazyAdamOptimizer(0.1),
        opt.NadamOptimizer(0.1),
        opt.AddSignOptimizer(0.1),
        opt.PowerSignOptimizer(0.1),
        opt.LARSOptimizer(0.1),
        opt.RegAdagradOptimizer(0.1),
        opt.ShampooOptimizer(step),
    ]
    found, updates = [], []
    for optimizer in optimizers:
        with v1.variable_scope(type(optimizer).__name__):
            item = v1.get_variable("kernel", [3, 2])
            found.append(item)
            updates.append(optimizer.apply_gradients([(tf.ones([3, 2]), item)]))
    # Weights whose names look like those of slots.
    found += [v1.get_variable(name, [2]) for name in ("Adam/kernel", "layer/Momentum", "Momentum")]
    found.append(v1.get_variable("layer/scale", []))
    found.append(v1.get_variable("norm", [2]))
    found.append(v1.get_variable("norm/Adam", [4]))  # no slot of norm: the shape is another
    partitioner = v1.fixed_size_partitioner(2)
    with v1.variable_scope("parts", partitioner=partitioner):
        parts = list(v1.get_variable("kernel", [4, 2]))
    found += parts
    updates.append(train.AdamOptimizer(0.01).apply_gradients([(tf.ones([2, 2]), p) for p in parts]))
    tf.contrib.layers.batch_norm(tf.ones([4, 2]), scale=True, zero_debias_moving_mean=True)
    found += v1.get_collection("model_variables")
    ema = train.ExponentialMovingAverage(0.9, zero_debias=True)
    updates.append(ema.apply([found[0], tf.reduce_sum(found[1], name="loss")]))
    manager = mixed_precision.ExponentialUpdateLossScaleManager(128.0, 1)
    updates.append(manager.update_loss_scale(tf.constant(True)))
    scaled = v1.get_variable("scaled", [2])
    found.append(scaled)
    wrapped = train.experimental.enable_mixed_precision_graph_rewrite(train.AdamOptimizer(0.01))
    updates.append(wrapped.minimize(tf.reduce_sum(scaled), global_step=step))
    v1.get_variable("learning_rate", [], trainable=False)
    save_variables(updates + v1.get_collection(v1.GraphKeys.UPDATE_OPS))
    weights.record(found, [(found[0], ema.average(found[0]))])


def optimizers_imitated():
    """Names of the slots of other libraries, given to plain variables: an imitation.

    The names are those of Mesh TensorFlow (Adafactor, Momentum), Tensor2Tensor (Adafactor), and
    BERT and ALBERT (AdamWeightDecay, LAMB).
    """
    shapes = {
        "matrix_slot_vr": [3],
        "matrix_slot_vc": [2],
        "matrix_slot_m": [3, 2],
        "vector_slot_v": [2],
        "vector_momentum_v": [2],
        "matrix/Adafactor": [3],
        "matrix/Adafactor_1": [2],
        "matrix/adam_m": [3, 2],
        "matrix/adam_v": [3, 2],
        "matrix/lamb_m": [3, 2],
        "matrix/lamb_v": [3, 2],
        "matrix/LAMB": [3, 2],
        "matrix/LAMB_1": [3, 2],
    }
    v1.train.get_or_create_global_step()
    found = [
        v1.get_variable("matrix", [3, 2]),
        v1.get_variable("vector", [2]),
        v1.get_variable("alone_slot_v", [2]),
        v1.get_variable("time_slot_vr", [2]),
    ]
    for name, shape in shapes.items():
        v1.get_variable(name, shape, trainable=False)
    save_variables([])
    weights.record(found)


def keras_optimizers_saver():
    """A Saver of graph mode with every optimizer of Keras 2; no .meta file."""
    v1.disable_eager_execution()
    found, updates = [], []
    for name, optimizer in keras_optimizers_of(tf.keras.optimizers):
        with v1.variable_scope(name):
            item = v1.get_variable("kernel", [3, 2])
            found.append(item)
            updates += optimizer.get_updates(tf.reduce_sum(item), [item])
    found.append(v1.get_variable("Adam/dense/m", [2]))  # there is no variable "dense"
    save_variables(updates)
    weights.record(found)


def keras_optimizers():
    """tf.train.Checkpoint of a model and a metric with every optimizer of Keras."""
    tf.keras.backend.clear_session()
    getattr(tf.keras.utils, "set_random_seed", tf.random.set_seed)(7)
    models, optimizers, found = {}, {}, []
    for name, optimizer in every_optimizer():
        layer = tf.keras.layers.Dense(2, name="Momentum" if name == "sgd" else name)
        model = tf.keras.Sequential([layer], name="model_" + name)
        model.build((None, 1))
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(model(values.random((2, 1), seed=1)))
            scaled = loss
            if hasattr(optimizer, "get_scaled_loss"):
                scaled = optimizer.get_scaled_loss(loss)
            elif hasattr(optimizer, "scale_loss"):
                scaled = optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, model.trainable_weights)
        if hasattr(optimizer, "get_unscaled_gradients"):
            gradients = optimizer.get_unscaled_gradients(gradients)
        optimizer.apply_gradients(zip(gradients, model.trainable_weights))
        models[name], optimizers[name] = model, optimizer
        found += model.weights
    metrics = tf.keras.metrics
    kept = [metrics.Mean(), metrics.AUC(num_thresholds=3), metrics.MeanIoU(2), metrics.Recall()]
    for metric in kept:
        metric.update_state(*([[0.0, 1.0]] * (1 if metric is kept[0] else 2)))
    checkpoint = tf.train.Checkpoint(
        models=models,
        optimizers=optimizers,
        metrics=kept,
        step=tf.Variable(3, dtype=tf.int64, trainable=False),
    )
    checkpoint.save_counter.assign_add(1)
    checkpoint.write(oracle.PREFIX)
    oracle.record()
    weights.record_objects(checkpoint, found)


def every_optimizer():
    """Yield (name, optimizer): those of `keras_optimizers`, newer ones, and a loss scale."""
    optimizers = tf.keras.optimizers
    yield from keras_optimizers_of(optimizers)
    for name in ("AdamW", "Adafactor", "Lion", "Lamb", "Muon"):
        if hasattr(optimizers, name):
            yield name.lower(), getattr(optimizers, name)(0.01)
    if hasattr(optimizers, "LossScaleOptimizer"):
        scaling = optimizers.LossScaleOptimizer
    else:
        scaling = tf.keras.mixed_precision.LossScaleOptimizer
    yield "scaled", scaling(optimizers.Adam(0.01))


def keras_optimizers_of(optimizers):
    """Yield (name, optimizer) of the optimizers that Keras has had since 2.0."""
    yield "sgd", optimizers.SGD(0.01, momentum=0.9)
    yield "adam", optimizers.Adam(0.01, amsgrad=True)
    yield "adamax", optimizers.Adamax(0.01)
    yield "nadam", optimizers.Nadam(0.01)
    yield "rmsprop", optimizers.RMSprop(0.01, momentum=0.9, centered=True)
    yield "adagrad", optimizers.Adagrad(0.01)
    yield "adadelta", optimizers.Adadelta(0.01)
    yield "ftrl", optimizers.Ftrl(0.01)


def save_variables(updates):
    """Run the updates once and save all variables without a .meta file."""
    saver = v1.train.Saver()
    with v1.Session() as session:
        session.run(v1.global_variables_initializer())
        for seed, item in enumerate(v1.trainable_variables()):
            value = values.random(item.get_shape().as_list(), seed)
            session.run(item.initializer, {item.initial_value: value})
        for update in updates:
            session.run(update)
        saver.save(session, "./" + oracle.PREFIX, write_meta_graph=False, write_state=False)
    specs = {}
    for item in v1.global_variables():
        info = item._save_slice_info
        if info is not None:
            specs.setdefault(info.full_name, []).append(info.spec)
    oracle.record(specs=specs)
