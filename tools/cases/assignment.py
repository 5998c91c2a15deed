"""tf.train.init_from_checkpoint and variables_to_restore: which tensor goes to which variable."""

import tensorflow as tf

from harness import documents, ops, oracle, values

# Name -> shape of each float32 tensor of the checkpoint, all with values of their own.
TENSORS = {
    "a/b": (3,),
    "a/sub/deep/w": (2, 3),
    "a/sub/w": (2, 3),
    "a/w": (2, 3),
    "ab/w": (2, 3),
    "b/b": (3,),
    "b/w": (2, 3),
    "p/w": (4, 3),  # saved in two slices
    "scalar": (),
    "tall/w": (4, 3),
    "w": (2, 3),
}

# What each group of maps is tried on: the variables of the graph, name -> shape, or shape and
# number of parts along axis 0.
ONE_SCOPE = {"b/w": (2, 3), "b/b": (3,), "b/sub/w": (2, 3)}
TWO_SCOPES = {"b/w": (2, 3), "b/b": (3,), "c/w": (2, 3)}
AT_ROOT = {"w": (2, 3), "b": (3,)}
SAME_NAMES = {"b/w": (2, 3), "b/b": (3,)}
NESTED = {"x/y/w": (2, 3), "x/y/b": (3,), "x/w": (2, 3)}
UNDER_X = {"x/w": (2, 3), "x/a/w": (2, 3), "x/a/b": (3,)}
LONG_NAMES = {"model/a/w": (2, 3), "model/ab/w": (2, 3)}
PARTS = {"b/w": ((4, 3), 2)}
THREE_PARTS = {"b/w": ((4, 3), 3)}


class Variable(str):
    """In a map: the variable of that name, not the name."""

    kind = "variable"

    def found(self, objects):
        return objects[self]


class Parts(Variable):
    """The list of the parts of a partitioned variable."""

    kind = "parts"

    def found(self, objects):
        return list(objects[self])


class Partitioned(Variable):
    """The PartitionedVariable."""

    kind = "PartitionedVariable"


# The variables of the graph, and the map.
MAPS = [
    # Scope to scope.
    (ONE_SCOPE, {"a/": "b/"}),
    (AT_ROOT, {"a/": "/"}),
    (AT_ROOT, {"a/": ""}),
    (SAME_NAMES, {"/": "/"}),
    (SAME_NAMES, {"b/": "b/"}),
    (SAME_NAMES, {"/": "b/"}),
    (UNDER_X, {"/": "x/"}),
    (NESTED, {"a/": "x/y/"}),
    (NESTED, {"a/": "x/"}),
    (NESTED, {"a/sub/": "x/y/"}),
    (LONG_NAMES, {"/": "model/"}),
    (LONG_NAMES, {"a/": "model/a/"}),
    ({"c/w": (2, 3), "cd/w": (2, 3)}, {"a/": "c/"}),
    ({"c/w": (2, 3)}, {"a/sub/": "c/"}),
    ({"c/deep/w": (2, 3)}, {"a/sub/": "c/"}),
    # A name to a name, an object, or parts.
    (ONE_SCOPE, {"a/w": "b/w"}),
    (ONE_SCOPE, {"a/w": Variable("b/w")}),
    (ONE_SCOPE, {"w": "b/w"}),
    ({"s": ()}, {"scalar": "s"}),
    ({"s": ()}, {"scalar": Variable("s")}),
    (PARTS, {"tall/w": "b/w"}),
    (PARTS, {"tall/w": Parts("b/w")}),
    (PARTS, {"tall/w": Partitioned("b/w")}),
    (PARTS, {"tall/": "b/"}),
    (PARTS, {"p/w": "b/w"}),
    (PARTS, {"p/": "b/"}),
    (THREE_PARTS, {"p/w": "b/w"}),
    (PARTS, {"tall/w": "b/w/part_0"}),
    (PARTS, {"a/w": "b/w/part_0"}),
    (PARTS, {"a/w": Variable("b/w/part_0")}),
    (PARTS, {"a/w": "b/w"}),
    ({"b/w": (4, 3)}, {"p/w": "b/w"}),
    ({"b/w": (4, 3)}, {"p/": "b/"}),
    # What is missing, or of another shape.
    (ONE_SCOPE, {"nothing/": "b/"}),
    (ONE_SCOPE, {"nothing/w": "b/w"}),
    (ONE_SCOPE, {"nothing": Variable("b/w")}),
    (ONE_SCOPE, {"a/": "nothing/"}),
    (ONE_SCOPE, {"a/w": "nothing/w"}),
    (ONE_SCOPE, {"a/": "b/w"}),
    (ONE_SCOPE, {"a/": Variable("b/w")}),
    ({"b/w": (2, 3), "b/extra": (1,)}, {"a/": "b/"}),
    ({"b/w": (3, 2)}, {"a/w": "b/w"}),
    ({"b/w": (3, 2)}, {"a/w": Variable("b/w")}),
    ({"b/w": (3, 2)}, {"a/": "b/"}),
    ({"b/w": (6,)}, {"a/w": "b/w"}),
    ({"s": (1,)}, {"scalar": "s"}),
    # Without a slash at the end, and with too many.
    (ONE_SCOPE, {"a": "b/"}),
    (ONE_SCOPE, {"a/": "b"}),
    (ONE_SCOPE, {"a": "b"}),
    (NESTED, {"a/": "x/y"}),
    (ONE_SCOPE, {"/a/": "b/"}),
    (ONE_SCOPE, {"a//": "b/"}),
    (ONE_SCOPE, {"a/": "b//"}),
    (ONE_SCOPE, {"a/": "/b/"}),
    (ONE_SCOPE, {"": "b/"}),
    (ONE_SCOPE, {"a/w:0": "b/w"}),
    (ONE_SCOPE, {"a/w": "b/w:0"}),
    # Several entries; some for the same variable.
    (TWO_SCOPES, {"a/": "b/", "ab/": "c/"}),
    (TWO_SCOPES, {"a/": "b/", "w": "c/w"}),
    (TWO_SCOPES, {"a/w": "b/w", "a/b": "b/b", "ab/w": "c/w"}),
    (TWO_SCOPES, {"a/w": "b/w", "a/": "c/"}),
    (TWO_SCOPES, {"a/": "b/", "w": "b/w"}),
    (TWO_SCOPES, {"w": "b/w", "a/": "b/"}),
    (TWO_SCOPES, {"a/": "b/", "a/sub/w": "b/w"}),
    (TWO_SCOPES, {"a/sub/w": "b/w", "a/": "b/"}),
    (TWO_SCOPES, {"b/": "b/", "a/": "b/"}),
    (TWO_SCOPES, {"a/w": "b/w", "b/w": Variable("b/w")}),
    (TWO_SCOPES, {"a/": "b/", "nothing/": "c/"}),
    ({}, {"a/": "b/"}),
    (ONE_SCOPE, {}),
]


def init_from_checkpoint():
    """tf.train.init_from_checkpoint by many maps: what goes where, and what is refused."""
    tensors = {
        name: values.random(shape, seed) for seed, (name, shape) in enumerate(TENSORS.items())
    }
    specs = {"p/w": ["4 3 0,2:-", "4 3 2,2:-"]}
    ops.save_slices(
        oracle.PREFIX,
        {name: ("float32", value, specs.get(name, [""])) for name, value in tensors.items()},
    )
    oracle.record(specs=specs)
    documents.write(
        "answers.json",
        {
            "prefix": oracle.PREFIX,
            "answers": [answer(variables, entries, tensors) for variables, entries in MAPS],
        },
        depth=3,
    )


def answer(variables, entries, tensors):
    """What becomes of a graph's variables with one assignment map."""
    known = {"variables": [], "assignment_map": [shown(*entry) for entry in entries.items()]}
    with tf.Graph().as_default(), tf.Session() as session:
        objects = make_variables(variables)
        for item in tf.global_variables():
            known["variables"].append({"name": item.op.name, "shape": item.shape.as_list()})
            objects.setdefault(item.op.name, item)
        given = {
            source: target.found(objects) if isinstance(target, Variable) else target
            for source, target in entries.items()
        }
        try:
            tf.train.init_from_checkpoint(oracle.PREFIX, given)
        except Exception as error:
            return dict(known, error=refusal("init_from_checkpoint", error))
        return dict(
            known,
            initialized=[initialized(item, session, tensors) for item in tf.global_variables()],
        )


def shown(source, target):
    """An entry of a map as JSON: the kind of an object and its name, or just the name."""
    return [source, {target.kind: target} if isinstance(target, Variable) else target]


def make_variables(variables):
    """The variables by name; the initial value of all is -1, which no tensor holds."""
    objects = {}
    for name, shape in variables.items():
        partitioner = None
        if shape and isinstance(shape[0], tuple):
            shape, parts = shape
            partitioner = tf.fixed_size_partitioner(parts)
        objects[name] = tf.get_variable(
            name, shape, initializer=tf.constant_initializer(-1.0), partitioner=partitioner
        )
    return objects


def initialized(item, session, tensors):
    """The tensor whose value a variable gets: all of it, or the part that is a slice."""
    entry = {"variable": item.op.name}
    try:
        session.run(item.initializer)
    except Exception as error:
        return dict(entry, error=refusal("run", error))
    value = session.run(item)
    sources = [{"tensor": name} for name in tensors if same(tensors[name], value)]
    info = item._save_slice_info
    if info is not None:
        region = ops.region(info.spec)
        sources += [
            {"tensor": name, "spec": info.spec}
            for name in tensors
            if tensors[name].shape == tuple(info.full_shape) and same(tensors[name][region], value)
        ]
    assert len(sources) < 2
    return dict(entry, **(sources[0] if sources else {"tensor": None}))


def same(tensor, value):
    """Whether two arrays are the same in shape and in value."""
    return tensor.shape == value.shape and (tensor == value).all()


def refusal(doing, error):
    """TensorFlow's own words, without where in this file the op was made."""
    entry = oracle.refusal(doing, error)
    entry["text"] = entry["text"].split("\n\t [[")[0]
    return entry


def variables_to_restore():
    """ExponentialMovingAverage.variables_to_restore: the maps, and what they restore."""
    make_averaged(head=True, partitioned=True)
    with tf.Session() as session:
        for seed, item in enumerate(tf.global_variables()):
            item.load(values.random(item.shape.as_list(), seed), session)
        tf.train.Saver().save(session, "./" + oracle.PREFIX, write_meta_graph=False)
        tensors = {
            item.op.name: session.run(item)
            for item in tf.global_variables()
            if item._save_slice_info is None
        }
    specs = {}
    for item in tf.global_variables():
        if item._save_slice_info is not None:
            specs.setdefault(item._save_slice_info.full_name, []).append(item._save_slice_info.spec)
    oracle.record(specs=specs)
    for name in specs:
        tensors[name] = tf.train.load_variable(oracle.PREFIX, name)
    answers = [
        answer_of_average(parts, averaged, tensors)
        for parts in [{}, {"head": True}, {"partitioned": True}]
        for averaged in [None, [], ["conv/w"], ["conv/w", "bn/mean"], ["frozen"]]
    ]
    documents.write("answers.json", {"prefix": oracle.PREFIX, "answers": answers}, depth=3)


def answer_of_average(parts, averaged, tensors):
    """The map of one graph for the variables named; None is TensorFlow's default."""
    with tf.Graph().as_default(), tf.Session() as session:
        ema = make_averaged(**parts)
        chosen = None if averaged is None else [by_name(name) for name in averaged]
        names = ema.variables_to_restore(chosen)
        return dict(
            moving_avg_variables=averaged,
            trainable_variables=names_of(tf.trainable_variables()),
            moving_average_variables=names_of(tf.moving_average_variables()),
            global_variables=names_of(tf.global_variables()),
            variables_to_restore={key: names[key].op.name for key in sorted(names)},
            **restored(names, session, tensors),
        )


def make_averaged(head=False, partitioned=False):
    """Averages of the trainable variables but the head's, and of one that is not trainable."""
    conv = [tf.get_variable("conv/w", [3, 2]), tf.get_variable("conv/b", [2])]
    if head:
        tf.get_variable("head/w", [2, 2])
    if partitioned:
        conv += tf.get_variable("parts/w", [4, 2], partitioner=tf.fixed_size_partitioner(2))
    mean = tf.get_variable("bn/mean", [2], trainable=False)
    tf.get_variable("frozen", [2], trainable=False)
    ema = tf.train.ExponentialMovingAverage(0.9)
    ema.apply([*conv, mean])
    return ema


def by_name(name):
    """The variable of a name."""
    return next(item for item in tf.global_variables() if item.op.name == name)


def names_of(items):
    """The names of variables, without the ":0"."""
    return [item.op.name for item in items]


def restored(names, session, tensors):
    """What each variable gets when a Saver restores by such a map."""
    try:
        tf.train.Saver(names).restore(session, "./" + oracle.PREFIX)
    except Exception as error:
        entry = refusal("restore", error)
        # After "Restoring from checkpoint failed ... Original error:".
        entry["text"] = entry["text"].split("Original error:\n\n")[-1]
        return {"error": entry}
    got = {}
    for item in names.values():
        value = session.run(item)
        sources = [name for name in tensors if same(tensors[name], value)]
        got[item.op.name] = sources[0] if len(sources) == 1 else sources
    return {"restored": {name: got[name] for name in sorted(got)}}
