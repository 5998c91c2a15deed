"""State files as TensorFlow writes them: the text of each, and the files beside it."""

import os
import shutil
import time

import tensorflow

from harness import oracle

tf = getattr(tensorflow.compat, "v1", tensorflow)

# What comes after the directory in a prefix: every kind of letter that the text format escapes.
WRITTEN_NAMES = (
    "model.ckpt-1",
    "a name",
    "with 'single' and \"double\" quotes",
    "back\\slash\\n",
    "tab\tnewline\nreturn\r",
    "\x01\x1f\x7f",
    "\u00e8\u6f22\U0001f600",
    "\u0080\u0085\u00ad\u2028\ufeff",
    "sub/ckpt-1",
    "../other/ckpt-1",
    "./ckpt-1",
    "a//b/../ckpt-1",
)

# Times of the two checkpoints of a state, and the time of the last preserved one.
WRITTEN_TIMES = (
    ([], None),
    ([1500000000.0, 1500000060.25], 1499999999.0),
    ([1795163889.9944375, 1795163889.9971669], 1795163888.966639),
    ([0.1 + 0.2, 1e22], 1e-7),
    ([0.0, -1.5], 0.0),
    ([-0.0, 123456789012345680.0], -0.0),
    ([float("inf"), float("-inf")], float("nan")),
    ([1.0], 2.0),
    ([1.0, 2.0, 3.0], 2.0),
)


def written_states():
    """The state files that TensorFlow writes for given paths and times, and while it saves."""
    formatted = [write_state(["run/" + name]) for name in WRITTEN_NAMES]
    for times, preserved in WRITTEN_TIMES:
        formatted.append(write_state(["run/m-1", "run/m-2"], times, preserved))
    formatted.append(write_state(["run/not-utf8-\udcff"]))
    directories = [
        {"writer": writer.__name__, "max_to_keep": most, "steps": writer(most)}
        for writer in (manager_steps, saver_steps)
        for most in (2, None)
    ]
    oracle.write_json("states.json", {"formatted": formatted, "directories": directories})


def write_state(paths, times=(), preserved=None):
    """Write a state file; return what was asked and its text, or the error."""
    os.makedirs("run")
    asked = {"paths": paths, "times": [repr(time) for time in times], "preserved": repr(preserved)}
    try:
        tf.train.update_checkpoint_state(
            "run",
            paths[-1],
            all_model_checkpoint_paths=list(paths),
            all_model_checkpoint_timestamps=list(times),
            last_preserved_timestamp=preserved,
        )
        asked["text"] = read_state("run")
    except Exception as error:
        asked["error"] = type(error).__name__
    shutil.rmtree("run")
    return asked


def manager_steps(max_to_keep):
    """Save with a CheckpointManager, one checkpoint for the second time."""
    with tf.Graph().as_default(), tf.Session() as session:
        value = tf.Variable(0.5)
        checkpoint = tf.train.Checkpoint(value=value)
        manager = tensorflow.train.CheckpointManager(checkpoint, "run", max_to_keep=max_to_keep)
        session.run(value.initializer)
        return directory_steps(lambda step: manager.save(checkpoint_number=step))


def saver_steps(max_to_keep):
    """Save with a Saver of TensorFlow 1, one checkpoint for the second time."""
    os.mkdir("run")
    with tf.Graph().as_default(), tf.Session() as session:
        value = tf.Variable(0.5)
        saver = tf.train.Saver(max_to_keep=max_to_keep)
        session.run(value.initializer)
        return directory_steps(lambda step: saver.save(session, "run/ckpt", global_step=step))


def directory_steps(save):
    """Save and return, for each step, the path, the text of the state file, and the files."""
    steps = []
    for i, step in enumerate((1, 10, 2, 10, 3)):
        now = 1500000000.25 + 60 * i
        time.time = lambda now=now: now
        save(step)
        names = sorted(set(os.listdir("run")) - {"checkpoint"})
        latest = tf.train.latest_checkpoint("run")
        steps.append({"latest": latest, "text": read_state("run"), "names": names})
    shutil.rmtree("run")
    return steps


def read_state(run):
    with open(os.path.join(run, "checkpoint"), "rb") as stream:
        return stream.read().decode("utf-8")
