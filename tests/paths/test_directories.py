"""Directories without a state file, paths of state files, and missing files."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ckptparse import (
    CheckpointNotFoundError,
    MissingShardError,
    UnreadableError,
    open_checkpoint,
    train,
)
from ckptparse.commands import main
from support.damage import copy_case
from support.directories import value_at, write_state, write_value
from support.oracle import load_case


def download(folder: Path) -> None:
    """The files of a published BERT model."""
    write_value(folder, 1, "bert_model.ckpt")
    (folder / "bert_model.ckpt.meta").touch()
    (folder / "vocab.txt").write_text("[PAD]\n")
    (folder / "bert_config.json").write_text("{}")


class TestExactlyOne:
    def test_a_prefix_among_other_files(self, tmp_path: Path) -> None:
        download(tmp_path)
        with open_checkpoint(tmp_path) as ckpt:
            assert ckpt.path == str(tmp_path / "bert_model.ckpt")
        assert main(["ls", str(tmp_path)]) == 0

    def test_a_saved_model_without_its_graph(self, tmp_path: Path) -> None:
        write_value(tmp_path / "variables", 1, "variables")
        (tmp_path / "fingerprint.pb").touch()
        (tmp_path / "keras_metadata.pb").touch()
        (tmp_path / "assets").mkdir()
        assert value_at(tmp_path) == 1

    @pytest.mark.parametrize("folder", ["1", "bert", "variables"])
    def test_one_directory_further_down(self, tmp_path: Path, folder: str) -> None:
        download(tmp_path / folder)
        (tmp_path / "README.md").touch()
        assert value_at(tmp_path) == 1

    def test_two_directories_further_down_is_too_far(self, tmp_path: Path) -> None:
        write_value(tmp_path / "a" / "b", 1)
        with pytest.raises(CheckpointNotFoundError, match="no checkpoint in this directory"):
            open_checkpoint(tmp_path)

    def test_a_directory_with_its_own_meaning_further_down(self, tmp_path: Path) -> None:
        for step in (1, 2):
            write_value(tmp_path / "train", step, f"ckpt-{step}")
        write_state(tmp_path / "train", "ckpt-1")
        assert value_at(tmp_path) == 1

    def test_the_directory_itself_comes_before_those_in_it(self, tmp_path: Path) -> None:
        write_value(tmp_path, 1)
        write_value(tmp_path / "backup", 2)
        assert value_at(tmp_path) == 1

    @pytest.mark.parametrize(("format", "names"), [(None, "v2"), ("v2", "v2"), ("v1", "v1")])
    def test_v1_and_v2_of_one_name_are_one(
        self, tmp_path: Path, format: str | None, names: str
    ) -> None:
        case = load_case("tf-2.21.0/v1_and_v2")
        for path in case.folder.glob("model.ckpt*"):
            shutil.copy(path, tmp_path)
        with open_checkpoint(tmp_path, format=format) as ckpt:
            assert ckpt.format == names

    def test_a_format_leaves_the_other_out_of_sight(self, tmp_path: Path) -> None:
        copy_case("tf-1.15.5/v1_vgg_16", tmp_path)
        (tmp_path / "checkpoint").unlink(missing_ok=True)
        write_value(tmp_path, 1, "other")
        assert open_checkpoint(tmp_path, format="v1").format == "v1"
        assert open_checkpoint(tmp_path, format="v2").path == str(tmp_path / "other")
        with pytest.raises(CheckpointNotFoundError, match="several checkpoints"):
            open_checkpoint(tmp_path)

    @pytest.mark.parametrize("name", ["vgg_16.ckpt", "checkpoint-300"])
    def test_a_v1_file_without_anything_beside_it(self, tmp_path: Path, name: str) -> None:
        shutil.copy(load_case("tf-1.15.5/v1_vgg_16").prefix, tmp_path / name)
        (tmp_path / "convert_ckpt.py").write_text("import tensorflow")
        (tmp_path / "labels.txt").touch()
        with open_checkpoint(tmp_path) as ckpt:
            assert ckpt.format == "v1"
            assert ckpt.path == str(tmp_path / name)

    def test_v1_shards(self, tmp_path: Path) -> None:
        prefix = copy_case("tf-1.15.5/v1_sharded", tmp_path)
        (tmp_path / "checkpoint").unlink(missing_ok=True)
        assert len(open_checkpoint(tmp_path)) == 5
        os.unlink(f"{prefix}-00001-of-00003")
        with pytest.raises(MissingShardError):
            open_checkpoint(tmp_path)

    @pytest.mark.parametrize("temporary", ["m_temp", "m_temp_0123456789abcdef0123456789abcdef"])
    def test_an_interrupted_save_is_no_checkpoint(self, tmp_path: Path, temporary: str) -> None:
        write_value(tmp_path / temporary, 1, "part-00000-of-00001")
        (tmp_path / "m.index.tempstate123").touch()
        with pytest.raises(CheckpointNotFoundError, match="no checkpoint in this directory"):
            open_checkpoint(tmp_path)
        write_value(tmp_path, 2, "m")
        assert value_at(tmp_path) == 2

    def test_what_macos_packs_along_is_no_checkpoint(self, tmp_path: Path) -> None:
        write_value(tmp_path, 1, "m")
        (tmp_path / "._m.index").write_bytes(b"\x00\x05\x16\x07")
        assert value_at(tmp_path) == 1

    def test_a_directory_called_checkpoint_is_no_state_file(self, tmp_path: Path) -> None:
        write_value(tmp_path / "checkpoint", 1, "m")
        assert value_at(tmp_path) == 1

    @pytest.mark.skipif(os.name == "nt", reason="links need rights there")
    def test_confined_reading_follows_no_link_further_down(self, tmp_path: Path) -> None:
        write_value(tmp_path / "elsewhere", 1, "m")
        run = tmp_path / "run"
        run.mkdir()
        (run / "variables").symlink_to(tmp_path / "elsewhere")
        assert value_at(run) == 1
        with pytest.raises((CheckpointNotFoundError, UnreadableError)):
            open_checkpoint(run, confined=True)

    def test_many_directories_are_not_looked_into(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for i in range(101):
            (tmp_path / f"class_{i}").mkdir()
        listed = []
        real = os.listdir
        monkeypatch.setattr(os, "listdir", lambda path: listed.append(path) or real(path))
        with pytest.raises(CheckpointNotFoundError):
            open_checkpoint(tmp_path)
        assert not any("class_" in str(path) for path in listed)

    def test_of_many_files_two_hundred_are_opened(self, tmp_path: Path) -> None:
        for i in range(200):
            (tmp_path / f"ckpt_{i:03}").touch()
        shutil.copy(load_case("tf-1.15.5/v1_vgg_16").prefix, tmp_path / "ckpt_199")
        assert open_checkpoint(tmp_path).path == str(tmp_path / "ckpt_199")
        (tmp_path / "ckpt_000a").touch()
        with pytest.raises(CheckpointNotFoundError):
            open_checkpoint(tmp_path)


class TestSeveral:
    def test_they_are_listed_with_the_newest_last(self, tmp_path: Path) -> None:
        for step in (2, 10, 1):
            write_value(tmp_path, step, f"ckpt-{step}")
            os.utime(tmp_path / f"ckpt-{step}.index", (1000, 1000 + step))
        os.utime(tmp_path / "ckpt-1.index", (2000, 2000))
        with pytest.raises(CheckpointNotFoundError) as error:
            open_checkpoint(tmp_path)
        first = str(error.value).splitlines()[0]
        assert "several checkpoints: ckpt-2, ckpt-10, ckpt-1. Give one" in first
        assert first.endswith(f"for example {tmp_path / 'ckpt-1'}")

    def test_of_one_time_by_number(self, tmp_path: Path) -> None:
        for step in (2, 10, 1):
            write_value(tmp_path, step, f"ckpt-{step}")
            os.utime(tmp_path / f"ckpt-{step}.index", (1000, 1000))
        with pytest.raises(CheckpointNotFoundError, match=r"ckpt-1, ckpt-2, ckpt-10\. Give"):
            open_checkpoint(tmp_path)

    def test_the_newest_of_many(self, tmp_path: Path) -> None:
        for step in range(30):
            write_value(tmp_path, step, f"ckpt-{step}")
            os.utime(tmp_path / f"ckpt-{step}.index", (1000, 1000 + step))
        with pytest.raises(CheckpointNotFoundError, match=r"20 older ones, ckpt-20, .*ckpt-29\."):
            open_checkpoint(tmp_path)

    def test_further_down(self, tmp_path: Path) -> None:
        write_value(tmp_path / "a", 1, "m")
        write_value(tmp_path / "b", 2, "m")
        with pytest.raises(CheckpointNotFoundError) as error:
            open_checkpoint(tmp_path)
        assert os.path.join("a", "m") in error.value.message
        assert os.path.join("b", "m") in error.value.message


class TestStateFileByName:
    @pytest.mark.parametrize("name", ["checkpoint", "checkpoint.txt", "latest"])
    def test_its_latest(self, tmp_path: Path, name: str) -> None:
        for step in (1, 2):
            write_value(tmp_path, step, f"ckpt-{step}")
        write_state(tmp_path, "ckpt-2", "ckpt-1", "ckpt-2")
        (tmp_path / "checkpoint").rename(tmp_path / name)
        assert value_at(tmp_path / name) == 2
        assert value_at(tmp_path / name, confined=True) == 2

    def test_in_the_working_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_value(tmp_path, 1, "ckpt-1")
        write_state(tmp_path, "ckpt-1")
        monkeypatch.chdir(tmp_path)
        with open_checkpoint("checkpoint") as ckpt:
            assert ckpt.path == "ckpt-1"

    def test_a_prefix_of_that_name_comes_first(self, tmp_path: Path) -> None:
        write_value(tmp_path, 1, "ckpt-1")
        write_value(tmp_path, 2, "checkpoint")
        write_state(tmp_path, "ckpt-1")
        assert value_at(tmp_path / "checkpoint") == 2

    def test_a_v1_checkpoint_of_that_name(self, tmp_path: Path) -> None:
        shutil.copy(load_case("tf-1.15.5/v1_vgg_16").prefix, tmp_path / "checkpoint")
        assert open_checkpoint(tmp_path / "checkpoint").format == "v1"

    def test_its_latest_is_gone(self, tmp_path: Path) -> None:
        write_value(tmp_path, 1, "ckpt-1")
        write_state(tmp_path, "ckpt-2")
        with pytest.raises(CheckpointNotFoundError, match="'ckpt-2'") as error:
            open_checkpoint(tmp_path / "checkpoint")
        assert "ckpt-1" in error.value.found

    def test_it_names_itself(self, tmp_path: Path) -> None:
        write_state(tmp_path, "checkpoint")
        with pytest.raises(ValueError, match="state file"):
            open_checkpoint(tmp_path / "checkpoint")


class TestFilesThatAreNotThere:
    @pytest.mark.parametrize("suffix", [".meta", ".data-00005-of-00009", ".data-00001-of-00001"])
    def test_of_a_v2_checkpoint(self, tmp_path: Path, suffix: str) -> None:
        write_value(tmp_path, 1, "m")
        with pytest.raises(CheckpointNotFoundError, match="no such file") as error:
            open_checkpoint(f"{tmp_path}/m{suffix}")
        assert error.value.found.endswith("the directory holds the checkpoint m")

    def test_those_that_are_there(self, tmp_path: Path) -> None:
        write_value(tmp_path, 1, "m")
        (tmp_path / "m.meta").touch()
        for suffix in (".index", ".data-00000-of-00001", ".meta"):
            assert value_at(f"{tmp_path}/m{suffix}") == 1

    def test_a_shard_of_a_v1_checkpoint(self, tmp_path: Path) -> None:
        prefix = copy_case("tf-1.15.5/v1_sharded", tmp_path)
        with pytest.raises(CheckpointNotFoundError, match="Did you mean"):
            open_checkpoint(f"{prefix}-00009-of-00003")
        with pytest.raises(CheckpointNotFoundError):
            open_checkpoint(f"{prefix}-?????-of-00004")

    def test_the_index_of_a_data_file(self, tmp_path: Path) -> None:
        write_value(tmp_path, 1, "m")
        (tmp_path / "m.index").unlink()
        path = tmp_path / "m.data-00000-of-00001"
        with pytest.raises(CheckpointNotFoundError, match=r"the index .* is missing") as error:
            open_checkpoint(path)
        assert error.value.expected == str(tmp_path / "m.index")

    def test_the_checkpoint_of_a_graph(self, tmp_path: Path) -> None:
        (tmp_path / "m.meta").touch()
        with pytest.raises(CheckpointNotFoundError, match="belongs to this file is missing"):
            open_checkpoint(tmp_path / "m.meta")


class TestTrain:
    def test_what_only_raises_in_tensorflow_is_answered(self, tmp_path: Path) -> None:
        download(tmp_path)
        assert train.load_variable(tmp_path, "x")[0] == 1
        assert train.list_variables(tmp_path / "bert_model.ckpt.data-00000-of-00001") == [
            ("x", [2])
        ]

    def test_another_checkpoint_appears(self, tmp_path: Path) -> None:
        download(tmp_path)
        assert train.load_variable(tmp_path, "x")[0] == 1
        write_value(tmp_path, 2, "other")
        with pytest.raises(CheckpointNotFoundError, match="several checkpoints"):
            train.load_variable(tmp_path, "x")

    def test_tensorflow_has_no_latest_there(self, tmp_path: Path) -> None:
        download(tmp_path)
        assert train.latest_checkpoint(tmp_path) is None

    def test_a_copy_whose_state_file_names_the_original(self, tmp_path: Path) -> None:
        """TensorFlow follows the absolute path; `open_checkpoint` opens the copy."""
        original = write_value(tmp_path / "old", 1, "ckpt-1")
        write_state(tmp_path / "old", str(original))
        shutil.copytree(tmp_path / "old", tmp_path / "new")
        write_value(tmp_path / "new", 2, "ckpt-1")
        assert train.load_variable(tmp_path / "new", "x")[0] == 1
        assert value_at(tmp_path / "new") == 2

    @pytest.mark.parametrize("recorded", ["/gone/x/", "gone/"])
    def test_a_moved_folder_that_is_its_own_prefix(self, tmp_path: Path, recorded: str) -> None:
        write_value(tmp_path, 1, "")
        write_state(tmp_path, recorded)
        latest = train.latest_checkpoint(tmp_path)
        assert latest == f"{tmp_path}/"
        assert value_at(latest) == 1
        assert train.load_variable(tmp_path, "x")[0] == 1

    def test_a_moved_folder_without_it(self, tmp_path: Path) -> None:
        write_state(tmp_path, "/gone/x/")
        assert train.latest_checkpoint(tmp_path) is None


class TestOtherFilesOfWeights:
    """They are opened by their own path only, so the errors name them."""

    def test_a_similar_name(self, tmp_path: Path) -> None:
        for name in ("notes.txt", "model.keras"):
            (tmp_path / name).write_bytes(b"")
        with pytest.raises(CheckpointNotFoundError, match=r"Did you mean .*model[.]keras[?]"):
            open_checkpoint(tmp_path / "model.kears")

    def test_not_the_path_itself(self, tmp_path: Path) -> None:
        (tmp_path / "model.h5").write_bytes(b"")
        with pytest.raises(CheckpointNotFoundError, match="no such checkpoint") as error:
            open_checkpoint(tmp_path / "model.h5", format="v2")
        assert "Did you mean" not in error.value.message

    def test_in_a_directory(self, tmp_path: Path) -> None:
        for name in ("a.txt", "model.safetensors", "._other.npz"):
            (tmp_path / name).write_bytes(b"")
        with pytest.raises(CheckpointNotFoundError, match=r"for example .*/model[.]safetensors"):
            open_checkpoint(tmp_path)
