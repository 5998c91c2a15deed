"""A T5: the model of Mesh TensorFlow with the names and layers that T5's checkpoints have."""

import mesh_tensorflow as mtf
import mesh_tensorflow.optimize
import numpy as np
import tensorflow as tf
from mesh_tensorflow.transformer import transformer, transformer_layers

from harness import oracle, values, weights

BATCH, LENGTH, VOCABULARY = 3, 12, 128


def t5():
    """A small T5 after one step of Adafactor, all weights random; the output of its encoder."""
    inputs = np.random.RandomState(1).randint(1, VOCABULARY, (BATCH, LENGTH))
    inputs[1, 9:] = inputs[2, 1:] = 0  # padding
    targets = np.random.RandomState(2).randint(1, VOCABULARY, (BATCH, LENGTH))

    graph, dims = mtf.Graph(), [mtf.Dimension("batch", BATCH), mtf.Dimension("length", LENGTH)]
    mesh = mtf.Mesh(graph, "mesh")
    model = bitransformer()
    outputs = capture_encoder(model)
    _, loss = model.call_simple(
        import_ids(mesh, inputs, dims), import_ids(mesh, targets, dims), compute_loss=True
    )
    variables = graph.trainable_variables
    gradients = mtf.gradients([loss], [variable.outputs[0] for variable in variables])
    optimizer = mtf.optimize.AdafactorOptimizer(learning_rate=0.01, min_dim_size_to_factor=8)
    updates = optimizer.apply_grads(gradients, variables)

    lowering = mtf.Lowering(
        graph, {mesh: mtf.placement_mesh_impl.PlacementMeshImpl(mtf.Shape([]), [], [""])}
    )
    step = tf.train.get_or_create_global_step()
    train = tf.group([lowering.lowered_operation(update) for update in updates])
    encoded = lowering.export_to_tf_tensor(outputs[0])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for seed, variable in enumerate(tf.trainable_variables()):
            # Halves: larger weights make softmax and the errors of rounding steep.
            variable.load(values.random(variable.shape.as_list(), seed) / 2, session)
        session.run(lowering.copy_masters_to_slices())
        session.run(train)
        session.run(tf.assign_add(step, 1))
        found = session.run(encoded)
        session.run(lowering.copy_slices_to_masters())
        tf.train.Saver().save(
            session, "./" + oracle.PREFIX, write_meta_graph=False, write_state=False
        )
    np.savez_compressed("expected_outputs.npz", inputs=inputs.astype("int32"), encoder_output=found)
    oracle.record()
    weights.write(variable.name for variable in variables)


def bitransformer():
    """Return an encoder and a decoder as in T5: RMS norm, shared relative position bias, ReLU."""
    attention = {
        "num_heads": 2,
        "key_value_size": 6,
        "relative_attention_type": "bias_shared",
        "relative_attention_num_buckets": 8,
    }
    self_attention = [transformer_layers.SelfAttention, attention]
    cross_attention = [
        transformer_layers.EncDecAttention,
        {"num_heads": 2, "key_value_size": 6, "relative_attention_type": None},
    ]
    dense = [transformer_layers.DenseReluDense, {"hidden_size": 16}]

    def stack(*layers):
        return transformer.make_layer_stack(
            layers,
            num_layers=2,
            layer_stack_cls=lambda layers: transformer.LayerStack(
                layers, dropout_rate=0.0, norm_epsilon=1e-6
            ),
        )

    settings = {
        "d_model": 8,
        "input_vocab_size": VOCABULARY,
        "max_length": LENGTH,
        "positional_embedding": False,
    }
    encoder = transformer.Unitransformer(
        stack(self_attention, dense),
        output_vocab_size=None,
        autoregressive=False,
        name="encoder",
        **settings,
    )
    decoder = transformer.Unitransformer(
        stack(self_attention, cross_attention, dense),
        output_vocab_size=VOCABULARY,
        autoregressive=True,
        shared_embedding_and_softmax_weights=True,
        name="decoder",
        **settings,
    )
    return transformer.Bitransformer(encoder, decoder)


def capture_encoder(model):
    """Return a list that gets the output of the encoder when the model is called."""
    outputs, call = [], model.encoder.call_simple

    def call_simple(*arguments, **keywords):
        output, loss = call(*arguments, **keywords)
        outputs.append(output)
        return output, loss

    model.encoder.call_simple = call_simple
    return outputs


def import_ids(mesh, ids, dims):
    """Return an array of tokens as a tensor of Mesh TensorFlow."""
    return mtf.import_tf_tensor(mesh, tf.constant(ids, tf.int32), mtf.Shape(dims))
