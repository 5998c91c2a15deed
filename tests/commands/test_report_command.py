"""`ckptparse report`: its options, its output, its exit status, and the file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from ckptparse import open_checkpoint, save_checkpoint
from ckptparse.commands import main
from ckptparse.reporting import examination
from support.builders import write_bundle
from support.damage import copy_case, flip_bit
from support.oracle import FC6, VGG
from support.pages import parse_page
from support.repository import FIXTURES


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]):
    """Run the command: (exit status, standard output, standard error)."""

    def run(*argv: object) -> tuple[int, str, str]:
        try:
            status = main(["report", *map(str, argv)])
        except SystemExit as stop:
            status = stop.code
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def names_in(path: Path) -> list[str]:
    root = parse_page(path.read_text(encoding="utf-8"))
    rows = root.one("table", id="table").one("tbody").all("tr")
    return [row.one("th").children[0] for row in rows]


def test_an_intact_checkpoint(run, tmp_path: Path) -> None:
    page = tmp_path / "new" / "vgg.html"
    status, out, err = run(VGG.path, "-o", page)
    assert (status, err) == (0, "")
    assert out.startswith(f"34 tensors, all intact: saved in {page} (")
    assert names_in(page) == sorted(tensor.name for tensor in VGG.tensors)
    assert os.listdir(page.parent) == ["vgg.html"]


def test_a_damaged_checkpoint_has_a_page_and_status_1(run, tmp_path: Path) -> None:
    prefix = copy_case("tf-1.15.5/vgg_16", tmp_path)
    with open_checkpoint(prefix) as ckpt:
        info = ckpt.info(FC6)
    flip_bit(info.file, info.offset)
    status, out, err = run(prefix, "-o", tmp_path / "vgg.html")
    assert (status, err) == (1, "")
    assert out.startswith("34 tensors, 1 damaged: saved in ")
    assert "Damaged: 1 of 34 tensors." in (tmp_path / "vgg.html").read_text(encoding="utf-8")


def test_a_checkpoint_that_cannot_be_opened_has_a_page(run, tmp_path: Path) -> None:
    prefix = copy_case("tf-1.15.5/vgg_16", tmp_path)
    index = Path(f"{prefix}.index")
    flip_bit(index, index.stat().st_size - 60)  # the index block, which is before the footer
    status, out, err = run(prefix, "-o", tmp_path / "vgg.html")
    assert (status, err) == (1, "")
    assert out.startswith("0 tensors, 1 damaged: ")
    root = parse_page((tmp_path / "vgg.html").read_text(encoding="utf-8"))
    verdict = root.one("p", class_="verdict bad").text
    assert verdict == "Damaged: the checkpoint cannot be opened."
    assert "model.ckpt.index" in root.one("section", id="damage").text
    assert str(tmp_path) not in root.text


def test_choosing_tensors(run, tmp_path: Path) -> None:
    page = tmp_path / "m.html"
    options = "--include", "*/fc?/*", "--exclude", "*/biases", "--rename", "vgg_16/=net/"
    assert run(VGG.path, "-o", page, *options)[0] == 0
    assert names_in(page) == [f"net/fc{i}/weights" for i in (6, 7, 8)]
    status, out, err = run(VGG.path, "-o", tmp_path / "n.html", "--include", "nothing*")
    assert (status, out) == (1, "")
    assert "no tensor of this name or pattern" in err
    assert not (tmp_path / "n.html").exists()


def test_no_choosing_from_a_damaged_index(run, tmp_path: Path) -> None:
    """An entry is damaged, and the names are not, which are all that choosing needs."""
    prefix = write_bundle(
        tmp_path,
        {"a": np.ones(2), "b": np.ones(2)},
        edit=lambda bundle: bundle.index.update({b"b": b"\x0f"}),
    )
    status, out, err = run(prefix, "-o", tmp_path / "m.html", "--include", "b")
    assert (status, out) == (2, "")
    assert "invalid protocol buffer" in err
    assert not (tmp_path / "m.html").exists()


def test_rows(run, tmp_path: Path) -> None:
    assert run(VGG.path, "-o", tmp_path / "m.html", "--rows", 3)[0] == 0
    assert len(names_in(tmp_path / "m.html")) == 3
    status, _, err = run(VGG.path, "-o", tmp_path / "n.html", "--rows", 0)
    assert (status, err) == (2, "ckptparse: --rows 0: expected a number from 1\n")


def test_json(run, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "m", {"é": np.zeros(4), "b": np.float32([np.nan, 1]), "c": 5})
    page = tmp_path / "m.html"
    status, out, _ = run(tmp_path / "m", "-o", page, "--json")
    assert status == 0
    assert out.isascii()
    assert json.loads(out) == {
        "output": str(page),
        "nbytes": page.stat().st_size,
        "ok": True,
        "num_tensors": 3,
        "damaged": [],
        "suspicious": {"b": "NaN", "é": "all zero"},
    }


def test_a_file_is_replaced_only_with_overwrite(
    run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "m.html"
    page.write_text("old")
    with monkeypatch.context() as patch:
        patch.setattr(examination, "examine", None)  # nothing is read before
        status, out, err = run(VGG.path, "-o", page)
    assert (status, out) == (2, "")
    assert "there is a file of this name already" in err
    assert page.read_text() == "old"
    assert run(VGG.path, "-o", page, "--overwrite")[0] == 0
    assert len(names_in(page)) == 34


@pytest.mark.parametrize("name", ["-", "model.ckpt", "page.htm.gz", "html", "x/"])
def test_only_names_of_pages(run, name: str, tmp_path: Path) -> None:
    """So no --overwrite destroys a checkpoint."""
    status, out, err = run(VGG.path, f"--output={name}", "--overwrite")
    assert (status, out) == (2, "")
    assert err == f"ckptparse: -o {name}: expected a name that ends with .html\n"


def test_an_interrupt_leaves_nothing(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(examination._Values, "add", interrupt)
    page = tmp_path / "new" / "m.html"
    assert run(VGG.path, "-o", page) == (130, "", "")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("path", ["no_such", "README.md"])
def test_what_is_no_checkpoint_has_no_page(run, path: str, tmp_path: Path) -> None:
    status, out, err = run(FIXTURES / path, "-o", tmp_path / "m.html")
    assert (status, out) == (2, "")
    assert "Traceback" not in err
    assert os.listdir(tmp_path) == []


def test_urls(run, tmp_path: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    for path in VGG.folder.glob(f"{VGG.prefix.name}.*"):
        fsspec.filesystem("memory").pipe(f"/report/{path.name}", path.read_bytes())
    url = f"memory://report/{VGG.prefix.name}"
    status, out, _ = run(url, "-o", "memory://report/vgg.html")
    assert status == 0
    assert out.startswith("34 tensors, all intact: saved in memory://report/vgg.html (")
    with fsspec.open("memory://report/vgg.html") as file:
        assert file.read().startswith(b"<!DOCTYPE html>")
