"""A process of its own in which everything is done to one input, within limits of the system.

``python bounded.py PATH GROUP`` prints JSON: of each action its processor time in seconds and how
it ended, "done" or the name of an error of the tree; and by how many bytes the address space grew
at most.  Memory beyond the limit is a MemoryError, which is no error of the tree.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from itertools import islice
from types import ModuleType

from google.protobuf import text_format  # noqa: F401  # what is imported at first need, before the limits

from ckptparse import Checkpoint, CheckpointError, open_checkpoint
from ckptparse.commands import graph, ls, tree
from ckptparse.messages import load
from ckptparse.metagraph import find_graph_file, read_graph_file
from ckptparse.objectgraph import ObjectGraph
from ckptparse.sources import LocalFiles

LIMIT_NBYTES = (100 if sys.version_info >= (3, 11) else 150) * 1_000_000
"""Objects of Python 3.10 are larger by half."""

LIMIT_SECONDS = 120
"""Of processor time, for all actions: only what is quadratic takes longer."""

PROTOS = (
    "tensor_bundle.proto",
    "saved_slices.proto",
    "trackable_object_graph.proto",
    "meta_graph.proto",
    "checkpoint_state.proto",
)


def of_checkpoint(use: Callable[[Checkpoint], object], **options: bool) -> Callable[[str], None]:
    def action(path: str) -> None:
        with open_checkpoint(path, **options) as ckpt:
            use(ckpt)

    return action


def of_graph(use: Callable[[ObjectGraph], object]) -> Callable[[str], None]:
    return of_checkpoint(lambda ckpt: use(ckpt.object_graph))


def command(module: ModuleType, *arguments: str) -> Callable[[str], None]:
    def action(path: str) -> None:
        parser = argparse.ArgumentParser()
        module.add_arguments(parser)
        module.run(parser.parse_args([*arguments, "--", path]))

    return action


def read_all(ckpt: Checkpoint) -> None:
    raise_last(lambda name: ckpt[name], ckpt)


def look_up_often(ckpt: Checkpoint) -> None:
    for _ in range(100):
        ckpt.get("layer/weights")


def verify_all(ckpt: Checkpoint) -> None:
    for damage in ckpt.verify().damaged[:1]:
        raise damage.error


def raise_last(call: Callable[[str], object], names: Iterable[str]) -> None:
    last = None
    for name in names:
        try:
            call(name)
        except CheckpointError as error:
            last = error
    if last is not None:
        raise last


NODE_PROPERTIES = (
    "children",
    "attributes",
    "variable",
    "slot_variables",
    "slots",
    "registered_saver",
    "has_checkpoint_values",
)


def use_nodes(objects: ObjectGraph) -> None:
    for node in islice(objects.nodes(), 10_000):
        for name in NODE_PROPERTIES:
            getattr(node, name)


def use_attributes(objects: ObjectGraph) -> None:
    for node in islice(objects.nodes(), 10_000):
        [attribute.keys for attribute in node.attributes]


def use_last_node(objects: ObjectGraph) -> None:
    node = objects.node(objects.num_nodes - 1)
    str(node.path), repr(node), node.slots


def use_graph_file(path: str) -> None:
    files = LocalFiles(mmap=True)
    found = find_graph_file(files, path)
    assert found is not None
    read_graph_file(files, found).variables_to_restore()


ACTIONS: dict[str, dict[str, Callable[[str], object]]] = {
    "tensors": {
        "names": of_checkpoint(list),
        "infos": of_checkpoint(Checkpoint.infos),
        "read": of_checkpoint(read_all),
        "verify": of_checkpoint(verify_all),
        "miss": of_checkpoint(lambda ckpt: ckpt["layer/weights"]),
        "look up": of_checkpoint(look_up_often),
        "ls": command(ls),
        "ls --json": command(ls, "--json"),
        "tree": command(tree),
    },
    "objects": {
        "list": of_graph(list),
        "nodes": of_graph(use_nodes),
        "attributes": of_graph(use_attributes),
        "last node": of_graph(use_last_node),
        "full names": of_graph(lambda objects: objects.full_names),
        "weights": of_graph(lambda objects: list(objects.model_weights())),
        "subtree": of_graph(lambda objects: list(objects.subtree(""))),
        "miss": of_graph(lambda objects: objects["model/layer/kernel"]),
        "tree": command(tree),
        "tree --json": command(tree, "--json"),
    },
    "graph": {
        "read": use_graph_file,
        "graph": command(graph),
        "graph --json": command(graph, "--json"),
    },
    "state": {"open": of_checkpoint(list)},
}


def address_space(field: str) -> int:
    """VmSize or VmPeak, in bytes."""
    with open("/proc/self/status") as status:
        (line,) = (line for line in status if line.startswith(field))
    return int(line.split()[1]) << 10


def main() -> None:
    path, group = sys.argv[1:]
    list(map(load, PROTOS))
    base = address_space("VmSize")
    resource.setrlimit(resource.RLIMIT_AS, (base + LIMIT_NBYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_SECONDS,) * 2)
    seconds, ends, peaks = {}, {}, {}
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        for name, action in ACTIONS[group].items():
            seconds[name], ends[name], peaks[name] = act(action, path)
    peak = max(peaks.values()) - base
    json.dump({"seconds": seconds, "ends": ends, "nbytes": peak}, sys.stdout)


def act(action: Callable[[str], object], path: str) -> tuple[float, str, int]:
    """Run an action in a fork, so that none is charged with what another one left in the heap.

    Returns its processor time, how it ended, and the largest address space.
    """
    receiver, sender = os.pipe()
    if not os.fork():
        end = "done"
        began = time.process_time()
        try:
            action(path)
        except CheckpointError as error:
            end = type(error).__name__
        except BaseException as error:  # the parent has to hear of it
            end = f"{type(error).__name__}: {error}"
        seconds = time.process_time() - began
        os.write(sender, json.dumps([seconds, end, address_space("VmPeak")]).encode())
        os._exit(0)
    os.close(sender)
    os.wait()
    with open(receiver) as answer:
        seconds, end, peak = json.loads(answer.read() or '[0, "killed", 0]')
    return seconds, end, peak


if __name__ == "__main__":
    main()
