"""A T5 of Mesh TensorFlow as a pytree: a function of JAX computes the output of its encoder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from ckptparse import Checkpoint, open_checkpoint, save, save_checkpoint
from support.oracle import expected_array, load_case

T5 = load_case("mesh-tensorflow-0.1.17/t5")


@pytest.fixture(scope="module")
def jax() -> ModuleType:
    return pytest.importorskip("jax", reason="JAX is not installed")


@pytest.fixture
def ckpt() -> Iterator[Checkpoint]:
    with open_checkpoint(T5.prefix) as ckpt:
        yield ckpt


def recorded(name: str) -> np.ndarray[Any, Any]:
    """An input or output of the model, as Mesh TensorFlow computed it."""
    with np.load(T5.folder / "expected_outputs.npz") as arrays:
        return arrays[name]


def flat(jax: ModuleType, tree: Any) -> dict[str, Any]:
    """The leaves of a pytree by their paths, as JAX lists them."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {"/".join(key.key for key in path): leaf for path, leaf in leaves}


# The encoder


def encode(params: Any, tokens: Any) -> Any:
    """The output of T5's encoder; 0 in `tokens` is padding."""
    import jax.numpy as jnp
    from jax.nn import relu, softmax

    encoder = params["encoder"]
    is_token = (tokens > 0)[:, :, None]
    is_visible = (is_token == is_token.swapaxes(1, 2))[:, None]  # tokens do not see the padding
    bias = position_bias(params, tokens.shape[1]) + jnp.where(is_visible, 0, -1e9)
    x = params["shared"]["embedding"][tokens]
    for name in sorted(block for block in encoder if block.startswith("block_")):
        block = encoder[name]
        attention = block["layer_000"]["SelfAttention"]
        y = is_token * rms_norm(x, block["layer_000"]["layer_norm"])
        q, k, v = (split_heads(y @ attention[part], bias.shape[1]) for part in "qkv")
        weights = softmax(jnp.einsum("bihd,bjhd->bhij", q, k) + bias)
        y = jnp.einsum("bhij,bjhd->bihd", weights, v)
        x = x + y.reshape(*y.shape[:2], -1) @ attention["o"]
        dense = block["layer_001"]["DenseReluDense"]
        y = is_token * rms_norm(x, block["layer_001"]["layer_norm"])
        x = x + relu(y @ dense["wi"]["kernel"]) @ dense["wo"]["kernel"]
    return is_token * rms_norm(x, encoder["final_layer_norm"])


def rms_norm(x: Any, params: Any) -> Any:
    import jax.numpy as jnp

    variance = jnp.mean(jnp.square(x), axis=-1, keepdims=True)
    return x / jnp.sqrt(variance + 1e-6) * params["scale"]


def split_heads(x: Any, num_heads: int) -> Any:
    return x.reshape(*x.shape[:2], num_heads, -1)


def position_bias(params: Any, length: int, max_distance: int = 128) -> Any:
    """The bias of attention, [1, heads, length, length], which all blocks share."""
    table = params["encoder"]["block_000"]["layer_000"]["SelfAttention"]["relative_attention_bias"]
    num_each = table.shape[1] // 2  # the other half of the buckets is for later positions
    num_exact = num_each // 2
    distance = np.arange(length)[:, None] - np.arange(length)
    far = np.log(np.maximum(abs(distance), 1) / num_exact) / np.log(max_distance / num_exact)
    far = np.minimum(num_exact + (far * (num_each - num_exact)).astype(int), num_each - 1)
    bucket = np.where(abs(distance) < num_exact, abs(distance), far) + (distance < 0) * num_each
    return table[:, bucket][None]


# Tests


def test_the_encoder_gives_the_output_of_mesh_tensorflow(jax: ModuleType, ckpt: Checkpoint) -> None:
    params = ckpt.select(weights_only=True).to_tree()
    tokens, expected = recorded("inputs"), recorded("encoder_output")
    assert (tokens == 0).any()  # padding
    output = jax.jit(encode)(params, tokens)
    np.testing.assert_allclose(output, expected, atol=1e-5, rtol=0)
    on_device = jax.device_put(params)
    np.testing.assert_array_equal(jax.jit(encode)(on_device, tokens), output)


def test_every_leaf_has_the_path_and_the_value_of_its_tensor(
    jax: ModuleType, ckpt: Checkpoint
) -> None:
    leaves = flat(jax, ckpt.to_tree())
    assert sorted(leaves) == sorted(ckpt)
    for name, leaf in leaves.items():
        assert np.array_equal(leaf, expected_array(T5, name)), name


def test_bfloat16_leaves(jax: ModuleType, ckpt: Checkpoint) -> None:
    """JAX rounds as the selection does, and computes with the leaves."""
    params = ckpt.select(weights_only=True).to_tree()
    rounded = ckpt.select(weights_only=True, dtype="bfloat16").to_tree()
    by_jax = jax.tree_util.tree_map(lambda w: jax.numpy.asarray(w, "bfloat16"), params)
    assert jax.tree_util.tree_structure(by_jax) == jax.tree_util.tree_structure(rounded)
    for leaf, by_selection in zip(*map(jax.tree_util.tree_leaves, (by_jax, rounded))):
        assert by_selection.dtype == leaf.dtype == jax.numpy.bfloat16
        assert np.asarray(leaf).tobytes() == by_selection.tobytes()
    output = jax.jit(encode)(jax.device_put(rounded), recorded("inputs"))
    assert output.dtype == jax.numpy.bfloat16
    np.testing.assert_allclose(np.float32(output), recorded("encoder_output"), atol=0.1)


def test_gradients_are_a_tree_of_the_same_names(jax: ModuleType, ckpt: Checkpoint) -> None:
    params = ckpt.select(include=["encoder/*", "shared/*"], weights_only=True).to_tree()
    tokens = recorded("inputs")
    gradients = jax.grad(lambda params: (encode(params, tokens) ** 2).sum())(params)
    assert list(flat(jax, gradients)) == list(flat(jax, params))
    assert all(np.any(gradient) for gradient in jax.tree_util.tree_leaves(gradients))


@pytest.mark.parametrize("suffix", [".ckpt", ".safetensors"])
def test_a_tree_is_saved_again(
    jax: ModuleType, ckpt: Checkpoint, tmp_path: Path, suffix: str
) -> None:
    params = jax.device_put(ckpt.select(weights_only=True, dtype="bfloat16").to_tree())
    params = jax.tree_util.tree_map(lambda w: 2 * w, params)
    path = str(tmp_path / f"double{suffix}")
    (save_checkpoint if suffix == ".ckpt" else save)(path, flat(jax, params))
    with open_checkpoint(path) as saved:
        assert set(saved) == set(ckpt.select(weights_only=True))
        for name, array in saved.items():
            assert array.dtype.name == "bfloat16"
            assert array.tobytes() == np.asarray(flat(jax, params)[name]).tobytes()
