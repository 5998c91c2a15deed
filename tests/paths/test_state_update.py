"""Contents of state files as TensorFlow writes them, with a new checkpoint added."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from ckptparse.paths.state_file import format_state, parse_state
from ckptparse.paths.state_update import add_checkpoint, relative_to_state
from support.repository import FIXTURES

VERSIONS = ("1.15.5", "2.21.0")


def load(version: str) -> dict[str, list[dict[str, Any]]]:
    return json.loads((FIXTURES / f"tf-{version}/written_states/states.json").read_text())


FORMATTED = {
    f"{version}-{i}": asked
    for version in VERSIONS
    for i, asked in enumerate(load(version)["formatted"])
}
WRITTEN = {key: asked for key, asked in FORMATTED.items() if "text" in asked}
DIRECTORIES = [
    pytest.param(run, id=f"{version}-{run['writer']}-{run['max_to_keep']}")
    for version in VERSIONS
    for run in load(version)["directories"]
]

# A Saver that deletes nothing lists only the latest.  A CheckpointManager lists all, as we do.
LISTING = [param for param in DIRECTORIES if not param.id.endswith("saver_steps-None")]


def make(paths: list[str], times: list[float] = [], preserved: float = 0.0) -> Any:  # noqa: B006
    state = parse_state(b"")
    state.model_checkpoint_path = paths[-1]
    state.all_model_checkpoint_paths.extend(paths)
    state.all_model_checkpoint_timestamps.extend(times)
    state.last_preserved_timestamp = preserved
    return state


def add(
    state: Any, prefix: str, keep: int | None = None, now: float = 9.0
) -> tuple[Any, list[str]]:
    return add_checkpoint(state, prefix, directory="run", max_to_keep=keep, now=now)


class TestFormat:
    @pytest.mark.skipif(os.name == "nt", reason="TensorFlow writes backslashes there")
    @pytest.mark.parametrize("key", [key for key in WRITTEN if key.startswith("2.21.0")])
    def test_the_bytes_of_tensorflow(self, key: str) -> None:
        asked = WRITTEN[key]
        paths = [relative_to_state(path, "run") for path in asked["paths"]]
        preserved = 0.0 if asked["preserved"] == "None" else float(asked["preserved"])
        state = make(paths, [float(time) for time in asked["times"]], preserved)
        assert format_state(state) == asked["text"].encode()

    @pytest.mark.parametrize("key", WRITTEN)
    def test_what_either_version_wrote_means_the_same(self, key: str) -> None:
        text = WRITTEN[key]["text"].encode()
        newest = WRITTEN["2.21.0-" + key.partition("-")[2]]["text"].encode()
        assert format_state(parse_state(text)) == newest

    @pytest.mark.parametrize(
        "path", sorted(FIXTURES.glob("tf-2.*/*/**/checkpoint")), ids=lambda p: p.parts[-3]
    )
    def test_state_files_of_fixtures(self, path: Path) -> None:
        assert format_state(parse_state(path.read_bytes())) == path.read_bytes()


class TestAsTensorFlowSaves:
    @pytest.mark.parametrize("run", LISTING)
    def test_each_step(self, run: dict[str, Any]) -> None:
        keep = run["max_to_keep"]
        before = None
        for step in run["steps"]:
            wanted = parse_state(step["text"].encode())
            times = wanted.all_model_checkpoint_timestamps
            if before is not None:
                state, _ = add(before, step["latest"], keep, times[-1] if times else math.nan)
                assert format_state(state) == step["text"].encode()
            before = wanted

    @pytest.mark.parametrize("run", DIRECTORIES)
    def test_the_first_has_no_times(self, run: dict[str, Any]) -> None:
        first = run["steps"][0]
        wanted = parse_state(first["text"].encode())
        wanted.ClearField("all_model_checkpoint_timestamps")
        wanted.ClearField("last_preserved_timestamp")
        assert add(None, first["latest"], run["max_to_keep"]) == (wanted, [])


class TestList:
    @pytest.mark.parametrize("keep", [None, 0])
    def test_all_are_kept(self, keep: int | None) -> None:
        paths = [f"m-{i}" for i in range(100)]
        state, dropped = add(make(paths), "run/m-100", keep)
        assert list(state.all_model_checkpoint_paths) == [*paths, "m-100"]
        assert dropped == []

    @pytest.mark.parametrize("keep", [1, 2, 3, 4, 5])
    def test_the_oldest_are_dropped(self, keep: int) -> None:
        state, dropped = add(make(["a", "b", "c"], [1.0, 2.0, 3.0], 0.5), "run/d", keep)
        assert list(state.all_model_checkpoint_paths) == ["a", "b", "c", "d"][-keep:]
        assert list(state.all_model_checkpoint_timestamps) == [1.0, 2.0, 3.0, 9.0][-keep:]
        assert dropped == ["a", "b", "c", "d"][:-keep]
        assert state.last_preserved_timestamp == 0.5

    def test_the_old_state_is_not_changed(self) -> None:
        old = make(["a", "b"], [1.0, 2.0])
        text = format_state(old)
        add(old, "run/c", 1)
        assert format_state(old) == text

    @pytest.mark.parametrize(
        "known", ["a", "./a", "../run/a", "x/../a", ".//a", os.path.abspath("run/a")]
    )
    def test_another_spelling_is_not_listed_twice(self, known: str) -> None:
        state, dropped = add(make([known, "b"], [1.0, 2.0]), "run/a", 2)
        assert list(state.all_model_checkpoint_paths) == ["b", "a"]
        assert list(state.all_model_checkpoint_timestamps) == [2.0, 9.0]
        assert dropped == []

    @pytest.mark.parametrize("times", [[1.0], [1.0, 2.0, 3.0], []])
    def test_times_that_do_not_belong_to_paths_are_dropped(self, times: list[float]) -> None:
        state, _ = add(make(["a", "b"], times, 0.5), "run/c")
        assert list(state.all_model_checkpoint_paths) == ["a", "b", "c"]
        assert list(state.all_model_checkpoint_timestamps) == []
        assert state.last_preserved_timestamp == 0.5

    def test_a_latest_that_is_not_listed_is_forgotten(self) -> None:
        state, dropped = add(parse_state(b'model_checkpoint_path: "a"'), "run/b", 1)
        assert list(state.all_model_checkpoint_paths) == ["b"]
        assert dropped == []

    def test_the_number_is_not_negative(self) -> None:
        with pytest.raises(ValueError, match="max_to_keep"):
            add(None, "run/a", -1)

    @pytest.mark.skipif(os.name == "nt", reason="names are text there")
    def test_a_name_that_is_not_utf8(self) -> None:
        assert FORMATTED["2.21.0-21"]["error"] == "UnicodeEncodeError"
        with pytest.raises(ValueError, match="cannot be encoded"):
            add(None, FORMATTED["2.21.0-21"]["paths"][-1])


class TestRelativePath:
    @pytest.mark.parametrize(
        ("prefix", "directory", "path"),
        [
            ("m", "", "m"),
            ("m", ".", "m"),
            ("run/m", "run/", "m"),
            (os.path.abspath("run/m"), "run", "m"),
            ("run/m", os.path.abspath("run"), "m"),
            ("run/", "run", os.path.join(".", "")),
            ("sub/", ".", os.path.join("sub", "")),
            ("run/sub/m", "run", os.path.join("sub", "m")),
            ("other/m", "run", os.path.join("..", "other", "m")),
        ],
    )
    def test_it_starts_at_the_state_file(self, prefix: str, directory: str, path: str) -> None:
        assert relative_to_state(prefix, directory) == path
