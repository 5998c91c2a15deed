"""A checkpoint's `object_graph` and `meta_graph`, and the commands `tree` and `graph`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from ckptparse import CheckpointNotFoundError, CorruptCheckpointError, open_checkpoint
from support.builders import write_bundle
from support.constants import load_constants
from support.oracle import load_case
from support.repository import FIXTURES


def prefix(case: str) -> Path:
    return load_case(case).prefix


class TestCheckpoint:
    def test_object_graph(self) -> None:
        ckpt = open_checkpoint(prefix("tf-2.13.1/keras_adam"))
        assert ckpt.object_graph["model/layer-0/bias"].shape == (3,)
        assert ckpt.object_graph is ckpt.object_graph
        assert open_checkpoint(prefix("tf-1.15.5/vgg_16")).object_graph is None

    def test_arrays_of_objects_outlive_the_checkpoint(self) -> None:
        with open_checkpoint(prefix("tf-2.13.1/keras_adam")) as ckpt:
            weights = ckpt.object_graph.model_weights("model")
            array = weights["layer_with_weights-0/kernel"]
        assert array.sum() != 0
        with pytest.raises(ValueError, match="closed"):
            _ = weights["layer_with_weights-0/bias"]

    def test_meta_graph_of_a_meta_file(self) -> None:
        ckpt = open_checkpoint(prefix("tf-1.15.5/training_graph"))
        assert len(ckpt.meta_graph.trainable_variables) == 5
        assert ckpt.meta_graph is ckpt.meta_graph
        assert open_checkpoint(prefix("tf-2.13.1/keras_adam")).meta_graph is None

    def test_meta_graph_of_sharded_v1(self) -> None:
        ckpt = open_checkpoint(FIXTURES / "tf-1.15.5/v1_sharded/model.ckpt")
        assert {item.checkpoint_key for item in ckpt.meta_graph.variables} == set(ckpt)

    def test_meta_graph_of_a_saved_model(self) -> None:
        ckpt = open_checkpoint(FIXTURES / "tf-1.15.5/saved_model_two_tags/saved_model")
        assert ckpt.meta_graph.tags == ("serve",)
        assert ckpt.read_meta_graph(["gpu", "train"]).tags == ("train", "gpu")
        with pytest.raises(CheckpointNotFoundError):
            ckpt.read_meta_graph(["tpu"])

    def test_graphs_join_by_node_id(self) -> None:
        ckpt = open_checkpoint(FIXTURES / "tf-2.21.0/saved_module/saved_model")
        for variable in ckpt.meta_graph.variables:
            held = ckpt.object_graph.node(variable.node_id).variable
            assert held.checkpoint_key == variable.checkpoint_key

    def test_a_graph_is_not_looked_at_before_it_is_asked_for(self, tmp_path: Path) -> None:
        written = write_bundle(tmp_path, {"w": np.float32([1])})
        Path(f"{written}.meta").write_bytes(b"404: Not Found")
        ckpt = open_checkpoint(written)
        assert ckpt["w"] == 1
        with pytest.raises(CorruptCheckpointError, match=r"model\.ckpt\.meta"):
            _ = ckpt.meta_graph


class TestTreeOfObjects:
    def test_each_object_once_with_its_size(self, run) -> None:
        status, out, err = run("tree", prefix("tf-2.13.1/keras_adam"))
        lines = [line.split() for line in out.splitlines()]
        assert (status, err) == (0, "")
        assert lines[0] == ["3.0", "KiB", "24", "."]
        assert ["100", "B", "8", "model"] in lines
        assert ["24", "B", "kernel", "float32", "[2,3]", "(enc/kernel)"] in lines
        assert ["layer-0", "=", "model/layer_with_weights-0"] in lines
        assert max(map(len, out.splitlines())) <= 80

    def test_weights_of_keras_3_stand_below_the_model(self, run) -> None:
        out = run("tree", prefix("tf-2.21.0/keras_adam"), "--json")[1]
        rows = {row["path"]: row for row in json.loads(out)["tree"]}
        kernel = rows["model/_functional/_operations/1/_kernel"]
        assert kernel["tensor"] == "optimizer/_trainable_variables/0/.ATTRIBUTES/VARIABLE_VALUE"
        assert rows["model"]["num_tensors"] == 8

    def test_slots_are_their_optimizers(self, run) -> None:
        out = run("tree", prefix("tf-2.4.4/backbone_head"), "--depth", 2)[1]
        assert ["140", "B", "4", ".OPTIMIZER_SLOT/momentum"] in map(str.split, out.splitlines())

    def test_what_is_no_variable_and_what_is_no_object(self, run) -> None:
        out = run("tree", prefix("tf-2.21.0/tables_and_state"))[1]
        lines = [line.split() for line in out.splitlines()]
        assert ["24", "B", ".ATTRIBUTES/table-values", "int64", "[3]"] in lines
        assert ["8", "B", "1", "registered", "(saved", "by", "tf.stateful)"] in lines
        of_none = lines.index(["607", "B", "2", "(of", "no", "object)"])
        assert lines[of_none + 2][-3:] == ["registered/my-own-key", "float32", "[2]"]

    def test_cycles_and_a_child_that_is_the_root(self, run) -> None:
        out = run("tree", prefix("tf-2.21.0/nested_objects"))[1]
        lines = [line.split() for line in out.splitlines()]
        assert ["owner", "=", "the", "whole"] in lines
        assert ["backbone", "=", "backbone"] in lines
        assert any(line[2:3] == ["with.Sslash"] for line in lines)
        assert not any("empty" in line for line in lines)  # an object without tensors

    def test_a_root_that_is_a_variable(self, run) -> None:
        rows = json.loads(run("tree", prefix("tf-2.21.0/root_variable"), "--json")[1])["tree"]
        assert [row["tensor"] for row in rows if row["tensor"]] == [
            "/.ATTRIBUTES/VARIABLE_VALUE",
            "_CHECKPOINTABLE_OBJECT_GRAPH",
        ]

    @pytest.mark.parametrize(
        "case",
        sorted(
            "/".join(path.parent.parts[-2:]) for path in FIXTURES.glob("*/*/expected_objects.json")
        ),
    )
    def test_adds_up_to_what_ls_says(self, run, case: str) -> None:
        listed = json.loads(run("ls", prefix(case), "--json")[1])
        root = json.loads(run("tree", prefix(case), "--json")[1])["tree"][0]
        assert root["num_tensors"] == listed["num_tensors"]
        assert root["nbytes"] == listed["nbytes"]


class TestTreeOfScopes:
    def test_scopes(self, run) -> None:
        status, out, _ = run("tree", prefix("tf-1.15.5/vgg_16"), "--depth", 2)
        assert status == 0
        lines = [line.split() for line in out.splitlines()]
        assert lines[0] == ["28.3", "KiB", "34", "."]
        assert ["3.4", "KiB", "6", "conv3"] in lines
        assert ["12", "B", "mean_rgb", "float32", "[3]"] in lines
        assert ["8", "B", "global_step", "int64", "[]"] in lines
        assert len(lines) == 12

    def test_in_json_with_paths(self, run) -> None:
        said = json.loads(run("tree", prefix("tf-1.15.5/vgg_16"), "--json")[1])
        assert (said["kind"], said["format"]) == ("scopes", "v2")
        by_path = {row["path"]: row for row in said["tree"]}
        assert by_path["vgg_16/conv3"]["num_tensors"] == 6
        tensor = by_path["vgg_16/fc8/biases"]
        assert (tensor["tensor"], tensor["dtype"]) == ("vgg_16/fc8/biases", "float32")

    def test_a_name_that_is_also_a_scope(self, run) -> None:
        said = json.loads(run("tree", prefix("tf-1.15.5/training_graph"), "--json")[1])
        bias = next(row for row in said["tree"] if row["path"] == "conv/bias")
        assert bias["tensor"] == "conv/bias"
        assert bias["num_tensors"] == 5

    def test_no_control_character_reaches_the_terminal(self, run) -> None:
        for case in ("tf-2.21.0/names", "tf-2.21.0/names_not_utf8"):
            out = run("tree", prefix(case))[1]
            assert all(char.isprintable() for char in out.replace("\n", ""))

    def test_a_name_of_slashes(self, run, tmp_path: Path) -> None:
        name = b"/" * 3000
        written = write_bundle(tmp_path, {name: np.float32([1])})
        rows = json.loads(run("tree", written, "--json")[1])["tree"]
        assert max(row["depth"] for row in rows) == 101
        assert rows[-1]["path"] == name.decode()

    def test_scopes_are_bounded(self, run, tmp_path: Path) -> None:
        names = [b"%03d" % i + b"/" * 99 for i in range(200)]
        written = write_bundle(tmp_path, {name: np.float32([1]) for name in names})
        rows = json.loads(run("tree", written, "--json")[1])["tree"]
        assert len(rows) < 10_500
        assert [row["path"].encode() for row in rows if row["tensor"] is not None] == names

    def test_a_checkpoint_without_tensors(self, run) -> None:
        assert run("tree", prefix("tf-2.21.0/header_only"))[:2] == (0, "0 B  0  .\n")


class TestTreeOfOtherFiles:
    def test_layers_are_named(self, run) -> None:
        _, out, _ = run("tree", FIXTURES / "tf-2.21.0/keras_h5/model.keras")
        assert "  (head/0)\n" in out

    def test_the_order_is_that_of_the_file(self, run) -> None:
        path = FIXTURES / "tf-2.13.1/keras_h5/model.h5"
        rows = json.loads(run("tree", path, "--json")[1])["tree"]
        layers = [row["path"].rpartition("/")[2] for row in rows if row["depth"] == 2]
        with open_checkpoint(path) as ckpt:
            assert layers == list(dict.fromkeys(name.split("/")[1] for name in ckpt))


class TestGraph:
    META = FIXTURES / "tf-1.15.5/training_graph/model.ckpt.meta"

    def test_of_a_meta_file(self, run) -> None:
        status, out, err = run("graph", self.META)
        lines = [line.split() for line in out.splitlines()]
        assert (status, err) == (0, "")
        assert lines[0] == ["model.ckpt.meta"]
        assert lines[1] == ["written", "by", "TensorFlow", "1.15.5", "(v1.15.4-39-g3db52be)"]
        assert "47 variables, 5 trained, 6 moving averages, 25 slots" in out
        assert ["trained", "float32[3,3,1,2]", "conv/kernel"] in lines
        part = ["dense/weights/part_1", "[4:8,0:3]", "of", "[8,3]"]
        assert ["trained", "float32[4,3]", *part] in lines
        assert ["average", "float32[3]", "logits/bias/slow"] in lines
        assert ["22", "cond_context"] in lines
        assert "\ngraph: 599 nodes, 51 operations\n  Const 127, Identity 118," in out

    @pytest.mark.parametrize("where", ["", "model.ckpt", "model.ckpt.index", "model.ckpt.meta"])
    def test_of_whatever_stands_for_the_checkpoint(self, run, where: str) -> None:
        said = json.loads(run("graph", self.META.parent / where, "--json")[1])
        assert Path(said["path"]) == self.META
        assert len(said["variables"]) == 47

    def test_without_the_checkpoint(self, run, tmp_path: Path) -> None:
        shutil.copy(self.META, tmp_path / "x.meta")
        assert run("graph", tmp_path / "x.meta")[0] == 0
        assert run("graph", tmp_path / "x")[0] == 0

    def test_of_a_saved_model_by_tags(self, run) -> None:
        folder = FIXTURES / "tf-1.15.5/saved_model_two_tags/saved_model"
        first, other = run("graph", folder)[1], run("graph", folder, "--tags", "gpu,train")[1]
        assert "signature regress_x  tensorflow/serving/regress" in first
        assert ["tags", "train,gpu"] in map(str.split, other.splitlines())
        status, out, err = run("graph", folder, "--tags", "tpu")
        assert (status, out) == (2, "")
        assert "'tpu'" in err
        assert "'train', 'gpu'" in err

    @pytest.mark.parametrize(
        "case",
        [
            "tf-1.15.5/saved_model_no_variables",
            "tf-1.15.5/saved_model_text",
            "tf-2.21.0/saved_module",
        ],
    )
    def test_of_saved_models(self, run, case: str) -> None:
        status, out, _ = run("graph", FIXTURES / case / "saved_model")
        assert status == 0
        assert "\nsignature " in out
        assert max(map(len, out.splitlines())) <= 80

    @pytest.mark.parametrize("name", ["frozen_inference_graph.pb", "frozen_inference_graph.pbtxt"])
    def test_of_a_frozen_graph(self, run, name: str) -> None:
        status, out, _ = run("graph", FIXTURES / "tf-1.15.5/frozen_conv_net" / name, "--json")
        shown = json.loads(out)
        constants = load_constants(f"tf-1.15.5/frozen_conv_net/{name}")
        assert status == 0
        assert shown["op_counts"]["Const"] == len(constants)
        assert shown["op_counts"]["Conv2D"] == 1
        assert (shown["variables"], shown["tags"]) == ([], [])

    def test_of_functions(self, run) -> None:
        _, out, _ = run("graph", FIXTURES / "tf-2.21.0/frozen_functions/frozen.pb")
        assert "2 functions: 8 nodes" in out

    @pytest.mark.parametrize(
        "name", ["tf-2.13.1/keras_h5/model.h5", "tf-2.21.0/keras_h5/model.keras"]
    )
    def test_of_a_keras_model(self, run, name: str) -> None:
        status, out, _ = run("graph", FIXTURES / name)
        with open_checkpoint(FIXTURES / name) as ckpt:
            metadata = ckpt.metadata
        assert status == 0
        assert f"  keras version  {metadata['keras_version']}\n" in out
        assert f"  optimizer      {metadata['optimizer']}\n" in out
        for layer in metadata["layers"]:
            assert f"  {layer['name']}\n" in out
        shown = json.loads(run("graph", FIXTURES / name, "--json")[1])
        assert shown["metadata"] == metadata

    def test_of_a_file_without_metadata(self, run) -> None:
        _, out, _ = run("graph", FIXTURES / "numpy-2.5.1/npz_stored/arrays.npz")
        assert "The file has no metadata." in out

    def test_none(self, run, tmp_path: Path) -> None:
        status, out, err = run("graph", prefix("tf-2.21.0/keras_adam"))
        assert (status, out) == (2, "")
        assert "no graph beside this checkpoint" in err
        assert run("graph", tmp_path / "nothing")[0] == 2

    def test_damaged(self, run, tmp_path: Path) -> None:
        (tmp_path / "x.meta").write_bytes(self.META.read_bytes()[:-1])
        status, out, err = run("graph", tmp_path / "x.meta")
        assert (status, out) == (2, "")
        assert str(tmp_path / "x.meta") in err
