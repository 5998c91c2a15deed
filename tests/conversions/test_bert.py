"""Google's BERT, from TensorFlow to the classes of the library transformers."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptparse import convert
from ckptparse.commands import main
from support.oracle import load_case
from support.pytorch import load, torch

transformers = pytest.importorskip("transformers", reason="transformers is not installed")

BERT = load_case("tf-1.15.5/bert")
HEADS: dict[str | re.Pattern[str], str] = {
    "*/output_weights": "*/weight",
    "*/output_bias": "*/bias",
}
STEPS: list[dict[str | re.Pattern[str], str]] = [
    {
        "*/kernel": "*/weight",
        "*/gamma": "*/weight",
        "*/beta": "*/bias",
        "*_embeddings": "*_embeddings/weight",
    },
    {re.compile(r"/layer_(\d+)/"): r"/layer/\1/"},
    {re.compile("/"): "."},
]
CONFIG = transformers.BertConfig(
    vocab_size=30,
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=24,
    max_position_embeddings=12,
    hidden_act="gelu_new",  # the approximation by tanh, which Google's code calls gelu
)


@pytest.fixture(scope="module")
def expected() -> dict[str, np.ndarray]:
    """The inputs, and what TensorFlow computed."""
    with np.load(BERT.folder / "expected_outputs.npz") as arrays:
        return dict(arrays)


def run(model: Any, expected: dict[str, np.ndarray]) -> Any:
    """What a model computes from the same inputs."""
    ids, mask, types = (
        torch.from_numpy(expected[name]).long()
        for name in ("input_ids", "input_mask", "token_type_ids")
    )
    with torch.no_grad():
        return model.eval()(input_ids=ids, attention_mask=mask, token_type_ids=types)


def assert_close(tensor: Any, array: np.ndarray) -> None:
    np.testing.assert_allclose(tensor.numpy(), array, rtol=0, atol=1e-5)


def test_the_state_dict_of_a_model(tmp_path: Path, expected: dict[str, np.ndarray]) -> None:
    convert(
        BERT.prefix,
        tmp_path / "bert.pt",
        weights_only=True,
        include="bert/*",
        layout="torch",
        rename=[{"bert/": ""}, *STEPS],
    )
    state = load(tmp_path / "bert.pt")
    assert len(state) == 39
    model = transformers.BertModel(CONFIG)
    result = model.load_state_dict(state, strict=False)
    assert result.unexpected_keys == []
    assert set(result.missing_keys) <= {"embeddings.position_ids"}  # of older versions, no weight
    outputs = run(model, expected)
    assert_close(outputs.last_hidden_state, expected["sequence_output"])
    assert_close(outputs.pooler_output, expected["pooled_output"])


FOLDERS: dict[str, tuple[str, dict[str, Any]]] = {
    "one file": ("model.safetensors", {}),
    "files with an index": ("model.safetensors", {"shard_nbytes": 10_000}),
    "older": ("pytorch_model.bin", {"format": "pt"}),
}
"""File or files of a folder of the Hugging Face hub."""


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_pretrained_model_with_its_heads(
    tmp_path: Path, expected: dict[str, np.ndarray], folder: str
) -> None:
    name, options = FOLDERS[folder]
    convert(
        BERT.prefix,
        tmp_path / name,
        weights_only=True,
        layout="torch",
        rename=[HEADS, *STEPS],
        **options,
    )
    CONFIG.save_pretrained(tmp_path)
    model, info = transformers.BertForPreTraining.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not any(info.values()), info
    outputs = run(model, expected)
    texts = np.arange(3)[:, None]
    words = torch.log_softmax(outputs.prediction_logits, -1)[texts, expected["positions"]]
    assert_close(words.reshape(6, 30), expected["word_log_probabilities"])
    sentences = torch.log_softmax(outputs.seq_relationship_logits, -1)
    assert_close(sentences, expected["sentence_log_probabilities"])


def test_the_command_line_writes_the_same_file(tmp_path: Path) -> None:
    convert(
        BERT.prefix,
        tmp_path / "a.pt",
        weights_only=True,
        layout="torch",
        rename=[HEADS, *STEPS],
    )
    rules = [
        {
            f"re:{old.pattern}" if isinstance(old, re.Pattern) else old: new
            for old, new in step.items()
        }
        for step in [HEADS, *STEPS]
    ]
    (tmp_path / "names.json").write_text(json.dumps(rules))
    arguments = ["--weights-only", "--layout", "torch", "--names", f"{tmp_path}/names.json"]
    assert main(["convert", str(BERT.prefix), f"{tmp_path}/b.pt", *arguments]) == 0
    assert (tmp_path / "b.pt").read_bytes() == (tmp_path / "a.pt").read_bytes()
