"""The page of `ckptparse report`: its structure, its values, its limits, and hostile names."""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from ckptparse import CorruptCheckpointError, open_checkpoint, save, save_checkpoint, stats
from ckptparse.analysis.statistics import StatsReport
from ckptparse.commands import report as report_command
from ckptparse.display.text import format_nbytes, format_number, printable
from ckptparse.reporting import examination, page
from ckptparse.reporting.description import Facts, last_part
from ckptparse.reporting.examination import Examination, Row, examine
from ckptparse.reporting.markup import shorten
from ckptparse.verification import VerifyReport
from support.damage import copy_case, flip_bit
from support.oracle import FC6, VGG, case_names, load_case
from support.pages import Node, parse_page
from support.repository import FIXTURES

CASES = [
    name
    for name in case_names()
    if any(tensor.read_by for tensor in load_case(name).tensors) and "missing_shard" not in name
]
CONTAINERS = sorted(
    path.relative_to(FIXTURES).as_posix()
    for suffix in ("keras", "h5", "npz", "safetensors", "pb")
    for path in FIXTURES.glob(f"*/*/*.{suffix}")
    if path.name != "saved_model.pb"
)

TAGS = """
    html head meta title style body header h1 p main section h2 dl dt dd div table caption thead
    tbody tr th td svg rect path g text ul li details summary code span small b strong label
    input footer script
"""
ATTRIBUTES = """
    lang charset http-equiv content name id class viewbox role aria-label aria-hidden x y width
    height d data-find data-sort data-n scope type open
"""
"""No attribute that runs a script, loads anything or leads anywhere; no style, because the policy
allows none."""


def render(path: Path | str, sources: dict[str, str] | None = None) -> str:
    with open_checkpoint(path) as ckpt:
        return "".join(page.render(examine(ckpt, sources), "1.2.3"))


def parse(text: str) -> Node:
    """The parsed page, which has only harmless elements and attributes, and no odd characters."""
    root = parse_page(text)
    assert {node.tag for node in root.all()} <= set(TAGS.split())
    assert {key for node in root.all() for key in node.attributes} <= set(ATTRIBUTES.split())
    assert [char for char in text if not char.isprintable() and char != "\n"] == []
    assert len(root.all("script")) == len(root.all("style")) == 1
    return root


def table_of(root: Node) -> dict[str, list[str]]:
    """Name of a tensor -> texts of the other cells."""
    rows = root.one("table", id="table").one("tbody").all("tr")
    return {row.one("th").children[0]: [cell.text for cell in row.all("td")] for row in rows}


def facts_of(root: Node, section: str = "summary") -> dict[str, str]:
    pairs = root.one("section", id=section).all("dl")[0]
    return dict(
        zip((each.text for each in pairs.all("dt")), (each.text for each in pairs.all("dd")))
    )


class TestStructure:
    def test_sections(self) -> None:
        root = parse(render(VGG.path))
        assert root.one("head").one("title").text == "model.ckpt - checkpoint report"
        assert root.one("h1").text == "model.ckpt"
        ids = [node.attributes["id"] for node in root.all("section")]
        assert ids == ["summary", "map", "scopes", "tensors"]
        assert "Intact: all checksums were compared (34 tensors)." in root.one("header").text
        assert facts_of(root) == {
            "format": "TensorFlow checkpoint, V2",
            "tensors": "34",
            "elements": "7,248",
            "size": "28.3 KiB (28,996 bytes)",
            "files": "2",
            "graph file": "written by TensorFlow 1.15.5",
        }
        assert "Made by ckptparse 1.2.3" in root.one("footer").text

    def test_headers_and_labels(self) -> None:
        root = parse(render(VGG.path))
        for table in root.all("table"):
            header, *rows = table.all("tr")
            assert {cell.attributes["scope"] for cell in header.all("th")} == {"col"}
            for row in rows:
                assert row.one("th").attributes["scope"] == "row"
                assert len(row.all("td")) + 1 == len(header.all("th"))
        assert root.one("label").all("input", id="search")
        assert all(
            "aria-label" in svg.attributes or svg.attributes["aria-hidden"] == "true"
            for svg in root.all("svg")
        )

    def test_the_policy_allows_only_its_own_script_and_style(self) -> None:
        root = parse(render(VGG.path))
        (policy,) = root.all("meta", **{"http-equiv": "Content-Security-Policy"})
        rules = dict(rule.split(" ", 1) for rule in policy.attributes["content"].split("; "))

        def hash_of(tag: str) -> str:
            digest = hashlib.sha256(root.one(tag).text.encode()).digest()
            return f"'sha256-{base64.b64encode(digest).decode()}'"

        assert rules == {
            "default-src": "'none'",
            "style-src": hash_of("style"),
            "script-src": hash_of("script"),
            "base-uri": "'none'",
            "form-action": "'none'",
        }

    def test_it_is_readable_without_the_script(self) -> None:
        root = parse(render(VGG.path))
        assert len(table_of(root)) == 34
        assert {node.attributes["class"] for node in root.all("p", role="status")} == set()
        for control in root.all("input"):
            assert "scripted" in root.one("p", class_="tools scripted").attributes["class"]
            assert control in root.one("p", class_="tools scripted").all()

    def test_the_same_checkpoint_gives_the_same_bytes(self) -> None:
        code = (
            "import sys; sys.path.insert(0, 'tests'); from reporting import test_page as t;"
            "sys.stdout.buffer.write(t.render(t.FIXTURES / 'tf-1.15.5/training_graph').encode())"
        )
        pages = {
            subprocess.run(
                [sys.executable, "-c", code],
                env={
                    **os.environ,
                    "PYTHONHASHSEED": seed,
                    "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
                },
                cwd=FIXTURES.parent,
                stdout=subprocess.PIPE,
                check=True,
            ).stdout
            for seed in ("1", "2")
        }
        assert len(pages) == 1
        assert pages.pop().startswith(b"<!DOCTYPE html>")


class TestValues:
    def test_they_are_those_of_stats(self) -> None:
        rows = table_of(parse(render(VGG.path)))
        found = stats(VGG.path)
        assert set(rows) == set(found)
        for name, expected in found.items():
            _, _, size, *numbers = rows[name]
            assert size == format_nbytes(expected.nbytes)
            values = (expected.min, expected.max, expected.mean, expected.std)
            assert numbers[:4] == [*map(format_number, values)]
            assert numbers[4:7] == [
                f"{number:,}" if number else ""
                for number in (expected.zeros, expected.nan, expected.inf)
            ]

    def test_histograms_are_those_of_numpy(self) -> None:
        with open_checkpoint(VGG.path) as ckpt:
            rows = {row.name: row for row in examine(ckpt).rows}
            counted = {name for name, array in ckpt.items() if array.size >= 20}
            assert {name for name, row in rows.items() if row.histogram} == counted
            for name in counted:
                bins = rows[name].histogram.bins
                edges = [each.start for each in bins] + [bins[-1].stop]
                expected, _ = np.histogram(ckpt[name], edges)
                assert [each.size for each in bins] == expected.tolist()

    @pytest.mark.parametrize("name", CASES)
    def test_every_fixture_has_a_page(self, name: str) -> None:
        case = load_case(name)
        rows = table_of(parse(render(case.path)))
        with open_checkpoint(case.path) as ckpt:
            for info in ckpt.infos():
                assert rows[shorten(printable(info.name))][0] == info.tensorflow_dtype
            assert len(rows) == len(ckpt)

    @pytest.mark.parametrize("path", CONTAINERS)
    def test_every_container_has_a_page(self, path: str) -> None:
        root = parse(render(FIXTURES / path))
        with open_checkpoint(FIXTURES / path) as ckpt:
            num_tensors = len(ckpt)
        assert facts_of(root)["tensors"] == f"{num_tensors:,}"
        assert len(table_of(root) if num_tensors else []) == num_tensors

    def test_suspicious_values(self, tmp_path: Path) -> None:
        tensors = {
            "a/nan": np.float32([1, np.nan, 3]),
            "b/all_nan": np.full(4, np.nan, ml_dtypes.bfloat16),
            "c/inf": np.array([1, -np.inf]),
            "d/zero": np.zeros(30, "i4"),
            "e/equal": np.full(5, 7, "u1"),
            "f/usual": np.arange(5.0),
            "g/complex": np.array([1 + 2j, 3]),
            "h/int4": np.array([1, -8, 7], ml_dtypes.int4),
            "i/empty": np.zeros((0, 3), "f4"),
            "j/text": np.array([b"x", b"<b>"], object),
            "k/bool": np.array([True, False] * 20),
        }
        save_checkpoint(tmp_path / "m", tensors)
        root = parse(render(tmp_path / "m"))
        listed = [item.text for item in root.one("section", id="suspicious").all("li")]
        assert listed == [
            "b/all_nan 4 NaN of 4 elements",
            "a/nan 1 NaN of 3 elements",
            "c/inf 1 infinite of 2 elements",
            "e/equal value 7 of 5 elements",
            "d/zero value 0 of 30 elements",
        ]
        rows = table_of(root)
        assert rows["a/nan"][3:] == ["1", "3", "2", "1", "", "1", "", ""]
        assert rows["g/complex"][5:7] == ["2+1j", "1.414"]
        assert rows["h/int4"][0] == "int4"
        assert rows["i/empty"][3:] == rows["j/text"][3:] == [""] * 8

    def test_chosen_tensors_under_new_names(self) -> None:
        root = parse(render(VGG.path, {"new<name>": FC6, "step": "global_step"}))
        assert list(table_of(root)) == ["new<name>", "step"]
        assert facts_of(root)["tensors"] == "2 of 34; the others were not selected"


class TestDamage:
    def test_a_changed_byte(self, tmp_path: Path) -> None:
        prefix = copy_case("tf-1.15.5/vgg_16", tmp_path)
        with open_checkpoint(prefix) as ckpt:
            info = ckpt.info(FC6)
        flip_bit(info.file, info.offset)
        for sources, name in ((None, FC6), ({"renamed": FC6}, "renamed")):
            root = parse(render(prefix, sources))
            verdict = root.one("p", class_="verdict bad").text
            assert verdict == f"Damaged: 1 of {34 if sources is None else 1} tensor" + (
                "s." if sources is None else "."
            )
            (cause,) = root.one("section", id="damage").all("li")
            facts = facts_of(root, "damage")
            assert facts["where"] == f"model.ckpt.data-00000-of-00001, byte {info.offset:,}"
            assert facts["lost"] == f"1 tensor, 13.8 KiB: {name}"
            assert "checksum" in cause.text
            assert table_of(root)[name][3:] == [""] * 8
            assert root.one("table", id="table").all("b")[0].text == "damaged"
            assert str(tmp_path) not in root.text

    def test_the_parameters_of_a_url_are_not_shown(self) -> None:
        url = "https://host/run/m.npz?signature=secret"
        error = CorruptCheckpointError("damaged", file=url, found="https://host/run/m.npz")
        root = parse("".join(page.render(examination.examine_unreadable(url, error), "1")))
        assert facts_of(root, "damage") == {"where": "m.npz", "found": "m.npz"}
        assert "host" not in root.one("body").all("header")[0].text

    def test_the_folder_is_not_removed_from_names(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The same checkpoint in two folders gives the same page."""
        monkeypatch.chdir(tmp_path)
        names = ["/w", "layer/kernel", "r/r/b"]
        pages = set()
        for folder in ("r/", "./", "", "other/r/", f"{tmp_path}/r/"):
            save_checkpoint(f"{folder}m", {name: np.ones(20) for name in names}, overwrite=True)
            for offset in (0, 160, 320):
                flip_bit(f"{folder}m.data-00000-of-00001", offset)
            pages.add(render(f"{folder}m"))
        root = parse(pages.pop())
        assert not pages
        lost = [cause.all("dd")[-1].text for cause in root.one("section", id="damage").all("li")]
        assert lost == [f"1 tensor, 160 B: {name}" for name in names]

    @pytest.mark.parametrize(
        ("path", "found", "shown"),
        [
            ("a/m", "a/m.index and 'a/n', a/a/b of data/m", "m.index and 'n', a/b of data/m"),
            ("/home/alice/m", 'the link "/home/alice/m"', 'the link "m"'),
            ("/m", "the tensor '/w'", "the tensor '/w'"),
            ("./m", "the tensor './w' of ../m", "the tensor './w' of ../m"),
            ("../m", "the tensor '../w'", "the tensor '../w'"),
            ("gs://b/m?k=1", "Error: gs://b/m.index?k=1 'gs://b/n?k'", "Error: m.index 'n'"),
        ],
        ids=["relative", "absolute", "root", "dot", "dots", "url"],
    )
    def test_the_folder_is_removed_from_paths(self, path: str, found: str, shown: str) -> None:
        error = CorruptCheckpointError(found, file=path, expected=found, found=found)
        root = parse("".join(page.render(examination.examine_unreadable(path, error), "1")))
        assert facts_of(root, "damage") == {"where": "m", "expected": shown, "found": shown}
        assert root.one("section", id="damage").one("strong").text == shown

    @pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
    def test_the_folders_of_a_link_are_not_shown(self, tmp_path: Path) -> None:
        save_checkpoint(tmp_path / "run" / "m", {"w": np.ones(3)})
        data = tmp_path / "run" / "m.data-00000-of-00001"
        data.rename(tmp_path / "data")
        data.symlink_to(tmp_path / "data")
        with open_checkpoint(tmp_path / "run" / "m", confined=True) as ckpt:
            text = "".join(page.render(examine(ckpt), "1"))
        facts = facts_of(parse(text), "damage")
        assert facts == {"where": data.name, "lost": "1 tensor, 24 B: w"}
        assert str(tmp_path) not in text

    def test_a_missing_file_is_one_cause(self) -> None:
        root = parse(render(FIXTURES / "tf-1.15.5/train_damaged/no_data"))
        (cause,) = root.one("section", id="damage").all("li")
        assert facts_of(root, "damage") == {
            "where": "no_data.data-00000-of-00001",
            "expected": "shard 0 of 1 beside the index",
            "found": "no such file",
            "lost": "3 tensors, 72 B: layer_0/weights, layer_1/weights, layer_2/weights",
        }
        assert cause.one("strong").text == "this data file is missing"
        assert list(facts_of(root)["tensors"]) == ["3"]

    def test_a_damaged_index(self, tmp_path: Path) -> None:
        """The tensors in its other blocks are shown."""
        prefix = tmp_path / "m"
        save_checkpoint(prefix, {f"{i:05}/{'x' * 90}": np.float32([i]) for i in range(9000)})
        index = Path(f"{prefix}.index")
        flip_bit(index, index.stat().st_size // 2)
        root = parse(render(prefix))
        verdict = root.one("p", class_="verdict bad").text
        assert verdict == "Damaged: the index, so that other tensors may be lost."
        num_found = int(facts_of(root)["tensors"].replace(",", ""))
        assert 1000 < num_found < 9000
        assert len(table_of(root)) == min(num_found, page.MOST_ROWS)

    def test_no_checksums_is_not_intact(self, tmp_path: Path) -> None:
        save(tmp_path / "m.safetensors", {"a": np.arange(3)})
        verdict = parse(render(tmp_path / "m.safetensors")).one("p", class_="verdict unknown").text
        expected = "No damage found. There is no checksum to compare for 1 of 1 tensor."
        assert verdict == expected

    def test_many_causes_are_cut(self, tmp_path: Path) -> None:
        save_checkpoint(tmp_path / "m", {f"t{i}": np.full(8, i) for i in range(100)})
        data = tmp_path / "m.data-00000-of-00001"
        data.write_bytes(bytes(data.stat().st_size))
        root = parse(render(tmp_path / "m"))
        damage = root.one("section", id="damage")
        assert len(damage.all("li")) == page.MOST_CAUSES
        assert f"{99 - page.MOST_CAUSES} causes more are not shown." in damage.text


HOSTILE = {
    "script": "<script>alert(1)</script>",
    "closing": '"></title></style></script><img src=x onerror=alert(1)>',
    "attribute": "' onclick='alert(1)' x=\"",
    "entity": "&lt;b&gt;&amp;",
    "comment": "--><!-- ]]> <?php",
    "control": "a\x00b\x1b[31mc\r\n\t\x7f\x9b",
    "bidi": "\u202egpj.exe\u2066\u200f\u061c",
    "invisible": "\ufeff\u200b\u2028\u2029\U000e0041",
    "not UTF-8": b"\xff\xfe/\xed\xa0\x80".decode("utf-8", "surrogateescape"),
    "long": "y" * 20_000,
    "wide": "層" * 300,
    "template": "{{7*7}}${7*7}%(a)s{0}",
    "url": "javascript:alert(1)//",
    "slashes": "//../<i>/" * 20,
}


class TestHostile:
    @pytest.mark.parametrize("kind", HOSTILE)
    @pytest.mark.parametrize("place", ["{}", "scope/{}", "{}/tensor", "{}/{}/{}"])
    def test_names(self, kind: str, place: str, tmp_path: Path) -> None:
        name = place.format(*[HOSTILE[kind]] * 3)
        tensors = {name: np.full(100, np.nan, "f4"), name + "2": np.zeros(9), "z": np.ones(4)}
        save_checkpoint(tmp_path / "m", tensors)
        text = render(tmp_path / "m")
        root = parse(text)
        assert len(text) < 60_000
        (shown, _, _) = sorted(table_of(root), key=lambda each: each == "z")
        if len(name) <= 300:
            assert printable(name) in table_of(root)
        else:
            assert shown.startswith(printable(name[:100]))
            assert f"({len(name):,} letters)" in shown

    @pytest.mark.parametrize("kind", HOSTILE)
    def test_damage(self, kind: str, tmp_path: Path) -> None:
        save_checkpoint(tmp_path / "m", {HOSTILE[kind]: np.arange(9)})
        flip_bit(tmp_path / "m.data-00000-of-00001", 3)
        root = parse(render(tmp_path / "m"))
        assert "1 tensor, 72 B" in facts_of(root, "damage")["lost"]

    @pytest.mark.parametrize("kind", sorted(HOSTILE.keys() - {"not UTF-8"}))
    def test_metadata(self, kind: str, tmp_path: Path) -> None:
        text = HOSTILE[kind]
        save(tmp_path / "m.safetensors", {"a": np.ones(2)}, metadata={text: text})
        root = parse(render(tmp_path / "m.safetensors"))
        if len(text) <= 200:
            assert facts_of(root)[printable(text)] == printable(text)

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no such names of files")
    def test_a_path(self, tmp_path: Path) -> None:
        name = "<script>&\u202e\x1b.ckpt"
        save_checkpoint(tmp_path / name, {"a": np.ones(2)})
        assert parse(render(tmp_path / name)).one("h1").text == printable(name)


class TestLimits:
    def test_a_hundred_thousand_tensors(self) -> None:
        name = "encoder/layer_{0}/attention/query/kernel_{1}"
        rows = [
            Row(name.format(i % 977, i), None, "float32", (4,), 4, 4 + i % 9, None, None,
                "damaged" if i == 17 else "intact", "weight")
            for i in range(100_000)
        ]  # fmt: skip
        text = render_rows(rows)
        root = parse(text)
        assert len(text) < 3_000_000
        assert facts_of(root)["tensors"] == "100,000"
        table = table_of(root)
        assert len(table) == page.MOST_ROWS
        assert rows[17].name in table
        sizes = {row.name: row.nbytes for row in rows}
        assert min(sizes[name] for name in table if name != rows[17].name) == 12
        note = "The table has the 5,000 largest of 100,000 tensors"
        assert note in root.one("section", id="tensors").text

    def test_rows_may_be_asked_for(self) -> None:
        rows = [
            Row(f"t{i}", None, "float32", (i,), i, i, None, None, "intact", None)
            for i in range(1, 9)
        ]
        assert list(table_of(parse(render_rows(rows, 3)))) == ["t6", "t7", "t8"]
        assert len(table_of(parse(render_rows(rows, 8)))) == 8

    def test_no_map_of_tensors_that_are_too_small_to_be_drawn(self) -> None:
        rows = [
            Row(f"a/{i}", None, "float32", (1,), 1, 4, None, None, "intact", None)
            for i in range(6000)
        ]
        assert parse(render_rows(rows)).all("section", id="map") == []
        assert len(parse(render_rows(rows[:100])).one("section", id="map").all("svg")) == 2

    def test_long_names_in_all_rows(self) -> None:
        rows = [
            Row(f"{i}{'/' if i % 2 else 'x'}" * 20_000, None, "float32", (1,), 1, 4, None, None,
                "intact", None)
            for i in range(300)
        ]  # fmt: skip
        text = render_rows(rows)
        parse(text)
        assert len(text) < 1_500_000

    def test_scopes_are_the_largest(self) -> None:
        rows = [
            Row(f"{i}/x/{j}/w", None, "float32", (1,), 1, 4 * (i + 1), None, None, "intact", None)
            for i in range(100)
            for j in range(30)
        ]
        root = parse(render_rows(rows))
        shown = [node.text for node in root.one("section", id="scopes").all("code")]
        assert len(shown) == page.MOST_SCOPES
        assert {f"{i}/x" for i in range(2, 100)} <= set(shown)
        assert "30 smaller scopes" in root.one("section", id="scopes").text

    def test_histograms_of_the_largest(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(examination, "MOST_HISTOGRAMS", 2)
        with open_checkpoint(VGG.path) as ckpt:
            rows = [row for row in examine(ckpt).rows if row.histogram is not None]
        assert FC6 in [row.name for row in rows]
        assert len(rows) == 2

    @pytest.mark.parametrize("mmap", [True, False], ids=["mmap", "pread"])
    def test_memory_does_not_grow_with_the_tensors(self, mmap: bool, tmp_path: Path) -> None:
        large = np.random.default_rng(0).normal(size=16 << 20).astype("f4")  # 64 MiB
        save_checkpoint(tmp_path / "m", {"large": large}, sync=False)
        with open_checkpoint(tmp_path / "m", mmap=mmap) as ckpt:
            tracemalloc.start()
            try:
                (row,) = examine(ckpt).rows
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
        assert row.histogram is not None
        assert sum(row.histogram.counts) == large.size
        assert peak < large.nbytes / 2

    def test_the_default_of_the_command(self) -> None:
        parser = argparse.ArgumentParser()
        report_command.add_arguments(parser)
        assert parser.parse_args(["a", "-o", "b.html"]).rows == page.MOST_ROWS


def render_rows(rows: list[Row], most_rows: int = page.MOST_ROWS) -> str:
    found = Examination(
        "model.ckpt", "", Facts("format", ()), rows, StatsReport({}).total,
        VerifyReport((), len(rows), 0, ()), len(rows),
    )  # fmt: skip
    return "".join(page.render(found, "1", most_rows))


@pytest.mark.parametrize(
    ("path", "folder", "title"),
    [
        ("/home/alice/secret/model.ckpt-200", "/home/alice/secret/", "model.ckpt-200"),
        ("model.ckpt", "", "model.ckpt"),
        ("/data/big/variables/variables", "/data/", "big/variables/variables"),
        ("gs://bucket/run/m.ckpt", "gs://bucket/run/", "m.ckpt"),
        ("https://host/m.npz?key=secret&a=/b", "https://host/", "m.npz"),
        ("run/m.keras/", "run/", "m.keras"),
        ("C:\\Users\\alice\\m.npz", "C:/Users/alice/", "m.npz"),
    ],
    ids=["path", "name", "saved model", "bucket", "web", "slash", "windows"],
)
def test_the_page_shows_the_last_part_of_a_path(path: str, folder: str, title: str) -> None:
    assert last_part(path) == (folder, title)
