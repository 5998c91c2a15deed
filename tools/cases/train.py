"""What the reading half of tf.train answers, asked of the fixtures.

These read fixtures of other cases, so they are made after them.
"""

import os
import pathlib
import shutil

import numpy as np
import tensorflow

from harness import answers, ops, oracle, table, values
from harness.answers import FIXTURES

tf = getattr(tensorflow.compat, "v1", tensorflow)


def fixture(name, path=oracle.PREFIX):
    """What to open of another case."""
    return os.path.join(FIXTURES, name, path)


GLOB = "model.ckpt-?????-of-00003"

OPENED = {
    "dtypes": fixture("tf-2.21.0/dtypes"),
    "strings": fixture("tf-2.21.0/strings"),
    "slices": fixture("tf-2.21.0/slices"),
    "slices_dtypes": fixture("tf-2.21.0/slices_dtypes"),
    "slices_missing": fixture("tf-2.21.0/slices_missing"),
    "names": fixture("tf-2.21.0/names"),
    "names_not_utf8": fixture("tf-2.21.0/names_not_utf8"),
    "sharded_variable": fixture("tf-2.21.0/sharded_variable"),
    "keras_checkpoint": fixture("tf-2.21.0/keras_checkpoint"),
    "variants": fixture("tf-2.21.0/variants"),
    "header_only": fixture("tf-2.21.0/header_only"),
    "zero_elements_only": fixture("tf-2.21.0/zero_elements_only"),
    "single_scalar": fixture("tf-2.21.0/single_scalar"),
    "partitioned_variables": fixture("tf-1.15.5/partitioned_variables"),
    "vgg_16": fixture("tf-1.15.5/vgg_16"),
    "v1_dtypes": fixture("tf-1.15.5/v1_dtypes"),
    "v1_vgg_16": fixture("tf-0.12.1/v1_vgg_16"),
    "v1_sharded": fixture("tf-1.15.5/v1_sharded", GLOB),
    "v1_slices": fixture("tf-0.12.1/v1_slices"),
    "v1_and_v2": fixture("tf-2.21.0/v1_and_v2"),
    "v1_missing_shard": fixture("tf-2.21.0/v1_missing_shard", GLOB),
    "v1_newer_version": fixture("tf-2.21.0/v1_newer_version"),
    "newer_version": fixture("tf-2.21.0/newer_version"),
}

# The first slice of "rows" in the slices cases, as its key in V2.
SLICE_KEY = b"\x00rows\x00\x01\x01\x02\x80\x83\x80\x7f"


def train_listing():
    """list_variables, the maps of a reader, its debug_string, and what a tf.DType is like."""
    recorder = answers.Recorder()
    for name, path in OPENED.items():
        if name not in ("names", "dtypes"):  # long, and as in their expected.json
            recorder.ask("list_variables", path)
    for name in ("single_scalar", "sharded_variable", "partitioned_variables", "v1_sharded"):
        recorder.ask("load_checkpoint", OPENED[name])
        recorder.ask("NewCheckpointReader", OPENED[name])
        recorder.ask_reader(OPENED[name], "get_variable_to_shape_map")
        recorder.ask_reader(OPENED[name], "get_variable_to_dtype_map")
        recorder.ask_reader(OPENED[name], "debug_string")
    for name in ("slices_dtypes", "v1_slices"):
        recorder.ask_reader(OPENED[name], "get_variable_to_dtype_map")
    for name in ("header_only", "strings", "names_not_utf8", "v1_slices", "v1_and_v2", "vgg_16"):
        recorder.ask_reader(OPENED[name], "debug_string")
    recorder.ask_reader(OPENED["names_not_utf8"], "get_variable_to_shape_map")
    recorder.ask_reader(OPENED["names_not_utf8"], "get_variable_to_dtype_map")
    reader = tf.train.NewCheckpointReader(OPENED["slices_dtypes"])
    dtypes = {d.name: d for d in reader.get_variable_to_dtype_map().values()}
    for name in sorted(dtypes):
        facts = answers.dtype_facts(dtypes[name])
        recorder.answers.append({"function": "DType", "arguments": [name], "result": facts})
    recorder.save()


def train_tensors():
    """has_tensor, get_tensor and load_variable: types, flags, and what is refused."""
    recorder = answers.Recorder()
    for case in ("dtypes", "v1_dtypes"):
        reader = tf.train.NewCheckpointReader(OPENED[case])
        for name in sorted(reader.get_variable_to_shape_map()):
            kinds = ("scalar", "vector")
            if name.startswith(("float32/", "string/", "bfloat16/", "uint4/")):
                kinds = ("scalar", "matrix", "empty", "empty_3_0_2")
            if name.split("/")[1] in kinds:
                recorder.ask_reader(OPENED[case], "get_tensor", name)
    for name in ("scalar", "scalar_empty", "matrix", "cube", "empty_strings", "zero_elements_0_4"):
        recorder.ask_reader(OPENED["strings"], "get_tensor", name)
    for name in ("rows", "cube", "scalar", "zzz/scalar", "whole"):
        recorder.ask_reader(OPENED["slices"], "get_tensor", name)
        recorder.ask_reader(OPENED["v1_slices"], "get_tensor", name)
    for name in ("float16", "string", "bfloat16", "float32", "uint16"):
        recorder.ask_reader(OPENED["slices_dtypes"], "get_tensor", name)
    for name in ("first", "good"):
        recorder.ask_reader(OPENED["slices_missing"], "get_tensor", name)
    for case, name in (
        ("variants", None),
        ("v1_sharded", "partitioned"),
        ("v1_sharded", "global_step"),
        ("v1_missing_shard", "on_cpu_1"),
        ("v1_missing_shard", "partitioned"),
        ("v1_and_v2", "both/scalar"),
        ("v1_and_v2", "v1/only"),
        ("v1_and_v2", "v2/only"),
        ("partitioned_variables", "embedding/weights"),
        ("partitioned_variables", "embedding/weights/part_0"),
        ("partitioned_variables", "beta1_power"),
        ("sharded_variable", "embedding/.ATTRIBUTES/VARIABLE_VALUE"),
        ("sharded_variable", "_CHECKPOINTABLE_OBJECT_GRAPH"),
        ("names_not_utf8", "plain"),
        ("names_not_utf8", b"\xff\xfe"),
    ):
        if name is None:
            name = sorted(tf.train.NewCheckpointReader(OPENED[case]).get_variable_to_shape_map())[0]
        recorder.ask_reader(OPENED[case], "get_tensor", name)
        recorder.ask("load_variable", OPENED[case], name)
    for case, present in (("slices", "rows"), ("v1_slices", "rows"), ("names", "colon:0")):
        names = [present, present.encode(), present + ":0", present + ":1", present + ":", ""]
        names += [SLICE_KEY, b"\xff", "colon", "absent", "absent:0", present[:-1], None]
        for name in names:
            recorder.ask_reader(OPENED[case], "has_tensor", name)
            recorder.ask_reader(OPENED[case], "get_tensor", name)
            recorder.ask("load_variable", OPENED[case], name)
    for case in ("vgg_16", "v1_vgg_16", "v1_sharded"):
        for name in ("global_step", "global_step:0", "absent", ""):
            recorder.ask_reader(OPENED[case], "has_tensor", name)
            recorder.ask("load_variable", OPENED[case], name)
    recorder.ask("load_variable", os.path.dirname(OPENED["vgg_16"]), "global_step")
    recorder.save()


def train_paths():
    """What a path may be: prefixes, directories, single files, shards, globs, and nothing there."""
    write_run("run", steps=(1, 2))
    write_run("other name", steps=(5,), latest_filename="latest")
    write_prefix("slash/")
    write_prefix("br[1]ack")
    write_unrelated("nothing")
    shutil.copytree(fixture("tf-2.21.0/v1_and_v2", ""), "both", ignore=only_the_checkpoint)
    shutil.copytree(fixture("tf-1.15.5/v1_sharded", ""), "v1", ignore=only_the_checkpoint)
    recorder = answers.Recorder()
    folder = os.getcwd()
    relative = [
        *("run/model.ckpt-1", "run/model.ckpt-2", "run", "run/", "./run", "run/checkpoint"),
        *("run/model.ckpt-2.index", "run/model.ckpt-2.data-00000-of-00001"),
        *("run/model.ckpt-2.meta", "run/model.ckpt-3", "run/model.ckpt-*", "run/model.ckpt-?"),
        *("run/../run/model.ckpt-2", "run//model.ckpt-2", "r*n/model.ckpt-2", "slash/", "slash"),
        *("br[1]ack", "other name", "other name/model.ckpt-5", "nothing", "nothing/"),
        *("nothing/model.ckpt", "not/there", "", ".", "both/model.ckpt", "both"),
        *("v1/model.ckpt", "v1/" + GLOB, "v1/model.ckpt-00000-of-00003", "v1", "v1/model.ckpt-*"),
        "v1/model.ckpt-?????-of-00004",
    ]
    paths = relative[:3] + ["", "."] + [os.path.join(folder, path) for path in relative if path]
    paths += [pathlib.Path("run", "model.ckpt-2"), pathlib.Path("run"), b"run/model.ckpt-2"]
    for path in paths:
        recorder.ask("checkpoint_exists", path)
        recorder.ask("latest_checkpoint", path)
        recorder.ask("get_checkpoint_state", path)
        recorder.ask("NewCheckpointReader", path)
        if recorder.ask("load_checkpoint", path):
            recorder.ask("list_variables", path)
    for filename in ("latest", "checkpoint", "absent"):
        recorder.ask("latest_checkpoint", "other name", latest_filename=filename)
        recorder.ask("get_checkpoint_state", "other name", latest_filename=filename)
    recorder.ask("latest_checkpoint", os.path.join(folder, "other name"), "latest")
    recorder.save()


def only_the_checkpoint(_, names):
    """What copytree shall leave out."""
    return [name for name in names if name.startswith("expected") or name.endswith(".meta")]


def train_damaged():
    """Damaged and foreign files: what opening and reading them raises."""
    ops.save_arrays(
        "good",
        {f"layer_{n}/weights": ("float32", values.random((2, 3), seed=n)) for n in range(3)},
    )
    ops.save_arrays_v1(
        "good_v1",
        {f"layer_{n}/weights": ("float32", values.random((2, 3), seed=n)) for n in range(3)},
    )
    index, data = contents("good.index"), contents("good.data-00000-of-00001")
    for name, changed in (
        ("empty_index", b""),
        ("short_index", index[:-20]),
        ("half_index", index[: len(index) // 2]),
        ("tiny_index", index[:30]),
        ("bad_magic", index[:-1] + b"\x00"),
        ("bad_data_block", flipped(index, 12)),
        ("bad_index_block", flipped(index, len(index) - 48 - 10)),
        ("bad_handle", index[:-48] + b"\xff" * 20 + index[-28:]),
        ("not_found_text", b"404: Not Found"),
        ("lfs_pointer", b"version https://git-lfs.github.com/spec/v1\nsize 12345\n"),
        ("saved_as_text", index.decode("utf-8", "replace").encode("utf-8")),
    ):
        write(name + ".index", changed)
        write(name + ".data-00000-of-00001", data)
    for name, changed in (
        ("no_data", None),
        ("empty_data", b""),
        ("short_data", data[:-4]),
        ("bad_checksum", flipped(data, len(data) - 2)),
    ):
        write(name + ".index", index)
        if changed is not None:
            write(name + ".data-00000-of-00001", changed)
    # Three blocks, of which the second is damaged.
    blocks = table.encode_table(table.decode_table(index), num_blocks=3)
    write("bad_middle_block.index", flipped(blocks, table.block_starts(blocks)[1] + 5))
    write("bad_middle_block.data-00000-of-00001", data)
    file = contents("good_v1")
    blocks = table.encode_table(table.decode_table(file), num_blocks=3)
    for name, changed in (
        ("v1_bad_middle_block", flipped(blocks, table.block_starts(blocks)[1] + 5)),
        ("v1_empty", b""),
        ("v1_half", file[: len(file) // 2]),
        ("v1_bad_magic", file[:-1] + b"\x00"),
        ("v1_bad_data_block", flipped(file, 100)),
        ("v1_bad_index_block", flipped(file, len(file) - 48 - 10)),
        ("v1_not_found_text", b"404: Not Found"),
        ("v1_numpy", b"\x93NUMPY\x01\x00"),
    ):
        write(name, changed)
    recorder = answers.Recorder()
    folder = os.getcwd()
    names = {name.split(".")[0] for name in os.listdir(".")}
    for name in sorted(names):
        path = os.path.join(folder, name)
        recorder.ask("checkpoint_exists", path)
        if recorder.ask("list_variables", path):
            for layer in range(3):
                recorder.ask_reader(path, "has_tensor", f"layer_{layer}/weights")
                recorder.ask_reader(path, "get_tensor", f"layer_{layer}/weights")
            recorder.ask("load_variable", path, "layer_2/weights")
    recorder.save()


def train_iterator():
    """checkpoints_iterator on a clock of its own: what it yields, how long it sleeps, its end."""
    recorder = answers.Recorder()
    write_unrelated("empty")
    write_run("two", steps=(1, 2))
    write_run("growing", steps=(1, 2, 3))
    iterate(recorder, "empty", timeout=0)
    iterate(recorder, "empty", timeout=3)
    iterate(recorder, "not/there", timeout=2)
    iterate(recorder, "two", timeout=0)
    iterate(recorder, "two", timeout=1)
    iterate(recorder, "two", timeout=2.5)
    iterate(recorder, "two", timeout=3, min_interval_secs=10)
    iterate(recorder, "two", timeout=3, give_up=[True])
    iterate(recorder, "two", timeout=3, give_up=[False, False, True])
    iterate(recorder, "empty", timeout=2, give_up=[False, True])
    for interval in (0, 5):
        events = {1: 2, 4: 3}  # the second checkpoint is named during the first sleep, ...
        iterate(recorder, "growing", timeout=4, min_interval_secs=interval, events=events)
    iterate(recorder, "growing", stop_after=2, events={2: 3})
    recorder.save()


def iterate(recorder, folder, give_up=None, stop_after=100, events=None, **keywords):
    """Record one run of checkpoints_iterator.

    give_up: what timeout_fn returns, call after call.
    events: {number of a sleep: the step whose checkpoint the state file names from then on}.
    """
    step_at = events or {}
    if step_at:
        name_latest(folder, 1)
    remaining = list(give_up or [])
    calls = []

    def timeout_fn():
        calls.append(remaining.pop(0))
        return calls[-1]

    clock = answers.Clock(
        {number: lambda step=step: name_latest(folder, step) for number, step in step_at.items()}
    )
    question = {
        "function": "checkpoints_iterator",
        "arguments": [folder],
        "keywords": dict(keywords),
        "state_file": {"before": 1, "after_sleep": step_at} if step_at else None,
        "timeout_fn": give_up,
        "stop_after": stop_after,
    }
    if give_up is not None:
        keywords["timeout_fn"] = timeout_fn
    with clock:
        recorder.record(
            question,
            lambda: answers.take(tf.train.checkpoints_iterator(folder, **keywords), stop_after),
        )
    question["sleeps"] = clock.sleeps
    question["timeout_fn_calls"] = len(calls)


def name_latest(folder, step):
    """Make the state file name the checkpoint of a step."""
    tf.train.update_checkpoint_state(folder, os.path.join(folder, f"model.ckpt-{step}"))


def write_run(folder, steps, latest_filename=None):
    """A folder with a V2 checkpoint per step and a state file that names the last."""
    os.mkdir(folder)
    paths = [os.path.join(folder, f"model.ckpt-{step}") for step in steps]
    for step, path in zip(steps, paths):
        tensors = {"a": ("float32", np.float32(step)), "global_step": ("int64", np.int64(step))}
        ops.save_arrays(path, tensors)
    tf.train.update_checkpoint_state(folder, paths[-1], paths, latest_filename)


def write_unrelated(folder):
    """A folder with no checkpoint; one that is quite empty would get lost in git."""
    os.mkdir(folder)
    write(os.path.join(folder, "unrelated.txt"), b"not a checkpoint\n")


def write_prefix(path):
    """A V2 checkpoint whose prefix is odd."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    ops.save_arrays(path, {"a": ("float32", np.float32(1.5))})


def flipped(data, position):
    """The same with one byte changed."""
    return data[:position] + bytes([data[position] ^ 0x55]) + data[position + 1 :]


def contents(path):
    return pathlib.Path(path).read_bytes()


def write(path, data):
    pathlib.Path(path).write_bytes(data)
