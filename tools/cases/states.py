"""State files (`checkpoint`), the directories they describe, and what TensorFlow makes of them."""

import os
import shutil
import time

import numpy as np
import tensorflow

from harness import answers, ops

tf = getattr(tensorflow.compat, "v1", tensorflow)

# A folder that any machine may have: savers write it into their state files. One for each version,
# because they may run at the same time.
TRAINING = "/tmp/training/tf-" + tensorflow.__version__

STEPS = (10, 20, 30, 40, 50)


def managed():
    """CheckpointManager: the last 3 of 5 checkpoints, with the time of each."""
    ticks = iter(range(1000))
    time.time = lambda: 1500000000.25 + 60 * next(ticks)
    checkpoint = tf.train.Checkpoint(value=tf.Variable(0.5), step=tf.Variable(0, dtype=tf.int64))
    manager = tensorflow.train.CheckpointManager(
        checkpoint, "run", max_to_keep=3, keep_checkpoint_every_n_hours=0.15
    )
    for step in STEPS:
        checkpoint.step.assign(step)
        manager.save(checkpoint_number=step)
    recorder = answers.Recorder()
    for run in ("run", os.path.abspath("run")):
        ask_directory(recorder, run)
        for step in STEPS:
            recorder.ask("checkpoint_exists", os.path.join(run, f"ckpt-{step}"))
    ask_text(recorder, "run")
    recorder.save()


def saver_directory():
    """Saver given an absolute path: the state file holds absolute paths, right where it is."""
    run = train("here")
    recorder = answers.Recorder()
    ask_directory(recorder, run)
    for step in STEPS:
        recorder.ask("checkpoint_exists", os.path.join(run, f"model.ckpt-{step}"))
    ask_text(recorder, run)
    recorder.save()
    shutil.move(run, "run")


def saver_directory_moved():
    """Saver given an absolute path, and the folder then moved: no recorded path exists."""
    shutil.move(train("moved_from_here"), "run")
    recorder = answers.Recorder()
    for run in ("run", os.path.abspath("run"), "."):
        ask_directory(recorder, run)
    recorder.save()


def saver_relative():
    """Saver with save_relative_paths=True, and the folder then moved."""
    shutil.move(train("relative", save_relative_paths=True), "run")
    recorder = answers.Recorder()
    for run in ("run", os.path.abspath("run"), "run/"):
        ask_directory(recorder, run)
    ask_text(recorder, "run")
    recorder.save()


def saver_unicode():
    """A prefix that is not ASCII: 1.15.5 writes octal escapes, 2.21.0 writes UTF-8."""
    os.mkdir("run")
    save_steps(os.path.join("run", "mod\u00e8le \u6f22"), steps=(1, 2))
    recorder = answers.Recorder()
    for run in ("run", os.path.abspath("run")):
        ask_directory(recorder, run)
    ask_text(recorder, "run")
    recorder.save()


def latest_filename():
    """A state file with another name than `checkpoint`."""
    os.mkdir("run")
    save_steps(os.path.join("run", "model.ckpt"), steps=(1, 2), latest_filename="latest.state")
    recorder = answers.Recorder()
    ask_directory(recorder, "run")
    for run in ("run", os.path.abspath("run")):
        recorder.ask("get_checkpoint_state", run, latest_filename="latest.state")
        recorder.ask("latest_checkpoint", run, latest_filename="latest.state")
        recorder.ask("get_checkpoint_state", run, "latest.state")
    recorder.save()


def lost_latest():
    """The latest checkpoint was deleted, older ones that the state file names are there."""
    os.mkdir("run")
    save_steps(os.path.join("run", "model.ckpt"), steps=(1, 2, 3))
    for name in os.listdir("run"):
        if name.startswith("model.ckpt-3"):
            os.remove(os.path.join("run", name))
    recorder = answers.Recorder()
    ask_directory(recorder, "run")
    for step in (1, 2, 3):
        recorder.ask("checkpoint_exists", f"run/model.ckpt-{step}")
    recorder.save()


def v1_state():
    """Sharded V1 checkpoints: the state file holds globs."""
    os.mkdir("run")
    save_steps(
        os.path.join("run", "model.ckpt"),
        steps=(1, 2),
        sharded=True,
        write_version=tf.train.SaverDef.V1,
    )
    recorder = answers.Recorder()
    for run in ("run", os.path.abspath("run")):
        ask_directory(recorder, run)
        for path in ("model.ckpt-2", "model.ckpt-2-?????-of-00002", "model.ckpt-1"):
            recorder.ask("checkpoint_exists", os.path.join(run, path))
            recorder.ask("list_variables", os.path.join(run, path))
    ask_text(recorder, "run")
    recorder.save()


M = 'model_checkpoint_path: "model.ckpt-1"\n'
A = 'all_model_checkpoint_paths: "model.ckpt-0"\nall_model_checkpoint_paths: "model.ckpt-1"\n'

# Each is a state file beside model.ckpt-0 and model.ckpt-1.
TEXTS = {
    "plain": M + A,
    "only_model_path": M,
    "only_all_paths": A,
    "other_order": A + M,
    "all_paths_without_model_path": M + 'all_model_checkpoint_paths: "model.ckpt-0"\n',
    "empty": "",
    "only_white_space": " \n\t\n",
    "only_comment": "# nothing\n",
    "comments": "# first\n" + M + "# between\n" + A.replace("\n", " # behind\n") + "# last",
    "no_final_newline": M.rstrip(),
    "one_line": M.replace("\n", " ") + A.replace("\n", " "),
    "crlf": (M + A).replace("\n", "\r\n"),
    "only_cr": (M + A).replace("\n", "\r"),
    "tabs_and_spaces": '\t model_checkpoint_path\t:\t"model.ckpt-1"\v\f\n',
    "no_space": 'model_checkpoint_path:"model.ckpt-1"all_model_checkpoint_paths:"model.ckpt-0"',
    "no_colon": 'model_checkpoint_path "model.ckpt-1"\n',
    "single_quotes": M.replace('"', "'"),
    "unequal_quotes": "model_checkpoint_path: \"model.ckpt-1'\n",
    "adjacent_literals": 'model_checkpoint_path: "model" \'.ckpt\'\n  "-1"\n',
    "adjacent_with_comment": 'model_checkpoint_path: "model" # part\n  ".ckpt-1"\n',
    "semicolons": M.replace("\n", ";") + A.replace("\n", ";\n"),
    "commas": M.replace("\n", ",") + A.replace("\n", ",\n"),
    "two_semicolons": M.replace("\n", ";;\n"),
    "list": M + 'all_model_checkpoint_paths: ["model.ckpt-0", "model.ckpt-1"]\n',
    "list_empty": M + "all_model_checkpoint_paths: []\n",
    "list_trailing_comma": M + 'all_model_checkpoint_paths: ["model.ckpt-0",]\n',
    "list_and_single": M + 'all_model_checkpoint_paths: ["model.ckpt-0"]\n' + A,
    "list_for_single_field": 'model_checkpoint_path: ["model.ckpt-1"]\n',
    "list_of_adjacent": M + "all_model_checkpoint_paths: ['model' '.ckpt-0', \"model.ckpt-1\"]\n",
    "duplicate": M + 'model_checkpoint_path: "model.ckpt-0"\n',
    "unknown_field": M + 'added_later: "x"\n',
    "unknown_field_first": 'added_later: "x"\n' + M,
    "unknown_message": M + 'added_later { a: 1 b: "x" }\n',
    "field_number": '1: "model.ckpt-1"\n',
    "upper_case": M.upper(),
    "extension": M + "[some.extension]: 1\n",
    "hex_escape": r'model_checkpoint_path: "\x6dodel.ckpt-\x31"' + "\n",
    "hex_escape_short": r'model_checkpoint_path: "model.ckpt-1\x9z"' + "\n",
    "hex_escape_long": r'model_checkpoint_path: "model.ckpt-\x311"' + "\n",
    "hex_escape_empty": r'model_checkpoint_path: "model\xg"' + "\n",
    "octal_escape": r'model_checkpoint_path: "\155odel.ckpt-\61"' + "\n",
    "octal_escape_long": r'model_checkpoint_path: "model.ckpt-\0611"' + "\n",
    "octal_escape_utf8": r'model_checkpoint_path: "mod\303\250le"' + "\n",
    "octal_escape_not_utf8": r'model_checkpoint_path: "mod\350le"' + "\n",
    "octal_escape_400": r'model_checkpoint_path: "a\400b"' + "\n",
    "nul_escape": r'model_checkpoint_path: "a\000b"' + "\n",
    "letter_escapes": r'model_checkpoint_path: "\a\b\f\n\r\t\v\\\'\"\?"' + "\n",
    "unknown_escape": r'model_checkpoint_path: "a\qb"' + "\n",
    "escape_at_end": r'model_checkpoint_path: "model.ckpt-1\"' + "\n",
    "unicode_escape": r'model_checkpoint_path: "mod\u00e8le \U0001f600"' + "\n",
    "unicode_escape_surrogates": r'model_checkpoint_path: "\ud83d\ude00"' + "\n",
    "unicode_escape_lone_surrogate": r'model_checkpoint_path: "\ud83d"' + "\n",
    "utf8": 'model_checkpoint_path: "mod\u00e8le"\n',
    "latin_1": 'model_checkpoint_path: "mod\u00e8le"\n'.encode("latin-1"),
    "byte_order_mark": "\ufeff" + M,
    "nul_byte": M + "\0",
    "no_end_quote": 'model_checkpoint_path: "model.ckpt-1\n',
    "newline_in_string": 'model_checkpoint_path: "model\n.ckpt-1"\n',
    "number_for_string": "model_checkpoint_path: 1\n",
    "word_for_string": "model_checkpoint_path: model\n",
    "missing_value": "model_checkpoint_path:\n",
    "junk_behind": M + "junk\n",
    "braces_around": "{ " + M + "}\n",
    "path_empty": 'model_checkpoint_path: ""\n',
    "path_dot": 'model_checkpoint_path: "./model.ckpt-1"\n',
    "path_up": 'model_checkpoint_path: "../run/model.ckpt-1"\n',
    "path_double_slash": 'model_checkpoint_path: ".//model.ckpt-1"\n',
    "path_absolute_gone": 'model_checkpoint_path: "/no/such/folder/model.ckpt-1"\n',
    "path_working_directory": 'model_checkpoint_path: "run/model.ckpt-1"\n',
    "path_windows": r'model_checkpoint_path: "D:\\run\\model.ckpt-1"' + "\n",
    "path_windows_mixed": r'model_checkpoint_path: "D:\\a/run/model.ckpt-1"' + "\n",
    "path_url": 'model_checkpoint_path: "gs://bucket/model.ckpt-1"\n',
    "path_index": 'model_checkpoint_path: "model.ckpt-1.index"\n',
    "path_glob": 'model_checkpoint_path: "model.ckpt-?"\n',
    "timestamps": M
    + "all_model_checkpoint_timestamps: 1.5\nall_model_checkpoint_timestamps: 1e9\n"
    + "last_preserved_timestamp: 1500000000\n",
    "timestamps_odd": M
    + "all_model_checkpoint_timestamps: [1.5f, -2, .5, 1., 1E3, 0x10, 010, inf, -inf]\n",
    "timestamps_list": M + "all_model_checkpoint_timestamps: [1.5F, -2, .5, 1., 1E3, inf, -inf]\n",
    "timestamps_nan": M + "last_preserved_timestamp: -nan\n",
    "timestamps_infinity": M + "last_preserved_timestamp: Infinity\n",
    "timestamps_octal": M + "last_preserved_timestamp: 010\n",
    "timestamps_hex": M + "last_preserved_timestamp: 0x10\n",
    "timestamps_float_suffix": M + "last_preserved_timestamp: 1.5f\n",
    "timestamps_spaced_minus": M + "last_preserved_timestamp: - 1\n",
    "timestamps_string": M + 'last_preserved_timestamp: "1"\n',
    "not_found_text": "404: Not Found",
    "lfs_pointer": "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n",
    "json": '{"model_checkpoint_path": "model.ckpt-1"}\n',
}


def state_texts():
    """State files that people and other programs wrote: what TensorFlow's parser makes of them."""
    os.mkdir("run")
    for step in (0, 1):
        ops.save_arrays(f"run/model.ckpt-{step}", {"a": ("float32", np.float32(step))})
    recorder = answers.Recorder()
    for name, text in TEXTS.items():
        with open(os.path.join("run", name), "wb") as stream:
            stream.write(text if isinstance(text, bytes) else text.encode("utf-8"))
        if recorder.ask("get_checkpoint_state", "run", name):
            recorder.ask("latest_checkpoint", "run", name)
    recorder.save()


def ask_directory(recorder, run):
    """What every user of a directory asks."""
    recorder.ask("get_checkpoint_state", run)
    recorder.ask("latest_checkpoint", run)
    recorder.ask("checkpoint_exists", run)
    if recorder.ask("list_variables", run):
        recorder.ask("load_variable", run, "a")


def ask_text(recorder, run):
    """The state as text: scripts print it."""
    question = {"function": "str(get_checkpoint_state)", "arguments": recorder.encode_all([run])}
    recorder.record(question, lambda: str(tf.train.get_checkpoint_state(run)))


def train(name, **options):
    """Save five checkpoints of which three are kept; the absolute path of the folder."""
    run = os.path.join(TRAINING, name)
    shutil.rmtree(run, ignore_errors=True)
    os.makedirs(run)
    save_steps(os.path.join(run, "model.ckpt"), steps=STEPS, max_to_keep=3, **options)
    return run


def save_steps(path, steps, latest_filename=None, **options):
    """Save two variables on two devices with a Saver of TensorFlow 1 at each step."""
    with tf.Graph().as_default():
        with tf.device("/cpu:0"):
            a = tf.Variable(0.5, name="a")
        with tf.device("/cpu:1"):
            tf.Variable(tf.zeros([2], tf.int64), name="b")
        saver = tf.train.Saver(**options)
        with tf.Session(config=tf.ConfigProto(device_count={"CPU": 2})) as session:
            session.run(tf.global_variables_initializer())
            for step in steps:
                session.run(a.assign(float(step)))
                saver.save(
                    session,
                    path,
                    global_step=step,
                    latest_filename=latest_filename,
                    write_meta_graph=False,
                )
