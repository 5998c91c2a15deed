"""Which tensors are weights: against what TensorFlow and Keras say, by graphs and by names."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ckptparse import average, merge, open_checkpoint
from ckptparse.weights.selection import select
from ckptparse.weights.training_state import find_roles, weight_names
from support.keras_files import KerasCase, keras_cases
from support.repository import FIXTURES

CASES = sorted(
    "/".join(path.parent.parts[-2:]) for path in FIXTURES.glob("*/*/expected_weights.json")
)
KERAS = [case for case in CASES if case.endswith("/keras_optimizers")]
TRAINING = [f"tf-{version}/training_graph" for version in ("0.12.1", "1.15.5", "2.21.0")]
AVERAGE = "ExponentialMovingAverage"


def load_said(case: str) -> dict[str, Any]:
    return json.loads((FIXTURES / case / "expected_weights.json").read_text())


def open_case(case: str):
    return open_checkpoint(FIXTURES / case / "model.ckpt")


class TestAgainstTensorFlow:
    @pytest.mark.parametrize("case", CASES)
    def test_of_a_checkpoint(self, case: str) -> None:
        with open_case(case) as ckpt:
            chosen = ckpt.select(weights_only=True)
            assert list(chosen) == load_said(case)["weights"]
            assert chosen.sources == {name: name for name in chosen}

    @pytest.mark.parametrize("case", CASES)
    def test_by_names_and_shapes(self, case: str) -> None:
        with open_case(case) as ckpt:
            tensors = {info.name: np.empty(info.shape) for info in ckpt.infos()}
            assert list(select(tensors, weights_only=True)) == load_said(case)["weights"]

    @pytest.mark.parametrize("case", KERAS)
    def test_by_names_of_variables(self, case: str) -> None:
        """No weight is lost; a variable without a name of its own is kept."""
        weights = load_said(case)["weights"]
        with open_case(case) as ckpt:
            keys = ckpt.object_graph.full_names
            tensors = {name: np.empty(ckpt.info(key).shape) for name, key in keys.items()}
        kept = {keys[name] for name in select(tensors, weights_only=True)}
        assert kept >= set(weights) & set(keys.values())
        unnamed = {"step", "optimizers/nadam/_u_product"}
        assert {key.partition("/.ATTR")[0] for key in kept - set(weights)} <= unnamed

    @pytest.mark.parametrize("case", KERAS)
    def test_of_the_paths_of_an_object_graph(self, case: str) -> None:
        with open_case(case) as ckpt:
            graph = ckpt.object_graph
            chosen = graph.select(weights_only=True)
            keys = {graph.checkpoint_key(path) for path in chosen}
            assert keys == set(load_said(case)["weights"])
            assert list(graph.subtree("optimizers").select(weights_only=True)) == [
                path.removeprefix("optimizers/") for path in chosen if path.startswith("optimizers")
            ]

    @pytest.mark.parametrize("case", TRAINING)
    def test_a_meta_graph_decides(self, case: str) -> None:
        """Its optimizer ``generator`` and average ``slow`` have names that no table has."""
        with open_case(case) as ckpt:
            chosen = list(ckpt.select(weights_only=True))
            said = json.loads((FIXTURES / case / "expected_graph.json").read_text())
            graph = said["meta_graphs"][0]
        keys = {item["name"]: item["checkpoint_key"] for item in graph["variables"]}
        state = [
            slot["variable"] for optimizer in graph["optimizers"] for slot in optimizer["slots"]
        ]
        state += [name for optimizer in graph["optimizers"] for name in optimizer["others"]]
        state += [item["average"] for ema in graph["moving_averages"] for item in ema["averages"]]
        of_graph = {keys[name] for name in state} | {"global_step"}
        of_graph |= {f"loss/{AVERAGE}/{last}" for last in ("biased", "local_step")}
        saved = graph["variable_collections"]["variables"]
        assert chosen == sorted({keys[name] for name in saved} - of_graph)

    def test_without_the_meta_graph_names_decide(self, tmp_path: Path) -> None:
        for path in (FIXTURES / TRAINING[1]).glob("model.ckpt*[!a]"):
            shutil.copy(path, tmp_path)
        with open_case(TRAINING[1]) as ckpt, open_checkpoint(tmp_path / "model.ckpt") as alone:
            assert alone.meta_graph is None
            more = set(alone.select(weights_only=True)) - set(ckpt.select(weights_only=True))
        assert more == {"logits/bias/generator", "logits/bias/generator_1", "logits/bias/slow"}


@pytest.mark.parametrize("case", list(keras_cases()))
class TestFilesOfKeras:
    """`tests/formats/test_keras_files.py` compares the selection from a file with Keras."""

    def test_by_names(self, case: KerasCase) -> None:
        """As after a conversion to another format, which keeps names only."""
        with open_checkpoint(case.path) as ckpt:
            tensors = {info.name: np.empty(info.shape) for info in ckpt.infos()}
            chosen = list(ckpt.select(weights_only=True))
        assert list(select(tensors, weights_only=True)) == chosen

    def test_of_averages_and_merges(self, case: KerasCase) -> None:
        with open_checkpoint(case.path) as ckpt:
            chosen = list(ckpt.select(weights_only=True))
            assert list(average([ckpt, ckpt]).select(weights_only=True)) == chosen
            assert list(merge(ckpt, {"x": 1.0}).select(weights_only=True)) == [*chosen, "x"]


class TestMovingAverages:
    def test_of_weights_only(self) -> None:
        case = "tf-1.15.5/optimizers_saver"
        averages = load_said(case)["averages"]
        with open_case(case) as ckpt:
            chosen = ckpt.select(weights_only=True, moving_averages=True)
            assert sorted(chosen) == load_said(case)["weights"]
            read_as = {name: source for name, source in chosen.sources.items() if name != source}
            assert read_as == averages
            assert list(ckpt.select(weights_only=True)) == load_said(case)["weights"]

    def test_with_a_meta_graph(self) -> None:
        with open_case(TRAINING[1]) as ckpt:
            chosen = ckpt.select(weights_only=True, moving_averages=True)
            assert sorted(chosen) == sorted(ckpt.select(weights_only=True))
            assert chosen.sources["conv/kernel"] == f"conv/kernel/{AVERAGE}"

    def test_step_by_step(self) -> None:
        """A variable that reads its average is a weight in a selection of the selection."""
        with open_case(TRAINING[1]) as ckpt:
            chosen = ckpt.select(moving_averages=True).select(weights_only=True)
            assert "conv/kernel" in chosen
            assert "conv/kernel/Adam" not in chosen

    def test_averages_without_variables_are_weights(self) -> None:
        names = [f"w/{AVERAGE}", f"b/{AVERAGE}", "global_step"]
        assert weight_names(dict.fromkeys(names), False) == names[:2]
        chosen = select(dict.fromkeys(names), weights_only=True, moving_averages=True)
        assert list(chosen) == ["w", "b"]


def state(shapes: dict[str, tuple[int, ...]]) -> list[str]:
    """Names that are left out, of tensors of these shapes."""
    roles = find_roles({name: np.empty(shape) for name, shape in shapes.items()})
    return [name for name in shapes if roles[name] != "weight"]


class TestNames:
    @pytest.mark.parametrize(
        "name",
        [
            *("Adam", "Adam/kernel", "layer/Momentum", "a/m", "x/adam_m", "x_slot_v", "Adam/a/m"),
            *("x/biased", "beta", "iter", "decay", "count", "layer/total", f"a/{AVERAGE}"),
        ],
    )
    def test_a_name_alone_is_no_slot(self, name: str) -> None:
        assert state({name: (), "w": ()}) == []

    def test_a_slot_has_the_shape_of_its_variable(self) -> None:
        shapes = {"w": (2, 3), "w/Adam": (2, 3), "w/Adam_1": (3, 2), f"w/{AVERAGE}": (3,)}
        assert state(shapes) == ["w/Adam"]
        assert state({"w": (2, 3), "w_slot_vr": (2,), "w_slot_vc": (4,)}) == ["w_slot_vr"]

    def test_scalars_have_no_shape(self) -> None:
        shapes = {"global_step": (), "beta1_power": (3,), "a/learning_rate": (), "a/beta": ()}
        assert state(shapes) == ["global_step", "a/learning_rate"]

    def test_in_another_mapping_shapes_are_not_read(self) -> None:
        class Unread(dict):
            """A mapping that is no plain source of arrays."""

        class Lazy(Unread):
            def __getitem__(self, name: str) -> Any:
                raise AssertionError("read")

        from types import MappingProxyType

        assert weight_names(MappingProxyType(Lazy(w=0, **{"w/Adam": 0})), False) == ["w"]

    def test_many_scopes(self) -> None:
        deep = "s/" * 50_000
        assert state({f"{deep}w/Adam": (2,), "w": (2,)}) == []
        assert state({f"{deep}w/Adam": (2,), f"{deep}w": (2,)}) == [f"{deep}w/Adam"]


class TestOfSelections:
    def test_the_source_decides(self) -> None:
        case = "tf-1.15.5/optimizers_saver"
        with open_case(case) as ckpt:
            chosen = ckpt.select(include="*/Adam*", rename=str.upper).select(weights_only=True)
            assert list(chosen) == ["NORM/ADAM"]

    def test_the_order_of_steps(self) -> None:
        with open_case("tf-1.15.5/optimizers_saver") as ckpt:
            with pytest.raises(KeyError, match="scaled/Adam"):
                ckpt.select(weights_only=True, include="scaled/Adam")
            chosen = ckpt.select(weights_only=True, include="scaled*", rename={"scaled": "s"})
            assert chosen.sources == {"s": "scaled"}

    def test_nothing_is_read(self) -> None:
        with open_case("tf-1.15.5/optimizers_saver") as ckpt:
            ckpt.read = None
            assert len(ckpt.select(weights_only=True)) == 31

    def test_keys_that_a_registered_saver_chose_stay(self) -> None:
        with open_case("tf-2.21.0/tables_and_state") as ckpt:
            kept = list(ckpt.select(weights_only=True))
        assert kept == ["registered/my-own-key", "registered/state/.ATTRIBUTES/VARIABLE_VALUE"]
