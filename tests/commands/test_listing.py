"""The output of `ls`, `tree`, `show` and `verify`: order, places, full names, causes."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ckptparse import MissingShardError, TruncatedError, open_checkpoint
from ckptparse.tensors.names import natural_key
from support.builders import write_bundle
from support.damage import POINTER, copy_case
from support.oracle import load_case
from support.repository import FIXTURES

DATA = ".data-00000-of-00001"


@pytest.fixture
def layers(tmp_path: Path) -> Path:
    names = ["layer_10/w", "layer_2/w", "layer_1/w", "b", "layer_2/b10", "layer_2/b9"]
    arrays = {name: np.ones(1 + i, "f4" if i % 2 else "i8") for i, name in enumerate(names)}
    return write_bundle(tmp_path, arrays)


def listed(out: str) -> list[str]:
    return [line.split()[-1] for line in out.splitlines()[:-1]]


class TestNaturalOrder:
    @pytest.mark.parametrize(
        "names",
        [
            ["layer_2", "layer_10"],
            ["a", "a1", "a2", "a10", "a10b", "a11", "b"],
            ["1", "9", "10", "99", "100", "123456789", "1234567890", "9" * 20, "1" + "0" * 20],
            ["v1/9/x", "v1/10/x", "v2/1/x"],
            ["x0", "x1"],
        ],
        ids=lambda names: names[0],
    )
    def test_numbers_count_by_value(self, names: list[str]) -> None:
        assert sorted(random.Random(0).sample(names, len(names)), key=natural_key) == names

    def test_every_number_in_turn(self) -> None:
        numbers = [
            *range(1200),
            *(10**i for i in range(4, 400)),
            *(10**i - 1 for i in range(4, 400)),
        ]
        numbers.sort()
        assert sorted(map(str, numbers), key=natural_key) == list(map(str, numbers))

    def test_zeros_in_front_do_not_count(self) -> None:
        assert sorted(["a10", "a009", "a08"], key=natural_key) == ["a08", "a009", "a10"]

    def test_a_name_of_a_million_digits(self) -> None:
        assert len(natural_key("7" * 1_000_000)) < 1_200_000


class TestLs:
    def test_the_stored_order_is_the_default(self, run, layers: Path) -> None:
        _, out, _ = run("ls", layers)
        assert listed(out) == list(open_checkpoint(layers)) == sorted(listed(out))

    @pytest.mark.parametrize(
        ("by", "order"),
        [
            ("name", ["b", "layer_1/w", "layer_2/b9", "layer_2/b10", "layer_2/w", "layer_10/w"]),
            ("size", ["layer_2/b10", "layer_1/w", "layer_2/b9", "b", "layer_2/w", "layer_10/w"]),
            ("dtype", ["b", "layer_2/b9", "layer_2/w", "layer_1/w", "layer_2/b10", "layer_10/w"]),
        ],
    )
    def test_other_orders(self, run, layers: Path, by: str, order: list[str]) -> None:
        _, out, _ = run("ls", layers, "--sort", by)
        assert listed(out) == order
        _, out, _ = run("ls", "--json", "--sort", by, layers)
        assert [item["name"] for item in json.loads(out)["tensors"]] == order

    def test_long_shows_where_the_bytes_are(self, run, layers: Path) -> None:
        _, out, _ = run("ls", "-l", layers)
        for line, info in zip(out.splitlines(), open_checkpoint(layers).infos()):
            assert line.split()[-3:] == [str(info.offset), f"{layers.name}{DATA}", info.name]

    def test_long_of_slices_and_of_v1(self, run) -> None:
        _, out, _ = run("ls", "--long", load_case("tf-1.15.5/v1_sharded").prefix)
        assert "-  model.ckpt-00001-of-00003  global_step" in out
        assert "-  -                          partitioned  (4 slices)" in out


class TestTree:
    def test_scopes_are_in_natural_order(self, run, layers: Path) -> None:
        _, out, _ = run("tree", layers)
        names = [line.split()[-1] for line in out.splitlines() if "layer_" in line]
        assert names == ["layer_1", "layer_2", "layer_10"]
        assert out.index("b9") < out.index("b10")

    def test_each_tensor_is_there_once(self, run, tmp_path: Path) -> None:
        names = [f"s{i % 13}/t{i % 7}/{i}" for i in range(300)] + ["s1/t1", "s3"]
        prefix = write_bundle(tmp_path, {name: np.ones(1, "i1") for name in names})
        _, out, _ = run("tree", "--json", prefix)
        tree = json.loads(out)["tree"]
        assert sorted(row["tensor"] for row in tree if row["tensor"]) == sorted(names)

    def test_objects_are_in_natural_order(self, run) -> None:
        _, out, _ = run("tree", "--json", load_case("tf-2.21.0/keras_adam").prefix)
        paths = [row["path"] for row in json.loads(out)["tree"]]
        numbers = [
            int(path.rsplit("/", 1)[1])
            for path in paths
            if path.startswith("optimizer/_variables/")
        ]
        assert len(numbers) > 10
        assert numbers == sorted(numbers)


class TestFullNames:
    """The names that TensorFlow recorded for the variables of a Keras export."""

    FOLDER = FIXTURES / "tf-2.21.0/keras_export"

    def recorded(self) -> dict[str, str]:
        graph = json.loads((self.FOLDER / "expected_graph.json").read_text())["meta_graphs"][0]
        return {
            key: variable["name"]
            for variable in graph["saved_variables"]
            for key in variable["checkpoint_keys"]
        }

    def test_of_a_keras_export(self, run) -> None:
        recorded = self.recorded()
        assert recorded["variables/0/.ATTRIBUTES/VARIABLE_VALUE"] == "sequential/enc/kernel"
        _, out, _ = run("ls", "--json", self.FOLDER / "saved_model")
        said = {item["name"]: item["full_name"] for item in json.loads(out)["tensors"]}
        assert recorded.items() <= said.items()
        assert said["_CHECKPOINTABLE_OBJECT_GRAPH"] is None
        _, out, _ = run("ls", self.FOLDER / "saved_model")
        _, tree, _ = run("tree", self.FOLDER / "saved_model")
        for key, name in recorded.items():
            assert f"{key}  ({name})\n" in out
            assert f"  ({name})\n" in tree
            _, shown, _ = run("show", self.FOLDER / "saved_model", key)
            assert f"  variable  {name}\n" in shown

    def test_from_the_saved_model_where_the_checkpoint_does_not_tell(
        self, run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Nameless(type(open_checkpoint(self.FOLDER / "saved_model").object_graph)):
            def nodes(self):
                for node in super().nodes():
                    named = node.variable
                    variable = named and SimpleNamespace(
                        checkpoint_key=named.checkpoint_key, full_name=""
                    )
                    yield SimpleNamespace(variable=variable)

        monkeypatch.setattr("ckptparse.objectgraph.graph.ObjectGraph", Nameless)
        _, out, _ = run("ls", self.FOLDER / "saved_model")
        assert "variables/0/.ATTRIBUTES/VARIABLE_VALUE  (sequential/enc/kernel)\n" in out

    def test_none_for_names_of_tf1(self, run) -> None:
        _, out, _ = run("ls", "--json", load_case("tf-1.15.5/vgg_16").prefix)
        assert {item["full_name"] for item in json.loads(out)["tensors"]} == {None}

    def test_a_damaged_graph_leaves_the_listing(self, run, tmp_path: Path) -> None:
        prefix = copy_case("tf-2.21.0/keras_adam", tmp_path)
        with open_checkpoint(prefix) as ckpt:
            offset = ckpt.info("_CHECKPOINTABLE_OBJECT_GRAPH").offset
            names = list(ckpt)
        data = bytearray(Path(f"{prefix}{DATA}").read_bytes())
        data[offset + 40] ^= 1
        Path(f"{prefix}{DATA}").write_bytes(data)
        status, out, err = run("ls", prefix)
        assert status == 0
        assert [line.split()[-1] for line in out.splitlines()[:-1]] == names
        assert err.startswith("ckptparse: full names are not shown: ")


class TestCauses:
    def test_a_missing_data_file_is_one_cause(self, run, tmp_path: Path) -> None:
        prefix = copy_case("tf-1.15.5/vgg_16", tmp_path)
        os.unlink(f"{prefix}{DATA}")
        status, out, _ = run("verify", prefix)
        assert status == 1
        assert out.count("this data file is missing") == 1
        assert "  lost: 34 tensors, 28.3 KiB\n" in out
        assert "  the first: global_step, vgg_16/conv1/conv1_1/biases" in out
        assert len(out.splitlines()) == 5
        with open_checkpoint(prefix) as ckpt:
            report = ckpt.verify()
        assert len(report.damaged) == 34
        (cause,) = report.causes
        assert isinstance(cause.error, MissingShardError)
        assert cause.names == tuple(ckpt_names(prefix))
        assert cause.nbytes == 28_996

    def test_in_json_with_the_full_list(self, run, tmp_path: Path) -> None:
        prefix = copy_case("tf-1.15.5/vgg_16", tmp_path)
        os.unlink(f"{prefix}{DATA}")
        _, out, _ = run("verify", "--json", prefix)
        said = json.loads(out)
        assert len(said["damaged"]) == 34
        (cause,) = said["causes"]
        assert (cause["num_tensors"], cause["nbytes"]) == (34, 28_996)
        assert cause["file"] == f"{prefix}{DATA}"

    def test_a_cut_file_is_one_cause(self, run, tmp_path: Path) -> None:
        prefix = copy_case("tf-1.15.5/vgg_16", tmp_path)
        os.truncate(f"{prefix}{DATA}", 5000)
        with open_checkpoint(prefix) as ckpt:
            report = ckpt.verify()
            lost = [i.name for i in ckpt.infos() if i.offset + i.nbytes > 5000]
        (cause,) = report.causes
        assert isinstance(cause.error, TruncatedError)
        assert list(cause.names) == lost
        _, out, _ = run("verify", prefix)
        assert out.count("cut off") == 1
        assert "found: a file of 5000 bytes" in out

    def test_a_pointer_in_place_of_the_data_is_one_cause(self, tmp_path: Path) -> None:
        prefix = copy_case("tf-1.15.5/vgg_16", tmp_path)
        Path(f"{prefix}{DATA}").write_bytes(POINTER)
        with open_checkpoint(prefix) as ckpt:
            (cause,) = ckpt.verify().causes
        assert len(cause.names) == 34
        assert "git-lfs pointer" in cause.error.message

    def test_each_flipped_byte_is_a_cause(self, run, tmp_path: Path) -> None:
        prefix = copy_case("tf-1.15.5/vgg_16", tmp_path)
        data = bytearray(Path(f"{prefix}{DATA}").read_bytes())
        data[20_000] ^= 1
        data[20] ^= 1
        Path(f"{prefix}{DATA}").write_bytes(data)
        with open_checkpoint(prefix) as ckpt:
            causes = ckpt.verify().causes
        assert [len(cause.names) for cause in causes] == [1, 1]
        _, out, _ = run("verify", prefix)
        assert out.count("do not match the stored checksum") == 2

    def test_two_missing_files_are_two_causes(self, tmp_path: Path) -> None:
        prefix = copy_case("tf-2.21.0/max_shard_size", tmp_path)
        missing = sorted(tmp_path.glob("*.data-*"))[:2]
        for path in missing:
            path.unlink()
        with open_checkpoint(prefix) as ckpt:
            causes = ckpt.verify().causes
        assert [cause.error.file for cause in causes] == list(map(str, missing))


def ckpt_names(prefix: Path) -> list[str]:
    with open_checkpoint(prefix) as ckpt:
        return list(ckpt)
