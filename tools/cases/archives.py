"""Archives of other fixtures, in the layouts of well-known downloads, made by standard tools.

These read fixtures of other cases, so they are made after them.  A checkpoint in an archive has the
names and values of the case that it was copied from.
"""

import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import zipfile

from harness.answers import FIXTURES

TIME = 1500000000
VGG = "tf-1.15.5/vgg_16"
V1 = "tf-1.15.5/v1_vgg_16"
HUB = "tf-1.15.5/hub_module"

PARTS = (".index", ".data-00000-of-00001", ".meta")

TAR = ["tar", "--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mode=a+rX,u+w,go-w"]


def copy(case, name, folder, to):
    """Copy a file of another case."""
    target = os.path.join(folder, to)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    shutil.copyfile(os.path.join(FIXTURES, case, name), target)


def write(folder, name, contents):
    """Write a text file."""
    with open(os.path.join(folder, name), "w") as stream:
        stream.write(contents)


def run(command, folder, output=None):
    """Run a tool in a folder whose files all have the same time."""
    for directory, _, names in os.walk(folder):
        for name in [".", *names]:
            os.utime(os.path.join(directory, name), (TIME, TIME))
    environment = {**os.environ, "TZ": "UTC"}  # zip stores local times
    with open(output or os.devnull, "wb") as stream:
        subprocess.run(command, cwd=folder, stdout=stream, check=True, env=environment)


def bert(folder):
    """BERT: a folder with a checkpoint, a vocabulary and the sizes of the model."""
    top = "uncased_L-2_H-128_A-2"
    for part in PARTS:
        copy(VGG, "model.ckpt" + part, folder, top + "/bert_model.ckpt" + part)
    write(folder, top + "/vocab.txt", "[PAD]\n[UNK]\n[CLS]\n")
    write(folder, top + "/bert_config.json", '{"hidden_size": 128}\n')
    return top + "/bert_model.ckpt"


def detection(folder):
    """The detection zoo: a state file, a checkpoint, a frozen graph and a SavedModel."""
    top = "ssd_vgg_2018_01_28"
    for name in ("checkpoint", *("model.ckpt" + part for part in PARTS)):
        copy(VGG, name, folder, top + "/" + name)
    copy(HUB, "saved_model/saved_model.pb", folder, top + "/saved_model/saved_model.pb")
    copy(HUB, "saved_model/saved_model.pb", folder, top + "/frozen_inference_graph.pb")
    write(folder, top + "/pipeline.config", "model {}\n")
    return top + "/model.ckpt"


def members(folder):
    """Yield name and contents of each file of a folder."""
    for directory, _, names in sorted(os.walk(folder)):
        for name in sorted(names):
            path = os.path.join(directory, name)
            with open(path, "rb") as stream:
                yield os.path.relpath(path, folder), stream.read()


def first_line(command):
    """Return what a tool says about its version."""
    lines = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout.decode().splitlines()
    return next(line for line in lines if any(map(str.isdigit, line)))


def archives():
    """Checkpoints in archives of tar, zip, and Python's tarfile and zipfile."""
    made = os.getcwd()
    answers = []

    def record(name, case, inside, made_by):
        answers.append({"archive": name, "case": case, "inside": inside, "made_by": made_by})

    tar, info_zip = first_line(["tar", "--version"]), first_line(["zip", "-v"])
    with tempfile.TemporaryDirectory() as folder:
        inside = bert(folder)
        name = "uncased_L-2_H-128_A-2.zip"
        run(["zip", "-q", "-X", "-r", os.path.join(made, name), "."], folder)
        record(name, VGG, inside, info_zip)
        name = "streamed.zip"  # the sizes are in data descriptors
        run(["zip", "-q", "-X", "-r", "-fd", "-", "."], folder, os.path.join(made, name))
        record(name, VGG, inside, info_zip)
        name = "stored.zip"
        with zipfile.ZipFile(name, "w") as archive:
            for member, contents in members(folder):
                info = zipfile.ZipInfo(member, (2017, 7, 14, 2, 40, 0))
                with archive.open(info, "w", force_zip64=True) as stream:
                    stream.write(contents)
        record(name, VGG, inside, "Python's zipfile")
        name = "pax.tar.gz"
        with tarfile.open(name, "w:gz", format=tarfile.PAX_FORMAT) as archive:
            for member, contents in members(folder):
                info = tarfile.TarInfo(f"{'long' * 40}/ünïcode/{member}")
                info.size, info.mtime = len(contents), TIME + 0.5
                archive.addfile(info, io.BytesIO(contents))
        record(name, VGG, f"{'long' * 40}/ünïcode/{inside}", "Python's tarfile")
    with tempfile.TemporaryDirectory() as folder:
        copy(V1, "model.ckpt", folder, "vgg_16.ckpt")
        name = "vgg_16_2016_08_28.tar.gz"
        run([*TAR, "-czf", os.path.join(made, name), "vgg_16.ckpt"], folder)
        record(name, V1, "vgg_16.ckpt", tar)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(os.path.join(FIXTURES, HUB, "saved_model"), os.path.join(folder, "hub"))
        made_as = {"hub_module.tar.gz": ["-czf"], "hub_gnu.tar": ["--format=gnu", "-cf"]}
        for name, options in made_as.items():
            run([*TAR, *options, os.path.join(made, name), "-C", "hub", "."], folder)
            record(name, HUB, "variables/variables", tar)
    with tempfile.TemporaryDirectory() as folder:
        inside = detection(folder)
        name = "ssd_vgg_2018_01_28.tgz"
        run([*TAR, "-czf", os.path.join(made, name), "."], folder)
        record(name, VGG, inside, tar)
    with open("archives.json", "w") as stream:
        json.dump({"answers": answers}, stream, indent=1)
