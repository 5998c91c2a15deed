"""Which checkpoint a path refers to, and the error if there is none."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from ckptparse import (
    CheckpointNotFoundError,
    CorruptCheckpointError,
    MissingShardError,
    TruncatedError,
    open_checkpoint,
)
from support.damage import copy_case
from support.directories import value_at, write_state, write_value
from support.oracle import load_case
from support.repository import FIXTURES

SAVED_MODELS = sorted(
    path.parent
    for pattern in ("saved_model.pb", "saved_model.pbtxt")
    for path in FIXTURES.glob(f"*/*/saved_model/{pattern}")
    if (path.parent / "variables" / "variables.index").exists()
)


class TestV1:
    @pytest.mark.parametrize(
        "name",
        ["model.ckpt", "model.ckpt-00001-of-00003", "model.ckpt-?????-of-00003", "model.ckpt.meta"],
    )
    def test_a_sharded_set_by_prefix_shard_or_glob(self, tmp_path: Path, name: str) -> None:
        copy_case("tf-1.15.5/v1_sharded", tmp_path)
        (tmp_path / "model.ckpt.meta").touch()
        case = load_case("tf-1.15.5/v1_sharded")
        with open_checkpoint(tmp_path / name) as ckpt:
            assert ckpt.format == "v1"
            assert list(ckpt) == [tensor.name for tensor in case.tensors]
            assert ckpt.path == str(tmp_path / "model.ckpt")

    def test_one_file_and_the_meta_beside_it(self) -> None:
        prefix = load_case("tf-1.15.5/v1_vgg_16").prefix
        for path in (prefix, f"{prefix}.meta"):
            assert open_checkpoint(path).format == "v1"

    def test_floats_are_views_over_the_map(self) -> None:
        with open_checkpoint(load_case("tf-1.15.5/v1_vgg_16").prefix) as ckpt:
            weights = ckpt["vgg_16/fc6/weights"]
            assert ckpt.info("vgg_16/fc6/weights").mapped
            assert np.shares_memory(weights, ckpt["vgg_16/fc6/weights"])
            assert not weights.flags.writeable
            assert not ckpt.info("global_step").mapped  # a varint

    def test_compressed_blocks_are_not_mapped(self) -> None:
        case = load_case("tf-2.21.0/v1_snappy")
        with open_checkpoint(case.path) as ckpt:
            for info in ckpt.infos():
                array = ckpt[info.name]
                assert info.mapped == np.shares_memory(array, ckpt[info.name]) or not array.size

    @pytest.mark.parametrize(("format", "names"), [(None, "v2"), ("v2", "v2"), ("v1", "v1")])
    def test_both_formats_under_one_prefix(self, format: str | None, names: str) -> None:
        case = load_case("tf-2.21.0/v1_and_v2")
        with open_checkpoint(case.prefix, format=format) as ckpt:
            assert ckpt.format == names
            assert f"{names}/only" in ckpt
            expected = "expected.json" if names == "v2" else "expected_v1.json"
            said = json.loads((case.folder / expected).read_text())
            assert list(ckpt) == [tensor["name"] for tensor in said["tensors"]]

    def test_a_format_that_is_not_there(self) -> None:
        with pytest.raises(CheckpointNotFoundError):
            open_checkpoint(load_case("tf-1.15.5/v1_vgg_16").prefix, format="v2")
        with pytest.raises(CheckpointNotFoundError):
            open_checkpoint(load_case("tf-2.21.0/single_scalar").prefix, format="v1")
        with pytest.raises(ValueError, match="v1"):
            open_checkpoint("x", format="v3")

    def test_a_missing_file_of_a_set(self, tmp_path: Path) -> None:
        prefix = copy_case("tf-1.15.5/v1_sharded", tmp_path)
        os.unlink(f"{prefix}-00001-of-00003")
        for path in (prefix, f"{prefix}-00000-of-00003", f"{prefix}-?????-of-00003"):
            with pytest.raises(MissingShardError, match="00001-of-00003"):
                open_checkpoint(path)

    def test_a_set_of_no_files_is_none(self, tmp_path: Path) -> None:
        (tmp_path / "x-00000-of-00000").touch()
        with pytest.raises(CheckpointNotFoundError):
            open_checkpoint(tmp_path / "x")
        with pytest.raises(TruncatedError):
            open_checkpoint(tmp_path / "x-00000-of-00000")

    def test_two_sets_of_one_name_are_not_guessed_between(self, tmp_path: Path) -> None:
        prefix = copy_case("tf-1.15.5/v1_sharded", tmp_path)
        shutil.copy(f"{prefix}-00000-of-00003", f"{prefix}-00000-of-00001")
        with pytest.raises(CheckpointNotFoundError, match="several checkpoints"):
            open_checkpoint(prefix)
        assert len(open_checkpoint(f"{prefix}-?????-of-00003")) == 5


class TestStateFiles:
    @pytest.mark.parametrize("case_name", ["tf-2.21.0/managed", "tf-2.4.4/managed"])
    def test_the_latest_of_a_manager(self, case_name: str) -> None:
        answers = json.loads((FIXTURES / case_name / "answers.json").read_text())["answers"]
        asked = [a for a in answers if a["function"] == "latest_checkpoint" and a.get("result")]
        assert asked
        for answer in asked:
            folder = FIXTURES / case_name
            directory = answer["arguments"][0].replace("{folder}", str(folder))
            latest = answer["result"].replace("{folder}", str(folder))
            with open_checkpoint(folder / directory) as ckpt:
                assert Path(ckpt.path) == folder / latest

    def test_relative_and_absolute(self, tmp_path: Path) -> None:
        write_value(tmp_path / "run", 1, "ckpt-1")
        for latest in ("ckpt-1", str(tmp_path / "run" / "ckpt-1"), "../run/ckpt-1", "./ckpt-1"):
            write_state(tmp_path / "run", latest)
            assert value_at(tmp_path / "run") == 1

    @pytest.mark.parametrize(
        "latest",
        [
            "/gone/run/ckpt-1",
            "D:\\\\train\\run\\ckpt-1",
            "D:/a\\b/ckpt-1",
            "run/ckpt-1",
            "gs://b/ckpt-1",
        ],
    )
    def test_after_a_move(self, tmp_path: Path, latest: str) -> None:
        write_value(tmp_path, 1, "ckpt-1")
        write_state(tmp_path, latest)
        assert value_at(tmp_path) == 1

    def test_a_copied_directory_means_its_own_files(self, tmp_path: Path) -> None:
        original = write_value(tmp_path / "old", 1, "ckpt-1")
        write_state(tmp_path / "old", str(original))
        shutil.copytree(tmp_path / "old", tmp_path / "new")
        write_value(tmp_path / "new", 2, "ckpt-1")
        assert value_at(tmp_path / "new") == 2

    def test_an_absolute_path_elsewhere(self, tmp_path: Path) -> None:
        original = write_value(tmp_path / "weights", 1, "ckpt-1")
        (tmp_path / "run").mkdir()
        write_state(tmp_path / "run", str(original))
        assert value_at(tmp_path / "run") == 1

    def test_a_deleted_latest_is_never_an_older_one(self, tmp_path: Path) -> None:
        write_value(tmp_path, 1, "ckpt-1")
        write_state(tmp_path, "ckpt-2", "ckpt-1", "ckpt-2")
        with pytest.raises(CheckpointNotFoundError) as error:
            open_checkpoint(tmp_path)
        assert "'ckpt-2'" in str(error.value)
        assert "ckpt-1" in str(error.value)  # what is there

    def test_a_path_that_ends_in_a_slash(self, tmp_path: Path) -> None:
        """TensorFlow's Saver writes such files for the prefix "folder/"."""
        write_value(tmp_path, 1, "")
        for latest in (f"{tmp_path}/", "/gone/", "."):
            write_state(tmp_path, latest)
            assert value_at(tmp_path) == 1
        write_state(tmp_path, "ckpt-1")
        with pytest.raises(CheckpointNotFoundError, match="more than one"):
            open_checkpoint(tmp_path)

    @pytest.mark.parametrize(
        "text",
        [b"", b"404: Not Found", b'unknown: "x"', b"\xff\xfe", bytes(1 << 23), b"a" * (1 << 23)],
    )
    def test_a_file_that_is_no_state_file(self, tmp_path: Path, text: bytes) -> None:
        write_value(tmp_path, 1, "ckpt-1")
        (tmp_path / "checkpoint").write_bytes(text)
        with pytest.raises(CorruptCheckpointError) as error:
            open_checkpoint(tmp_path)
        assert error.value.file == str(tmp_path / "checkpoint")

    def test_v1_set_in_a_state_file(self, tmp_path: Path) -> None:
        prefix = copy_case("tf-1.15.5/v1_sharded", tmp_path)
        write_state(tmp_path, f"/gone/{prefix.name}-?????-of-00003")
        assert open_checkpoint(tmp_path).format == "v1"


class TestDirectories:
    @pytest.mark.parametrize(
        "directory", SAVED_MODELS, ids=lambda path: "/".join(path.parts[-3:-1])
    )
    def test_saved_models(self, directory: Path) -> None:
        with open_checkpoint(directory) as ckpt:
            assert ckpt.path == str(directory / "variables" / "variables")
            assert len(ckpt) > 0
            assert ckpt.verify().ok

    def test_there_are_saved_models_of_both_eras(self) -> None:
        assert {path.parts[-3] for path in SAVED_MODELS} >= {"tf-1.15.5", "tf-2.4.4", "tf-2.21.0"}

    def test_a_saved_model_without_variables(self, tmp_path: Path) -> None:
        (tmp_path / "variables").mkdir()
        (tmp_path / "saved_model.pb").touch()
        with pytest.raises(CheckpointNotFoundError, match="has no variables"):
            open_checkpoint(tmp_path)

    def test_files_without_a_name(self, tmp_path: Path) -> None:
        write_value(tmp_path, 1, "")
        assert value_at(tmp_path) == 1
        assert value_at(f"{tmp_path}/") == 1

    def test_two_candidates_are_both_named(self, tmp_path: Path) -> None:
        write_value(tmp_path / "variables", 1, "variables")
        (tmp_path / "saved_model.pb").touch()
        write_state(tmp_path, "ckpt-1")
        with pytest.raises(CheckpointNotFoundError) as error:
            open_checkpoint(tmp_path)
        assert "SavedModel" in str(error.value)
        assert "state file" in str(error.value)

    @pytest.mark.parametrize(
        ("make", "words"),
        [
            (lambda folder: None, "an empty directory"),
            (lambda folder: (folder / "notes.txt").touch(), "only notes.txt"),
        ],
        ids=["empty", "other files"],
    )
    def test_no_checkpoints_directory(self, tmp_path: Path, make, words: str) -> None:
        make(tmp_path)
        with pytest.raises(CheckpointNotFoundError) as error:
            open_checkpoint(tmp_path)
        assert words in str(error.value)

    def test_the_nearest_name_comes_first(self, tmp_path: Path) -> None:
        for step in range(100, 130):
            write_value(tmp_path, 1, f"model.ckpt-{step}")
        with pytest.raises(CheckpointNotFoundError) as error:
            open_checkpoint(tmp_path / "model.ckpt-12")
        assert error.value.found.split(" checkpoints ")[1].startswith("model.ckpt-12")
        assert "and 24 more" in str(error.value)
