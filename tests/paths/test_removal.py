"""Which files of dropped checkpoints may be deleted."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from ckptparse.paths.removal import group_files, list_removable_files
from ckptparse.paths.state_file import parse_state
from ckptparse.paths.state_update import add_checkpoint
from support.damage import copy_case
from support.oracle import load_case
from support.repository import FIXTURES

needs_links = pytest.mark.skipif(os.name == "nt", reason="links need rights there")

STEPS = [
    pytest.param(run, id=f"{version}-{run['writer']}")
    for version in ("1.15.5", "2.21.0")
    for run in json.loads((FIXTURES / f"tf-{version}/written_states/states.json").read_text())[
        "directories"
    ]
    if run["max_to_keep"]
]


def state_of(*paths: str) -> Any:
    state = parse_state(b"")
    state.model_checkpoint_path = paths[-1]
    state.all_model_checkpoint_paths.extend(paths)
    return state


def touch(folder: Path, *prefixes: str) -> None:
    for prefix in prefixes:
        path = folder / prefix
        path.parent.mkdir(parents=True, exist_ok=True)
        for suffix in (".index", ".data-00000-of-00001"):
            Path(f"{path}{suffix}").touch()


def removable(folder: Path, dropped: list[str], *kept: str) -> list[str]:
    """The files that may go, relative to the folder or, if they are elsewhere, absolute."""
    found = list_removable_files(state_of(*(kept or ("new",))), dropped, str(folder))
    root = os.path.join(os.path.realpath(folder), "")
    return [file.removeprefix(root) for file in found]


def both(prefix: str) -> list[str]:
    return [f"{prefix}.index", f"{prefix}.data-00000-of-00001"]


class TestGroups:
    def test_names_are_exact(self) -> None:
        names = [
            f"{prefix}{suffix}"
            for prefix in ("ckpt-1", "ckpt-10", "ckpt-1.index", "ckpt-1-0", "xckpt-1", "")
            for suffix in (".index", ".data-00000-of-00002", ".data-00001-of-00002", ".meta")
        ]
        for prefix, files in group_files(names).items():
            assert files == [name for name in names if name.startswith(f"{prefix}.")][:4]

    @pytest.mark.parametrize(
        "name",
        [
            "m.indexes",
            "m.index.bak",
            "m.data-0000-of-0001",
            "m.data-00000-of-00001.tempstate123",
            "m_temp",
            "m.data",
            "m-1.txt",
            "M.index",
        ],
    )
    def test_other_names_do_not_belong_to_a_prefix(self, name: str) -> None:
        assert group_files(["m.index", name])["m"] == ["m.index"]

    def test_data_files_of_any_number(self) -> None:
        names = [
            "m.index",
            "m.data-00000-of-00001",
            "m.data-00000-of-00002",
            "m.data-100000-of-100001",
        ]
        assert sorted(group_files(names)["m"]) == sorted(names)

    def test_a_graph_alone_is_no_checkpoint(self) -> None:
        assert group_files(["m.meta"]) == {}

    def test_v1(self) -> None:
        one, two = ["m-00000-of-00002", "m-00001-of-00002"], ["m-00000-of-00001"]
        groups = group_files([*one, *two, "m.meta", "n", "n.meta"])
        assert groups["m-?????-of-00002"] == [*one, "m.meta"]
        assert groups["m-?????-of-00001"] == [*two, "m.meta"]
        assert sorted(groups["m"]) == sorted([*one, *two, "m.meta"])
        assert groups["n"] == ["n", "n.meta"]

    def test_v2_comes_before_v1(self) -> None:
        groups = group_files(["m", "m.index", "m.meta", "m-00000-of-00001"])
        assert groups["m"] == ["m.index", "m.meta"]
        assert groups["m-?????-of-00001"] == ["m-00000-of-00001"]


class TestAsTensorFlowDeletes:
    @pytest.mark.parametrize("run", STEPS)
    def test_each_step(self, tmp_path: Path, run: dict[str, Any]) -> None:
        state = None
        for step in run["steps"]:
            for name in step["names"]:
                (tmp_path / name).touch()
            prefix = str(tmp_path / os.path.basename(step["latest"]))
            state, dropped = add_checkpoint(
                state, prefix, directory=str(tmp_path), max_to_keep=run["max_to_keep"], now=1.0
            )
            for file in list_removable_files(state, dropped, str(tmp_path)):
                os.unlink(file)
            assert sorted(os.listdir(tmp_path)) == step["names"]


class TestPlaces:
    @pytest.mark.parametrize("path", ["a", "./a", ".//a"])
    def test_in_the_directory(self, tmp_path: Path, path: str) -> None:
        touch(tmp_path, "a", "new")
        assert removable(tmp_path, [path, path, "a"]) == both("a")

    def test_an_absolute_path_in_the_directory(self, tmp_path: Path) -> None:
        touch(tmp_path, "a", "sub/b")
        paths = [str(tmp_path / "a"), str(tmp_path / "sub/b")]
        assert removable(tmp_path, paths) == both("a") + both(os.path.join("sub", "b"))

    def test_outside(self, tmp_path: Path) -> None:
        run = tmp_path / "run"
        touch(run, "new")
        touch(tmp_path, "a", "run2/a", "run/sub/a")
        paths = [
            "../a",
            "sub/../../a",
            "sub/../sub/a",
            "..\\a",
            "../run2/a",
            str(tmp_path / "a"),
            str(tmp_path / "run2" / "a"),
            str(run / ".." / "a"),
        ]
        assert removable(run, paths) == []

    @pytest.mark.parametrize(
        "path",
        [
            "",
            ".",
            "..",
            "/",
            "\0",
            "a\0",
            "gs://bucket/a",
            "D:\\run\\a",
            "//host/share/a",
            "a/",
            "~/a",
        ],
    )
    def test_no_such_path(self, tmp_path: Path, path: str) -> None:
        touch(tmp_path, "a")
        assert removable(tmp_path, [path]) == []

    @needs_links
    def test_links_that_lead_out(self, tmp_path: Path) -> None:
        run = tmp_path / "run"
        touch(run, "new", "sub/a")
        touch(tmp_path, "other/b")
        (run / "out").symlink_to(tmp_path / "other")
        (run / "sub" / "up").symlink_to("../..")
        (run / "in").symlink_to("sub")
        (run / "self").symlink_to("self")
        paths = ["out/b", "sub/up/other/b", "self/b", str(run / "out" / "b")]
        assert removable(run, paths) == []
        assert removable(run, ["in/a"]) == both("sub/a")

    @needs_links
    def test_a_directory_that_is_given_through_a_link(self, tmp_path: Path) -> None:
        touch(tmp_path / "run", "a", "b")
        (tmp_path / "link").symlink_to("run")
        paths = [str(tmp_path / "link" / "a"), str(tmp_path / "run" / "b")]
        assert removable(tmp_path / "link", paths) == both("a") + both("b")

    @needs_links
    def test_a_file_that_is_a_link(self, tmp_path: Path) -> None:
        """Deleting it removes the link, not the file elsewhere."""
        (tmp_path / "run").mkdir()
        touch(tmp_path, "a")
        (tmp_path / "run" / "a.index").symlink_to(tmp_path / "a.index")
        assert removable(tmp_path / "run", ["a"]) == ["a.index"]

    def test_directories_are_no_files(self, tmp_path: Path) -> None:
        (tmp_path / "a.index").mkdir()
        assert removable(tmp_path, ["a"]) == []


class TestKept:
    @pytest.mark.parametrize(
        "path", ["new", "./new", "new.index", "new.data-00000-of-00001", "./new.index"]
    )
    def test_the_new_checkpoint_under_another_spelling(self, tmp_path: Path, path: str) -> None:
        touch(tmp_path, "new")
        assert removable(tmp_path, [path, str(tmp_path / path)]) == []

    @pytest.mark.parametrize("kept", ["sub/a", "SUB/A", "/gone/a", "D:\\run\\a", "a.index", "A"])
    def test_a_name_that_is_still_in_the_state(self, tmp_path: Path, kept: str) -> None:
        touch(tmp_path, "a", "b")
        assert removable(tmp_path, ["a", "b"], kept, "new") == both("b")

    @needs_links
    def test_the_new_checkpoint_through_a_link(self, tmp_path: Path) -> None:
        touch(tmp_path, "sub/new")
        (tmp_path / "link").symlink_to("sub")
        assert removable(tmp_path, ["link/new"], "sub/new") == []

    def test_a_checkpoint_without_a_name(self, tmp_path: Path) -> None:
        for name in both(""):
            (tmp_path / name).touch()
        assert removable(tmp_path, ["./"], "new") == both("")
        for kept in (".", "./", os.path.join(str(tmp_path), "")):
            assert removable(tmp_path, ["./"], kept) == []


class TestV1:
    def test_a_file(self, tmp_path: Path) -> None:
        shutil.copy(load_case("tf-1.15.5/v1_vgg_16").prefix, tmp_path / "m-1")
        (tmp_path / "m-1.meta").touch()
        assert removable(tmp_path, ["m-1"]) == ["m-1", "m-1.meta"]

    def test_shards(self, tmp_path: Path) -> None:
        prefix = copy_case("tf-1.15.5/v1_sharded", tmp_path)
        name = os.path.basename(prefix)
        shards = [f"{name}-{i:05}-of-00003" for i in range(3)]
        for path in (name, f"{name}-?????-of-00003"):
            assert [file for file in removable(tmp_path, [path]) if "-of-" in file] == shards
        assert removable(tmp_path, [f"{name}-?????-of-00003"], name) == []
        assert removable(tmp_path, [f"{name}-00000-of-00003"]) == []
        # Others name their files like this, too.
        (tmp_path / shards[1]).write_bytes(b"an image")
        assert removable(tmp_path, [name]) == []

    @pytest.mark.parametrize("name", ["train.py", "checkpoint", "saved_model.pb", "m"])
    def test_other_files_are_no_checkpoints(self, tmp_path: Path, name: str) -> None:
        (tmp_path / name).write_bytes(b"not a table" * 10)
        (tmp_path / f"{name}.meta").touch()
        assert removable(tmp_path, [name]) == []

    @pytest.mark.parametrize("suffix", [".index", ".meta", ".data-00000-of-00001"])
    def test_a_file_of_another_checkpoint_is_no_checkpoint(
        self, tmp_path: Path, suffix: str
    ) -> None:
        shutil.copy(load_case("tf-1.15.5/v1_vgg_16").prefix, tmp_path / f"m{suffix}")
        assert removable(tmp_path, [f"m{suffix}"]) == []

    @needs_links
    def test_a_link_that_leads_out(self, tmp_path: Path) -> None:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "m").symlink_to(load_case("tf-1.15.5/v1_vgg_16").prefix)
        assert removable(tmp_path / "run", ["m"]) == []


class TestHostileStates:
    def test_each_directory_is_listed_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        touch(tmp_path, "a")
        listed = []
        real = os.listdir
        monkeypatch.setattr(os, "listdir", lambda path: listed.append(path) or real(path))
        paths = [f"{'./' * i}{j}" for i in range(50) for j in range(20)]
        assert removable(tmp_path, [*paths, "a"]) == both("a")
        assert len(listed) == 1
